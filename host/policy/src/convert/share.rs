//! The question to share as columns, and its answer from columns: held against the question and brought within the
//! ranges on the way. Knows nothing of what a portion does.

use super::{attrs, moment, own_attrs};
use crate::bindings::exports::tidegate::policy::sharing;
use crate::bindings::tidegate::policy::types::{ColumnParam as Column, ColumnResult, LabelColumn};
use tidegate_types::sharing::{PERIODS, Portion, ShareAnswer, SharePerson, ShareRequest, ShareTrack};

/// A number column: name, unit, value of a row.
type Number<T> = (&'static str, &'static str, fn(&T) -> u64);
/// A label column: name, text of a row.
type Label<T> = (&'static str, fn(&T) -> &str);

/// Number columns of people.
const PEOPLE: [Number<SharePerson>; 6] = [
    ("egress", "kbps", |person| person.rates.egress_kbps),
    ("given", "kbps", |person| person.rates.given_kbps),
    ("wanted", "kbps", |person| person.rates.wanted_kbps),
    ("sends", "count", |person| person.sends.into()),
    ("receives", "count", |person| person.receives.into()),
    ("speaks", "bool", |person| person.speaks.into()),
];

/// Number columns of tracks.
const TRACKS: [Number<ShareTrack>; 7] = [
    ("person", "id", |track| track.person.into()),
    ("ingress", "kbps", |track| track.ingress_kbps),
    ("encodings", "count", |track| track.encodings.into()),
    ("receivers", "count", |track| track.receivers.into()),
    ("reduced", "count", |track| track.reduced.into()),
    ("wanted-layer", "layer", |track| track.wanted_layer.into()),
    ("paused", "bool", |track| track.paused.into()),
];

/// Label columns.
const PEOPLE_LABELS: [Label<SharePerson>; 2] =
    [("identity", |person| &person.identity), ("name", |person| &person.name)];
const TRACK_LABELS: [Label<ShareTrack>; 2] =
    [("kind", |track| track.kind.name()), ("source", |track| &track.source)];

/// Rows, as one list a column.
struct Table<'a> {
    rows: u32,
    numbers: Vec<(&'static str, &'static str, Vec<u64>)>,
    labels: Vec<(&'static str, Vec<&'a str>, Vec<u32>)>,
}

impl<'a> Table<'a> {
    fn of<T>(rows: &'a [T], numbers: &[Number<T>], labels: &[Label<T>]) -> Self {
        Self {
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            numbers: numbers
                .iter()
                .map(|(name, unit, value)| (*name, *unit, rows.iter().map(value).collect()))
                .collect(),
            labels: labels.iter().map(|(name, text)| labelled(name, rows.iter().map(text))).collect(),
        }
    }

    fn columns(&self) -> Vec<Column<'_>> {
        self.numbers.iter().map(|(name, unit, values)| Column { name, unit, values }).collect()
    }

    fn label_columns(&self) -> Vec<LabelColumn<'_>> {
        self.labels.iter().map(|(name, texts, values)| LabelColumn { name, texts, values }).collect()
    }
}

/// Each distinct text once, in the order in which they come.
fn labelled<'a>(
    name: &'static str,
    texts: impl Iterator<Item = &'a str>,
) -> (&'static str, Vec<&'a str>, Vec<u32>) {
    let mut known = std::collections::BTreeMap::new();
    let mut distinct = Vec::new();
    let values = texts
        .map(|text| {
            *known.entry(text).or_insert_with(|| {
                distinct.push(text);
                u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
            })
        })
        .collect();
    (name, distinct, values)
}

