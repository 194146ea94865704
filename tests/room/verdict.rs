//! What came of a room: holds it against what has to hold, and keeps what two runs must agree on.

use crate::network::Network;
use crate::person::Person;
use crate::script::{LENGTH, Script};
use crate::track::Track;
use crate::world::{Asked, OPERATOR, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidegate_media::Held;
use tidegate_types::command::TransportDump;
use tidegate_types::request::RequestBody;
use tidegate_types::{ConsumerId, MediaKind, TransportId};

/// The last part, in which everything has to be as wanted.
const CALM: Duration = Duration::from_secs(5);
/// Whoever came or changed its wishes later than so long before that may still be on its way there.
const SETTLING: Duration = Duration::from_secs(10);
/// Who is loudest changes every four seconds, the last time four before the end, and is settled so long before it. A
/// sound of each comes every 200 ms; the last may still be on its way.
const LISTENED: Duration = Duration::from_secs(1);
const SOUNDS: usize = 4;
/// Pictures that are on their way at the end.
const ON_THEIR_WAY: u32 = 2;
/// A text is owed to whoever had its channel for so long before, or came so long before, and stays for so long
/// behind it.
const BEFORE: Duration = Duration::from_secs(1);
/// Handshakes over a full narrow way take some time.
fn joined_before(person: usize) -> Duration {
    Duration::from_secs(if Script::narrow_kbps(person).is_some() { 20 } else { 8 })
}
const BEHIND: Duration = Duration::from_secs(3);
/// What is said in a storm may be lost four times in a row, and SCTP waits twice as long each time: 1, 2, 4 and 8 s (RFC
/// 9260, section 6.3.3).
const BEHIND_IN_STORM: Duration = Duration::from_secs(16);

/// What the host says of each transport.
type Told = BTreeMap<TransportId, TransportDump>;

/// What one run served.
pub(crate) struct Verdict {
    seed: u64,
    /// Who saw whom at the end.
    pairs: BTreeSet<(usize, usize)>,
    /// Whose sound was forwarded at the end.
    voices: BTreeSet<usize>,
    /// Which texts of whom were owed to whom, and came.
    texts: BTreeMap<(usize, usize), Vec<u32>>,
    /// Pairs, pictures, texts and moves, for a look at how much happened.
    pub(crate) counted: [u64; 4],
}

impl Verdict {
    pub(crate) fn of(world: &mut World) -> Self {
        let told = world.read_stats();
        let world = &*world;
        let mut verdict = Self {
            seed: world.script.seed,
            pairs: BTreeSet::new(),
            voices: voices(world),
            texts: BTreeMap::new(),
            counted: [0; 4],
        };
        let mut wrong = Vec::new();
        for watcher in world.people.values() {
            wrong.extend(verdict.look_at(world, &told, watcher).err());
            wrong.extend(verdict.hark(world, watcher).err());
        }
        wrong.extend(verdict.listen(world).err());
        assert!(wrong.is_empty(), "seed {}:\n{}", world.script.seed, wrong.join("\n"));
        let metrics = world.directory.metrics();
        let tracks = world.people.values().flat_map(|one| &one.tracks);
        verdict.counted = [
            verdict.pairs.len() as u64,
            tracks.map(|track| track.shown.len() as u64).sum(),
            verdict.texts.values().map(|texts| texts.len() as u64).sum(),
            metrics.moves_total,
        ];
        verdict
    }

    /// Holds what someone saw last against what it wanted to see.
    fn look_at(&mut self, world: &World, told: &Told, watcher: &Person) -> Result<(), String> {
        let end = world.start + LENGTH;
        let mut wrong = Vec::new();
        for shower in world.people.values().filter(|other| Script::publishes(other.number)) {
            let settled = |one: &Person| world.script.stay(one.number).from + SETTLING < LENGTH - CALM;
            if !world.script.watches(watcher.number, shower.number) || !settled(watcher) || !settled(shower) {
                continue;
            }
            let track = watcher
                .tracks
                .iter()
                .find(|track| track.from == shower.number && track.kind == MediaKind::Video);
            let seen = track.ok_or_else(|| "is not sent it".to_owned());
            match seen.and_then(|track| look(watcher, shower, track, end)) {
                Ok(()) => _ = self.pairs.insert((watcher.number, shower.number)),
                Err(why) => {
                    let told = watcher.transport.and_then(|transport| told.get(&transport)).map(|told| {
                        let of = |id: &ConsumerId| track.is_some_and(|track| track.consumer == Some(*id));
                        let consumer = told.consumers.iter().find(|(id, _)| of(id)).map(|(_, stats)| stats);
                        format!("{consumer:?} at {:?} kbit/s", told.transport.estimate_kbps)
                    });
                    wrong.push(format!("{} watches {}: {why}; {told:?}", watcher.number, shower.number));
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Holds the sounds that someone heard last against those that were forwarded: everyone hears the same.
    fn hark(&self, world: &World, hearer: &Person) -> Result<(), String> {
        let is_settled = world.script.stay(hearer.number).from + SETTLING < LENGTH - CALM;
        if !is_settled || Script::narrow_kbps(hearer.number).is_some() {
            return Ok(());
        }
        let since = world.start + LENGTH - LISTENED;
        let heard = |voice: usize| {
            let of = |track: &&Track| track.from == voice && track.kind == MediaKind::Audio;
            hearer.tracks.iter().find(of).map_or(0, |track| track.heard_since(since))
        };
        let others = self.voices.iter().filter(|voice| **voice != hearer.number);
        let lacking: Vec<_> =
            others.map(|voice| (*voice, heard(*voice))).filter(|(_, heard)| *heard < SOUNDS).collect();
        let story = || format!("of {:?} {} heard too little: {lacking:?}", self.voices, hearer.number);
        if lacking.is_empty() { Ok(()) } else { Err(story()) }
    }

    /// Holds what everyone heard against what was said.
    fn listen(&mut self, world: &World) -> Result<(), String> {
        let end = world.now.instant;
        let present = world.people.values().map(|one| (one, end));
        let all: Vec<(&Person, Instant)> =
            present.chain(world.gone.iter().map(|(one, at)| (one, *at))).collect();
        let mut wrong = Vec::new();
        for (hearer, until) in &all {
            let heard = hearer.heard();
            for (sayer, gone) in all.iter().filter(|(sayer, _)| sayer.number != hearer.number) {
                let (came, said) = (heard.get(&sayer.number).cloned().unwrap_or_default(), &sayer.said);
                let from = world.script.stay(hearer.number).from + joined_before(hearer.number);
                let joined = world.start + from;
                let open = hearer.channel_open.map_or(joined, |open| open + BEFORE);
                let behind = |at: Instant| {
                    at + if Network::storms(at - world.start) { BEHIND_IN_STORM } else { BEHIND }
                };
                let stay = |at: &Instant| behind(*at) < *until && behind(*at) < *gone;
                let owed_from = |from: Instant| -> Vec<u32> {
                    let owed = said.iter().filter(|(_, at)| from < **at && stay(at));
                    owed.map(|(number, _)| *number).collect()
                };
                let owed = owed_from(open.min(joined));
                let in_order = came.windows(2).all(|two| two[1] == two[0] + 1);
                if !in_order || owed.iter().any(|number| !came.contains(number)) {
                    let story =
                        format!("{} said {owed:?} and {} heard {came:?}", sayer.number, hearer.number);
                    wrong.push(story);
                }
                // When a channel opens depends on the way there; when one comes does not.
                let able = world.script.stay(sayer.number).from + joined_before(sayer.number);
                let surely = owed_from(joined.max(world.start + able));
                self.texts.insert((hearer.number, sayer.number), surely);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    pub(crate) fn agrees_with(&self, other: &Self) {
        let pairs: Vec<_> = self.pairs.symmetric_difference(&other.pairs).collect();
        assert!(pairs.is_empty(), "seed {}: one of both saw {pairs:?}", self.seed);
        // Whose they are may hang on when a level was told, where two are about as loud.
        let (one, three) = (self.voices.len(), other.voices.len());
        assert_eq!(one, three, "seed {}: one of both forwarded more sounds", self.seed);
        let texts: Vec<_> =
            self.texts.iter().filter(|(pair, texts)| other.texts.get(pair) != Some(texts)).collect();
        assert!(texts.is_empty(), "seed {}: one heard {texts:?}", self.seed);
    }
}

/// Whose sound anybody heard at the end; nobody's if somebody's place became free lately.
fn voices(world: &World) -> BTreeSet<usize> {
    let end = world.start + LENGTH;
    if world.gone.iter().any(|(one, at)| Script::speaks(one.number) && *at > end - CALM) {
        return BTreeSet::new();
    }
    let since = end - LISTENED;
    let tracks = world.people.values().flat_map(|one| &one.tracks);
    let heard = tracks.filter(|track| track.kind == MediaKind::Audio && track.heard_since(since) > 0);
    heard.map(|track| track.from).collect()
}

/// Whether someone saw somebody to the last as it wanted to.
fn look(watcher: &Person, shower: &Person, track: &Track, end: Instant) -> Result<(), String> {
    let shown: Vec<_> = track.shown_since(end - CALM).collect();
    let last = shown.last().ok_or_else(|| {
        let before = track.shown.last().map(|shown| end - shown.at);
        format!("saw nothing lately, the last {before:?} before the end of {}", track.shown.len())
    })?;
    let sent = shower.publisher.as_ref().map_or(0, |publisher| publisher.pictures_sent);
    if last.number + ON_THEIR_WAY < sent && Script::narrow_kbps(watcher.number).is_none() {
        return Err(format!("saw up to {} of {sent}", last.number));
    }
    if Script::narrow_kbps(watcher.number).is_some() {
        return Ok(());
    }
    if let Some(at) = track.broken.iter().find(|at| **at > end - CALM) {
        return Err(format!("a picture could not be shown {:?} before the end", end - *at));
    }
    let best = watcher.preferred.spatial.min(2);
    if let Some(other) = shown.iter().find(|shown| shown.encoding != best) {
        return Err(format!("saw encoding {} instead of {best}", other.encoding));
    }
    let step = if watcher.preferred.temporal == 0 { 2 } else { 1 };
    match shown.windows(2).find(|two| two[1].number > two[0].number + step) {
        Some(two) => Err(format!("saw {} right behind {}", two[1].number, two[0].number)),
        None => Ok(()),
    }
}

/// After all have left.
pub(crate) fn nothing_stays(world: &mut World) {
    for engine in &world.engines {
        assert_eq!(engine.held(), Held::default(), "{engine:?} after all have left");
    }
    world.request(OPERATOR, RequestBody::Dump, Asked::Dump);
    world.run_until(LENGTH + Duration::from_secs(7));
    let dump = world.dump.take().expect("the directory answers");
    assert!(dump.rooms.is_empty() && dump.relays.is_empty(), "{:?} {:?}", dump.rooms, dump.relays);
}
