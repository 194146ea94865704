//! What a whole host spends on one forwarded packet, over real UDP on loopback: the release binary with one shard, 200
//! subscribers that are real ICE, DTLS and SRTP peers in another process, receiving, RTCP and transport-cc included.
//! Beside it, in the same run and at the same pace, to as many sockets of another process: a loop that only encrypts
//! and calls `sendto` for each packet, one that hands a burst to `sendmmsg`, and one whose messages carry UDP_SEGMENT.
//! Knows nothing of the host's inside.
//!
//! ```text
//! load (this program again) ─ 1 or 3 publish ─▶ host ─ × 200 ─▶ load          host's CPU by /proc
//! encrypt ─ sendto | sendmmsg | sendmmsg + GSO ─ × 200 ─▶ sinks (this program again)   own CPU
//! ```
//!
//! `cargo bench --bench host` prints the table; `-- --rounds N` repeats it (medians are told); `-- --readme` writes it
//! into README.md.
#![forbid(unsafe_code)]

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tidegate_load::probe::{Cpu, Probe};
use tidegate_load::started::Started;
use tidegate_shard::floor::{Burst, Floor};

const SUBSCRIBERS: usize = 200;
/// How often everything is measured; the medians are told.
const ROUNDS: usize = 3;
/// How long each measurement takes.
const SECONDS: u64 = 8;
/// Pictures a second of the video case; the latency case has as many as half a core forwards, within what a load client
/// sends.
const PICTURES_PER_S: u32 = 50;
const MOST_PICTURES_PER_S: u32 = 240;
/// Until nobody arrives any more, and until everyone's way has been probed: what exceeds its estimate is paced.
const SETTLE_S: u32 = 4;
const ESTIMATED_S: u32 = 12;
/// Subscribers of each room where there are many.
const ROOM: usize = 10;
/// Bytes of an echoed datagram.
const ECHO_BYTES: u16 = 1_216;
/// Header and extensions that the host writes, in the clear.
const HEADER_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Sinks to which nothing came for so long have it all.
const QUIET: Duration = Duration::from_millis(100);
/// What the far process is called with.
const AS_LOAD: &str = "--as-load";
const AS_SINKS: &str = "--as-sinks";

/// One shape of traffic.
struct Case {
    name: &'static str,
    /// For the load client.
    flags: String,
    publishers: usize,
    /// That they and the subscribers are divided among.
    rooms: usize,
    /// From the last one's arrival to the begin of the measurement.
    settle_s: u32,
    /// Packets to each destination at a time.
    each: u16,
    /// Bytes of one, encrypted.
    length: u16,
    /// From burst to burst.
    interval: Duration,
}

/// Pictures of 5 packets of 1,200 bytes, so many a second.
fn video(pictures_per_s: u32) -> Case {
    let kbps = pictures_per_s * 5 * 1_200 * 8 / 1_000;
    Case {
        name: "video, frames of 5 packets of 1,200 bytes",
        flags: format!(
            "--scenario broadcast --media video --publishers 1 --encodings 1 --rate {kbps} --fps {pictures_per_s}"
        ),
        publishers: 1,
        rooms: 1,
        settle_s: SETTLE_S,
        each: 5,
        length: 1_216,
        interval: Duration::from_secs(1) / pictures_per_s,
    }
}

fn audio() -> Case {
    Case {
        name: "audio, one packet per destination",
        flags: "--scenario audio --publishers 3".to_owned(),
        publishers: 3,
        rooms: 1,
        settle_s: SETTLE_S,
        each: 1,
        length: 140,
        interval: Duration::from_micros(6_667),
    }
}

/// CPU for one packet, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    user: f64,
    system: f64,
    /// The part of the packets that did not arrive.
    loss: f64,
}

impl Cost {
    fn total(self) -> f64 {
        self.user + self.system
    }

