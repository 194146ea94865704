//! One run from the first arrival to the report: who comes when, when it is measured, who replaces whom. Knows nothing
//! of packets and messages.

use crate::attend::{Bots, Context, attend};
use crate::channel::SessionError;
use crate::crew::Crew;
use crate::foreign::Ledger;
use crate::limits::{self, LimitError};
use crate::options::{Kind, Options};
use crate::plot;
use crate::probe::{Probe, Reading};
use crate::report::{HostCost, Report, Sample};
use crate::scenario::{Chance, person};
use crate::stamp::Stamps;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_media::association::{AssociationConfig, Identity, IdentityError};
use tidegate_trust::{Target, TargetError, TlsError};
use tidegate_types::transport::SrtpProfile;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often it is looked who comes and goes.
const BEAT: Duration = Duration::from_millis(20);
/// How often a sample is taken.
const SAMPLE: Duration = Duration::from_secs(1);
/// Whoever has not connected so long after the last arrival is not waited for.
const CONNECT: Duration = Duration::from_secs(15);
/// How long everyone's leaving may take.
const LEAVE: Duration = Duration::from_secs(3);
/// The series of chance that churn draws from; people have their numbers.
const CHURN_SERIES: u64 = u64::MAX;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host's address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Whose certificates to believe.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// This machine.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Threads, sockets.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// No certificate for DTLS.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// All were refused or failed.
    #[error("nobody got in: {0}")]
    Nobody(String),
    /// A file of the report.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs what the options ask for, and writes the files that they name.
///
/// # Errors
/// Before anyone joins: an address or a limit. Afterwards: nobody got in, or a file cannot be written.
pub fn run(options: &Options) -> Result<Report, RunError> {
    let target = Target::read(&options.host)?;
    let tls = if target.is_secure() { Some(tidegate_trust::client(&options.trust.trust())?) } else { None };
    limits::check(options)?;
    let runtime = runtime(options)?;
    let bots = bots(options)?;
    let (inside, largest_sdp, asked_again) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let token = options.token.clone();
    let context = Arc::new(Context { target, tls, token, bots, inside, largest_sdp, asked_again });
    let report = runtime.block_on(Run::new(options, Arc::clone(&context)).conduct());
    runtime.shutdown_background();
    context.bots.stop();
    // Also where nobody got in: the files say who was refused, and why.
    write(options.json.as_deref(), || Ok(serde_json::to_string_pretty(&report)?))?;
    write(options.svg.as_deref(), || Ok(plot::svg(&report)))?;
    if report.joined == 0 {
        let reasons = report.refused.keys().chain(report.broken.keys()).cloned().collect::<Vec<_>>();
        return Err(RunError::Nobody(if reasons.is_empty() {
            "no media connected".into()
        } else {
            reasons.join("; ")
        }));
    }
    Ok(report)
}

/// Sessions alone need one thread; bots of the `webrtc` crate live there, too.
fn runtime(options: &Options) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match options.kind() {
        Kind::Webrtc => tokio::runtime::Builder::new_multi_thread(),
        Kind::Auto | Kind::Engine => tokio::runtime::Builder::new_current_thread(),
    };
    builder.worker_threads(options.thread_count()).enable_all().build()
}

fn bots(options: &Options) -> Result<Bots, RunError> {
    let stamps = Stamps::new(std::process::id(), Instant::now());
    if options.kind() == Kind::Webrtc {
        return Ok(Bots::Webrtc(Arc::new(Ledger::new(stamps))));
    }
    let identity = Arc::new(Identity::generate()?);
    let profiles = vec![SrtpProfile::AeadAes256Gcm, SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];
    let fingerprint = identity.fingerprint();
    let config = AssociationConfig { identity, profiles };
    Ok(Bots::Engine(Crew::start(options.thread_count(), &config, stamps)?, fingerprint))
}

