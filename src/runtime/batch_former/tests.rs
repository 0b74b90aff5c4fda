use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Ticket {
    id: usize,
    cancelled: Rc<Cell<bool>>,
}

impl Waiting for Ticket {
    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rules(max_batch: usize, delay: u64) -> Rules {
    Rules {
        max_batch: Some(max_batch),
        max_delay: ms(delay),
        preferred: Vec::new(),
        levels: 1,
        limit: 100,
        preserve_ordering: false,
    }
}

/// A former with a clock of its own.
struct Bench {
    former: BatchFormer<Ticket>,
    now: Instant,
    pushed: usize,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        Self { former: BatchFormer::new(rules), now: Instant::now(), pushed: 0 }
    }

    fn push_with(&mut self, change: impl FnOnce(&mut Entry<Ticket>)) -> Option<Pushed> {
        let item = Ticket { id: self.pushed, cancelled: Rc::default() };
        self.pushed += 1;
        let mut entry = Entry {
            item,
            samples: 1,
            shape: Vec::new(),
            level: 0,
            arrived: self.now,
            deadline: None,
        };
        change(&mut entry);
        self.former.push(entry).ok()
    }

    fn push(&mut self) -> Option<Pushed> {
        self.push_with(|_| ())
    }

    /// The ids of the next batch; where there is none, for how long.
    fn poll(&mut self) -> Result<Vec<usize>, Option<Duration>> {
        let mut leaving = Leaving::default();
        match self.former.poll(self.now, &mut leaving) {
            Step::Dispatch => Ok(leaving.batch.iter().map(|entry| entry.item.id).collect()),
            Step::WaitUntil(at) => Err(Some(at - self.now)),
            Step::Idle => Err(None),
        }
    }
}

#[test]
fn a_batch_goes_when_it_is_full_or_when_its_first_request_has_waited_long_enough() {
    let mut bench = Bench::new(rules(3, 10));
    assert_eq!(bench.poll(), Err(None));
    assert!(!bench.push().unwrap().is_due);
    bench.now += ms(4);
    bench.push();
    assert_eq!(bench.poll(), Err(Some(ms(6))));
    assert!(bench.push().unwrap().is_due);
    bench.push();
    assert_eq!(bench.poll(), Ok(vec![0, 1, 2]));
    assert_eq!(bench.poll(), Err(Some(ms(10))));
    bench.now += ms(10);
    assert_eq!(bench.poll(), Ok(vec![3]));
    assert_eq!(bench.poll(), Err(None));
}

#[test]
fn without_a_delay_all_that_wait_go_together() {
    let mut bench = Bench::new(rules(8, 0));
    assert!(bench.push().unwrap().is_due);
    bench.push();
    assert_eq!(bench.poll(), Ok(vec![0, 1]));
}

#[test]
fn without_batching_every_request_goes_alone() {
    let mut bench = Bench::new(Rules { max_batch: None, ..rules(1, 50) });
    assert!(bench.push_with(|entry| entry.samples = 7).unwrap().is_due);
    bench.push();
    assert_eq!(bench.poll(), Ok(vec![0]));
    assert_eq!(bench.poll(), Ok(vec![1]));
}

#[test]
fn a_preferred_size_goes_at_once_and_the_largest_that_is_reached() {
    let mut bench = Bench::new(Rules { preferred: vec![2, 4], ..rules(16, 10) });
    bench.push();
    assert_eq!(bench.poll(), Err(Some(ms(10))));
    (0..5).for_each(|_| assert!(bench.push().unwrap().is_due));
    assert_eq!(bench.poll(), Ok(vec![0, 1, 2, 3]));
    assert_eq!(bench.poll(), Ok(vec![4, 5]));
    assert_eq!(bench.poll(), Err(None));
}

#[test]
fn urgent_requests_go_first_and_a_request_that_does_not_fit_is_the_first_of_the_next_batch() {
    let mut bench = Bench::new(Rules { levels: 2, ..rules(4, 0) });
    bench.push_with(|entry| (entry.level, entry.samples) = (1, 2));
    bench.push_with(|entry| (entry.level, entry.samples) = (1, 3));
    bench.push_with(|entry| (entry.level, entry.samples) = (1, 1));
    bench.push_with(|entry| entry.samples = 1);
    assert_eq!(bench.poll(), Ok(vec![3, 0]));
    assert_eq!(bench.poll(), Ok(vec![1, 2]));
}

#[test]
fn late_and_cancelled_requests_leave_without_running() {
    let mut bench = Bench::new(rules(4, 10));
    let deadline = bench.now + ms(30);
    bench.push_with(|entry| entry.deadline = Some(deadline));
    let gone = Rc::new(Cell::new(false));
    bench.push_with(|entry| entry.item.cancelled = Rc::clone(&gone));
    bench.push();
    gone.set(true);
    bench.now += ms(30);
    let mut leaving = Leaving::default();
    assert_eq!(bench.former.poll(bench.now, &mut leaving), Step::Dispatch);
    let ids = |entries: &[Entry<Ticket>]| entries.iter().map(|e| e.item.id).collect::<Vec<_>>();
    assert_eq!(ids(&leaving.late), [0]);
    assert_eq!(ids(&leaving.cancelled), [1]);
    assert_eq!(ids(&leaving.batch), [2]);
    assert_eq!(bench.former.len(), 0);
}

