//! [`Queue`]: a [`BatchFormer`] that many threads push to and poll. It wakes as few of them as
//! possible: one per batch, and one that watches the clock for all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::batch_former::{BatchFormer, Entry, Leaving, Rules, Step, Waiting};

/// What waits to run, and the threads that wait for it.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    left: Condvar,
    depth: AtomicUsize,
    /// How many were cancelled since the queue was last searched for them.
    cancelled: AtomicUsize,
}

struct State<T> {
    former: BatchFormer<T>,
    /// Batches that were formed and are left to the next thread.
    formed: VecDeque<(u64, Vec<Entry<T>>)>,
    /// Threads that wait for something to do.
    idle: usize,
    /// Threads of these that were told to look again and have not yet.
    called: usize,
    /// When the one of them wakes that waits for a batch to be due.
    watched: Option<Instant>,
    is_closed: bool,
    /// Batches ever formed.
    batches: u64,
    /// Threads that have not left.
    workers: usize,
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The queue takes no more.
    Closed,
    /// As many wait as may.
    Full,
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Run the batch that left; it has this number, from 0.
    Run(u64),
    /// See to those who left without running, and come again.
    Dismiss,
    /// Leave: the queue is closed and empty.
    End,
}

impl<T: Waiting> State<T> {
    /// Whether a waiting thread is to be woken to look again: not where all of them are already.
    fn call(&mut self) -> bool {
        let is_waiting = self.idle > self.called;
        self.called += usize::from(is_waiting);
        is_waiting
    }

    /// How many wait, in batches or not.
    fn depth(&self) -> usize {
        self.former.len() + self.formed.iter().map(|(_, batch)| batch.len()).sum::<usize>()
    }

    fn has_work(&self) -> bool {
        self.former.len() > 0 || !self.formed.is_empty()
    }

    /// The number of a batch that was formed.
    fn number(&mut self) -> u64 {
        self.batches += 1;
        self.batches - 1
    }
}

impl<T: Waiting> Queue<T> {
    pub(super) fn new(rules: Rules) -> Self {
        let state = State {
            former: BatchFormer::new(rules),
            formed: VecDeque::new(),
            idle: 0,
            called: 0,
            watched: None,
            is_closed: false,
            batches: 0,
            workers: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            left: Condvar::new(),
            depth: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state, and then wakes the thread that was called, if one was.
    fn release(&self, state: MutexGuard<'_, State<T>>, calls: bool) {
        drop(state);
        if calls {
            self.changed.notify_one();
        }
    }

    /// How many wait.
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// One that waits was cancelled.
    pub(super) fn note_cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Release);
    }

