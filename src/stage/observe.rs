//! Runs a model over samples and shows what its tensors hold, batch by batch, on every core.
//!
//! Owns feeding and the sharing of work. Knows nothing of what is looked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::{Backend, Engine, ExecutionContext};
use crate::data::{Column, DataError, Dataset};
use crate::process::{self, CancelToken};
use crate::progress::Progress;
use crate::source::{Span, Spanned};
use crate::tensor::{Dim, Shape, Tensor, TensorSpec};

use super::StageError;
use super::assess::{Batch, BatchSizes, cover};

/// Sees what the tensors hold.
pub(super) trait Visitor: Send {
    /// What tensor `tensor` holds for the samples of a batch, from sample `first` on.
    fn see(&mut self, tensor: usize, first: usize, bytes: &[u8]) -> Result<(), StageError>;
}

/// What to run, and on what.
pub(super) struct Observation<'a> {
    /// Runs the model.
    pub(super) backend: &'a dyn Backend,
    /// The model.
    pub(super) model: &'a Path,
    /// The tensors to look at.
    pub(super) tensors: &'a [String],
    /// The samples.
    pub(super) data: &'a Dataset,
    /// At most so many of them, from the first on.
    pub(super) most_samples: Option<usize>,
    /// Samples in a batch; where it is not given, as many as fit a mebibyte, at most 8.
    pub(super) batch: Option<Spanned<usize>>,
    /// The setting to blame where the data does not fit.
    pub(super) span: Span,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancelToken,
}

/// What an observation looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Observed {
    /// Samples, each once.
    pub(super) samples: usize,
    /// Samples in a batch.
    pub(super) batch: usize,
}

/// Bytes of input in a batch whose size nobody gave.
const BATCH_BYTES: usize = 1 << 20;
/// More take more memory and no less time: every core has a batch of its own, and the activations
/// of a larger one leave its caches.
const LARGEST_BATCH: usize = 8;

impl Observation<'_> {
    /// Shows every tensor of every batch to a visitor, of which each thread has its own; gives the
    /// visitors back. `make` gets the tensors as the model has them. What visitors add up must not
    /// depend on the order of batches nor on how they are shared out.
    pub(super) fn run<V: Visitor>(
        &self,
        make: impl Fn(&[TensorSpec]) -> V + Sync,
    ) -> Result<(Vec<V>, Observed), StageError> {
        let engine = self.backend.observer(self.model, self.tensors)?;
        process::give_back_freed();
        let feed = Feed::new(engine.as_ref(), self)?;
        let workers = rayon::current_num_threads().clamp(1, feed.batches.len().max(1));
        let mut results: Vec<Option<Result<V, StageError>>> = (0..workers).map(|_| None).collect();
        let turns = Turns::default();
        rayon::scope(|scope| {
            for result in &mut results {
                let (engine, feed, turns, make) = (&engine, &feed, &turns, &make);
                scope.spawn(move |_| *result = Some(self.work(engine, feed, turns, make)));
            }
        });
        let visitors = results.into_iter().flatten().collect::<Result<_, _>>()?;
        let (samples, batch) = (feed.samples, feed.batch);
        drop((feed, engine));
        process::give_back_freed();
        Ok((visitors, Observed { samples, batch }))
    }

    /// Takes batches while there are any.
    fn work<V: Visitor>(
        &self,
        engine: &Arc<dyn Engine>,
        feed: &Feed<'_>,
        turns: &Turns,
        make: impl Fn(&[TensorSpec]) -> V,
    ) -> Result<V, StageError> {
        let mut visitor = make(engine.outputs());
        let mut context = Arc::clone(engine).new_context()?;
        context.stop_at(self.cancel);
        while let Some(batch) = feed.batches.get(turns.taken.fetch_add(1, Ordering::Relaxed)) {
            if self.cancel.is_cancelled() {
                return Err(StageError::Cancelled);
            }
            let shown = Self::show(*batch, engine, feed, context.as_mut(), &mut visitor);
            if shown.is_err() {
                // Nobody takes another one.
                turns.taken.store(feed.batches.len(), Ordering::Relaxed);
            }
            shown?;
            let fresh = batch.end - batch.fresh;
            let done = turns.done.fetch_add(fresh, Ordering::Relaxed) + fresh;
            self.progress.report("samples", done as u64, Some(feed.samples as u64));
        }
        Ok(visitor)
    }

    fn show(
        batch: Batch,
        engine: &Arc<dyn Engine>,
        feed: &Feed<'_>,
        context: &mut dyn ExecutionContext,
        visitor: &mut impl Visitor,
    ) -> Result<(), StageError> {
        feed.fill(batch, context)?;
        context.run()?;
        for tensor in 0..engine.outputs().len() {
            let (shape, bytes) = context.output(tensor)?;
            let count = batch.end - batch.start;
            // Samples that an earlier batch had are not shown again.
            let row = match shape.0.first() {
                Some(first) if *first == count && !feed.is_unbatched => bytes.len() / count,
                _ => 0,
            };
            let fresh = bytes.get(row * (batch.fresh - batch.start)..).unwrap_or_default();
            visitor.see(tensor, batch.fresh, fresh)?;
        }
        Ok(())
    }
}

