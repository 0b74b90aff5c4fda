//! [`smallest`]: finds a smallest set of candidates that must be kept as they are for a gate to
//! hold, by trials that are counted.
//!
//! Owns which sets are tried and in which order. Knows nothing of what candidates are, of how a set
//! is measured, or of clocks: the same scores lead to the same trials and the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

mod pieces;
#[cfg(test)]
mod tests;

use pieces::{affordable, count, split};

/// The candidates that are kept, by their index. Neighbours are expected to be alike: where there
/// are too many candidates to try each, they are tried in blocks of neighbours.
pub type Kept = BTreeSet<usize>;

/// The fewest trials with which there can be a result: nothing kept, and everything kept.
pub const FEWEST_TRIALS: usize = 2;

/// What a trial came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// How much is lost: 0 is nothing, more is worse, infinity and NaN are worst.
    pub loss: f64,
    /// Whether the gate holds.
    pub passes: bool,
}

/// What tries a set.
pub trait Measure {
    /// Why a trial came to nothing.
    type Error;

    /// Tries the set: these candidates are kept, all others are not.
    fn measure(&mut self, kept: &Kept) -> Result<Score, Self::Error>;
}

/// Why there is no result.
#[derive(Debug)]
pub enum SearchError<E> {
    /// The gate does not hold even with everything kept.
    Unreachable {
        /// The score with everything kept.
        kept: Score,
    },
    /// There were fewer than [`FEWEST_TRIALS`].
    Budget,
    /// A trial came to nothing.
    Measure(E),
}

impl<E> From<E> for SearchError<E> {
    fn from(error: E) -> Self {
        Self::Measure(error)
    }
}

/// What a trial was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see what happens with nothing or everything kept.
    Ends,
    /// To see what some candidates lose by themselves: all others were kept.
    Sensitivity,
    /// To halve the range in which the number of kept ones is.
    Bisection,
    /// To see whether the others do without some that are kept.
    Reduction,
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What it was for.
    pub purpose: Purpose,
    /// What was kept.
    pub kept: Kept,
    /// What it came to.
    pub score: Score,
}

/// What some neighbouring candidates lose where they alone are not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// The candidates.
    pub candidates: Range<usize>,
    /// The loss.
    pub loss: f64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is kept; the gate holds with it.
    pub kept: Kept,
    /// The score of that.
    pub score: Score,
    /// The score with nothing kept.
    pub nothing_kept: Score,
    /// The finest that was measured of each candidate that was still in question, from the most
    /// sensitive on.
    pub sensitivities: Vec<Sensitivity>,
    /// Whether the budget sufficed to look at single candidates and to try each kept one for
    /// whether the others do without it.
    pub complete: bool,
    /// All trials, in their order.
    pub trials: Vec<Trial>,
}

/// Finds a smallest set of `candidates` to keep, in at most `budget` trials.
///
/// 1. Nothing is kept. If the gate holds, that is the result.
/// 2. Everything is kept. If the gate does not hold, there is no result.
/// 3. Each candidate alone is not kept: what that loses is its sensitivity. (Keeping one alone
///    would say little where several are bad: any of the others spoils the outputs as well.) Where
///    the budget does not suffice, blocks of neighbours take the place of candidates.
/// 4. The most sensitive ones are kept, as few of them as the gate needs, by bisection. Blocks that
///    remain are split and this repeated, what was not kept stays that way.
/// 5. What is kept is left out again, from the least sensitive on, where the gate holds without it:
///    one by one, or halves first where nearly all is kept.
///
/// Where losses add up, and the budget suffices for single candidates, no smaller set passes. Where
/// they do not, none passes that only lacks one of the kept, unless keeping less loses less.
pub fn smallest<M: Measure>(
    candidates: usize,
    budget: usize,
    measure: &mut M,
) -> Result<Found, SearchError<M::Error>> {
    let mut trials = Trials { measure, left: budget, scores: BTreeMap::new(), log: Vec::new() };
    let nothing = trials.score(Purpose::Ends, Kept::new())?.ok_or(SearchError::Budget)?;
    let mut search = Search { candidates, pieces: Vec::new(), sensitivities: Vec::new() };
    let mut complete = true;
    if !nothing.passes {
        let all: Kept = (0..candidates).collect();
        let kept = trials.score(Purpose::Ends, all)?.ok_or(SearchError::Budget)?;
        if !kept.passes {
            return Err(SearchError::Unreachable { kept });
        }
        search.pieces = std::iter::once(0..candidates).collect();
        complete = search.narrow(&mut trials)? & search.reduce(&mut trials)?;
    }
    let kept = kept(&search.pieces);
    // Every set that becomes the result was tried.
    let score = trials.scores.get(&kept).copied().unwrap_or(nothing);
    Ok(Found {
        kept,
        score,
        nothing_kept: nothing,
        sensitivities: search.sensitivities,
        complete,
        trials: trials.log,
    })
}

