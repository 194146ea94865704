//! A picture of one row: capacity, estimate and pictures' rate over time, and the queue below.

use super::Seen;
use super::rows::Row;
use std::fmt::Write;
use std::path::Path;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const QUEUE_HEIGHT: f64 = 120.0;
/// Seconds of queue that fill its part.
const QUEUE_MOST: f64 = 0.6;

pub(crate) fn write(folder: &str, row: &Row, seen: &Seen) {
    let most =
        seen.estimates.iter().map(|(_, estimate, capacity)| estimate.max(*capacity)).fold(1.0, f64::max)
            * 1.1;
    let x = |at: f64| at / row.seconds * WIDTH;
    let rate_y = |rate: f64| HEIGHT - rate / most * HEIGHT;
    let queue_y = |queued: f64| HEIGHT + 20.0 + QUEUE_HEIGHT - (queued / QUEUE_MOST).min(1.0) * QUEUE_HEIGHT;
    let capacity = seen.estimates.iter().map(|(at, _, capacity)| (x(*at), rate_y(*capacity)));
    let estimate = seen.estimates.iter().map(|(at, estimate, _)| (x(*at), rate_y(*estimate)));
    let target = seen.targets.iter().map(|(at, target)| (x(*at), rate_y(*target)));
    let queue = seen.queued.iter().step_by(5).map(|(at, queued)| (x(*at), queue_y(*queued)));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -20 {WIDTH} {}\" font-family=\"sans-serif\" \
         font-size=\"12\"><text y=\"-6\">{} (top {:.0} kbit/s, queue up to {:.0} ms)</text>\n",
        HEIGHT + QUEUE_HEIGHT + 50.0,
        row.name,
        most / 1e3,
        QUEUE_MOST * 1e3
    );
    line(&mut svg, "#999", capacity);
    line(&mut svg, "#2a7", target);
    line(&mut svg, "#c33", estimate);
    line(&mut svg, "#36c", queue);
    svg.push_str("</svg>\n");
    let name: String = row.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    std::fs::create_dir_all(folder).expect("TIDEGATE_PLOT names a folder");
    std::fs::write(Path::new(folder).join(format!("{name}.svg")), svg)
        .expect("TIDEGATE_PLOT can be written to");
}

fn line(svg: &mut String, colour: &str, points: impl Iterator<Item = (f64, f64)>) {
    let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"");
    for (x, y) in points {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>\n");
}
