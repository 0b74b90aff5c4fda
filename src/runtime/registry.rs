//! [`ModelRegistry`]: the models of a server by name, each with its versions.
//!
//! Owns the set of names and who may change what. How a version gets there is `reload`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;

use crate::artifact::{Digest, Lease};
use crate::deployment::Deployment;
use crate::suggest::did_you_mean;

use super::reload::{
    Budget, Goal, History, Memory, Patience, Shared, System, Tasks, change, to_standby,
};
use super::slot::{Phase, Slot, Version};
use super::{
    Applied, DeviceLoss, InferError, Model, ModelStatus, Outcome, ReloadError, ReloadRecord,
    VersionStatus,
};

/// Lost devices that are told to whoever was busy meanwhile.
const LOSSES_KEPT: usize = 64;

/// Why somebody went back.
const BY_HAND: &str = "rolled back by hand";

/// A deployment that wants to take requests.
#[derive(Debug)]
pub struct Candidate {
    /// What to serve and how.
    pub deployment: Deployment,
    /// Digest of the deployment's artifact.
    pub digest: Digest,
    /// The deployment's folder, with its warm-up data.
    pub folder: PathBuf,
    /// The engine's folder, whose content was checked.
    pub engine: PathBuf,
    /// Keeps both in the store while the version is served; `None` for files of the user's own.
    pub lease: Option<Lease>,
}

/// The models of a server by name. Looking one up never waits for a change under way; changes
/// block the thread they are asked for on, which must not be one of an async runtime.
pub struct ModelRegistry {
    slots: ArcSwap<BTreeMap<String, Arc<Slot>>>,
    shared: Arc<Shared>,
}

impl fmt::Debug for ModelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelRegistry").field(&self.index()).finish()
    }
}

impl Default for ModelRegistry {
    fn default() -> Self {
        Self::with(Box::new(System), Patience::default())
    }
}

impl ModelRegistry {
    pub(super) fn with(memory: Box<dyn Memory>, patience: Patience) -> Self {
        let shared = Shared {
            history: History::default(),
            tasks: Arc::new(Tasks::default()),
            budget: Budget::new(memory),
            patience,
            losses: broadcast::channel(LOSSES_KEPT).0,
            closed: AtomicBool::new(false),
        };
        Self { slots: ArcSwap::default(), shared: Arc::new(shared) }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The version of a model that takes requests, or a certain one. Whoever has it may go on
    /// using it: it is unloaded after the last one let go of it, so nobody should keep it longer
    /// than a request.
    pub fn find(&self, name: &str, version: Option<u32>) -> Result<Arc<Model>, InferError> {
        let slots = self.slots.load();
        match slots.get(name) {
            Some(slot) => slot.view().find(name, version),
            None => Err(InferError::UnknownModel {
                model: name.to_owned(),
                hint: Some(hint(&slots, name)),
            }),
        }
    }

    /// Loads a deployment, holds it to its gates and lets it take the requests. Where it does not
    /// get through, what was served before still is. A deployment that serves already changes
    /// nothing, and one that was unloaded by hand stays unloaded; one that was taken back before
    /// is refused.
    pub fn apply(&self, candidate: Candidate) -> Result<Applied, ReloadError> {
        self.offer(candidate, false)
    }

    /// The same for somebody who knows better than that it was taken back before.
    pub fn apply_again(&self, candidate: Candidate) -> Result<Applied, ReloadError> {
        self.offer(candidate, true)
    }

    fn offer(&self, candidate: Candidate, again: bool) -> Result<Applied, ReloadError> {
        let name = candidate.deployment.model.name.clone();
        let candidate = Arc::new(candidate);
        loop {
            if self.shared.is_closed() {
                return Err(ReloadError::Closed);
            }
            let slot = self.slot_for(&name);
            let Some(_turn) = slot.turn() else { continue };
            let known = slot.read(|state| {
                let same =
                    state.serving.as_ref().filter(|v| v.candidate.digest == candidate.digest);
                let idle = matches!(state.phase, Phase::Ready | Phase::Unloaded);
                same.filter(|_| idle).map(|version| version.number)
            });
            if let Some(version) = known {
                return Ok(Applied::Unchanged { version });
            }
            let number = slot.update(|state| {
                state.last_number += 1;
                state.last_number
            });
            let record = self.change(&slot, Goal::Accept { again }, number, &candidate)?;
            return Ok(Applied::Changed(record));
        }
    }

    /// Loads again a model that was unloaded: the last deployment that was accepted.
    pub fn load(&self, name: &str) -> Result<Applied, ReloadError> {
        let slot = self.known(name)?;
        let _turn = slot.turn().ok_or_else(|| self.unknown(name))?;
        let (serving, reason) = slot.read(|state| (state.serving.clone(), state.model_state().1));
        match serving {
            Some(Version { model: Some(_), number, .. }) => {
                Ok(Applied::Unchanged { version: number })
            }
            Some(version) => {
                let (number, candidate) = (version.number, &version.candidate);
                self.change(&slot, Goal::Load, number, candidate).map(Applied::Changed)
            }
            None => Err(ReloadError::NothingAccepted {
                model: name.to_owned(),
                reason: reason.unwrap_or_default(),
            }),
        }
    }

    /// Takes a model out of service and waits for its last requests, as long as it may. What is
    /// unloaded already stays so.
    pub fn unload(&self, name: &str) -> Result<(), ReloadError> {
        let slot = self.known(name)?;
        let _turn = slot.turn().ok_or_else(|| self.unknown(name))?;
        let started = Instant::now();
        let (gone, from) = slot.update(|state| {
            let from = state.serving_model().map(|model| model.version());
            if state.serving.is_none() || matches!(state.phase, Phase::Closed) {
                return (Vec::new(), from);
            }
            (state.clear(Phase::Unloading), from)
        });
        for model in gone {
            self.shared.retire(&slot, model);
        }
        slot.wait(self.shared.patience.drain, |state| state.draining == 0);
        slot.update(|state| {
            if state.phase == Phase::Unloading {
                state.phase = Phase::Unloaded;
            }
        });
        if from.is_some() {
            let record = ReloadRecord::new(name, Outcome::Unloaded, started.elapsed());
            self.shared.history.add(ReloadRecord { from, ..record });
        }
        Ok(())
    }

    /// Goes back to the version before this one, which is remembered as taken back. At once where
    /// that one is still loaded, else it is loaded first.
    pub fn rollback(&self, name: &str) -> Result<Arc<ReloadRecord>, ReloadError> {
        let slot = self.known(name)?;
        // What is under way must not take over, neither now nor before this has its turn.
        slot.update(|state| state.rollbacks_by_hand += u64::from(state.previous.is_some()));
        if let Some(record) = to_standby(&self.shared, &slot, None, BY_HAND, &[]) {
            return Ok(record);
        }
        let _turn = slot.turn().ok_or_else(|| self.unknown(name))?;
        if let Some(record) = to_standby(&self.shared, &slot, None, BY_HAND, &[]) {
            return Ok(record);
        }
        let nothing = || ReloadError::NothingBefore { model: name.to_owned() };
        let previous = slot.read(|state| state.previous.clone()).ok_or_else(nothing)?;
        let goal = Goal::GoBack { because: BY_HAND };
        self.change(&slot, goal, previous.number, &previous.candidate)
    }

    /// Forgets a model: it takes no more requests, and is unloaded after the last one.
    pub fn remove(&self, name: &str) -> Result<(), ReloadError> {
        let slot = self.known(name)?;
        let _turn = slot.turn().ok_or_else(|| self.unknown(name))?;
        let (gone, from) = slot.update(|state| {
            state.is_removed = true;
            let from = state.serving_model().map(|model| model.version());
            (state.clear(Phase::Unloaded), from)
        });
        self.slots.rcu(|slots| {
            let mut slots = BTreeMap::clone(slots);
            slots.remove(name);
            slots
        });
        for model in gone {
            self.shared.retire(&slot, model);
        }
        let record = ReloadRecord::new(name, Outcome::Removed, Duration::ZERO);
        self.shared.history.add(ReloadRecord { from, ..record });
        Ok(())
    }

    /// Every model, by name.
    pub fn index(&self) -> Vec<ModelStatus> {
        self.slots.load().values().map(|slot| slot.status()).collect()
    }

    /// The versions of a model, the newest first.
    pub fn versions(&self, name: &str) -> Result<Vec<VersionStatus>, ReloadError> {
        Ok(self.known(name)?.versions())
    }

    /// The last changes, oldest first.
    pub fn history(&self) -> Vec<Arc<ReloadRecord>> {
        self.shared.history.records()
    }

    /// Tells of every change from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ReloadRecord>> {
        self.shared.history.subscribe()
    }

