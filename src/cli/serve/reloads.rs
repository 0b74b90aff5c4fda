//! [`Reloads`]: candidates offered to the registry one after the other, off the thread that
//! builds.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::cli::diagnostic::with_causes;
use crate::execute::RunEvent;
use crate::execute::event::ReloadOutcome;
use crate::runtime::{Candidate, ModelRegistry};

use super::Message;

/// Candidates on their way into the registry. Of those that wait, only the last of each model
/// counts.
pub(super) struct Reloads {
    registry: Arc<ModelRegistry>,
    messages: Sender<Message>,
    waiting: VecDeque<Candidate>,
    is_busy: bool,
}

impl Reloads {
    pub(super) fn new(registry: Arc<ModelRegistry>, messages: Sender<Message>) -> Self {
        Self { registry, messages, waiting: VecDeque::new(), is_busy: false }
    }

    /// Takes a candidate; what becomes of it comes as [`Message::Reloaded`].
    pub(super) fn offer(&mut self, candidate: Candidate) {
        let name = |candidate: &Candidate| candidate.deployment.model.name.clone();
        self.waiting.retain(|other| name(other) != name(&candidate));
        self.waiting.push_back(candidate);
        self.go_on();
    }

    /// The one on its way has arrived.
    pub(super) fn done(&mut self) {
        self.is_busy = false;
        self.go_on();
    }

    /// Whether anything is on its way.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.is_empty()
    }

    fn go_on(&mut self) {
        if self.is_busy {
            return;
        }
        let Some(candidate) = self.waiting.pop_front() else { return };
        let (registry, messages) = (Arc::clone(&self.registry), self.messages.clone());
        let work = move || {
            let event = apply(&registry, candidate);
            // Nobody listens any more: the program is ending.
            let _ = messages.send(Message::Reloaded(event));
        };
        match std::thread::Builder::new().name("reload".to_owned()).spawn(work) {
            Ok(_) => self.is_busy = true,
            Err(error) => tracing::error!("no thread for a reload: {error}"),
        }
    }
}

fn apply(registry: &ModelRegistry, candidate: Candidate) -> RunEvent {
    let model = candidate.deployment.model.name.clone();
    let version = || registry.find(&model, None).ok().map(|model| model.version());
    let (began, from) = (Instant::now(), version());
    let applied = catch_unwind(AssertUnwindSafe(|| registry.apply(candidate)));
    let reason = match applied {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(with_causes(&error)),
        Err(_) => Some("loading it panicked".to_owned()),
    };
    let outcome = if reason.is_none() { ReloadOutcome::Accepted } else { ReloadOutcome::Refused };
    let to = if reason.is_none() { version() } else { from.map(|version| version + 1) };
    let seconds = began.elapsed().as_secs_f64();
    RunEvent::ReloadFinished { model, from, to, outcome, reason, seconds, gates: Vec::new() }
}
