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

/// One number of the host's metrics.
fn number(host: &Started, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address(host)).expect("it listens");
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", address(host));
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
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

fn swap(host: &Started, component: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args([
        "policy",
        "swap",
        &format!("share={component}"),
        "--config",
        "null",
        "--host",
        &address(host),
    ]);
    let said = command.output().expect("the command runs");
    assert!(said.status.success(), "{said:?}");
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
fn a_host_without_the_policy_asks_nobody_and_says_how_it_is_chosen() {
    let host = host(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["policy", "swap", "share=share-speaker", "--host", &address(&host)]);
    let said = command.output().expect("the command runs");
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && told.contains("--policy share=FILE"), "{told}");
    assert_eq!(number(&host, "tidegate_directory_share_asked_total"), 0);
}
