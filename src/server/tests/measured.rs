//! What `/metrics` says.

use super::super::load::Load;
use super::super::metrics::Scrape;
use super::super::routes as all_routes;
use super::models::Models;
use super::*;

fn infer(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v2/models/tiny/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n\
         {body}"
    )
}

/// The values of a metric, by its labels.
fn values<'a>(metrics: &'a str, name: &str) -> Vec<(&'a str, f64)> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let value = |line: &'a str| {
        let (labels, value) = line.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| (labels, value.parse().unwrap()))
    };
    lines.filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_requests_models_connections_and_the_process() {
    let models = tokio::task::spawn_blocking(Models::new).await.unwrap();
    let app = Arc::clone(&models.app);
    let load = Load::new(&app.config.limits, &[Role::Admin]);
    let routes = all_routes::admin(&app, Scrape::new(&app, &load, None));
    let server = Running::with(Role::Admin, app, load, routes);
    let mut client = server.connect().await;
    let body = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    for (body, status) in [(body, "200"), (body, "200"), ("{", "400")] {
        client.send(infer(body)).await;
        let answer = client.answer().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let answer = client.get("/metrics").await;
    let (head, metrics) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");

    let of = |name: &str, labels: &str| {
        let found = values(metrics, name).into_iter().find(|(has, _)| *has == labels);
        found.unwrap_or_else(|| panic!("no {name}{labels} in {metrics}")).1
    };
    let tiny = r#"model="tiny",version="1""#;
    let exactly = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
    exactly(of("trt_pipeline_requests_total", &format!("{{{tiny},outcome=\"ok\"}}")), 2.0);
    exactly(of("trt_pipeline_requests_total", &format!("{{{tiny},outcome=\"invalid\"}}")), 1.0);
    exactly(of("trt_pipeline_samples_total", &format!("{{{tiny}}}")), 2.0);
    exactly(of("trt_pipeline_batch_size_count", &format!("{{{tiny}}}")), 2.0);
    exactly(of("trt_pipeline_batch_size_bucket", &format!("{{le=\"1.0\",{tiny}}}")), 2.0);
    for phase in ["parse", "queue", "upload", "compute", "download", "encode", "total"] {
        let labels = format!("{tiny},phase=\"{phase}\"");
        exactly(of("trt_pipeline_request_seconds_count", &format!("{{{labels}}}")), 2.0);
        exactly(
            of("trt_pipeline_request_seconds_bucket", &format!("{{le=\"+Inf\",{labels}}}")),
            2.0,
        );
    }
    exactly(of("trt_pipeline_queue_depth", &format!("{{{tiny}}}")), 0.0);
    exactly(of("trt_pipeline_model_ready", "{model=\"tiny\"}"), 1.0);
    exactly(of("trt_pipeline_reloads_total", "{model=\"tiny\",outcome=\"accepted\"}"), 1.0);
    exactly(of("trt_pipeline_connections", "{listener=\"admin\"}"), 1.0);
    let accepted = "{listener=\"admin\",event=\"accepted\"}";
    exactly(of("trt_pipeline_connection_events_total", accepted), 1.0);
    exactly(of("trt_pipeline_server_requests_open", ""), 1.0);
    assert!(of("process_resident_memory_bytes", "") > 1e6);
    assert!(of("process_cpu_seconds_total", "") > 0.0);
}
