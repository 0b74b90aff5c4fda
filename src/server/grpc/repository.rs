//! The calls of the repository extension: what models there are, loading and unloading them.

use std::sync::Arc;

use crate::kserve::repository_index_response::ModelIndex;
use crate::kserve::{
    RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use crate::runtime::{ModelRegistry, ReloadError};
use crate::server::App;
use crate::server::protocol::{self, ProtocolError, clipped};

/// Refuses a repository by name.
fn only_repository(name: &str) -> Result<(), ProtocolError> {
    if name.is_empty() {
        return Ok(());
    }
    Err(ProtocolError::unsupported("there is one repository: leave `repository_name` out"))
}

pub(super) fn index(
    app: &App,
    request: &RepositoryIndexRequest,
) -> Result<RepositoryIndexResponse, ProtocolError> {
    only_repository(&request.repository_name)?;
    let models = protocol::index(&app.registry, request.ready).into_iter();
    let models = models.map(|model| ModelIndex {
        name: model.name,
        version: model.version.unwrap_or_default(),
        state: model.state.to_owned(),
        reason: model.reason.unwrap_or_default(),
    });
    Ok(RepositoryIndexResponse { models: models.collect() })
}

pub(super) async fn load(
    app: &Arc<App>,
    request: RepositoryModelLoadRequest,
) -> Result<RepositoryModelLoadResponse, ProtocolError> {
    only_repository(&request.repository_name)?;
    if let Some(parameter) = request.parameters.keys().next() {
        return Err(ProtocolError::unsupported(format!(
            "a model is loaded as it was deployed: leave the parameter `{}` out, change the \
             pipeline and run it",
            clipped(parameter)
        )));
    }
    change(app, request.model_name, ModelRegistry::load).await?;
    Ok(RepositoryModelLoadResponse {})
}

pub(super) async fn unload(
    app: &Arc<App>,
    request: RepositoryModelUnloadRequest,
) -> Result<RepositoryModelUnloadResponse, ProtocolError> {
    only_repository(&request.repository_name)?;
    change(app, request.model_name, ModelRegistry::unload).await?;
    Ok(RepositoryModelUnloadResponse {})
}

/// Changes a model where it keeps no requests waiting.
async fn change<T: Send + 'static>(
    app: &Arc<App>,
    name: String,
    how: impl FnOnce(&ModelRegistry, &str) -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, ProtocolError> {
    let registry = Arc::clone(&app.registry);
    let changed = tokio::task::spawn_blocking(move || how(&registry, &name)).await;
    Ok(changed.map_err(|_| ProtocolError::Failed)??)
}