    /// What the load client's report says of the host.
    fn told(report: &Value) -> Self {
        let number = |name: &str| report["host"][name].as_f64().unwrap_or(f64::NAN);
        let loss = report["loss"].as_f64().unwrap_or(f64::NAN);
        Self { user: number("user_us_per_packet"), system: number("system_us_per_packet"), loss }
    }

    fn of(spent: Cpu, packets: u64, arrived: u64) -> Self {
        let each = |span: Duration| span.as_secs_f64() * 1e6 / packets.max(1) as f64;
        let loss = 1.0 - arrived as f64 / packets.max(1) as f64;
        Self { user: each(spent.user), system: each(spent.system), loss: loss.max(0.0) }
    }
}

/// How a floor sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Each,
    Batched,
    Segmented,
}

impl Call {
    const ALL: [Self; 3] = [Self::Each, Self::Batched, Self::Segmented];

    const fn name(self) -> &'static str {
        match self {
            Self::Each => "encrypt + sendto each",
            Self::Batched => "encrypt + sendmmsg",
            Self::Segmented => "encrypt + sendmmsg + GSO",
        }
    }
}

/// What is asked for on the command line.
struct Run {
    rounds: usize,
    seconds: u64,
    subscribers: usize,
    readme: bool,
}

/// All that was measured of one case.
#[derive(Default)]
struct Measured {
    host: Vec<Cost>,
    latency_us: Vec<(u64, u64)>,
    resident_kib: u64,
    /// ... beyond what it had before anyone came.
    grown_kib: u64,
    floors: [Vec<Cost>; 3],
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some(AS_LOAD) => return tidegate_load::command(std::env::args_os().skip(1)),
        Some(AS_SINKS) => return be_sinks(),
        _ => {}
    }
    let arguments: Vec<String> = arguments.collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    // `cargo test --benches` only asks whether it runs.
    let run = if has("--bench") {
        let rounds = after("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
        Run { rounds, seconds: SECONDS, subscribers: SUBSCRIBERS, readme: has("--readme") }
    } else {
        Run { rounds: 1, seconds: 1, subscribers: 5, readme: false }
    };
    let measured = [video(PICTURES_PER_S), audio()].map(|case| {
        let measured = measure(&case, &run);
        print!("{}", table(&case, &measured));
        (case, measured)
    });
    let beside = [scale_up(&run), half_loaded(median(&measured[0].1.host), &run)];
    beside.iter().for_each(|beside| println!("\n{}\n  aim: {}", beside.told, beside.aim));
    if run.readme {
        write_readme(&measured, &beside);
    }
    ExitCode::SUCCESS
}

/// Host and floors in turn.
fn measure(case: &Case, run: &Run) -> Measured {
    let mut measured = Measured::default();
    for _ in 0..run.rounds.max(1) {
        let host = Cores::Near.of(|| host(1));
        let idle_kib = Probe::Process(host.pid()).read().resident_kib.unwrap_or(0);
        let report = load(&host, case, run, Cores::Far);
        measured.host.push(Cost::told(&report));
        measured.latency_us.push(latency(&report));
        let resident_kib = report["host"]["resident_kib"].as_u64().unwrap_or(0);
        measured.resident_kib = measured.resident_kib.max(resident_kib);
        measured.grown_kib = measured.grown_kib.max(resident_kib.saturating_sub(idle_kib));
        let mut sinks = Sinks::start(run.subscribers);
        for (call, costs) in Call::ALL.into_iter().zip(&mut measured.floors) {
            let span = Duration::from_secs(run.seconds);
            costs.push(Cores::Near.of(|| sinks.floor(case, call, span)));
        }
    }
    measured
}

/// The release binary with so many shards, filled one beside the other.
fn host(shards: usize) -> Started {
    Started::start(env!("CARGO_BIN_EXE_tidegate"), shards, &["--policy", "allocate=allocate-spread"])
        .expect("the host serves")
}

