//! How many of everything there are, and how often what happened. Knows nothing of Prometheus.

/// Counts of what exists now, and of what happened since the start (`…_total`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryMetrics {
    /// Rooms.
    pub rooms: u64,
    /// People inside.
    pub people: u64,
    /// Joins under way.
    pub joining: u64,
    /// Transports.
    pub transports: u64,
    /// Producers.
    pub producers: u64,
    /// Consumers.
    pub consumers: u64,
    /// Relays.
    pub relays: u64,
    /// Requests that wait for an answer.
    pub pending_requests: u64,
    /// Placements that wait for their turn.
    pub pending_placements: u64,
    /// Questions that policies have not answered.
    pub pending_questions: u64,
    /// Commands that places have not answered.
    pub pending_commands: u64,
    /// Promises that no load report shows yet.
    pub reservations: u64,
    /// Timers set.
    pub timers: u64,
    /// Joins that succeeded.
    pub joins_total: u64,
    /// Requests that a policy or a grant refused.
    pub refused_total: u64,
    /// Requests refused at a bound.
    pub full_total: u64,
    /// Requests that failed for the host's own reasons.
    pub failed_total: u64,
    /// Authorize questions without an answer.
    pub authorize_failures_total: u64,
    /// Placements that the built-in decided, since the policy gave no usable answer.
    pub builtin_placements_total: u64,
    /// Placements that named a place which is gone or drains.
    pub stale_placements_total: u64,
    /// Balance questions without an answer.
    pub balance_failures_total: u64,
    /// Rooms that share was asked about.
    pub share_asked_total: u64,
    /// Questions of share without an answer.
    pub share_failures_total: u64,
    /// Values of share's answers that were out of range.
    pub share_clamped_total: u64,
    /// Answers of share that ran out before the next one came.
    pub share_stale_total: u64,
    /// Transports that moved.
    pub moves_total: u64,
    /// Moves that were begun and given up.
    pub moves_failed_total: u64,
    /// Relays begun.
    pub relays_total: u64,
    /// Replies, answers and reports about what is gone.
    pub late_total: u64,
}
