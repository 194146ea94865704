//! The same thing done by two in turn, native first as often as a component, and what they differ by. Knows nothing of
//! what is done.

use crate::table::{Bench, Row, at_hundredth, median, time};

/// The two of a pair.
pub const NATIVE: usize = 0;
pub const WASM: usize = 1;

/// Who goes first, who second: each goes first as often as the other.
pub fn turns(pair: usize) -> [usize; 2] {
    if pair.is_multiple_of(2) { [NATIVE, WASM] } else { [WASM, NATIVE] }
}

/// A line of nanoseconds that were taken in turn: the medians, and the median of what the pairs differ by with the bounds
/// that hold it in 95 of 100 runs (by the signs of the differences, whatever their distribution). Components may cost so
/// much more at the median, in permille.
pub fn tell(bench: &mut Bench, name: &str, took: &[Vec<f64>; 2], target_permille: Option<f64>) {
    let [native, wasm] = took;
    let middle = median(native.clone());
    let mut differences: Vec<f64> =
        native.iter().zip(wasm).map(|(native, wasm)| (wasm - native) / middle * 1e3).collect();
    differences.sort_by(f64::total_cmp);
    let (half, spread) = (differences.len() / 2, (0.98 * (differences.len() as f64).sqrt()) as usize);
    let Some(&permille) = differences.get(half) else { return };
    bench.tell(Row {
        name: name.into(),
        native: time(middle),
        wasm: time(median(wasm.clone())),
        ratio: percent(permille),
        target: target_permille.map(percent).unwrap_or_default(),
        over: target_permille.is_some_and(|target| permille > target),
    });
    println!(
        "  {} pairs: the median difference lies between {} and {}; half of all pairs between {} and {}",
        differences.len(),
        percent(differences[half.saturating_sub(spread)]),
        percent(differences[(half + spread).min(differences.len() - 1)]),
        percent(at_hundredth(differences.clone(), 25)),
        percent(at_hundredth(differences.clone(), 75)),
    );
}

fn percent(permille: f64) -> String {
    format!("{:+.2}%", permille / 10.0)
}
