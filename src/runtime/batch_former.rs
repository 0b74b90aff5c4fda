//! [`BatchFormer`]: which waiting requests run together, and when. A pure machine: time is an
//! argument, and it starts, runs and answers nothing.
//!
//! The rules, in the order in which they matter:
//!
//! 1. A request whose deadline has passed, or whose caller went away, never runs.
//! 2. A batch holds requests of one shape (see [`Entry::shape`]) and at most `max_batch` samples.
//! 3. A batch is due when it is full, when a preferred size is reached, or when a request in it
//!    has waited `max_delay`, or half of its time where its deadline comes sooner.
//! 4. Of several shapes that are due, the one with the most urgent and then oldest request goes
//!    first. Within a shape, the more urgent levels go first, each in the order of arrival; a
//!    request that does not fit any more ends the batch, and is the first of its level next time.
//!
//! So nobody of a level is overtaken within a shape, and no shape holds up another for ever. More
//! urgent levels may hold up less urgent ones for as long as they fill every batch: that is what
//! urgency means, and deadlines bound it.
//!
//! With `preserve_ordering`, levels count for nothing and batches follow the order of arrival over
//! all shapes: one that is followed by a request of another shape is due at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How often at most the whole queue is searched for requests that are late.
const SEARCH_EVERY: Duration = Duration::from_millis(1);

/// How many shapes without requests are remembered.
const MOST_EMPTY: usize = 8;

/// What a former asks of what waits in it.
pub(super) trait Waiting {
    /// Whether nobody waits for the answer any more.
    fn is_cancelled(&self) -> bool;
}

/// How batches are formed.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Most samples in a batch; `None` where every request runs alone.
    pub(super) max_batch: Option<usize>,
    /// Longest time a request waits for others.
    pub(super) max_delay: Duration,
    /// Sizes that do not wait for more, ascending.
    pub(super) preferred: Vec<usize>,
    /// Number of priority levels, at least 1.
    pub(super) levels: usize,
    /// Most requests that wait.
    pub(super) limit: usize,
    /// Whether batches follow the order of arrival alone.
    pub(super) preserve_ordering: bool,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// What waits.
    pub(super) item: T,
    /// Its samples: at least one, no more than `max_batch`.
    pub(super) samples: usize,
    /// Requests join only those with an equal one.
    pub(super) shape: Vec<usize>,
    /// Its priority level from 0, the most urgent.
    pub(super) level: usize,
    /// When it came.
    pub(super) arrived: Instant,
    /// From when on it is late.
    pub(super) deadline: Option<Instant>,
}

/// What a push changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pushed {
    /// A batch can go now.
    pub(super) is_due: bool,
    /// When the request's batch is due at the latest.
    pub(super) due: Instant,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Run the batch that the poll gave.
    Dispatch,
    /// Nothing before this time, unless something is pushed.
    WaitUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// What left the queue.
#[derive(Debug)]
pub(super) struct Leaving<T> {
    /// To run together, in this order.
    pub(super) batch: Vec<Entry<T>>,
    /// Too late to run.
    pub(super) late: Vec<Entry<T>>,
    /// Nobody waits for their answers.
    pub(super) cancelled: Vec<Entry<T>>,
}

impl<T> Default for Leaving<T> {
    fn default() -> Self {
        Self { batch: Vec::new(), late: Vec::new(), cancelled: Vec::new() }
    }
}

/// The requests of one shape.
struct Group<T> {
    /// By level; each with the numbers of arrival.
    levels: Vec<VecDeque<(u64, Entry<T>)>>,
    samples: usize,
    /// No request is due before; where `has_shrunk`, perhaps none for longer.
    due: Instant,
    has_shrunk: bool,
}

impl<T> Group<T> {
    /// Level and number of the request that goes first.
    fn head(&self) -> Option<(usize, u64)> {
        let mut levels = self.levels.iter().enumerate();
        levels.find_map(|(level, queue)| Some((level, queue.front()?.0)))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.levels.iter().flatten().map(|(_, entry)| entry)
    }
}

