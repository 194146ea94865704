//! How much a publisher need bring in, where it hears no messages and so cannot be told which encodings nobody
//! watches: a ceiling over all that it sends. Knows nothing of who watches, and of how the ceiling is told.
//!
//! Such an encoder gives its lowest encodings what they want before it begins the next one, so the sum of what is
//! watched, with some room to spare, leaves no room for what lies above. A ceiling holds for all tracks together: while
//! one is watched in full there is none. What an encoding took at most counts, so that a picture that rests does not
//! bring the ceiling down, and the ceiling does not follow what it causes itself.

use tidegate_types::Bitrate;

/// So many hundredths of what is watched may come: encoders do not keep their rate, and repairs count, too.
const SPARE: u64 = 125;
/// A picture that nobody watches keeps so much: its encoder stays awake, and who comes next begins with something.
pub const PICTURE_KBPS: u64 = 150;
/// A sound keeps at least so much.
pub const SOUND_KBPS: u64 = 64;
/// What a ceiling that is lifted is told as: more than any publisher sends.
const LIFTED: Bitrate = Bitrate::from_kbps(100_000);

/// What a picture whose watched encodings took so many kbit/s at most may bring in.
#[must_use]
pub fn of_picture(watched_kbps: u64) -> u64 {
    (watched_kbps * SPARE / 100).max(PICTURE_KBPS)
}

/// What a sound that took so many kbit/s at most may bring in.
#[must_use]
pub fn of_sound(kbps: u64) -> u64 {
    (kbps * SPARE / 100).max(SOUND_KBPS)
}

/// The ceiling of one publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    most: Option<Bitrate>,
    /// There was a ceiling once: that it is lifted has to be told as well.
    bounded: bool,
}

impl Upload {
    /// Notes what is needed at most, `None` being all that there is. Returns whether that is more than before.
    pub fn note(&mut self, most: Option<Bitrate>) -> bool {
        let more = self.most.is_some_and(|before| most.is_none_or(|most| most > before));
        self.bounded |= most.is_some();
        self.most = most;
        more
    }

    /// A ceiling that its publisher was told for another reason is lifted: that has to be told as well.
    pub const fn lift(&mut self) {
        self.bounded = true;
    }

    /// What its publisher is to be told; `None` as long as it may bring in all that it has.
    #[must_use]
    pub fn ceiling(&self) -> Option<Bitrate> {
        self.most.or(self.bounded.then_some(LIFTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_told_only_once_there_is_one_and_that_it_is_lifted_too() {
        let mut upload = Upload::default();
        assert!(!upload.note(None));
        assert_eq!(upload.ceiling(), None);
        let low = Bitrate::from_kbps(214);
        assert!(!upload.note(Some(low)), "less can wait for the next report");
        assert_eq!(upload.ceiling(), Some(low));
        assert!(upload.note(Some(Bitrate::from_kbps(600))));
        assert!(!upload.note(Some(low)));
        assert!(upload.note(None), "more is told at once");
        assert_eq!(upload.ceiling(), Some(LIFTED));
    }

    #[test]
    fn the_lowest_picture_and_a_sound_always_live() {
        assert_eq!((of_picture(0), of_picture(400)), (PICTURE_KBPS, 500));
        assert_eq!((of_sound(0), of_sound(128)), (SOUND_KBPS, 160));
    }
}
