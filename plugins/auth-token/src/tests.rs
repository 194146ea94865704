//! Tokens made here, judged by the policy; the host's check of RS256 and ES256 is stood in for.

use super::{Action, Answer, Authorize, AuthorizeRequest, Setup, Token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate_sdk::authorize::{LookupResult, Moment, UnixTime};

const SECRET: &str = "a secret of the test, of 32 bytes or more";
const NOW_S: u64 = 1_800_000_000;

fn hs256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// HS256 is real; a "public key" signs by HS256 too, with its own bytes after the algorithm's name.
fn host_verifies() {
    tidegate_sdk::native::verify_with(|algorithm, key, message, signature| match algorithm {
        "HS256" => Ok(hs256(key, message) == signature),
        "RS256" | "ES256" if key.starts_with(b"-----BEGIN PUBLIC KEY-----") => {
            Ok(hs256(&[algorithm.as_bytes(), key].concat(), message) == signature)
        }
        "RS256" | "ES256" => Err("bad-key".to_owned()),
        _ => Err("unknown-algorithm".to_owned()),
    });
}

fn public_key(name: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{name}\n-----END PUBLIC KEY-----\n")
}

fn token(header: &Value, claims: &Value, key: &[u8]) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hs256(key, signed.as_bytes())))
}

fn signed(claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET.as_bytes())
}

fn policy(configuration: &Value) -> Token {
    host_verifies();
    let mut policy = Token::default();
    assert_eq!(policy.configure(&Setup::with_configuration(configuration)), Ok(()));
    policy
}

fn one_secret() -> Value {
    json!({ "keys": [{ "alg": "HS256", "key": SECRET }], "leeway_s": 0 })
}

fn ask(policy: &Token, token: &str) -> Answer {
    policy.authorize(&request(Action::Join, token))
}

fn request(action: Action, token: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        action,
        room: Some("harbour".into()),
        token: token.into(),
        moment: Moment { now: UnixTime::from_secs(NOW_S), seed: 0 },
        ..AuthorizeRequest::default()
    }
}

fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Grant(_) => "granted",
        Answer::Refuse(refusal) => {
            assert!(refusal.message.ends_with('.'), "a sentence for a person: {}", refusal.message);
            &refusal.code
        }
        Answer::Need { .. } => "need",
    }
}

/// Claims, and what the policy says to them; `exp` and `nbf` count from now.
#[test]
fn the_cases_decide_as_written() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../cases.json")).unwrap();
    for case in &cases {
        let mut configuration = one_secret();
        if let Some(more) = case["configuration"].as_object() {
            configuration.as_object_mut().unwrap().extend(more.clone());
        }
        let mut claims = case["claims"].clone();
        for date in ["exp", "nbf"] {
            if let Some(from_now) = claims[date].as_f64() {
                claims[date] = json!(NOW_S as f64 + from_now);
            }
        }
        let action = match case["action"].as_str() {
            Some("publish") => Action::Publish,
            Some("subscribe") => Action::Subscribe,
            Some("admin") => Action::Admin,
            Some("levitate") => Action::Other("levitate".into()),
            _ => Action::Join,
        };
        let mut asked = request(action, &signed(&claims));
        asked.source = case["source"].as_str().map(Into::into);
        let answer = policy(&configuration).authorize(&asked);
        assert_eq!(code(&answer), case["answer"].as_str().unwrap(), "{}", case["name"]);
    }
    assert!(cases.len() >= 15);
}

#[test]
fn the_claims_become_the_grant() {
    let claims = json!({
        "exp": NOW_S + 60, "sub": "u-7", "name": "Ada", "room": "harbour", "data": false, "sources": ["microphone"],
        "max_tracks": 2, "ingress_kbps": 900, "egress_kbps": 4_000,
    });
    let Answer::Grant(grant) = ask(&policy(&one_secret()), &signed(&claims)) else { panic!("refused") };
    assert_eq!((grant.identity.as_deref(), grant.name.as_deref()), (Some("u-7"), Some("Ada")));
    assert_eq!((grant.publish, grant.subscribe, grant.data, grant.admin), (true, true, false, false));
    assert_eq!((grant.room.as_deref(), grant.max_tracks), (Some("harbour"), Some(2)));
    assert_eq!(grant.sources, Some(vec!["microphone".to_owned()]));
    assert_eq!((grant.ingress.unwrap().kbps(), grant.egress.unwrap().kbps()), (900, 4_000));
    assert_eq!(grant.expires, Some(UnixTime::from_secs(NOW_S + 60)));
}

