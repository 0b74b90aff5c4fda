//! Loading one version, so that nothing it does harms the others.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::runtime::{Candidate, DeviceLoss, Model};

/// Loads and warms an engine, and sees to it that it is the one that was deployed. Devices that it
/// loses are told.
pub(super) fn load(
    number: u32,
    candidate: &Candidate,
    losses: &broadcast::Sender<DeviceLoss>,
) -> Result<Arc<Model>, String> {
    let config = candidate.deployment.model.clone();
    let loading = || Model::load(config, number, &candidate.engine, &candidate.folder);
    let model = contained(loading)?.map_err(|error| error.to_string())?;
    let engine = &candidate.deployment.model.engine;
    if model.inputs() != engine.inputs || model.outputs() != engine.outputs {
        return Err("the engine's inputs and outputs are not those of its deployment".to_owned());
    }
    model.tell_losses(losses);
    Ok(Arc::new(model))
}

/// A panic in an engine is its version's failure and nobody else's.
pub(super) fn contained<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("it panicked: {}", text(&*panic)))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
