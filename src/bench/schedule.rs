//! [`Schedule`]: when the runs of an open loop are due. Pure: time is an argument.

use std::time::Duration;

use super::traffic::{Arrivals, Gaps};

/// So many runs a second, whether those before them ended or not: each counts from the moment it
/// was due, so one that waits for a free context has its waiting in its latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Runs a second of all contexts, more than 0.
    pub rate: f64,
    /// How far apart they are.
    pub gaps: Gaps,
    /// What the gaps are drawn from.
    pub seed: u64,
}

/// The runs that are still to come, in the order in which they are due.
pub(super) struct Queue {
    arrivals: Arrivals,
    rate: f64,
    duration: Duration,
    /// Due, and not handed out yet.
    next: Option<Duration>,
    /// Since when runs were due that nobody began in time.
    missed: Option<Duration>,
}

/// When the next run is due, from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It was, at that moment.
    Now(Duration),
    /// It will be, after so much time.
    In(Duration),
    /// There is no further run.
    Never,
}

impl Queue {
    /// The runs that are due within a time from the start.
    pub(super) fn new(schedule: Schedule, duration: Duration) -> Self {
        let Schedule { rate, gaps, seed } = schedule;
        let arrivals = Arrivals::new(rate, gaps, seed);
        Self { arrivals, rate, duration, next: None, missed: None }
    }

    /// Hands out the next run, if it is due at this moment. After the end nothing begins.
    pub(super) fn next(&mut self, now: Duration) -> Due {
        let due = match self.next {
            Some(due) => due,
            None => match self.arrivals.next() {
                Some(due) => *self.next.insert(due),
                None => return Due::Never,
            },
        };
        if due >= self.duration {
            return Due::Never;
        }
        if now >= self.duration {
            self.missed.get_or_insert(due);
            return Due::Never;
        }
        if due > now {
            return Due::In(due - now);
        }
        self.next = None;
        Due::Now(due)
    }

    /// About how many runs were due before the end and could not begin before it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and one beyond 2^64 is none"
    )]
    pub(super) fn unstarted(&self) -> u64 {
        let Some(missed) = self.missed else { return 0 };
        let left = (self.duration - missed).as_secs_f64() * self.rate;
        left.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn queue(rate: f64, duration: Duration) -> Queue {
        Queue::new(Schedule { rate, gaps: Gaps::Constant, seed: 1 }, duration)
    }

    #[test]
    fn a_run_is_handed_out_once_and_not_before_it_is_due() {
        let mut queue = queue(100.0, 25 * MS);
        assert_eq!(queue.next(4 * MS), Due::In(6 * MS));
        assert_eq!(queue.next(9 * MS), Due::In(MS));
        assert_eq!(queue.next(10 * MS), Due::Now(10 * MS));
        assert_eq!(queue.next(10 * MS), Due::In(10 * MS));
        assert_eq!(queue.next(23 * MS), Due::Now(20 * MS), "it was due earlier");
        assert_eq!((queue.next(23 * MS), queue.unstarted()), (Due::Never, 0));
    }

    #[test]
    fn runs_that_nobody_begins_before_the_end_are_counted() {
        let mut queue = queue(1000.0, 100 * MS);
        assert_eq!(queue.next(50 * MS), Due::Now(MS));
        // Due at 2 ms, 3 ms .. 99 ms.
        assert_eq!((queue.next(100 * MS), queue.next(101 * MS)), (Due::Never, Due::Never));
        assert_eq!(queue.unstarted(), 98);
    }

    #[test]
    fn where_nothing_is_due_in_time_there_is_no_run() {
        assert_eq!(queue(1.0, 500 * MS).next(Duration::ZERO), Due::Never);
        assert_eq!(queue(1e-300, Duration::MAX).next(Duration::ZERO), Due::Never);
    }
}
