//! The record: everything that went into every instance, in that instance's order, and what it answered; enough to
//! decide it all again. Knows nothing of how a guest is called.
//!
//! ```text
//! seats, desk ── Event ──▶ queue (bounded) ──▶ writer ──▶ FILE, one line an event; full: FILE.1 and a new FILE
//! ```
//!
//! Each file replays by itself: where a new one begins, all instances are made anew. What the queue has no room for is
//! left out; the numbers of an instance's events tell a replay from where on it knows too little.

use crate::config::RecordTo;
use crate::error::LoadError;
use crate::mask::{Mask, Masked};
use crate::plugin::{Plugin, hexadecimal};
use crate::tape::{Tape, Told};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_types::cluster::{CellChange, ShardRow};
use tidegate_types::decision::{AnswerBody, DecidedBy, Decision, Failure, QuestionBody};
use tidegate_types::{RequestNumber, Secret};

/// The format's version; a replay reads its own only.
pub(crate) const FORMAT: u32 = 1;
/// What runs the components.
pub(crate) const ENGINE: &str = "wasmtime 48";
/// Events that wait for the writer; one more is left out and counted.
const WAITING: usize = 16_384;
/// What is written is in the file after this at the latest.
const FLUSHED_EVERY: Duration = Duration::from_millis(200);

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`].
    pub(crate) tidegate_record: u32,
    /// [`ENGINE`].
    pub(crate) engine: String,
    /// What configurations are hashed with.
    pub(crate) salt: String,
    /// Tokens and configurations stand in it as they were.
    pub(crate) secrets: bool,
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
}

/// Where events go.
#[derive(Default)]
pub(crate) struct Recorder {
    on: Option<Arc<On>>,
}

struct On {
    /// `None` once it ends.
    events: Option<SyncSender<Event>>,
    writer: Option<JoinHandle<()>>,
    mask: Mask,
    secrets: bool,
    salt: String,
    /// Which file is being written: instances of an earlier one are made anew.
    file: Arc<AtomicU64>,
    instances: AtomicU64,
    left_out: AtomicU64,
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
    pub(crate) fn start(to: &RecordTo) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError::Record { path: to.path.display().to_string(), reason };
        let (mut key, mut salt) = ([0; 32], [0; 16]);
        rand::fill(&mut key)
            .and(rand::fill(&mut salt))
            .map_err(|_| failed("the system gives no chance".into()))?;
        let salt = hexadecimal(&salt);
        let (format, engine) = (FORMAT, ENGINE.to_owned());
        let header = Header { tidegate_record: format, engine, salt: salt.clone(), secrets: to.secrets };
        let file = Arc::new(AtomicU64::new(1));
        let mut book = Book::open(to, header, file.clone()).map_err(|error| failed(error.to_string()))?;
        let (events, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("policy-record".into());
        let writer = thread.spawn(move || book.keep(&waiting)).map_err(|error| failed(error.to_string()))?;
        let on = On {
            events: Some(events),
            writer: Some(writer),
            mask: if to.secrets { Mask::none() } else { Mask::new(key) },
            secrets: to.secrets,
            salt,
            file,
            instances: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        };
        Ok(Self { on: Some(Arc::new(on)) })
    }

    /// What an instance hears is kept, or not.
    pub(crate) const fn tape(&self) -> Tape {
        if self.on.is_some() { Tape::recording() } else { Tape::off() }
    }

    /// How many events were left out because the file did not keep up.
    pub(crate) fn left_out(&self) -> u64 {
        self.on.as_ref().map_or(0, |on| on.left_out.load(Ordering::Relaxed))
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
            unix_ms,
            told,
        };
        track.met(|| What::Start(Box::new(start)));
        track
    }

    /// A question is settled.
    pub(crate) fn decided(&self, decided: impl FnOnce() -> Decided) {
        if let Some(on) = &self.on {
            on.put(Event::Decision(Box::new(decided())));
        }
    }
}

impl Track {
    /// Its instance met something.
    pub(crate) fn met(&mut self, what: impl FnOnce() -> What) {
        let Some(on) = &self.on else { return };
        self.events += 1;
        on.put(Event::Instance { instance: self.instance, event: self.events, what: what() });
    }

    /// Its instance was called.
    pub(crate) fn called(
        &mut self,
        number: RequestNumber,
        question: impl FnOnce() -> QuestionBody,
        told: impl FnOnce() -> Vec<Told>,
        answer: impl FnOnce() -> Result<AnswerBody, Failure>,
    ) {
        let Some(on) = self.on.clone() else { return };
        self.met(|| {
            let question = question();
            let token = match &question {
                QuestionBody::Authorize(request) => request.token.expose(),
                QuestionBody::Place(_) | QuestionBody::Balance(_) => "",
            };
            let (token, masked) = on.mask.token(token);
            What::Call(Box::new(Call { number, question, token, masked, told: told(), answer: answer() }))
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
    fn put(&self, event: Event) {
        let kept = self.events.as_ref().is_some_and(|events| events.try_send(event).is_ok());
        if !kept && self.left_out.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("the record does not keep up: some of what was decided is left out of it");
        }
    }
}

impl Drop for On {
    fn drop(&mut self) {
        drop(self.events.take());
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

/// The file.
struct Book {
    path: PathBuf,
    most_bytes: u64,
    header: Header,
    number: Arc<AtomicU64>,
    file: BufWriter<File>,
    bytes: u64,
}

impl Book {
    fn open(to: &RecordTo, header: Header, number: Arc<AtomicU64>) -> std::io::Result<Self> {
        let file = BufWriter::new(create(&to.path)?);
        // Two files together stay below the bound.
        let mut book =
            Self { path: to.path.clone(), most_bytes: to.bytes / 2, header, number, file, bytes: 0 };
        book.write(&Event::Header(book.header.clone()))?;
        Ok(book)
    }

    /// Writes until nobody can send any more. A full disk ends the record, not the host.
    fn keep(&mut self, events: &Receiver<Event>) {
        // Without the right to it, it writes at the host's own priority.
        let _ = rustix::process::setpriority_process(None, 10);
        loop {
            let written = match events.recv_timeout(FLUSHED_EVERY) {
                Ok(event) => self.write(&event),
                Err(RecvTimeoutError::Timeout) => self.file.flush(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = written {
                tracing::error!(path = %self.path.display(), %error, "the record ends here: it cannot be written");
                return;
            }
        }
        let _ = self.file.flush();
    }

    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.most_bytes {
            self.turn()?;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(&line)
    }

    /// The file is full: it becomes the older one, and a new one begins.
    fn turn(&mut self) -> std::io::Result<()> {
        self.file.flush()?;
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.path, older)?;
        self.file = BufWriter::new(create(&self.path)?);
        self.bytes = 0;
        self.number.fetch_add(1, Ordering::Relaxed);
        self.write(&Event::Header(self.header.clone()))
    }
}

/// For its owner alone: names and claims of people stand in it.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
