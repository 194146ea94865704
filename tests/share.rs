//! Share over a running host: a ceiling is what watchers are sent less, and when its policy breaks the host's own rule is
//! back. Knows nothing of how a bit rate is divided.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../host/policy/tests/policies/guest.rs"]
mod guest;

use guest::Guest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tidegate_load::started::Started;
use tidegate_load::{Options, run};
use tidegate_types::decision::Decision;

/// One camera of 60, 180 and 600 kbit/s at 30 pictures a second: one, one and three packets each. Two people watch.
const CALL: &str =
    "--quiet --scenario broadcast --media video --people 3 --rate 600 --settle 8 --duration 4 --bots engine";
/// However busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn host(flags: &[&str]) -> Started {
    Started::start(env!("CARGO_BIN_EXE_tidegate"), 2, flags).expect("it serves")
}

/// How many packets watchers are sent of a picture, once the call has settled.
fn packets_a_picture(url: &str) -> f64 {
    let line = format!("tidegate-load {url} {CALL}");
    let report = run(&Options::read(line.split(' ').map(Into::into)).expect("sound flags")).expect("it runs");
    assert!(report.broken.is_empty() && report.refused.is_empty() && report.pictures > 0, "{report:?}");
    report.received_packets as f64 / report.pictures as f64
}

fn address(host: &Started) -> String {
    host.url().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// The host's metrics.
fn page(host: &Started) -> String {
    let mut stream = TcpStream::connect(address(host)).expect("it listens");
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", address(host));
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    page
}

/// One number of them.
fn number(host: &Started, name: &str) -> u64 {
    let page = page(host);
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A policy of share that traps whenever it is asked.
fn broken() -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken-share.wasm");
    std::fs::write(&file, Guest::new(Decision::Share).decide("(unreachable)").build())
        .expect("it can be written");
    file
}

/// What `tidegate policy` prints.
fn policy(host: &Started, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("policy").args(arguments).args(["--host", &address(host)]);
    let said = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
}

fn swap(host: &Started, component: &str) -> String {
    policy(host, &["swap", &format!("share={component}"), "--config", "null"]).expect("it fits")
}

#[test]
fn a_ceiling_is_what_watchers_are_sent_and_ends_with_its_policy() {
    let bounded = ["--policy", "share=share-speaker", "--policy-config", r#"share={"camera_kbps":250}"#];
    let host = host(&bounded);
    let packets = packets_a_picture(host.url());
    assert!((0.9..1.5).contains(&packets), "{packets} packets a picture under a ceiling");

    // The next call begins under the ceiling, too; then its policy breaks.
    let asked = number(&host, "tidegate_directory_share_asked_total");
    let url = host.url().to_owned();
    let call = std::thread::spawn(move || packets_a_picture(&url));
    until("asked again", || number(&host, "tidegate_directory_share_asked_total") > asked + 2);
    let stale = number(&host, "tidegate_directory_share_stale_total");
    swap(&host, &broken().display().to_string());
    until("stale", || number(&host, "tidegate_directory_share_stale_total") > stale);
    let packets = call.join().expect("the call goes on");
    assert!((2.5..3.4).contains(&packets), "{packets} packets a picture by the host's own rule");
    assert!(number(&host, "tidegate_directory_share_failures_total") > 0);
}

#[test]
fn a_policy_that_comes_while_a_call_goes_on_is_heeded_until_it_is_taken_back() {
    let host = host(&[]);
    let asked = || number(&host, "tidegate_directory_share_asked_total");
    let ask = |arguments: &[&str]| policy(&host, arguments);
    let shadow = ask(&["swap", "share=share-speaker", "--shadow"]).expect_err("nothing to compare it with");
    assert!(shadow.contains("without --shadow"), "{shadow}");
    assert!(ask(&["back", "share"]).expect_err("nobody was there").contains("no way back"));
    assert!(ask(&["list"]).expect("a list").contains("share: the host's own rule"));
    let packets = packets_a_picture(host.url());
    assert!((2.5..3.4).contains(&packets), "{packets} packets a picture by the host's own rule");
    assert_eq!(asked(), 0, "nobody was there to ask");

    // It comes while a call goes on.
    let url = host.url().to_owned();
    let call = std::thread::spawn(move || packets_a_picture(&url));
    until("in a room", || number(&host, "tidegate_directory_people") >= 3);
    let swapped =
        ask(&["swap", "share=share-speaker", "--config", r#"{"camera_kbps":250}"#]).expect("it fits");
    assert!(swapped.starts_with("in force: share-speaker"), "{swapped}");
    let packets = call.join().expect("the call goes on");
    assert!((0.9..1.5).contains(&packets), "{packets} packets a picture under a ceiling");
    let list = ask(&["list"]).expect("a list");
    assert!(
        list.contains("share 1: share-speaker") && list.contains("before: the host's own rule"),
        "{list}"
    );
    let explained = ask(&["explain", "share", "--last", "1"]).expect("it was asked");
    assert!(explained.contains("by        share-speaker"), "{explained}");
    assert!(page(&host).contains(r#"decision="share""#), "metrics name it");

    let url = host.url().to_owned();
    let call = std::thread::spawn(move || packets_a_picture(&url));
    until("in a room again", || number(&host, "tidegate_directory_people") >= 3);
    let back = ask(&["back", "share"]).expect("it is undone");
    assert!(back.starts_with("in force again: the host's own rule\nbefore: share-speaker"), "{back}");
    let packets = call.join().expect("the call goes on");
    assert!((2.5..3.4).contains(&packets), "{packets} packets a picture by the host's own rule");
    assert!(!page(&host).contains(r#"decision="share""#), "it makes no decision any more");

    assert!(ask(&["back", "share"]).expect("and forth").starts_with("in force again: share-speaker"));
    let left = ask(&["swap", "share=built-in"]).expect("it can be done without");
    assert!(left.starts_with("in force: the host's own rule"), "{left}");
    assert!(ask(&["swap", "balance=built-in"]).expect_err("not that one").contains("by a policy"));
}
