//! `watch`: runs pipelines again whenever what they read changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use clap::Args;

use crate::execute::event::Trigger;
use crate::process::CancelToken;
use crate::watch::Watcher;

use super::console::Console;
use super::pipeline::{Pipeline, PipelinesArgs, Refreshed, Session};
use super::quantity;
use super::{ExitStatus, signals};

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pipelines: PipelinesArgs,
    #[command(flatten)]
    how: WatcherArgs,
}

/// How to come to know of changes.
#[derive(Debug, Args)]
pub(super) struct WatcherArgs {
    /// Look at the files so often, such as `2s`, instead of having the system tell changes: for
    /// network file systems
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    poll: Option<Duration>,
}

/// Why a program that goes on until it is stopped wakes up.
enum Message {
    Changed(BTreeSet<PathBuf>),
    Asked,
    Stop,
}

impl WatcherArgs {
    /// A watcher that sends what it tells; that there is none has been shown.
    pub(super) fn start<M: Send + 'static>(
        &self,
        messages: &Sender<M>,
        message: impl Fn(BTreeSet<PathBuf>) -> M + Send + 'static,
        console: &Console,
    ) -> Result<Watcher, ExitStatus> {
        let messages = messages.clone();
        // Nobody listens any more: the program is ending.
        let tell = move |paths| drop(messages.send(message(paths)));
        Watcher::new(self.poll, tell).map_err(|error| {
            console.error("watch::thread", &format!("failed to watch files: {error}"), None);
            ExitStatus::FAILED
        })
    }
}

pub(super) fn watch(args: &WatchArgs, console: &Console) -> ExitStatus {
    match try_watch(args, console) {
        Ok(()) => ExitStatus::OK,
        Err(status) => status,
    }
}

fn try_watch(args: &WatchArgs, console: &Console) -> Result<(), ExitStatus> {
    let stop = CancelToken::default();
    let (sender, messages) = channel();
    let watcher = args.how.start(&sender, Message::Changed, console)?;
    let asked = sender.clone();
    signals::cancel_or_ask(stop.clone(), move || drop(asked.send(Message::Asked)));
    let _stopped = stop.on_cancel(move || drop(sender.send(Message::Stop)));
    let session = Session { console, stop: &stop, accept: &|_| Ok(()) };
    let mut pipelines = args.pipelines.pipelines();
    for pipeline in &mut pipelines {
        let refreshed = pipeline.start(session, &mut |_, _| {})?;
        if matches!(refreshed, Refreshed::Refused) && !pipeline.spec().exists() {
            return Err(ExitStatus::USAGE);
        }
    }
    let mut last = BTreeSet::new();
    while !stop.is_cancelled() {
        let reads: BTreeSet<PathBuf> = pipelines.iter().flat_map(Pipeline::reads).collect();
        if reads != last {
            console.line(&watching(&reads));
            console.flush();
            watcher.watch(reads.clone());
            last = reads;
        }
        let trigger = match messages.recv() {
            Ok(Message::Changed(paths)) => (Trigger::Changed, paths),
            Ok(Message::Asked) => (Trigger::Asked, BTreeSet::new()),
            Ok(Message::Stop) | Err(_) => break,
        };
        for pipeline in &mut pipelines {
            if trigger.0 == Trigger::Asked || !pipeline.reads().is_disjoint(&trigger.1) {
                pipeline.refresh(trigger.0, session, &mut |_, _| {});
            }
        }
    }
    Ok(())
}

/// What is watched, in words.
pub(super) fn watching(reads: &BTreeSet<PathBuf>) -> String {
    let folders = reads.iter().filter(|path| path.is_dir()).count();
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    let files = count(reads.len() - folders, "file");
    match folders {
        0 => format!("watching {files}"),
        _ => format!("watching {files} and {}", count(folders, "folder")),
    }
}
