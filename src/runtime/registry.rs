//! [`ModelRegistry`]: the models of a server by name, each with its versions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::artifact::{Digest, Lease};
use crate::deployment::Deployment;
use crate::suggest::did_you_mean;

use super::{InferError, Model};

/// A deployment that wants to take requests.
#[derive(Debug)]
pub struct Candidate {
    /// What to serve and how.
    pub deployment: Deployment,
    /// Digest of the deployment's artifact.
    pub digest: Digest,
    /// The deployment's folder, with its warm-up data.
    pub folder: PathBuf,
    /// The engine's folder, whose content was checked.
    pub engine: PathBuf,
    /// Keeps both in the store while the version is served; `None` for files of the user's own.
    pub lease: Option<Lease>,
}

/// The models of a server by name. Looking one up never waits for a change under way.
#[derive(Default)]
pub struct ModelRegistry {
    models: ArcSwap<BTreeMap<String, Arc<Model>>>,
    changing: Mutex<()>,
}

impl ModelRegistry {
    /// The version of a model that takes requests, or a certain one.
    pub fn find(&self, name: &str, version: Option<u32>) -> Result<Arc<Model>, InferError> {
        let models = self.models.load();
        let Some(model) = models.get(name) else {
            let hint = did_you_mean(name, models.keys().map(String::as_str), "models");
            return Err(InferError::UnknownModel { model: name.to_owned(), hint: Some(hint) });
        };
        match version {
            Some(version) if version != model.version() => Err(InferError::UnknownVersion {
                model: name.to_owned(),
                version: version.to_string(),
                loaded: model.version().to_string(),
            }),
            _ => Ok(Arc::clone(model)),
        }
    }

    /// Loads a deployment and lets it take requests.
    pub fn apply(&self, candidate: &Candidate) -> Result<(), InferError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = candidate.deployment.model.clone();
        let mut models = BTreeMap::clone(&self.models.load());
        let version = models.get(&config.name).map_or(1, |model| model.version() + 1);
        let name = config.name.clone();
        let model = Model::load(config, version, &candidate.engine, &candidate.folder)?;
        models.insert(name, Arc::new(model));
        self.models.store(Arc::new(models));
        Ok(())
    }
}
