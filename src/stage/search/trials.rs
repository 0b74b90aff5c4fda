//! [`Trials`]: makes the model in which a set of nodes is kept, and runs it over the samples.

use std::path::Path;
use std::sync::Arc;

use crate::artifact::Digest;
use crate::backend::Backend;
use crate::onnx;
use crate::process::CancelToken;
use crate::progress::{NoProgress, Progress};
use crate::search::{Kept, Measure, Score};
use crate::stage::StageError;
use crate::stage::assess::{self, Lane, Question, Runnable, Watch};

use super::measured::Measured;
use super::memory::Memory;
use super::settings::Objective;
use super::{Effect, MakeModel};

/// Scores sets of nodes.
pub(super) struct Trials<'a> {
    pub(super) names: &'a [String],
    pub(super) make: &'a MakeModel<'a>,
    pub(super) effect: &'a Effect<'a>,
    pub(super) backend: &'static dyn Backend,
    pub(super) data: &'a crate::data::Dataset,
    /// The model as it was, once for each batch that runs at the same time.
    pub(super) references: Vec<Runnable<'a>>,
    pub(super) question: Question<'a>,
    pub(super) objective: &'a Objective,
    pub(super) memory: Memory,
    pub(super) scratch: &'a Path,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancelToken,
    pub(super) budget: usize,
    /// What every trial came to, in their order.
    pub(super) measured: Vec<Measured>,
    /// How many were known from an earlier run.
    pub(super) remembered: usize,
}

impl<'a> Trials<'a> {
    fn names(&self, kept: &Kept) -> Vec<&'a str> {
        kept.iter().filter_map(|&index| Some(self.names.get(index)?.as_str())).collect()
    }

    fn try_out(&mut self, kept: &[&str]) -> Result<Measured, StageError> {
        let folder = tempfile::tempdir_in(self.scratch)
            .map_err(StageError::io("create a folder in", self.scratch))?;
        (self.make)(kept, folder.path())?;
        let model = onnx::locate(folder.path())?;
        let is_first = self.measured.len() == self.remembered;
        let engine = if is_first {
            self.backend.reference(&model, &[])?
        } else {
            self.backend.another(&model)?
        };
        let tested = self.references.iter().map(|_| Runnable::new(Arc::clone(&engine), self.data));
        let tested = tested.collect::<Result<Vec<_>, _>>()?;
        let references = self.references.drain(..).map(Some);
        let mut lanes: Vec<Lane<'_>> = tested
            .into_iter()
            .zip(references)
            .map(|(tested, reference)| Lane { tested, reference })
            .collect();
        let watch = Watch { progress: &NoProgress, cancel: self.cancel };
        let findings = assess::run(&mut lanes, &self.question, watch);
        self.references.extend(lanes.into_iter().filter_map(|lane| lane.reference));
        Ok(Measured::of(&findings?))
    }
}

impl Measure for Trials<'_> {
    type Error = StageError;
    type Effect = Digest;

    fn effect(&mut self, kept: &Kept) -> Result<Digest, StageError> {
        if self.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        (self.effect)(&self.names(kept))
    }

    fn measure(&mut self, kept: &Kept, effect: &Digest) -> Result<Score, StageError> {
        let (done, total) = (self.measured.len() as u64, self.budget as u64);
        self.progress.report("searching", done, Some(total));
        let known = self.memory.get(effect);
        let measured = if let Some(measured) = known {
            measured
        } else {
            let measured = self.try_out(&self.names(kept))?;
            self.memory.put(effect, measured);
            measured
        };
        self.remembered += usize::from(known.is_some());
        self.measured.push(measured);
        Ok(measured.score(self.objective))
    }
}
