//! [`Inputs`]: everything a pipeline reads, by content, and what differs between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::artifact::{Digest, StoreError};
use crate::execute::Executor;
use crate::execute::event::{RunEvent, Trigger};
use crate::plan::Plan;

/// Everything a pipeline reads: its spec and its root files.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    files: BTreeMap<PathBuf, File>,
    /// The files and folders as the plan names them.
    named: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct File {
    /// `None` where there is none, or it cannot be read.
    content: Option<Digest>,
    /// The stages that read it; none read the spec.
    stages: BTreeSet<String>,
}

/// A file that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    path: String,
    /// `changed`, `added` or `removed`.
    how: &'static str,
    stages: Vec<String>,
}

impl Inputs {
    /// What a run is going to read; `None` while something is being written.
    pub(super) fn of(plan: &Plan, executor: &Executor<'_>) -> Option<Self> {
        let mut inputs = Self::default();
        let spec = plan.spec();
        let text = Digest::of(spec.source.text.as_bytes());
        inputs.named.insert(spec.path.clone());
        inputs
            .files
            .insert(spec.path.clone(), File { content: Some(text), stages: BTreeSet::new() });
        for root in executor.root_files() {
            let stage = &plan.stages()[root.stage].name.value;
            inputs.named.insert(root.path.to_owned());
            match root.content {
                Some(Err(StoreError::Changing { .. })) => return None,
                Some(Ok(stamp)) => {
                    for (name, file) in stamp.files() {
                        let path = match name {
                            "" => root.path.to_owned(),
                            name => root.path.join(name),
                        };
                        inputs.add(path, Some(file.digest), stage);
                    }
                }
                None | Some(Err(_)) => inputs.add(root.path.to_owned(), None, stage),
            }
        }
        Some(inputs)
    }

    fn add(&mut self, path: PathBuf, content: Option<Digest>, stage: &str) {
        let file = self.files.entry(path).or_default();
        file.content = content;
        file.stages.insert(stage.to_owned());
    }

    /// The files and folders as the plan names them.
    pub(super) fn named(&self) -> &BTreeSet<PathBuf> {
        &self.named
    }

    /// What is not as it was in `earlier`.
    pub(super) fn changes_since(&self, earlier: &Self) -> Vec<Change> {
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(earlier.files.keys()).collect();
        paths.into_iter().filter_map(|path| self.change_since(earlier, path)).collect()
    }

    fn change_since(&self, earlier: &Self, path: &Path) -> Option<Change> {
        // That the spec names a file more, or one less, is a change of the spec alone.
        if !self.covers(path) || !earlier.covers(path) {
            return None;
        }
        let (new, old) = (self.files.get(path), earlier.files.get(path));
        let content = |file: Option<&File>| file.and_then(|file| file.content);
        let how = match (content(old), content(new)) {
            (old, new) if old == new => return None,
            (None, _) => "added",
            (_, None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
        let stages = new.or(old).map(|file| file.stages.iter().cloned().collect());
        Some(Change { path: shown(path), how, stages: stages.unwrap_or_default() })
    }

    /// Whether a path, or a folder it is in, is named.
    fn covers(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.named.contains(above))
    }
}

impl Change {
    /// The line that tells people.
    pub(super) fn words(&self) -> String {
        let Self { path, how, stages } = self;
        match &stages[..] {
            [] => format!("{path} {how}"),
            stages => format!("{path} {how}, read by {}", stages.join(", ")),
        }
    }
}

/// The event that says why a pipeline is run again.
pub(super) fn triggered(plan: &Plan, because: Trigger, changes: &[Change]) -> RunEvent {
    let stages: BTreeSet<&String> = changes.iter().flat_map(|change| &change.stages).collect();
    let in_order = plan.order().iter().map(|at| &plan.stages()[*at].name.value);
    RunEvent::WatchTriggered {
        pipeline: plan.spec().name.value.clone(),
        because,
        paths: changes.iter().map(|change| change.path.clone()).collect(),
        stages: in_order.filter(|name| stages.contains(name)).cloned().collect(),
    }
}

/// A path as the user would write it.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
