//! The command line: every flag declared once, with its help, default and unit. Knows nothing of what a flag is used
//! for.

use crate::limits::WEBRTC_PACKETS_PER_THREAD;
use crate::scenario::packets_per_s;
use clap::{Parser, ValueEnum, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;
use tidegate_trust::TrustFlags;

/// Up to so many people the bots are the `webrtc` crate's where nothing else is asked for.
const WEBRTC_PEOPLE: u32 = 100;

/// Below so many kbit/s a camera sends one encoding.
const SIMULCAST_FROM_KBPS: u32 = 500;

/// Bots that join a Tidegate host as people do, and measure what they get.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate-load", version, max_term_width = 100)]
pub struct Options {
    /// The host: its page's address, or its session's
    #[arg(default_value = "http://127.0.0.1:7000", value_name = "URL")]
    pub host: String,

    /// Who sends and who watches
    #[arg(long, value_enum, default_value = "meeting", help_heading = "Who")]
    pub scenario: Scenario,

    /// People in all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=20_000),
        help_heading = "Who")]
    pub people: u32,

    /// Rooms that they are divided among
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=20_000),
        help_heading = "Who")]
    pub rooms: u32,

    /// People of each room who send [default: everyone in meeting and audio, 3 in webinar, 1 in broadcast]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=20_000), help_heading = "Who")]
    pub publishers: Option<u32>,

    /// What they send [default: both; in audio, audio]
    #[arg(long, value_enum, help_heading = "What")]
    pub media: Option<Media>,

    /// Video of one publisher, in kbit/s; equal packets make up each picture
    #[arg(long, value_name = "KBPS", default_value_t = 1_000, value_parser = value_parser!(u32).range(10..=100_000),
        help_heading = "What")]
    pub rate: u32,

    /// Encodings of one video that are sent beside each other: the largest at --rate, the others at 30 and at 10 % of it;
    /// what nobody watches is left out [default: 3, below 500 kbit/s 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=3), help_heading = "What")]
    pub encodings: Option<u8>,

    /// Pictures per second
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = value_parser!(u32).range(1..=500),
        help_heading = "What")]
    pub fps: u32,

    /// The most bytes of a video packet, before it is encrypted
    #[arg(long, value_name = "BYTES", default_value_t = 1_200, value_parser = value_parser!(u16).range(200..=1_300),
        help_heading = "What")]
    pub packet_bytes: u16,

    /// What the bots are made of; either way the same is measured
    #[arg(long, value_enum, default_value = "auto", help_heading = "How")]
    pub bots: Kind,

    /// Seconds to measure for, once everyone who gets in is in; Ctrl-C ends it earlier
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u32).range(1..=86_400),
        help_heading = "How")]
    pub duration: u32,

    /// Seconds between the last one's arrival and the begin of the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = value_parser!(u32).range(0..=600),
        help_heading = "How")]
    pub settle: u32,

    /// People who come per second; a host takes --join-rate of them from one address
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=1_000),
        help_heading = "How")]
    pub join_rate: u32,

    /// People who leave per second while it is measured, each replaced by another
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=100),
        help_heading = "How")]
    pub churn: u32,

    /// Repeats a run: names, streams, order and content follow from it
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "How")]
    pub seed: u64,

    /// Threads that carry the bots' media [default: one less than there are cores, at least one]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=128), help_heading = "How")]
    pub threads: Option<u16>,

    /// Try it even though the machine looks too small
    #[arg(long, help_heading = "How")]
    pub overcommit: bool,

    /// What the rooms are called; each has a number behind it
    #[arg(long, value_name = "NAME", default_value = "load", help_heading = "Host")]
    pub room: String,

    /// Token to join with, where the host wants one
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true, help_heading = "Host")]
    pub token: String,

    // Whose certificates are believed.
    #[allow(missing_docs)]
    #[command(flatten)]
    pub trust: TrustFlags,

    /// The host's process, where it runs on this machine: its CPU and memory are then read from the system instead
    /// of its /metrics
    #[arg(long, value_name = "PID", help_heading = "Host")]
    pub pid: Option<u32>,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,

    /// Draw the run as SVG
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub svg: Option<PathBuf>,

    /// No line a second
    #[arg(long, help_heading = "Report")]
    pub quiet: bool,
}

