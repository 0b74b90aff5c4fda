//! [`ServerError`]: why a server did not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::tls::TlsError;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Inference over HTTP.
    Http,
    /// Inference over gRPC.
    Grpc,
    /// Control requests, metrics and the page.
    Admin,
}

impl Role {
    /// The option that sets its address.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Http => "--http",
            Self::Grpc => "--grpc",
            Self::Admin => "--admin",
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP requests",
            Self::Grpc => "gRPC requests",
            Self::Admin => "control requests",
        })
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is nowhere to listen.
    #[error("the server has no address to listen on; pass `--http ADDRESS:PORT`")]
    NoListener,
    /// The token cannot be sent in a header.
    #[error(
        "the token must be visible text without spaces around it; make one with \
         `openssl rand -hex 32`"
    )]
    Token,
    /// Others on the network could ask without a token, or read what is asked.
    #[error(
        "{address} (`{}`) can be reached from the network: pass {lacks}, or `--insecure` if everybody \
         there may use it, or an address of this machine alone such as 127.0.0.1",
        .role.flag()
    )]
    Exposed {
        /// What the address is for.
        role: Role,
        /// The address.
        address: SocketAddr,
        /// What would make it safe.
        lacks: &'static str,
    },
    /// Others on the network could load and unload models.
    #[error(
        "with `--control on`, {address} (`{}`) lets everybody on the network load and unload \
         models: pass `--token-file FILE`, or leave control requests to the `--admin` address",
        .role.flag()
    )]
    OpenControl {
        /// What the address is for.
        role: Role,
        /// The address.
        address: SocketAddr,
    },
    /// The certificate cannot be shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address could not be listened on.
    #[error("failed to listen on {address} for {role}: {source}; {}", next_step(*.role, .source))]
    Listen {
        /// What it was for.
        role: Role,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

fn next_step(role: Role, error: &io::Error) -> String {
    let flag = role.flag();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "stop the program that uses it, or pass `{flag}` another port (port 0 takes a free one)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need a privilege; pass `{flag}` a higher one")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("pass `{flag}` an address of this machine, or 127.0.0.1")
        }
        _ => format!("pass `{flag}` another address"),
    }
}
