//! Servers that are told to stop.

use super::*;

#[tokio::test]
async fn nothing_is_waited_for_where_there_is_nothing() {
    let server = Running::start(Role::Http, config(), routes());
    assert_eq!(server.stop().await.unwrap(), DrainReport { finished: 0, aborted: 0 });
}

#[tokio::test]
async fn every_request_that_came_is_answered_and_no_other_connection_is_taken() {
    let mut config = config();
    config.limits.drain = FOREVER;
    let gate = Gate::new();
    let server = Running::start(Role::Http, config, gate.routes());
    let (address, app) = (server.address, Arc::clone(&server.app));
    let mut working = Vec::new();
    for _ in 0..16 {
        let mut client = server.connect().await;
        client.send("GET /work HTTP/1.1\r\nhost: h\r\n\r\n").await;
        working.push(client);
    }
    until("all are worked on", || gate.inside() == 16).await;
    let mut kept = server.connect().await;
    assert!(kept.get("/").await.ends_with("here"));
    let mut new = server.connect().await;

    let report = server.stop();
    until("it is stopping", || app.stopping().is_cancelled()).await;
    // Their requests were on their way.
    for client in [&mut kept, &mut new] {
        let answer = client.get("/").await;
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(client.rest().await, "");
    }
    until("no connection is taken", || std::net::TcpStream::connect(address).is_err()).await;
    gate.open.add_permits(16);
    for mut client in working {
        let answer = client.rest().await;
        assert!(
            answer.contains("\r\nconnection: close\r\n") && answer.ends_with("done"),
            "{answer}"
        );
    }
    assert_eq!(report.await.unwrap(), DrainReport { finished: 18, aborted: 0 });
}

#[tokio::test]
async fn a_request_without_an_end_is_ended_when_its_time_is_over() {
    let mut config = config();
    config.limits.drain = Duration::from_millis(100);
    let gate = Gate::new();
    let server = Running::start(Role::Http, config, gate.routes());
    let mut client = server.connect().await;
    client.send("GET /work HTTP/1.1\r\nhost: h\r\n\r\n").await;
    until("it is worked on", || gate.inside() == 1).await;
    assert_eq!(server.stop().await.unwrap(), DrainReport { finished: 0, aborted: 1 });
    assert_eq!(client.rest().await, "");
    assert_eq!(gate.inside(), 0, "it is not worked on any more");
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_the_server() {
    let mut config = config();
    config.limits.drain = Duration::from_secs(6);
    let server = Running::start(Role::Http, config, routes());
    let mut client = server.connect().await;
    assert!(client.get("/").await.ends_with("here"));
    assert_eq!(server.stop().await.unwrap(), DrainReport { finished: 0, aborted: 0 });
    assert_eq!(client.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_goes_unanswered() {
    let mut config = config();
    config.limits.drain = FOREVER;
    let server = Running::start(Role::Http, config, routes());
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..32 {
        let (mut client, answered) = (server.connect().await, Arc::clone(&answered));
        clients.push(tokio::spawn(async move {
            loop {
                let answer = client.get("/").await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("here"));
                answered.fetch_add(1, Ordering::SeqCst);
                if answer.contains("\r\nconnection: close\r\n") {
                    return;
                }
            }
        }));
    }
    until("many are answered", || answered.load(Ordering::SeqCst) > 1000).await;
    let report = server.stop();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(report.await.unwrap().aborted, 0);
}
