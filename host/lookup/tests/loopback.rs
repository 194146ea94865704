//! Lookups against real servers on this machine: what is found, and what is named when it is not.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_lookup::{LookupConfig, Lookups};
use tidegate_types::decision::LookupError;

const LONG: Duration = Duration::from_secs(20);

/// What a server says to a path; `None` says nothing and keeps the connection.
type Says = dyn Fn(&str, &HashMap<String, String>) -> Option<String> + Send + Sync;

/// A server of one's own at a free port. It lives as long as the test.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn new(says: impl Fn(&str, &HashMap<String, String>) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, says): (Arc<AtomicUsize>, Arc<Says>) = (Arc::default(), Arc::new(says));
        let counts = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, says, counts) = (stream.expect("a connection"), says.clone(), counts.clone());
                std::thread::spawn(move || serve(stream, &*says, &counts));
            }
        });
        Self { address, asked }
    }

    fn lookup(&self, more: &Value) -> Lookups {
        lookup(&format!("http://{}/people/{{key}}", self.address), more)
    }
}

fn serve(mut stream: TcpStream, says: &Says, counts: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
    });
    let headers = headers.collect();
    counts.fetch_add(1, Ordering::SeqCst);
    match says(first.split(' ').nth(1).unwrap_or_default(), &headers) {
        // Whoever does not want it all has gone.
        Some(answer) => drop(stream.write_all(answer.as_bytes())),
        None => std::thread::sleep(LONG),
    }
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn lookup(url: &str, more: &Value) -> Lookups {
    let mut config = json!({ "kind": "http", "url": url, "timeout-ms": 2_000 });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    Lookups::start(vec![LookupConfig::read("people", &config).expect("it is sound")]).expect("it starts")
}

/// Asks, and waits for the answer on this test's own thread.
async fn ask(lookups: &Lookups, key: &str) -> Result<String, LookupError> {
    ask_until(lookups, key, Instant::now() + LONG).await
}

