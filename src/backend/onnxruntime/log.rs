//! The library's messages, into this program's log.

use std::sync::Arc;

use ort::logging::{LogLevel, LoggerFunction};
use tracing::level_filters::LevelFilter;

/// Where messages are logged.
const TARGET: &str = "onnxruntime";

/// The least severe message that somebody will see. What is below is not even written.
pub(super) fn level() -> LogLevel {
    match LevelFilter::current() {
        LevelFilter::TRACE => LogLevel::Verbose,
        LevelFilter::DEBUG => LogLevel::Info,
        LevelFilter::INFO => LogLevel::Warning,
        _ => LogLevel::Fatal,
    }
}

/// Takes messages. Each is one step less severe here than the library says: its errors come back
/// as the error of a call too, and its warnings are for those who look into a model.
pub(super) fn logger() -> LoggerFunction {
    Arc::new(|level, _category, _id, place, message| match level {
        LogLevel::Fatal => tracing::error!(target: TARGET, "{message} ({place})"),
        LogLevel::Error | LogLevel::Info => tracing::debug!(target: TARGET, "{message} ({place})"),
        LogLevel::Warning => tracing::info!(target: TARGET, "{message} ({place})"),
        LogLevel::Verbose => tracing::trace!(target: TARGET, "{message} ({place})"),
    })
}
