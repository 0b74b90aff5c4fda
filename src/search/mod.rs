//! [`smallest`]: finds a smallest set of candidates that must be kept as they are for a gate to
//! hold, by trials that are counted.
//!
//! Owns which sets are tried and in which order. Knows nothing of what candidates are, of how a set
//! is measured, or of clocks: the same scores lead to the same trials and the same result.

use std::collections::BTreeSet;

mod shrink;
#[cfg(test)]
mod tests;
mod trials;

use shrink::Search;
use trials::Trials;

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

impl Score {
    /// The loss as a number: the order of floats has NaN with a sign below all numbers.
    fn loss(self) -> f64 {
        if self.loss.is_nan() { f64::INFINITY } else { self.loss }
    }
}

/// What tries a set.
pub trait Measure {
    /// Why a trial came to nothing.
    type Error;

    /// What sets have in common that come to the same. Some candidates may be kept with others:
    /// then naming them makes no difference.
    type Effect: Clone + Ord;

    /// What keeping these candidates, and no others, comes to, without trying it.
    fn effect(&mut self, kept: &Kept) -> Result<Self::Effect, Self::Error>;

    /// Tries the set: these candidates are kept, all others are not.
    fn measure(&mut self, kept: &Kept, effect: &Self::Effect) -> Result<Score, Self::Error>;
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
    /// To see whether the most sensitive ones are enough to keep.
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

/// What some candidates lose where they alone are not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// The candidates, by their index, in order.
    pub candidates: Vec<usize>,
    /// The loss; nothing where that comes to the same as keeping them, too.
    pub loss: Option<f64>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is kept; the gate holds with it.
    pub kept: Kept,
    /// The trial that this came to the same as, by its index.
    pub trial: usize,
    /// What was measured of candidates by themselves, from the most sensitive on.
    pub sensitivities: Vec<Sensitivity>,
    /// Whether the search came to its end before the budget did.
    pub complete: bool,
    /// All trials, in their order; the first kept nothing.
    pub trials: Vec<Trial>,
}

/// Finds a smallest set of `candidates` to keep, in at most `budget` trials. Sets of one effect
/// share a trial.
///
/// 1. Nothing is kept. If the gate holds, that is the result.
/// 2. Everything is kept. If the gate does not hold, there is no result.
/// 3. Each candidate alone is not kept: what that loses is its sensitivity. (Keeping one alone
///    would say little where several are bad: any of the others spoils the outputs as well.) The
///    most sensitive ones are kept, as few of them as the gate needs, by bisection.
/// 4. What is kept is left out again, from the least sensitive on, where the gate holds without it:
///    one by one, or halves first where nearly all is kept.
///
/// Where the budget does not suffice for step 3, blocks take its place:
///
/// 1. What is kept in any case where the others are is left out, which takes no trial.
/// 2. What is kept is halved. Of two halves, the one goes that the gate holds without and that
///    loses less; what stays is halved again, the larger blocks first.
/// 3. One less than the number of those that remain are looked for, from the most sensitive on: the
///    most sensitive block is halved until it is a single one. If the gate holds with these, as few
///    of them as it needs are kept.
///
/// The result is the smallest set that was seen to pass. In blocks, the budget decides nothing but
/// where the search ends: a larger one never keeps more.
///
/// Where losses add up, no smaller set passes than that of a search that is complete. Where they do
/// not, none passes that only lacks one of the kept, unless keeping less loses less.
pub fn smallest<M: Measure>(
    candidates: usize,
    budget: usize,
    measure: &mut M,
) -> Result<Found, SearchError<M::Error>> {
    let mut trials = Trials::new(measure, budget);
    let nothing = trials.score(Purpose::Ends, &Kept::new())?;
    let (mut complete, mut sensitivities) = (true, Vec::new());
    if !nothing.passes {
        let kept = trials.score(Purpose::Ends, &(0..candidates).collect())?;
        if !kept.passes {
            return Err(SearchError::Unreachable { kept });
        }
        let mut search = Search::new(candidates, &mut trials);
        complete = match search.run() {
            Ok(()) => true,
            Err(SearchError::Budget) => false,
            Err(error) => return Err(error),
        };
        sensitivities = search.sensitivities;
    }
    let (kept, trial) = trials.smallest;
    Ok(Found { kept, trial, sensitivities, complete, trials: trials.log })
}
