//! A run as a drawing: three panels over the same seconds. Knows nothing of how the samples came about.

use crate::report::{Report, Sample, grouped, span};
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 60.0;
const INNER: f64 = WIDTH - LEFT - 20.0;

/// One line of a panel: its name, its colour, its value of a sample.
type Line = (&'static str, &'static str, fn(&Sample) -> f64);

/// One panel: what it shows, how its top is labelled, its lines.
struct Panel {
    title: &'static str,
    label: fn(f64) -> String,
    lines: &'static [Line],
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "people inside",
        label: |value| grouped(value as u64),
        lines: &[("inside", "#2563eb", |sample| sample.inside as f64)],
    },
    Panel {
        title: "packets received per second",
        label: |value| grouped(value as u64),
        lines: &[("received", "#0f766e", |sample| sample.received_packets_per_s)],
    },
    Panel {
        title: "forwarding latency",
        label: |value| span(value as u64),
        lines: &[
            ("p50", "#7c3aed", |sample| sample.latency_p50_us as f64),
            ("p99", "#dc2626", |sample| sample.latency_p99_us as f64),
        ],
    },
];

/// The whole drawing.
pub(crate) fn svg(report: &Report) -> String {
    let height = TOP + PANELS.len() as f64 * (PANEL + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}: {} people, seed {}, {} joined, loss {:.3}%</text>",
        escape(&report.scenario),
        report.people,
        report.seed,
        report.joined,
        report.loss * 100.0
    );
    for (panel, top) in PANELS.iter().zip((0..).map(|nth| TOP + f64::from(nth) * (PANEL + GAP))) {
        draw(&mut text, panel, &report.samples, top);
    }
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, panel: &Panel, samples: &[Sample], top: f64) {
    let end = samples.last().map_or(1.0, |sample| sample.second.max(1.0));
    let values = panel.lines.iter().flat_map(|(_, _, value)| samples.iter().map(value));
    let most = values.fold(1.0, f64::max);
    let bottom = top + PANEL;
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{:.0}\">{}</text><path d=\"M{LEFT} {top}V{bottom}H{:.0}\" fill=\"none\" \
         stroke=\"#999\"/><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
         <text x=\"{:.0}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{end:.0} s</text>",
        top - 8.0,
        panel.title,
        LEFT + INNER,
        LEFT - 6.0,
        top + 4.0,
        (panel.label)(most),
        LEFT - 6.0,
        LEFT + INNER,
        bottom + 16.0,
    );
    if let Some(begin) = samples.iter().find(|sample| sample.measured) {
        let x = LEFT + begin.second / end * INNER;
        let _ =
            writeln!(text, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#bbb\" stroke-dasharray=\"4 3\"/>");
    }
    for (nth, (name, colour, value)) in panel.lines.iter().enumerate() {
        let points: Vec<String> = samples
            .iter()
            .map(|sample| {
                let x = LEFT + sample.second / end * INNER;
                format!("{x:.1},{:.1}", bottom - value(sample) / most * PANEL)
            })
            .collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            LEFT + INNER - 60.0 + 34.0 * nth as f64,
            top - 8.0
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Report, Sample, svg};

    #[test]
    fn a_drawing_has_a_point_for_each_sample_and_closes_what_it_opens() {
        let samples = (1..=10).map(|second| Sample {
            second: f64::from(second),
            measured: second > 3,
            inside: 4,
            ..Sample::default()
        });
        let report = Report { scenario: "a<b".into(), samples: samples.collect(), ..Report::default() };
        let text = svg(&report);
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n") && text.contains("a&lt;b"));
        assert_eq!(text.matches("<polyline").count(), 4);
        let line = text.lines().find(|line| line.starts_with("<polyline")).expect("a line");
        assert_eq!(line.split("\"").nth(1).expect("points").split(' ').count(), 10);
        assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
        assert!(!svg(&Report::default()).contains("NaN"));
    }
}
