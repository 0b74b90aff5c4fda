//! [`Scheduler`]: which stage may start, as a pure state machine without threads or clocks.
//!
//! A stage starts after everything it uses has succeeded and ends exactly once. A failure skips
//! what depends on it, or with `fail_fast` everything that has not started.

/// Index of a stage.
type Index = usize;

/// What the scheduler knows of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not part of this run, or waiting for this many others.
    Waiting(usize),
    Started,
    Ended,
}

/// How a stage ended, as far as those that depend on it care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its artifact is there.
    Ok,
    /// It is not.
    Failed,
}

/// Why a stage will not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skipped {
    /// The stage.
    pub(super) stage: Index,
    /// The stage whose failure is the cause.
    pub(super) because: Index,
}

/// Decides which stage may start.
#[derive(Debug)]
pub(super) struct Scheduler {
    states: Vec<State>,
    dependents: Vec<Vec<Index>>,
    /// Ready stages by position in the running order, smallest first.
    ready: std::collections::BinaryHeap<std::cmp::Reverse<(usize, Index)>>,
    position: Vec<usize>,
    running: usize,
    fail_fast: bool,
}

impl Scheduler {
    /// `after[i]` are the stages that stage `i` uses; `order` is a topological order of the
    /// stages that take part.
    pub(super) fn new(after: &[Vec<Index>], order: &[Index], fail_fast: bool) -> Self {
        let mut position = vec![usize::MAX; after.len()];
        for (at, &stage) in order.iter().enumerate() {
            position[stage] = at;
        }
        let mut dependents = vec![Vec::new(); after.len()];
        let mut states = vec![State::Ended; after.len()];
        let mut ready = std::collections::BinaryHeap::new();
        for &stage in order {
            for &before in &after[stage] {
                dependents[before].push(stage);
            }
            states[stage] = State::Waiting(after[stage].len());
            if after[stage].is_empty() {
                ready.push(std::cmp::Reverse((position[stage], stage)));
            }
        }
        Self { states, dependents, ready, position, running: 0, fail_fast }
    }

    /// A stage that may start now; the caller must report its end with [`Self::finish`].
    pub(super) fn start_next(&mut self) -> Option<Index> {
        while let Some(std::cmp::Reverse((_, stage))) = self.ready.pop() {
            if matches!(self.states[stage], State::Waiting(0)) {
                self.states[stage] = State::Started;
                self.running += 1;
                return Some(stage);
            }
        }
        None
    }

    /// Reports the end of a started stage; returns the stages that will not start because of it,
    /// each once, in running order.
    pub(super) fn finish(&mut self, stage: Index, ended: Ended) -> Vec<Skipped> {
        if self.states[stage] != State::Started {
            return Vec::new();
        }
        self.states[stage] = State::Ended;
        self.running -= 1;
        let mut skipped = Vec::new();
        match ended {
            Ended::Ok => {
                for at in 0..self.dependents[stage].len() {
                    let next = self.dependents[stage][at];
                    if let State::Waiting(count) = &mut self.states[next] {
                        *count -= 1;
                        if *count == 0 {
                            self.ready.push(std::cmp::Reverse((self.position[next], next)));
                        }
                    }
                }
            }
            Ended::Failed if self.fail_fast => skipped = self.skip_waiting(stage),
            Ended::Failed => {
                let mut stack = self.dependents[stage].clone();
                while let Some(next) = stack.pop() {
                    if matches!(self.states[next], State::Waiting(_)) {
                        self.states[next] = State::Ended;
                        skipped.push(Skipped { stage: next, because: stage });
                        stack.extend(&self.dependents[next]);
                    }
                }
            }
        }
        skipped.sort_by_key(|skip| self.position[skip.stage]);
        skipped
    }

    /// Takes every stage that has not started out of the run.
    pub(super) fn skip_waiting(&mut self, because: Index) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        for (stage, state) in self.states.iter_mut().enumerate() {
            if matches!(state, State::Waiting(_)) {
                *state = State::Ended;
                skipped.push(Skipped { stage, because });
            }
        }
        skipped.sort_by_key(|skip| self.position[skip.stage]);
        skipped
    }

    /// How many stages have started and not ended.
    pub(super) fn running(&self) -> usize {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failed_stage_skips_only_its_dependents() {
        let after = [vec![], vec![0], vec![], vec![1], vec![2]];
        let mut scheduler = Scheduler::new(&after, &[0, 1, 2, 3, 4], false);
        assert_eq!(scheduler.start_next(), Some(0));
        let skipped = scheduler.finish(0, Ended::Failed);
        let because = |stage| Skipped { stage, because: 0 };
        assert_eq!(skipped, [because(1), because(3)]);
        assert_eq!(scheduler.start_next(), Some(2));
        assert!(scheduler.finish(2, Ended::Ok).is_empty());
        assert_eq!(scheduler.start_next(), Some(4));
    }

    #[test]
    fn fail_fast_skips_everything_that_has_not_started() {
        let after = [vec![], vec![], vec![], vec![1]];
        let mut scheduler = Scheduler::new(&after, &[0, 1, 2, 3], true);
        assert_eq!((scheduler.start_next(), scheduler.start_next()), (Some(0), Some(1)));
        assert_eq!(scheduler.finish(0, Ended::Failed).len(), 2);
        assert_eq!(scheduler.start_next(), None);
        assert_eq!(scheduler.running(), 1);
        assert!(scheduler.finish(1, Ended::Ok).is_empty());
    }

    proptest! {
        #[test]
        fn no_stage_starts_before_its_inputs_and_each_ends_once(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..40),
            fails in proptest::collection::vec(any::<bool>(), 12),
            jobs in 1_usize..5,
            fail_fast: bool,
        ) {
            let mut after = vec![Vec::new(); 12];
            for (a, b) in edges {
                if a < b && !after[b].contains(&a) {
                    after[b].push(a);
                }
            }
            let order: Vec<usize> = (0..12).collect();
            let mut scheduler = Scheduler::new(&after, &order, fail_fast);
            let mut ended: Vec<Option<bool>> = vec![None; 12];
            let mut running: Vec<usize> = Vec::new();
            loop {
                while running.len() < jobs {
                    let Some(stage) = scheduler.start_next() else { break };
                    prop_assert!(ended[stage].is_none());
                    prop_assert!(after[stage].iter().all(|before| ended[*before] == Some(true)));
                    running.push(stage);
                }
                prop_assert_eq!(scheduler.running(), running.len());
                let Some(stage) = running.pop() else { break };
                let ok = !fails[stage];
                ended[stage] = Some(ok);
                for skip in scheduler.finish(stage, if ok { Ended::Ok } else { Ended::Failed }) {
                    prop_assert!(ended[skip.stage].is_none());
                    ended[skip.stage] = Some(false);
                }
            }
            prop_assert!(ended.iter().all(Option::is_some), "every stage ends");
        }
    }
}
