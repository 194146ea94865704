//! A whole join through the door: two running hosts that differ in their policies alone, native and components, each with
//! its own sockets, shards, signalling and policy threads, and a browser's part played against them in turn. Knows nothing
//! of how a policy decides.
//!
//! ```text
//! connect ─▶ WebSocket ─▶ join ─▶ offer, answer ─▶ ICE, DTLS over UDP ─▶ "connected"      (measured, in turn)
//! leave, and a rest                                                                       (not measured)
//! ```
//!
//! Told are the CPU time of the whole process, both ends and every thread, and the time that it takes. The native
//! policies stand behind the same queue, threads, deadlines and records as the components.

use crate::crew::Crew;
use crate::native::{LeastLoaded, Steady, Token};
use crate::pairs::{NATIVE, WASM, tell, turns};
use crate::table::Bench;
use crate::tokens::{Key, signed};
use crate::visitor::{Refused, Visitor, policies};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate::config::PolicyChoice;
use tidegate::{Config, Node};
use tidegate_media::association::AssociationConfig;
use tidegate_media::peer::host;
use tidegate_policy::Native;
use tidegate_policy::plugin::Decider;
use tidegate_types::decision::Decision;
use tokio::runtime::{Builder, Runtime};

const SHARDS: u16 = 2;
/// Both hosts are started so many times: where their memory and threads come to lie differs from start to start.
const ROUNDS: usize = 4;
/// Of each round.
const PAIRS: usize = 500;
/// Joins of each round that are not counted: memory is made, code is read.
const WARM_UP: usize = 25;
/// After a join and after a leave, so that what follows from it is not taken for the next one's.
const REST: Duration = Duration::from_millis(2);
/// At the median components may cost so much more, or take so much longer, in permille.
const TARGET_PERMILLE: f64 = 20.0;
/// What a join costs in CPU time.
const CPU: &str = "a whole join: WebSocket, SDP, ICE, DTLS (CPU, both ends)";
/// How long it takes.
const TIME: &str = "a whole join: WebSocket, SDP, ICE, DTLS (time)";

pub fn measure(bench: &mut Bench) {
    if !bench.wants(CPU) && !bench.wants(TIME) {
        return;
    }
    let signed = signed("HS256");
    // Instances of native policies live as long as their host.
    let key: &'static Key = Box::leak(Box::new(signed.key));
    let start = |who| match who {
        NATIVE => Host::start(natives(signed.algorithm, key)),
        _ => Host::start(components(signed.configuration.clone())),
    };
    // One certificate for all visitors: making one costs more than all else about a join.
    let visitors = Visitors { association: host::association(), token: signed.token };
    let mut taken = Taken::default();
    let (rounds, warm_up, pairs) = if bench.measures { (ROUNDS, WARM_UP, PAIRS) } else { (1, 0, 1) };
    for round in 0..rounds {
        let [first, second] = turns(round).map(|who| (who, start(who)));
        let hosts = if first.0 == NATIVE { [first.1, second.1] } else { [second.1, first.1] };
        let native = |host: &Host| policies(host.address()).matches("\"origin\":\"native\"").count();
        assert_eq!(hosts.each_ref().map(native), [3, 0], "they differ in who decides");
        for pair in 0..warm_up + pairs {
            let spent = visitors.pair(&hosts, pair);
            if pair >= warm_up {
                taken.count(spent);
            }
        }
        for (host, who) in hosts.iter().zip(["native", "wasm"]) {
            let ran_us = host.crew.ran_us(warm_up + pairs);
            println!("  round {round}, {who}: µs that threads ran for each who came and went: {ran_us}");
        }
        hosts.into_iter().for_each(Host::stop);
    }
    // A pair of which one was refused does not count.
    println!("  of {} pairs {} were refused: {:?}", rounds * pairs, taken.refused.len(), taken.refused);
    assert!(taken.refused.len() <= rounds * pairs / 20, "so many refusals measure something else");
    if bench.measures {
        tell(bench, CPU, &taken.cpu_ns, Some(TARGET_PERMILLE));
        tell(bench, TIME, &taken.time_ns, Some(TARGET_PERMILLE));
    }
}

/// Those who come and go.
struct Visitors {
    association: AssociationConfig,
    token: String,
}

impl Visitors {
    /// One at each host.
    fn pair(&self, hosts: &[Host; 2], pair: usize) -> Result<[Spent; 2], Refused> {
        let mut spent = [Spent::default(); 2];
        for turn in turns(pair) {
            spent[turn] = self.join(hosts[turn].address())?;
        }
        Ok(spent)
    }

    /// Somebody joins and leaves again.
    fn join(&self, host: SocketAddr) -> Result<Spent, Refused> {
        let (before, began) = (cpu_time(), Instant::now());
        let joined = Visitor::join(host, &self.association, &self.token);
        let time = began.elapsed();
        std::thread::sleep(REST);
        let cpu = cpu_time().saturating_sub(before);
        joined?.leave();
        std::thread::sleep(REST);
        Ok(Spent { cpu, time })
    }
}

/// What all pairs took, native and component.
#[derive(Default)]
struct Taken {
    cpu_ns: [Vec<f64>; 2],
    time_ns: [Vec<f64>; 2],
    refused: Vec<Refused>,
}

impl Taken {
    fn count(&mut self, pair: Result<[Spent; 2], Refused>) {
        match pair {
            Ok(spent) => {
                for turn in [NATIVE, WASM] {
                    self.cpu_ns[turn].push(spent[turn].cpu.as_nanos() as f64);
                    self.time_ns[turn].push(spent[turn].time.as_nanos() as f64);
                }
            }
            Err(code) => self.refused.push(code),
        }
    }
}

/// What a join took.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// Of the whole process, with what follows from the join.
    cpu: Duration,
    time: Duration,
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The components, by their names.
fn components(keys: Value) -> Config {
    let token = PolicyChoice { configuration: keys, ..PolicyChoice::unconfigured("auth-token") };
    let policies = [
        (Decision::Authorize, token),
        (Decision::Allocate, PolicyChoice::unconfigured("allocate-spread")),
        (Decision::Balance, PolicyChoice::unconfigured("balance-steady")),
    ];
    Config { policies: policies.into(), ..local() }
}

/// The same decisions in native code.
fn natives(algorithm: &'static str, key: &'static Key) -> Config {
    let native = vec![
        Native::new("native-token", move || Decider::Authorize(Box::new(Token { algorithm, key }))),
        Native::new("native-spread", || Decider::Allocate(Box::<LeastLoaded>::default())),
        Native::new("native-steady", || Decider::Balance(Box::<Steady>::default())),
    ];
    Config { native, ..local() }
}

fn local() -> Config {
    Config { shards: SHARDS, ..Config::local() }
}

/// A running host with the runtime that its program would have.
struct Host {
    runtime: Runtime,
    node: Node,
    /// Its threads, as they were when it began to serve.
    crew: Crew,
}

impl Host {
    fn start(config: Config) -> Self {
        let before = Crew::now();
        let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let node = runtime.block_on(Node::start(config)).unwrap_or_else(|error| panic!("{error}"));
        Self { runtime, node, crew: Crew::since(&before) }
    }

    fn address(&self) -> SocketAddr {
        self.node.address()
    }

    fn stop(self) {
        self.runtime.block_on(self.node.stop());
    }
}
