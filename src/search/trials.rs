//! [`Trials`]: counts trials, never makes one twice, and remembers the smallest set that passed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kept, Measure, Purpose, Score, SearchError, Trial};

/// The trials of one search.
pub(super) struct Trials<'a, M: Measure> {
    measure: &'a mut M,
    budget: usize,
    /// The position in `log` of what came to each effect.
    known: BTreeMap<M::Effect, usize>,
    pub(super) log: Vec<Trial>,
    /// The smallest set that passed, of several the first, and the position of its trial.
    pub(super) smallest: (Kept, usize),
}

impl<'a, M: Measure> Trials<'a, M> {
    pub(super) fn new(measure: &'a mut M, budget: usize) -> Self {
        let (known, log) = (BTreeMap::new(), Vec::new());
        Self { measure, budget, known, log, smallest: (Kept::new(), 0) }
    }

    /// The score of a set; an error where no trial is left for it.
    pub(super) fn score(
        &mut self,
        purpose: Purpose,
        kept: &Kept,
    ) -> Result<Score, SearchError<M::Error>> {
        let effect = self.measure.effect(kept)?;
        let at = if let Some(at) = self.known.get(&effect) {
            *at
        } else {
            if self.left() == 0 {
                return Err(SearchError::Budget);
            }
            let score = self.measure.measure(kept, &effect)?;
            self.log.push(Trial { purpose, kept: kept.clone(), score });
            self.known.insert(effect, self.log.len() - 1);
            self.log.len() - 1
        };
        let score = self.log[at].score;
        let (smallest, of) = &self.smallest;
        if score.passes && (kept.len() < smallest.len() || !self.log[*of].score.passes) {
            self.smallest = (kept.clone(), at);
        }
        Ok(score)
    }

    pub(super) fn effect(&mut self, kept: &Kept) -> Result<M::Effect, M::Error> {
        self.measure.effect(kept)
    }

    /// How many trials these sets need; nothing where there are too few left.
    pub(super) fn needed(
        &mut self,
        sets: impl Iterator<Item = Kept>,
    ) -> Result<Option<usize>, M::Error> {
        let mut unknown = BTreeSet::new();
        for kept in sets {
            let effect = self.measure.effect(&kept)?;
            if !self.known.contains_key(&effect) {
                unknown.insert(effect);
            }
            if unknown.len() > self.left() {
                return Ok(None);
            }
        }
        Ok(Some(unknown.len()))
    }

    pub(super) fn left(&self) -> usize {
        self.budget.saturating_sub(self.log.len())
    }
}
