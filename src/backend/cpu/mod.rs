//! The embedded CPU backend.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Backend, BackendError, CompileRequest, Engine, EngineManifest};

/// The embedded CPU backend.
#[derive(Debug, Clone, Copy)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }
    fn tools(&self) -> Result<BTreeMap<String, String>, BackendError> {
        Ok(BTreeMap::new())
    }
    fn compile(&self, _request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        Err(BackendError::Run { reason: String::new() })
    }
    fn load(
        &self,
        _folder: &Path,
        _manifest: &EngineManifest,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        Err(BackendError::Run { reason: String::new() })
    }
    fn reference(
        &self,
        _model: &Path,
        _outputs: &[String],
    ) -> Result<Arc<dyn Engine>, BackendError> {
        Err(BackendError::Run { reason: String::new() })
    }
}