/// How far the work is.
#[derive(Debug, Default)]
struct Turns {
    /// Batches that somebody took.
    taken: AtomicUsize,
    /// Samples that were shown.
    done: AtomicUsize,
}

/// The samples, as the model takes them.
struct Feed<'a> {
    arrays: Vec<Column<'a>>,
    /// Whether the model has no batch axis: a sample is a run.
    is_unbatched: bool,
    batches: Vec<Batch>,
    samples: usize,
    batch: usize,
}

impl<'a> Feed<'a> {
    fn new(engine: &dyn Engine, asked: &Observation<'a>) -> Result<Self, StageError> {
        let (data, inputs) = (asked.data, engine.inputs());
        let (arrays, is_unbatched) = match data.columns_for(inputs) {
            Ok(arrays) => (arrays, false),
            Err(error) => match data.columns_for(&one_axis_more(inputs)) {
                Ok(arrays) if !inputs.is_empty() => (arrays, true),
                _ => return Err(error.into()),
            },
        };
        let samples = data.common_samples(&arrays)?.min(asked.most_samples.unwrap_or(usize::MAX));
        let sizes =
            if is_unbatched { BatchSizes::of(&[], &[]) } else { BatchSizes::of(inputs, &[]) };
        let taken = |size| if is_unbatched { size == 1 } else { sizes.takes(size) };
        if let Some(batch) = asked.batch.filter(|batch| !taken(batch.value)) {
            let (message, help) = if is_unbatched {
                let message =
                    format!("`batch` is {batch}, the model takes one sample, without an axis");
                (message, "remove `batch`".to_owned())
            } else {
                let message = format!("`batch` is {batch}, the model takes batches of {sizes}");
                (
                    message,
                    "remove it, or give the model to `optimize` with `batch: dynamic`".to_owned(),
                )
            };
            return Err(StageError::Setting { message, span: batch.span, help: Some(help) });
        }
        let wanted = match asked.batch {
            _ if is_unbatched => 1,
            Some(batch) => batch.value,
            None => fitting(&arrays),
        };
        let batch = sizes.nearest(wanted.min(samples)).unwrap_or(0);
        let batches = cover(samples, batch, &sizes).filter(|_| batch <= samples);
        let batches = batches.ok_or_else(|| StageError::Setting {
            message: format!("the model takes batches of {sizes} samples, the data has {samples}"),
            span: asked.span,
            help: Some("give more samples".into()),
        })?;
        Ok(Self { arrays, is_unbatched, batches, samples, batch })
    }

    fn fill(&self, batch: Batch, context: &mut dyn ExecutionContext) -> Result<(), StageError> {
        for (index, array) in self.arrays.iter().enumerate() {
            let rows = array.rows(batch.start, batch.end)?;
            if self.is_unbatched {
                let shape = Shape(rows.shape().0.get(1..).unwrap_or_default().to_vec());
                let row = Tensor::from_bytes(rows.dtype(), shape, rows.bytes());
                context.fill(index, array.name(), &row.map_err(DataError::from)?)?;
            } else {
                context.fill(index, array.name(), &rows)?;
            }
        }
        Ok(())
    }
}

/// What the arrays of a model without a batch axis look like.
fn one_axis_more(inputs: &[TensorSpec]) -> Vec<TensorSpec> {
    let more = |input: &TensorSpec| {
        let dims = input.dims.iter().flatten().cloned();
        let dims = input.dims.is_some().then(|| std::iter::once(Dim::Any).chain(dims).collect());
        TensorSpec { dims, ..input.clone() }
    };
    inputs.iter().map(more).collect()
}

/// How many samples of these arrays are a batch of a good size.
fn fitting(arrays: &[Column<'_>]) -> usize {
    let bytes = |array: &Column<'_>| {
        let row = array
            .shape()
            .0
            .iter()
            .skip(1)
            .fold(1_usize, |product, extent| product.saturating_mul(*extent));
        row.saturating_mul(array.dtype().size())
    };
    let sample = arrays.iter().map(bytes).fold(0_usize, usize::saturating_add);
    (BATCH_BYTES / sample.max(1)).clamp(1, LARGEST_BATCH)
}