/// Forms batches of waiting requests.
pub(super) struct BatchFormer<T> {
    rules: Rules,
    groups: BTreeMap<Vec<usize>, Group<T>>,
    len: usize,
    arrivals: u64,
    /// No request is late before; `None` where none has a deadline.
    late: Option<Instant>,
}

impl<T: Waiting> BatchFormer<T> {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, groups: BTreeMap::new(), len: 0, arrivals: 0, late: None }
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether a request waits that may be late.
    pub(super) fn has_late(&self, now: Instant) -> bool {
        self.late.is_some_and(|late| late <= now)
    }

    /// Takes a request, or gives it back where as many wait as may.
    pub(super) fn push(&mut self, mut entry: Entry<T>) -> Result<Pushed, Entry<T>> {
        if self.len >= self.rules.limit {
            return Err(entry);
        }
        let last_level = if self.rules.preserve_ordering { 0 } else { self.rules.levels - 1 };
        entry.level = entry.level.min(last_level);
        let due = self.rules.due(&entry);
        self.late = earlier(self.late, entry.deadline);
        if !self.groups.contains_key(&entry.shape) {
            self.add_group(entry.shape.clone(), due);
        }
        let follows = self.rules.preserve_ordering && self.len > 0;
        let Some(group) = self.groups.get_mut(&entry.shape) else { return Err(entry) };
        let closes_another = follows && group.samples == 0;
        group.due = if group.samples == 0 { due } else { group.due.min(due) };
        group.samples = group.samples.saturating_add(entry.samples);
        let is_due = closes_another || due <= entry.arrived || self.rules.suffices(group.samples);
        self.arrivals += 1;
        self.len += 1;
        group.levels[entry.level].push_back((self.arrivals, entry));
        Ok(Pushed { is_due, due })
    }

    fn add_group(&mut self, shape: Vec<usize>, due: Instant) {
        if self.groups.len() >= MOST_EMPTY {
            self.groups.retain(|_, group| group.samples > 0);
        }
        let levels = (0..self.rules.levels).map(|_| VecDeque::new()).collect();
        self.groups.insert(shape, Group { levels, samples: 0, due, has_shrunk: false });
    }

    /// Says what to do at `now`, and lets requests leave.
    pub(super) fn poll(&mut self, now: Instant, leaving: &mut Leaving<T>) -> Step {
        if self.has_late(now) {
            self.sweep(now, leaving);
        }
        loop {
            let (chosen, wake) = self.choose(now);
            let Some(shape) = chosen else {
                return wake.map_or(Step::Idle, |wake| Step::WaitUntil(self.or_late(wake)));
            };
            self.take(&shape, now, leaving);
            // All that were due may have been cancelled.
            if !leaving.batch.is_empty() {
                return Step::Dispatch;
            }
        }
    }

    fn or_late(&self, wake: Instant) -> Instant {
        self.late.map_or(wake, |late| late.min(wake))
    }

    /// From now on nobody waits for others.
    pub(super) fn hurry(&mut self) {
        self.rules.max_delay = Duration::ZERO;
        self.groups.values_mut().for_each(|group| group.has_shrunk = true);
    }

    /// Lets everybody leave who is late or cancelled.
    pub(super) fn sweep(&mut self, now: Instant, leaving: &mut Leaving<T>) {
        let mut late = None;
        for group in self.groups.values_mut() {
            let Group { levels, samples, has_shrunk, .. } = group;
            for queue in levels {
                if queue.iter().any(|(_, entry)| entry.is_gone(now)) {
                    let (gone, kept): (VecDeque<_>, _) =
                        queue.drain(..).partition(|(_, entry)| entry.is_gone(now));
                    *queue = kept;
                    for (_, entry) in gone {
                        self.len -= 1;
                        *samples -= entry.samples;
                        *has_shrunk = true;
                        leaving.dismiss(entry, now);
                    }
                }
                late = queue.iter().fold(late, |late, (_, entry)| earlier(late, entry.deadline));
            }
        }
        self.late = late.map(|late| late.max(now + SEARCH_EVERY));
    }

    /// The shape that goes now, if one does, or else when one will.
    fn choose(&mut self, now: Instant) -> (Option<Vec<usize>>, Option<Instant>) {
        let Self { rules, groups, .. } = self;
        let (mut chosen, mut wake): (Option<(_, &Vec<usize>)>, _) = (None, None);
        let is_closed = rules.preserve_ordering
            && groups.values().filter(|group| group.samples > 0).count() > 1;
        for (shape, group) in groups.iter_mut().filter(|(_, group)| group.samples > 0) {
            if is_closed || rules.is_due(group, now) {
                let head = group.head();
                if chosen.is_none_or(|(first, _)| head < first) {
                    chosen = Some((head, shape));
                }
            } else {
                wake = earlier(wake, Some(group.due));
            }
        }
        (chosen.map(|(_, shape)| shape.clone()), wake)
    }

    /// Lets a batch of this shape leave.
    fn take(&mut self, shape: &[usize], now: Instant, leaving: &mut Leaving<T>) {
        let ends = self.order_ends(shape);
        let Some(group) = self.groups.get_mut(shape) else { return };
        let target = self.rules.target(group, now);
        let mut taken = 0_usize;
        for level in 0..group.levels.len() {
            while let Some((number, front)) = group.levels[level].front() {
                if ends.is_some_and(|end| *number > end) {
                    return;
                }
                let is_gone = front.is_gone(now);
                let fits = taken == 0 || taken.saturating_add(front.samples) <= target;
                if !is_gone && !fits {
                    return;
                }
                let Some((_, entry)) = group.levels[level].pop_front() else { return };
                self.len -= 1;
                group.samples -= entry.samples;
                group.has_shrunk = true;
                if is_gone {
                    leaving.dismiss(entry, now);
                } else {
                    taken += entry.samples;
                    leaving.batch.push(entry);
                }
            }
        }
    }

    /// The number of arrival from which on others stand in between, where order is preserved.
    fn order_ends(&self, shape: &[usize]) -> Option<u64> {
        if !self.rules.preserve_ordering {
            return None;
        }
        let others = self.groups.iter().filter(|(other, _)| other.as_slice() != shape);
        others.filter_map(|(_, group)| group.head()).map(|(_, number)| number).min()
    }
}

