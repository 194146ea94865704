//! One track as it arrives: what is lost, what has to be asked for, which pictures are whole, when a viewer would see
//! a freeze. Knows nothing of sockets or of who sends.

use crate::stamp::Stamps;
use crate::tally::Tally;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_media::missing::{Missing, Noted, Pace};
use tidegate_media::rtcp::ReportBlock;
use tidegate_media::rtp::{Extender, Header};
use tidegate_media::vp8;
use tidegate_types::{MediaKind, NtpTime};

/// Pictures that may be incomplete at a time; beyond it the oldest is given up.
const OPEN_PICTURES: usize = 16;
/// Between two requests for a keyframe.
const KEYFRAME_RETRY: Duration = Duration::from_millis(500);
/// What W3C's webrtc-stats counts as a freeze: a pause of three usual ones, or of 150 ms more than one, whichever is
/// longer.
const FREEZE_MARGIN: Duration = Duration::from_millis(150);

/// One packet in the clear, as a sink looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    /// When the system had it.
    pub(crate) came: Instant,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: &'a [u8],
}

impl<'a> Arrived<'a> {
    pub(crate) fn of(header: &Header, packet: &'a [u8], came: Instant) -> Self {
        Self {
            came,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: &packet[header.payload_start..header.payload_end],
        }
    }
}

/// One arriving track.
#[derive(Debug)]
pub(crate) struct Sink {
    kind: MediaKind,
    ssrc: u32,
    extender: Extender,
    missing: Missing,
    expected: u64,
    came: u64,
    /// Both, when the last report was made.
    reported: (u64, u64),
    lost_for_good: u64,
    sender_report: Option<(u32, Instant)>,
    /// When its first packet came.
    began: Option<Instant>,
    pictures: Pictures,
    keyframe: Keyframe,
}

/// Whether a viewer needs a keyframe.
#[derive(Debug, Default)]
struct Keyframe {
    seen: bool,
    wanted_since: Option<Instant>,
    asked: Option<Instant>,
}

impl Sink {
    pub(crate) fn new(kind: MediaKind, ssrc: u32) -> Self {
        Self {
            kind,
            ssrc,
            extender: Extender::default(),
            missing: Missing::new(Pace::PUBLISHER),
            expected: 0,
            came: 0,
            reported: (0, 0),
            lost_for_good: 0,
            sender_report: None,
            began: None,
            pictures: Pictures::default(),
            keyframe: Keyframe::default(),
        }
    }

    /// One packet.
    pub(crate) fn take(&mut self, now: Instant, arrived: &Arrived<'_>, stamps: Stamps, tally: &mut Tally) {
        let began = *self.began.get_or_insert(now);
        // What was made before the track began to arrive is a replay for a joiner: its age says nothing of the way.
        if self.account(now, arrived, tally)
            && let Some(age) = stamps.age(arrived.payload, arrived.came)
            && arrived.came.saturating_duration_since(began) >= age
        {
            tally.latency.record(age);
        }
    }

    /// A repetition (RFC 4588): its payload begins with the number that it repeats. Without one it is padding.
    pub(crate) fn take_repair(&mut self, now: Instant, arrived: &Arrived<'_>, tally: &mut Tally) {
        let parts = arrived.payload.split_first_chunk::<2>();
        let Some((number, payload)) = parts.filter(|(_, rest)| !rest.is_empty()) else { return };
        tally.repeated += 1;
        self.account(now, &Arrived { sequence: u16::from_be_bytes(*number), payload, ..*arrived }, tally);
    }

    /// `false` for what was here before.
    fn account(&mut self, now: Instant, arrived: &Arrived<'_>, tally: &mut Tally) -> bool {
        let sequence = self.extender.extend(arrived.sequence);
        let fresh = match self.missing.note(now, sequence) {
            Noted::Next => 1,
            Noted::AfterGap(missing) => missing + 1,
            Noted::Filled => 0,
            Noted::Duplicate => return false,
        };
        self.expected += fresh;
        self.came += 1;
        tally.expected += fresh;
        tally.came += 1;
        if self.kind == MediaKind::Video {
            self.take_picture(now, arrived, sequence, tally);
        }
        true
    }

