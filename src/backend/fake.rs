//! [`Fake`]: an engine whose answers are arithmetic and whose faults are ordered, for tests of
//! what stands on the traits.
//!
//! Output `i` is input `i` (the last one where there are fewer) times `factor`. A fake is used
//! directly ([`Fake::engine`]) or, for code that loads engines from folders, saved into one
//! ([`Fake::save`]) and found again by the backend called `fake`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::artifact::Digest;
use crate::deployment::{
    CudaGraphs, EngineConfig, ModelConfig, OnDeviceFailure, Placement, QueueConfig, ReloadConfig,
    WarmupConfig,
};
use crate::tensor::{AlignedBytes, DType, Dim, Shape, TensorSpec};

use super::{
    Backend, BackendError, CompileRequest, Engine, EngineManifest, EngineMemory, ExecutionContext,
    LoadOptions, Profile, RunTimes, shapes, tensorrt,
};

/// The backend's name.
pub(crate) const NAME: &str = "fake";

/// How long a test waits for what must come: far longer than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` holds; panics where it does not come to hold.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A float32 tensor of these axes: numbers are fixed, names are symbols.
pub(crate) fn spec(name: &str, axes: &[&str]) -> TensorSpec {
    let dim = |axis: &&str| match axis.parse() {
        Ok(extent) => Dim::Fixed(extent),
        Err(_) => Dim::Symbol((*axis).to_owned()),
    };
    let dims = Some(axes.iter().map(dim).collect());
    TensorSpec { name: name.to_owned(), dtype: DType::Float32, dims }
}

/// A model whose engine does as it is told, while tests look on.
pub(crate) struct Fake {
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) factor: f32,
    /// How long each run takes.
    pub(crate) slow: Duration,
    /// Batches run at a multiple of this many samples.
    pub(crate) granularity: usize,
    /// It computes on this processor.
    pub(crate) is_on_host: bool,
    /// Loading fails.
    pub(crate) corrupt: AtomicBool,
    /// Making contexts fails.
    pub(crate) no_contexts: AtomicBool,
    /// Outputs come with a row too few.
    pub(crate) short_outputs: AtomicBool,
    pub(crate) memory: Option<EngineMemory>,
    /// Contexts ever made, and those that are there now.
    pub(crate) contexts: AtomicUsize,
    pub(crate) live_contexts: AtomicUsize,
    /// Runs ever started.
    pub(crate) runs: AtomicUsize,
    /// Runs that ended well.
    pub(crate) finished: AtomicUsize,
    /// Extents of axis 0 of input 0 of every run, in the order of starting.
    batches: Mutex<Vec<usize>>,
    /// Input 0 of the run that started last.
    last_input: Mutex<Vec<u8>>,
    /// Where the last run was.
    last_thread: Mutex<Option<ThreadId>>,
    held: Mutex<BTreeSet<usize>>,
    fails: Mutex<BTreeSet<usize>>,
    panics: Mutex<BTreeSet<usize>>,
    batch_panics: Mutex<BTreeSet<usize>>,
    losses: Mutex<BTreeSet<usize>>,
    is_lost: AtomicBool,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new(vec![spec("x", &["batch", "4"])], vec![spec("y", &["batch", "4"])])
    }
}

impl Fake {
    pub(crate) fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Self {
        Self {
            inputs,
            outputs,
            profiles: Vec::new(),
            factor: 2.0,
            slow: Duration::ZERO,
            granularity: 1,
            is_on_host: false,
            corrupt: AtomicBool::new(false),
            no_contexts: AtomicBool::new(false),
            short_outputs: AtomicBool::new(false),
            memory: None,
            contexts: AtomicUsize::new(0),
            live_contexts: AtomicUsize::new(0),
            runs: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            batches: Mutex::default(),
            last_input: Mutex::default(),
            last_thread: Mutex::default(),
            held: Mutex::default(),
            fails: Mutex::default(),
            panics: Mutex::default(),
            batch_panics: Mutex::default(),
            losses: Mutex::default(),
            is_lost: AtomicBool::new(false),
            closed: Mutex::default(),
            opened: Condvar::new(),
        }
    }

    /// Loads it.
    pub(crate) fn engine(self: &Arc<Self>) -> Arc<dyn Engine> {
        Arc::new(FakeEngine(Arc::clone(self)))
    }

