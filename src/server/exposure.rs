//! What may be listened on: nobody on the network gets at a server that was not meant for them.

use std::net::SocketAddr;

use super::ServerConfig;
use super::error::{Role, ServerError};

/// Refuses what would open the server to more than the configuration says.
pub(super) fn check(config: &ServerConfig) -> Result<(), ServerError> {
    if config.token.as_ref().is_some_and(|token| !token.is_sendable()) {
        return Err(ServerError::Token);
    }
    for (role, address) in listening(config) {
        if address.ip().to_canonical().is_loopback() {
            continue;
        }
        let token = config.token.is_some();
        if config.control && role != Role::Admin && !token {
            return Err(ServerError::OpenControl { role, address });
        }
        let lacks = match (token, config.tls.is_some()) {
            (true, true) => continue,
            (false, true) => "a token (`--token-file FILE`)",
            (true, false) => "a certificate (`--tls-cert FILE --tls-key FILE`)",
            (false, false) => {
                "a token and a certificate (`--token-file FILE --tls-cert FILE --tls-key FILE`)"
            }
        };
        if !config.insecure {
            return Err(ServerError::Exposed { role, address, lacks });
        }
    }
    Ok(())
}

/// The addresses to listen on, and what for.
pub(super) fn listening(config: &ServerConfig) -> impl Iterator<Item = (Role, SocketAddr)> {
    [(Role::Http, config.http), (Role::Grpc, config.grpc), (Role::Admin, config.admin)]
        .into_iter()
        .filter_map(|(role, address)| Some((role, address?)))
}
