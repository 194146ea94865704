//! The room as one session sees it: who is there, whose tracks, and which of them it wants. Knows nothing of SDP.

use super::message::{PersonMessage, TrackMessage};
use std::collections::BTreeMap;
use tidegate_types::consumer::LayerPreference;
use tidegate_types::request::{Joined, PersonView, TrackView};
use tidegate_types::rtp::CodecParameters;
use tidegate_types::{ConsumerId, MediaKind, PersonId, ProducerId, Shared};

/// How often a track is tried again that could not be consumed: once a negotiation, so a passing failure mends
/// itself and a lasting one doesn't make the client offer for ever.
const ATTEMPTS: u8 = 3;

/// Everyone else and everything they send.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// In order of their ids, which is that of their coming. Everyone in a room holds this list, so it is kept small.
    people: Vec<Shared<PersonView>>,
    tracks: BTreeMap<ProducerId, Track>,
}

/// Somebody else's track.
#[derive(Debug)]
pub(super) struct Track {
    /// Boxed, like others of what a map holds here: a map of one has room for eleven.
    pub(super) view: Box<TrackView>,
    /// The client wants it; all are at first.
    pub(super) wanted: bool,
    /// The highest layers wanted.
    pub(super) preferred: LayerPreference,
    /// The client's browser has its codec, as far as is known.
    pub(super) playable: bool,
    /// Set while a section carries it.
    pub(super) consumer: Option<ConsumerId>,
    /// Consume failed so often.
    pub(super) failures: u8,
}

impl Track {
    /// It should be given a section, and has none.
    fn waits(&self) -> bool {
        self.wanted && self.playable && self.consumer.is_none() && self.failures < ATTEMPTS
    }

    /// What its publisher agreed to; it is sent in the first.
    pub(super) fn codecs(&self) -> &[CodecParameters] {
        &self.view.parameters.rtp.codecs
    }

    /// The stream that a player keeps in sync: one for each person's camera and microphone, another for the
    /// screen and its sound.
    pub(super) fn stream(&self) -> String {
        let screen = if self.view.source.starts_with("screen") { "-screen" } else { "" };
        format!("{}{screen}", self.view.person)
    }
}

impl Room {
    /// `wanted`: all tracks are, until the client says otherwise.
    pub(super) fn new(joined: &Joined, wanted: bool) -> Self {
        let mut room = Self::default();
        for person in joined.people.iter().filter(|person| person.person != joined.person) {
            room.enter(person.clone());
        }
        for track in joined.tracks.iter().filter(|track| track.person != joined.person) {
            room.publish(track.clone(), wanted);
        }
        room
    }

    pub(super) fn people(&self) -> Vec<PersonMessage> {
        self.people.iter().map(|person| PersonMessage::from(&**person)).collect()
    }

    pub(super) fn tracks(&self) -> Vec<TrackMessage> {
        self.tracks.values().map(|track| TrackMessage::from(&*track.view)).collect()
    }

    pub(super) fn enter(&mut self, person: Shared<PersonView>) {
        match self.place_of(person.person) {
            Ok(known) => self.people[known] = person,
            Err(place) => self.people.insert(place, person),
        }
    }

    fn place_of(&self, person: PersonId) -> Result<usize, usize> {
        self.people.binary_search_by_key(&person, |known| known.person)
    }

    /// Removes a person; whatever it still sends is returned, removed.
    pub(super) fn leave(&mut self, person: PersonId) -> Vec<ProducerId> {
        if let Ok(known) = self.place_of(person) {
            self.people.remove(known);
        }
        let gone: Vec<_> = self
            .tracks
            .values()
            .filter(|track| track.view.person == person)
            .map(|track| track.view.producer)
            .collect();
        for producer in &gone {
            self.tracks.remove(producer);
        }
        gone
    }

    /// Adds a track; told again, it keeps what is known of it.
    pub(super) fn publish(&mut self, view: TrackView, wanted: bool) {
        let track = Track {
            view: Box::new(view),
            wanted,
            preferred: LayerPreference::HIGHEST,
            playable: true,
            consumer: None,
            failures: 0,
        };
        self.tracks.entry(track.view.producer).or_insert(track);
    }

    /// Removes a track; `false` if there was none.
    pub(super) fn end(&mut self, producer: ProducerId) -> bool {
        self.tracks.remove(&producer).is_some()
    }

    pub(super) fn track(&self, producer: ProducerId) -> Option<&Track> {
        self.tracks.get(&producer)
    }

    pub(super) fn track_mut(&mut self, producer: ProducerId) -> Option<&mut Track> {
        self.tracks.get_mut(&producer)
    }

    /// Which track a consumer carries.
    pub(super) fn consumed(&self, consumer: ConsumerId) -> Option<ProducerId> {
        self.tracks.values().find(|track| track.consumer == Some(consumer)).map(|track| track.view.producer)
    }

    /// Tracks of a kind that wait for a section, the oldest first.
    pub(super) fn waiting(&self, kind: MediaKind) -> Vec<ProducerId> {
        let waits = |track: &&Track| track.view.parameters.kind == kind && track.waits();
        self.tracks.values().filter(waits).map(|track| track.view.producer).collect()
    }

    /// Any track waits for a section.
    pub(super) fn any_waits(&self) -> bool {
        self.tracks.values().any(Track::waits)
    }

    /// How many sections of a kind would carry all that is wanted.
    pub(super) fn sections_wanted(&self, kind: MediaKind) -> usize {
        let counts = |track: &&Track| {
            track.view.parameters.kind == kind && (track.waits() || track.consumer.is_some())
        };
        self.tracks.values().filter(counts).count()
    }
}
