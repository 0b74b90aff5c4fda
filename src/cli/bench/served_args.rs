//! [`ServedArgs`]: how to measure a served model, as the command line says it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::bench::Schedule;
use crate::bench::endpoint::{Address, Protocol};
use crate::bench::traffic::{Level, Limits, Pace};
use crate::cli::ExitStatus;

use super::{BenchArgs, DEFAULT_DURATION, Failure, duration};

/// Requests of an open loop without an answer, where nothing is said.
const OUTSTANDING: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Rounds in which served and engine take turns, where nothing is said.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// How long each of them is, where nothing is said.
const ROUND_DURATION: Duration = Duration::from_secs(2);

/// Options for served models only.
#[derive(Debug, Args)]
pub(super) struct ServedArgs {
    /// The server: http://HOST:PORT or grpc://HOST:PORT, https and grpcs for TLS
    #[arg(long)]
    pub(super) url: Option<String>,
    /// The model [default: that of the URL, else the server's only one]
    #[arg(long, value_name = "NAME")]
    pub(super) model: Option<String>,
    /// How requests are written [default: http-binary, or grpc for grpc://]
    #[arg(long, value_enum)]
    protocol: Option<ProtocolArg>,
    /// A closed loop of so many requests at a time; several with commas, one after the other. With
    /// --rate, most requests without an answer [default: 1, and 256]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    concurrency: Vec<NonZeroUsize>,
    /// Stop after so many requests that count
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// gRPC connections that the requests share [default: one for every 8 at a time]; over HTTP
    /// each request at a time has its own
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<NonZeroUsize>,
    /// Threads that make requests [default: 1]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
    /// No two requests with the same inputs; else up to 64 different ones take turns
    #[arg(long, conflicts_with = "data")]
    pub(super) distinct: bool,
    /// An engine to compare with: measured in this process, in turns with the served model. With
    /// --check it says which answers are right, and there may be several, one for each version
    #[arg(long, value_name = "FOLDER", group = "turns")]
    pub(super) engine: Vec<PathBuf>,
    /// Run --engine on the inputs of every request and compare; takes the client's time, so
    /// latencies are not those without it
    #[arg(long, requires = "engine")]
    pub(super) check: bool,
    /// With --check, how far floats may differ, as a fraction of the largest of a sample; 0 for
    /// not at all [default: 1e-5]
    #[arg(long, value_name = "X", requires = "check", value_parser = fraction)]
    pub(super) tolerance: Option<f64>,
    /// In a closed loop, how far apart the requests of each caller should have been: longer times
    /// are corrected for those not made meanwhile
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "rate")]
    expected_interval: Option<Duration>,
    /// How long an answer may take [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// A file with the bearer token that requests carry
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Certificates to trust, as a PEM file [default: those this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArg {
    /// HTTP/1.1, tensors as JSON numbers
    HttpJson,
    /// HTTP/1.1, tensors as bytes after the JSON
    HttpBinary,
    /// gRPC
    Grpc,
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    fraction.ok_or_else(|| "write a fraction, such as `1e-3`".to_owned())
}

impl ServedArgs {
    /// The first option that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            ("url", self.url.is_some()),
            ("model", self.model.is_some()),
            ("protocol", self.protocol.is_some()),
            ("concurrency", !self.concurrency.is_empty()),
            ("requests", self.requests.is_some()),
            ("connections", self.connections.is_some()),
            ("threads", self.threads.is_some()),
            ("distinct", self.distinct),
            ("engine", !self.engine.is_empty()),
            ("expected-interval", self.expected_interval.is_some()),
            ("timeout", self.timeout.is_some()),
            ("token-file", self.token_file.is_some()),
            ("ca", self.ca.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// The first option that only endpoints have.
    pub(super) fn of_network(&self) -> Option<&'static str> {
        let options = [
            ("model", self.model.is_some()),
            ("protocol", self.protocol.is_some()),
            ("connections", self.connections.is_some()),
            ("token-file", self.token_file.is_some()),
            ("ca", self.ca.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_mins(1))
    }

    /// Whether engine and served model are compared in speed.
    pub(super) fn compares(&self) -> bool {
        !self.engine.is_empty() && !self.check
    }

    /// How requests are written.
    pub(super) fn protocol(&self, address: &Address) -> Protocol {
        match (self.protocol, address.is_grpc()) {
            (Some(ProtocolArg::HttpJson), _) => Protocol::HttpJson,
            (Some(ProtocolArg::HttpBinary), _) | (None, false) => Protocol::HttpBinary,
            (Some(ProtocolArg::Grpc), _) | (None, true) => Protocol::Grpc,
        }
    }

    fn paces(&self, args: &BenchArgs) -> Vec<Pace> {
        if args.rate.is_empty() {
            let one = [NonZeroUsize::MIN];
            let asked = if self.concurrency.is_empty() { &one[..] } else { &self.concurrency };
            return asked.iter().map(|&concurrency| Pace::Closed { concurrency }).collect();
        }
        let outstanding = self.concurrency.first().copied().unwrap_or(OUTSTANDING);
        let open = |Schedule { rate, gaps, seed }| Pace::Open { rate, gaps, outstanding, seed };
        args.schedules().map(open).collect()
    }

    pub(super) fn levels(&self, args: &BenchArgs) -> Vec<Level> {
        let standard = match (self.compares(), self.requests) {
            (true, _) => ROUND_DURATION,
            (false, Some(_)) => Duration::MAX,
            (false, None) => DEFAULT_DURATION,
        };
        let rounds = args.rounds.unwrap_or(ROUNDS);
        let level = |pace| Level {
            pace,
            warmup: args.warmup,
            limits: Limits { requests: self.requests, duration: args.duration.unwrap_or(standard) },
            rounds: if self.compares() { rounds } else { NonZeroUsize::MIN },
            expected_interval: self.expected_interval,
        };
        self.paces(args).into_iter().map(level).collect()
    }

    /// Refuses what does not go together.
    pub(super) fn refuse_contradictions(&self, args: &BenchArgs) -> Result<(), Failure> {
        let wrong = |message: &str, help: &str| {
            let (message, help) = (message.to_owned(), Some(help.to_owned()));
            Err(Failure { message, help, status: ExitStatus::USAGE })
        };
        if !args.rate.is_empty() && self.concurrency.len() > 1 {
            return wrong(
                "an open loop has one `--concurrency`",
                "leave out `--rate` for closed loops, or give several rates",
            );
        }
        if self.compares() && self.engine.len() > 1 {
            return wrong("there is one `--engine` to compare with", "several go with `--check`");
        }
        if self.compares() && self.requests.is_some() {
            return wrong(
                "`--requests` does not go with rounds of `--engine`",
                "`--duration` says how long each round is",
            );
        }
        if args.streams != NonZeroUsize::MIN && !self.compares() {
            return wrong("`--streams` is for an engine", "`--concurrency` is for requests");
        }
        if args.rounds.is_some() && self.check {
            return wrong("`--rounds` does not go with `--check`", "leave out one of them");
        }
        Ok(())
    }
}
