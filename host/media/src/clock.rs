//! A publisher's clock: from its sender reports to RTP times at any moment. Lip sync lives or dies here.

use std::time::{Duration, Instant};
use tidegate_types::NtpTime;
use tidegate_types::relay::SourceClock;

/// A span in RTP clock units, wrapping.
#[must_use]
pub fn units(span: Duration, clock_hz: u32) -> u32 {
    (span.as_nanos() * u128::from(clock_hz) / 1_000_000_000) as u32
}

/// The publisher's NTP time at `now`, from when its last report arrived.
#[must_use]
pub fn ntp_at(clock: &SourceClock, now: Instant) -> NtpTime {
    clock.ntp.after(now.saturating_duration_since(clock.received))
}

/// The encoding's RTP time at `now`.
#[must_use]
pub fn rtp_at(clock: &SourceClock, clock_hz: u32, now: Instant) -> u32 {
    clock.rtp.wrapping_add(units(now.saturating_duration_since(clock.received), clock_hz))
}

/// What to add to `to`'s timestamps so that they continue `from`'s: the difference of their RTP times at the
/// same moment of the publisher's wall clock.
#[must_use]
pub fn shift_between(from: &SourceClock, to: &SourceClock, clock_hz: u32) -> u32 {
    let forward = to.ntp.since(from.ntp);
    let backward = from.ntp.since(to.ntp);
    let from_rtp = from.rtp.wrapping_add(units(forward, clock_hz)).wrapping_sub(units(backward, clock_hz));
    from_rtp.wrapping_sub(to.rtp)
}

/// Seconds as 6.18 fixed point in 24 bits (abs-send-time).
#[must_use]
pub fn absolute_send_time(wall: NtpTime) -> u32 {
    ((wall.0 >> 14) & 0x00ff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_encodings_of_one_camera_line_up() {
        let received = Instant::now();
        let ntp = NtpTime::from_unix(Duration::from_secs(1_000));
        let low = SourceClock { ntp, rtp: 5_000, received };
        let high = SourceClock { ntp: ntp.after(Duration::from_millis(500)), rtp: 4_294_967_000, received };
        let shift = shift_between(&low, &high, 90_000);
        assert!(high.rtp.wrapping_add(shift).abs_diff(5_000 + 45_000) <= 1);
        let back = shift_between(&high, &low, 90_000);
        assert!(back.wrapping_add(shift).wrapping_add(1) <= 2, "{back} {shift}");
    }
}
