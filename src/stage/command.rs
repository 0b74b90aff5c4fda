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

/// Temp.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program.
    pub run: crate::source::Spanned<Vec<crate::source::Spanned<String>>>,
}
impl super::Stage for Command {
    fn kind(&self) -> &'static str {
        "command"
    }
    fn version(&self) -> u32 {
        1
    }
    fn makes(&self) -> crate::artifact::ArtifactKind {
        crate::artifact::ArtifactKind::Files
    }
    fn inputs(&self) -> Vec<super::Input> {
        Vec::new()
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }
    fn deterministic(&self) -> bool {
        false
    }
    fn run(&self, _cx: &super::StageContext<'_>) -> Result<(), super::StageError> {
        Ok(())
    }
}