/// Lends a question to share.
pub(crate) fn share_request<R>(
    request: &ShareRequest,
    ask: impl FnOnce(sharing::ShareRequest<'_>) -> R,
) -> R {
    let people = Table::of(&request.people, &PEOPLE, &PEOPLE_LABELS);
    let tracks = Table::of(&request.tracks, &TRACKS, &TRACK_LABELS);
    ask(sharing::ShareRequest {
        room: &request.room,
        people: sharing::Table {
            rows: people.rows,
            columns: &people.columns(),
            labels: &people.label_columns(),
        },
        tracks: sharing::Table {
            rows: tracks.rows,
            columns: &tracks.columns(),
            labels: &tracks.label_columns(),
        },
        period_ms: request.period_ms,
        moment: moment(request.moment),
        attrs: &attrs(&request.attrs),
    })
}

/// Why an answer of share is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShareError {
    #[error("the answer's column {0:?} is not known here: there are weight, floor, ceiling and priority")]
    UnknownColumn(String),
    #[error("the answer's column {name} has {found} values, and the question has {wanted} tracks")]
    Rows { name: &'static str, found: usize, wanted: usize },
    #[error("the answer tells its column {0} twice")]
    Twice(&'static str),
}

/// A column of an answer, and how it is put into a portion; returns whether the value was out of range.
type Put = fn(&mut Portion, u64) -> bool;

const ANSWERED: [(&str, Put); 4] = [
    ("weight", |portion, value| {
        let told = if value == 0 { 0 } else { value.clamp(LEAST_WEIGHT, MOST_WEIGHT) };
        portion.weight_percent = told as u16;
        told != value
    }),
    ("floor", |portion, value| {
        portion.floor_kbps = value.min(Portion::MOST_FLOOR_KBPS.into()) as u32;
        u64::from(portion.floor_kbps) != value
    }),
    ("ceiling", |portion, value| {
        portion.ceiling_kbps = value.min(Portion::MOST_CEILING_KBPS.into()) as u32;
        u64::from(portion.ceiling_kbps) != value
    }),
    ("priority", |portion, value| {
        portion.priority = value.min(Portion::MOST_PRIORITY.into()) as u8;
        u64::from(portion.priority) != value
    }),
];
const LEAST_WEIGHT: u64 = Portion::LEAST_WEIGHT_PERCENT as u64;
const MOST_WEIGHT: u64 = Portion::MOST_WEIGHT_PERCENT as u64;

/// What share answered.
pub(crate) fn share_answer(
    request: &ShareRequest,
    answer: sharing::ShareAnswer,
) -> Result<ShareAnswer, ShareError> {
    let mut portions = vec![Portion::default(); request.tracks.len()];
    let mut clamped = 0_usize;
    let mut told = [false; ANSWERED.len()];
    for ColumnResult { name, values, .. } in answer.tracks {
        let Some(index) = ANSWERED.iter().position(|(known, _)| *known == name) else {
            return Err(ShareError::UnknownColumn(name.chars().take(64).collect()));
        };
        let (name, put) = ANSWERED[index];
        if std::mem::replace(&mut told[index], true) {
            return Err(ShareError::Twice(name));
        }
        if values.len() != portions.len() {
            return Err(ShareError::Rows { name, found: values.len(), wanted: portions.len() });
        }
        clamped += portions
            .iter_mut()
            .zip(values)
            .filter_map(|(portion, value)| put(portion, value).then_some(()))
            .count();
    }
    let longest = request.period_ms.saturating_mul(PERIODS);
    let valid_ms = answer.valid_ms.min(longest);
    clamped += usize::from(valid_ms != answer.valid_ms);
    let clamped = u32::try_from(clamped).unwrap_or(u32::MAX);
    Ok(ShareAnswer { portions, valid_ms, clamped, attrs: own_attrs(answer.attrs) })
}

#[cfg(test)]
mod tests {
    use super::{ColumnResult, ShareError, share_answer, sharing};
    use tidegate_types::sharing::{Portion, ShareAnswer, ShareRequest, ShareTrack};
    use tidegate_types::{MediaKind, ProducerId};

    /// About so many tracks, twice a second.
    fn request(tracks: u64) -> ShareRequest {
        let track = |number| ShareTrack {
            producer: ProducerId(number),
            person: 0,
            kind: MediaKind::Video,
            source: "camera".into(),
            ingress_kbps: 500,
            encodings: 3,
            receivers: 1,
            reduced: 0,
            wanted_layer: 2,
            paused: false,
        };
        ShareRequest { tracks: (0..tracks).map(track).collect(), period_ms: 500, ..ShareRequest::default() }
    }

    fn column(name: &str, values: &[u64]) -> ColumnResult {
        ColumnResult { name: name.into(), unit: String::new(), values: values.into() }
    }

    /// What becomes of these columns about two tracks.
    fn told(columns: Vec<ColumnResult>, valid_ms: u32) -> Result<ShareAnswer, ShareError> {
        share_answer(&request(2), sharing::ShareAnswer { tracks: columns, valid_ms, attrs: vec![] })
    }

    #[test]
    fn what_is_out_of_range_is_brought_within_it_and_counted() {
        type Row<'a> = (&'a str, [u64; 2], fn(&Portion) -> u64, [u64; 2], u32);
        let rows: [Row<'_>; 8] = [
            ("weight", [10, 1_000], |one| one.weight_percent.into(), [10, 1_000], 0),
            ("weight", [9, 1_001], |one| one.weight_percent.into(), [10, 1_000], 2),
            ("weight", [0, u64::MAX], |one| one.weight_percent.into(), [0, 1_000], 1),
            ("weight", [65_536 + 100, 1], |one| one.weight_percent.into(), [1_000, 10], 2),
            ("floor", [100_000, 100_001], |one| one.floor_kbps.into(), [100_000, 100_000], 1),
            ("ceiling", [1_000_000, 1 << 32], |one| one.ceiling_kbps.into(), [1_000_000, 1_000_000], 1),
            ("priority", [7, 8], |one| one.priority.into(), [7, 7], 1),
            ("priority", [256, u64::MAX], |one| one.priority.into(), [7, 7], 2),
        ];
        for (name, values, read, expected, clamped) in rows {
            let answer = told(vec![column(name, &values)], 500).expect("within its ranges");
            let read: Vec<u64> = answer.portions.iter().map(read).collect();
            assert_eq!((read.as_slice(), answer.clamped), (&expected[..], clamped), "{name} {values:?}");
        }
        let both = vec![column("weight", &[9, 5_000]), column("priority", &[8, 0])];
        assert_eq!(told(both, 500).expect("within its ranges").clamped, 3);
    }

    #[test]
    fn no_answer_holds_for_longer_than_three_periods() {
        for (said, valid_ms, clamped) in
            [(0, 0, 0), (1_500, 1_500, 0), (1_501, 1_500, 1), (u32::MAX, 1_500, 1)]
        {
            let answer = told(vec![], said).expect("it is brought within its range");
            assert_eq!((answer.valid_ms, answer.clamped), (valid_ms, clamped), "{said} ms");
            assert_eq!(answer.portions, [Portion::default(); 2]);
        }
        let slow = ShareRequest { period_ms: u32::MAX, ..request(0) };
        let longest = sharing::ShareAnswer { tracks: vec![], valid_ms: u32::MAX, attrs: vec![] };
        assert_eq!(share_answer(&slow, longest).expect("no overflow").valid_ms, u32::MAX);
    }

    #[test]
    fn columns_that_do_not_fit_the_question_are_no_answer() {
        let wrong = |columns| told(columns, 500).expect_err("no answer").to_string();
        for values in [&[][..], &[1], &[1, 2, 3]] {
            let said = wrong(vec![column("weight", &[100, 100]), column("floor", values)]);
            assert!(said.contains("column floor has") && said.contains("2 tracks"), "{said}");
        }
        assert!(wrong(vec![column("floor", &[1, 2]), column("floor", &[1, 2])]).contains("floor twice"));
        assert!(wrong(vec![column("Weight", &[1, 2])]).contains("is not known here"));
        let long = wrong(vec![column(&"moon".repeat(1_000), &[1, 2])]);
        assert!(long.len() < 200, "{long}");
    }
}
