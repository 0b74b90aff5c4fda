//! The models as the repository extension lists them, with their versions.

use serde::Serialize;

use crate::runtime::{ModelRegistry, ModelState, VersionStatus};
use crate::server::App;

/// One model of the repository.
#[derive(Debug, Serialize)]
pub(crate) struct IndexEntry {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) state: &'static str,
    /// Why it takes no requests; or, where it does, which of its devices it lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Every model by name, or those alone that take requests.
pub(crate) fn index(registry: &ModelRegistry, ready_only: bool) -> Vec<IndexEntry> {
    let models = registry.index().into_iter();
    let listed = models.filter(|model| !ready_only || model.state == ModelState::Ready);
    listed
        .map(|model| IndexEntry {
            name: model.name,
            version: model.version.map(|version| version.to_string()),
            state: model.state.name(),
            reason: model.reason,
        })
        .collect()
}

/// Whether the server takes requests for all of its models, and goes on to.
pub(crate) fn ready(app: &App) -> bool {
    let models = app.registry.index();
    let all = models.iter().all(|model| model.state == ModelState::Ready);
    all && !models.is_empty() && !app.stopping().is_cancelled()
}

/// The versions of one model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelVersions<'a> {
    pub(crate) name: &'a str,
    /// The newest first.
    pub(crate) versions: Vec<VersionStatus>,
}
