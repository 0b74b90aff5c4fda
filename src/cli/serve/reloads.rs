//! [`Reloads`]: candidates offered to the registry one after the other, off the thread that
//! builds, and what the registry tells of its models.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::execute::RunEvent;
use crate::execute::event::{ReloadGate, ReloadOutcome};
use crate::runtime::{Applied, Candidate, Gate, ModelRegistry, Outcome, ReloadError, ReloadRecord};

use super::Message;

/// Changes on their way into the registry, in order. Of the candidates of a model that wait, only
/// the last counts.
pub(super) struct Reloads {
    registry: Arc<ModelRegistry>,
    messages: Sender<Message>,
    waiting: VecDeque<Change>,
    is_busy: bool,
}

enum Change {
    /// A deployment wants to take requests.
    Offer {
        candidate: Box<Candidate>,
        /// Whether it does so though it was taken back before.
        again: bool,
    },
    /// No pipeline serves a model any more.
    Remove(String),
}

impl Change {
    fn model(&self) -> &str {
        match self {
            Self::Offer { candidate, .. } => &candidate.deployment.model.name,
            Self::Remove(model) => model,
        }
    }

    /// Blocks until it is decided.
    fn apply(self, registry: &ModelRegistry) -> Result<(), ReloadError> {
        match self {
            Self::Offer { candidate, again: false } => registry.apply(*candidate).map(told),
            Self::Offer { candidate, again: true } => registry.apply_again(*candidate).map(told),
            Self::Remove(model) => registry.remove(&model),
        }
    }
}

/// What changed was announced; what did not is no news.
fn told(_: Applied) {}

impl Reloads {
    /// What the registry decides, whoever asked for it, comes as [`Message::Reloaded`], and devices
    /// that models lose as [`Message::Lost`].
    pub(super) fn new(registry: Arc<ModelRegistry>, messages: Sender<Message>) -> Self {
        let reloaded = |record: Arc<ReloadRecord>| Message::Reloaded(event(&record));
        announce("reloads", registry.subscribe(), messages.clone(), reloaded);
        announce("losses", registry.losses(), messages.clone(), Message::Lost);
        Self { registry, messages, waiting: VecDeque::new(), is_busy: false }
    }

    /// Offers a candidate; that it is decided comes as [`Message::Decided`]. With `again`, also
    /// one that was taken back before.
    pub(super) fn offer(&mut self, candidate: Candidate, again: bool) {
        self.push(Change::Offer { candidate: Box::new(candidate), again });
    }

    /// Takes a model out of service; that it is done comes as [`Message::Decided`].
    pub(super) fn remove(&mut self, model: String) {
        self.push(Change::Remove(model));
    }

    fn push(&mut self, change: Change) {
        self.waiting.retain(|other| other.model() != change.model());
        self.waiting.push_back(change);
        self.go_on();
    }

    /// The change that was on its way is decided.
    pub(super) fn decided(&mut self) {
        self.is_busy = false;
        self.go_on();
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.is_empty()
    }

    fn go_on(&mut self) {
        while !self.is_busy {
            let Some(change) = self.waiting.pop_front() else { return };
            let (registry, messages) = (Arc::clone(&self.registry), self.messages.clone());
            let work = move || {
                let model = change.model().to_owned();
                let decided = catch_unwind(AssertUnwindSafe(|| change.apply(&registry)));
                let error = match decided {
                    Ok(decided) => decided.err().map(|error| error.to_string()),
                    Err(_) => Some("the program has a fault, the reload panicked".to_owned()),
                };
                // Nobody listens any more: the program is ending.
                let _ = messages.send(Message::Decided { model, error });
            };
            match std::thread::Builder::new().name("reload".to_owned()).spawn(work) {
                Ok(_) => self.is_busy = true,
                Err(error) => tracing::error!("a reload has no thread to run on: {error}"),
            }
        }
    }
}

/// Passes on what the registry tells, on a thread of its own.
fn announce<T: Clone + Send + 'static>(
    what: &'static str,
    mut told: Receiver<T>,
    messages: Sender<Message>,
    message: impl Fn(T) -> Message + Send + 'static,
) {
    let pass_on = move || {
        loop {
            match told.blocking_recv() {
                Ok(news) => {
                    if messages.send(message(news)).is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!("{missed} {what} are not shown, they came too fast");
                }
                Err(RecvError::Closed) => return,
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name(what.to_owned()).spawn(pass_on) {
        tracing::warn!("{what} are not shown: {error}");
    }
}

fn event(record: &ReloadRecord) -> RunEvent {
    let gate = |gate: &Gate| ReloadGate {
        name: gate.name.to_owned(),
        output: gate.output.clone(),
        passed: gate.passed,
        skipped: gate.skipped,
        value: gate.value,
        limit: gate.limit,
        detail: gate.detail.clone(),
    };
    RunEvent::ReloadFinished {
        model: record.model.clone(),
        from: record.from,
        to: record.to,
        outcome: match record.outcome {
            Outcome::Accepted => ReloadOutcome::Accepted,
            Outcome::Refused => ReloadOutcome::Refused,
            Outcome::RolledBack => ReloadOutcome::RolledBack,
            Outcome::Loaded => ReloadOutcome::Loaded,
            Outcome::Unloaded => ReloadOutcome::Unloaded,
            Outcome::Removed => ReloadOutcome::Removed,
        },
        reason: record.reason.clone(),
        seconds: record.seconds,
        gates: record.gates.iter().map(gate).collect(),
    }
}
