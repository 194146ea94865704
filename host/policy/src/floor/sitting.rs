//! One policy's seat, as a policy thread holds it between two questions, whose instance can be taken away: the way from a
//! trap to serving again. Knows nothing of threads and queues.

use crate::chain::Generation;
use crate::config::PluginConfig;
use crate::feed::Mirror;
use crate::plugin::Plugin;
use crate::recorder::Recorder;
use crate::seat::{Seat, Surroundings};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::cluster::Feed;
use tidegate_types::decision::{AnswerBody, Failure, QuestionBody};

/// No decision here takes as long.
const AMPLE: Duration = Duration::from_secs(3_600);

/// The seat.
pub struct Sitting {
    seat: Seat,
    recorder: Recorder,
    mirror: Mutex<Mirror>,
}

impl Sitting {
    /// A seat for this plugin, whose instances are told this of the cluster.
    #[must_use]
    pub fn new(plugin: Plugin, config: PluginConfig, feed: Feed) -> Self {
        let recorder = Recorder::default();
        let seat = Seat::of(Arc::new(Generation::new(0, plugin, config, 0)), &recorder);
        let mut mirror = Mirror::default();
        mirror.apply(feed);
        Self { seat, recorder, mirror: Mutex::new(mirror) }
    }

    /// Takes its instance away, as a trap does.
    pub fn fall(&mut self) {
        self.seat.dismiss();
    }

    /// Decides: by another instance, which is told of the cluster first, where there is none.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn decide(&mut self, question: &QuestionBody) -> Result<AnswerBody, Failure> {
        let around = surroundings(&self.mirror, &self.recorder);
        self.seat.decide(&around, question, Instant::now() + AMPLE).result
    }

    /// What a thread does once an answer is out.
    pub fn rest(&mut self) {
        self.seat.rest(&surroundings(&self.mirror, &self.recorder));
    }
}

const fn surroundings<'a>(mirror: &'a Mutex<Mirror>, recorder: &'a Recorder) -> Surroundings<'a> {
    Surroundings { mirror, recycle_calls: u64::MAX, recorder, number: RequestNumber(0), until: None }
}
