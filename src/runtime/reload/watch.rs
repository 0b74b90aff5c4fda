//! Watching a version after it took over: what it may not do, and going back where it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deployment::ReloadConfig;
use crate::runtime::slot::{Slot, State};
use crate::runtime::{Model, Phase, Snapshot, Window};

use super::attempt::Goal;
use super::change::{change, to_standby};
use super::{Gate, Shared};

/// How often a watched version is looked at.
const TICK: Duration = Duration::from_millis(50);

/// The longest watch.
const LONGEST: Duration = Duration::from_hours(24);

/// Requests from which on percentages say something.
const ENOUGH_REQUESTS: u64 = 20;

/// Failures that say something however few requests there were.
const ENOUGH_FAILURES: u64 = 5;

/// Slow requests that do not count against a version: they may have been anything.
const FORGIVEN: u64 = 2;

/// How the version that serves is watched.
pub(in crate::runtime) struct Watch {
    number: u32,
    until: Instant,
    /// What it had counted when it took over: the requests of the shadow check.
    start: Arc<Snapshot>,
    /// What the version before did while it served.
    before: Window,
}

impl Watch {
    /// `None` where nothing is watched.
    pub(super) fn new(new: &Model, start: &Arc<Snapshot>, before: Window) -> Option<Self> {
        let length = Duration::try_from_secs_f64(new.config().reload.watch_seconds);
        let length = length.unwrap_or_default().min(LONGEST);
        (!length.is_zero()).then(|| Self {
            number: new.version(),
            until: Instant::now() + length,
            start: Arc::clone(start),
            before,
        })
    }

    /// The version that is watched.
    pub(in crate::runtime) fn number(&self) -> u32 {
        self.number
    }