/// The candidates of some pieces.
fn kept(pieces: &[Range<usize>]) -> Kept {
    pieces.iter().cloned().flatten().collect()
}

/// Counts trials, and never makes one twice.
struct Trials<'a, M> {
    measure: &'a mut M,
    left: usize,
    scores: BTreeMap<Kept, Score>,
    log: Vec<Trial>,
}

impl<M: Measure> Trials<'_, M> {
    /// The score of a set; `None` where no trial is left for it.
    fn score(&mut self, purpose: Purpose, kept: Kept) -> Result<Option<Score>, M::Error> {
        if let Some(score) = self.scores.get(&kept) {
            return Ok(Some(*score));
        }
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let score = self.measure.measure(&kept)?;
        self.left = left;
        self.scores.insert(kept.clone(), score);
        self.log.push(Trial { purpose, kept, score });
        Ok(Some(score))
    }
}

/// The set as it shrinks.
struct Search {
    candidates: usize,
    /// What is kept, from the most sensitive on.
    pieces: Vec<Range<usize>>,
    sensitivities: Vec<Sensitivity>,
}

impl Search {
    /// Splits what is kept into smaller and smaller pieces and keeps as few of them as the gate
    /// needs. False where the budget ended it.
    fn narrow<M: Measure>(&mut self, trials: &mut Trials<'_, M>) -> Result<bool, M::Error> {
        loop {
            let pieces = affordable(count(&self.pieces), trials.left);
            if pieces <= self.pieces.len() && self.is_of_singles() {
                // Only where there was a single candidate from the start.
                return Ok(true);
            }
            if pieces <= self.pieces.len() {
                return Ok(false);
            }
            let pieces = split(self.pieces.clone(), pieces);
            if !(self.sort(pieces, trials)? && self.bisect(trials)?) {
                return Ok(false);
            }
            if self.is_of_singles() {
                return Ok(true);
            }
        }
    }

    fn is_of_singles(&self) -> bool {
        self.pieces.iter().all(|piece| piece.len() == 1)
    }

    /// Takes the pieces, from the most sensitive on. False, and nothing changed, where the budget
    /// does not suffice.
    fn sort<M: Measure>(
        &mut self,
        pieces: Vec<Range<usize>>,
        trials: &mut Trials<'_, M>,
    ) -> Result<bool, M::Error> {
        let mut sensitivities = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let others = (0..self.candidates).filter(|index| !piece.contains(index)).collect();
            let Some(score) = trials.score(Purpose::Sensitivity, others)? else {
                return Ok(false);
            };
            // The order of floats has NaN with a sign below all numbers.
            let loss = if score.loss.is_nan() { f64::INFINITY } else { score.loss };
            sensitivities.push(Sensitivity { candidates: piece, loss });
        }
        sensitivities.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        self.pieces = sensitivities.iter().map(|one| one.candidates.clone()).collect();
        self.sensitivities = sensitivities;
        Ok(true)
    }

    /// Keeps as few of the pieces, from the most sensitive on, as pass. False where the budget
    /// ended it; what is kept then passes, too.
    fn bisect<M: Measure>(&mut self, trials: &mut Trials<'_, M>) -> Result<bool, M::Error> {
        let (mut fails, mut passes) = (0, self.pieces.len());
        while passes - fails > 1 {
            let middle = fails.midpoint(passes);
            match trials.score(Purpose::Bisection, kept(&self.pieces[..middle]))? {
                Some(score) if score.passes => passes = middle,
                Some(_) => fails = middle,
                None => break,
            }
        }
        self.pieces.truncate(passes);
        Ok(passes - fails <= 1)
    }

    /// Leaves out what the others do without. Where more than half is kept, the sensitivities said
    /// little, because what is lost is lost together: then halves are left out first, and halves of
    /// those. False where the budget ended it.
    fn reduce<M: Measure>(&mut self, trials: &mut Trials<'_, M>) -> Result<bool, M::Error> {
        let said_little = self.pieces.len() * 2 > self.sensitivities.len();
        let mut size = if said_little { self.pieces.len().div_ceil(2) } else { 1 };
        loop {
            let mut end = self.pieces.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let without = [&self.pieces[..start], &self.pieces[end..]].concat();
                match trials.score(Purpose::Reduction, kept(&without))? {
                    Some(score) if score.passes => self.pieces = without,
                    Some(_) => {}
                    None => return Ok(false),
                }
                end = start;
            }
            if size <= 1 {
                return Ok(true);
            }
            size /= 2;
        }
    }
}
