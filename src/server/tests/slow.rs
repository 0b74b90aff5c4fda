//! Clients that take their time.

use super::*;

fn quick() -> ServerConfig {
    let mut config = config();
    config.limits.header_timeout = Duration::from_millis(200);
    config.limits.transfer_timeout = Duration::from_millis(200);
    config
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/", post(|body: String| async { body }))
}

#[tokio::test]
async fn a_request_is_answered_on_a_port_that_was_free() {
    let server = Running::start(Role::Http, config(), routes());
    let answer = server.ask("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("here"), "{answer}");
    let report = server.stop().await.unwrap();
    assert_eq!(report, DrainReport { finished: 0, aborted: 0 });
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Running::start(Role::Http, quick(), routes());
    assert_eq!(server.ask("").await, "");
    assert_eq!(server.ask("GET / HTTP/1.1\r\nhost:").await, "");
}