fn write(path: Option<&Path>, text: impl FnOnce() -> io::Result<String>) -> Result<(), RunError> {
    let Some(path) = path else { return Ok(()) };
    text()
        .and_then(|text| std::fs::write(path, text))
        .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Where a run stands.
enum Phase {
    /// People come.
    Arriving,
    /// All are here; it is not measured before this.
    Settling(Instant),
    /// Since when, from which counts on.
    Measuring(Instant, Box<Tally>, Reading),
}

struct Run<'a> {
    options: &'a Options,
    context: Arc<Context>,
    probe: Probe,
    began: Instant,
    phase: Phase,
    /// By person: its seat, and how it is told to leave.
    people: BTreeMap<u32, (u32, watch::Sender<bool>)>,
    tasks: JoinSet<(u32, Result<(), SessionError>)>,
    /// Of the next one to come.
    number: u32,
    last_arrival: Instant,
    replaced: u64,
    chance: Chance,
    /// The counts and the host at the latest sample.
    sampled: (Instant, Tally, Reading),
    report: Report,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, context: Arc<Context>) -> Self {
        let began = Instant::now();
        let probe = options
            .pid
            .map_or_else(|| Probe::Metrics(context.target.clone(), context.tls.clone()), Probe::Process);
        let report = Report {
            scenario: options.scenario.name().to_owned(),
            bots: options.kind().name().to_owned(),
            people: options.people,
            seed: options.seed,
            ..Report::default()
        };
        Self {
            options,
            context,
            probe,
            began,
            phase: Phase::Arriving,
            people: BTreeMap::new(),
            tasks: JoinSet::new(),
            number: 0,
            last_arrival: began,
            replaced: 0,
            chance: Chance::new(options.seed, CHURN_SERIES),
            sampled: (began, Tally::default(), Reading::default()),
            report,
        }
    }

    async fn conduct(mut self) -> Report {
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                Some(Ok((number, ended))) = self.tasks.join_next() => {
                    self.note_end(number, ended);
                    continue;
                }
                () = &mut interrupted => break,
            }
            let now = Instant::now();
            self.arrive(now);
            if now.saturating_duration_since(self.sampled.0) >= SAMPLE {
                self.sample(now).await;
            }
            if self.advance(now).await {
                break;
            }
        }
        self.finish().await;
        self.report
    }

    /// Lets in whoever is due.
    fn arrive(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Arriving) {
            return;
        }
        let since = now.saturating_duration_since(self.began).as_secs_f64();
        let due = (since * f64::from(self.options.join_rate)) as u32 + 1;
        while self.number < due.min(self.options.people) {
            self.come(self.number);
            self.last_arrival = now;
        }
    }

    fn come(&mut self, seat: u32) {
        let number = self.number;
        self.number += 1;
        let (leave, stop) = watch::channel(false);
        let (context, person) = (Arc::clone(&self.context), person(self.options, number, seat));
        self.people.insert(number, (seat, leave));
        self.tasks.spawn(async move { (number, attend(person, &context, stop).await) });
    }

    fn note_end(&mut self, number: u32, ended: Result<(), SessionError>) {
        self.people.remove(&number);
        match ended {
            Ok(()) => {}
            Err(SessionError::Refused(code) | SessionError::Busy(code, _)) => {
                *self.report.refused.entry(code).or_default() += 1;
            }
            Err(error) => *self.report.broken.entry(error.to_string()).or_default() += 1,
        }
    }

    fn refused(&self) -> u64 {
        self.report.refused.values().sum()
    }

    /// Moves on to the next phase where it is time; `true` when all is measured.
    async fn advance(&mut self, now: Instant) -> bool {
        match &self.phase {
            Phase::Arriving => {
                let tally = self.context.bots.tally();
                let failed = self.refused() + self.report.broken.values().sum::<u64>();
                let all_here = tally.connected + failed >= u64::from(self.options.people);
                let late = now.saturating_duration_since(self.last_arrival) > CONNECT;
                if self.number >= self.options.people && (all_here || late) {
                    let settle = Duration::from_secs(u64::from(self.options.settle));
                    self.phase = Phase::Settling(now + settle);
                }
            }
            Phase::Settling(until) if now >= *until => {
                let reading = self.look().await;
                let tally = Box::new(self.context.bots.tally());
                self.phase = Phase::Measuring(Instant::now(), tally, reading);
            }
            Phase::Settling(_) => {}
            Phase::Measuring(since, ..) => {
                let measured = now.saturating_duration_since(*since);
                self.replace(measured);
                return measured >= Duration::from_secs(u64::from(self.options.duration))
                    || self.people.is_empty();
            }
        }
        false
    }

    /// Churn: somebody leaves, somebody else takes the seat.
    fn replace(&mut self, measured: Duration) {
        let due = (measured.as_secs_f64() * f64::from(self.options.churn)) as u64;
        while self.replaced < due && !self.people.is_empty() {
            self.replaced += 1;
            let nth = self.chance.draw() as usize % self.people.len();
            let Some((number, (seat, leave))) =
                self.people.iter().nth(nth).map(|(number, (seat, leave))| (*number, (*seat, leave.clone())))
            else {
                return;
            };
            leave.send_replace(true);
            self.people.remove(&number);
            self.come(seat);
        }
    }

    /// The host, now.
    async fn look(&self) -> Reading {
        let probe = self.probe.clone();
        let looked = tokio::task::spawn_blocking(move || probe.read()).await;
        looked.unwrap_or_else(|error| {
            eprintln!("tidegate-load: could not look at the host: {error}");
            Reading::default()
        })
    }

    async fn sample(&mut self, now: Instant) {
        let reading = self.look().await;
        let (tally, span) = (self.context.bots.tally(), now.saturating_duration_since(self.sampled.0));
        let mut sample = Sample::of(&tally.since(&self.sampled.1), span);
        sample.second = now.saturating_duration_since(self.began).as_secs_f64();
        sample.measured = matches!(self.phase, Phase::Measuring(..));
        sample.inside = self.context.inside.load(Ordering::Relaxed);
        sample.host_resident_kib = reading.resident_kib;
        sample.host_cores = reading.cores.or_else(|| {
            let spent = reading.cpu?.total().saturating_sub(self.sampled.2.cpu?.total());
            Some(spent.as_secs_f64() / span.as_secs_f64().max(1e-3))
        });
        self.sampled = (now, tally, reading);
        if !self.options.quiet {
            show(&sample.line(self.refused()));
        }
        self.report.samples.push(sample);
    }

    /// Takes the last counts and lets everyone leave.
    async fn finish(&mut self) {
        if !self.options.quiet && io::stderr().is_terminal() {
            eprintln!();
        }
        let (tally, ended) = (self.context.bots.tally(), Instant::now());
        let reading = self.look().await;
        let (since, before, read) = match &self.phase {
            Phase::Measuring(since, before, read) => (*since, (**before).clone(), *read),
            // Interrupted before anything was measured: all that there is.
            Phase::Arriving | Phase::Settling(_) => (self.began, Tally::default(), Reading::default()),
        };
        let (window, span) = (tally.since(&before), ended.saturating_duration_since(since));
        self.report.fill(&window, &tally, span);
        self.report.largest_sdp_bytes = self.context.largest_sdp.load(Ordering::Relaxed);
        self.report.asked_again = self.context.asked_again.load(Ordering::Relaxed);
        self.report.host = HostCost::of((read, reading), &self.report.samples, span, window.received_packets);
        for (_, leave) in self.people.values() {
            leave.send_replace(true);
        }
        let left = async {
            while let Some(ended) = self.tasks.join_next().await {
                drop(ended);
            }
        };
        let _ = tokio::time::timeout(LEAVE, left).await;
    }
}

/// Over the line before on a terminal, below it elsewhere.
fn show(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
}

/// Ends with the first Ctrl-C; where that cannot be heard of, never.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
