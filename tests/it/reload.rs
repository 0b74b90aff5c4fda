//! Versions of real engines, changed again and again under load.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use trt_pipeline::artifact::{Digest, Store};
use trt_pipeline::backend::EngineManifest;
use trt_pipeline::deployment::{
    BatchingConfig, CudaGraphs, Deployment, EngineConfig, ModelConfig, OnDeviceFailure, Placement,
    QueueConfig, ReloadConfig, Tolerance, WarmupConfig,
};
use trt_pipeline::process::resident_bytes;
use trt_pipeline::runtime::{
    Applied, Candidate, InferRequest, InputTensor, ModelRegistry, Outcome, ReloadError,
};
use trt_pipeline::tensor::{DType, Dim, Shape, TensorSpec};

use crate::support::served::adder;
use crate::support::{Project, rounds};

/// How long anything may take to happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// The model.
const NAME: &str = "adder";

/// Most rows of a request.
const MOST_ROWS: usize = 3;

/// A deployment of an engine that adds `number`, in a folder of the project.
fn candidate(project: &Project, number: f32, lease: Option<&Store>) -> Candidate {
    let folder = project.file(&format!("engines/{number}"));
    std::fs::create_dir_all(&folder).unwrap();
    let tensor = |name: &str| TensorSpec {
        name: name.into(),
        dtype: DType::Float32,
        dims: Some(vec![Dim::Symbol("batch".into()), Dim::Fixed(4)]),
    };
    let manifest = EngineManifest {
        format: EngineManifest::FORMAT,
        backend: "cpu".into(),
        file: "model.onnx".into(),
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
        profiles: Vec::new(),
        library: std::collections::BTreeMap::new(),
        tensorrt: None,
    };
    std::fs::write(folder.join("model.onnx"), adder(number)).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    std::fs::write(folder.join(EngineManifest::FILE), text).unwrap();
    let digest = Digest::of(&number.to_le_bytes());
    let model = ModelConfig {
        name: NAME.into(),
        engine: EngineConfig {
            digest,
            backend: manifest.backend,
            inputs: manifest.inputs,
            outputs: manifest.outputs,
            profiles: Vec::new(),
        },
        batching: Some(BatchingConfig {
            max_batch: 8,
            max_delay_ms: 0.5,
            preferred_sizes: Vec::new(),
            preserve_ordering: false,
            pad: false,
        }),
        queue: QueueConfig::default(),
        warmup: WarmupConfig { iterations: 1, data: None },
        reload: ReloadConfig { samples: 4, ..ReloadConfig::default() },
        instances: 2,
        devices: None,
        placement: Placement::default(),
        on_device_failure: OnDeviceFailure::default(),
        cuda_graphs: CudaGraphs::default(),
        requires: Vec::new(),
    };
    Candidate {
        deployment: Deployment::new(model),
        digest,
        folder: folder.clone(),
        engine: folder,
        lease: lease.map(|store| store.lease(&[digest]).unwrap()),
    }
}

/// A request of several rows; every element is another number.
fn request(first: f32, rows: usize) -> InferRequest {
    let values = std::iter::successors(Some(first), |value| Some(value + 1.0)).take(rows * 4);
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let inputs = vec![InputTensor { shape: Shape(vec![rows, 4]), bytes: Bytes::from(bytes) }];
    InferRequest { inputs, outputs: vec![0], priority: None, deadline: None }
}

/// Asks whatever serves, and makes sure that every element of the answer is its version's: the
/// engine of version `n` adds `n`.
fn ask(registry: &ModelRegistry, first: f32, rows: usize) -> u32 {
    let model = registry.find(NAME, None).unwrap();
    let answer = model.submit(request(first, rows)).unwrap().wait().unwrap();
    let bytes = &answer.outputs[0].bytes;
    assert_eq!(bytes.len(), rows * 16);
    let version = model.version();
    let added = f32::from(u16::try_from(version).unwrap());
    let mut expected = first + added;
    for bytes in bytes.as_chunks::<4>().0 {
        assert_eq!(f32::from_le_bytes(*bytes).to_bits(), expected.to_bits(), "version {version}");
        expected += 1.0;
    }
    version
}

