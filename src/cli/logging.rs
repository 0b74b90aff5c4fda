//! Log messages: coloured on the terminal, plain in a file, millisecond timestamps in both.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use clap::ValueEnum;
use indicatif::MultiProgress;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::console::{above, wants_colour};

/// Which messages to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// None.
    Off,
    /// Failures.
    Error,
    /// And what needs a look.
    Warn,
    /// And what happens.
    Info,
    /// And the output of commands.
    Debug,
    /// And everything.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// UTC with milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

/// Writes to standard error, above the progress that is drawn there.
struct AboveProgress(MultiProgress);

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &AboveProgress {
    /// A message comes in one piece.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        above(&self.0, || io::stderr().write(message))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts logging for the life of the process; on the terminal above `progress`.
pub(super) fn start(level: Level, file: Option<&Path>, progress: MultiProgress) -> io::Result<()> {
    let level = LevelFilter::from(level);
    let terminal = tracing_subscriber::fmt::layer()
        .with_timer(Milliseconds)
        .with_target(false)
        .with_ansi(wants_colour(io::stderr().is_terminal()))
        .with_writer(AboveProgress(progress))
        .with_filter(level);
    let file = match file {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path).map_err(|error| {
                let message = format!("failed to open the log file `{}`: {error}", path.display());
                io::Error::new(error.kind(), message)
            })?;
            let layer = tracing_subscriber::fmt::layer()
                .with_timer(Milliseconds)
                .with_ansi(false)
                .with_writer(Mutex::new(file))
                .with_filter(level.max(LevelFilter::DEBUG));
            Some(layer)
        }
    };
    // Fails only where the process has a subscriber already, as in tests.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
    Ok(())
}
