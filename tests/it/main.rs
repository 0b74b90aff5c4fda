//! End-to-end tests of the `trt-pipeline` program.

mod architecture;
mod bad_input;
mod cache;
mod cli;
mod events;
mod examples;
mod lock;
mod robustness;
mod schema;
mod support;
