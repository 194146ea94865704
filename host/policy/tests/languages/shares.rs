//! Rooms by chance, divided by one policy in every language. Knows nothing of what the answers should be but that all
//! are Rust's.

use crate::{LANGUAGES, LONGEST_COMPILATION, any, component};
use std::sync::Arc;
use tidegate_policy::plugin::{Decider, Loader};
use tidegate_policy::{PluginConfig, PolicyConfig, Source};
use tidegate_types::ProducerId;
use tidegate_types::decision::{Decision, Moment};
use tidegate_types::sharing::{ShareAnswer, SharePerson, ShareRequest, ShareTrack};

const SOURCES: [&str; 4] = ["camera", "screen", "microphone", "töpfe"];

/// Every way in which up to four tracks can differ that the policy looks at.
fn rooms() -> Vec<ShareRequest> {
    let ways = 2 * SOURCES.len();
    let mut rooms = vec![room(&[])];
    for first in 0..ways {
        rooms.push(room(&[first]));
        for second in 0..ways {
            rooms.push(room(&[first, second, second, first]));
        }
    }
    rooms
}

fn room(ways: &[usize]) -> ShareRequest {
    ShareRequest {
        room: "harbour".into(),
        people: vec![SharePerson { identity: "ada".into(), ..SharePerson::default() }],
        tracks: ways.iter().map(|way| track(*way)).collect(),
        period_ms: 500 + ways.len() as u32,
        moment: Moment { unix_ms: 0, seed: 1 },
        attrs: Vec::new(),
    }
}

fn track(way: usize) -> ShareTrack {
    use tidegate_types::MediaKind::{Audio, Video};
    ShareTrack {
        producer: ProducerId(1),
        person: 0,
        kind: if way.is_multiple_of(2) { Video } else { Audio },
        source: SOURCES[way / 2].into(),
        ingress_kbps: 900,
        encodings: 1,
        receivers: 1,
        reduced: 0,
        wanted_layer: 0,
        paused: false,
    }
}

fn answers(language: &str, memory_mib: Option<usize>) -> Vec<ShareAnswer> {
    let mut config =
        PolicyConfig::new(any(Decision::Authorize), any(Decision::Allocate), any(Decision::Balance));
    config.compile_time = LONGEST_COMPILATION;
    let loader = Loader::new(&config, Arc::new(|| 0)).expect("an engine");
    let plugin = PluginConfig {
        memory_bytes: memory_mib.map(|mib| mib << 20),
        ..PluginConfig::new(Source::Path(component(language, Decision::Share)))
    };
    let loaded = loader.load(Decision::Share, &plugin).unwrap_or_else(|error| panic!("{language}: {error}"));
    let Ok(Decider::Share(mut decider)) = loaded.decider() else { panic!("{language}: no instance") };
    rooms().iter().map(|room| decider.share(room).unwrap_or_else(|failure| panic!("{failure:?}"))).collect()
}

#[test]
#[ignore = "tests/languages/build makes what it needs"]
fn every_language_divides_alike() {
    let [(first, memory_mib), others @ ..] = LANGUAGES;
    let expected = answers(first, memory_mib);
    assert!(expected.iter().all(|answer| answer.clamped == 0 && answer.valid_ms >= 1_500));
    for (language, memory_mib) in others {
        assert_eq!(answers(language, memory_mib), expected, "{language}");
    }
}
