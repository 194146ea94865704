//! From the files of a record to its events, as far as they can be read. Knows nothing of what events mean.

use super::ReplayError;
use crate::recorder::{ENGINE, Event, FORMAT, Header};
use std::io::{BufRead, Read as _};

/// The longest line, in bytes: a reset of the largest cluster fits.
const LINE_BYTES: u64 = 64 << 20;

/// The events of files that follow on each other.
pub(super) struct Lines<R, I> {
    rest: I,
    record: Option<R>,
    /// Of the file that is read, from 1.
    line: u64,
    header: Header,
    pub(super) warnings: Vec<String>,
}

impl<R: BufRead, I: Iterator<Item = R>> Lines<R, I> {
    /// Reads the first file's header.
    pub(super) fn open(
        files: impl IntoIterator<Item = R, IntoIter = I>,
    ) -> Result<(Self, Header), ReplayError> {
        let mut rest = files.into_iter();
        let mut record = rest.next().ok_or(ReplayError::NotARecord)?;
        let header = header(&mut record)?;
        let mut lines =
            Self { rest, record: Some(record), line: 1, header: header.clone(), warnings: Vec::new() };
        if header.engine != ENGINE {
            lines.warnings.push(format!("the record was made with {}, this is {ENGINE}", header.engine));
        }
        Ok((lines, header))
    }

    /// The next event; `None` at the end. Where a line cannot be read, its file ends, which is told.
    pub(super) fn next(&mut self) -> Result<Option<Event>, ReplayError> {
        while let Some(record) = &mut self.record {
            let text = line(record)?;
            self.line += 1;
            match text.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()) {
                Some(event) => return Ok(Some(event)),
                None if text.is_empty() => {}
                None => {
                    let (line, file) = (self.line, self.header.file);
                    self.warnings.push(format!(
                        "the record is cut in line {line} of file {file}: everything before it was replayed"
                    ));
                }
            }
            self.turn()?;
        }
        Ok(None)
    }

    /// To the next file, if it belongs to the same run of a host.
    fn turn(&mut self) -> Result<(), ReplayError> {
        self.record = self.rest.next();
        let Some(record) = &mut self.record else { return Ok(()) };
        let header = header(record)?;
        if header.salt != self.header.salt {
            self.warnings.push("a file is of another run of the host, and left out".to_owned());
            self.record = None;
            return Ok(());
        }
        if header.file != self.header.file + 1 {
            self.warnings.push(format!("file {} is followed by file {}", self.header.file, header.file));
        }
        (self.header, self.line) = (header, 1);
        Ok(())
    }
}

fn header(record: &mut impl BufRead) -> Result<Header, ReplayError> {
    let text = line(record)?;
    match text.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()) {
        Some(Event::Header(header)) if header.tidegate_record == FORMAT => Ok(header),
        Some(Event::Header(header)) => Err(ReplayError::OtherFormat { found: header.tidegate_record }),
        _ => Err(ReplayError::NotARecord),
    }
}

fn line(record: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    record.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(line)
}