    /// A deployment's words for it: one instance, no batching, no warm-up.
    pub(crate) fn config(&self, name: &str) -> ModelConfig {
        ModelConfig {
            name: name.to_owned(),
            engine: EngineConfig {
                digest: Digest::of(name.as_bytes()),
                backend: NAME.to_owned(),
                inputs: self.inputs.clone(),
                outputs: self.outputs.clone(),
                profiles: Vec::new(),
            },
            batching: None,
            queue: QueueConfig::default(),
            warmup: WarmupConfig { iterations: 0, data: None },
            reload: ReloadConfig::default(),
            instances: 1,
            devices: None,
            placement: Placement::default(),
            on_device_failure: OnDeviceFailure::default(),
            cuda_graphs: CudaGraphs::default(),
            requires: Vec::new(),
        }
    }

    /// Makes a folder one from which the backend called `fake` loads it.
    pub(crate) fn save(self: &Arc<Self>, folder: &Path) {
        let manifest = EngineManifest {
            format: EngineManifest::FORMAT,
            backend: NAME.to_owned(),
            file: PathBuf::from("fake"),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            profiles: self.profiles.clone(),
            library: BTreeMap::new(),
            tensorrt: None,
        };
        let text = serde_json::to_vec(&manifest).unwrap();
        std::fs::write(folder.join(EngineManifest::FILE), text).unwrap();
        SAVED.lock().unwrap().insert(folder.to_owned(), Arc::clone(self));
    }

    /// Runs that start from now on wait until [`Fake::open`].
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    /// Lets all runs go on.
    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// The run of this number waits until [`Fake::release_runs`].
    pub(crate) fn hold_run(&self, number: usize) {
        self.held.lock().unwrap().insert(number);
    }

    /// Lets runs go on that were held by number.
    pub(crate) fn release_runs(&self) {
        let closed = self.closed.lock().unwrap();
        self.held.lock().unwrap().clear();
        drop(closed);
        self.opened.notify_all();
    }

    /// The first run fails.
    pub(crate) fn fail_first(&self) {
        self.fail_run(0);
    }

    /// Outputs come with a row too few.
    pub(crate) fn shorten_outputs(&self) {
        self.short_outputs.store(true, Ordering::SeqCst);
    }

    /// The run of this number panics if its batch is larger than 3.
    pub(crate) fn panic_in_batch(&self, number: usize) {
        self.batch_panics.lock().unwrap().insert(number);
    }

    /// The bytes of input 0 of the run that started last.
    pub(crate) fn last_input(&self) -> Vec<u8> {
        self.last_input.lock().unwrap().clone()
    }

    /// Where the last run was.
    pub(crate) fn last_thread(&self) -> Option<ThreadId> {
        *self.last_thread.lock().unwrap()
    }

    /// The run of this number, counted from 0 over all contexts, gives an error.
    pub(crate) fn fail_run(&self, number: usize) {
        self.fails.lock().unwrap().insert(number);
    }

    /// The run of this number panics.
    pub(crate) fn panic_in_run(&self, number: usize) {
        self.panics.lock().unwrap().insert(number);
    }

    /// Its device is lost in the run of this number: that one fails and all later uses of it.
    pub(crate) fn lose_in_run(&self, number: usize) {
        self.losses.lock().unwrap().insert(number);
    }

    /// Its device is lost from now on.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }

    /// An error once its device is lost.
    fn hold(&self) -> Result<(), BackendError> {
        let lost = || BackendError::DeviceLost { device: 0, reason: "as ordered".to_owned() };
        if self.is_lost.load(Ordering::SeqCst) { Err(lost()) } else { Ok(()) }
    }

    /// Extents of axis 0 of input 0 of every run.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    /// Runs ever started.
    pub(crate) fn run_count(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

static SAVED: Mutex<BTreeMap<PathBuf, Arc<Fake>>> = Mutex::new(BTreeMap::new());

/// Loads what [`Fake::save`] saved.
pub(crate) struct FakeBackend;

impl Backend for FakeBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tools(&self, _: &tensorrt::Options) -> Result<BTreeMap<String, String>, BackendError> {
        Ok(BTreeMap::new())
    }

    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        let model = request.model.display().to_string();
        Err(BackendError::Compile { model, reason: "fakes are not compiled".to_owned() })
    }

    fn load(
        &self,
        folder: &Path,
        _: &EngineManifest,
        _: &LoadOptions,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        let failed = |reason: &str| BackendError::Load {
            path: folder.display().to_string(),
            reason: reason.to_owned(),
        };
        let fake = SAVED.lock().unwrap().get(folder).cloned();
        let fake = fake.ok_or_else(|| failed("no fake was saved there"))?;
        if fake.corrupt.load(Ordering::SeqCst) {
            return Err(failed("it is corrupt, as ordered"));
        }
        Ok(fake.engine())
    }

