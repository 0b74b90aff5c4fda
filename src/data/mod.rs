//! Sample data for validation and calibration.

/// Why a data file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DataError {}

impl DataError {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        None
    }
}
