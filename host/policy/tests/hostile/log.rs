//! Counts the lines that plugins log, and holds each to one short printable line. Knows nothing of plugins but the name
//! that stands beside a line.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The longest line, cut mark included.
const LINE_BYTES: usize = 1_024 + '…'.len_utf8();

static LINES: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

fn table() -> MutexGuard<'static, BTreeMap<String, usize>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many lines this plugin has got into the log, in this process.
pub fn lines(plugin: &str) -> usize {
    table().get(plugin).copied().unwrap_or(0)
}

/// From now on, lines are counted.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).expect("nobody else listens"));
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tidegate::plugin"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let sound = line.text.len() <= LINE_BYTES && !line.text.chars().any(char::is_control);
        assert!(sound, "{} logs {:?}", line.plugin, line.text);
        *table().entry(line.plugin).or_default() += 1;
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    plugin: String,
    text: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "plugin" {
            self.plugin = value.into();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
}
