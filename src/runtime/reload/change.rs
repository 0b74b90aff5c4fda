//! Changes from their beginning to the record of what they came to.

use std::sync::Arc;
use std::time::Instant;

use crate::runtime::Candidate;
use crate::runtime::slot::{Phase, Slot};

use super::attempt::{Attempt, Goal};
use super::{Gate, Outcome, ReloadRecord, Shared};

/// Goes through the steps of a deployment and writes down what came of it; an error is the record
/// of a refusal. Whoever calls it has the model's turn.
pub(in crate::runtime) fn change(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    goal: Goal<'_>,
    number: u32,
    candidate: &Arc<Candidate>,
) -> Result<Arc<ReloadRecord>, Arc<ReloadRecord>> {
    let started = Instant::now();
    let (before, since) = slot.update(|state| {
        let before = state.phase.clone();
        if state.serving_model().is_none() && state.phase != Phase::Closed {
            state.phase = Phase::Loading;
        }
        let since = state.serving.as_ref().map_or(started, |version| version.start.at);
        (before, since)
    });
    let mut attempt = Attempt::new(shared, slot, goal, number, candidate);
    let ended = attempt.run();
    let (from, gates) = (attempt.from, attempt.gates);
    slot.update(|state| match (&ended, goal) {
        (Ok(()), Goal::Accept { .. }) => state.forget_rejection(&candidate.digest),
        (Ok(()), _) => {}
        (Err(reason), _) => {
            state.counts.refused += 1;
            if state.phase == Phase::Loading {
                let failed = Phase::Failed(reason.clone());
                state.phase = if before == Phase::Unloaded { before } else { failed };
            }
        }
    });
    let (outcome, reason) = match (&ended, goal) {
        (Ok(()), Goal::Accept { .. }) => (Outcome::Accepted, None),
        (Ok(()), Goal::GoBack { because }) => (Outcome::RolledBack, Some(because.to_owned())),
        (Ok(()), Goal::Load) => (Outcome::Loaded, None),
        (Err(reason), _) => (Outcome::Refused, Some(reason.clone())),
    };
    let began = if outcome == Outcome::RolledBack { since } else { started };
    let record = shared.history.add(ReloadRecord {
        from,
        to: Some(number),
        deployment: Some(candidate.digest),
        reason,
        gates,
        ..ReloadRecord::new(&slot.name, outcome, began.elapsed())
    });
    if ended.is_ok() { Ok(record) } else { Err(record) }
}

/// Lets the version before take the requests again where it is still loaded. That is done at
/// once, whatever else is under way. With a number, only that version is taken back.
pub(in crate::runtime) fn to_standby(
    shared: &Shared,
    slot: &Arc<Slot>,
    number: Option<u32>,
    because: &str,
    gates: &[Gate],
) -> Option<Arc<ReloadRecord>> {
    let (gone, back) = slot.update(|state| {
        let serving = state.serving.as_ref().map(|version| version.number);
        if number.is_some() && number != serving {
            return None;
        }
        state.previous.as_ref()?.model.as_ref()?;
        let gone = state.go_back(None, because)?;
        Some((gone, state.serving.as_ref()?.clone()))
    })?;
    let record = shared.history.add(ReloadRecord {
        from: Some(gone.number),
        to: Some(back.number),
        deployment: Some(back.candidate.digest),
        reason: Some(because.to_owned()),
        gates: gates.to_vec(),
        ..ReloadRecord::new(&slot.name, Outcome::RolledBack, gone.start.at.elapsed())
    });
    drop(back);
    if let Some(model) = gone.model {
        shared.retire(slot, model);
    }
    Some(record)
}
