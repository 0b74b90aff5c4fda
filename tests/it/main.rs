//! End-to-end tests of the `trt-pipeline` program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]
#![expect(clippy::format_push_string, reason = "specs are short, clarity is worth more")]
#![expect(unreachable_pub, reason = "a test crate has no public interface")]

mod architecture;
mod bad_data;
mod bad_input;
mod bad_tensorrt;
mod bad_tensorrt_settings;
mod bench;
mod bench_endpoint;
mod bench_tensorrt;
mod cache;
mod calibrate;
mod cli;
mod convert;
mod convert_bad_frameworks;
mod convert_frameworks;
mod cuda;
mod cuda_graph;
mod cuda_lost;
mod cuda_memory;
mod cuda_monitor;
mod cuda_streams;
mod device_loss;
mod events;
mod examples;
mod hostile;
mod inspect_engine;
mod inspect_source;
mod latency;
mod lock;
mod onnxruntime;
mod precision;
mod readme;
mod reload;
mod robustness;
mod schema;
mod search;
mod serve;
mod serve_grpc;
mod serve_http;
mod serve_told;
mod standin;
mod stopped;
mod support;
mod tensorrt_build;
mod tensorrt_calibration;
mod tensorrt_companions;
mod tensorrt_discovery;
mod tensorrt_engines;
mod tensorrt_graphs;
mod tensorrt_load;
mod tensorrt_rtx;
mod tensorrt_run;
mod tensorrt_standin;
mod watch;
