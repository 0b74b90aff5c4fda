//! [`Console`]: the one place that writes to standard output and standard error.
//!
//! What is written while progress is drawn goes above it: the lines drawn are taken off the screen
//! first and drawn again below.

use std::cell::RefCell;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::execute::RunEvent;
use crate::execute::event::{DiagnosticEvent, EventLine, Severity};

use super::ExitStatus;
use super::printable::printable;
use super::wrap::{self, wrapped};

/// Where output goes and how it looks.
#[derive(Debug)]
pub(super) struct Console {
    json: bool,
    out: RefCell<Out>,
    /// What is drawn on standard error; nothing where no person watches.
    progress: MultiProgress,
}

#[derive(Debug)]
struct Out {
    writer: BufWriter<io::Stdout>,
    /// The first failure to write; a closed pipe is none.
    failed: Option<io::Error>,
    closed: bool,
}

impl Console {
    pub(super) fn new(json: bool) -> Self {
        let writer = BufWriter::with_capacity(1 << 16, io::stdout());
        let is_interactive = !json && io::stdout().is_terminal() && io::stderr().is_terminal();
        let progress = MultiProgress::new();
        if !is_interactive {
            progress.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { json, out: RefCell::new(Out { writer, failed: None, closed: false }), progress }
    }

    /// Whether output is for programs.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches and progress may be drawn.
    pub(super) fn is_interactive(&self) -> bool {
        !self.progress.is_hidden()
    }

    /// Where progress is drawn.
    pub(super) fn progress(&self) -> &MultiProgress {
        &self.progress
    }

    /// Columns of the terminal that a person reads on.
    pub(super) fn width(&self) -> Option<u16> {
        if self.json { None } else { width_of(io::stdout()) }
    }

    /// Columns for running text on standard output.
    pub(super) fn columns(&self) -> usize {
        wrap::columns(self.width())
    }

    /// Writes to standard output as it is.
    pub(super) fn print(&self, text: &str) {
        let mut out = self.out.borrow_mut();
        if out.closed {
            return;
        }
        if let Err(error) = out.writer.write_all(text.as_bytes()) {
            out.note(error);
        }
    }

    /// Hands everything written so far to the reader.
    pub(super) fn flush(&self) {
        let mut out = self.out.borrow_mut();
        if let Err(error) = above(&self.progress, || out.writer.flush()) {
            out.note(error);
        }
    }

    /// Writes a line for people; nothing where output is for programs.
    pub(super) fn line(&self, text: &str) {
        if !self.json {
            self.print(text);
            self.print("\n");
        }
    }

    /// Writes what may contain words of files or programs, for people.
    pub(super) fn text(&self, text: &str) {
        if !self.json {
            self.print(&printable(text));
        }
    }

    /// Writes a line that tells people what has just happened, and when (UTC, as log messages).
    pub(super) fn news(&self, text: &str) {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let clock = now.split_once('T').map_or("", |(_, clock)| clock);
        self.text(&format!("{clock} {text}\n"));
    }

    /// Writes one event as a JSON line; nothing where output is for people.
    pub(super) fn event(&self, event: &RunEvent) {
        if self.json
            && let Ok(line) = serde_json::to_string(&EventLine::now(event))
        {
            self.print(&line);
            self.print("\n");
            self.flush();
        }
    }

    /// Writes what a command found as a JSON line: an event that is not one of a run.
    pub(super) fn record(&self, event: &str, fields: serde_json::Value) {
        let mut line = serde_json::json!({
            "v": 1,
            "t": humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
            "event": event,
        });
        if let (Some(line), serde_json::Value::Object(fields)) = (line.as_object_mut(), fields) {
            line.extend(fields);
        }
        self.print(&format!("{line}\n"));
    }

    /// Writes to standard error.
    pub(super) fn print_error(&self, text: &str) {
        self.flush();
        // Nowhere is left to report that standard error is closed.
        let _ = above(&self.progress, || io::stderr().lock().write_all(text.as_bytes()));
    }

    /// Tells an error that stands in no file.
    pub(super) fn error(&self, code: &str, message: &str, help: Option<&str>) {
        if self.json {
            self.event(&RunEvent::Diagnostic(DiagnosticEvent {
                severity: Severity::Error,
                code: code.to_owned(),
                message: message.to_owned(),
                help: help.map(str::to_owned),
                stage: None,
                file: None,
                line: None,
                column: None,
                length: None,
            }));
            return;
        }
        let paint = anstyle(io::stderr().is_terminal());
        let mut text = format!("error: {}\n", printable(message));
        if let Some(help) = help {
            text.extend(["  help: ", &printable(help).replace('\n', "\n        "), "\n"]);
        }
        // In a file, a message is one line.
        if let Some(width) = width_of(io::stderr()) {
            text = wrapped(&text, wrap::columns(Some(width)), 6);
        }
        let text = text.strip_prefix("error").unwrap_or(&text);
        self.print_error(&format!("{}error{}{text}", paint.0, paint.1));
    }

    /// Ends a command: output that could not be written is a failure.
    pub(super) fn finish(&self, status: ExitStatus) -> ExitStatus {
        self.flush();
        match self.out.borrow_mut().failed.take() {
            Some(error) if status == ExitStatus::OK => {
                let _ =
                    writeln!(io::stderr(), "error: failed to write to standard output: {error}");
                ExitStatus::FAILED
            }
            _ => status,
        }
    }
}

impl Out {
    fn note(&mut self, error: io::Error) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.closed = true;
        } else if self.failed.is_none() {
            self.failed = Some(error);
        }
    }
}

/// Writes above the progress that is drawn.
pub(super) fn above<T>(progress: &MultiProgress, write: impl FnOnce() -> T) -> T {
    // Drawing on a terminal that was closed meanwhile fails.
    if !progress.is_hidden() && !io::stderr().is_terminal() {
        progress.set_draw_target(ProgressDrawTarget::hidden());
    }
    progress.suspend(write)
}

/// Columns for running text on standard error.
pub(super) fn error_columns() -> usize {
    wrap::columns(width_of(io::stderr()))
}

/// Columns of a terminal.
fn width_of(stream: impl IsTerminal + AsFd) -> Option<u16> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Whether colours are wanted on a stream that is or is not a terminal.
pub(super) fn wants_colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Start and end of red, or nothing.
fn anstyle(is_terminal: bool) -> (&'static str, &'static str) {
    if wants_colour(is_terminal) { ("\u{1b}[31;1m", "\u{1b}[0m") } else { ("", "") }
}