/// The load client's report of one case. Beyond the publishers of sound everyone only listens: each packet goes to the
/// same number of destinations.
fn load(host: &Started, case: &Case, run: &Run, far: Cores) -> Value {
    let json = scratch("host-bench.json");
    let people = run.subscribers + case.publishers * case.rooms;
    let flags = format!(
        "{} --bots engine --people {people} --rooms {} --join-rate 50 --settle {} --duration {} --quiet --overcommit --threads 1",
        case.flags, case.rooms, case.settle_s, run.seconds
    );
    let mut load = again(AS_LOAD);
    load.arg(host.url())
        .args(flags.split(' '))
        .args(["--pid", &host.pid().to_string(), "--json"])
        .arg(&json)
        .stdout(Stdio::null());
    let status = far.of(|| load.status()).expect("this program runs");
    assert!(status.success(), "the load client failed");
    let text = std::fs::read_to_string(json).expect("the load client wrote its report");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_eq!(report["joined"].as_u64(), Some(people as u64), "not everyone joined: {report}");
    report
}

/// Where something runs: what is measured has a core of its own, what it speaks with the others, as on two machines.
/// Otherwise the wake that a publisher's first packet causes may take the publisher's own core from it, and the packets
/// of a picture come far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cores {
    Near,
    Far,
    All,
}

impl Cores {
    /// Does something there; the processes that it starts stay there.
    fn of<T>(self, action: impl FnOnce() -> T) -> T {
        let Ok(all) = sched_getaffinity(None) else { return action() };
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core));
        let mut some = CpuSet::new();
        let first = allowed.next().unwrap_or(0);
        match self {
            Self::Near => some.set(first),
            Self::Far => allowed.for_each(|core| some.set(core)),
            Self::All => some = all,
        }
        // On a single core, or where it is not permitted, all share what there is.
        let moved = sched_setaffinity(None, &some).is_ok();
        let done = action();
        if moved {
            sched_setaffinity(None, &all).expect("what was permitted before still is");
        }
        done
    }
}

