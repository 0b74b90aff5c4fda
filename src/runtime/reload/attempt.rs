//! [`Attempt`]: the steps of one deployment from being offered to taking requests.

use std::sync::Arc;
use std::time::Instant;

use crate::deployment::OnLowMemory;
use crate::runtime::slot::{Phase, Slot, State, Version};
use crate::runtime::{Candidate, Model, Window};

use super::admission::{self, Known, Reservation, Room};
use super::load::{contained, load};
use super::{Gate, Shared, Watch, interface, shadow, wait_unused, watch};

/// Older versions of one model that may still answer their last requests when a new one comes.
const MOST_DRAINING: usize = 4;

/// Files too small to tell what loading takes per byte.
const TELLING_BYTES: u64 = 1 << 20;

/// What a change is to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Goal<'a> {
    /// A new version serves.
    Accept {
        /// Even if it was taken back before.
        again: bool,
    },
    /// The version before serves again.
    GoBack {
        /// Why.
        because: &'a str,
    },
    /// The version that was unloaded serves again.
    Load,
}

/// One deployment on its way to taking requests.
pub(super) struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    slot: &'a Arc<Slot>,
    goal: Goal<'a>,
    number: u32,
    candidate: &'a Arc<Candidate>,
    /// The version that takes the requests until this one does.
    pub(super) from: Option<u32>,
    /// How often somebody went back by hand before this began.
    rollbacks: u64,
    /// What the version did that had to make room.
    before: Option<Window>,
    /// What it was held to so far.
    pub(super) gates: Vec<Gate>,
}

/// Why it ended early.
type Stopped = String;