#[test]
fn a_request_with_a_near_deadline_waits_for_others_half_of_its_time() {
    let mut bench = Bench::new(rules(4, 10));
    bench.push();
    let deadline = bench.now + ms(6);
    bench.push_with(|entry| entry.deadline = Some(deadline));
    assert_eq!(bench.poll(), Err(Some(ms(3))));
    bench.now += ms(3);
    assert_eq!(bench.poll(), Ok(vec![0, 1]));
}

#[test]
fn the_oldest_shape_that_is_due_goes_first() {
    let mut bench = Bench::new(rules(2, 10));
    bench.push_with(|entry| entry.shape = vec![7]);
    bench.now += ms(1);
    bench.push_with(|entry| entry.shape = vec![5]);
    bench.push_with(|entry| entry.shape = vec![5]);
    bench.now += ms(9);
    bench.push_with(|entry| entry.shape = vec![5]);
    assert_eq!(bench.poll(), Ok(vec![0]));
    assert_eq!(bench.poll(), Ok(vec![1, 2]));
    assert_eq!(bench.poll(), Err(Some(ms(10))));
}

#[test]
fn preserved_order_runs_over_all_shapes_and_levels() {
    let mut bench = Bench::new(Rules { preserve_ordering: true, levels: 2, ..rules(8, 10) });
    bench.push_with(|entry| (entry.level, entry.shape) = (1, vec![5]));
    bench.push_with(|entry| entry.shape = vec![5]);
    assert_eq!(bench.poll(), Err(Some(ms(10))));
    assert!(bench.push_with(|entry| entry.shape = vec![7]).unwrap().is_due);
    bench.push_with(|entry| entry.shape = vec![5]);
    assert_eq!(bench.poll(), Ok(vec![0, 1]));
    assert_eq!(bench.poll(), Ok(vec![2]));
    assert_eq!(bench.poll(), Err(Some(ms(10))));
}

#[test]
fn one_more_than_the_limit_is_given_back() {
    let mut bench = Bench::new(Rules { limit: 2, ..rules(8, 10) });
    assert!(bench.push().is_some() && bench.push().is_some());
    assert_eq!(bench.push(), None);
    assert_eq!(bench.former.len(), 2);
}

#[derive(Debug, Clone)]
enum Action {
    Push { samples: usize, shape: usize, level: usize, deadline: Option<u64> },
    Advance(u64),
    Cancel(usize),
    Poll,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => (1..6_usize, 0..3_usize, 0..3_usize, proptest::option::of(0..40_u64)).prop_map(
            |(samples, shape, level, deadline)| Action::Push { samples, shape, level, deadline }
        ),
        3 => (0..12_u64).prop_map(Action::Advance),
        1 => (0..200_usize).prop_map(Action::Cancel),
        3 => Just(Action::Poll),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let sizes = proptest::collection::btree_set(1..9_usize, 0..3);
    let max_batch = proptest::option::weighted(0.9, 5..10_usize);
    (max_batch, 0..20_u64, sizes, 1..4_usize, 1..12_usize, any::<bool>()).prop_map(
        |(max_batch, delay, preferred, levels, limit, preserve_ordering)| Rules {
            max_batch,
            max_delay: ms(delay),
            preferred: preferred.into_iter().collect(),
            levels,
            limit,
            preserve_ordering,
        },
    )
}

/// What is known of a pushed request: a plain restatement of the rules looks at these.
#[derive(Debug, Clone)]
struct Known {
    ticket: Ticket,
    samples: usize,
    shape: usize,
    level: usize,
    due: Instant,
    deadline: Option<Instant>,
}

struct Watcher {
    rules: Rules,
    waiting: BTreeMap<usize, Known>,
    /// The last id that ran, by level and shape; over all where order is preserved.
    last: BTreeMap<(usize, usize), usize>,
}

impl Watcher {
    fn samples_of(&self, shape: usize) -> usize {
        self.waiting.values().filter(|known| known.shape == shape).map(|known| known.samples).sum()
    }

    fn suffices(&self, shape: usize) -> bool {
        let samples = self.samples_of(shape);
        self.rules.max_batch.is_none_or(|most| samples >= most)
            || self.rules.preferred.iter().any(|&size| samples >= size)
    }

