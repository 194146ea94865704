//! A grant holds during the whole session: a running host asks again, narrows, and ends sessions at the moment that their
//! grant does, over WebSocket and WHIP. Knows nothing of media, and of the host but its command and its front doors.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub)]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "this story measures neither memory nor log")]
#[path = "containment/host.rs"]
mod host;
#[allow(dead_code, reason = "this story joins with a token")]
#[path = "containment/session.rs"]
mod session;

mod plugins {
    /// Where tests leave what they write.
    pub fn scratch() -> &'static std::path::Path {
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
    }
}

use aws_lc_rs::hmac;
use host::Host;
use serde_json::{Value, json};
use session::Session;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KEY: &str = "a key of this story, of 32 bytes or more";
const PATIENCE: Duration = Duration::from_secs(20);
/// What an encoder offers.
const OFFER: &str = include_str!("../host/control/fixtures/chromium-publish.sdp");

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("not for ever")
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let digits = (0..=chunk.len()).map(|digit| DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]);
        text.extend(digits.map(char::from));
    }
    text
}

/// A token that ends at this moment, with these claims besides.
fn token(ends_ms: u64, mut claims: Value) -> String {
    claims["exp"] = json!(ends_ms as f64 / 1e3);
    let header = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", base64url(claims.to_string().as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", base64url(signature.as_ref()))
}

fn keys(more: &Value) -> Value {
    let mut configuration = json!({ "keys": [{ "alg": "HS256", "key": KEY }], "leeway_s": 0 });
    for (name, value) in more.as_object().into_iter().flatten() {
        configuration[name] = value.clone();
    }
    configuration
}

fn host_with(name: &str, configuration: &Value) -> Host {
    let path = plugins::scratch().join(format!("{name}.json"));
    std::fs::write(&path, configuration.to_string()).expect("it can be written");
    let config = format!("authorize=@{}", path.display());
    Host::start(name, &["--policy", "authorize=auth-token", "--policy-config", &config])
}

async fn join(host: &Host, token: &str) -> (Session, Value) {
    let mut session = Session::open(host.address).await;
    let request = json!({ "type": "join", "room": "harbour", "name": "Ada", "token": token });
    let began = Instant::now();
    loop {
        match session.ask(request.clone()).await {
            Ok(entered) => return (session, entered),
            Err(refused) => assert!(is_late(&refused.code) && began.elapsed() < PATIENCE, "{refused:?}"),
        }
    }
}

/// Any policy may be late on a busy machine.
fn is_late(code: &str) -> bool {
    code == "authorize-deadline"
}

/// Has authorize asked again.
fn reauthorize(host: &Host, path: &str) -> Value {
    let began = Instant::now();
    loop {
        let (status, answer) = act(host, "POST", &format!("{path}/reauthorize"), &Value::Null);
        if status == 200 {
            return answer;
        }
        let code = answer["code"].as_str().unwrap_or_default();
        assert!(is_late(code) && began.elapsed() < PATIENCE, "{status} {answer}");
    }
}

