//! [`Search`]: which sets are tried on the way from everything kept to a smallest set.

use std::collections::{BTreeSet, VecDeque};

use super::trials::Trials;
use super::{Kept, Measure, Purpose, SearchError, Sensitivity};

type Outcome<M, T = ()> = Result<T, SearchError<<M as Measure>::Error>>;

/// A search in which everything kept passes, and nothing kept does not. All of it ends with
/// [`SearchError::Budget`] where no trial is left.
pub(super) struct Search<'s, 'm, M: Measure> {
    /// What there is to keep.
    all: Kept,
    trials: &'s mut Trials<'m, M>,
    pub(super) sensitivities: Vec<Sensitivity>,
}

impl<'s, 'm, M: Measure> Search<'s, 'm, M> {
    pub(super) fn new(candidates: usize, trials: &'s mut Trials<'m, M>) -> Self {
        Self { all: (0..candidates).collect(), trials, sensitivities: Vec::new() }
    }

    pub(super) fn run(&mut self) -> Outcome<M> {
        if self.affords_singles()? {
            for candidate in self.all.clone() {
                let sensitivity = self.sensitivity(vec![candidate])?;
                self.sensitivities.push(sensitivity);
            }
            sort(&mut self.sensitivities);
            let order = self.all.len();
            self.bisect(order)?;
        } else {
            self.leave_out_followers()?;
            self.halve()?;
            self.find_worst()?;
        }
        self.reduce()
    }

    /// Whether there are trials enough to look at each candidate, and to bisect.
    fn affords_singles(&mut self) -> Outcome<M, bool> {
        let all = &self.all;
        let needed = self.trials.needed(all.iter().map(|&one| without(all, &[one])))?;
        Ok(needed.is_some_and(|needed| needed + bisection(all.len()) <= self.trials.left()))
    }

    /// What some candidates lose by themselves.
    fn sensitivity(&mut self, candidates: Vec<usize>) -> Outcome<M, Sensitivity> {
        let others = without(&self.all, &candidates);
        let loss = if self.trials.effect(&others)? == self.trials.effect(&self.all)? {
            None
        } else {
            Some(self.trials.score(Purpose::Sensitivity, &others)?.loss())
        };
        Ok(Sensitivity { candidates, loss })
    }

    /// Keeps as few of the most sensitive candidates as pass; `passes` of them do. The sensitivities
    /// have that many single ones in front.
    fn bisect(&mut self, mut passes: usize) -> Outcome<M> {
        let mut fails = 0;
        while passes - fails > 1 {
            let middle = fails.midpoint(passes);
            let kept = self.most_sensitive(middle);
            if self.trials.score(Purpose::Bisection, &kept)?.passes {
                passes = middle;
            } else {
                fails = middle;
            }
        }
        Ok(())
    }

    /// So many of the sensitivities, from the first on.
    fn most_sensitive(&self, count: usize) -> Kept {
        let most = self.sensitivities.iter().take(count);
        most.flat_map(|sensitivity| sensitivity.candidates.clone()).collect()
    }

    /// Leaves out what is kept in any case where the others are.
    fn leave_out_followers(&mut self) -> Outcome<M> {
        let effect = self.trials.effect(&self.all)?;
        for candidate in self.all.clone() {
            let others = without(&self.all, &[candidate]);
            if self.trials.effect(&others)? == effect {
                self.all = others;
            }
        }
        // Known, and passes.
        self.trials.score(Purpose::Ends, &self.all)?;
        Ok(())
    }

