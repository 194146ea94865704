//! The stock policies as the build embeds them, asked in the real sandbox with the host's real checks of
//! signatures. Knows nothing of rooms and media.

#[path = "stock_policies/herd.rs"]
mod herd;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use tidegate_policy::sandbox::{Metering, Workshop};
use tidegate_policy::{PluginConfig, Policies, PolicyConfig, RecordTo, Replay, Source, replay};
use tidegate_types::cluster::{Column, Feed, ShardRow};
use tidegate_types::decision::{
    Action, Answer, AnswerBody, AuthorizeAnswer, AuthorizeRequest, BalanceCause, BalanceRequest, Decision,
    Failure, Moment, PlaceAnswer, PlaceKind, PlaceRequest, Question, QuestionBody, ToPolicy, Wish,
};
use tidegate_types::{Place, RequestNumber, Secret};

const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of the test, of 32 bytes or more";

/// The three policies, and the answers as they come.
struct Desk {
    policies: Policies,
    answers: Receiver<Answer>,
}

impl Desk {
    fn open(authorize: PluginConfig, allocate: &'static str) -> Result<Self, String> {
        Self::with(PolicyConfig::new(authorize, stock(allocate), stock("balance-steady")))
    }

    fn with(config: PolicyConfig) -> Result<Self, String> {
        let (sender, answers) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |answer| drop(sender.lock().unwrap().send(answer)));
        let policies =
            Policies::start(config, Arc::new(|| NOW_S * 1_000), sink).map_err(|error| error.to_string())?;
        Ok(Self { policies, answers })
    }

    fn ask(&self, body: QuestionBody) -> Result<AnswerBody, Failure> {
        self.policies.send(ToPolicy::Ask(Question { number: RequestNumber(1), body }));
        self.answers.recv().unwrap().result
    }

    fn feed(&self, generation: u64, rows: &[&[(Column, u64)]]) {
        let rows = (0..).zip(rows).map(|(index, cells)| row(index, cells)).collect();
        self.tell(generation, rows);
    }

    fn tell(&self, generation: u64, rows: Vec<ShardRow>) {
        self.policies.send(ToPolicy::Feed(Feed::Reset { generation, rows }));
    }

    /// The grant's identity, or the refusal's code.
    fn join(&self, token: &str) -> Result<Option<String>, String> {
        let request = AuthorizeRequest {
            action: Action::Join,
            room: Some("harbour".into()),
            room_people: 0,
            room_since_unix_ms: None,
            name: "Ada".into(),
            identity: None,
            token: Secret::new(token),
            address: None,
            kind: None,
            source: None,
            moment: moment(),
            lookups: Vec::new(),
            attrs: Vec::new(),
        };
        match self.ask(QuestionBody::Authorize(Box::new(request))) {
            Ok(AnswerBody::Authorize(AuthorizeAnswer::Grant(grant))) => Ok(grant.identity),
            Ok(AnswerBody::Authorize(AuthorizeAnswer::Refuse(refusal))) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    fn place(&self) -> u16 {
        self.place_in(None)
    }

    fn place_in(&self, region: Option<&str>) -> u16 {
        let request = PlaceRequest {
            kind: PlaceKind::Transport,
            room: None,
            router_at: Vec::new(),
            expected_ingress_kbps: 1_000,
            expected_egress_kbps: 1_000,
            region_hint: region.map(Into::into),
            parents: Vec::new(),
            moment: moment(),
            attrs: Vec::new(),
        };
        match self.ask(QuestionBody::Place(Box::new(request))) {
            Ok(AnswerBody::Place(PlaceAnswer::Place(placement))) => placement.place.shard.0,
            other => panic!("{other:?}"),
        }
    }

    fn tick(&self) -> Vec<Wish> {
        let request =
            BalanceRequest { cause: BalanceCause::Tick, place: None, moment: moment(), attrs: Vec::new() };
        match self.ask(QuestionBody::Balance(Box::new(request))) {
            Ok(AnswerBody::Balance(answer)) => answer.wishes,
            other => panic!("{other:?}"),
        }
    }
}

fn stock(name: &'static str) -> PluginConfig {
    let bytes = tidegate::stock::stock(name).unwrap();
    PluginConfig::new(Source::Embedded { name, bytes: Cow::Borrowed(bytes) })
}

fn auth_token(configuration: Value) -> PluginConfig {
    PluginConfig { configuration, ..stock("auth-token") }
}

fn moment() -> Moment {
    Moment { unix_ms: NOW_S * 1_000, seed: 7 }
}

fn row(index: u16, cells: &[(Column, u64)]) -> ShardRow {
    let mut row = ShardRow {
        place: Place::local(index),
        region: String::new(),
        node_name: "node".into(),
        values: [0; Column::ALL.len()],
    };
    for (column, value) in cells {
        row.values[column.index()] = *value;
    }
    row
}

fn token(algorithm: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" });
    let signed =
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = base64url(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn base64url(bytes: &[u8]) -> String {
    base64(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let known = digit <= chunk.len();
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if known { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

fn hs256(message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message).as_ref().to_vec()
}

#[test]
fn the_defaults_let_in_concentrate_and_leave_alone() {
    let desk = Desk::open(stock("auth-open"), "allocate-pack").unwrap();
    assert_eq!(desk.join(""), Ok(None));
    desk.feed(1, &[&[(Column::Egress, 10)], &[(Column::Egress, 30)], &[(Column::Egress, 20)]]);
    assert_eq!(desk.place(), 1);
    desk.feed(
        2,
        &[&[(Column::Egress, 10)], &[(Column::Egress, 30), (Column::Cpu, 900)], &[(Column::Egress, 20)]],
    );
    assert_eq!(desk.place(), 2);
    assert!(desk.tick().is_empty());
    let mut named: Vec<_> = desk.policies.info().into_iter().map(|info| (info.name, info.origin)).collect();
    named.sort();
    assert_eq!(
        named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["allocate-pack", "auth-open", "balance-steady"]
    );
}

#[test]
fn spread_takes_the_least_loaded() {
    let desk = Desk::open(stock("auth-open"), "allocate-spread").unwrap();
    desk.feed(1, &[&[(Column::Egress, 10)], &[(Column::Egress, 30)], &[(Column::ReservedEgress, 9)]]);
    assert_eq!(desk.place(), 2);
}

#[test]
fn least_cpu_takes_the_idlest_below_its_mark() {
    let desk = Desk::open(stock("auth-open"), "allocate-least-cpu").unwrap();
    desk.feed(
        1,
        &[&[(Column::Cpu, 300)], &[(Column::Cpu, 100), (Column::Egress, 900)], &[(Column::Cpu, 200)]],
    );
    assert_eq!(desk.place(), 1);
    desk.feed(
        2,
        &[&[(Column::Cpu, 720)], &[(Column::Cpu, 690)], &[(Column::Cpu, 650), (Column::Draining, 1)]],
    );
    assert_eq!(desk.place(), 1);
}

#[test]
fn two_choice_draws_by_the_questions_seed_and_passes_over_what_sheds() {
    let desk = Desk::open(stock("auth-open"), "allocate-two-choice").unwrap();
    desk.feed(1, &[&[], &[(Column::Shedding, 2)], &[(Column::Draining, 1)]]);
    assert_eq!(desk.place(), 0, "of the others one sheds and one drains");
    desk.feed(2, &[&[(Column::Egress, 10)], &[(Column::Egress, 30)]]);
    let placed = desk.place();
    assert!(placed < 2 && placed == desk.place(), "the same seed draws the same two");
}

#[test]
fn region_goes_where_it_is_asked_for_and_elsewhere_if_it_must() {
    let desk = Desk::open(stock("auth-open"), "allocate-region").unwrap();
    let shard = |index, region: &str, egress| ShardRow {
        region: region.into(),
        ..row(index, &[(Column::Egress, egress)])
    };
    desk.tell(1, vec![shard(0, "north", 50), shard(1, "north", 40), shard(2, "south", 10)]);
    assert_eq!(desk.place_in(Some("north")), 1);
    assert_eq!(desk.place_in(Some("south")), 2);
    assert_eq!(desk.place_in(Some("east")), 2, "there is none: anywhere");
    assert_eq!(desk.place(), 2);
}

#[test]
fn steady_wishes_only_after_some_ticks() {
    let desk = Desk::open(stock("auth-open"), "allocate-pack").unwrap();
    desk.feed(1, &[&[(Column::ForwardDelayP99, 9_000), (Column::Transports, 40)], &[]]);
    let wishes: Vec<_> = (0..5).map(|_| desk.tick()).collect();
    assert_eq!(wishes.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    let wish = &wishes[4][0];
    assert_eq!((wish.from, wish.to), (Some(Place::local(0)), Some(Place::local(1))));
    assert_eq!((wish.amount, wish.unit.as_str()), (4, "transports"));
}

#[test]
fn tokens_of_each_algorithm_are_checked_by_the_host() {
    let random = SystemRandom::new();
    let rsa_key = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let ec_key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rs256 = |message: &[u8]| {
        let mut signature = vec![0; rsa_key.public_modulus_len()];
        rsa_key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        signature
    };
    let es256 = |message: &[u8]| ec_key.sign(&random, message).unwrap().as_ref().to_vec();
    let rsa_public = rsa_key.public_key().as_der().unwrap();
    let ec_public = ec_key.public_key().as_der().unwrap();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(ec_public.as_ref()));
    let configuration = json!({ "keys": [
        { "alg": "HS256", "key_base64": base64(SECRET) },
        { "alg": "RS256", "key_base64": base64(rsa_public.as_ref()) },
        { "alg": "ES256", "key": pem },
    ] });
    let desk = Desk::open(auth_token(configuration), "allocate-pack").unwrap();

    let claims = json!({ "exp": NOW_S + 60, "sub": "u-7", "room": "harbour" });
    let tokens =
        [token("HS256", &claims, hs256), token("RS256", &claims, rs256), token("ES256", &claims, es256)];
    for token in &tokens {
        assert_eq!(desk.join(token), Ok(Some("u-7".into())), "{token}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(desk.join(&format!("{signed}.{first}{}", &signature[1..])), Err("token-signature".into()));
    }

    // The public key as a secret, and a right signature under another algorithm's name.
    let confused = token("HS256", &claims, |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), message).as_ref().to_vec()
    });
    assert_eq!(desk.join(&confused), Err("token-signature".into()));
    assert_eq!(desk.join(&token("ES256", &claims, rs256)), Err("token-signature".into()));
    assert_eq!(desk.join(&token("none", &claims, |_| Vec::new())), Err("algorithm-not-allowed".into()));
    assert_eq!(desk.join(""), Err("token-missing".into()));
    let expired = token("ES256", &json!({ "exp": NOW_S - 60 }), es256);
    assert_eq!(desk.join(&expired), Err("token-expired".into()));
    let elsewhere = token("HS256", &json!({ "exp": NOW_S + 60, "room": "lighthouse" }), hs256);
    assert_eq!(desk.join(&elsewhere), Err("wrong-room".into()));
}

#[test]
fn a_key_that_the_host_cannot_read_keeps_the_policy_out_of_force() {
    let configuration = json!({ "keys": [{ "alg": "RS256", "key": "no key at all" }] });
    let Err(error) = Desk::open(auth_token(configuration), "allocate-pack") else { panic!("it started") };
    assert!(error.contains("/keys/0/key"), "{error}");
    let Err(error) = Desk::open(stock("auth-token"), "allocate-pack") else { panic!("it started") };
    assert!(error.contains("keys"), "{error}");
}

#[test]
fn a_signed_token_is_decided_again_without_its_signature() {
    let path = std::env::temp_dir().join(format!("tidegate-stock-record-{}", std::process::id()));
    let keys = json!({ "keys": [{ "alg": "HS256", "key_base64": base64(SECRET) }] });
    let mut config =
        PolicyConfig::new(auth_token(keys.clone()), stock("allocate-pack"), stock("balance-steady"));
    config.record = Some(RecordTo { path: path.clone(), bytes: 1 << 20, secrets: false });
    let desk = Desk::with(config).unwrap();
    let right = token("HS256", &json!({ "exp": NOW_S + 60, "sub": "u-7", "room": "harbour" }), hs256);
    let wrong = token("HS256", &json!({ "exp": NOW_S + 60, "sub": "u-8" }), |_| vec![7; 32]);
    assert_eq!(desk.join(&right), Ok(Some("u-7".into())));
    assert_eq!(desk.join(&wrong), Err("token-signature".into()));
    desk.policies.stop();

    let record = std::fs::read_to_string(&path).unwrap();
    let signature = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
    assert!(!record.contains(&signature(&right)) && !record.contains(&signature(&wrong)));
    assert!(!record.contains(&base64(SECRET)), "nor the key that it was checked with");
    let components = vec![auth_token(keys), stock("allocate-pack"), stock("balance-steady")];
    let replayed = replay([record.as_bytes()], Replay { components, instead: None }).unwrap();
    assert_eq!((replayed.affected.len(), replayed.calls, replayed.decisions), (0, 2, 2), "{replayed:?}");

    // Another key in the configuration is another policy, and not found by its hash.
    let other = json!({ "keys": [{ "alg": "HS256", "key_base64": base64(&[9; 32]) }] });
    let components = vec![auth_token(other)];
    let replayed = replay([record.as_bytes()], Replay { components, instead: None }).unwrap();
    assert_eq!(replayed.calls, 0);
    assert!(replayed.warnings.iter().any(|warning| warning.contains("not given")), "{replayed:?}");
    let _ = std::fs::remove_file(&path);
}

#[test]
fn a_key_set_is_taken_where_the_host_can_look_it_up() {
    let embedded = PolicyConfig::new(stock("auth-open"), stock("allocate-pack"), stock("balance-steady"));
    let workshop = Workshop::new(&embedded, Metering::Off, Arc::new(|| NOW_S * 1_000)).unwrap();
    let configuration = json!({"key_set": "keys"});
    let open = |lookups: &[String]| {
        workshop.open(Decision::Authorize, &auth_token(configuration.clone()), lookups).map(drop)
    };
    let refusal = open(&[]).unwrap_err().to_string();
    assert!(refusal.contains("/key_set"), "{refusal}");
    open(&["keys".to_owned()]).unwrap();
    let keys = json!({"keys": [{"alg": "HS256", "key": "a secret of the test, of 32 bytes or more"}]});
    let sandbox = workshop.open(Decision::Authorize, &auth_token(keys), &[]).unwrap();
    sandbox.anew(&configuration, &["keys".to_owned()]).map(drop).unwrap();
    assert!(sandbox.anew(&configuration, &["others".to_owned()]).is_err(), "others are no keys");
}
