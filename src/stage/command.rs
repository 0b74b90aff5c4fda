//! `command`: any program.

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {}

impl CommandError {
    /// Whether the program is not on this machine.
    pub fn is_unavailable(&self) -> bool {
        false
    }
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        None
    }
}
