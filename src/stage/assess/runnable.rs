//! [`Runnable`]: an engine, fed from a data set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Engine, ExecutionContext};
use crate::data::{Column, Dataset};
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::source::Span;
use crate::stage::StageError;
use crate::tensor::{DType, Shape, Tensor, TensorSpec, to_f64};

/// An error about a setting.
pub(crate) fn setting(message: String, span: Span, help: Option<String>) -> StageError {
    StageError::Setting { message, span, help }
}

/// An engine with a context of its own and the arrays that feed it.
pub(crate) struct Runnable<'a> {
    pub(crate) engine: Arc<dyn Engine>,
    context: Box<dyn ExecutionContext>,
    arrays: Vec<Column<'a>>,
}

/// One output of one run, decoded.
pub(crate) struct Values {
    pub(crate) shape: Shape,
    pub(crate) values: Vec<f64>,
}

/// The samples of one batch by array and element type, so that what two engines share is read once.
pub(crate) type Feed = BTreeMap<(String, DType), Tensor>;

impl<'a> Runnable<'a> {
    /// Fails where the data does not have what the engine's inputs need.
    pub(crate) fn new(engine: Arc<dyn Engine>, data: &'a Dataset) -> Result<Self, StageError> {
        let arrays = data.columns_for(engine.inputs())?;
        let context = Arc::clone(&engine).new_context()?;
        Ok(Self { engine, context, arrays })
    }

    pub(crate) fn arrays(&self) -> &[Column<'a>] {
        &self.arrays
    }

    /// Reads the samples of its inputs, but for those that are in `feed` already.
    pub(crate) fn read(&self, start: usize, end: usize, feed: &mut Feed) -> Result<(), StageError> {
        for array in &self.arrays {
            let key = (array.name().to_owned(), array.dtype());
            if let Entry::Vacant(place) = feed.entry(key) {
                place.insert(array.rows(start, end)?);
            }
        }
        Ok(())
    }

    /// From now on runs end early once this says so.
    pub(crate) fn stop_at(&mut self, cancel: &CancelToken) {
        self.context.stop_at(cancel);
    }

    /// Runs on what was read.
    pub(crate) fn run(&mut self, feed: &Feed) -> Result<(), StageError> {
        self.fill(feed)?;
        self.context.run()?;
        Ok(())
    }

    fn fill(&mut self, feed: &Feed) -> Result<(), StageError> {
        for (index, array) in self.arrays.iter().enumerate() {
            let key = (array.name().to_owned(), array.dtype());
            let Some(tensor) = feed.get(&key) else { continue };
            self.context.fill(index, array.name(), tensor)?;
        }
        Ok(())
    }

    /// An output of the last run.
    pub(crate) fn output(&self, index: usize, spec: &TensorSpec) -> Result<Values, StageError> {
        let (shape, bytes) = self.context.output(index)?;
        Ok(Values { shape: shape.clone(), values: to_f64(spec.dtype, bytes) })
    }

    /// Takes the first `batch` samples, for runs that are timed.
    pub(crate) fn hold(&mut self, batch: usize) -> Result<(), StageError> {
        let mut feed = Feed::new();
        self.read(0, batch, &mut feed)?;
        self.fill(&feed)
    }

    /// One run on what it holds, and how long it took.
    pub(crate) fn timed_run(&mut self) -> Result<Duration, StageError> {
        let start = Instant::now();
        self.context.run()?;
        Ok(start.elapsed())
    }
}

/// Tells progress and obeys cancellation.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: &'a CancelToken,
}

impl Watch<'_> {
    pub(crate) fn step(&self, phase: &str, done: usize, total: usize) -> Result<(), StageError> {
        if self.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        self.progress.report(phase, done as u64, Some(total as u64));
        Ok(())
    }
}