    /// Tells of every device that a model loses from now on.
    pub fn losses(&self) -> broadcast::Receiver<DeviceLoss> {
        self.shared.losses.subscribe()
    }

    /// Takes no more requests and unloads every model after its last one; says whether that was
    /// done within `drain`. What is not is done by nobody: the process is about to end.
    pub fn shutdown(&self, drain: Duration) -> bool {
        let deadline = Instant::now() + drain;
        self.close();
        self.shared.tasks.wait(deadline)
    }

    fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        for slot in self.slots.load().values() {
            for model in slot.update(|state| state.clear(Phase::Closed)) {
                self.shared.retire(slot, model);
            }
        }
    }

    fn change(
        &self,
        slot: &Arc<Slot>,
        goal: Goal<'_>,
        number: u32,
        candidate: &Arc<Candidate>,
    ) -> Result<Arc<ReloadRecord>, ReloadError> {
        change(&self.shared, slot, goal, number, candidate).map_err(ReloadError::Refused)
    }

    fn slot_for(&self, name: &str) -> Arc<Slot> {
        if let Some(slot) = self.slots.load().get(name) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(name));
        let before = self.slots.rcu(|slots| {
            let mut slots = BTreeMap::clone(slots);
            slots.entry(name.to_owned()).or_insert_with(|| Arc::clone(&slot));
            slots
        });
        before.get(name).map_or(slot, Arc::clone)
    }

    fn known(&self, name: &str) -> Result<Arc<Slot>, ReloadError> {
        self.slots.load().get(name).map(Arc::clone).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> ReloadError {
        let hint = hint(&self.slots.load(), name);
        ReloadError::UnknownModel { model: name.to_owned(), hint }
    }
}

impl Drop for ModelRegistry {
    fn drop(&mut self) {
        self.close();
    }
}

fn hint(slots: &BTreeMap<String, Arc<Slot>>, name: &str) -> String {
    did_you_mean(name, slots.keys().map(String::as_str), "models")
}
