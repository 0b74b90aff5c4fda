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

use super::MakeModel;
use super::measured::Measured;
use super::memory::Memory;
use super::settings::Objective;

/// Scores sets of nodes.
pub(super) struct Trials<'a> {
    pub(super) names: &'a [String],
    pub(super) make: &'a MakeModel<'a>,
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
    pub(super) measured: Vec<(Kept, Measured)>,
    /// How many were known from an earlier run.
    pub(super) remembered: usize,
}

impl Trials<'_> {
    fn try_out(&mut self, kept: &[&str]) -> Result<Measured, StageError> {
        let folder = tempfile::tempdir_in(self.scratch)
            .map_err(StageError::io("create a folder in", self.scratch))?;
        (self.make)(kept, folder.path())?;
        let engine = self.backend.reference(&onnx::locate(folder.path())?, &[])?;
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

/// The name under which a set is remembered.
fn digest(kept: &[&str]) -> Digest {
    let lengths = kept.iter().flat_map(|name| [name.len().to_string(), (*name).to_owned()]);
    Digest::of(lengths.collect::<Vec<_>>().join(":").as_bytes())
}

impl Measure for Trials<'_> {
    type Error = StageError;

    fn measure(&mut self, kept: &Kept) -> Result<Score, StageError> {
        let (done, total) = (self.measured.len() as u64, self.budget as u64);
        if self.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        self.progress.report("searching", done, Some(total));
        let names: Vec<&str> =
            kept.iter().filter_map(|&index| Some(self.names.get(index)?.as_str())).collect();
        let set = digest(&names);
        let known = self.memory.get(&set);
        self.remembered += usize::from(known.is_some());
        let measured = if let Some(measured) = known {
            measured
        } else {
            let measured = self.try_out(&names)?;
            self.memory.put(&set, measured);
            measured
        };
        self.measured.push((kept.clone(), measured));
        Ok(measured.score(self.objective))
    }
}
