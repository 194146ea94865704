//! How a room's pictures divide what its people can receive. Knows nothing of how a layer is chosen.
//!
//! Asked for each room of two or more, at most twice a second, and nothing waits for the answer: it holds for as long
//! as it says, at most three periods, and then the host's own rule divides again. The host waits 20 ms at most; without
//! an answer the last one goes on until its time is over.

use crate::bindings::sharing::exports::tidegate::policy::sharing as wire;
use crate::seat::{Registered, Seated};
use crate::words::attrs_in;
use std::time::Duration;

pub use crate::lifecycle::{Description, Package, Problem, Setup};
pub use crate::moment::{Moment, Random, UnixTime};
pub use crate::words::{Attr, Bitrate};

/// A policy that decides how a room's pictures divide what its people can receive.
pub trait Share {
    /// What it says of itself; name and version come from its Cargo.toml.
    fn describe(&self, package: Package) -> Description {
        Description::of(package)
    }

    /// Takes its configuration, before the first decision.
    ///
    /// # Errors
    /// What is wrong with it; the host then does not put the policy in force.
    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        setup.expect_nothing()
    }

    /// What is each track worth now? [`Room::shares`] begins an answer that leaves all to the host. What the policy
    /// remembers between questions is a cache: its instance may be dropped at any moment.
    fn share(&mut self, room: &Room) -> Shares;
}

/// One person, as told; what a test leaves out is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonRow {
    /// That of its grant; empty where none was given.
    pub identity: String,
    /// As shown; proves nothing.
    pub name: String,
    /// What the way to it is believed to carry; 0 while unknown.
    pub egress: Bitrate,
    /// What its tracks take of that.
    pub given: Bitrate,
    /// What they would take if each had all that is wanted.
    pub wanted: Bitrate,
    /// Tracks that it sends.
    pub sends: u64,
    /// Tracks that it receives.
    pub receives: u64,
    /// Holds the floor.
    pub speaks: bool,
}

/// One track, as told; what a test leaves out is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackRow {
    /// Its sender's row among the people.
    pub person: u32,
    /// `audio` or `video`; others may come.
    pub kind: String,
    /// `camera`, `microphone`, `screen`; others may come.
    pub source: String,
    /// What comes in of it, all encodings together.
    pub ingress: Bitrate,
    /// How many encodings it has.
    pub encodings: u64,
    /// To whom it is sent or could be.
    pub receivers: u64,
    /// Those of them who have less of it than they want.
    pub reduced: u64,
    /// The highest encoding that any of them wants; 0 is the lowest.
    pub wanted_layer: u64,
    /// Stopped at its source.
    pub paused: bool,
}

const PEOPLE: [&str; 6] = ["egress", "given", "wanted", "sends", "receives", "speaks"];
const PEOPLE_LABELS: [&str; 2] = ["identity", "name"];
const TRACKS: [&str; 7] =
    ["person", "ingress", "encodings", "receivers", "reduced", "wanted-layer", "paused"];
const TRACK_LABELS: [&str; 2] = ["kind", "source"];

/// Columns by their number here; one that the host did not tell is empty, and reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table<const N: usize, const L: usize> {
    rows: u32,
    numbers: [Vec<u64>; N],
    labels: [(Vec<String>, Vec<u32>); L],
}

impl<const N: usize, const L: usize> Table<N, L> {
    fn of(mut told: wire::Table, numbers: [&str; N], labels: [&str; L]) -> Self {
        let number = |name: &str| {
            let column = told.columns.iter_mut().find(|column| column.name == name);
            column.map(|column| std::mem::take(&mut column.values)).unwrap_or_default()
        };
        let numbers = numbers.map(number);
        let label = |name: &str| {
            let column = told.labels.iter_mut().find(|column| column.name == name);
            let take = |column: &mut crate::bindings::host::tidegate::policy::types::LabelColumn| {
                (std::mem::take(&mut column.texts), std::mem::take(&mut column.values))
            };
            column.map(take).unwrap_or_default()
        };
        Self { rows: told.rows, numbers, labels: labels.map(label) }
    }

