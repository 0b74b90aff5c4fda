//! From a trained model to a deployment that passed its gates, out of one YAML file.
//!
//! This page is the map of the code; what the program does is in the README. Other programs infer
//! through [`inference`]:
//!
//! ```no_run
//! use trt_pipeline::{Engine, Input};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::load("build/digits/engine")?;
//! let result = engine.infer([Input::new(&[1, 1, 8, 8].into(), &[0.5_f32; 64])])?;
//! let logits = result.output("logits")?.values::<f32>()?;
//! # let _ = logits;
//! # Ok(())
//! # }
//! ```
//!
//! # Data flow
//!
//! ```text
//! YAML --spec--> PipelineSpec --plan--> Plan --execute--> Artifacts (the store), lock file, build/ links
//!
//! per stage:  inputs by content + settings + tools = Fingerprint --digest--> key
//!             the store knows the key: hit;  else Stage::run fills a folder, which becomes an Artifact
//!
//! a serve stage's Artifact holds a Deployment
//!
//! Deployment --runtime--> ModelRegistry -> Model -> Engine x ExecutionContexts <--server-- requests
//! ```
//!
//! Each arrow is one type that the next step takes whole. A [`spec::PipelineSpec`] is typed and has
//! its variables filled in; a [`plan::Plan`] is acyclic and every reference in it is there; an
//! [`artifact::Artifact`] is named by its content. Errors of the first two steps carry their places
//! in the text and come all at once.
//!
//! # Modules
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`source`] | places in the user's file: `SourceFile`, `Span`, `Spanned` | YAML |
//! | [`suggest`] | the word somebody may have meant | |
//! | [`tensor`] | element types, shapes, tensors in memory | ONNX, files, devices |
//! | [`calibration`] | the range of a tensor from its values; calibration caches | models, samples |
//! | [`data`] | sample data: `.npz`, `.npy`, raw | what samples are for |
//! | [`onnx`] | the format: load, check, describe, rewrite, save | stages, backends |
//! | [`source_model`] | what a model file of any framework is, by content | how it is converted |
//! | [`artifact`] | digests, fingerprints, the store, locks, garbage collection | specs, what files mean |
//! | [`process`] | child processes, cancellation, what this process takes | what they are for |
//! | [`difference`] | how far values are from their reference | limits, what made them |
//! | [`times`] | what measured run times say | what ran |
//! | [`mod@search`] | finding a small set that passes, by trials | what is in a set, how it is tried |
//! | [`progress`] | how work tells how far it is | who listens |
//! | [`kserve`] | the messages and the client of KServe v2 over gRPC | what they mean |
//! | [`deployment`] | the format of `deployment.json` | stages, servers |
//! | [`backend`] | compiling and running models; a folder per backend | pipelines, artifacts |
//! | [`stage`] | stage kinds: settings, inputs, work; a file or folder per kind | graphs, the cache, terminals |
//! | [`spec`] | the spec language, version 1, and its schema | what root files hold, GPUs |
//! | [`plan`] | stages as a graph, references resolved | what is inside files, the cache |
//! | [`execute`] | order, parallel runs, hits and misses, events, the lock file | what any stage does |
//! | [`mod@bench`] | how fast an engine runs, in this process or behind an endpoint | pipelines, terminals |
//! | [`runtime`] | loaded models: batches, contexts, versions, gated reload | HTTP, YAML, CUDA |
//! | [`inference`] | the library API: engines, sessions and batchers for other programs | protocols, pipelines |
//! | [`server`] | the KServe v2 protocol over HTTP and gRPC, metrics, the page | backends, specs |
//! | [`watch`] | file events as debounced sets of changed paths | pipelines |
//! | [`cli`] | arguments, output, exit status; the only module that prints | |
//!
//! # Who may use whom
//!
//! ```text
//! cli -> everything       execute -> plan, stage, backend     plan -> spec, stage
//! spec -> stage           stage -> backend                    bench -> backend, runtime
//! server -> runtime       runtime -> backend                  inference -> backend, runtime
//! watch -> nothing
//! all of these -> the shared words: source, suggest, tensor, data, calibration, onnx, source_model,
//!                       artifact, deployment, process, times, progress, kserve, difference, search
//! the shared words -> each other only
//! ```
//!
//! `tests/it/architecture.rs` keeps this. `unsafe` is denied outside the few files that it
//! names.
//!
//! # Where to add things
//!
//! - **A stage kind**: a file in `src/stage` with a settings struct (its doc comments are the
//!   schema's descriptions) that implements [`stage::Stage`]; a line in `stage_types!`.
//! - **A backend**: a folder in `src/backend` with [`backend::Backend`], [`backend::Engine`] and
//!   [`backend::ExecutionContext`]; a line in [`backend::BACKENDS`]; its tests start with
//!   `conformance_tests!`, which every backend must pass.
//! - **A rewrite of models**: a file in `src/onnx/passes` that implements [`onnx::passes::Pass`]; a
//!   line in [`onnx::passes::PASSES`]. Bump the version of `optimize`.
//! - **A setting**: a field of the stage's settings, and of its `settings()` unless it cannot change
//!   the result. Left out at its default, it changes no key.
//! - **A command**: a file in `src/cli` and a variant of its `Command`.
//! - **An event**: a variant of [`execute::RunEvent`].
//!
//! Schemas are regenerated with `UPDATE_SCHEMAS=1 cargo test schema`; a test fails where they drift,
//! and where the README's tables do.

pub mod artifact;
pub mod backend;
pub mod bench;
pub mod calibration;
pub mod cli;
pub mod data;
pub mod deployment;
pub mod difference;
pub mod execute;
pub mod inference;
pub mod kserve;
pub mod onnx;
pub mod plan;
pub mod process;
pub mod progress;
pub mod runtime;
pub mod search;
pub mod server;
pub mod source;
pub mod source_model;
pub mod spec;
pub mod stage;
pub mod suggest;
pub mod tensor;
pub mod times;
pub mod watch;

pub use inference::{
    Batcher, Engine, EngineBuilder, InferError, Inference, Input, MultiDevice, Placement,
};

/// The README's program is compiled with the examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
