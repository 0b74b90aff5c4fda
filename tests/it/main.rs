//! End-to-end tests of the `trt-pipeline` program.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

mod architecture;
mod bad_input;
mod cache;
mod cli;
mod events;
mod examples;
mod lock;
mod readme;
mod robustness;
mod schema;
mod support;