    /// Whether some were cancelled since the last call.
    fn take_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) > 0 && self.cancelled.swap(0, Ordering::Acquire) > 0
    }

    /// Takes a request. Those who leave to make room for it are in `leaving`.
    ///
    /// `true` where a batch can go now and the caller, who said that it `helps`, is to run it or
    /// to call a thread; without that, a thread is called here.
    pub(super) fn push(
        &self,
        entry: Entry<T>,
        helps: bool,
        leaving: &mut Leaving<T>,
    ) -> Result<bool, Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        let pushed = state.former.push(entry).or_else(|entry| {
            // Those who need no answer any more make room.
            if self.take_cancelled() || state.former.has_late(entry.arrived) {
                state.former.sweep(entry.arrived, leaving);
            }
            state.former.push(entry)
        });
        self.depth.store(state.depth(), Ordering::Relaxed);
        if pushed.is_err() && state.call() {
            // Those who were to help may not be able to.
            self.changed.notify_one();
        }
        let pushed = pushed.map_err(|_| Refusal::Full)?;
        if helps && pushed.is_due {
            return Ok(true);
        }
        let is_urgent = pushed.is_due || state.watched.is_none_or(|watched| pushed.due < watched);
        let calls = is_urgent && state.call();
        self.release(state, calls);
        Ok(false)
    }

    /// Has a thread see to what waits.
    pub(super) fn call(&self) {
        let mut state = self.lock();
        let calls = state.has_work() && state.call();
        self.release(state, calls);
    }

    /// A batch that can go now, if there is one: its number. Whoever left the queue is in
    /// `leaving`.
    pub(super) fn try_next(&self, leaving: &mut Leaving<T>) -> Option<u64> {
        let mut state = self.lock();
        // What was left to threads goes first, and no more is formed than they have begun.
        if !state.formed.is_empty() {
            return None;
        }
        let step = self.poll(&mut state, Instant::now(), leaving);
        (step == Step::Dispatch).then(|| state.number())
    }

    /// Leaves a batch that [`Queue::try_next`] gave to the next thread. It comes back where the
    /// queue is closed: there may be no threads any more.
    pub(super) fn hand_over(&self, number: u64, batch: Vec<Entry<T>>) -> Result<(), Vec<Entry<T>>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(batch);
        }
        state.formed.push_back((number, batch));
        self.depth.store(state.depth(), Ordering::Relaxed);
        let calls = state.call();
        self.release(state, calls);
        Ok(())
    }

    fn poll(&self, state: &mut State<T>, now: Instant, leaving: &mut Leaving<T>) -> Step {
        if self.take_cancelled() {
            state.former.sweep(now, leaving);
        }
        let step = state.former.poll(now, leaving);
        self.depth.store(state.depth(), Ordering::Relaxed);
        step
    }

    /// Takes no more requests; those that wait are due now.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.former.hurry();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for something to do. Whoever left the queue for that is in `leaving`.
    pub(super) fn next(&self, leaving: &mut Leaving<T>) -> Next {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some((number, batch)) = state.formed.pop_front() {
                self.depth.store(state.depth(), Ordering::Relaxed);
                let calls = state.has_work() && state.call();
                self.release(state, calls);
                for entry in batch {
                    if entry.is_gone(now) {
                        leaving.dismiss(entry, now);
                    } else {
                        leaving.batch.push(entry);
                    }
                }
                let is_empty = leaving.batch.is_empty();
                return if is_empty { Next::Dismiss } else { Next::Run(number) };
            }
            let step = self.poll(&mut state, now, leaving);
            if step == Step::Dispatch {
                let number = state.number();
                let calls = state.former.len() > 0 && state.call();
                self.release(state, calls);
                return Next::Run(number);
            }
            if !(leaving.late.is_empty() && leaving.cancelled.is_empty()) {
                return Next::Dismiss;
            }
            if state.is_closed && step == Step::Idle {
                return Next::End;
            }
            state = self.rest(state, step, now);
        }
    }

    /// Waits for a change. One thread watches the clock for all.
    fn rest<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        step: Step,
        now: Instant,
    ) -> MutexGuard<'a, State<T>> {
        state.idle += 1;
        let watch = match step {
            Step::WaitUntil(at) if state.watched.is_none_or(|watched| at < watched) => Some(at),
            _ => None,
        };
        state = match watch {
            Some(at) => {
                state.watched = watch;
                let rest = at.saturating_duration_since(now);
                let woken = self.changed.wait_timeout(state, rest);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.idle -= 1;
        state.called = state.called.saturating_sub(1);
        if watch.is_some() && state.watched == watch {
            state.watched = None;
        }
        state
    }

    /// Somebody is about to take batches.
    pub(super) fn worker_comes(&self) {
        self.lock().workers += 1;
    }

    /// Somebody is about to use the contexts, unless nothing is taken any more.
    pub(super) fn worker_comes_if_open(&self) -> bool {
        let mut state = self.lock();
        state.workers += usize::from(!state.is_closed);
        !state.is_closed
    }

    /// One of those leaves. The last one does `last` before anybody hears that all have left.
    pub(super) fn worker_leaves(&self, last: impl FnOnce()) {
        let mut state = self.lock();
        if state.workers == 1 {
            drop(state);
            last();
            state = self.lock();
        }
        state.workers -= 1;
        let is_last = state.workers == 0;
        drop(state);
        if is_last {
            self.left.notify_all();
        }
    }

    /// Waits until every thread has left; `false` where some are still there at the deadline.
    pub(super) fn wait_until_left(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.workers > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            state = self.left.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::fake::{PATIENCE, until};

    struct Ticket;

    impl Waiting for Ticket {
        fn is_cancelled(&self) -> bool {
            false
        }
    }

    fn queue(max_batch: usize, limit: usize) -> Queue<Ticket> {
        Queue::new(Rules {
            max_batch: Some(max_batch),
            max_delay: PATIENCE * 10,
            preferred: Vec::new(),
            levels: 1,
            limit,
            preserve_ordering: false,
        })
    }

    fn push(queue: &Queue<Ticket>) -> Result<(), Refusal> {
        queue.push(entry(), false, &mut Leaving::default()).map(|_| ())
    }

    fn entry() -> Entry<Ticket> {
        Entry {
            item: Ticket,
            samples: 1,
            shape: Vec::new(),
            level: 0,
            arrived: Instant::now(),
            deadline: None,
        }
    }

    #[test]
    fn a_closed_queue_gives_what_it_holds_takes_no_more_and_ends() {
        let queue = queue(8, 2);
        push(&queue).unwrap();
        push(&queue).unwrap();
        assert_eq!(push(&queue), Err(Refusal::Full));
        queue.close();
        assert_eq!(push(&queue), Err(Refusal::Closed));
        let mut leaving = Leaving::default();
        assert_eq!(queue.next(&mut leaving), Next::Run(0));
        assert_eq!((leaving.batch.len(), queue.depth()), (2, 0));
        assert_eq!(queue.next(&mut leaving), Next::End);
    }

    #[test]
    fn one_thread_watches_the_clock_and_one_is_called_for_a_batch() {
        let queue = queue(2, 8);
        let next = || queue.next(&mut Leaving::default());
        std::thread::scope(|scope| {
            let threads = [scope.spawn(next), scope.spawn(next)];
            until("both wait", || queue.lock().idle == 2);
            push(&queue).unwrap();
            until("one watches the clock", || queue.lock().watched.is_some());
            until("both wait again", || queue.lock().idle == 2 && queue.lock().called == 0);
            push(&queue).unwrap();
            until("one has gone", || queue.lock().idle == 1);
            queue.close();
            let mut ends = threads.map(|thread| thread.join().unwrap());
            ends.sort_by_key(|next| *next == Next::End);
            assert_eq!(ends, [Next::Run(0), Next::End]);
        });
    }

    #[test]
    fn who_helps_is_left_a_batch_that_can_go_and_no_other() {
        let queue = queue(2, 8);
        let mut leaving = Leaving::default();
        assert_eq!(queue.push(entry(), true, &mut leaving), Ok(false), "it waits for another one");
        assert_eq!(queue.try_next(&mut leaving), None);
        assert_eq!(queue.push(entry(), true, &mut leaving), Ok(true));
        assert_eq!(queue.try_next(&mut leaving), Some(0));
        assert_eq!((leaving.batch.len(), queue.depth()), (2, 0));
    }

    #[test]
    fn a_batch_that_was_left_to_a_helper_goes_where_a_thread_is_called_after_all() {
        let queue = queue(1, 8);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| queue.next(&mut Leaving::default()));
            until("it waits", || queue.lock().idle == 1);
            assert_eq!(queue.push(entry(), true, &mut Leaving::default()), Ok(true));
            assert_eq!(queue.lock().called, 0);
            queue.call();
            assert_eq!(thread.join().unwrap(), Next::Run(0));
        });
        queue.call();
    }

    #[test]
    fn a_batch_that_is_handed_over_is_the_next_that_a_thread_runs() {
        let queue = queue(1, 8);
        let mut leaving = Leaving::default();
        push(&queue).unwrap();
        assert_eq!(queue.try_next(&mut leaving), Some(0));
        assert!(queue.hand_over(0, std::mem::take(&mut leaving.batch)).is_ok());
        assert_eq!(queue.depth(), 1);
        push(&queue).unwrap();
        assert_eq!(queue.try_next(&mut leaving), None, "threads have not begun the first one");
        assert_eq!(queue.depth(), 2);
        queue.close();
        for number in 0..2 {
            assert_eq!(queue.next(&mut leaving), Next::Run(number));
            assert_eq!(leaving.batch.drain(..).count(), 1);
        }
        assert_eq!((queue.next(&mut leaving), queue.depth()), (Next::End, 0));
    }

    #[test]
    fn what_is_late_by_the_time_that_a_thread_takes_it_over_does_not_run() {
        let queue = queue(1, 8);
        let mut leaving = Leaving::default();
        let late = Entry { deadline: Some(Instant::now()), ..entry() };
        assert!(queue.hand_over(0, vec![late]).is_ok());
        assert_eq!(queue.next(&mut leaving), Next::Dismiss);
        assert_eq!((leaving.late.len(), leaving.batch.len(), queue.depth()), (1, 0, 0));
    }

    #[test]
    fn the_thread_that_takes_a_batch_over_leaves_the_clock_to_another_one() {
        let queue = queue(2, 8);
        let next = || queue.next(&mut Leaving::default());
        std::thread::scope(|scope| {
            let threads = [scope.spawn(next), scope.spawn(next)];
            until("both wait", || queue.lock().idle == 2);
            push(&queue).unwrap();
            let watches = |idle| {
                let state = queue.lock();
                (state.idle, state.called, state.watched.is_some()) == (idle, 0, true)
            };
            until("one watches the clock", || watches(2));
            assert!(queue.hand_over(7, vec![entry()]).is_ok());
            until("the other one does", || watches(1));
            queue.close();
            let mut ends = threads.map(|thread| thread.join().unwrap());
            ends.sort_by_key(|next| *next != Next::Run(7));
            assert_eq!(ends, [Next::Run(7), Next::Run(0)]);
        });
    }

    #[test]
    fn a_batch_is_not_handed_over_when_there_may_be_no_threads_any_more() {
        let queue = queue(1, 8);
        let mut leaving = Leaving::default();
        push(&queue).unwrap();
        assert_eq!(queue.try_next(&mut leaving), Some(0));
        queue.close();
        assert_eq!(queue.next(&mut Leaving::default()), Next::End);
        assert_eq!(queue.hand_over(0, leaving.batch).unwrap_err().len(), 1);
    }

    #[test]
    fn a_queue_that_is_full_of_what_was_left_calls_a_thread() {
        let queue = queue(1, 1);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| queue.next(&mut Leaving::default()));
            until("it waits", || queue.lock().idle == 1);
            assert_eq!(queue.push(entry(), true, &mut Leaving::default()), Ok(true));
            assert_eq!(push(&queue), Err(Refusal::Full));
            assert_eq!(thread.join().unwrap(), Next::Run(0));
        });
    }

    #[test]
    fn no_more_threads_are_called_than_wait() {
        let queue = queue(2, 8);
        let mut state = queue.lock();
        state.idle = 2;
        assert_eq!([state.call(), state.call(), state.call()], [true, true, false]);
    }

    #[test]
    fn the_last_thread_does_its_duty_before_anybody_hears_that_all_have_left() {
        let queue = queue(2, 8);
        queue.worker_comes();
        queue.worker_comes();
        queue.worker_leaves(|| panic!("it was not the last one"));
        assert!(!queue.wait_until_left(Instant::now() + Duration::from_millis(1)));
        queue.worker_leaves(|| assert!(!queue.wait_until_left(Instant::now())));
        assert!(queue.wait_until_left(Instant::now()));
    }
}