    /// The same from rows, as tests have them.
    fn from_rows<T>(rows: &[T], number: fn(&T) -> [u64; N], label: fn(&T) -> [&str; L]) -> Self {
        Self {
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            numbers: std::array::from_fn(|column| rows.iter().map(|row| number(row)[column]).collect()),
            labels: std::array::from_fn(|column| {
                let texts = rows.iter().map(|row| label(row)[column].to_owned()).collect();
                (texts, (0..).take(rows.len()).collect())
            }),
        }
    }

    fn number(&self, column: usize, row: u32) -> u64 {
        self.numbers[column].get(row as usize).copied().unwrap_or(0)
    }

    fn label(&self, column: usize, row: u32) -> &str {
        let (texts, values) = &self.labels[column];
        values.get(row as usize).and_then(|text| texts.get(*text as usize)).map_or("", String::as_str)
    }
}

/// A room, as the question tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// How long until it is asked about again.
    pub period: Duration,
    /// When and with which seed.
    pub moment: Moment,
    /// What this version gives no meaning to.
    pub attrs: Vec<Attr>,
    people: Table<{ PEOPLE.len() }, { PEOPLE_LABELS.len() }>,
    tracks: Table<{ TRACKS.len() }, { TRACK_LABELS.len() }>,
}

impl Room {
    /// A room of these people and tracks, asked about twice a second: for tests.
    #[must_use]
    pub fn of(people: &[PersonRow], tracks: &[TrackRow]) -> Self {
        let people = Table::from_rows(
            people,
            |row| {
                let rates = [row.egress, row.given, row.wanted].map(Bitrate::kbps);
                [rates[0], rates[1], rates[2], row.sends, row.receives, row.speaks.into()]
            },
            |row| [&row.identity, &row.name],
        );
        let tracks = Table::from_rows(
            tracks,
            |row| {
                let layer = [row.encodings, row.receivers, row.reduced, row.wanted_layer];
                let (person, ingress) = (row.person.into(), row.ingress.kbps());
                [person, ingress, layer[0], layer[1], layer[2], layer[3], row.paused.into()]
            },
            |row| [&row.kind, &row.source],
        );
        Self {
            name: String::new(),
            period: Duration::from_millis(500),
            moment: Moment::default(),
            attrs: Vec::new(),
            people,
            tracks,
        }
    }

    /// Who is in it.
    pub fn people(&self) -> impl Iterator<Item = Person<'_>> {
        (0..self.people.rows).map(|row| Person { room: self, row })
    }

    /// What they send.
    pub fn tracks(&self) -> impl Iterator<Item = Track<'_>> {
        (0..self.tracks.rows).map(|row| Track { room: self, row })
    }

    /// An answer that leaves everything to the host's own rule, for as long as an answer may hold.
    #[must_use]
    pub fn shares(&self) -> Shares {
        Shares { tracks: vec![TrackShare::default(); self.tracks.rows as usize], valid: self.period * 3 }
    }
}

/// Someone in the room.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    room: &'a Room,
    row: u32,
}

impl<'a> Person<'a> {
    fn number(self, column: usize) -> u64 {
        self.room.people.number(column, self.row)
    }

    /// Its row in this question; another question may number people otherwise.
    #[must_use]
    pub const fn row(self) -> u32 {
        self.row
    }

    /// That of its grant; empty where none was given.
    #[must_use]
    pub fn identity(self) -> &'a str {
        self.room.people.label(0, self.row)
    }

    /// As shown; proves nothing.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.room.people.label(1, self.row)
    }

    /// What the way to it is believed to carry; `None` while unknown.
    #[must_use]
    pub fn egress(self) -> Option<Bitrate> {
        Some(self.number(0)).filter(|kbps| *kbps > 0).map(Bitrate::from_kbps)
    }

    /// What its tracks take of that.
    #[must_use]
    pub fn given(self) -> Bitrate {
        Bitrate::from_kbps(self.number(1))
    }

    /// What they would take if each had all that is wanted.
    #[must_use]
    pub fn wanted(self) -> Bitrate {
        Bitrate::from_kbps(self.number(2))
    }

    /// Tracks that it sends.
    #[must_use]
    pub fn sends(self) -> u64 {
        self.number(3)
    }

    /// Tracks that it receives.
    #[must_use]
    pub fn receives(self) -> u64 {
        self.number(4)
    }

    /// Holds the floor.
    #[must_use]
    pub fn speaks(self) -> bool {
        self.number(5) != 0
    }
}

