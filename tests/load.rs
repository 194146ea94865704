//! The load client against a running host: what it says of a meeting it holds, and what of a host that is not there.
//! Knows nothing of the host but its command.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_load::started::Started;
use tidegate_load::{Options, Report, RunError, run};

fn host() -> Started {
    Started::start(env!("CARGO_BIN_EXE_tidegate"), 2, &[]).expect("it serves")
}

fn load(host: &Started, flags: &str) -> Report {
    run(&options(host.url(), flags)).expect("it runs")
}

fn options(url: &str, flags: &str) -> Options {
    let settle = if flags.contains("--settle") { "" } else { " --settle 0" };
    let line = format!("tidegate-load {url} --quiet{settle} {flags}");
    Options::read(line.split(' ').map(Into::into)).expect("sound flags")
}

/// Nobody was turned away, and nobody's call broke; whoever found the host busy has asked again.
fn all_were_let_in(report: &Report) {
    assert!(report.broken.is_empty() && report.refused.is_empty(), "{report:?}");
}

/// The same of bots that share their parts with the host and of such that share nothing.
#[test]
fn everyone_of_a_meeting_sees_and_hears_everyone() {
    let host = host();
    for bots in ["engine", "webrtc"] {
        let pid = host.pid();
        let flags = format!("--people 4 --join-rate 20 --duration 3 --rate 300 --pid {pid} --bots {bots}");
        let report = load(&host, &flags);
        all_were_let_in(&report);
        assert_eq!((report.joined, report.bots.as_str()), (4, bots), "{report:?}");
        // Twelve ways, each of 50 packets of sound and 30 pictures of two packets a second.
        let per_s = report.received_packets_per_s;
        assert!((12.0 * 80.0..12.0 * 140.0).contains(&per_s), "{per_s} packets/s: {report:?}");
        assert!(report.loss < 0.01, "{report:?}");
        assert!(report.pictures > 12 * 30, "{report:?}");
        assert!(report.latency_p50_us > 0 && report.latency_p50_us < 1_000_000, "{report:?}");
        assert!(report.host.is_some_and(|host| host.us_per_packet > 0.0), "{report:?}");
    }
}

#[test]
fn a_camera_sends_three_encodings_and_after_a_while_only_those_that_are_watched() {
    let host = host();
    let flags =
        "--scenario broadcast --media video --people 3 --rate 600 --settle 8 --duration 5 --bots engine";
    // 60, 180 and 600 kbit/s at 30 pictures a second: one, one and three packets each. Nobody wants the middle one once
    // the way is known to carry the largest. A machine that halts in the middle counts some late.
    let sent_for_one = |report: &Report| report.sent_packets_per_s / (report.received_packets_per_s / 2.0);
    let mut tries = (0..3).map(|_| load(&host, flags));
    let report = tries.find(|report| sent_for_one(report) < 1.5).expect("the middle one is not sent");
    all_were_let_in(&report);
    let packets = report.received_packets as f64 / report.pictures as f64;
    assert!((2.8..3.4).contains(&packets), "{packets} packets a picture: {report:?}");
    assert!(report.loss < 0.01, "{report:?}");
}

#[test]
fn encodings_of_the_other_make_are_seen_too() {
    let host = host();
    let flags = "--scenario broadcast --media video --people 3 --rate 600 --duration 4 --bots webrtc";
    let report = load(&host, flags);
    all_were_let_in(&report);
    assert_eq!(report.joined, 3, "{report:?}");
    assert!(report.pictures > 2 * 30 && report.loss < 0.01, "{report:?}");
}

