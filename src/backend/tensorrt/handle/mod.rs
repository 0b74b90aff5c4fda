//! TensorRT's objects with their rules: who owns what, what must outlive what, what C++ may call.
//!
//! A handle owns one object, keeps the handles of what that object needs alive, and deletes it in
//! `Drop`, children before parents. Nothing here knows specs, files or engines as the rest of the
//! program sees them.
#![expect(unsafe_code, reason = "owns C++ objects; every use of one is argued where it stands")]

mod allocator;
mod builder;
mod calibrator;
mod callback;
mod captured;
mod config;
mod context;
mod engine;
mod execution;
mod library;
mod logger;
mod monitor;
mod network;
mod output_allocator;
mod owned;
mod parser;
mod plugins;
mod recorder;
mod refitter;
mod runtime;
#[cfg(test)]
mod standin;

pub(super) use builder::{Builder, HostMemory};
pub(super) use calibrator::{Calibrator, Samples};
pub(super) use config::Config;
pub(super) use context::{ContextHandle, GraphId};
pub(super) use engine::{EngineHandle, EngineTensor, element_type};
pub(super) use library::{Library, LibraryError};
pub(super) use logger::{gather_repeats, log_repeats, note_node, set_level};
pub(super) use monitor::{Monitor, Watcher};
pub(super) use network::{Layer, Network, NetworkTensor};
pub(super) use parser::{Parsed, parse};
pub(super) use refitter::refit_from_onnx;
pub(super) use runtime::{Runtime, Validity};
