//! A server of the KServe v2 protocol, as its clients see it: [`Endpoint`].
//!
//! Owns addresses, connections, and what requests and answers look like over HTTP and gRPC. Knows
//! nothing of how often requests are made, or of what their times mean.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::tensor::{Tensor, TensorSpec};

mod address;
mod answer;
mod body;
mod connection;
mod describe;
mod error;
mod grpc;
mod http;
mod stream;
#[cfg(test)]
mod tests;

pub use address::{Address, Protocol};
pub use answer::{Output, Outputs, Reply, Status, Unreadable};
pub use connection::{CallError, CallTimes, Connection, Split};
pub use describe::{Counter, Counters, Description};
pub use error::EndpointError;

use stream::Connector;

/// Which server and model to ask, and how.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// Where it is.
    pub address: Address,
    /// How to ask.
    pub protocol: Protocol,
    /// The bearer token to carry.
    pub token: Option<String>,
    /// Certificates to trust, as a PEM file; `None` for those this machine trusts.
    pub ca: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// One model of a server of the KServe v2 protocol.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    protocol: Protocol,
    authorization: Option<HeaderValue>,
    host: HeaderValue,
    /// Where inferences are asked for.
    infer: Uri,
    connector: Connector,
    timeout: Duration,
}

/// A request to compute, ready to be sent.
#[derive(Debug, Clone)]
pub struct Message {
    body: Bytes,
    /// The length of the JSON before the tensors, where they are in binary.
    header_length: Option<usize>,
}

impl Endpoint {
    /// Reads certificates; does not connect yet.
    pub fn new(options: EndpointOptions) -> Result<Self, EndpointError> {
        let EndpointOptions { address, protocol, token, ca, timeout } = options;
        if address.is_grpc() != (protocol == Protocol::Grpc) {
            let (protocol, address) = (protocol.name(), address.to_string());
            return Err(EndpointError::Protocol { protocol, address });
        }
        let connector = Connector::new(&address, protocol, ca.as_deref())?;
        let bearer = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let mut authorization = bearer.transpose().map_err(|_| EndpointError::Token)?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let host = HeaderValue::try_from(address.authority()).map_err(|_| wrong_host(&address))?;
        let infer = Uri::default();
        Ok(Self { address, protocol, authorization, host, infer, connector, timeout })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How it is asked.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Asks who it is and what the model takes. Chooses the model where the address names none
    /// and the server has one only.
    pub async fn describe(&mut self) -> Result<Description, EndpointError> {
        let described = tokio::time::timeout(self.timeout, async {
            let mut connection = self.connect().await.map_err(|error| self.unreachable(error))?;
            match self.protocol {
                Protocol::Grpc => grpc::describe(self, &mut connection).await,
                Protocol::HttpJson | Protocol::HttpBinary => {
                    http::describe(self, &mut connection).await
                }
            }
        });
        let description = described.await.map_err(|_| self.silent())??;
        self.address.model = Some(description.model.clone());
        self.infer = match self.protocol {
            Protocol::Grpc => grpc::method(&self.address, "ModelInfer")?,
            Protocol::HttpJson | Protocol::HttpBinary => {
                let path = self.address.path(&description.model) + "/infer";
                path.parse().map_err(|_| wrong_host(&self.address))?
            }
        };
        Ok(description)
    }

    /// What the server counted for the model so far; `None` where it does not say.
    pub async fn counters(&self) -> Result<Option<Counters>, EndpointError> {
        let counted = tokio::time::timeout(self.timeout, async {
            let mut connection = self.connect().await.map_err(|error| self.unreachable(error))?;
            match self.protocol {
                Protocol::Grpc => grpc::counters(self, &mut connection).await,
                Protocol::HttpJson | Protocol::HttpBinary => {
                    http::counters(self, &mut connection).await
                }
            }
        });
        counted.await.map_err(|_| self.silent())?
    }

    /// A new connection.
    pub async fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.connector, self.protocol).await
    }

    /// The request that asks for all outputs for these inputs.
    pub fn message(
        &self,
        inputs: &[TensorSpec],
        tensors: &[Tensor],
    ) -> Result<Message, EndpointError> {
        match self.protocol {
            Protocol::Grpc => grpc::message(&self.address, inputs, tensors),
            Protocol::HttpJson => Ok(body::json(inputs, tensors)),
            Protocol::HttpBinary => Ok(body::binary(inputs, tensors)),
        }
    }

    /// Sends a request and waits for all of its answer.
    pub async fn infer(
        &self,
        connection: &mut Connection,
        message: &Message,
        times: &mut CallTimes,
    ) -> Result<Reply, CallError> {
        let request = match self.protocol {
            Protocol::Grpc => grpc::request(self, self.infer.clone(), message.body.clone()),
            Protocol::HttpJson | Protocol::HttpBinary => http::infer(self, message),
        };
        let call = connection.call(&self.connector, self.protocol, request, times);
        tokio::time::timeout(self.timeout, call).await.unwrap_or(Err(CallError::TimedOut))
    }

    /// Asks something else than an inference.
    async fn ask(
        &self,
        connection: &mut Connection,
        request: connection::Request,
    ) -> Result<Reply, CallError> {
        let mut times = CallTimes::default();
        connection.call(&self.connector, self.protocol, request, &mut times).await
    }

    /// Adds what every request carries.
    fn authorize(&self, request: &mut connection::Request) {
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
    }

    /// The error that tells of a connection that could not be opened.
    pub fn unreachable(&self, source: io::Error) -> EndpointError {
        let address = self.address.to_string();
        match source.kind() {
            // That is how a handshake fails.
            io::ErrorKind::InvalidData => {
                EndpointError::Tls { address, reason: source.to_string() }
            }
            _ => EndpointError::Unreachable { address, source: Arc::new(source) },
        }
    }

    fn broken(&self, error: CallError) -> EndpointError {
        let address = self.address.origin();
        match error {
            CallError::Invalid(found) if !self.address.tls && !self.address.grpc => {
                EndpointError::NotHttp { address, found }
            }
            CallError::Invalid(found) => EndpointError::NotKServe { address, found },
            error => EndpointError::Broken { address, reason: error.to_string() },
        }
    }

    fn silent(&self) -> EndpointError {
        let (address, seconds) = (self.address.to_string(), self.timeout.as_secs_f64());
        EndpointError::Silent { address, seconds }
    }
}

fn wrong_host(address: &Address) -> EndpointError {
    let reason = "its names do not fit in one";
    EndpointError::Address { text: address.to_string(), reason }
}