/// A track in the room.
#[derive(Clone, Copy, Debug)]
pub struct Track<'a> {
    room: &'a Room,
    row: u32,
}

impl<'a> Track<'a> {
    fn number(self, column: usize) -> u64 {
        self.room.tracks.number(column, self.row)
    }

    /// Its row in this question; another question may number tracks otherwise.
    #[must_use]
    pub const fn row(self) -> u32 {
        self.row
    }

    /// Whose it is.
    #[must_use]
    pub fn person(self) -> Person<'a> {
        Person { room: self.room, row: u32::try_from(self.number(0)).unwrap_or(u32::MAX) }
    }

    /// `audio` or `video`; others may come.
    #[must_use]
    pub fn kind(self) -> &'a str {
        self.room.tracks.label(0, self.row)
    }

    /// Only pictures are divided; sound is always sent whole.
    #[must_use]
    pub fn is_picture(self) -> bool {
        self.kind() == "video"
    }

    /// `camera`, `microphone`, `screen`; others may come.
    #[must_use]
    pub fn source(self) -> &'a str {
        self.room.tracks.label(1, self.row)
    }

    /// What comes in of it, all encodings together.
    #[must_use]
    pub fn ingress(self) -> Bitrate {
        Bitrate::from_kbps(self.number(1))
    }

    /// How many encodings it has.
    #[must_use]
    pub fn encodings(self) -> u64 {
        self.number(2)
    }

    /// To whom it is sent or could be.
    #[must_use]
    pub fn receivers(self) -> u64 {
        self.number(3)
    }

    /// Those of them whose way has no room for all that they want of it; a ceiling is no lack.
    #[must_use]
    pub fn reduced(self) -> u64 {
        self.number(4)
    }

    /// The highest encoding that any of them wants; 0 is the lowest.
    #[must_use]
    pub fn wanted_layer(self) -> u64 {
        self.number(5)
    }

    /// Stopped at its source.
    #[must_use]
    pub fn is_paused(self) -> bool {
        self.number(6) != 0
    }
}

/// What the room's tracks are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    tracks: Vec<TrackShare>,
    valid: Duration,
}

impl Shares {
    /// What one of them is worth, to be changed.
    ///
    /// # Panics
    /// If the track is of a room with more tracks than the one that this answers.
    pub fn of(&mut self, track: Track<'_>) -> &mut TrackShare {
        &mut self.tracks[track.row as usize]
    }

    /// Holds for so long instead; the host lets no answer hold longer than three periods.
    #[must_use]
    pub const fn valid_for(mut self, valid: Duration) -> Self {
        self.valid = valid;
        self
    }

    /// All of them, in the question's order.
    #[must_use]
    pub fn tracks(&self) -> &[TrackShare] {
        &self.tracks
    }

    /// How long they hold, in milliseconds.
    #[must_use]
    pub fn valid_ms(&self) -> u32 {
        u32::try_from(self.valid.as_millis()).unwrap_or(u32::MAX)
    }

    /// From rows: what a host made of an answer.
    #[doc(hidden)]
    #[must_use]
    pub const fn from_rows(tracks: Vec<TrackShare>, valid: Duration) -> Self {
        Self { tracks, valid }
    }
}

/// What one track is worth; 0 leaves that to the host's own rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackShare {
    /// Among equals, in percent: 100 is usual, 10 to 1,000.
    pub weight_percent: u32,
    /// So much of it is sent before others have more than their first picture.
    pub floor: Bitrate,
    /// No more of it is sent, but its lowest layer always may be; 0 is no ceiling.
    pub ceiling: Bitrate,
    /// Who has more comes first, before whoever holds the floor; up to 7.
    pub priority: u32,
}