async fn ask_until(lookups: &Lookups, key: &str, until: Instant) -> Result<String, LookupError> {
    let (tell, told) = tokio::sync::oneshot::channel();
    lookups.ask("people", key, until, |found| tell.send(found).expect("the test waits"));
    told.await.expect("every question is answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_found_by_its_key_and_kept() {
    let server = Server::new(|path, headers| {
        ok(&format!("{path} {}", headers.get("authorization").map_or("", String::as_str)))
    });
    let lookups = server.lookup(&json!({ "headers": { "Authorization": "Bearer x" } }));
    for _ in 0..3 {
        assert_eq!(ask(&lookups, "ada/../x").await, Ok("/people/ada%2F..%2Fx Bearer x".into()));
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "kept");
    let counts = &lookups.counts()[0];
    assert_eq!((counts.asked, counts.kept, counts.found), (3, 2, 3));
    let fresh = server.lookup(&json!({ "cache-s": 0 }));
    for _ in 0..2 {
        ask(&fresh, "ada").await.expect("found");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 3, "not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_wrong_has_a_name() {
    let server = Server::new(|path, _| match path.rsplit('/').next() {
        Some("slow") => None,
        Some("huge") => ok(&"x".repeat(1_001)),
        Some("endless") => Some(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20))),
        Some("gone") => Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()),
        Some("moved") => Some("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n".into()),
        Some("cut") => Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()),
        Some("other") => Some("220 mail.example ESMTP\r\n".into()),
        Some("hangs-up") => Some(String::new()),
        _ => ok("fine"),
    });
    let lookups = server.lookup(&json!({ "max-bytes": 1_000, "timeout-ms": 1_500 }));
    for (key, error, name) in [
        ("slow", LookupError::Timeout, "timeout"),
        ("huge", LookupError::TooLarge, "too-large"),
        ("endless", LookupError::TooLarge, "too-large"),
        ("gone", LookupError::Status(404), "status-404"),
        ("moved", LookupError::Status(302), "status-302"),
        ("cut", LookupError::Failed, "failed"),
        ("other", LookupError::Failed, "failed"),
        ("hangs-up", LookupError::Failed, "failed"),
        ("..", LookupError::BadKey, "bad-key"),
    ] {
        let began = Instant::now();
        assert_eq!(ask(&lookups, key).await, Err(error), "{key}");
        assert_eq!(error.to_string(), name);
        assert!(began.elapsed() < LONG / 2, "{key}");
    }
    // A server that keeps its connections and answers one at a time does not matter: this one is another key.
    assert_eq!(ask(&lookups, "ada").await, Ok("fine".into()));
    let failures: u64 = lookups.counts()[0].failures.iter().map(|(_, count)| count).sum();
    assert_eq!(failures, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_down_is_unreachable_and_an_unknown_one_unknown() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let lookups = lookup(&format!("http://127.0.0.1:{port}/{{key}}"), &json!({}));
    assert_eq!(ask(&lookups, "ada").await, Err(LookupError::Unreachable));
    let (tell, told) = channel();
    lookups.ask("nobody", "ada", Instant::now() + LONG, move |found| tell.send(found).expect("waits"));
    assert_eq!(told.recv(), Ok(Err(LookupError::Unknown)));
    assert_eq!(lookups.counts()[1].failures, [("unknown-lookup", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_less_time_than_the_lookup_is_told_in_time_and_the_value_is_kept_for_the_next() {
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::new(move |_, _| {
        gate.lock().expect("no panic").recv().expect("the test opens");
        ok("late")
    });
    let lookups = server.lookup(&json!({}));
    let soon = Instant::now() + Duration::from_millis(50);
    assert_eq!(ask_until(&lookups, "ada", soon).await, Err(LookupError::Timeout));
    open.send(()).expect("it waits");
    assert_eq!(ask(&lookups, "ada").await, Ok("late".into()));
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "one flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_ask_for_one_key_ask_the_server_once() {
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::new(move |_, _| {
        gate.lock().expect("no panic").recv().expect("the test opens");
        ok("one")
    });
    let lookups = server.lookup(&json!({}));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..1_000 {
        let tell = tell.clone();
        let until = Instant::now() + LONG;
        lookups.ask("people", "ada", until, move |found| tell.send(found).expect("the test waits"));
    }
    open.send(()).expect("it waits");
    for _ in 0..1_000 {
        assert_eq!(told.recv().await.expect("an answer"), Ok("one".into()));
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_different_keys_meet_a_bound_and_the_rest_are_served_in_turn() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = most.clone();
    let server = Server::new(move |path, _| {
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        now.fetch_sub(1, Ordering::SeqCst);
        ok(path)
    });
    let lookups = server.lookup(&json!({ "at-once": 3 }));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for index in 0..1_000 {
        let tell = tell.clone();
        let until = Instant::now() + LONG;
        lookups.ask("people", &format!("{index}"), until, move |found| tell.send(found).expect("waits"));
    }
    let (mut found, mut named) = (0, 0);
    for _ in 0..1_000 {
        match told.recv().await.expect("an answer") {
            Ok(_) => found += 1,
            Err(LookupError::Busy | LookupError::Timeout) => named += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found > 0 && found + named == 1_000, "{found} found, {named} told that it is busy");
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_values_too() {
    let config =
        json!({ "kind": "command", "program": ["/bin/sh", "-c", "cat; echo '!'"], "timeout-ms": 2_000 });
    let config = LookupConfig::read("people", &config).expect("it is sound");
    let lookups = Lookups::start(vec![config]).expect("it starts");
    assert_eq!(ask(&lookups, "ada").await, Ok("ada!".into()));
    let config = json!({ "kind": "command", "program": ["/bin/sleep", "1000"], "timeout-ms": 100 });
    let config = LookupConfig::read("people", &config).expect("it is sound");
    let lookups = Lookups::start(vec![config]).expect("it starts");
    assert_eq!(ask(&lookups, "ada").await, Err(LookupError::Timeout));
}

fn jwk(kid: &str) -> Value {
    let coordinate = "A".repeat(43);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": coordinate, "y": coordinate })
}

fn key_set(server: &Server, more: &Value) -> Lookups {
    let mut config = json!({ "kind": "jwks", "url": format!("http://{}/jwks", server.address) });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    Lookups::start(vec![LookupConfig::read("people", &config).expect("it is sound")]).expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_fetched_once_and_again_for_a_new_key_but_not_for_each_forged_one() {
    let kids = Arc::new(Mutex::new(vec!["spring"]));
    let shown = kids.clone();
    let server = Server::new(move |_, _| {
        let keys: Vec<Value> = shown.lock().expect("no panic").iter().map(|kid| jwk(kid)).collect();
        ok(&json!({ "keys": keys }).to_string())
    });
    let lookups = key_set(&server, &json!({ "refetch-s": 1 }));
    for _ in 0..10 {
        assert!(ask(&lookups, "spring").await.expect("found").contains("ES256"));
    }
    assert_eq!(ask(&lookups, "").await, ask(&lookups, "spring").await, "there is one only");
    for forged in 0..1_000 {
        let _ = ask(&lookups, &format!("forged-{forged}")).await;
    }
    let began = Instant::now();
    let asked = server.asked.load(Ordering::SeqCst);
    assert!(asked <= 3, "{asked} fetches for 1,000 forged ids");
    // The issuer turns to another key: the first token of it that comes after a second is let in.
    *kids.lock().expect("no panic") = vec!["autumn"];
    while ask(&lookups, "autumn").await.is_err() {
        assert!(began.elapsed() < LONG, "the new key is never fetched");
        tokio::task::yield_now().await;
    }
    let gone = ask(&lookups, "spring").await;
    assert_eq!(gone, Err(LookupError::NotFound), "what the issuer took back serves no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_serves_on_while_its_server_is_down() {
    let up = Arc::new(Mutex::new(true));
    let shown = up.clone();
    let server = Server::new(move |_, _| {
        if *shown.lock().expect("no panic") {
            ok(&json!({ "keys": [jwk("spring")] }).to_string())
        } else {
            Some("HTTP/1.1 503 Service Unavailable\r\n\r\n".into())
        }
    });
    let lookups = key_set(&server, &json!({ "refresh-s": 1, "refetch-s": 1 }));
    assert!(ask(&lookups, "spring").await.is_ok());
    *up.lock().expect("no panic") = false;
    let asked = server.asked.load(Ordering::SeqCst);
    let began = Instant::now();
    while server.asked.load(Ordering::SeqCst) < asked + 2 {
        assert!(began.elapsed() < LONG, "it is not fetched again");
        assert!(ask(&lookups, "spring").await.is_ok());
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&lookups, "autumn").await, Err(LookupError::Status(503)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_may_be_a_file() {
    let path = std::env::temp_dir().join(format!("tidegate-jwks-{}.json", std::process::id()));
    std::fs::write(&path, json!({ "keys": [jwk("spring")] }).to_string()).expect("written");
    let config = json!({ "kind": "jwks", "file": path });
    let config = LookupConfig::read("people", &config).expect("it is sound");
    let lookups = Lookups::start(vec![config]).expect("it starts");
    assert!(ask(&lookups, "spring").await.is_ok());
    std::fs::remove_file(&path).expect("it is there");
}
