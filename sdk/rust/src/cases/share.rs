//! A question to share as a case file has it. Knows nothing of files and answers.

use super::form::{AttrForm, Kind, MomentForm, Request};
use crate::share::{PersonRow, Room, TrackRow};
use crate::words::Bitrate;
use serde::Deserialize;
use std::time::Duration;

/// A request for share. All fields may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShareForm {
    room: String,
    people: Vec<PersonForm>,
    tracks: Vec<TrackForm>,
    period_ms: u32,
    moment: MomentForm,
    attrs: Vec<AttrForm>,
}

impl Request for ShareForm {
    const SEES_CLUSTER: bool = false;
}

impl Default for ShareForm {
    /// Asked twice a second, as a host with few rooms asks.
    fn default() -> Self {
        let (people, tracks) = (Vec::new(), Vec::new());
        let (moment, attrs) = (MomentForm::default(), Vec::new());
        Self { room: String::new(), people, tracks, period_ms: 500, moment, attrs }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PersonForm {
    identity: String,
    name: String,
    egress_kbps: u64,
    given_kbps: u64,
    wanted_kbps: u64,
    sends: u64,
    receives: u64,
    speaks: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TrackForm {
    person: u32,
    kind: Kind,
    source: String,
    ingress_kbps: u64,
    encodings: u64,
    receivers: u64,
    reduced: u64,
    wanted_layer: u64,
    paused: bool,
}

impl ShareForm {
    /// The room that it means.
    #[must_use]
    pub fn request(&self) -> Room {
        let form = self.clone();
        let mut room = Room::of(&self.people(), &self.tracks());
        room.name = form.room;
        room.period = Duration::from_millis(form.period_ms.into());
        room.moment = form.moment.into();
        room.attrs = form.attrs.into_iter().map(Into::into).collect();
        room
    }

    /// Who is in it, in the order of their rows.
    #[must_use]
    pub fn people(&self) -> Vec<PersonRow> {
        let row = |form: &PersonForm| PersonRow {
            identity: form.identity.clone(),
            name: form.name.clone(),
            egress: Bitrate::from_kbps(form.egress_kbps),
            given: Bitrate::from_kbps(form.given_kbps),
            wanted: Bitrate::from_kbps(form.wanted_kbps),
            sends: form.sends,
            receives: form.receives,
            speaks: form.speaks,
        };
        self.people.iter().map(row).collect()
    }

    /// What they send, in the order of their rows.
    #[must_use]
    pub fn tracks(&self) -> Vec<TrackRow> {
        let row = |form: &TrackForm| TrackRow {
            person: form.person,
            kind: match form.kind {
                Kind::Audio => "audio".to_owned(),
                Kind::Video => "video".to_owned(),
            },
            source: form.source.clone(),
            ingress: Bitrate::from_kbps(form.ingress_kbps),
            encodings: form.encodings,
            receivers: form.receivers,
            reduced: form.reduced,
            wanted_layer: form.wanted_layer,
            paused: form.paused,
        };
        self.tracks.iter().map(row).collect()
    }
}
