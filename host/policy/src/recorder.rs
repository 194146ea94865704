//! The record: everything that went into every instance, in that instance's order, and what it answered; enough to
//! decide it all again. Knows nothing of how a guest is called.
//!
//! ```text
//! seats, desk ── Event ──▶ queue (bounded) ──▶ book ──▶ FILE, one line an event; full: FILE.1 and a new FILE
//! ```
//!
//! Each file replays by itself: where a new one begins, all instances are made anew. What the queue has no room for is
//! left out; the numbers of an instance's events tell a replay from where on it knows too little.

use crate::book::{Book, Counts, Slip};
use crate::config::RecordTo;
use crate::error::LoadError;
use crate::lookups::Lookups;
use crate::mask::{Mask, Masked};
use crate::plugin::Plugin;
use crate::record::nanos;
use crate::source::hexadecimal;
use crate::tape::{Tape, Told};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_types::cluster::{CellChange, ShardRow};
use tidegate_types::decision::{AnswerBody, AuthorizeAnswer, DecidedBy, Decision, Failure, QuestionBody};
use tidegate_types::{RequestNumber, Secret};

/// The format's version; a replay reads its own only.
pub(crate) const FORMAT: u32 = 2;
/// What runs the components.
pub(crate) const ENGINE: &str = "wasmtime 48";
/// Events that wait for the writer; one more is left out and counted.
const WAITING: usize = 16_384;

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`].
    pub(crate) tidegate_record: u32,
    /// [`ENGINE`].
    pub(crate) engine: String,
    /// The host's version.
    #[serde(default)]
    pub(crate) program: String,
    /// Which file of the host's run it is, from 1.
    #[serde(default)]
    pub(crate) file: u64,
    /// What configurations are hashed with; drawn anew with each start of a host.
    pub(crate) salt: String,
    /// Tokens and configurations stand in it as they were.
    pub(crate) secrets: bool,
    /// The lookups that policies were told of.
    #[serde(default)]
    pub(crate) lookups: Vec<String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The first line.
    Header(Header),
    /// Something that one instance met.
    Instance { instance: u64, event: u64, what: What },
    /// What became of a question in the end.
    Decision(Box<Decided>),
}

/// What one instance met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// It begins.
    Start(Box<Start>),
    /// It was told the whole cluster.
    Reset { generation: u64, rows: Vec<ShardRow>, told: Vec<Told>, failed: bool },
    /// It was told what changed.
    Delta { generation: u64, changes: Vec<CellChange>, told: Vec<Told>, failed: bool },
    /// It was asked.
    Call(Box<Call>),
    /// Nothing follows.
    End,
}

/// An instance begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) decision: Decision,
    pub(crate) generation: u64,
    pub(crate) digest: String,
    pub(crate) origin: String,
    /// Hashed with the header's salt.
    pub(crate) configuration_hash: String,
    /// Only where the operator wanted secrets in the record.
    pub(crate) configuration: Option<Value>,
    /// The most memory that it may have.
    pub(crate) memory_bytes: usize,
    pub(crate) unix_ms: u64,
    pub(crate) told: Vec<Told>,
}

/// One call into an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) number: RequestNumber,
    pub(crate) question: QuestionBody,
    /// The question's token, which the question itself never shows.
    pub(crate) token: String,
    pub(crate) masked: Masked,
    pub(crate) told: Vec<Told>,
    /// What the guest answered; [`Failure::Deadline`]: it was interrupted.
    pub(crate) answer: Result<AnswerBody, Failure>,
    /// How long the guest took.
    pub(crate) took_ns: u64,
}

impl Call {
    /// The question as it was asked.
    pub(crate) fn question(&self) -> QuestionBody {
        let mut question = self.question.clone();
        if let QuestionBody::Authorize(request) = &mut question {
            request.token = Secret::new(self.token.clone());
        }
        question
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) number: RequestNumber,
    pub(crate) unix_ms: u64,
    pub(crate) decision: Decision,
    pub(crate) by: Vec<DecidedBy>,
    pub(crate) result: Result<AnswerBody, Failure>,
    /// From when a thread took it to the answer.
    pub(crate) latency_ns: u64,
}

/// Where events go.
#[derive(Default)]
pub(crate) struct Recorder {
    on: Option<Arc<On>>,
}

struct On {
    /// `None` once it ends.
    slips: Option<SyncSender<Slip>>,
    writer: Option<JoinHandle<()>>,
    mask: Mask,
    secrets: bool,
    /// Lookups whose values are not kept.
    secret_lookups: Vec<String>,
    salt: String,
    /// Which file is being written: instances of an earlier one are made anew.
    file: Arc<AtomicU64>,
    instances: AtomicU64,
    counts: Arc<Counts>,
}

/// One instance's own line in the record; it ends with the instance.
#[derive(Default)]
pub(crate) struct Track {
    on: Option<Arc<On>>,
    instance: u64,
    events: u64,
    file: u64,
}

impl Recorder {
    /// One that writes to a file.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub(crate) fn start(to: &RecordTo, lookups: Option<&dyn Lookups>) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError::Record { path: to.path.display().to_string(), reason };
        let (mut key, mut salt) = ([0; 32], [0; 16]);
        rand::fill(&mut key)
            .and(rand::fill(&mut salt))
            .map_err(|_| failed("the system gives no chance".into()))?;
        let salt = hexadecimal(&salt);
        let names = lookups.map(Lookups::names).unwrap_or_default();
        let secret_lookups =
            names.iter().filter(|name| lookups.is_some_and(|all| all.is_secret(name))).cloned().collect();
        let header = Header {
            tidegate_record: FORMAT,
            engine: ENGINE.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            file: 1,
            salt: salt.clone(),
            secrets: to.secrets,
            lookups: names,
        };
        let (file, counts) = (Arc::new(AtomicU64::new(1)), Arc::new(Counts::default()));
        let book = Book::open(to, header, file.clone(), counts.clone());
        let mut book = book.map_err(|error| failed(error.to_string()))?;
        let (slips, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("policy-record".into());
        let writer = thread.spawn(move || book.keep(&waiting)).map_err(|error| failed(error.to_string()))?;
        let on = On {
            slips: Some(slips),
            writer: Some(writer),
            mask: if to.secrets { Mask::none() } else { Mask::new(key) },
            secrets: to.secrets,
            secret_lookups,
            salt,
            file,
            instances: AtomicU64::new(0),
            counts,
        };
        Ok(Self { on: Some(Arc::new(on)) })
    }

    /// What an instance hears is kept, or not.
    pub(crate) const fn tape(&self) -> Tape {
        if self.on.is_some() { Tape::recording() } else { Tape::off() }
    }

    /// How many events were left out because the file did not keep up.
    pub(crate) fn left_out(&self) -> u64 {
        self.on.as_ref().map_or(0, |on| on.counts.left_out.load(Ordering::Relaxed))
    }

    /// How many events wait for the writer.
    pub(crate) fn waiting(&self) -> u64 {
        self.on.as_ref().map_or(0, |on| on.counts.waiting.load(Ordering::Relaxed))
    }

    /// An instance begins.
    pub(crate) fn begin(&self, plugin: &Plugin, generation: u64, unix_ms: u64, told: Vec<Told>) -> Track {
        let Some(on) = &self.on else { return Track::default() };
        let instance = on.instances.fetch_add(1, Ordering::Relaxed) + 1;
        let file = on.file.load(Ordering::Relaxed);
        let mut track = Track { on: Some(on.clone()), instance, events: 0, file };
        let configuration = plugin.configuration();
        let start = Start {
            decision: plugin.decision(),
            generation,
            digest: plugin.digest().into(),
            origin: plugin.origin().into(),
            configuration_hash: configuration_hash(&on.salt, configuration),
            configuration: on.secrets.then(|| serde_json::from_str(configuration).unwrap_or_default()),
            memory_bytes: plugin.memory_bytes(),
            unix_ms,
            told,
        };
        track.met(|| What::Start(Box::new(start)));
        track
    }

    /// A question is settled.
    pub(crate) fn decided(&self, decided: impl FnOnce() -> Decided) {
        if let Some(on) = &self.on {
            on.put(Slip { file: None, event: Event::Decision(Box::new(decided())) });
        }
    }
}

impl Track {
    /// Its instance met something.
    pub(crate) fn met(&mut self, what: impl FnOnce() -> What) {
        let Some(on) = &self.on else { return };
        self.events += 1;
        let event = Event::Instance { instance: self.instance, event: self.events, what: what() };
        on.put(Slip { file: Some(self.file), event });
    }

    /// Now, where it is kept how long calls take.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.on.is_some().then(Instant::now)
    }

    /// Its instance was called, and answers now.
    pub(crate) fn called(
        &mut self,
        number: RequestNumber,
        began: Option<Instant>,
        question: impl FnOnce() -> QuestionBody,
        told: impl FnOnce() -> Vec<Told>,
        answer: impl FnOnce() -> Result<AnswerBody, Failure>,
    ) {
        let Some(on) = self.on.clone() else { return };
        let took_ns = nanos(began.map_or(Duration::ZERO, |began| began.elapsed()));
        self.met(|| {
            let mut call = Call {
                number,
                question: question(),
                token: String::new(),
                masked: Masked::Nothing,
                told: told(),
                answer: answer(),
                took_ns,
            };
            on.keep(&mut call);
            What::Call(Box::new(call))
        });
    }

    /// Has a new file begun since its instance did? Then that is made anew.
    pub(crate) fn outlived(&self) -> bool {
        self.on.as_ref().is_some_and(|on| on.file.load(Ordering::Relaxed) != self.file)
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.met(|| What::End);
    }
}

impl On {
    /// Takes out of a call what must not be kept: of its token what makes it usable, also where that is the key of a
    /// lookup, and the values of secret lookups.
    fn keep(&self, call: &mut Call) {
        let QuestionBody::Authorize(request) = &mut call.question else { return };
        let token = request.token.expose().to_owned();
        (call.token, call.masked) = self.mask.token(&token);
        for made in &mut request.lookups {
            self.mask.within(&mut made.key, &token);
            let secret = self.secret_lookups.contains(&made.lookup);
            if secret && made.result.as_mut().is_ok_and(|value| self.mask.whole(value)) {
                call.masked = Masked::Whole;
            }
        }
        if let Ok(AnswerBody::Authorize(AuthorizeAnswer::Need { key, .. })) = &mut call.answer {
            self.mask.within(key, &token);
        }
    }

    fn put(&self, slip: Slip) {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.slips.as_ref().is_some_and(|slips| slips.try_send(slip).is_ok()) {
            return;
        }
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.counts.left_out.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("the record does not keep up: some of what was decided is left out of it");
        }
    }
}

impl Drop for On {
    fn drop(&mut self) {
        drop(self.slips.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Enough to see that two configurations are the same. What can be guessed can be found: a secret in it has to be long,
/// as signing keys are.
pub(crate) fn configuration_hash(salt: &str, configuration: &str) -> String {
    hexadecimal(&digest(&SHA256, format!("{salt}{configuration}").as_bytes()).as_ref()[..16])
}
