//! Changes of models whose engines do as they are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::artifact::Digest;
use crate::backend::fake::{Fake, PATIENCE, until};
use crate::deployment::{Deployment, ModelConfig};
use crate::runtime::{
    Applied, Candidate, InferError, InferRequest, InferResponse, InputTensor, Model, ModelRegistry,
    ModelState, Pending, ReloadError, ReloadRecord, VersionState,
};
use crate::tensor::Shape;

use super::memory::{Memory, Place};
use super::*;

mod applying;
mod gates;
mod low_memory;
mod watching;

/// The model of most tests.
const NAME: &str = "m";

const MIB: u64 = 1 << 20;

/// Memory of a machine that has as much as it is told.
#[derive(Clone)]
struct Machine(Arc<AtomicU64>);

impl Memory for Machine {
    fn available(&self, place: &Place) -> Option<u64> {
        (*place == Place::Host).then(|| self.0.load(Ordering::SeqCst))
    }

    fn resident(&self) -> Option<u64> {
        None
    }
}

/// A registry, and the folders of what is offered to it.
struct Rig {
    registry: ModelRegistry,
    free: Arc<AtomicU64>,
    folders: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::patient(Patience { drain: PATIENCE, answers: PATIENCE })
    }

    fn patient(patience: Patience) -> Self {
        let free = Arc::new(AtomicU64::new(1 << 40));
        let registry = ModelRegistry::with(Box::new(Machine(Arc::clone(&free))), patience);
        Self { registry, free, folders: tempfile::tempdir().unwrap() }
    }

    fn folder(&self, label: &str) -> PathBuf {
        let folder = self.folders.path().join(label);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A deployment of a fake under a label; its digest is the label's.
    fn candidate(
        &self,
        label: &str,
        fake: &Arc<Fake>,
        change: impl FnOnce(&mut ModelConfig),
    ) -> Candidate {
        let folder = self.folder(label);
        fake.save(&folder);
        let mut model = fake.config(NAME);
        change(&mut model);
        Candidate {
            deployment: Deployment::new(model),
            digest: Digest::of(label.as_bytes()),
            folder: folder.clone(),
            engine: folder,
            lease: None,
        }
    }

    /// Offers a fake that is not watched once it serves.
    fn apply(&self, label: &str, fake: &Arc<Fake>) -> Result<Applied, ReloadError> {
        self.registry.apply(self.candidate(label, fake, unwatched))
    }

    fn serving(&self) -> Arc<Model> {
        self.registry.find(NAME, None).unwrap()
    }

    fn state(&self) -> (ModelState, Option<u32>) {
        let index = self.registry.index();
        (index[0].state, index[0].version)
    }

    fn versions(&self) -> Vec<(u32, VersionState)> {
        let versions = self.registry.versions(NAME).unwrap();
        versions.iter().map(|version| (version.version, version.state)).collect()
    }

    /// Puts a number in and gives what comes out.
    fn ask(&self, value: f32) -> Result<f32, InferError> {
        Ok(first(&self.serving().submit(request(value))?.wait()?))
    }

    /// Waits until nothing but what serves, or stands by, is loaded.
    fn settled(&self) {
        assert!(self.registry.shared().tasks.wait(Instant::now() + PATIENCE));
    }
}

fn unwatched(model: &mut ModelConfig) {
    model.reload.watch_seconds = 0.0;
}

/// Multiplies by `factor`.
fn times(factor: f32) -> Arc<Fake> {
    fake(|fake| fake.factor = factor)
}

fn fake(change: impl FnOnce(&mut Fake)) -> Arc<Fake> {
    let mut fake = Fake::default();
    change(&mut fake);
    Arc::new(fake)
}

fn request(value: f32) -> InferRequest {
    let bytes: Vec<u8> = [value; 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let inputs = vec![InputTensor { shape: Shape(vec![1, 4]), bytes: Bytes::from(bytes) }];
    InferRequest { inputs, outputs: vec![0], priority: None, deadline: None }
}

fn first(response: &InferResponse) -> f32 {
    f32::from_le_bytes(*response.outputs[0].bytes.first_chunk().unwrap())
}

/// The record of the first rollback, as soon as it is written.
fn rolled_back(rig: &Rig) -> Arc<ReloadRecord> {
    until("it is rolled back", || rig.registry.index()[0].reloads.rolled_back == 1);
    until("it is written down", || {
        rig.registry.history().last().is_some_and(|last| last.outcome == Outcome::RolledBack)
    });
    rig.registry.history().last().cloned().unwrap()
}

/// The record of a refusal.
fn refused(result: Result<Applied, ReloadError>) -> Arc<ReloadRecord> {
    match result {
        Err(ReloadError::Refused(record)) => {
            assert_eq!(record.outcome, Outcome::Refused);
            record
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// What stopped it.
fn stopped_by(record: &ReloadRecord) -> &Gate {
    record.gates.iter().find(|gate| !gate.passed).unwrap()
}

fn changed(result: Result<Applied, ReloadError>) -> Arc<ReloadRecord> {
    match result {
        Ok(Applied::Changed(record)) => record,
        other => panic!("not changed: {other:?}"),
    }
}

/// A request that stays in its engine until the fake is opened.
fn stuck(model: &Model, fake: &Fake) -> Pending {
    fake.close();
    let before = fake.run_count();
    let pending = model.submit(request(1.0)).unwrap();
    until("the request runs", || fake.run_count() > before);
    pending
}