#[test]
fn the_leeway_stretches_both_ends_and_the_grant() {
    let policy = policy(&json!({ "keys": [{ "alg": "HS256", "key": SECRET }], "leeway_s": 30 }));
    let Answer::Grant(grant) = ask(&policy, &signed(&json!({ "exp": NOW_S - 29, "nbf": NOW_S + 30 }))) else {
        panic!("refused");
    };
    assert_eq!(grant.expires, Some(UnixTime::from_secs(NOW_S + 1)));
    assert_eq!(code(&ask(&policy, &signed(&json!({ "exp": NOW_S - 30 })))), "token-expired");
    assert_eq!(
        code(&ask(&policy, &signed(&json!({ "exp": NOW_S + 9, "nbf": NOW_S + 31 })))),
        "token-not-yet-valid"
    );
}

#[test]
fn what_is_no_token_is_told_apart_from_a_wrong_one() {
    let policy = policy(&one_secret());
    let good = signed(&json!({ "exp": NOW_S + 60 }));
    assert_eq!(code(&ask(&policy, &good)), "granted");
    assert_eq!(code(&ask(&policy, "")), "token-missing");
    for broken in [
        "x",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        &good.replace('.', ""),
        &format!("{good}="),
        &"a".repeat(9_000),
    ] {
        assert_eq!(code(&ask(&policy, broken)), "token-malformed", "{broken}");
    }
    let long = signed(&json!({ "exp": NOW_S + 60, "padding": "x".repeat(7_000) }));
    assert_eq!(code(&ask(&policy, &long)), "token-malformed", "right, but too long");
    // A claims set that lies about a type, or has no end.
    for claims in
        [json!([]), json!({}), json!({ "exp": "soon" }), json!({ "exp": NOW_S + 60, "publish": "yes" })]
    {
        assert_eq!(code(&ask(&policy, &signed(&claims))), "token-malformed", "{claims}");
    }
}

#[test]
fn every_changed_character_of_a_token_is_noticed() {
    let policy = policy(&one_secret());
    let good = signed(&json!({ "exp": NOW_S + 60, "room": "harbour" }));
    let whole_signature = good.len() - 1; // the last character's low bits are no bits of the signature
    for index in 0..whole_signature {
        let mut changed = good.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let answer = ask(&policy, &String::from_utf8(changed).unwrap());
        assert_ne!(code(&answer), "granted", "character {index}");
    }
}

#[test]
fn no_algorithm_and_another_algorithm_are_refused() {
    let policy = policy(&one_secret());
    let claims = json!({ "exp": NOW_S + 60 });
    for algorithm in ["none", "None", "HS384", "RS256", "ES256", "", "hs256"] {
        let forged = token(&json!({ "alg": algorithm }), &claims, SECRET.as_bytes());
        assert_eq!(code(&ask(&policy, &forged)), "algorithm-not-allowed", "{algorithm}");
    }
    let unsigned = token(&json!({ "alg": "none" }), &claims, b"");
    let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(code(&ask(&policy, &unsigned)), "algorithm-not-allowed");
    let critical =
        token(&json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), &claims, SECRET.as_bytes());
    assert_eq!(code(&ask(&policy, &critical)), "token-malformed");
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let pem = public_key("harbour master");
    let policy = policy(&json!({ "keys": [{ "alg": "RS256", "key": pem }] }));
    let claims = json!({ "exp": NOW_S + 60 });
    let confused = token(&json!({ "alg": "HS256" }), &claims, pem.as_bytes());
    assert_eq!(code(&ask(&policy, &confused)), "algorithm-not-allowed");

    // Also where another key does allow HS256.
    let both = json!({ "keys": [{ "alg": "RS256", "key": pem }, { "alg": "HS256", "key": SECRET }] });
    let policy = self::policy(&both);
    assert_eq!(code(&ask(&policy, &confused)), "token-signature");
    let right = token(&json!({ "alg": "RS256" }), &claims, &[b"RS256", pem.as_bytes()].concat());
    assert_eq!(code(&ask(&policy, &right)), "granted");
    let other_algorithm = token(&json!({ "alg": "ES256" }), &claims, &[b"ES256", pem.as_bytes()].concat());
    assert_eq!(code(&ask(&policy, &other_algorithm)), "algorithm-not-allowed");
}

