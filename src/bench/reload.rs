//! [`reload`]: an engine loaded, run and unloaded again and again, to see what it leaves behind.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::Serialize;

use crate::backend::{self, EngineManifest, LoadOptions};
use crate::process::{CancelToken, resident_bytes};

use super::feed::Feed;
use super::{BenchError, InputChoice};

/// What is there after an engine was unloaded.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cycle {
    /// Its number, from 1.
    pub cycle: usize,
    /// Bytes of device and pinned memory that the backend still holds; `None` where it does not
    /// count them.
    pub accounted: Option<u64>,
    /// Bytes in use on the device, by whatever program; `None` where there is no device.
    pub device_used: Option<u64>,
    /// Bytes of this process in the machine's memory.
    pub rss: Option<u64>,
}

/// Loads an engine, runs it once in each of two contexts, and unloads it, `cycles` times; tells of
/// each cycle as it ends.
pub fn reload(
    folder: &Path,
    manifest: &EngineManifest,
    inputs: InputChoice<'_>,
    options: &LoadOptions,
    cycles: NonZeroUsize,
    cancel: &CancelToken,
    on_cycle: &mut dyn FnMut(Cycle),
) -> Result<(), BenchError> {
    let backend = backend::by_name(&manifest.backend)?;
    if options.device.is_some() && !backend.has_devices() {
        return Err(BenchError::NoDevices { backend: manifest.backend.clone() });
    }
    for cycle in 1..=cycles.get() {
        if cancel.is_cancelled() {
            return Err(BenchError::Interrupted);
        }
        let engine = backend.load(folder, manifest, options)?;
        let feed = Feed::new(engine.as_ref(), manifest, inputs)?;
        let (mut first, mut second) = (feed.context(&engine)?, feed.context(&engine)?);
        first.run()?;
        second.run()?;
        // The engine before its contexts: they keep alive what they need of it.
        drop(engine);
        drop((first, second));
        let usage = backend.usage(options.device);
        on_cycle(Cycle {
            cycle,
            accounted: usage.map(|usage| usage.accounted),
            device_used: usage.map(|usage| usage.used),
            rss: resident_bytes(),
        });
    }
    Ok(())
}
