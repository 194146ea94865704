//! The record's files: one line an event, a new file where one is full. Knows nothing of what the events say.
//!
//! What an instance of the older file still meets is written there: so each file holds whole instances. A file is
//! turned early enough that what waits already has room in it; what has none all the same is left out and counted.

use crate::config::RecordTo;
use crate::recorder::{Event, Header, What};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;

/// What is written is in the file after this at the latest.
const FLUSHED_EVERY: Duration = Duration::from_millis(200);
/// So much of a file is kept for what comes late besides what waits: one part of so many.
const LATE_PART: u64 = 8;
/// The most calls whose decision is still awaited; there are as many as threads, unless decisions were left out.
const AWAITED: usize = 4_096;

/// One event on its way to the writer.
pub(crate) struct Slip {
    /// Which file its instance began in; a decision goes where its calls went.
    pub(crate) file: Option<u64>,
    pub(crate) event: Event,
}

/// The files, and how far they are.
pub(crate) struct Book {
    path: PathBuf,
    /// What one file may hold.
    most_bytes: u64,
    header: Header,
    /// The number of the file that is written, for all to see.
    number: Arc<AtomicU64>,
    counts: Arc<Counts>,
    page: Page,
    /// The one before, for what comes late.
    older: Option<Page>,
    /// In which file the calls of a question went that is not settled yet.
    awaited: HashMap<RequestNumber, u64>,
}

/// What is counted of a record.
#[derive(Default)]
pub(crate) struct Counts {
    /// Events that wait for the writer.
    pub(crate) waiting: AtomicU64,
    /// Events that are not in it.
    pub(crate) left_out: AtomicU64,
}

struct Page {
    number: u64,
    file: BufWriter<File>,
    bytes: u64,
    lines: u64,
}

impl Book {
    /// Begins the first file. What stands there already, of a host that ran before, becomes the older one.
    pub(crate) fn open(
        to: &RecordTo,
        header: Header,
        number: Arc<AtomicU64>,
        counts: Arc<Counts>,
    ) -> std::io::Result<Self> {
        if std::fs::metadata(&to.path).is_ok_and(|found| found.is_file() && found.len() > 0) {
            std::fs::rename(&to.path, older(&to.path))?;
        }
        let page = Page::begin(&to.path, &header, number.load(Ordering::Relaxed))?;
        Ok(Self {
            path: to.path.clone(),
            // Two files together stay below the bound.
            most_bytes: to.bytes / 2,
            header,
            number,
            counts,
            page,
            older: None,
            awaited: HashMap::new(),
        })
    }

    /// Writes until nobody can send any more. A full disk ends the record, not the host.
    pub(crate) fn keep(&mut self, slips: &Receiver<Slip>) {
        // Without the right to it, it writes at the host's own priority.
        let _ = rustix::process::setpriority_process(None, 10);
        let mut flushed = Instant::now();
        loop {
            let wait = FLUSHED_EVERY.saturating_sub(flushed.elapsed());
            // However much there is to write: who reads along wants to see it.
            let written = if wait.is_zero() {
                flushed = Instant::now();
                self.flush()
            } else {
                match slips.recv_timeout(wait) {
                    Ok(slip) => {
                        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
                        self.write(&slip)
                    }
                    Err(RecvTimeoutError::Timeout) => Ok(()),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            };
            if let Err(error) = written {
                tracing::error!(path = %self.path.display(), %error, "the record ends here: it cannot be written");
                return;
            }
        }
        let _ = self.flush();
    }

    fn write(&mut self, slip: &Slip) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&slip.event)?;
        line.push(b'\n');
        let bytes = line.len() as u64;
        let number = self.file_of(slip);
        if number == self.page.number {
            if self.page.bytes + bytes + self.waiting_bytes() <= self.most_bytes - self.most_bytes / LATE_PART
            {
                return self.page.write(&line);
            }
            self.turn()?;
        }
        match &mut self.older {
            Some(page) if page.number == number && page.bytes + bytes <= self.most_bytes => page.write(&line),
            // Nothing is lost with the end of an instance of which nothing else is missing.
            _ if matches!(slip.event, Event::Instance { what: What::End, .. }) => Ok(()),
            _ => {
                self.counts.left_out.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// About what all that waits will take.
    fn waiting_bytes(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed) * self.page.bytes.div_ceil(self.page.lines.max(1))
    }

    /// Which file it belongs to.
    fn file_of(&mut self, slip: &Slip) -> u64 {
        match (&slip.event, slip.file) {
            (Event::Instance { what: What::Call(call), .. }, Some(file)) => {
                if self.awaited.len() >= AWAITED {
                    self.awaited.clear();
                }
                let last = self.awaited.entry(call.number).or_insert(file);
                *last = file.max(*last);
                file
            }
            (Event::Decision(decided), _) => self.awaited.remove(&decided.number).unwrap_or(self.page.number),
            (_, file) => file.unwrap_or(self.page.number),
        }
    }

    /// The file is full: it becomes the older one, and a new one begins.
    fn turn(&mut self) -> std::io::Result<()> {
        self.flush()?;
        std::fs::rename(&self.path, older(&self.path))?;
        let number = self.page.number + 1;
        let header = Header { file: number, ..self.header.clone() };
        let page = Page::begin(&self.path, &header, number)?;
        self.older = Some(std::mem::replace(&mut self.page, page));
        self.number.store(number, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.older.as_mut().map_or(Ok(()), |page| page.file.flush())?;
        self.page.file.flush()
    }
}

impl Page {
    fn begin(path: &Path, header: &Header, number: u64) -> std::io::Result<Self> {
        let mut page = Self { number, file: BufWriter::new(create(path)?), bytes: 0, lines: 0 };
        let mut line = serde_json::to_vec(&Event::Header(header.clone()))?;
        line.push(b'\n');
        page.write(&line)?;
        page.file.flush()?;
        Ok(page)
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.bytes += line.len() as u64;
        self.lines += 1;
        self.file.write_all(line)
    }
}

/// Where a full file goes.
pub(crate) fn older(path: &Path) -> PathBuf {
    let mut older = path.to_owned().into_os_string();
    older.push(".1");
    older.into()
}

/// For its owner alone: names and claims of people stand in it.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
