//! [`Models`]: what to ask in tests: an [`App`] in front of fake engines.

use std::sync::Arc;

use tempfile::TempDir;

use crate::artifact::Digest;
use crate::runtime::fake::{Fake, spec};
use crate::deployment::{BatchingConfig, Deployment, ModelConfig};
use crate::runtime::{Candidate, ModelRegistry};
use crate::server::{App, Limits, ServerConfig};
use crate::tensor::{DType, TensorSpec};

/// Served models and what they were loaded from.
pub(in crate::server) struct Models {
    pub(in crate::server) app: Arc<App>,
    folders: Vec<TempDir>,
}

impl Models {
    /// `tiny` doubles `x` of [batch,4] into `y`; `plain` is the same without batching; `numbers`
    /// gives back a tensor [batch,2] of every type. Bodies have 4 MiB at most.
    pub(in crate::server) fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same, with another configuration.
    pub(in crate::server) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig {
            http: None,
            grpc: None,
            admin: None,
            control: true,
            token: None,
            tls: None,
            insecure: false,
            shared_memory: true,
            limits: Limits { body_bytes: 4 << 20, ..Limits::default() },
        };
        change(&mut config);
        let app = App::new(config, Arc::new(ModelRegistry::default()), Arc::default());
        let mut models = Self { app: Arc::new(app), folders: Vec::new() };
        models.serve(&Arc::new(Fake::default()), "tiny", |config| {
            config.batching = Some(BatchingConfig {
                max_batch: 8,
                max_delay_ms: 0.0,
                preferred_sizes: vec![4, 8],
                preserve_ordering: false,
                pad: false,
            });
        });
        models.serve(&Arc::new(Fake::default()), "plain", |_| ());
        let tensor = |dtype: DType, suffix: &str| TensorSpec {
            name: format!("{dtype}{suffix}"),
            dtype,
            ..spec("", &["batch", "2"])
        };
        let mut numbers = Fake::new(
            DType::ALL.iter().map(|&dtype| tensor(dtype, "")).collect(),
            DType::ALL.iter().map(|&dtype| tensor(dtype, "_out")).collect(),
        );
        numbers.factor = 1.0;
        models.serve(&Arc::new(numbers), "numbers", |_| ());
        models
    }

    /// Serves one more model, or the next version of one.
    pub(in crate::server) fn serve(
        &mut self,
        fake: &Arc<Fake>,
        name: &str,
        change: impl FnOnce(&mut ModelConfig),
    ) {
        let folder = tempfile::tempdir().unwrap();
        fake.save(folder.path());
        let mut config = fake.config(name);
        change(&mut config);
        let candidate = Candidate {
            digest: Digest::of(folder.path().as_os_str().as_encoded_bytes()),
            deployment: Deployment::new(config),
            folder: folder.path().to_owned(),
            engine: folder.path().to_owned(),
            lease: None,
        };
        self.app.registry.apply(candidate).unwrap();
        self.folders.push(folder);
    }
}