    /// Leaves out blocks of what is kept, half of what remained of each, down to single candidates.
    fn halve(&mut self) -> Outcome<M> {
        let mut kept = self.all.clone();
        let mut blocks = VecDeque::from([self.all.iter().copied().collect::<Vec<_>>()]);
        while let Some(block) = blocks.pop_front() {
            let Some(halves) = halves(&block) else { continue };
            let mut best: Option<(f64, usize)> = None;
            for (at, half) in halves.iter().enumerate() {
                let score = self.trials.score(Purpose::Reduction, &without(&kept, half))?;
                let loses_less = best.is_none_or(|(loss, _)| score.loss() <= loss);
                if score.passes && loses_less {
                    best = Some((score.loss(), at));
                }
            }
            let gone = best.map(|(_, at)| at);
            for (at, half) in halves.into_iter().enumerate() {
                if gone == Some(at) {
                    kept = without(&kept, &half);
                } else {
                    blocks.push_back(half);
                }
            }
        }
        Ok(())
    }

    /// Finds the most sensitive candidates, one less than the smallest set has so far, and keeps as
    /// few of them as pass. Where losses add up, and they are not enough, no smaller set is.
    fn find_worst(&mut self) -> Outcome<M> {
        let wanted = self.trials.smallest.0.len().saturating_sub(1);
        if wanted == 0 {
            return Ok(());
        }
        // Nothing kept is all of them alone.
        let loss = self.trials.log.first().map(|nothing| nothing.score.loss());
        let candidates = self.all.iter().copied().collect();
        self.sensitivities = vec![Sensitivity { candidates, loss }];
        let mut found = 0;
        while found < wanted {
            let Some(halves) = halves(&self.sensitivities[found].candidates) else {
                found += 1;
                continue;
            };
            let [first, second] = halves;
            let halves = [self.sensitivity(first)?, self.sensitivity(second)?];
            self.sensitivities.splice(found..=found, halves);
            sort(&mut self.sensitivities[found..]);
        }
        let kept = self.most_sensitive(wanted);
        if self.trials.score(Purpose::Bisection, &kept)?.passes {
            self.bisect(wanted)?;
        }
        Ok(())
    }

    /// Leaves out what the others do without, from the least sensitive on. Where more than half is
    /// kept, the sensitivities said little, because what is lost is lost together: then halves are
    /// left out first, and halves of those.
    fn reduce(&mut self) -> Outcome<M> {
        let (smallest, _) = self.trials.smallest.clone();
        let ranked = self.sensitivities.iter().flat_map(|one| one.candidates.clone());
        let mut kept: Vec<usize> = ranked.filter(|one| smallest.contains(one)).collect();
        let seen: BTreeSet<usize> = kept.iter().copied().collect();
        kept.extend(smallest.difference(&seen));
        let mut size = if kept.len() * 2 > self.all.len() { kept.len().div_ceil(2) } else { 1 };
        while size > 0 {
            let mut end = kept.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let rest = [&kept[..start], &kept[end..]].concat();
                if self.trials.score(Purpose::Reduction, &rest.iter().copied().collect())?.passes {
                    kept = rest;
                }
                end = start;
            }
            size /= 2;
        }
        Ok(())
    }
}

/// From the most sensitive on; what comes to the same as if it was kept is last.
fn sort(sensitivities: &mut [Sensitivity]) {
    let loss = |one: &Sensitivity| one.loss.unwrap_or(f64::NEG_INFINITY);
    sensitivities
        .sort_by(|a, b| b.loss.is_some().cmp(&a.loss.is_some()).then(loss(b).total_cmp(&loss(a))));
}

fn without(kept: &Kept, candidates: &[usize]) -> Kept {
    let mut kept = kept.clone();
    for candidate in candidates {
        kept.remove(candidate);
    }
    kept
}

/// Both halves of what has more than one candidate.
fn halves(block: &[usize]) -> Option<[Vec<usize>; 2]> {
    let (first, second) = block.split_at(block.len() / 2);
    (block.len() > 1).then(|| [first.to_vec(), second.to_vec()])
}

/// The trials that find one of `count` numbers from 1 on.
fn bisection(count: usize) -> usize {
    count.saturating_sub(1).checked_ilog2().map_or(0, |log| log as usize + 1)
}