    fn reference(&self, model: &Path, _: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        let path = model.display().to_string();
        Err(BackendError::Load { path, reason: "fakes have no reference".to_owned() })
    }
}

struct FakeEngine(Arc<Fake>);

impl Engine for FakeEngine {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.0.outputs
    }

    fn profiles(&self) -> &[Profile] {
        &self.0.profiles
    }

    fn is_on_host(&self) -> bool {
        self.0.is_on_host
    }

    fn memory(&self) -> Option<EngineMemory> {
        self.0.memory
    }

    fn batch_for(&self, samples: usize, most: usize) -> usize {
        let rounded = samples.next_multiple_of(self.0.granularity);
        shapes::batch_in_profiles(self.profiles(), rounded.min(most).max(samples))
    }

    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        let fake = Arc::clone(&self.0);
        fake.hold()?;
        if fake.no_contexts.load(Ordering::SeqCst) {
            return Err(BackendError::Run { reason: "there are no contexts, as ordered".into() });
        }
        fake.contexts.fetch_add(1, Ordering::SeqCst);
        fake.live_contexts.fetch_add(1, Ordering::SeqCst);
        let inputs = fake.inputs.iter().map(|_| None).collect();
        Ok(Box::new(FakeContext { fake, inputs, outputs: Vec::new() }))
    }
}

struct FakeContext {
    fake: Arc<Fake>,
    inputs: Vec<Option<(Shape, AlignedBytes)>>,
    outputs: Vec<(Shape, AlignedBytes)>,
}

impl Drop for FakeContext {
    fn drop(&mut self) {
        self.fake.live_contexts.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeContext {
    fn output_of(&self, index: usize) -> (Shape, AlignedBytes) {
        let last = self.inputs.len() - 1;
        let (shape, bytes) = self.inputs[index.min(last)].as_ref().unwrap();
        let (mut shape, mut bytes) = (shape.clone(), bytes.clone());
        if self.fake.inputs[index.min(last)].dtype == DType::Float32 {
            for element in bytes.as_mut_slice().as_chunks_mut::<4>().0 {
                *element = (f32::from_le_bytes(*element) * self.fake.factor).to_le_bytes();
            }
        }
        if self.fake.short_outputs.load(Ordering::SeqCst) {
            let row = bytes.as_slice().len() / shape.0[0];
            shape.0[0] -= 1;
            bytes = AlignedBytes::copied(&bytes.as_slice()[row..]);
        }
        (shape, bytes)
    }
}

impl ExecutionContext for FakeContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let spec = &self.fake.inputs[index];
        let bytes = shapes::accept(&self.fake.profiles, spec, shape)?;
        let staged = (shape.clone(), AlignedBytes::copied(&vec![0xAA; bytes]));
        Ok(self.inputs[index].insert(staged).1.as_mut_slice())
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        self.outputs.clear();
        let number = self.fake.runs.fetch_add(1, Ordering::SeqCst);
        let (shape, bytes) =
            self.inputs[0].as_ref().ok_or_else(|| shapes::not_set(&self.fake.inputs[0]))?;
        let first = shape.0.first().copied().unwrap_or(0);
        self.fake.batches.lock().unwrap().push(first);
        *self.fake.last_input.lock().unwrap() = bytes.as_slice().to_vec();
        *self.fake.last_thread.lock().unwrap() = Some(std::thread::current().id());
        let mut closed = self.fake.closed.lock().unwrap();
        while *closed || self.fake.held.lock().unwrap().contains(&number) {
            closed = self.fake.opened.wait(closed).unwrap();
        }
        drop(closed);
        if !self.fake.slow.is_zero() {
            std::thread::sleep(self.fake.slow);
        }
        let ordered = |runs: &Mutex<BTreeSet<usize>>| runs.lock().unwrap().contains(&number);
        assert!(!ordered(&self.fake.panics), "a panic in run {number}, as ordered");
        let is_large = first > 3;
        assert!(!(is_large && ordered(&self.fake.batch_panics)), "a panic in a large batch");
        if ordered(&self.fake.losses) {
            self.fake.lose();
        }
        self.fake.hold()?;
        if ordered(&self.fake.fails) {
            return Err(BackendError::Run { reason: format!("run {number} fails, as ordered") });
        }
        self.outputs = (0..self.fake.outputs.len()).map(|index| self.output_of(index)).collect();
        self.fake.finished.fetch_add(1, Ordering::SeqCst);
        Ok(RunTimes { compute: self.fake.slow, ..RunTimes::default() })
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        let (shape, bytes) = self.outputs.get(index).ok_or_else(shapes::no_results)?;
        Ok((shape, bytes.as_slice()))
    }
}