#[test]
fn a_key_id_chooses_among_keys() {
    let other = "another secret, also of 32 bytes or more";
    let policy = policy(&json!({ "keys": [
        { "alg": "HS256", "kid": "spring", "key": SECRET },
        { "alg": "HS256", "kid": "autumn", "key": other },
    ] }));
    let claims = json!({ "exp": NOW_S + 60 });
    let with = |kid: Option<&str>, key: &str| {
        let mut header = json!({ "alg": "HS256" });
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        code(&ask(&policy, &token(&header, &claims, key.as_bytes()))).to_owned()
    };
    assert_eq!(with(Some("autumn"), other), "granted");
    assert_eq!(with(Some("spring"), other), "token-signature");
    assert_eq!(with(Some("winter"), other), "token-signature");
    assert_eq!(with(None, other), "granted");
}

/// RFC 7515, appendix A.1: a token of others' making.
#[test]
fn the_example_of_the_standard_is_accepted_until_it_ends() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = base64::engine::general_purpose::STANDARD.encode(URL_SAFE_NO_PAD.decode(key).unwrap());
    let policy =
        policy(&json!({ "keys": [{ "alg": "HS256", "key_base64": key }], "issuer": "joe", "leeway_s": 0 }));
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let at = |seconds| {
        let mut request = request(Action::Join, token);
        request.moment.now = UnixTime::from_secs(seconds);
        code(&policy.authorize(&request)).to_owned()
    };
    assert_eq!(at(1_300_819_379), "granted");
    assert_eq!(at(1_300_819_380), "token-expired");
}

/// What the host gives of a key set.
fn key_of_set(algorithm: &str, name: &str) -> Result<String, String> {
    let key = base64::engine::general_purpose::STANDARD.encode(public_key(name));
    Ok(json!({ "kid": name, "alg": algorithm, "key_base64": key }).to_string())
}

fn with_key_set(configuration: &Value) -> Token {
    host_verifies();
    let mut policy = Token::default();
    let setup = Setup { lookups: vec!["keys".into()], ..Setup::with_configuration(configuration) };
    assert_eq!(policy.configure(&setup), Ok(()));
    policy
}

/// Asks with what was looked up.
fn ask_knowing(policy: &Token, token: &str, id: &str, outcome: Result<String, String>) -> String {
    let mut request = request(Action::Join, token);
    request.lookups = vec![LookupResult { lookup: "keys".into(), key: id.into(), outcome }];
    code(&policy.authorize(&request)).to_owned()
}

fn by_key_of_set(algorithm: &str, name: &str) -> String {
    let claims = json!({ "exp": NOW_S + 60 });
    let key = [algorithm.as_bytes(), public_key(name).as_bytes()].concat();
    token(&json!({ "alg": algorithm, "kid": name }), &claims, &key)
}

