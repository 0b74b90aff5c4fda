//! [`Recorder`]: how requests ended and how long they took, in histograms of bounded size.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::endpoint::{CallTimes, Status};
use crate::runtime::{ErrorKind, PhaseTimes};

/// Digits that histograms keep: 0.1 %.
const DIGITS: u8 = 3;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// With an answer or a status of its protocol.
    Status(Status),
    /// In this process, without an answer.
    Runtime(ErrorKind),
    /// No connection could be opened.
    Connect,
    /// The connection broke.
    Lost,
    /// What came was no answer.
    Invalid,
    /// It took longer than it may.
    TimedOut,
}

/// What an ending means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Answered,
    /// Come again later.
    Refused,
    Failed,
}

impl Ending {
    pub(super) const ANSWERED: Self = Self::Status(Status::Answered);

    pub(super) fn class(self) -> Class {
        match self {
            Self::ANSWERED => Class::Answered,
            Self::Status(status) if status.is_refusal() => Class::Refused,
            Self::Runtime(ErrorKind::Overloaded | ErrorKind::Unavailable) => Class::Refused,
            _ => Class::Failed,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Status(status) => return status.fmt(f),
            Self::Runtime(kind) => match kind {
                ErrorKind::Invalid => "invalid request",
                ErrorKind::NotFound => "not found",
                ErrorKind::Unavailable => "unavailable",
                ErrorKind::Overloaded => "overloaded",
                ErrorKind::DeadlineExceeded => "deadline exceeded",
                ErrorKind::Cancelled => "cancelled",
                ErrorKind::Internal => "engine failed",
            },
            Self::Connect => "no connection",
            Self::Lost => "connection lost",
            Self::Invalid => "no valid answer",
            Self::TimedOut => "timeout",
        };
        f.write_str(word)
    }
}

/// Where the time of a request went, as far as its target tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts {
    /// As the client saw it.
    Call(CallTimes),
    /// As the model in this process counted it.
    Phases(PhaseTimes),
    Unknown,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note<'a> {
    /// When it was due.
    pub(super) due: Instant,
    /// When it was made.
    pub(super) sent: Instant,
    /// When its answer was there.
    pub(super) ended: Instant,
    pub(super) ending: Ending,
    /// What was said, where there was no answer.
    pub(super) said: &'a str,
    pub(super) parts: Parts,
}

/// How often something happened, with the words of the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What.
    pub ending: String,
    /// How often.
    pub count: u64,
    /// What was said with the first.
    pub said: String,
}

/// Times in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("5 digits are allowed at most")))
    }
}

impl Latencies {
    pub(super) fn record(&mut self, time: Duration) {
        // It grows as needed, and 2^63 nanoseconds are 292 years.
        self.0.saturating_record(nanoseconds(time));
    }

    fn add(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "both grow as needed");
    }

    /// These, and for each longer than `interval` those of the requests that were not made while
    /// it was waited for.
    pub(super) fn corrected(&self, interval: Duration) -> Self {
        Self(self.0.clone_correct(nanoseconds(interval)))
    }

    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            min_ms: milliseconds(self.0.min()),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: milliseconds(self.0.max()),
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// What the times of many requests look like, to 0.1 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub min_ms: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// What many requests came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    /// Of the answered: from when they were due.
    pub(super) latency: Latencies,
    /// Of the answered: from when they were made.
    pub(super) service: Latencies,
    /// Of the refused: from when they were made.
    pub(super) refused: Latencies,
    /// Of all: how much later they were made than due.
    pub(super) late: Latencies,
    parts: BTreeMap<&'static str, Latencies>,
    endings: BTreeMap<Ending, (u64, String)>,
    /// Requests of an open loop that found nobody to make them before the end.
    pub(super) unsent: u64,
    /// From the start to the last ending.
    pub(super) time: Duration,
}

/// The parts of a request in their order.
pub(super) const PARTS: [&str; 8] =
    ["connect", "send", "wait", "receive", "queue", "upload", "compute", "download"];

impl Recorder {
    pub(super) fn note(&mut self, start: Instant, note: &Note<'_>) {
        let ended = note.ended;
        self.time = self.time.max(ended.saturating_duration_since(start));
        self.late.record(note.sent.saturating_duration_since(note.due));
        let service = ended.saturating_duration_since(note.sent);
        match note.ending.class() {
            Class::Answered => {
                self.latency.record(ended.saturating_duration_since(note.due));
                self.service.record(service);
                self.part(note.parts);
            }
            Class::Refused => self.refused.record(service),
            Class::Failed => {}
        }
        let ending = self.endings.entry(note.ending);
        ending.or_insert_with(|| (0, note.said.to_owned())).0 += 1;
    }

    fn part(&mut self, parts: Parts) {
        let mut record = |name, time| self.parts.entry(name).or_default().record(time);
        match parts {
            Parts::Call(CallTimes { connect, split }) => {
                if !connect.is_zero() {
                    record("connect", connect);
                }
                if let Some(split) = split {
                    record("send", split.send);
                    record("wait", split.wait);
                    record("receive", split.receive);
                }
            }
            Parts::Phases(PhaseTimes { queue, upload, compute, download }) => {
                record("queue", queue);
                record("upload", upload);
                record("compute", compute);
                record("download", download);
            }
            Parts::Unknown => {}
        }
    }

    /// Adds those of another time.
    pub(super) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.refused.add(&other.refused);
        self.late.add(&other.late);
        for (name, times) in &other.parts {
            self.parts.entry(name).or_default().add(times);
        }
        for (ending, (count, said)) in &other.endings {
            self.endings.entry(*ending).or_insert_with(|| (0, said.clone())).0 += count;
        }
        self.unsent += other.unsent;
        self.time += other.time;
    }

    /// Requests that ended so.
    pub(super) fn count(&self, class: Class) -> u64 {
        let of_class = self.endings.iter().filter(|(ending, _)| ending.class() == class);
        of_class.map(|(_, (count, _))| count).sum()
    }

    /// What else happened than answers.
    pub(super) fn other_endings(&self) -> Vec<Count> {
        let others = self.endings.iter().filter(|(ending, _)| **ending != Ending::ANSWERED);
        let count = |(ending, (count, said)): (&Ending, &(u64, String))| Count {
            ending: ending.to_string(),
            count: *count,
            said: said.clone(),
        };
        others.map(count).collect()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, Percentiles)> {
        PARTS.into_iter().filter_map(|name| Some((name, self.parts.get(name)?.percentiles()?)))
    }
}