/// This program, as something else.
fn again(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(part);
    command
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Sockets in another process that take whatever comes, and what sends to them.
struct Sinks {
    process: Child,
    lines: BufReader<ChildStdout>,
    addresses: Vec<SocketAddr>,
}

/// The other process: prints its addresses, then, for each line that it reads, how much has come.
fn be_sinks() -> ExitCode {
    let count = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(SUBSCRIBERS);
    let (addresses, discarded) = tidegate_load::discard::start(count).expect("sockets on loopback");
    addresses.iter().for_each(|address| println!("{address}"));
    for _asked in std::io::stdin().lines() {
        println!("{}", discarded.count());
    }
    ExitCode::SUCCESS
}

impl Sinks {
    fn start(count: usize) -> Self {
        let mut process = again(AS_SINKS);
        process.arg(count.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Cores::Far.of(|| process.spawn()).expect("this program runs");
        let lines = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut sinks = Self { process, lines, addresses: Vec::new() };
        for _ in 0..count {
            let address = sinks.line().parse().expect("an address");
            sinks.addresses.push(address);
        }
        sinks
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the sinks print text");
        line.trim().to_owned()
    }

    /// What arrived so far, once nothing more comes.
    fn count(&mut self) -> u64 {
        let mut before = self.ask();
        loop {
            std::thread::sleep(QUIET);
            let arrived = self.ask();
            if arrived == before {
                return arrived;
            }
            before = arrived;
        }
    }

    fn ask(&mut self) -> u64 {
        use std::io::Write as _;
        writeln!(self.process.stdin.as_mut().expect("its input is piped")).expect("the sinks read");
        self.line().parse().expect("a number")
    }

    /// One loop at the case's pace: as many bursts per second to as many destinations as the host forwards.
    fn floor(&mut self, case: &Case, call: Call, span: Duration) -> Cost {
        let addresses = self.addresses.clone();
        let mut sender = Encrypting::new(&addresses, case);
        let own = Probe::Process(std::process::id());
        let arrived = self.count();
        let before = own.read().cpu.expect("the system tells what this process used");
        let begun = Instant::now();
        let bursts = (span.as_secs_f64() / case.interval.as_secs_f64()) as u32;
        for burst in 0..bursts {
            std::thread::sleep((begun + case.interval * burst).saturating_duration_since(Instant::now()));
            sender.burst(call);
        }
        let after = own.read().cpu.expect("the system tells what this process used");
        let spent = Cpu {
            user: after.user.saturating_sub(before.user),
            system: after.system.saturating_sub(before.system),
        };
        let packets = u64::from(bursts) * self.addresses.len() as u64 * u64::from(case.each);
        Cost::of(spent, packets, self.count() - arrived)
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.lines.read_to_string(&mut String::new());
    }
}

/// Copies and encrypts each packet under its destination's own key, and sends.
struct Encrypting<'a> {
    destinations: &'a [SocketAddr],
    keys: Vec<LessSafeKey>,
    each: u16,
    length: u16,
    plain: Vec<u8>,
    bytes: Vec<u8>,
    sequence: u64,
    socket: UdpSocket,
    floor: Floor,
}

impl<'a> Encrypting<'a> {
    fn new(destinations: &'a [SocketAddr], case: &Case) -> Self {
        let key = |nth: usize| {
            let bytes: [u8; 32] = std::array::from_fn(|at| (nth * 31 + at * 7) as u8);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes make a key"))
        };
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        Self {
            destinations,
            keys: (0..destinations.len()).map(key).collect(),
            each: case.each,
            length: case.length,
            plain: vec![0x55; usize::from(case.length) - TAG_BYTES],
            bytes: vec![0; destinations.len() * usize::from(case.each) * usize::from(case.length)],
            sequence: 0,
            socket: socket(),
            floor: Floor::new(socket()).expect("a watched socket"),
        }
    }

    fn burst(&mut self, call: Call) {
        let length = usize::from(self.length);
        for (nth, packet) in self.bytes.chunks_exact_mut(length).enumerate() {
            let destination = nth / usize::from(self.each);
            self.sequence += 1;
            seal(&self.keys[destination], self.sequence, &self.plain, packet);
            if call == Call::Each {
                self.socket.send_to(packet, self.destinations[destination]).expect("loopback takes it");
            }
        }
        if call != Call::Each {
            let burst = Burst {
                destinations: self.destinations,
                each: self.each,
                length: self.length,
                bytes: &self.bytes,
            };
            self.floor.send(&burst, call == Call::Segmented).expect("loopback takes it");
        }
    }
}

fn seal(key: &LessSafeKey, sequence: u64, plain: &[u8], packet: &mut [u8]) {
    let (space, tag_place) = packet.split_at_mut(plain.len());
    space.copy_from_slice(plain);
    let (header, payload) = space.split_at_mut(HEADER_BYTES);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).expect("it seals");
    tag_place.copy_from_slice(tag.as_ref());
}

