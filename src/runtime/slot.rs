//! [`Slot`]: one model's name: the version that takes its requests, the one before it, and what
//! lookups see of them.
//!
//! Owns the transitions, each under one short lock. Knows nothing of how versions are loaded or
//! what they are held to.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::artifact::Digest;

use super::reload::Watch;
use super::{
    Candidate, InferError, Model, ModelState, ModelStatus, ReloadCounts, Snapshot, VersionState,
    VersionStatus, Window,
};

/// Deployments that were taken back and are remembered.
const REJECTED_KEPT: usize = 16;

/// What lookups see. Replaced as a whole, so nobody waits and nobody sees half a change.
pub(super) struct View {
    serving: Option<Arc<Model>>,
    /// The version before, while it is still loaded.
    standby: Option<Arc<Model>>,
    /// Why nothing is served.
    reason: String,
}

impl View {
    pub(super) fn find(&self, name: &str, version: Option<u32>) -> Result<Arc<Model>, InferError> {
        let Some(serving) = &self.serving else {
            let (model, reason) = (name.to_owned(), self.reason.clone());
            return Err(InferError::NotReady { model, reason });
        };
        let Some(version) = version else { return Ok(Arc::clone(serving)) };
        let mut loaded = std::iter::once(serving).chain(&self.standby);
        loaded.find(|model| model.version() == version).map(Arc::clone).ok_or_else(|| {
            let numbers = std::iter::once(serving).chain(&self.standby);
            let numbers: Vec<String> = numbers.map(|model| model.version().to_string()).collect();
            InferError::UnknownVersion {
                model: name.to_owned(),
                version: version.to_string(),
                loaded: numbers.join(", "),
            }
        })
    }
}

/// An accepted deployment.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) number: u32,
    /// Kept, with its lease on the store, to load it again.
    pub(super) candidate: Arc<Candidate>,
    pub(super) model: Option<Arc<Model>>,
    /// What its model had counted when requests began to reach it.
    pub(super) start: Arc<Snapshot>,
}

/// Whether a model takes requests, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes them, or would if it ever had a deployment.
    Ready,
    /// It takes none while a version is being loaded.
    Loading,
    /// It takes none; the last requests are being answered.
    Unloading,
    /// Somebody unloaded it.
    Unloaded,
    /// Nothing could be loaded.
    Failed(String),
    /// The server is shutting down.
    Closed,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The deployment that takes the requests, or that would if the model were loaded.
    pub(super) serving: Option<Version>,
    /// The one before it.
    pub(super) previous: Option<Version>,
    /// The highest number ever given; none is given twice, not even one of a refused version.
    pub(super) last_number: u32,
    /// How the version that serves is watched.
    pub(super) watch: Option<Watch>,
    pub(super) counts: ReloadCounts,
    /// How often somebody asked to go back.
    pub(super) rollbacks_by_hand: u64,
    /// Models that take no new requests and are not unloaded yet.
    pub(super) draining: usize,
    /// Whether the name was removed from the registry.
    pub(super) is_removed: bool,
    /// Host bytes that loading took per byte of the engine's files; the most seen.
    pub(super) host_bytes_per_byte: f64,
    rejected: VecDeque<(Digest, String)>,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Failed("no deployment of it was accepted yet".to_owned())
    }
}

impl State {
    pub(super) fn serving_model(&self) -> Option<&Arc<Model>> {
        self.serving.as_ref()?.model.as_ref()
    }

    /// What the version that serves did since requests began to reach it.
    pub(super) fn served(&self) -> Option<Window> {
        let version = self.serving.as_ref()?;
        Some(&version.model.as_ref()?.statistics().snapshot() - &version.start)
    }

    /// Whether this very model, or none, takes the requests.
    pub(super) fn is_serving(&self, model: Option<&Arc<Model>>) -> bool {
        match (self.serving_model(), model) {
            (Some(serving), Some(model)) => Arc::ptr_eq(serving, model),
            (None, None) => true,
            _ => false,
        }
    }

    /// Lets a new version take the requests; what served before stays loaded. Gives what nobody
    /// goes back to any more.
    pub(super) fn accept(&mut self, version: Version, watch: Option<Watch>) -> Option<Arc<Model>> {
        let older = std::mem::replace(&mut self.previous, self.serving.replace(version));
        self.watch = watch;
        self.phase = Phase::Ready;
        self.counts.accepted += 1;
        older.and_then(|older| older.model)
    }