/// Who sends and who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Everyone sends to everyone.
    Meeting,
    /// A few send, many watch.
    Webinar,
    /// One sends, many watch.
    Broadcast,
    /// Everyone sends sound to everyone.
    Audio,
}

/// What bots are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// webrtc up to 100 people and as far as the machine carries them, engine beyond.
    #[default]
    Auto,
    /// The `webrtc` crate: peers that share nothing with the host, about 100 to a core.
    Webrtc,
    /// The host's own engine as a client: thousands to a core.
    Engine,
}

impl Kind {
    /// As the command line writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Webrtc => "webrtc",
            Self::Engine => "engine",
        }
    }
}

impl Scenario {
    /// As the command line writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meeting => "meeting",
            Self::Webinar => "webinar",
            Self::Broadcast => "broadcast",
            Self::Audio => "audio",
        }
    }
}

/// What a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Media {
    /// Sound and pictures.
    Both,
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Options {
    /// Reads a command line, its program name first.
    ///
    /// # Errors
    /// What clap says; its `exit` prints that and ends the process with 2 (0 for `--help` and `--version`).
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    /// What publishers send.
    pub(crate) fn sends(&self) -> Media {
        let default = if self.scenario == Scenario::Audio { Media::Audio } else { Media::Both };
        self.media.unwrap_or(default)
    }

    /// Encodings of one video.
    pub(crate) fn encodings(&self) -> u8 {
        self.encodings.unwrap_or(if self.rate < SIMULCAST_FROM_KBPS { 1 } else { 3 })
    }

    /// What the bots are made of, once `auto` is decided.
    pub(crate) fn kind(&self) -> Kind {
        let few = self.people <= WEBRTC_PEOPLE
            && packets_per_s(self) <= self.thread_count() as u64 * WEBRTC_PACKETS_PER_THREAD;
        match self.bots {
            Kind::Auto if few => Kind::Webrtc,
            Kind::Auto => Kind::Engine,
            chosen => chosen,
        }
    }

    /// People of the room with this number: as equal as possible.
    pub(crate) fn people_of(&self, room: u32) -> u32 {
        self.people / self.rooms + u32::from(room < self.people % self.rooms)
    }

    /// People of the largest room who send.
    pub(crate) fn publishers(&self) -> u32 {
        let default = match self.scenario {
            Scenario::Meeting | Scenario::Audio => u32::MAX,
            Scenario::Webinar => 3,
            Scenario::Broadcast => 1,
        };
        self.publishers.unwrap_or(default).min(self.people_of(0))
    }

    /// Threads for media.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.map_or_else(|| cores().saturating_sub(1).max(1), usize::from)
    }
}

/// Cores of this machine that the process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Options};
    use clap::CommandFactory;

    #[test]
    fn declarations_are_sound_and_every_flag_has_help() {
        Options::command().debug_assert();
        for flag in Options::command().get_arguments() {
            assert!(flag.get_help().is_some(), "{} has no help", flag.get_id());
        }
    }

    #[test]
    fn rooms_are_filled_evenly_and_a_scenario_says_who_sends() {
        let read = |line: &str| Options::read(line.split(' ').map(Into::into)).expect("sound flags");
        let options = read("load --people 7 --rooms 3");
        assert_eq!([0, 1, 2].map(|room| options.people_of(room)), [3, 2, 2]);
        assert_eq!(options.publishers(), 3);
        assert_eq!(read("load --scenario broadcast --people 9").publishers(), 1);
        assert_eq!(read("load --scenario webinar --people 2").publishers(), 2);
    }

    #[test]
    fn bots_are_of_another_make_up_to_what_a_machine_carries_of_them() {
        let kind = |line: &str| Options::read(line.split(' ').map(Into::into)).expect("sound flags").kind();
        assert_eq!(kind("load --people 4 --threads 2"), Kind::Webrtc);
        assert_eq!(kind("load --people 100 --scenario audio --publishers 1 --threads 2"), Kind::Webrtc);
        assert_eq!(kind("load --people 101 --scenario audio --publishers 1 --threads 2"), Kind::Engine);
        assert_eq!(kind("load --people 60 --threads 1"), Kind::Engine);
        assert_eq!(kind("load --people 4 --bots engine"), Kind::Engine);
        assert_eq!(kind("load --people 500 --bots webrtc"), Kind::Webrtc);
    }
}
