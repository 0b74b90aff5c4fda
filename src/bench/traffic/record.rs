//! [`Recorder`]: how requests ended and how long they took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::endpoint::{CallTimes, Status};
use crate::runtime::{ErrorKind, PhaseTimes};

use super::latencies::{Latencies, Percentiles};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::endpoint::Split;

    const MS: Duration = Duration::from_millis(1);

    /// One that was due 1 ms after the start, made 2 ms later, and took 10 ms.
    fn note(start: Instant, ending: Ending, said: &str) -> Note<'_> {
        let split = Some(Split { send: MS, wait: 7 * MS, receive: 2 * MS });
        let parts = Parts::Call(CallTimes { connect: Duration::ZERO, split });
        let (due, sent) = (start + MS, start + 3 * MS);
        Note { due, sent, ended: sent + 10 * MS, ending, said, parts }
    }

    fn is(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} for {expected}");
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due_and_service_from_when_it_was_made() {
        let (mut recorder, start) = (Recorder::default(), Instant::now());
        recorder.note(start, &note(start, Ending::ANSWERED, ""));
        is(recorder.latency.percentiles().unwrap().p50_ms, 12.0);
        is(recorder.service.percentiles().unwrap().p50_ms, 10.0);
        is(recorder.late.percentiles().unwrap().p50_ms, 2.0);
        assert_eq!(recorder.time, 13 * MS);
        let parts: Vec<_> = recorder.parts().map(|(name, times)| (name, times.count)).collect();
        assert_eq!(parts, [("send", 1), ("wait", 1), ("receive", 1)]);
        assert!(recorder.refused.percentiles().is_none());
    }

    #[test]
    fn refusals_and_failures_are_told_apart_from_answers_and_from_each_other() {
        let (mut recorder, start) = (Recorder::default(), Instant::now());
        let refused = Ending::Status(Status::Http(429));
        let failed = Ending::Status(Status::Http(500));
        for (ending, said) in [
            (Ending::ANSWERED, ""),
            (refused, "full"),
            (refused, "full again"),
            (failed, "engine"),
            (Ending::TimedOut, "late"),
            (Ending::Runtime(ErrorKind::Overloaded), "queue"),
        ] {
            recorder.note(start, &note(start, ending, said));
        }
        let counts = [Class::Answered, Class::Refused, Class::Failed].map(|c| recorder.count(c));
        assert_eq!(counts, [1, 3, 2]);
        assert_eq!(recorder.latency.percentiles().unwrap().count, 1);
        assert_eq!(recorder.refused.percentiles().unwrap().count, 3);
        let told: Vec<String> = recorder
            .other_endings()
            .into_iter()
            .map(|Count { ending, count, said }| format!("{count} {ending}: {said}"))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        2 HTTP 429: full
        1 HTTP 500: engine
        1 overloaded: queue
        1 timeout: late
        ");
    }

    #[test]
    fn what_was_measured_twice_adds_up() {
        let (mut sum, start) = (Recorder::default(), Instant::now());
        let mut round = Recorder::default();
        round.note(start, &note(start, Ending::ANSWERED, ""));
        round.note(start, &note(start, Ending::Lost, "gone"));
        round.unsent = 3;
        sum.add(&round);
        sum.add(&round);
        assert_eq!((sum.count(Class::Answered), sum.count(Class::Failed), sum.unsent), (2, 2, 6));
        assert_eq!((sum.time, sum.latency.percentiles().unwrap().count), (26 * MS, 2));
        assert_eq!(sum.parts().count(), 3);
        assert_eq!(sum.other_endings()[0].count, 2);
    }
}