    /// Lets the version before take the requests again; `loaded` is its model where it had to be
    /// loaded. Gives what served.
    pub(super) fn go_back(&mut self, loaded: Option<Arc<Model>>, why: &str) -> Option<Version> {
        let mut previous = self.previous.take()?;
        previous.model = loaded.or(previous.model);
        let taken_back = self.serving.replace(previous);
        self.watch = None;
        self.phase = Phase::Ready;
        self.counts.rolled_back += 1;
        if let Some(version) = &taken_back {
            if self.rejected.len() == REJECTED_KEPT {
                self.rejected.pop_front();
            }
            self.rejected.push_back((version.candidate.digest, why.to_owned()));
        }
        taken_back
    }

    /// Takes all models out of service.
    pub(super) fn clear(&mut self, phase: Phase) -> Vec<Arc<Model>> {
        self.watch = None;
        self.phase = phase;
        let versions = self.serving.iter_mut().chain(&mut self.previous);
        versions.filter_map(|version| version.model.take()).collect()
    }

    /// Why a deployment was taken back, if it was.
    pub(super) fn rejection(&self, deployment: &Digest) -> Option<&str> {
        let mut rejected = self.rejected.iter();
        rejected.find(|(digest, _)| digest == deployment).map(|(_, why)| why.as_str())
    }

    /// A deployment gets another chance.
    pub(super) fn forget_rejection(&mut self, deployment: &Digest) {
        self.rejected.retain(|(digest, _)| digest != deployment);
    }

    /// What it is doing, and why it takes no requests, or not on all of its devices, where that is
    /// so.
    pub(super) fn model_state(&self) -> (ModelState, Option<String>) {
        let because = |reason: &str| Some(reason.to_owned());
        match &self.phase {
            Phase::Ready => match self.serving_model().map(|model| (model.end(), model)) {
                Some((Some(end), _)) => (ModelState::Unavailable, Some(end)),
                Some((None, model)) => (ModelState::Ready, model.degradation()),
                None => (ModelState::Ready, None),
            },
            Phase::Loading => (ModelState::Loading, because("it is being loaded")),
            Phase::Unloading => (ModelState::Unloading, because("it is being unloaded")),
            Phase::Unloaded => (ModelState::Unavailable, because("it was unloaded")),
            Phase::Failed(reason) => (ModelState::Unavailable, because(reason)),
            Phase::Closed => (ModelState::Unavailable, because("the server is shutting down")),
        }
    }

    fn view(&self) -> View {
        let standby = self.previous.as_ref().and_then(|version| version.model.clone());
        let reason = self.model_state().1.unwrap_or_default();
        View { serving: self.serving_model().cloned(), standby, reason }
    }
}

/// One model's name.
pub(super) struct Slot {
    pub(super) name: String,
    view: ArcSwap<View>,
    /// Held from the first check of a change to its end.
    turn: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Slot {
    pub(super) fn new(name: &str) -> Self {
        let state = State::default();
        Self {
            name: name.to_owned(),
            view: ArcSwap::from_pointee(state.view()),
            turn: Mutex::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// What lookups see.
    pub(super) fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// As the repository index lists it.
    pub(super) fn status(&self) -> ModelStatus {
        self.read(|state| {
            let (model_state, reason) = state.model_state();
            ModelStatus {
                name: self.name.clone(),
                version: state.serving.as_ref().map(|version| version.number),
                state: model_state,
                reason,
                reloads: state.counts,
            }
        })
    }

    /// The versions there are, the newest first.
    pub(super) fn versions(&self) -> Vec<VersionStatus> {
        self.read(|state| {
            let status = |version: &Version, loaded: VersionState| VersionStatus {
                version: version.number,
                state: if version.model.is_some() { loaded } else { VersionState::Kept },
                deployment: version.candidate.digest,
                engine: version.candidate.deployment.model.engine.digest,
                watched_for: state
                    .watch
                    .as_ref()
                    .filter(|watch| watch.number() == version.number)
                    .map(|watch| watch.left().as_secs_f64()),
            };
            let serving = state.serving.iter().map(|v| status(v, VersionState::Serving));
            let previous = state.previous.iter().map(|v| status(v, VersionState::Standby));
            serving.chain(previous).collect()
        })
    }

    /// Waits until no other change of this model is under way. `None` where the name was removed.
    pub(super) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(|state| !state.is_removed).then_some(turn)
    }

    pub(super) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state and what lookups see in one step. What `change` takes out of service it
    /// must return: unloading is too slow to do under this lock.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        self.view.store(Arc::new(state.view()));
        drop(state);
        self.changed.notify_all();
        result
    }

    /// Waits for a condition, and says whether it came about in time.
    pub(super) fn wait(&self, limit: Duration, is_met: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while !is_met(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