#[test]
fn a_host_with_a_certificate_of_its_own_is_joined_by_its_fingerprint_and_by_no_other() {
    let host = Started::start(env!("CARGO_BIN_EXE_tidegate"), 1, &["--tls-self-signed"]).expect("it serves");
    let flags = "--scenario audio --people 2 --join-rate 20 --duration 1";
    let print = host.certificate().expect("it made one");
    for trust in [format!("--fingerprint {print}"), "--insecure".to_owned()] {
        let report = load(&host, &format!("{flags} {trust}"));
        all_were_let_in(&report);
        assert_eq!(report.joined, 2, "{report:?}");
        assert!(report.host.is_some_and(|host| host.resident_kib.is_none()), "metrics over TLS: {report:?}");
    }
    let other = ["00"; 32].join(":");
    let said = run(&options(host.url(), &format!("{flags} --fingerprint {other}"))).unwrap_err().to_string();
    assert!(said.contains("TLS") && said.contains("--fingerprint"), "{said}");
}

#[test]
fn a_host_that_is_busy_is_asked_again_and_a_bounded_number_of_times() {
    let host = host();
    // Its own process stands for the host's: asking for metrics would pass the same door.
    let flags =
        format!("--scenario audio --join-rate 20 --duration 1 --pid {} --people 2", std::process::id());
    let (url, turned_away) = sometimes_busy(host.url().trim_start_matches("http://"), 3);
    let report = run(&options(&url, &flags)).expect("it runs");
    all_were_let_in(&report);
    assert_eq!((report.joined, report.asked_again), (2, 3), "{report:?}");
    assert_eq!(turned_away.load(Ordering::Relaxed), 3);
    let (url, turned_away) = sometimes_busy("127.0.0.1:1", u32::MAX);
    let said = run(&options(&url, &flags.replace("--people 2", "--people 1"))).unwrap_err().to_string();
    assert!(said.contains("HTTP 503"), "{said}");
    assert_eq!(turned_away.load(Ordering::Relaxed), 5);
}

/// A door before a host that turns the first so many away with 503 and lets the others through.
fn sometimes_busy(host: &str, busy: u32) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (host, turned_away) = (host.to_owned(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&turned_away);
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            if count.load(Ordering::Relaxed) < busy {
                count.fetch_add(1, Ordering::Relaxed);
                turn_away(near);
            } else if let Ok(far) = TcpStream::connect(&host) {
                join(near.try_clone(), far.try_clone());
                join(Ok(far), Ok(near));
            }
        }
    });
    (url, turned_away)
}

fn turn_away(mut near: TcpStream) {
    let mut request = [0; 2_048];
    let _ = near.read(&mut request);
    let _ =
        near.write_all(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
}

/// Whatever comes from the one goes to the other, until it ends.
fn join(from: std::io::Result<TcpStream>, to: std::io::Result<TcpStream>) {
    let (mut from, mut to) = (from.expect("a handle"), to.expect("a handle"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

#[test]
fn people_come_and_go_without_harm_to_those_who_stay() {
    let host = host();
    let flags =
        "--bots engine --scenario broadcast --people 6 --join-rate 20 --duration 4 --churn 3 --rate 300";
    let report = load(&host, flags);
    assert!(report.joined > 6, "{report:?}");
    all_were_let_in(&report);
    assert!(report.pictures > 0 && report.loss < 0.05, "{report:?}");
}

#[test]
fn a_host_that_is_not_there_is_one_clear_error_and_the_report_says_so_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let json = std::env::temp_dir().join(format!("tidegate-nobody-{}.json", std::process::id()));
    let line =
        format!("tidegate-load {url} --quiet --people 2 --join-rate 50 --duration 1 --settle 0 --json");
    let words = line.split(' ').map(Into::into).chain([json.clone().into_os_string()]);
    let options = Options::read(words).expect("sound flags");
    let Err(RunError::Nobody(said)) = run(&options) else { panic!("somebody got in") };
    assert!(said.contains("refused"), "{said}");
    let report = std::fs::read_to_string(&json).expect("a report");
    std::fs::remove_file(json).expect("it is there");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["joined"], 0, "{report}");
    assert!(report["broken"].to_string().contains("refused"), "{report}");
}
