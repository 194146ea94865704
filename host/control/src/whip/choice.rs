//! What a resource sends or receives, of what its offer and its room hold. Knows nothing of HTTP.

use crate::problem::Problem;
use crate::sdp::Offer;
use crate::session::{Entered, TrackMessage};
use axum::http::StatusCode;
use tidegate_types::{MediaKind, PersonId, ProducerId};

/// What the first and second section of a kind are taken for: RFC 9725 names no sources, and encoders send one of
/// each.
const SOURCES: [[&str; 2]; 2] = [["microphone", "screen-audio"], ["camera", "screen"]];

/// Which tracks a WHEP client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Somebody's: whoever shows video for the longest.
    Any,
    /// One track.
    Producer(ProducerId),
    /// One person's.
    Person(PersonId),
    /// Those of the first person of this name or identity.
    Named(String),
}

impl Wanted {
    /// `producer-7`, `person-3`, or else a name.
    pub(super) fn read(text: &str) -> Self {
        let number = |prefix| text.strip_prefix(prefix).and_then(|number: &str| number.parse().ok());
        if let Some(producer) = number("producer-") {
            return Self::Producer(ProducerId(producer));
        }
        number("person-")
            .map_or_else(|| Self::Named(text.to_owned()), |person| Self::Person(PersonId(person)))
    }

    fn takes(&self, track: &TrackMessage, entered: &Entered) -> bool {
        match self {
            Self::Any => true,
            Self::Producer(producer) => track.producer == *producer,
            Self::Person(person) => track.person == *person,
            Self::Named(name) => {
                let known = entered
                    .people
                    .iter()
                    .find(|person| person.name == *name || person.identity.as_ref() == Some(name));
                known.is_some_and(|person| person.person == track.person)
            }
        }
    }
}

/// The tracks to subscribe to: as many of each kind as the offer has sections for, one person's first, so that
/// whoever is seen is heard.
pub(super) fn choose(wanted: &Wanted, entered: &Entered, offer: &Offer) -> Vec<ProducerId> {
    let mut tracks: Vec<_> = entered.tracks.iter().filter(|track| wanted.takes(track, entered)).collect();
    let seen = tracks.iter().filter(|track| track.kind == MediaKind::Video);
    let lead = seen.min_by_key(|track| track.producer).map(|track| track.person);
    tracks.sort_by_key(|track| (Some(track.person) != lead, track.producer));
    let mut free = [MediaKind::Audio, MediaKind::Video].map(|kind| receiving(offer, kind));
    tracks.retain(|track| {
        let free = &mut free[track.kind as usize];
        let fits = *free > 0;
        *free = free.saturating_sub(1);
        fits
    });
    tracks.into_iter().map(|track| track.producer).collect()
}

fn receiving(offer: &Offer, kind: MediaKind) -> usize {
    let media = offer.sections.iter().filter_map(|section| section.media.as_ref());
    media.filter(|media| media.kind == kind && media.receives).count()
}

/// Whether any section would receive.
pub(super) fn receives(offer: &Offer) -> bool {
    [MediaKind::Audio, MediaKind::Video].into_iter().any(|kind| receiving(offer, kind) > 0)
}

/// The mid and source of each section that sends.
pub(super) fn sources(offer: &Offer) -> Result<Vec<(String, String)>, Problem> {
    let mut taken = [0; 2];
    let mut sources = Vec::new();
    for section in &offer.sections {
        let Some(media) = section.media.as_ref().filter(|media| media.sends) else { continue };
        let nth = &mut taken[media.kind as usize];
        let Some(source) = SOURCES[media.kind as usize].get(*nth) else {
            let kind = media.kind.name();
            let detail =
                format!("section {}: at most {} {kind} sections may send", section.mid, SOURCES[0].len());
            return Err(unfit(StatusCode::UNPROCESSABLE_ENTITY, "too-many-tracks", detail));
        };
        *nth += 1;
        sources.push((section.mid.clone(), (*source).to_owned()));
    }
    if sources.is_empty() {
        let detail = "no section of the offer sends audio or video: one needs a=sendonly";
        return Err(unfit(StatusCode::UNPROCESSABLE_ENTITY, "nothing-sent", detail));
    }
    Ok(sources)
}

/// A problem with the offer.
pub(super) fn unfit(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
    Problem { field: Some("/sdp".into()), ..Problem::new(status, code, detail) }
}

const _: () = assert!(MediaKind::Audio as usize == 0 && MediaKind::Video as usize == 1);
