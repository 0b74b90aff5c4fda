//! The names of all metrics, with what they say and in which unit.

use prometheus_client::metrics::MetricType;

/// One metric, with a value for each of its labels.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
}

const fn family(kind: MetricType, name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind }
}

/// The format ends the names of these in `_total`.
const fn counter(name: &'static str, help: &'static str) -> Family {
    family(MetricType::Counter, name, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    family(MetricType::Gauge, name, help)
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    family(MetricType::Histogram, name, help)
}

pub(super) const BUILD: Family =
    gauge("trt_pipeline_build_info", "1, for the version of the server");

pub(super) const REQUESTS: Family = counter(
    "trt_pipeline_requests",
    "Inference requests by what came of them: ok, or the kind of error",
);
pub(super) const PHASES: Family = histogram(
    "trt_pipeline_request_seconds",
    "Time that answered requests spent in each phase; total is from submission to answer",
);
pub(super) const SAMPLES: Family =
    counter("trt_pipeline_samples", "Samples that were answered: the sum of all batches");
pub(super) const BATCHES: Family =
    histogram("trt_pipeline_batch_size", "Samples in each batch that ran");
pub(super) const COPIED: Family = counter(
    "trt_pipeline_copied_bytes",
    "Bytes copied between requests or answers and batches, by direction",
);
pub(super) const QUEUED: Family =
    gauge("trt_pipeline_queue_depth", "Requests that wait for a batch");
pub(super) const IN_FLIGHT: Family =
    gauge("trt_pipeline_requests_in_flight", "Requests that were taken and are not answered yet");

pub(super) const READY: Family =
    gauge("trt_pipeline_model_ready", "1 where the model takes requests, else 0");
pub(super) const VERSION: Family =
    gauge("trt_pipeline_model_version", "The version of the model that takes requests");
pub(super) const RELOADS: Family = counter(
    "trt_pipeline_reloads",
    "Changes of a model by what came of them: accepted, refused, rolled_back",
);
pub(super) const MODEL_MEMORY: Family = gauge(
    "trt_pipeline_model_memory_bytes",
    "Memory that a model holds, by kind, where its backend counts it",
);
pub(super) const MODEL_MEMORY_PEAK: Family = gauge(
    "trt_pipeline_model_memory_peak_bytes",
    "Most memory that a model held at once, by kind, where its backend counts it",
);

pub(super) const DEVICE_UP: Family = gauge(
    "trt_pipeline_device_up",
    "1 where the model runs on the device, 0 where the device is lost",
);
pub(super) const DEVICE_BATCHES: Family =
    counter("trt_pipeline_device_batches", "Batches of requests that ran on the device");
pub(super) const DEVICE_OUTSTANDING: Family =
    gauge("trt_pipeline_device_batches_outstanding", "Batches that run on the device now");
pub(super) const DEVICE_MEMORY: Family = gauge(
    "trt_pipeline_device_memory_bytes",
    "Memory that a model holds for a device, by kind, where its backend counts it",
);

pub(super) const OPEN: Family =
    gauge("trt_pipeline_server_requests_open", "Requests of any kind that are being answered");
pub(super) const REFUSED: Family = counter(
    "trt_pipeline_server_requests_refused",
    "Requests of any kind that were refused because too many were being answered",
);
pub(super) const CONNECTIONS: Family = gauge("trt_pipeline_connections", "Open connections");
pub(super) const CONNECTION_EVENTS: Family = counter(
    "trt_pipeline_connection_events",
    "Connections that were accepted, refused for want of room, or closed to make room",
);
pub(super) const CERTIFICATE: Family = gauge(
    "trt_pipeline_certificate_expires_seconds",
    "When the certificate ends, in seconds since 1970",
);

pub(super) const RESIDENT: Family =
    gauge("process_resident_memory_bytes", "Memory of the process that is in RAM");
pub(super) const CPU: Family =
    counter("process_cpu_seconds", "Time the process spent on processors");
pub(super) const STARTED: Family =
    gauge("process_start_time_seconds", "When the server started, in seconds since 1970");