/// The one in the middle, by total.
fn median(costs: &[Cost]) -> Cost {
    let mut costs = costs.to_vec();
    costs.sort_by(|one, other| one.total().total_cmp(&other.total()));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

fn table(case: &Case, measured: &Measured) -> String {
    let mut text = format!("\n{}: µs of CPU for one packet to one of the subscribers\n", case.name);
    let mut row = |name: &str, cost: Cost, note: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {name:<26} {:5.2}   ({:.2} user, {:.2} system)   {:.2}% lost{note}",
            cost.total(),
            cost.user,
            cost.system,
            cost.loss * 100.0
        );
    };
    let floors = measured.floors.each_ref().map(|costs| median(costs));
    let host = median(&measured.host);
    row("whole host", host, String::new());
    for (call, floor) in Call::ALL.into_iter().zip(floors) {
        let (ratio, above) = (host.total() / floor.total(), host.total() - floor.total());
        row(call.name(), floor, format!("   host is {ratio:.2} of it, {above:+.2} µs"));
    }
    let [each, batched, _] = floors.map(Cost::total);
    let _ = match case.each {
        1 => writeln!(text, "  aim: at most sendmmsg + 0.35 µs: {:+.2} µs", host.total() - batched),
        _ => writeln!(text, "  aim: at most 0.55 of sendto each: {:.2}", host.total() / each),
    };
    let latency = middle(&measured.latency_us);
    let _ = writeln!(
        text,
        "  from bot to bot p50 {} µs, p99 {} µs; host memory {:.1} MiB, {:.1} MiB over an idle host",
        latency.0,
        latency.1,
        measured.resident_kib as f64 / 1_024.0,
        measured.grown_kib as f64 / 1_024.0
    );
    text
}

/// From bot to bot, p50 and p99.
fn latency(report: &Value) -> (u64, u64) {
    let micros = |name: &str| report[name].as_u64().unwrap_or(0);
    (micros("latency_p50_us"), micros("latency_p99_us"))
}

/// One sentence of what was measured, and what it is measured against.
struct Beside {
    told: String,
    aim: String,
}

/// One room over one shard and over two: its publisher at one of them, its subscribers at both, a relay between.
fn scale_up(run: &Run) -> Beside {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..run.rounds.max(1) {
        one.push(Cost::told(&load(&host(1), &video(PICTURES_PER_S), run, Cores::All)));
        two.push(Cost::told(&load(&host(2), &video(PICTURES_PER_S), run, Cores::All)));
    }
    let (one, two) = (median(&one).total(), median(&two).total());
    Beside {
        told: format!(
            "One room on {cores} cores: {one:.2} µs of CPU a packet with one shard, {two:.2} µs with two and a relay \
             between them."
        ),
        aim: format!("at most 1.15 of it: {:.2}", two / one),
    }
}

/// Latency at half of what one core forwards by its cost per packet, from socket to socket: in one room, where a picture
/// goes to everyone, and in many. Beside it what a loop that only returns each datagram takes for the same bursts.
fn half_loaded(cost: Cost, run: &Run) -> Beside {
    let pictures_per_s = 0.5e6 / (cost.total() * 5.0 * run.subscribers as f64);
    let pictures_per_s = (pictures_per_s as u32).clamp(10, MOST_PICTURES_PER_S);
    let settle_s = if run.seconds == SECONDS { ESTIMATED_S } else { SETTLE_S };
    let one_room = Case { settle_s, ..video(pictures_per_s) };
    let rooms = (run.subscribers / ROOM).max(1);
    let many_rooms = Case { rooms, settle_s, ..video(pictures_per_s) };
    let [one, many] = [&one_room, &many_rooms].map(|case| {
        let host = Cores::Near.of(|| host(1));
        latency(&load(&host, case, run, Cores::Far))
    });
    let (echo_p50, echo_p99) = echo(&one_room, Duration::from_secs(run.seconds));
    // A picture's packets leave one after the other, however fast they come.
    let burst_us = cost.total() * f64::from(one_room.each) * run.subscribers as f64;
    Beside {
        told: format!(
            "At half of what one core forwards ({} pictures a second to {} people), from the publisher's socket to the \
             subscriber's: in one room p50 {} µs, p99 {} µs, in {rooms} rooms p50 {} µs, p99 {} µs; a loop that returns \
             each datagram, there and back, p50 {echo_p50} µs, p99 {echo_p99} µs.",
            pictures_per_s, run.subscribers, one.0, one.1, many.0, many.1,
        ),
        aim: format!(
            "p50 below 300 µs, p99 below 2,000 µs; to send one picture to everyone takes {burst_us:.0} µs of CPU"
        ),
    }
}