fn apply(registry: &ModelRegistry, candidate: Candidate) -> Result<u32, ReloadError> {
    match registry.apply(candidate)? {
        Applied::Changed(record) => Ok(record.to.unwrap()),
        Applied::Unchanged { version } => Ok(version),
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn no_answer_is_ever_of_two_versions_however_often_they_change() {
    let project = Project::empty();
    let registry = ModelRegistry::default();
    let versions = u16::try_from(rounds("TRT_PIPELINE_SOAK_RELOADS", 30)).unwrap();
    assert_eq!(apply(&registry, candidate(&project, 1.0, None)).unwrap(), 1);
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..4_u8 {
            let (registry, stop, answers) = (&registry, &stop, &answers);
            scope.spawn(move || {
                let mut seen = 0;
                let mut first = f32::from(client) * 1e5;
                while !stop.load(Ordering::Relaxed) {
                    let rows = 1 + usize::from(client) % MOST_ROWS;
                    let version = ask(registry, first, rows);
                    assert!(version >= seen, "version {version} after {seen}");
                    seen = version;
                    first = (first + 1.0) % 1e6;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 2..=versions {
            let before = answers.load(Ordering::Relaxed);
            let version = apply(&registry, candidate(&project, number.into(), None)).unwrap();
            assert_eq!(version, u32::from(number));
            until("this version answers", || answers.load(Ordering::Relaxed) >= before + 8);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(ask(&registry, 0.0, 1), u32::from(versions));
    let counted = registry.find(NAME, None).unwrap().statistics().snapshot();
    assert_eq!(counted.failed_in_all().count, 0);
    assert!(registry.history().iter().all(|record| record.outcome == Outcome::Accepted));
    assert!(registry.shutdown(DEADLINE));
}

#[test]
fn going_back_and_forth_under_load_mixes_nothing_either() {
    let project = Project::empty();
    let registry = ModelRegistry::default();
    apply(&registry, candidate(&project, 1.0, None)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..2_u8 {
            let (registry, stop) = (&registry, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(registry, f32::from(client) * 100.0, 2);
                }
            });
        }
        for number in 2..12_u8 {
            apply(&registry, candidate(&project, number.into(), None)).unwrap();
            let record = registry.rollback(NAME).unwrap();
            assert_eq!((record.from, record.to), (Some(number.into()), Some(1)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(ask(&registry, 5.0, 1), 1);
    assert_eq!(registry.index()[0].reloads.rolled_back, 10);
}

#[test]
fn a_real_engine_is_held_to_the_answers_of_the_one_before() {
    let project = Project::empty();
    let registry = ModelRegistry::default();
    apply(&registry, candidate(&project, 1.0, None)).unwrap();
    ask(&registry, 1.0, 3);
    let mut next = candidate(&project, 3.0, None);
    let max_abs = |limit| Some(Tolerance { max_abs: Some(limit), ..Tolerance::default() });
    next.deployment.model.reload.compare = max_abs(1.5);
    let error = registry.apply(next).unwrap_err();
    let expected = "model `adder` version 2 was refused: shadow.max_abs of output `y`: 2.000000e0, \
                    allowed is at most 1.5e0";
    assert_eq!(error.to_string(), expected);
    let mut next = candidate(&project, 3.0, None);
    next.deployment.model.reload.compare = max_abs(2.0);
    assert_eq!(apply(&registry, next).unwrap(), 3);
    assert_eq!(ask(&registry, 1.0, 3), 3);
}

/// What is wrong with an engine, and how it comes to be.
type Damage = (&'static str, fn(&Path));

#[test]
fn engines_that_are_damaged_keep_the_one_that_serves() {
    let project = Project::empty();
    let registry = ModelRegistry::default();
    apply(&registry, candidate(&project, 1.0, None)).unwrap();
    let damages: [Damage; 4] = [
        ("a missing model", |folder| std::fs::remove_file(folder.join("model.onnx")).unwrap()),
        ("a truncated model", |folder| {
            let path = folder.join("model.onnx");
            let model = std::fs::read(&path).unwrap();
            std::fs::write(path, &model[..model.len() / 2]).unwrap();
        }),
        ("a manifest of another format", |folder| {
            std::fs::write(folder.join("engine.json"), br#"{"format": 99}"#).unwrap();
        }),
        ("an engine of a backend that is not here", |folder| {
            let path = folder.join("engine.json");
            let text = std::fs::read_to_string(&path).unwrap().replace("\"cpu\"", "\"tpu\"");
            std::fs::write(path, text).unwrap();
        }),
    ];
    for (number, (what, damage)) in (50_u8..).zip(damages) {
        let engine = candidate(&project, number.into(), None);
        damage(&engine.engine);
        let error = registry.apply(engine).unwrap_err();
        let ReloadError::Refused(record) = &error else { panic!("{what}: {error}") };
        assert_eq!(record.gates.last().unwrap().name, "load", "{what}: {error}");
        assert_eq!(ask(&registry, 1.0, 1), 1, "{what}");
    }
    assert_eq!(registry.index()[0].reloads.refused, 4);
}

/// Set in the process that [`many_reloads_leak_nothing`] starts.
const CHILD: &str = "TRT_PIPELINE_RELOAD_CHILD";

/// In a process of its own: other tests take memory, threads and files too.
#[test]
fn many_reloads_leak_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return cycles();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reload::many_reloads_leak_nothing", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a process holds, beside the leases on what its registry keeps.
#[derive(Debug)]
struct Held {
    files: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let files = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let files = files.filter(|file| !file.to_string_lossy().contains("/lease-")).count();
        Self { files, threads: std::fs::read_dir("/proc/self/task").unwrap().count() }
    }

    fn is_within(&self, base: &Self) -> bool {
        self.files <= base.files && self.threads <= base.threads
    }
}

/// Loads, serves and unloads again and again: half of the versions are accepted, a quarter is
/// refused before and a quarter while it is loaded; every sixth time the last one is taken back.
fn cycles() {
    let project = Project::empty();
    let store = Store::open(project.file("store"));
    let registry = ModelRegistry::default();
    let cycles = u16::try_from(rounds("TRT_PIPELINE_SOAK_RELOADS", 200)).unwrap();
    apply(&registry, candidate(&project, 1.0, Some(&store))).unwrap();
    let mut memory = Vec::new();
    let mut held = None;
    for number in 2..=cycles {
        let mut next = candidate(&project, number.into(), Some(&store));
        next.deployment.model.reload.watch_seconds = if number % 4 == 0 { 60.0 } else { 0.0 };
        match number % 4 {
            1 => next.deployment.model.engine.outputs[0].name = "z".into(),
            3 => std::fs::write(next.engine.join("model.onnx"), &adder(0.0)[..60]).unwrap(),
            _ => {}
        }
        assert_eq!(apply(&registry, next).is_ok(), number % 2 == 0);
        for rows in 1..=MOST_ROWS {
            let model = registry.find(NAME, None).unwrap();
            model.submit(request(1.0, rows)).unwrap().wait().unwrap();
        }
        if number % 6 == 0 {
            registry.rollback(NAME).unwrap();
        }
        if number % 10 == 0 {
            registry.unload(NAME).unwrap();
            // Between two measurements everything is unloaded; some threads end just then.
            let base = held.get_or_insert_with(|| {
                until("idle threads end", || Held::now().threads <= 4);
                Held::now()
            });
            let give_up = Instant::now() + DEADLINE;
            while !Held::now().is_within(base) {
                assert!(Instant::now() < give_up, "{:?} after {base:?}", Held::now());
                std::thread::yield_now();
            }
            memory.push(resident_bytes().unwrap());
            registry.load(NAME).unwrap();
        }
    }
    let (early, late) = (memory[memory.len() / 4], memory[memory.len() - 1]);
    assert!(late <= early + (16 << 20), "{memory:?}");
    let leases = std::fs::read_dir(project.file("store/locks/leases")).unwrap().count();
    assert!(leases <= 2, "{leases} leases are held");
}