    /// How much longer.
    pub(in crate::runtime) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Watches a version on a thread of its own.
pub(super) fn start(shared: &Arc<Shared>, slot: &Arc<Slot>, number: u32) {
    let name = format!("watch-{}-{number}", slot.name);
    let (ours, theirs) = (Arc::clone(shared), Arc::clone(slot));
    if let Err(error) = shared.tasks.start(name, move || follow(&ours, &theirs, number)) {
        tracing::error!(
            "version {number} of model `{}` is not watched: no thread could be started: {error}",
            slot.name
        );
    }
}

fn is_watched(state: &State, number: u32) -> bool {
    state.watch.as_ref().is_some_and(|watch| watch.number == number)
}

fn follow(shared: &Arc<Shared>, slot: &Arc<Slot>, number: u32) {
    while !slot.wait(TICK, |state| !is_watched(state, number)) {
        let Some((broken, is_over)) = slot.read(look) else { return };
        if !broken.is_empty() {
            return go_back(shared, slot, number, &broken);
        }
        if is_over {
            return settle(shared, slot, number);
        }
    }
}

/// The limits that the watched version breaks, and whether its time is over.
fn look(state: &State) -> Option<(Vec<Gate>, bool)> {
    let (watch, model) = (state.watch.as_ref()?, state.serving_model()?);
    let now = &model.statistics().snapshot() - &watch.start;
    let broken = broken(&model.config().reload, &watch.before, &now);
    Some((broken, watch.left().is_zero()))
}

/// Goes back at once where the version before is still loaded, else as soon as it is.
fn go_back(shared: &Arc<Shared>, slot: &Arc<Slot>, number: u32, broken: &[Gate]) {
    let because = broken.iter().map(Gate::to_string).collect::<Vec<_>>().join("; ");
    if to_standby(shared, slot, Some(number), &because, broken).is_some() {
        return;
    }
    let Some(_turn) = slot.turn() else { return };
    let previous = slot.update(|state| {
        let _ended = state.watch.take_if(|watch| watch.number == number)?;
        state.previous.as_ref().map(|version| (version.number, Arc::clone(&version.candidate)))
    });
    if let Some((previous, candidate)) = previous {
        let goal = Goal::GoBack { because: &because };
        // That it failed is written down, and the version serves on.
        let _ = change(shared, slot, goal, previous, &candidate);
    }
}

/// The version has proved itself: the one before it is unloaded, and can be loaded again.
fn settle(shared: &Arc<Shared>, slot: &Arc<Slot>, number: u32) {
    let standby = slot.update(|state| {
        if !is_watched(state, number) {
            return None;
        }
        state.watch = None;
        state.previous.as_mut()?.model.take()
    });
    if let Some(model) = standby {
        shared.retire(slot, model);
    }
}

/// The limits that `now` breaks. Requests that were wrong or refused are nobody's failure.
fn broken(limits: &ReloadConfig, before: &Window, now: &Window) -> Vec<Gate> {
    let mut gates = Vec::new();
    let rate = now.error_rate();
    if (now.requests >= ENOUGH_REQUESTS || now.failed >= ENOUGH_FAILURES)
        && rate > limits.max_error_rate
    {
        let detail = format!(
            "{} of {} requests failed, allowed is a fraction of {}",
            now.failed, now.requests, limits.max_error_rate
        );
        gates.push(Gate::failed("error_rate", detail).measured(rate, limits.max_error_rate));
    }
    let Some(p99) = slowest(now) else { return gates };
    let slow = |limit: f64, of: &str| {
        (p99 > limit).then(|| {
            let detail = format!("{p99:.3} ms, allowed is {limit:.3} ms{of}");
            Gate::failed("p99", detail).measured(p99, limit)
        })
    };
    gates.extend(limits.max_p99_ms.and_then(|limit| slow(limit, "")));
    if let Some(ratio) = limits.max_p99_ratio
        && before.requests >= ENOUGH_REQUESTS
        && let Some(p99) = before.p99()
    {
        let p99 = p99.as_secs_f64() * 1e3;
        gates.extend(slow(p99 * ratio, &format!(", {ratio} times the {p99:.3} ms before")));
    }
    gates
}

/// The 99th percentile in milliseconds, or what it surely exceeds: the slowest few requests do not
/// count however few there are.
#[expect(clippy::cast_precision_loss, reason = "a fraction of two counts")]
fn slowest(now: &Window) -> Option<f64> {
    let total = now.phase(Phase::Total);
    let count = total.count();
    if count < ENOUGH_REQUESTS {
        return None;
    }
    let fraction = (count - FORGIVEN) as f64 / count as f64;
    Some(total.quantile(fraction.min(0.99))?.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use crate::runtime::{ErrorKind, Statistics};

    use super::*;

    /// Requests answered in so many milliseconds each, and failures of each kind.
    fn window(answered: &[(u64, u64)], failed: &[(u64, ErrorKind)]) -> Window {
        let statistics = Statistics::default();
        let start = statistics.snapshot();
        for &(count, ms) in answered {
            let took = Duration::from_millis(ms);
            (0..count).for_each(|_| statistics.answered(Duration::ZERO, took));
        }
        for &(count, kind) in failed {
            (0..count).for_each(|_| statistics.failed(kind, Duration::ZERO));
        }
        &statistics.snapshot() - &start
    }

    fn names(limits: &ReloadConfig, before: &Window, now: &Window) -> Vec<&'static str> {
        broken(limits, before, now).iter().map(|gate| gate.name).collect()
    }

    #[test]
    fn failures_of_the_engine_count_and_those_of_clients_do_not() {
        let limits = ReloadConfig { max_error_rate: 0.1, ..ReloadConfig::default() };
        let idle = window(&[], &[]);
        for (answered, failed, expected) in [
            (90, (10, ErrorKind::Internal), false),
            (89, (11, ErrorKind::Internal), true),
            (89, (11, ErrorKind::DeadlineExceeded), true),
            (20, (1000, ErrorKind::Invalid), false),
            (20, (1000, ErrorKind::Overloaded), false),
            (20, (1000, ErrorKind::Cancelled), false),
            (1, (4, ErrorKind::Internal), false),
            (1, (5, ErrorKind::Internal), true),
            (0, (5, ErrorKind::Internal), true),
        ] {
            let now = window(&[(answered, 1)], &[failed]);
            let names = names(&limits, &idle, &now);
            assert_eq!(!names.is_empty(), expected, "{answered} {failed:?}: {names:?}");
        }
    }

    #[test]
    fn one_slow_request_is_forgiven_and_many_are_not() {
        let limits = ReloadConfig { max_p99_ms: Some(50.0), ..ReloadConfig::default() };
        let idle = window(&[], &[]);
        for (fast, slow, expected) in
            [(30, 2, false), (30, 3, true), (5, 5, false), (1000, 9, false), (1000, 20, true)]
        {
            let now = window(&[(fast, 1), (slow, 500)], &[]);
            let names = names(&limits, &idle, &now);
            assert_eq!(!names.is_empty(), expected, "{fast} fast, {slow} slow");
        }
    }

    #[test]
    fn a_ratio_needs_a_version_before_that_was_used() {
        let limits = ReloadConfig { max_p99_ratio: Some(3.0), ..ReloadConfig::default() };
        let now = window(&[(100, 100)], &[]);
        for (before, expected) in [
            (window(&[(100, 10)], &[]), true),
            (window(&[(100, 90)], &[]), false),
            (window(&[(5, 1)], &[]), false),
        ] {
            assert_eq!(
                names(&limits, &before, &now).as_slice(),
                if expected { &["p99"][..] } else { &[] }
            );
        }
        let gate = broken(&limits, &window(&[(100, 10)], &[]), &now).remove(0);
        assert!(gate.value > gate.limit, "{gate}");
        assert!(gate.to_string().contains(", 3 times the "), "{gate}");
    }
}
