//! The one place where the node asks the clocks; every part below is told the time. Knows nothing else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidegate_types::{Now, NtpTime};

/// Both clocks at this moment.
pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
}

/// Milliseconds since the Unix epoch; a clock before it counts as the epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
