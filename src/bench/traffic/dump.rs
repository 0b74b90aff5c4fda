//! [`Dump`]: every request that counts as a row of CSV, written as it ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bench::endpoint::CallTimes;

use super::record::{Note, Parts};

/// A file with a row for every request.
#[derive(Debug)]
pub struct Dump {
    path: PathBuf,
    file: BufWriter<File>,
    level: usize,
    failed: Option<io::Error>,
}

impl Dump {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(
            file,
            "level,due_ns,sent_ns,ended_ns,ending,connect_ns,send_ns,wait_ns,receive_ns"
        )?;
        Ok(Self { path: path.to_owned(), file, level: 0, failed: None })
    }

    /// The rows that follow are of the next level.
    pub(super) fn next_level(&mut self) {
        self.level += 1;
    }

    pub(super) fn write(&mut self, start: Instant, note: &Note<'_>) {
        if self.failed.is_none()
            && let Err(error) = self.row(start, note)
        {
            self.failed = Some(error);
        }
    }

    fn row(&mut self, start: Instant, note: &Note<'_>) -> io::Result<()> {
        let at = |moment: Instant| moment.saturating_duration_since(start).as_nanos();
        let (due, sent, ended) = (at(note.due), at(note.sent), at(note.ended));
        write!(self.file, "{},{due},{sent},{ended},{}", self.level, note.ending)?;
        let (connect, split) = match note.parts {
            Parts::Call(CallTimes { connect, split }) => (Some(connect), split),
            Parts::Phases(_) | Parts::Unknown => (None, None),
        };
        let parts = [
            connect,
            split.map(|split| split.send),
            split.map(|split| split.wait),
            split.map(|split| split.receive),
        ];
        for part in parts {
            match part.as_ref().map(Duration::as_nanos) {
                Some(nanoseconds) => write!(self.file, ",{nanoseconds}")?,
                None => write!(self.file, ",")?,
            }
        }
        writeln!(self.file)
    }

    /// Writes what is left; where anything failed, with the file's path.
    pub fn finish(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let flushed = self.file.flush();
        let written = self.failed.take().map_or(flushed, Err);
        written.map_err(|error| (self.path.clone(), error))
    }
}
