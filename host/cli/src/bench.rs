//! `tidegate plugin bench`: what an answer costs in time, fuel and memory, beside the stock policy of the same
//! decision. Knows nothing of whether an answer is right.

use crate::Stock;
use crate::asking::{plugin_of, stock_plugin, usual, workshop};
use crate::error::CommandError;
use crate::options::Bench;
use crate::run::ask;
use crate::spread::Spread;
use crate::subject::{Expected, Subject};
use serde_json::Value;
use std::time::Duration;
use tidegate_policy::sandbox::{Metering, Sandbox};

/// Calls before the first that is counted: the guest's memory is touched, the processor knows the way.
const WARM_UP: u32 = 50;
/// The two policies take turns of so many calls, so that a busy machine slows both alike.
const TURN: u32 = 50;

/// Prints what each case costs; false if one of them was never answered.
pub(crate) fn bench(options: &Bench, stock: Stock) -> Result<bool, CommandError> {
    let subject = Subject::of(&options.of, stock)?;
    let bounds = options.bounds.or_memory(subject.memory_mib);
    let plain = workshop(stock, &bounds, Metering::Off)?;
    let metered = workshop(stock, &bounds, Metering::Fuel)?;
    let usual = usual(subject.decision);
    let first = subject.cases.iter().flat_map(|(_, cases)| cases).next();
    let (config, lookups) =
        first.map_or((Value::Null, &[][..]), |case| (case.asked.config.clone(), &case.asked.lookups));
    let plugin = plugin_of(&subject.file, config);
    let own = plain.open(subject.decision, &plugin, lookups)?;
    let counted = metered.open(subject.decision, &plugin, lookups)?;
    let other = plain.open(subject.decision, &stock_plugin(stock, usual), &[])?;
    let mut all = Vec::new();
    let mut answered = true;
    println!(
        "{} {} beside {usual}; {} calls each",
        own.plugin().name(),
        own.plugin().version(),
        options.calls
    );
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>10} {:>9}  {:>6}  case",
        "p50 µs", "p90 µs", "p99 µs", "max µs", "fuel", "KiB", "ratio"
    );
    for case in subject.cases.iter().flat_map(|(_, cases)| cases) {
        let (config, lookups) = (&case.asked.config, &case.asked.lookups);
        let fuel = ask(&mut counted.anew(config, lookups)?, &case.asked).fuel;
        let cost = measure(own.anew(config, lookups)?, other.anew(&Value::Null, &[])?, case, options.calls);
        answered &= !cost.own.is_empty();
        println!("{}", row(case, &cost, fuel));
        all.extend_from_slice(&cost.own);
    }
    println!("{}", Spread::of(all));
    Ok(answered)
}

/// What was measured of one case.
struct Cost {
    /// Latencies of the answers.
    own: Vec<Duration>,
    stock: Vec<Duration>,
    unanswered: u32,
    memory_bytes: usize,
}

fn measure(mut own: Sandbox, mut stock: Sandbox, case: &Expected, calls: u32) -> Cost {
    let mut cost = Cost { own: Vec::new(), stock: Vec::new(), unanswered: 0, memory_bytes: 0 };
    for sandbox in [&mut own, &mut stock] {
        if !case.asked.rows.is_empty() {
            sandbox.feed(case.asked.feed());
        }
        for _ in 0..WARM_UP {
            sandbox.ask(&case.asked.body);
        }
    }
    let mut left = calls;
    while left > 0 {
        let turn = left.min(TURN);
        for _ in 0..turn {
            let came = own.ask(&case.asked.body);
            cost.memory_bytes = cost.memory_bytes.max(came.memory_bytes);
            match came.result {
                Ok(_) => cost.own.push(came.latency),
                Err(_) => cost.unanswered += 1,
            }
        }
        for _ in 0..turn {
            let came = stock.ask(&case.asked.body);
            cost.stock.extend(came.result.is_ok().then_some(came.latency));
        }
        left -= turn;
    }
    cost
}

fn row(case: &Expected, cost: &Cost, fuel: Option<u64>) -> String {
    let (own, stock) = (Spread::of(cost.own.clone()), Spread::of(cost.stock.clone()));
    let ratio = own.part(50).as_secs_f64() / stock.part(50).as_secs_f64();
    let unanswered = match cost.unanswered {
        0 => String::new(),
        calls => format!(" ({calls} calls without an answer)"),
    };
    format!(
        "{:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>10} {:>9} {:>6}x  {}{unanswered}",
        micros(own.part(50)),
        micros(own.part(90)),
        micros(own.part(99)),
        micros(own.part(100)),
        fuel.map_or_else(|| "-".to_owned(), |fuel| fuel.to_string()),
        cost.memory_bytes / 1_024,
        if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() },
        case.name,
    )
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
