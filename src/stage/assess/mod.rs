//! Runs an engine over samples, beside a reference, and adds up how far their outputs differ and how
//! many answers are right.
//!
//! Owns which samples run together and what is counted. Knows nothing of what the numbers should be,
//! nor of what is made of them.

mod accuracy;
pub(super) mod batches;
mod labels;
mod runnable;
mod runner;
mod score;

pub use accuracy::{Accuracy, AccuracyMetric};
pub(super) use batches::{Batch, BatchSizes, cover};
pub(super) use labels::Labels;
pub(super) use runnable::{Runnable, Watch, setting};
pub(super) use runner::{Findings, Lane, Nans, Question, run};

/// Rounds off what is only the representation of decimals: 0.97 is not below 0.97.
pub(super) const SLACK: f64 = 1e-12;