impl Rules {
    /// When a request has waited for others long enough.
    fn due<T>(&self, entry: &Entry<T>) -> Instant {
        let half = entry.deadline.map(|at| at.saturating_duration_since(entry.arrived) / 2);
        entry.arrived + half.map_or(self.max_delay, |half| half.min(self.max_delay))
    }

    /// Whether so many samples wait for no more.
    fn suffices(&self, samples: usize) -> bool {
        self.max_batch.is_none_or(|most| samples >= most)
            || self.preferred.first().is_some_and(|&size| samples >= size)
    }

    fn is_due<T>(&self, group: &mut Group<T>, now: Instant) -> bool {
        if self.suffices(group.samples) {
            return true;
        }
        if group.has_shrunk {
            group.due = group.entries().map(|entry| self.due(entry)).min().unwrap_or(now);
            group.has_shrunk = false;
        }
        group.due <= now
    }

    /// The samples that a batch takes at most.
    fn target<T>(&self, group: &mut Group<T>, now: Instant) -> usize {
        let Some(most) = self.max_batch else { return 0 };
        let preferred = self.preferred.iter().rev().find(|&&size| size <= group.samples);
        match preferred {
            Some(&size) if group.samples < most && !self.has_waited(group, now) => size,
            _ => most,
        }
    }

    fn has_waited<T>(&self, group: &Group<T>, now: Instant) -> bool {
        group.due <= now && group.entries().any(|entry| self.due(entry) <= now)
    }
}

impl<T: Waiting> Entry<T> {
    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(super) fn is_gone(&self, now: Instant) -> bool {
        self.is_late(now) || self.item.is_cancelled()
    }
}

impl<T: Waiting> Leaving<T> {
    pub(super) fn dismiss(&mut self, entry: Entry<T>, now: Instant) {
        if entry.is_late(now) {
            self.late.push(entry);
        } else {
            self.cancelled.push(entry);
        }
    }
}

/// The earlier of two times, where there are any.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
