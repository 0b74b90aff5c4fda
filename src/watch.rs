//! File events as debounced sets of changed paths.
//!
//! Knows nothing of pipelines.
