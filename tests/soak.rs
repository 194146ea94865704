//! The soak: a meeting that somebody leaves and somebody joins each half second, beside one person who stays through all
//! of it. What the host holds must not grow with how many have come: memory, descriptors, relays, and the SDP of who
//! stays. Knows nothing of the host but its command and its numbers.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tidegate_load::started::Started;
use tidegate_load::{Options, Report, run};

const PEOPLE: u64 = 8;
/// Who comes and goes each second.
const CHURN: u64 = 2;
/// Sound and pictures of everyone, of who stays, and of those whose leaving is still being noticed.
const TRACKS: u64 = 2 * (PEOPLE + 1 + 4 * CHURN);
/// A section of an offer takes less than this.
const SECTION_BYTES: u64 = 1_024;
/// Until then pools and caches warm up.
const WARM_S: f64 = 60.0;
/// Looks at memory, one a second, that a line is fitted to; of fewer, as in a short try, it would tell nothing.
const FEWEST_LOOKS: usize = 240;
/// How much the fitted line may rise.
const MIB_PER_MINUTE: f64 = 1.0;
/// How often the host is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Everything of who has left is gone after that.
const PATIENCE: Duration = Duration::from_secs(30);

fn load(host: &Started, flags: &str) -> Report {
    let line = format!("tidegate-load {} --quiet --bots engine --settle 0 --room soak {flags}", host.url());
    let options = Options::read(line.split(' ').map(Into::into)).expect("sound flags");
    run(&options).expect("it runs")
}

/// The most that the host held at any look.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    files: u64,
    relays: u64,
    transports: u64,
}

impl Held {
    fn now(host: &Started) -> Self {
        let files = std::fs::read_dir(format!("/proc/{}/fd", host.pid())).expect("it runs").count() as u64;
        let page = metrics(host);
        let number = |name: &str| -> u64 {
            let lines = page.lines().filter_map(|line| line.strip_prefix(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        Self {
            files,
            relays: number("tidegate_directory_relays "),
            transports: number("tidegate_directory_transports "),
        }
    }

    fn most(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            relays: self.relays.max(other.relays),
            transports: self.transports.max(other.transports),
        }
    }
}

fn metrics(host: &Started) -> String {
    let address = host.url().strip_prefix("http://").expect("a plain address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    page
}

/// Ten minutes; `TIDEGATE_SOAK_S` is for trying it.
#[test]
#[ignore = "ten minutes; .ci/full runs it"]
fn what_the_host_holds_stays_the_same_while_more_than_a_thousand_come_and_go() {
    let told = std::env::var("TIDEGATE_SOAK_S").ok().and_then(|text| text.parse().ok());
    let seconds: u64 = told.unwrap_or(600);
    let host = Started::start(env!("CARGO_BIN_EXE_tidegate"), 2, &[]).expect("it serves");
    let before = Held::now(&host);
    let over = AtomicBool::new(false);
    // Enters first and leaves last.
    let staying = format!("--people 1 --rate 300 --seed 2 --duration {}", seconds + 5);
    let (meeting, stayed, most) = thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut most = Held::default();
            while !over.load(Ordering::Relaxed) {
                most = most.most(Held::now(&host));
                thread::sleep(LOOK);
            }
            most
        });
        let stays = scope.spawn(|| load(&host, &staying));
        let meets = format!(
            "--people {PEOPLE} --join-rate 10 --churn {CHURN} --rate 300 --duration {seconds} --pid {}",
            host.pid()
        );
        let meeting = load(&host, &meets);
        let stayed = stays.join().expect("it ends");
        over.store(true, Ordering::Relaxed);
        (meeting, stayed, looks.join().expect("it ends"))
    });
    assert_came_and_went(&meeting, &stayed, seconds);
    let memory = memory(&meeting);
    let rise = slope(&memory);
    let after = until_gone(&host);
    println!(
        "{} came, one stayed, its SDP took at most {} bytes; {rise:+.2} MiB a minute; before {before:?}, at most \
         {most:?}, after {after:?}",
        meeting.joined, stayed.largest_sdp_bytes
    );
    assert!(memory.len() < FEWEST_LOOKS || rise < MIB_PER_MINUTE, "memory rises by {rise:.2} MiB a minute");
    assert!(stayed.largest_sdp_bytes <= TRACKS * SECTION_BYTES, "{} bytes", stayed.largest_sdp_bytes);
    // From each shard to the other, at most.
    assert!(most.relays > 0 && most.relays <= TRACKS, "{most:?}");
    // A session is one connection; looking takes a few, too.
    assert!(most.files <= before.files + 4 * TRACKS, "{before:?}, then {most:?}");
    assert!(after.files <= before.files + 8, "{before:?}, then {after:?}");
}

/// Nearly all got in whenever it was their turn, and who stayed did so all the time.
fn assert_came_and_went(meeting: &Report, stayed: &Report, seconds: u64) {
    let refused: u64 = meeting.refused.values().sum();
    // On a busy machine a decision may come late.
    assert!(meeting.refused.keys().all(|code| code == "authorize-deadline"), "{:?}", meeting.refused);
    assert!(refused * 10 <= meeting.joined, "{:?}", meeting.refused);
    assert!(
        meeting.broken.is_empty() && stayed.broken.is_empty(),
        "{:?} {:?}",
        meeting.broken,
        stayed.broken
    );
    assert!(meeting.joined >= CHURN * seconds * 9 / 10, "{} joined", meeting.joined);
    assert_eq!(stayed.joined, 1, "{stayed:?}");
    assert!(stayed.pictures > 0, "{stayed:?}");
}

/// What the host holds once everybody has left.
fn until_gone(host: &Started) -> Held {
    let until = Instant::now() + PATIENCE;
    loop {
        let held = Held::now(host);
        if held.relays == 0 && held.transports == 0 {
            return held;
        }
        assert!(Instant::now() < until, "everybody has left: {held:?}");
        thread::sleep(LOOK);
    }
}

/// Minutes and MiB, once all is warm.
fn memory(report: &Report) -> Vec<(f64, f64)> {
    let settled = report.samples.iter().filter(|sample| sample.measured && sample.second > WARM_S);
    settled
        .filter_map(|sample| Some((sample.second / 60.0, sample.host_resident_kib? as f64 / 1_024.0)))
        .collect()
}

/// The linear fit's rise.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}