    fn take_picture(&mut self, now: Instant, arrived: &Arrived<'_>, sequence: u64, tally: &mut Tally) {
        let Some((descriptor, keyframe)) = vp8::parse(arrived.payload) else {
            tally.rejected += 1;
            return;
        };
        if keyframe {
            self.keyframe = Keyframe { seen: true, ..Keyframe::default() };
        } else if !self.keyframe.seen {
            self.keyframe.wanted_since.get_or_insert(now);
        }
        let place = Place { sequence, starts: descriptor.starts_picture, ends: arrived.marker };
        self.pictures.take(now, arrived.timestamp, place, tally);
    }

    /// When something is to be asked for.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.kind != MediaKind::Video {
            return None;
        }
        let keyframe = self
            .keyframe
            .wanted_since
            .map(|since| self.keyframe.asked.map_or(since, |asked| asked.max(since)) + KEYFRAME_RETRY);
        [self.missing.due(), keyframe].into_iter().flatten().min()
    }

    /// The numbers to ask for now, ascending, into `wanted`; whether to ask for a keyframe, too.
    pub(crate) fn ask(&mut self, now: Instant, wanted: &mut Vec<u16>) -> bool {
        wanted.clear();
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        self.missing.ask(now, |sequence| wanted.push(sequence as u16));
        let lost = self.missing.given_up();
        if lost > self.lost_for_good {
            self.lost_for_good = lost;
            self.keyframe.wanted_since.get_or_insert(now);
        }
        let due = self.keyframe.wanted_since.is_some_and(|since| {
            now >= self.keyframe.asked.map_or(since, |asked| asked.max(since)) + KEYFRAME_RETRY
        });
        if due {
            self.keyframe.asked = Some(now);
        }
        due
    }

    /// The sender told its clock.
    pub(crate) fn note_report(&mut self, ntp: NtpTime, now: Instant) {
        self.sender_report = Some((ntp.middle(), now));
    }

    /// What the sender is told of it; the interval begins anew.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let highest = self.missing.highest()?;
        let (expected, came) = (self.expected - self.reported.0, self.came - self.reported.1);
        self.reported = (self.expected, self.came);
        let lost = expected.saturating_sub(came);
        let (last_report, heard) = self.sender_report.unzip();
        let delay = heard.map_or(0.0, |heard| now.saturating_duration_since(heard).as_secs_f64() * 65_536.0);
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256 / expected.max(1)).min(255) as u8,
            cumulative_lost: self.expected.saturating_sub(self.came) as u32,
            highest: highest as u32,
            last_report: last_report.unwrap_or(0),
            delay: delay as u32,
            ..ReportBlock::default()
        })
    }
}

/// Where a packet stands in its picture.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: u64,
    starts: bool,
    ends: bool,
}

/// Pictures under way, and the rhythm of those that are whole.
#[derive(Debug, Default)]
struct Pictures {
    open: VecDeque<Picture>,
    last: Option<Instant>,
    /// Smoothed time from picture to picture.
    rhythm: Option<Duration>,
}

#[derive(Debug)]
struct Picture {
    timestamp: u32,
    first: Option<u64>,
    last: Option<u64>,
    packets: u64,
}

impl Picture {
    fn is_whole(&self) -> bool {
        self.first.zip(self.last).is_some_and(|(first, last)| last.wrapping_sub(first) + 1 == self.packets)
    }
}

impl Pictures {
    fn take(&mut self, now: Instant, timestamp: u32, place: Place, tally: &mut Tally) {
        let known = self.open.iter().rposition(|picture| picture.timestamp == timestamp);
        let index = known.unwrap_or_else(|| {
            if self.open.len() >= OPEN_PICTURES {
                self.open.pop_front();
            }
            self.open.push_back(Picture { timestamp, first: None, last: None, packets: 0 });
            self.open.len() - 1
        });
        let picture = &mut self.open[index];
        picture.packets += 1;
        if place.starts {
            picture.first = Some(place.sequence);
        }
        if place.ends {
            picture.last = Some(place.sequence);
        }
        if picture.is_whole() {
            self.open.remove(index);
            self.show(now, tally);
        }
    }

