//! `share-speaker`: a shared screen comes before all faces, and whoever speaks before the other faces. Knows nothing
//! of layers or of what anyone can receive.
//!
//! A screen has priority and a floor, so that its text stays readable while cameras give way; the speaker's camera has
//! more weight. Everybody else is left to the host's own rule, and sound is never touched.

use serde::Deserialize;
use tidegate_sdk::share::{Bitrate, Description, Package, Problem, Room, Setup, Share, Shares};

const SCHEMA: &str = include_str!("../configuration.schema.json");

/// What an operator may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Configuration {
    /// Weight of the pictures of whoever holds the floor; 100 is everybody's.
    speaker_weight_percent: u32,
    /// So much of a shared screen is sent before cameras get more than their first picture.
    screen_floor_kbps: u64,
    /// The most that a camera of anybody but the speaker may take of one person's bit rate; 0 is no bound.
    camera_kbps: u64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { speaker_weight_percent: 400, screen_floor_kbps: 600, camera_kbps: 0 }
    }
}

/// Screens, then the speaker, then the others.
#[derive(Default)]
struct Speaker {
    configuration: Configuration,
}

impl Share for Speaker {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        self.configuration = setup.parse()?;
        if !(100..=1_000).contains(&self.configuration.speaker_weight_percent) {
            return Err(vec![Problem::at("/speaker_weight_percent", "must be 100 to 1000")]);
        }
        Ok(())
    }

    fn share(&mut self, room: &Room) -> Shares {
        let mut shares = room.shares();
        for track in room.tracks().filter(|track| track.is_picture()) {
            let share = shares.of(track);
            if track.source() == "screen" {
                share.priority(1).floor(Bitrate::from_kbps(self.configuration.screen_floor_kbps));
            } else if track.person().speaks() {
                share.weight_percent(self.configuration.speaker_weight_percent);
            } else {
                share.ceiling(Bitrate::from_kbps(self.configuration.camera_kbps));
            }
        }
        shares
    }
}

tidegate_sdk::register!(share: Speaker = Speaker::default());

#[cfg(test)]
mod tests {
    use super::{Setup, Share, Speaker};
    use serde_json::json;

    #[test]
    fn the_cases_decide_as_written() {
        tidegate_sdk::cases::share::<Speaker>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
    }

    #[test]
    fn a_configuration_that_does_not_fit_is_told_by_pointer() {
        let wrong = |configuration| {
            let setup = Setup::with_configuration(&configuration);
            Speaker::default().configure(&setup).unwrap_err().remove(0).pointer
        };
        assert_eq!(wrong(json!({ "speaker_weight_percent": 20 })), "/speaker_weight_percent");
        assert_eq!(wrong(json!({ "camera_kbps": -1 })), "/camera_kbps");
        assert_eq!(Speaker::default().configure(&Setup::with_configuration(&json!(null))), Ok(()));
    }
}