impl<'a> Attempt<'a> {
    /// Whoever makes one has the model's turn.
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        slot: &'a Arc<Slot>,
        goal: Goal<'a>,
        number: u32,
        candidate: &'a Arc<Candidate>,
    ) -> Self {
        let (from, rollbacks) = slot.read(|state| {
            (state.serving_model().map(|model| model.version()), state.rollbacks_by_hand)
        });
        let (before, gates) = (None, Vec::new());
        Self { shared, slot, goal, number, candidate, from, rollbacks, before, gates }
    }

    /// Goes through the steps. Where it stops, what served before still does, or does again.
    pub(super) fn run(&mut self) -> Result<(), Stopped> {
        let current = self.slot.read(|state| state.serving_model().cloned());
        if let Goal::Accept { again } = self.goal {
            if !again {
                self.hold_to_the_past()?;
            }
            let before =
                self.slot.read(|state| state.serving.as_ref().map(|v| Arc::clone(&v.candidate)));
            if let Some(before) = before {
                let model = &self.candidate.deployment.model;
                let may_change = model.reload.allow_interface_change;
                let old = &before.deployment.model.engine;
                self.hold(interface::check(old, &model.engine, may_change))?;
            }
        }
        match (self.room()?, current) {
            (Room::InPlaceOfServing(room), Some(current)) => self.in_place_of(current, room),
            (Room::Beside(room) | Room::InPlaceOfServing(room), _) => self.beside(room),
        }
    }

    /// Writes a gate down, and stops where the version did not get through.
    fn hold(&mut self, gate: Gate) -> Result<(), Stopped> {
        if !gate.passed {
            return Err(self.stop(gate));
        }
        self.gates.push(gate);
        Ok(())
    }

    fn stop(&mut self, gate: Gate) -> Stopped {
        let stopped = gate.to_string();
        self.gates.push(gate);
        stopped
    }

    fn hold_to_the_past(&mut self) -> Result<(), Stopped> {
        let digest = &self.candidate.digest;
        let rejection = self.slot.read(|state| state.rejection(digest).map(str::to_owned));
        match rejection {
            Some(why) => {
                let detail = format!("this deployment was taken back before ({why}); change it");
                Err(self.stop(Gate::failed("rejected", detail)))
            }
            None => Ok(()),
        }
    }

    fn room(&mut self) -> Result<Room, Stopped> {
        let draining = self.slot.read(|state| state.draining);
        if draining >= MOST_DRAINING {
            let detail =
                format!("{draining} older versions still answer requests; try again later");
            return Err(self.stop(Gate::failed("draining", detail)));
        }
        let serving = self.slot.read(|state| state.serving.clone());
        let known = Known {
            serving: serving.as_ref().and_then(|v| Some((&*v.candidate, v.model.as_deref()?))),
            host_bytes_per_byte: self.slot.read(|state| state.host_bytes_per_byte),
        };
        // Whoever goes back leaves a version that may have said so, too.
        let leaving = serving.as_ref().filter(|_| matches!(self.goal, Goal::GoBack { .. }));
        let mut sayers =
            leaving.map(|version| &version.candidate).into_iter().chain([self.candidate]);
        let may_drain = sayers
            .any(|said| said.deployment.model.reload.on_low_memory == OnLowMemory::DrainFirst);
        let (room, gate) = admission::room(&self.shared.budget, self.candidate, &known, may_drain);
        match room {
            Some(room) => self.hold(gate).map(|()| room),
            None => Err(self.stop(gate)),
        }
    }

    /// Loads the version beside the one that serves.
    fn beside(&mut self, reservation: Reservation) -> Result<(), Stopped> {
        let model = self.load()?;
        drop(reservation);
        let done = self.check_and_take_over(&model);
        if done.is_err() {
            self.shared.retire(self.slot, model);
        }
        done
    }

    fn check_and_take_over(&mut self, model: &Arc<Model>) -> Result<(), Stopped> {
        loop {
            let current = self.slot.read(|state| state.serving_model().cloned());
            if let (Goal::Accept { .. }, Some(current)) = (self.goal, &current) {
                self.gates.retain(|gate| !gate.name.starts_with("shadow"));
                if let Some(reference) = self.ask(current)? {
                    self.compare(model, &reference)?;
                }
                if interface::takes_samples(current.inputs(), model.inputs()) {
                    model.samples().inherit(current.samples().recent());
                }
            }
            self.from = current.as_ref().map(|model| model.version());
            if self.take_over(model, current.as_ref())? {
                return Ok(());
            }
            // The version it was compared with was taken back meanwhile: it is compared again.
        }
    }

    /// Unloads what serves, loads the version, and loads the former again where that fails.
    fn in_place_of(
        &mut self,
        current: Arc<Model>,
        reservation: Reservation,
    ) -> Result<(), Stopped> {
        let reference = match self.goal {
            Goal::Accept { .. } => self.ask(&current)?,
            Goal::GoBack { .. } | Goal::Load => None,
        };
        self.before = self.slot.read(State::served);
        let samples = current.samples().recent();
        let (names, number) = (current.inputs().to_vec(), current.version());
        self.drain(current)?;
        let done = self.load().and_then(|model| {
            let checked = match &reference {
                Some(reference) => self.compare(&model, reference),
                None => Ok(()),
            };
            if interface::takes_samples(&names, model.inputs()) {
                model.samples().inherit(samples);
            }
            let done = checked.and_then(|()| self.take_over(&model, None)).map(drop);
            if done.is_err() {
                // Its memory is needed for the one before it. An engine that hangs keeps it.
                self.shared.retire(self.slot, model);
                self.slot.wait(self.shared.patience.drain, |state| state.draining == 0);
            }
            done
        });
        drop(reservation);
        done.map_err(|why| match self.restore(number) {
            Ok(()) => why,
            Err(error) => {
                format!("{why}; and version {number} could not be loaded again: {error}")
            }
        })
    }

    /// Takes the version that serves out of service and unloads it.
    fn drain(&mut self, current: Arc<Model>) -> Result<(), Stopped> {
        let gone = self
            .slot
            .update(|state| state.is_serving(Some(&current)).then(|| state.clear(Phase::Loading)));
        let Some(gone) = gone else {
            let detail = "the version that serves was taken back meanwhile; try again";
            return Err(self.stop(Gate::failed("draining", detail)));
        };
        for model in gone.into_iter().filter(|model| !Arc::ptr_eq(model, &current)) {
            self.shared.retire(self.slot, model);
        }
        if wait_unused(&current, Some(self.shared.patience.drain)) {
            // Nothing is left to do for its threads but to let go of the engine.
            current.drain(self.shared.patience.drain);
            return Ok(());
        }
        let detail = format!(
            "requests of version {} did not end within {} s",
            current.version(),
            self.shared.patience.drain.as_secs_f64()
        );
        self.put(current);
        Err(self.stop(Gate::failed("draining", detail)))
    }

    /// Loads again what was unloaded in vain.
    fn restore(&mut self, number: u32) -> Result<(), Stopped> {
        let former = self.slot.read(|state| {
            let former = state.serving.as_ref().filter(|version| version.number == number)?;
            former.model.is_none().then(|| Arc::clone(&former.candidate))
        });
        let Some(former) = former else { return Ok(()) };
        let restored = load(number, &former, &self.shared.losses);
        if let Err(error) = &restored {
            let reason = format!("version {number} could not be loaded again: {error}");
            self.slot.update(|state| state.phase = Phase::Failed(reason));
        }
        restored.map(|model| self.put(model))
    }

    /// Lets the deployment that served serve again.
    fn put(&self, model: Arc<Model>) {
        let shared = self.shared;
        self.slot.update(|state| {
            if shared.is_closed() {
                state.phase = Phase::Closed;
            } else if let Some(version) = &mut state.serving {
                version.model = Some(model);
                state.phase = Phase::Ready;
            }
        });
    }

    fn load(&mut self) -> Result<Arc<Model>, Stopped> {
        let memory = &self.shared.budget.memory;
        let (before, started) = (memory.resident(), Instant::now());
        let loaded = load(self.number, self.candidate, &self.shared.losses);
        let took = started.elapsed();
        let after = memory.resident();
        let model = match loaded {
            Ok(model) => model,
            Err(reason) => return Err(self.stop(Gate::failed("load", reason))),
        };
        self.learn(before, after);
        let detail = format!("loaded and warmed in {:.3} s", took.as_secs_f64());
        self.hold(Gate::passed("load", detail))?;
        Ok(model)
    }

    /// Remembers what loading took.
    #[expect(clippy::cast_precision_loss, reason = "an estimate in bytes")]
    fn learn(&self, before: Option<u64>, after: Option<u64>) {
        let files = admission::file_bytes(&self.candidate.engine);
        if let (Some(before), Some(after)) = (before, after)
            && files >= TELLING_BYTES
        {
            let taken = after.saturating_sub(before) as f64 / files as f64;
            self.slot.update(|state| {
                state.host_bytes_per_byte = state.host_bytes_per_byte.max(taken);
            });
        }
    }

    /// What the version that serves says to the samples; `None` where there is nothing to ask.
    fn ask(&mut self, current: &Arc<Model>) -> Result<Option<shadow::Reference>, Stopped> {
        let model = &self.candidate.deployment.model;
        let skipped = |detail: &str| Gate::skipped("shadow", detail);
        if model.reload.samples == 0 {
            self.hold(skipped("not asked for: `reload.samples` is 0"))?;
            return Ok(None);
        }
        if !interface::takes_samples(current.inputs(), &model.engine.inputs) {
            self.hold(skipped("the inputs changed: recorded requests do not fit any more"))?;
            return Ok(None);
        }
        let patience = self.shared.patience.answers;
        match contained(|| shadow::ask(current, &model.reload, patience)) {
            Ok(Ok(reference)) if reference.is_empty() => {
                self.hold(skipped("there were no requests to run on both versions yet"))?;
                Ok(None)
            }
            Ok(Ok(reference)) => Ok(Some(reference)),
            Ok(Err(gate)) => Err(self.stop(gate)),
            Err(panic) => Err(self.stop(Gate::failed("shadow", panic))),
        }
    }

    fn compare(
        &mut self,
        model: &Arc<Model>,
        reference: &shadow::Reference,
    ) -> Result<(), Stopped> {
        let wanted = &self.candidate.deployment.model.reload;
        let patience = self.shared.patience.answers;
        let gates = contained(|| shadow::compare(model, reference, wanted, patience))
            .unwrap_or_else(|panic| vec![Gate::failed("shadow", panic)]);
        // All of them are kept: the first one that failed is the reason.
        let stopped = gates.iter().find(|gate| !gate.passed).map(Gate::to_string);
        self.gates.extend(gates);
        stopped.map_or(Ok(()), Err)
    }

    /// Lets the version take the requests in place of `current`; `false` where that one does not
    /// take them any more.
    fn take_over(
        &mut self,
        model: &Arc<Model>,
        current: Option<&Arc<Model>>,
    ) -> Result<bool, Stopped> {
        let start = Arc::new(model.statistics().snapshot());
        let version = Version {
            number: self.number,
            candidate: Arc::clone(self.candidate),
            model: Some(Arc::clone(model)),
            start: Arc::clone(&start),
        };
        let (shared, goal, before) = (self.shared, self.goal, self.before.take());
        let rollbacks = self.rollbacks;
        let left = self.slot.update(|state| {
            if shared.is_closed() {
                return Err("the server is shutting down".to_owned());
            }
            if matches!(goal, Goal::Accept { .. }) && state.rollbacks_by_hand != rollbacks {
                return Err("somebody went back to the version before while it was made ready; \
                            offer it again if it is still wanted"
                    .to_owned());
            }
            if !state.is_serving(current) {
                return Ok(None);
            }
            Ok(Some(take_over(state, goal, version, before)))
        })?;
        let Some(left) = left else { return Ok(false) };
        for model in left.into_iter().flatten() {
            self.shared.retire(self.slot, model);
        }
        let number = self.number;
        if self.slot.read(|state| state.watch.as_ref().is_some_and(|w| w.number() == number)) {
            watch::start(self.shared, self.slot, number);
        }
        Ok(true)
    }
}

/// Changes who serves; gives the models that nobody needs any more.
fn take_over(
    state: &mut State,
    goal: Goal<'_>,
    version: Version,
    before: Option<Window>,
) -> [Option<Arc<Model>>; 2] {
    match goal {
        Goal::Load => {
            state.serving = Some(version);
            state.phase = Phase::Ready;
            [None, None]
        }
        Goal::GoBack { because } => {
            let gone = state.go_back(version.model, because);
            [gone.and_then(|gone| gone.model), None]
        }
        Goal::Accept { .. } => {
            let before = before.or_else(|| state.served());
            let watch = version.model.as_ref().zip(before);
            let watch = watch.and_then(|(new, before)| Watch::new(new, &version.start, before));
            let is_watched = watch.is_some();
            let older = state.accept(version, watch);
            let standby = state.previous.as_mut().filter(|_| !is_watched);
            [older, standby.and_then(|version| version.model.take())]
        }
    }
}