/// Bursts to a thread that returns every datagram: how long they take, p50 and p99 in microseconds.
fn echo(case: &Case, span: Duration) -> (u64, u64) {
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
    let (near, far) = (socket(), socket());
    let address = far.local_addr().expect("it is bound");
    near.connect(address).expect("loopback is there");
    near.set_read_timeout(Some(QUIET)).expect("a time-out can be set");
    let echoing = std::thread::spawn(move || {
        let mut bytes = [0; 2_048];
        // An empty datagram ends it.
        while let Ok((1.., from)) = far.recv_from(&mut bytes) {
            far.send_to(&bytes[..usize::from(ECHO_BYTES)], from).expect("loopback takes it");
        }
    });
    let mut delays = Vec::new();
    let begun = Instant::now();
    for burst in 0..(span.as_secs_f64() / case.interval.as_secs_f64()) as u32 {
        std::thread::sleep((begun + case.interval * burst).saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        let mut bytes = [0x55; ECHO_BYTES as usize];
        for _ in 0..case.each {
            near.send(&bytes).expect("loopback takes it");
        }
        for _ in 0..case.each {
            if near.recv(&mut bytes).is_ok() {
                delays.push(sent.elapsed());
            }
        }
    }
    near.send(&[]).expect("loopback takes it");
    echoing.join().expect("it only echoes");
    delays.sort_unstable();
    let quantile =
        |permille: usize| delays.get(delays.len() * permille / 1_000).map_or(0, Duration::as_micros);
    (quantile(500) as u64, quantile(990) as u64)
}

fn middle(latencies: &[(u64, u64)]) -> (u64, u64) {
    let mut latencies = latencies.to_vec();
    latencies.sort_unstable();
    latencies.get(latencies.len() / 2).copied().unwrap_or_default()
}

const BEGIN: &str = "<!-- measured: cargo bench --bench host -- --readme -->";
const END: &str = "<!-- end of measured -->";

/// Puts the table between the marks.
fn write_readme(measured: &[(Case, Measured)], beside: &[Beside]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (head, rest) = readme.split_once(BEGIN).expect("the README has the mark where the table begins");
    let (_, tail) = rest.split_once(END).expect("the README has the mark where the table ends");
    let mut table = readme_table(measured);
    for beside in beside {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "\n{}", beside.told);
    }
    std::fs::write(path, format!("{head}{BEGIN}\n{table}{END}{tail}")).expect("README.md can be written");
}

fn readme_table(measured: &[(Case, Measured)]) -> String {
    let mut text = format!(
        "Measured on {}, {SUBSCRIBERS} subscribers on loopback, AES-256-GCM, one shard \
         (user and system are divided by clock ticks, a rough sample):\n\n\
         | traffic | CPU per forwarded packet | packets/s one core can forward | encrypt + `sendto` each | \
         encrypt + `sendmmsg` | with UDP_SEGMENT | bot to bot p50 / p99 | host memory |\n\
         |---|---|---|---|---|---|---|---|\n",
        machine()
    );
    for (case, measured) in measured {
        let host = median(&measured.host);
        let [each, batched, segmented] = measured.floors.each_ref().map(|costs| median(costs).total());
        let (p50, p99) = middle(&measured.latency_us);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.2} µs ({:.2} user, {:.2} system) | {:.0},000 | {each:.2} µs | {batched:.2} µs | \
             {segmented:.2} µs | {:.1} / {:.1} ms | {:.0} MiB |",
            case.name,
            host.total(),
            host.user,
            host.system,
            1e3 / host.total(),
            p50 as f64 / 1e3,
            p99 as f64 / 1e3,
            measured.resident_kib as f64 / 1_024.0
        );
    }
    text
}

/// Processor, cores and kernel, as far as the system tells.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = model.map_or("an unknown processor", |(_, model)| model.trim());
    let version = kernel.split('-').next().unwrap_or_default().trim();
    format!("{model} ({cores} cores), Linux {version}")
}
