//! `validate`: runs an engine and a reference over data and holds the difference to limits.

/// A gate that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("{summary}")]
pub struct GateFailure {
    /// One line per limit that was broken.
    pub summary: String,
}

impl GateFailure {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        None
    }
}