#[test]
fn a_key_is_looked_up_by_its_id_and_then_the_token_is_judged() {
    let policy = with_key_set(&json!({ "key_set": "keys" }));
    for algorithm in ["RS256", "ES256"] {
        let token = by_key_of_set(algorithm, "spring");
        assert_eq!(ask(&policy, &token), Answer::need("keys", "spring"));
        assert_eq!(ask_knowing(&policy, &token, "spring", key_of_set(algorithm, "spring")), "granted");
        assert_eq!(
            ask_knowing(&policy, &token, "spring", key_of_set(algorithm, "autumn")),
            "token-signature"
        );
        assert_eq!(ask_knowing(&policy, &token, "spring", Err("not-found".into())), "token-key-unknown");
        assert_eq!(ask_knowing(&policy, &token, "spring", Err("timeout".into())), "keys-unavailable");
        assert_eq!(ask_knowing(&policy, &token, "spring", Ok("junk".into())), "keys-unavailable");
        assert_eq!(ask_knowing(&policy, &token, "autumn", key_of_set(algorithm, "spring")), "need");
    }
    let claims = json!({ "exp": NOW_S + 60 });
    let unnamed =
        token(&json!({ "alg": "ES256" }), &claims, &[b"ES256", public_key("x").as_bytes()].concat());
    assert_eq!(ask(&policy, &unnamed), Answer::need("keys", ""));
    let long = token(&json!({ "alg": "ES256", "kid": "k".repeat(300) }), &claims, b"");
    assert_eq!(code(&ask(&policy, &long)), "token-malformed");
}

#[test]
fn a_key_of_a_set_serves_its_own_algorithm_and_never_as_a_secret() {
    let policy = with_key_set(&json!({ "key_set": "keys" }));
    let claims = json!({ "exp": NOW_S + 60 });
    for algorithm in ["HS256", "none", "PS256"] {
        let forged =
            token(&json!({ "alg": algorithm, "kid": "spring" }), &claims, public_key("spring").as_bytes());
        assert_eq!(code(&ask(&policy, &forged)), "algorithm-not-allowed", "{algorithm}");
    }
    let token = by_key_of_set("ES256", "spring");
    assert_eq!(
        ask_knowing(&policy, &token, "spring", key_of_set("RS256", "spring")),
        "algorithm-not-allowed"
    );
    assert_eq!(ask_knowing(&policy, &token, "spring", key_of_set("HS256", "spring")), "keys-unavailable");
}

#[test]
fn keys_of_its_own_are_tried_before_the_set_is_asked() {
    let both = json!({ "keys": [{ "alg": "HS256", "key": SECRET }], "key_set": "keys" });
    let policy = with_key_set(&both);
    let claims = json!({ "exp": NOW_S + 60 });
    assert_eq!(code(&ask(&policy, &signed(&claims))), "granted");
    let wrong = token(&json!({ "alg": "HS256", "kid": "x" }), &claims, b"another");
    assert_eq!(code(&ask(&policy, &wrong)), "token-signature", "no secret is looked up");
    assert_eq!(code(&ask(&policy, &by_key_of_set("RS256", "spring"))), "need");
}

#[test]
fn a_configuration_that_does_not_fit_is_told_by_pointer() {
    host_verifies();
    let wrong = |configuration: Value| {
        let problems = Token::default().configure(&Setup::with_configuration(&configuration)).unwrap_err();
        problems.into_iter().map(|problem| problem.pointer).collect::<Vec<_>>()
    };
    assert_eq!(wrong(json!(null)), ["/keys"]);
    assert_eq!(wrong(json!({ "keys": [] })), ["/keys"]);
    assert_eq!(wrong(json!({ "key_set": "keys" })), ["/key_set"]);
    assert_eq!(wrong(json!({ "keys": [{ "alg": "none", "key": "" }] })), ["/keys/0/alg"]);
    assert_eq!(wrong(json!({ "keys": [{ "alg": "HS256", "key": "short" }] })), ["/keys/0/key"]);
    assert_eq!(wrong(json!({ "keys": [{ "alg": "HS256" }] })), ["/keys/0/key"]);
    assert_eq!(wrong(json!({ "keys": [{ "alg": "HS256", "key_base64": "?" }] })), ["/keys/0/key_base64"]);
    assert_eq!(
        wrong(json!({ "keys": [{ "alg": "HS256", "key": SECRET }, { "alg": "ES256", "key": "PEM?" }] })),
        ["/keys/1/key"]
    );
    assert_eq!(wrong(json!({ "keys": [{ "alg": "HS256", "key": SECRET }], "leeway_s": 301 })), ["/leeway_s"]);
}

#[test]
fn without_a_configuration_nobody_enters() {
    host_verifies();
    assert_eq!(
        code(&ask(&Token::default(), &signed(&json!({ "exp": NOW_S + 60 })))),
        "algorithm-not-allowed"
    );
}