/// One request over HTTP: status, head and body.
fn http(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("the host listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

fn act(host: &Host, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let json = "Content-Type: application/json\r\n";
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, _, body) = http(host.address, method, path, json, &body);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

fn swap(host: &Host, configuration: &Value) {
    let wish = json!({ "component": "auth-token", "configuration": configuration });
    let (status, answer) = act(host, "POST", "/api/v1/policies/authorize/swap", &wish);
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn sessions_end_at_the_moment_that_their_grant_does() {
    let host = host_with("lasting-expiry", &keys(&json!({})));
    let ends_ms = now_ms() + 3_000;
    let token = token(ends_ms, json!({}));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let offered = format!("{bearer}Content-Type: application/sdp\r\n");
    let publish = || http(host.address, "POST", "/whip/harbour?name=encoder", &offered, OFFER);
    let made = std::iter::repeat_with(publish).find(|(_, _, body)| !body.contains("authorize-deadline"));
    let (status, head, body) = made.expect("it goes on");
    assert_eq!(status, 201, "{body}");
    let resource = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a resource");
    let (mut session, _) = join(&host, &token).await;
    let ended = session.told("ended").await;
    assert_eq!((&ended["code"], &ended["rejoin"]), (&json!("grant-expired"), &json!(false)));
    let late_ms = now_ms().checked_sub(ends_ms).expect("not before its time");
    println!("the session heard of its end {late_ms} ms after its grant's");
    // The encoder has no ear for messages: its connection closes, and its resource has ended.
    let began = Instant::now();
    loop {
        let (status, _, body) = http(host.address, "GET", resource, &bearer, "");
        if status == 410 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, people) = act(&host, "GET", "/api/v1/people", &Value::Null);
    assert_eq!(people["people"], json!([]));
}

#[tokio::test]
async fn an_operator_has_a_grant_looked_at_again_and_ends_sessions() {
    let host = Host::start("lasting-operator", &["--policy", "authorize=auth-open"]);
    let token = token(now_ms() + 600_000, json!({ "publish": false, "data": false }));
    let (mut ada, entered) = join(&host, &token).await;
    assert_eq!(entered["grant"]["publish"], true, "nobody read the token yet");
    let (mut eve, stranger) = join(&host, "").await;
    swap(&host, &keys(&json!({})));
    let path = |entered: &Value| format!("/api/v1/people/{}", entered["person"]);
    let answer = reauthorize(&host, &path(&entered));
    assert_eq!(answer["inside"], true, "{answer}");
    assert_eq!((&answer["grant"]["publish"], &answer["grant"]["data"]), (&json!(false), &json!(false)));
    let told = ada.told("grant-changed").await;
    assert_eq!((&told["grant"]["publish"], &told["grant"]["subscribe"]), (&json!(false), &json!(true)));
    let refused = ada.ask(json!({ "type": "message", "text": "hello" })).await.expect_err("not any more");
    assert_eq!(refused.code, "may-not-send");

    let answer = reauthorize(&host, &path(&stranger));
    assert_eq!((&answer["inside"], &answer["code"]), (&json!(false), &json!("token-missing")), "{answer}");
    assert_eq!(eve.told("ended").await["code"], "token-missing");
    let (_, decisions) = act(&host, "GET", "/api/v1/decisions?limit=50", &Value::Null);
    let renewed = decisions["decisions"].as_array().into_iter().flatten();
    let renewed = renewed.filter(|decision| decision["question"]["action"] == "renew").count();
    assert!(renewed >= 2, "both stand among the decisions: {decisions}");
    assert!(!decisions.to_string().contains(&token), "without the token");

    let (status, _) =
        act(&host, "DELETE", &format!("{}?reason=Closing%20time.", path(&entered)), &Value::Null);
    assert_eq!(status, 204);
    let ended = ada.told("ended").await;
    let expected = json!({
        "type": "ended", "code": "ended-by-operator", "message": "Closing time.", "rejoin": false
    });
    assert_eq!(ended, expected);
    assert_eq!(act(&host, "DELETE", &path(&entered), &Value::Null).0, 404);
}

/// What `tidegate people` prints, or why not.
fn people(host: &Host, arguments: &[&str]) -> Result<String, String> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("people").args(arguments).args(["--host", &host.address.to_string()]);
    let said = command.env_remove("TIDEGATE_ADMIN_TOKEN").output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
}

#[tokio::test]
async fn an_operator_asks_by_command_who_is_inside_and_what_they_may_and_ends_sessions() {
    let host = host_with("lasting-command", &keys(&json!({})));
    assert_eq!(people(&host, &[]).as_deref(), Ok("nobody is inside\n"));
    let token = token(4_102_444_800_000, json!({ "sub": "ada@example.org" }));
    let (mut ada, entered) = join(&host, &token).await;
    let id = entered["person"].to_string();
    let list = people(&host, &["list"]).expect("a list");
    let row = list.lines().nth(1).expect("a row").split_whitespace().collect::<Vec<_>>();
    assert_eq!(row[..4], [id.as_str(), "harbour", "Ada", "ada@example.org"], "{list}");
    assert_eq!(row[5..], ["2100-01-01", "00:00:00.000", "UTC"], "{list}");

    swap(&host, &keys(&json!({ "audience": "elsewhere" })));
    let began = Instant::now();
    let said = loop {
        match people(&host, &["reauthorize", &id]) {
            Ok(said) => break said,
            Err(late) => assert!(late.contains("deadline") && began.elapsed() < PATIENCE, "{late}"),
        }
    };
    assert!(said.starts_with(&format!("person {id} is out, wrong-audience: ")), "{said}");
    assert_eq!(ada.told("ended").await["code"], "wrong-audience");

    swap(&host, &keys(&json!({})));
    let (mut ada, entered) = join(&host, &token).await;
    let id = entered["person"].to_string();
    let long = "x".repeat(257);
    let refused = people(&host, &["end", &id, "--reason", &long]).expect_err("too long");
    assert!(refused.contains("1 to 256 bytes"), "{refused}");
    people(&host, &["end", &id, "--reason", "Schlu\u{df} für heute & danke!"]).expect("it ends");
    let ended = ada.told("ended").await;
    assert_eq!(ended["message"], "Schlu\u{df} für heute & danke!");
    let gone = people(&host, &["end", &id]).expect_err("nobody");
    assert!(gone.contains("Nobody with this number is inside. (no-such-person)"), "{gone}");
}

#[tokio::test]
async fn a_policy_that_wished_to_be_asked_again_is_and_may_have_another_mind() {
    let host = host_with("lasting-again", &keys(&json!({ "ask_again_s": 1 })));
    let (mut session, entered) = join(&host, &token(now_ms() + 600_000, json!({}))).await;
    assert_eq!(entered["grant"]["ask_again_ms"], 1_000);
    swap(&host, &keys(&json!({ "ask_again_s": 1, "audience": "somebody-else" })));
    let ended = session.told("ended").await;
    assert_eq!((&ended["code"], &ended["rejoin"]), (&json!("wrong-audience"), &json!(false)));
}
