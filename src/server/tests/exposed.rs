//! Configurations that are refused, and addresses that cannot be had.

use std::net::SocketAddr;

use super::*;

async fn refusal(config: ServerConfig) -> String {
    let bound = Server::bind(config, Arc::default(), PipelineViews::default()).await;
    bound.err().map(|error| error.to_string()).unwrap_or_default()
}

fn at(address: &str) -> ServerConfig {
    ServerConfig { http: Some(address.parse().unwrap()), ..config() }
}

#[tokio::test]
async fn a_server_for_nobody_is_refused() {
    let expected = "the server has no address to listen on; pass `--http ADDRESS:PORT`";
    assert_eq!(refusal(config()).await, expected);
}

#[tokio::test]
async fn the_network_is_not_let_in_by_accident() {
    let all = |lacks: &str, address: &str| {
        format!(
            "{address} (`--http`) can be reached from the network: pass {lacks}, or `--insecure` \
             if everybody there may use it, or an address of this machine alone such as 127.0.0.1"
        )
    };
    let both = "a token and a certificate (`--token-file FILE --tls-cert FILE --tls-key FILE`)";
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:10.0.0.1]:1"] {
        assert_eq!(refusal(at(address)).await, all(both, address));
    }
    let mut config = at("0.0.0.0:0");
    config.token = Some(String::from("sesame").into());
    let lacks = "a certificate (`--tls-cert FILE --tls-key FILE`)";
    assert_eq!(refusal(config.clone()).await, all(lacks, "0.0.0.0:0"));
    config.insecure = true;
    assert_eq!(refusal(config.clone()).await, "");
    config.token = None;
    assert_eq!(refusal(config.clone()).await, "");
    config.control = true;
    let refused = refusal(config.clone()).await;
    assert!(refused.starts_with("with `--control on`, 0.0.0.0:0 (`--http`) lets"), "{refused}");
    (config.grpc, config.http) = (config.http, None);
    let refused = refusal(config).await;
    assert!(refused.starts_with("with `--control on`, 0.0.0.0:0 (`--grpc`) lets"), "{refused}");
}

#[tokio::test]
async fn this_machine_alone_needs_no_token() {
    for address in ["127.0.0.1:0", "127.8.8.8:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        assert_eq!(refusal(at(address)).await, "", "{address}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_refused() {
    for token in ["", " ", " sesame", "ses\name", "sésame\n"] {
        let config = ServerConfig { token: Some(token.to_owned().into()), ..at("127.0.0.1:0") };
        let refused = refusal(config).await;
        assert!(refused.starts_with("the token must be visible text"), "{token:?}: {refused}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_option_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = ServerConfig { admin: Some(address), ..at("127.0.0.1:0") };
    assert_eq!(
        refusal(config).await,
        format!(
            "failed to listen on {address} for control requests: Address already in use (os error \
             98); stop the program that uses it, or pass `--admin` another port (port 0 takes a \
             free one)"
        )
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_its_option() {
    let mut config = at("192.0.2.1:0");
    config.insecure = true;
    let refused = refusal(config).await;
    assert!(
        refused.ends_with("pass `--http` an address of this machine, or 127.0.0.1"),
        "{refused}"
    );
}

#[tokio::test]
async fn port_zero_takes_a_free_one_and_the_server_answers_there() {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig { admin: Some(free), grpc: Some(free), ..at("127.0.0.1:0") };
    let server = Server::bind(config, Arc::default(), PipelineViews::default()).await.unwrap();
    let addresses = server.addresses();
    let ports = [addresses.http, addresses.grpc, addresses.admin].map(|it| it.unwrap().port());
    assert!(ports.iter().all(|&port| port != 0), "{ports:?}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    for address in [addresses.http, addresses.admin] {
        let mut client = Client(tokio::net::TcpStream::connect(address.unwrap()).await.unwrap());
        assert!(client.get("/v2/health/live").await.starts_with("HTTP/1.1 200 OK"));
    }
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap().aborted, 0);
}
