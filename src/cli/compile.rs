//! `compile-tensorrt`: the hidden command that the TensorRT backend runs in a child process. What it
//! writes is for the parent alone: one message a line.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::backend::tensorrt::compiler::{Message, compile_here};
use crate::process;
use crate::progress::Progress;

use super::ExitStatus;
use super::console::Console;

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// The file that says what to compile
    job: PathBuf,
    /// The file to write the outcome to
    outcome: PathBuf,
    /// The process that waits for the outcome
    parent: u32,
}

pub(super) fn compile(args: &CompileArgs, console: &Console) -> ExitStatus {
    if !process::end_with_parent(args.parent) {
        return ExitStatus::INTERRUPTED;
    }
    match compile_here(&args.job, &args.outcome, Arc::new(Parent)) {
        Ok(()) => ExitStatus::OK,
        Err(error) => {
            console.error("compile", &error.to_string(), None);
            ExitStatus::FAILED
        }
    }
}

/// Sends log messages to the parent, whose own settings decide who sees them.
pub(super) fn start_logging(level: LevelFilter) {
    // Fails only where the process has a subscriber already.
    let _ = tracing_subscriber::registry().with(Relay.with_filter(level)).try_init();
}

struct Parent;

impl Progress for Parent {
    fn report(&self, phase: &str, done: u64, total: Option<u64>) {
        send(&Message::Progress { phase: phase.to_owned(), done, total });
    }
}

/// Writes one line in one piece: several threads of TensorRT report. This process ends with its
/// parent, so a failure needs no answer.
fn send(message: &Message) {
    if let Ok(mut line) = serde_json::to_vec(message) {
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

struct Relay;

impl<S: Subscriber> Layer<S> for Relay {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = event.metadata().level().to_string();
        send(&Message::Log { level, message: text.0 });
    }
}

/// An event's message, and its fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.insert_str(0, &format!("{value:?}"));
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}