    /// Compares one poll with the rules.
    fn poll(&mut self, former: &mut BatchFormer<Ticket>, now: Instant) -> Step {
        let before = self.waiting.clone();
        let mut leaving = Leaving::default();
        let step = former.poll(now, &mut leaving);
        for entry in &leaving.late {
            let known = self.waiting.remove(&entry.item.id).expect("leaves once");
            assert!(known.deadline.unwrap() <= now);
        }
        for entry in &leaving.cancelled {
            let known = self.waiting.remove(&entry.item.id).expect("leaves once");
            assert!(known.ticket.cancelled.get());
        }
        assert_eq!(step == Step::Dispatch, !leaving.batch.is_empty());
        match step {
            Step::Dispatch => self.check_batch(&before, &leaving.batch, now),
            Step::Idle => assert!(self.waiting.is_empty(), "{:?}", self.waiting),
            Step::WaitUntil(at) => {
                assert!(at > now && !self.waiting.is_empty());
                for known in self.waiting.values().filter(|known| !known.ticket.cancelled.get()) {
                    assert!(!self.suffices(known.shape), "{known:?} could go");
                    let first = self.waiting.values().next().unwrap();
                    if !self.rules.preserve_ordering || known.shape == first.shape {
                        assert!(at <= known.due, "{known:?} is due before");
                    }
                }
            }
        }
        assert_eq!(former.len(), self.waiting.len());
        step
    }

    fn check_batch(
        &mut self,
        before: &BTreeMap<usize, Known>,
        batch: &[Entry<Ticket>],
        now: Instant,
    ) {
        let shape = before[&batch[0].item.id].shape;
        let of_shape = before.values().filter(|known| known.shape == shape);
        let another = before.values().any(|known| known.shape != shape);
        let samples: usize = of_shape.clone().map(|known| known.samples).sum();
        let suffices = self.rules.max_batch.is_none_or(|most| samples >= most)
            || self.rules.preferred.iter().any(|&size| samples >= size);
        assert!(
            suffices
                || of_shape.clone().any(|known| known.due <= now)
                || self.rules.preserve_ordering && another,
            "it went too early"
        );
        let total: usize = batch.iter().map(|entry| entry.samples).sum();
        match self.rules.max_batch {
            Some(most) => assert!(total <= most, "{total} samples"),
            None => assert_eq!(batch.len(), 1),
        }
        for entry in batch {
            let known = self.waiting.remove(&entry.item.id).expect("runs once");
            assert_eq!((known.shape, known.samples), (shape, entry.samples));
            assert!(known.deadline.is_none_or(|deadline| deadline > now), "it was late");
            assert!(!known.ticket.cancelled.get());
            let key = if self.rules.preserve_ordering { (0, 0) } else { (known.level, shape) };
            let last = self.last.insert(key, known.ticket.id);
            assert!(last.is_none_or(|last| last < known.ticket.id), "it was overtaken");
        }
        let levels: Vec<_> = batch.iter().map(|entry| (entry.level, entry.item.id)).collect();
        assert!(levels.is_sorted(), "urgent ones go first: {levels:?}");
    }
}

proptest! {
    #[test]
    fn every_request_leaves_once_and_every_batch_keeps_the_rules(
        rules in any_rules(),
        actions in proptest::collection::vec(action(), 0..120),
    ) {
        let mut now = Instant::now();
        let mut former = BatchFormer::new(rules.clone());
        let mut watcher = Watcher { rules, waiting: BTreeMap::new(), last: BTreeMap::new() };
        let mut tickets: Vec<Ticket> = Vec::new();
        for action in actions {
            match action {
                Action::Push { samples, shape, level, deadline } => {
                    let ticket = Ticket { id: tickets.len(), cancelled: Rc::default() };
                    tickets.push(ticket.clone());
                    let deadline = deadline.map(|after| now + ms(after));
                    let entry = Entry {
                        item: ticket.clone(),
                        samples,
                        shape: vec![shape],
                        level,
                        arrived: now,
                        deadline,
                    };
                    let is_full = watcher.waiting.len() == watcher.rules.limit;
                    match former.push(entry) {
                        Err(back) => {
                            assert!(is_full);
                            assert_eq!(back.item.id, ticket.id);
                        }
                        Ok(pushed) => {
                            assert!(!is_full);
                            let level = level.min(watcher.rules.levels - 1);
                            let half = deadline.map_or(Duration::MAX, |at| (at - now) / 2);
                            let due = now + watcher.rules.max_delay.min(half);
                            assert_eq!(pushed.due, due);
                            let known = Known { ticket, samples, shape, level, due, deadline };
                            watcher.waiting.insert(known.ticket.id, known);
                        }
                    }
                }
                Action::Advance(by) => now += ms(by),
                Action::Cancel(id) => {
                    if let Some(ticket) = tickets.get(id) {
                        ticket.cancelled.set(true);
                    }
                }
                Action::Poll => drop(watcher.poll(&mut former, now)),
            }
        }
        now += ms(1000);
        while watcher.poll(&mut former, now) == Step::Dispatch {}
        assert!(watcher.waiting.is_empty(), "{:?} were lost", watcher.waiting);
    }
}
