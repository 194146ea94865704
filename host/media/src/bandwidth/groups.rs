//! Groups packets that were sent together, and says how the distance between two groups changed on their way
//! (draft-ietf-rmcat-gcc-02, sections 5.2 and 5.3). Knows nothing of what the change means.

/// Packets sent within this time are one group.
const GROUP_US: i64 = 5_000;
/// Packets that arrive this close together while the queue in front of them empties belong to one group, too.
const BURST_US: i64 = 5_000;
/// ... up to this long a burst.
const LONGEST_BURST_US: i64 = 100_000;
/// A change beyond this is another clock, not a queue.
const CLOCK_JUMP_US: i64 = 3_000_000;

/// How two neighbouring groups lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    /// Distance at the sender.
    pub(super) sent_us: i64,
    /// Distance at the receiver.
    pub(super) arrival_us: i64,
    /// When the later of the two arrived.
    pub(super) at_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
}

/// The group that grows, and the one before.
#[derive(Debug, Default)]
pub(super) struct Groups {
    current: Option<Group>,
    previous: Option<Group>,
}

impl Groups {
    /// Adds one packet, in order of sending; a delta whenever a group has ended. One that was sent before the
    /// current group is left out.
    pub(super) fn add(&mut self, sent_us: i64, arrival_us: i64) -> Option<Delta> {
        let fresh = Group {
            first_sent: sent_us,
            last_sent: sent_us,
            first_arrival: arrival_us,
            last_arrival: arrival_us,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(fresh);
            return None;
        };
        if sent_us < current.first_sent {
            return None;
        }
        if current.takes(sent_us, arrival_us) {
            current.last_sent = current.last_sent.max(sent_us);
            current.last_arrival = current.last_arrival.max(arrival_us);
            return None;
        }
        let ended = *current;
        self.current = Some(fresh);
        let previous = self.previous.replace(ended)?;
        let delta = Delta {
            sent_us: ended.last_sent - previous.last_sent,
            arrival_us: ended.last_arrival - previous.last_arrival,
            at_us: ended.last_arrival,
        };
        if (delta.arrival_us - delta.sent_us).abs() > CLOCK_JUMP_US {
            *self = Self::default();
            return None;
        }
        (delta.arrival_us >= 0).then_some(delta)
    }
}

impl Group {
    fn takes(&self, sent_us: i64, arrival_us: i64) -> bool {
        if sent_us - self.first_sent <= GROUP_US {
            return true;
        }
        let gap = arrival_us - self.last_arrival;
        let shrinks = gap < sent_us - self.last_sent;
        shrinks && gap <= BURST_US && arrival_us - self.first_arrival < LONGEST_BURST_US
    }
}

#[cfg(test)]
mod tests {
    use super::{Delta, Groups};

    #[test]
    fn packets_sent_together_are_one_group_and_the_growing_distance_shows() {
        let mut groups = Groups::default();
        let mut deltas = Vec::new();
        for frame in 0..4_i64 {
            for packet in 0..3_i64 {
                let sent = frame * 33_000 + packet * 1_000;
                deltas.extend(groups.add(sent, 900_000 + sent + frame * 2_000));
            }
        }
        let expected =
            |frame: i64| Delta { sent_us: 33_000, arrival_us: 35_000, at_us: 902_000 + frame * 35_000 };
        assert_eq!(deltas, [expected(1), expected(2)]);
    }
}
