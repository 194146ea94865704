//! Share for a room of fifty, in which each sends a camera and a microphone and somebody shares a screen. Knows nothing
//! of how instances come about.

use crate::plugins::{AMPLE, UNIX_MS, load, stock_plugin};
use crate::table::Bench;
use serde_json::json;
use std::hint::black_box;
use tidegate_policy::host::{Instance, Share};
use tidegate_policy::plugin::Decider;
use tidegate_types::decision::{Decision, Failure, Moment};
use tidegate_types::sharing::{Portion, ReceiverRates, ShareAnswer, SharePerson, ShareRequest, ShareTrack};
use tidegate_types::{MediaKind, PersonId, ProducerId};

pub fn measure(bench: &mut Bench) {
    bench.pair("share/50 (share-speaker)", None, |loader| {
        let plugin = load(loader, Decision::Share, &stock_plugin("share-speaker", json!({})));
        let Ok(Decider::Share(mut wasm)) = plugin.decider() else { panic!("no instance") };
        wasm.allow(AMPLE);
        let (one, other) = (room_of_50(), room_of_50());
        (move || shared(&mut Speaker, &one), move || shared(wasm.as_mut(), &other))
    });
}

fn shared(decider: &mut dyn Share, request: &ShareRequest) {
    let answer = decider.share(black_box(request)).expect("an answer");
    assert_eq!((answer.portions.len(), answer.portions[100].priority), (101, 1));
    black_box(answer);
}

/// `share-speaker` without configuration, natively.
struct Speaker;

impl Instance for Speaker {}

impl Share for Speaker {
    fn share(&mut self, request: &ShareRequest) -> Result<ShareAnswer, Failure> {
        let portion = |track: &ShareTrack| match (track.kind, &*track.source) {
            (MediaKind::Audio, _) => Portion::default(),
            (_, "screen") => Portion { priority: 1, floor_kbps: 600, ..Portion::default() },
            _ if request.people[track.person as usize].speaks => {
                Portion { weight_percent: 400, ..Portion::default() }
            }
            _ => Portion::default(),
        };
        let portions = request.tracks.iter().map(portion).collect();
        Ok(ShareAnswer { portions, valid_ms: request.period_ms * 3, ..ShareAnswer::default() })
    }
}

fn room_of_50() -> ShareRequest {
    let person = |number: u64| SharePerson {
        person: PersonId(number),
        identity: format!("person-{number}"),
        name: format!("Person {number}"),
        rates: ReceiverRates { egress_kbps: 3_000, given_kbps: 2_500, wanted_kbps: 9_000 },
        sends: 2,
        receives: 98,
        speaks: number == 7,
    };
    let track = |number: u64, person: u64, kind: MediaKind, source: &str| ShareTrack {
        producer: ProducerId(number),
        person: person as u32,
        kind,
        source: source.into(),
        ingress_kbps: 1_500,
        encodings: 3,
        receivers: 49,
        reduced: 12,
        wanted_layer: 2,
        paused: false,
    };
    let both = |number: u64| {
        let camera = track(2 * number, number, MediaKind::Video, "camera");
        [camera, track(2 * number + 1, number, MediaKind::Audio, "microphone")]
    };
    ShareRequest {
        room: "hall".into(),
        people: (0..50).map(person).collect(),
        tracks: (0..50).flat_map(both).chain([track(100, 3, MediaKind::Video, "screen")]).collect(),
        period_ms: 500,
        moment: Moment { unix_ms: UNIX_MS, seed: 7 },
        attrs: vec![],
    }
}