impl TrackShare {
    /// Sets the weight among equals, in percent: who has twice as much comes one step earlier.
    pub const fn weight_percent(&mut self, percent: u32) -> &mut Self {
        self.weight_percent = percent;
        self
    }

    /// Sets what is sent of it before others have more than their first picture.
    pub const fn floor(&mut self, floor: Bitrate) -> &mut Self {
        self.floor = floor;
        self
    }

    /// Sets what is sent of it at most.
    pub const fn ceiling(&mut self, ceiling: Bitrate) -> &mut Self {
        self.ceiling = ceiling;
        self
    }

    /// Sets its priority.
    pub const fn priority(&mut self, priority: u32) -> &mut Self {
        self.priority = priority;
        self
    }
}

impl<T: Share + Seated> wire::Guest for Registered<T> {
    fn share(request: wire::ShareRequest) -> wire::ShareAnswer {
        let room = Room::from(request);
        T::seat(|policy| policy.share(&room)).into()
    }
}

impl From<wire::ShareRequest> for Room {
    fn from(request: wire::ShareRequest) -> Self {
        Self {
            name: request.room,
            period: Duration::from_millis(request.period_ms.into()),
            moment: request.moment.into(),
            attrs: attrs_in(request.attrs),
            people: Table::of(request.people, PEOPLE, PEOPLE_LABELS),
            tracks: Table::of(request.tracks, TRACKS, TRACK_LABELS),
        }
    }
}

impl From<Shares> for wire::ShareAnswer {
    /// A column of zeros need not travel.
    fn from(shares: Shares) -> Self {
        type Value = fn(&TrackShare) -> u64;
        let columns: [(&str, &str, Value); 4] = [
            ("weight", "percent", |share| share.weight_percent.into()),
            ("floor", "kbps", |share| share.floor.kbps()),
            ("ceiling", "kbps", |share| share.ceiling.kbps()),
            ("priority", "level", |share| share.priority.into()),
        ];
        let tracks = columns
            .into_iter()
            .map(|(name, unit, value)| {
                let values: Vec<u64> = shares.tracks.iter().map(value).collect();
                wire::Column { name: name.to_owned(), unit: unit.to_owned(), values }
            })
            .filter(|column| column.values.iter().any(|value| *value > 0))
            .collect();
        Self { tracks, valid_ms: shares.valid_ms(), attrs: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bitrate, PersonRow, Room, TrackRow, wire};

    fn room() -> Room {
        let people = [PersonRow { identity: "ada".into(), speaks: true, ..PersonRow::default() }];
        let track = |kind: &str| TrackRow { kind: kind.into(), ..TrackRow::default() };
        Room::of(&people, &[track("audio"), track("video")])
    }

    #[test]
    fn a_view_reads_its_own_row_and_what_was_not_told_is_zero() {
        let room = room();
        let picture = room.tracks().find(|track| track.is_picture()).expect("a picture");
        assert_eq!((picture.row(), picture.person().identity(), picture.person().speaks()), (1, "ada", true));
        assert_eq!((picture.source(), picture.ingress(), room.people().count()), ("", Bitrate::default(), 1));
        assert_eq!(picture.person().egress(), None);
        let bare = wire::Table { rows: 2, columns: Vec::new(), labels: Vec::new() };
        let tracks = super::Table::of(bare, super::TRACKS, super::TRACK_LABELS);
        let room = Room { tracks, ..room };
        assert!(room.tracks().all(|track| track.kind().is_empty() && !track.is_paused()));
    }

    #[test]
    fn only_columns_that_say_something_travel() {
        let room = room();
        let mut shares = room.shares();
        let picture = room.tracks().nth(1).expect("a picture");
        shares.of(picture).ceiling(Bitrate::from_kbps(300));
        let answer = wire::ShareAnswer::from(shares);
        let columns: Vec<_> = answer.tracks.iter().map(|column| (&*column.name, &*column.values)).collect();
        assert_eq!((columns, answer.valid_ms), (vec![("ceiling", &[0, 300][..])], 1_500));
    }
}
