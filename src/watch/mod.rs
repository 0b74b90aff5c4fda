//! [`Watcher`]: changes of files as debounced sets of paths.
//!
//! Owns the events of the system, their debouncing, and looking at the files where there are no
//! events. Knows nothing of pipelines, nor of what is in the files: a path that is told may hold
//! what it held before.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, mem};

mod eyes;
mod places;
mod poll;
#[cfg(test)]
mod tests;

use eyes::{Eyes, Seen};

/// How long nothing must happen before a change is told: editors and `git` write in several steps.
const QUIET: Duration = Duration::from_millis(150);
/// The longest a change waits for quiet.
const LONGEST: Duration = Duration::from_secs(5);

/// Watches files and folders until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Watch(BTreeSet<PathBuf>),
    Seen(Seen),
    Stop,
}

impl Watcher {
    /// Starts, watching nothing yet. `tell` is called on a thread of the watcher with those of
    /// the watched paths that may have changed. With `poll`, the files are looked at so often
    /// instead of waiting for events, which some network file systems do not have.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn new(
        poll: Option<Duration>,
        tell: impl FnMut(BTreeSet<PathBuf>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = channel();
        let events = sender.clone();
        let run = move || {
            // What is seen after the end of the loop concerns nobody.
            let eyes = Eyes::open(poll, move |seen| drop(events.send(Message::Seen(seen))));
            let paths = BTreeSet::new();
            Loop { messages, eyes, tell, paths, pending: BTreeSet::new(), since: None }.run();
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(run)?;
        Ok(Self { messages: sender, thread: Some(thread) })
    }

    /// Watches these files and folders, and no others from now on. They need not exist. Those
    /// that were not watched before are told as well, once nothing about them can be missed: they
    /// may have changed since the caller last looked.
    pub fn watch(&self, paths: BTreeSet<PathBuf>) {
        // The loop ends only when this is dropped.
        let _ = self.messages.send(Message::Watch(paths));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Loop<F> {
    messages: Receiver<Message>,
    eyes: Eyes,
    tell: F,
    paths: BTreeSet<PathBuf>,
    /// Paths that may have changed and were not told yet.
    pending: BTreeSet<PathBuf>,
    /// When the first and the last of them were seen.
    since: Option<(Instant, Instant)>,
}

impl<F: FnMut(BTreeSet<PathBuf>)> Loop<F> {
    fn run(mut self) {
        loop {
            match self.next() {
                Some(Message::Watch(paths)) => {
                    let new: BTreeSet<PathBuf> = paths.difference(&self.paths).cloned().collect();
                    self.pending.retain(|path| paths.contains(path));
                    self.paths = paths;
                    self.eyes.look_at(&self.paths);
                    self.note(new);
                }
                Some(Message::Seen(seen)) => {
                    let concerned = self.eyes.concerned(seen, &self.paths);
                    self.note(concerned);
                }
                Some(Message::Stop) => return,
                None => {
                    let looked = self.eyes.look();
                    self.note(looked);
                    self.tell_if_quiet();
                }
            }
        }
    }

    /// The next message; `None` when it is time to look or to tell.
    fn next(&self) -> Option<Message> {
        let told_at = self.since.map(|(first, last)| (last + QUIET).min(first + LONGEST));
        let Some(until) = told_at.into_iter().chain(self.eyes.next_look()).min() else {
            return Some(self.messages.recv().unwrap_or(Message::Stop));
        };
        match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Stop),
        }
    }

    fn note(&mut self, paths: BTreeSet<PathBuf>) {
        if paths.is_empty() {
            return;
        }
        let now = Instant::now();
        let (first, last) = self.since.get_or_insert((now, now));
        *last = now.max(*first);
        self.pending.extend(paths);
    }

    fn tell_if_quiet(&mut self) {
        let Some((first, last)) = self.since else { return };
        let now = Instant::now();
        if now < last + QUIET && now < first + LONGEST {
            return;
        }
        self.since = None;
        // Before it is told: whoever looks now sees what was written into a folder that is new
        // before it was watched.
        self.eyes.look_at(&self.paths);
        (self.tell)(mem::take(&mut self.pending));
    }
}
