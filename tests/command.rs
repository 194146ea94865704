//! The host's command as a person meets it: what it prints, its exit codes, how it stops. Knows nothing of media.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A started host, ended with the test.
struct Host {
    process: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["--log", "warn"]).args(arguments).env_remove("TIDEGATE_ADMIN_TOKEN").stdin(Stdio::null());
    command
}

/// Runs one that must not start.
fn refused(arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = command(arguments).output().expect("the command runs");
    (status.code().expect("it ends by itself"), String::from_utf8_lossy(&stderr).into_owned())
}

impl Host {
    /// One at free ports, once it has said what to open.
    fn start(arguments: &[&str]) -> Self {
        let mut process = command(&["--listen", "127.0.0.1:0", "--rtc-port", "0", "--shards", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let mut lines = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut page = String::new();
        while !page.contains("policies") {
            assert_ne!(lines.read_line(&mut page).expect("it prints text"), 0, "it ended early: {page}");
        }
        let port = page.split("localhost:").nth(1).and_then(|rest| rest.split('/').next()).expect("a port");
        let address = format!("127.0.0.1:{port}").parse().expect("a port");
        Self { process, lines, address }
    }

    /// The status line and all that follows.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers text");
        answer
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Its exit code, and how long that took.
    fn ended(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        let status = self.process.wait().expect("it ends");
        (status.code().expect("not by a signal"), asked.elapsed())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.lines.read_to_string(&mut String::new());
    }
}

#[test]
fn a_host_serves_its_page_its_health_and_its_numbers() {
    let host = Host::start(&[]);
    assert!(host.get("/").starts_with("HTTP/1.1 200"));
    assert!(host.get("/healthz").starts_with("HTTP/1.1 200"));
    let metrics = host.get("/metrics");
    assert!(metrics.contains("tidegate_shard_running{shard=\"0\"} 1"), "{metrics}");
    assert!(metrics.contains("decision=\"authorize\",position=\"1\",name=\"auth-open\""), "{metrics}");
    assert!(host.get("/sdk/tidegate.js").contains("text/javascript"));
    assert!(host.get("/console").starts_with("HTTP/1.1 200"));
}

#[test]
fn either_signal_ends_it_with_0_within_two_seconds() {
    for signal in ["INT", "TERM"] {
        let mut host = Host::start(&[]);
        let _kept_open = TcpStream::connect(host.address).expect("it listens");
        host.signal(signal);
        let (code, took) = host.ended();
        assert_eq!(code, 0, "SIG{signal}");
        assert!(took < Duration::from_secs(2), "SIG{signal}: {took:?}");
        assert!(TcpStream::connect(host.address).is_err(), "its socket is closed");
    }
}

#[test]
fn a_value_out_of_range_ends_it_with_2() {
    let (code, said) = refused(&["--shards", "0"]);
    assert_eq!(code, 2, "{said}");
    assert!(["--shards", "'0'", "1..=128"].iter().all(|word| said.contains(word)), "{said}");
    let (code, said) = refused(&["--log", "tidegate=loudly"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--log"), "{said}");
}

#[test]
fn whatever_else_is_wrong_ends_it_with_1_and_one_line_that_says_what_to_do() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = tcp.local_addr().expect("it is bound").to_string();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let rtc = udp.local_addr().expect("it is bound").port().to_string();
    let free = ["--listen", "127.0.0.1:0", "--shards", "1", "--rtc-port"];
    let with = |more: &[&'static str]| [&free[..], &["0"], more].concat();
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let policy = format!("authorize={component}");
    let cases: [(Vec<&str>, &str); 8] = [
        (vec!["--listen", &listen, "--rtc-port", "0"], &listen),
        ([&free[..], &[&rtc]].concat(), &rtc),
        (with(&["--rtc-address", "192.0.2.1"]), "192.0.2.1"),
        (with(&["--policy", "authorize=no-such"]), "auth-open"),
        ([&free[..], &["0", "--policy", &policy]].concat(), component),
        (with(&["--policy-config", "authorize={"]), "authorize"),
        (with(&["--tls-certificate", "/nowhere.pem", "--tls-key", "/nowhere.pem"]), "/nowhere.pem"),
        (vec!["--listen", "0.0.0.0:0"], "--allow-open"),
    ];
    for (arguments, names) in cases {
        let (code, said) = refused(&arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("tidegate: ")).collect();
        assert_eq!(lines.len(), 1, "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(lines[0].contains(names), "{arguments:?}: {said}");
    }
}

/// `tidegate policy …` against a host: whether it went well, and what it said.
fn policy(host: &Host, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("policy").args(arguments).args(["--host", &host.address.to_string()]);
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the command runs");
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (status.success(), said)
}

#[test]
fn a_running_host_is_given_another_policy_and_its_old_one_back() {
    let host = Host::start(&[]);
    let (done, before) = policy(&host, &["list"]);
    assert!(done && before.contains("allocate 1: allocate-pack"), "{before}");
    let (done, said) = policy(&host, &["swap", "allocate=allocate-spread"]);
    assert!(
        done && said.contains("in force: allocate-spread") && said.contains("before: allocate-pack"),
        "{said}"
    );
    assert!(host.get("/metrics").contains("name=\"allocate-spread\""));
    let (done, said) = policy(&host, &["swap", "allocate=allocate-spread"]);
    assert!(!done && said.contains("policy-unchanged"), "{said}");
    let (done, said) = policy(&host, &["swap", "allocate=auth-open"]);
    assert!(!done && said.contains("needs the export") && said.contains("give it there"), "{said}");
    let (done, said) = policy(&host, &["back", "allocate"]);
    assert!(done && said.contains("in force again: allocate-pack"), "{said}");
    let (done, said) = policy(&host, &["back", "greet"]);
    assert!(!done && said.contains("authorize, allocate, balance, share"), "{said}");
    let (done, said) = policy(&host, &["explain", "--last", "3"]);
    assert!(done && (said.contains("by        balance-steady") || said.contains("decided yet")), "{said}");
}

#[test]
fn a_host_with_a_certificate_is_asked_over_tls() {
    let mut host = Host::start(&["--tls-self-signed"]);
    // 32 pairs with colons between them.
    let mut print = String::new();
    while print.trim().len() != 95 {
        print.clear();
        assert_ne!(host.lines.read_line(&mut print).expect("it prints text"), 0, "it prints a fingerprint");
    }
    let asked = |words: &[&str], url: String, flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(words).args(["--host", &url]).args(flags).stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().expect("the command runs");
        let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (status.success(), said)
    };
    let secure = format!("https://{}", host.address);
    let (done, said) = asked(&["policy", "list"], secure.clone(), &["--fingerprint", print.trim()]);
    assert!(done && said.contains("authorize 1: auth-open"), "{said}");
    let (done, said) = asked(&["plugin", "explain"], secure.clone(), &["--insecure"]);
    assert!(done && (said.contains("answered") || said.contains("decided yet")), "{said}");
    let other = ["AB"; 32].join(":");
    for flags in [&["--fingerprint", &other][..], &[]] {
        let (done, said) = asked(&["policy", "list"], secure.clone(), flags);
        assert!(!done && said.contains("is not believed") && said.contains("--fingerprint"), "{said}");
    }
    let (done, said) = asked(&["policy", "list"], format!("http://{}", host.address), &[]);
    assert!(!done && said.contains("https://"), "{said}");
    let (done, said) = asked(&["policy", "list"], secure, &["--ca", "/dev/null"]);
    assert!(!done && said.contains("/dev/null holds no authority"), "{said}");
}

#[test]
fn a_changed_file_comes_in_force_by_itself_and_a_broken_one_does_not() {
    let file = std::env::temp_dir().join(format!("tidegate-watched-{}.wasm", std::process::id()));
    let put = |name: &str| {
        std::fs::write(&file, tidegate::stock::stock(name).expect("it is stock")).expect("written");
    };
    put("allocate-pack");
    let choice = format!("allocate={}", file.display());
    let host = Host::start(&["--policy", &choice, "--policy-watch"]);
    let until = |wanted: &str| {
        let began = Instant::now();
        while !policy(&host, &["list"]).1.contains(wanted) {
            assert!(began.elapsed() < Duration::from_secs(30), "{wanted} does not come");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("allocate 1: allocate-pack");
    put("allocate-spread");
    until("allocate 1: allocate-spread");
    std::fs::write(&file, "no component").expect("written");
    put("allocate-pack");
    until("allocate 1: allocate-pack");
    let _ = std::fs::remove_file(&file);
}
