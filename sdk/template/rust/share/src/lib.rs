//! {{name}}: a shared screen comes before every face, and a camera never takes all.

use tidegate_sdk::share::*;

/// What one camera may take of anybody's bit rate.
const CAMERA: Bitrate = Bitrate::from_kbps(1_500);

struct Policy;

impl Share for Policy {
    fn share(&mut self, room: &Room) -> Shares {
        let mut shares = room.shares();
        for track in room.tracks().filter(|track| track.is_picture()) {
            match track.source() {
                "screen" => shares.of(track).priority(1),
                _ => shares.of(track).ceiling(CAMERA),
            };
        }
        shares
    }
}

tidegate_sdk::register!(share: Policy);

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_cases_decide_as_written() {
        tidegate_sdk::cases::share::<Policy>("cases");
    }
}
