//! [`ServerArgs`]: where to listen, who may ask and what bounds each request, as the command line
//! says it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::backend::tensorrt::ByteSize;
use crate::cli::project::Refusal;
use crate::cli::quantity::duration;
use crate::server::{Limits, ServerConfig, TlsFiles, Token};

/// The variable that holds the bearer token. There is no option for it: others could see it.
const TOKEN: &str = "TRT_PIPELINE_TOKEN";

#[derive(Debug, Args)]
#[command(next_help_heading = "Server options")]
pub(super) struct ServerArgs {
    /// Where to answer inference over HTTP; `off` to leave it out, port 0 for a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = listen)]
    http: Listen,
    /// Where to answer inference over gRPC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001", value_parser = listen)]
    grpc: Listen,
    /// Where to answer control requests, and show metrics and the page for people
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8002", value_parser = listen)]
    admin: Listen,
    /// Whether the inference addresses answer control requests as well
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    control: Switch,
    /// Answer only requests that carry the bearer token in this file, or in the environment
    /// variable `TRT_PIPELINE_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Speak TLS with this certificate, followed by those of its issuers (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let anybody on the network ask without a token, or in the clear
    #[arg(long)]
    insecure: bool,
    /// Let clients on this machine pass tensors in shared memory
    #[arg(long)]
    shared_memory: bool,
    /// Largest request, such as `64MiB` [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    max_body: Option<ByteSize>,
    /// Most requests that are answered at the same time [default: 4096]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_requests: Option<usize>,
    /// Most connections to each address [default: 16384]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_connections: Option<usize>,
    /// Longest time from a request to its answer, such as `500ms` [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,
    /// How long requests may take to end once the server was told to stop [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    drain_timeout: Option<Duration>,
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy)]
struct Listen(Option<SocketAddr>);

/// `off`, an address with a port, or a port of this machine alone.
fn listen(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen(None));
    }
    if let Ok(port) = text.parse() {
        return Ok(Listen(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))));
    }
    let found = text.to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(address)) => Ok(Listen(Some(address))),
        Ok(None) => Err("the name has no address".to_owned()),
        Err(error) => {
            Err(format!("write ADDRESS:PORT, such as `127.0.0.1:8000`, or `off` ({error})"))
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or("write a number from 1".to_owned())
}

impl ServerArgs {
    /// What the server wants to know.
    pub(super) fn config(&self) -> Result<ServerConfig, Refusal> {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        let defaults = Limits::default();
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        Ok(ServerConfig {
            http: self.http.0,
            grpc: self.grpc.0,
            admin: self.admin.0,
            control: self.control == Switch::On,
            token: self.token()?.map(Token::from),
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
            insecure: self.insecure,
            shared_memory: self.shared_memory,
            limits: Limits {
                body_bytes: self.max_body.map_or(defaults.body_bytes, bytes),
                requests: self.max_requests.unwrap_or(defaults.requests),
                connections: self.max_connections.unwrap_or(defaults.connections),
                request_timeout: self.request_timeout.unwrap_or(defaults.request_timeout),
                drain: self.drain_timeout.unwrap_or(defaults.drain),
                ..defaults
            },
        })
    }

    /// The file that holds the token, where it comes from one.
    pub(super) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// The token; whether it can be one is for the server to say.
    fn token(&self) -> Result<Option<String>, Refusal> {
        if let Some(path) = &self.token_file {
            return read_token(path).map(Some);
        }
        Ok(std::env::var(TOKEN).ok().filter(|token| !token.is_empty()))
    }
}

fn read_token(path: &Path) -> Result<String, Refusal> {
    let others_may_read = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
    };
    if others_may_read(path) {
        let path = path.display();
        tracing::warn!("other users may read the token in `{path}`: `chmod 600 {path}`");
    }
    let refused = |message, help: String| {
        let code = "serve::token";
        Refusal::Told { code, message, help: Some(help) }
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("failed to read the token file `{}`: {error}", path.display());
        refused(message, format!("name a file that is there, or set the variable {TOKEN}"))
    })?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        let message = format!("the token file `{}` is empty", path.display());
        let help = format!("make a token with `openssl rand -hex 32 > {}`", path.display());
        return Err(refused(message, help));
    }
    Ok(token.to_owned())
}