    fn show(&mut self, now: Instant, tally: &mut Tally) {
        tally.pictures += 1;
        let Some(last) = self.last.replace(now) else { return };
        let pause = now.saturating_duration_since(last);
        let Some(rhythm) = self.rhythm else {
            self.rhythm = Some(pause);
            return;
        };
        if pause > (rhythm * 3).max(rhythm + FREEZE_MARGIN) {
            tally.freezes += 1;
            tally.frozen += pause;
        } else {
            self.rhythm = Some((rhythm * 15 + pause) / 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrived, Duration, Header, Instant, MediaKind, Pictures, Place, Sink, Stamps, Tally};

    fn place(sequence: u64, starts: bool, ends: bool) -> Place {
        Place { sequence, starts, ends }
    }

    #[test]
    fn a_picture_is_whole_once_its_last_missing_packet_came() {
        let (mut pictures, mut tally, now) = (Pictures::default(), Tally::default(), Instant::now());
        pictures.take(now, 1, place(10, true, false), &mut tally);
        pictures.take(now, 1, place(12, false, true), &mut tally);
        pictures.take(now, 2, place(13, true, true), &mut tally);
        assert_eq!(tally.pictures, 1);
        pictures.take(now, 1, place(11, false, false), &mut tally);
        assert_eq!(tally.pictures, 2);
        assert!(pictures.open.is_empty());
    }

    #[test]
    fn a_pause_counts_as_a_freeze_and_the_usual_rhythm_does_not() {
        let (mut pictures, mut tally, mut now) = (Pictures::default(), Tally::default(), Instant::now());
        for picture in 0..60 {
            now += Duration::from_millis(if picture == 40 { 400 } else { 33 });
            pictures.take(now, picture, place(u64::from(picture), true, true), &mut tally);
        }
        assert_eq!((tally.pictures, tally.freezes), (60, 1));
        assert_eq!(tally.frozen, Duration::from_millis(400));
    }

    #[test]
    fn what_is_replayed_to_a_joiner_does_not_count_as_late() {
        let (mut sink, mut tally, made) = (Sink::new(MediaKind::Audio, 7), Tally::default(), Instant::now());
        let stamps = Stamps::new(1, made);
        let began = made + Duration::from_secs(1);
        for (sequence, age_ms) in [(1_u8, 1_000), (2, 900), (3, 10)] {
            let mut packet = vec![0x80, 111, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 7];
            packet.extend([0; 40]);
            let now = began + Duration::from_millis(20 * u64::from(sequence));
            stamps.write(&mut packet[12..], now - Duration::from_millis(age_ms));
            let header = Header::parse(&packet).expect("a header");
            sink.take(now, &Arrived::of(&header, &packet, now), stamps, &mut tally);
        }
        assert_eq!(tally.came, 3);
        assert!(tally.latency.quantile(1_000) < Duration::from_millis(11), "{tally:?}");
    }

    #[test]
    fn a_lost_packet_is_asked_for_and_its_repetition_makes_good() {
        let (mut sink, mut tally, now) = (Sink::new(MediaKind::Video, 7), Tally::default(), Instant::now());
        let stamps = Stamps::new(1, now);
        for sequence in [1_u8, 2, 4] {
            let mut packet = vec![0x80, 0x80 | 96, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 7];
            packet.extend([0x90, 0x80, 0x80, sequence, u8::from(sequence != 1)]);
            packet.extend([0; 20]);
            stamps.write(&mut packet[12..], now);
            let header = Header::parse(&packet).expect("a header");
            sink.take(now, &Arrived::of(&header, &packet, now), stamps, &mut tally);
        }
        assert_eq!((tally.expected, tally.came, tally.pictures), (4, 3, 3));
        let later = now + Duration::from_millis(50);
        let mut wanted = Vec::new();
        assert!(!sink.ask(later, &mut wanted), "a keyframe is here");
        assert_eq!(wanted, [3]);
        let mut repair = vec![0x80, 0x80 | 97, 0, 1, 0, 0, 0, 3, 0, 0, 0, 8, 0, 3];
        repair.extend([0x90, 0x80, 0x80, 3, 1, 0, 0]);
        let header = Header::parse(&repair).expect("a header");
        sink.take_repair(later, &Arrived::of(&header, &repair, later), &mut tally);
        assert_eq!((tally.expected, tally.came, tally.pictures, tally.repeated), (4, 4, 4, 1));
        let block = sink.report(later).expect("packets came");
        assert_eq!((block.ssrc, block.fraction_lost, block.cumulative_lost), (7, 0, 0));
    }
}
