//! The load client against a running host: what it says of a meeting it holds, and what of a host that is not there.
//! Knows nothing of the host but its command.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use tidegate_load::started::Started;
use tidegate_load::{Options, Report, RunError, run};

fn host() -> Started {
    Started::start(env!("CARGO_BIN_EXE_tidegate"), 2, &[]).expect("it serves")
}

fn load(host: &Started, flags: &str) -> Report {
    let line = format!("tidegate-load {} --quiet --settle 0 {flags}", host.url());
    let options = Options::read(line.split(' ').map(Into::into)).expect("sound flags");
    run(&options).expect("it runs")
}

/// How many were turned away because a decision came late, as on a busy machine any may. Nobody was for another reason,
/// and nobody's call broke.
fn late(report: &Report) -> u64 {
    assert!(report.broken.is_empty(), "{:?}", report.broken);
    assert!(report.refused.keys().all(|code| code == "authorize-deadline"), "{:?}", report.refused);
    report.refused.values().sum()
}

#[test]
fn everyone_of_a_meeting_sees_and_hears_everyone() {
    let host = host();
    let pid = host.pid();
    let flags = format!("--people 4 --join-rate 20 --duration 3 --rate 300 --pid {pid}");
    let report = (0..3).map(|_| load(&host, &flags)).find(|report| late(report) == 0).expect("all get in");
    assert_eq!(report.joined, 4, "{report:?}");
    // Twelve ways, each of 50 packets of sound and 30 pictures of two packets a second.
    let per_s = report.received_packets_per_s;
    assert!((12.0 * 80.0..12.0 * 140.0).contains(&per_s), "{per_s} packets/s: {report:?}");
    assert!(report.loss < 0.01, "{report:?}");
    assert!(report.pictures > 12 * 30, "{report:?}");
    assert!(report.latency_p50_us > 0 && report.latency_p50_us < 1_000_000, "{report:?}");
    assert!(report.host.is_some_and(|host| host.us_per_packet > 0.0), "{report:?}");
}

#[test]
fn people_come_and_go_without_harm_to_those_who_stay() {
    let host = host();
    let flags = "--scenario broadcast --people 6 --join-rate 20 --duration 4 --churn 3 --rate 300";
    let report = load(&host, flags);
    assert!(report.joined > 6, "{report:?}");
    assert!(late(&report) * 10 <= report.joined, "{report:?}");
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
