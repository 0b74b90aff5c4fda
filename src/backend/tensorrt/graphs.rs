//! [`Graphs`]: which runs of a context are submitted as CUDA graphs.
//!
//! Counts how often shapes come, keeps as many graphs as there is room for, and remembers why there
//! is none. Knows nothing of how runs are captured and tried.

use std::collections::HashMap;

use crate::deployment::CudaGraphs;
use crate::tensor::Shape;

use super::handle::GraphId;

/// The run at which shapes count as such that come again and again.
const AGAIN: u64 = 3;
/// Most shapes that are remembered.
const MOST_SHAPES: usize = 1024;
/// Most graphs of a context, and most device memory that they take.
const MOST_GRAPHS: usize = 128;
const MOST_BYTES: u64 = 512 << 20;
/// A graph makes room for another once there were so many runs without it. With less patience,
/// more shapes than there is room for would be captured over and over.
const PATIENCE: u64 = 1000;

/// The graphs of one context.
pub(super) struct Graphs {
    mode: CudaGraphs,
    known: Vec<Known>,
    places: HashMap<Vec<Shape>, usize>,
    /// The shapes of the run that is made.
    current: Option<usize>,
    /// All runs ever.
    runs: u64,
}

/// What is known of a set of input shapes.
struct Known {
    shapes: Vec<Shape>,
    runs: u64,
    /// The number of its last run among all.
    last: u64,
    state: State,
}

enum State {
    /// There is none yet.
    None,
    Graph {
        id: GraphId,
        bytes: u64,
    },
    /// There will be none.
    Never(String),
}

impl Graphs {
    pub(super) fn new(mode: CudaGraphs) -> Self {
        Self { mode, known: Vec::new(), places: HashMap::new(), current: None, runs: 0 }
    }

    /// Whether somebody asked for graphs, and wants to hear why there are none.
    pub(super) fn are_asked_for(&self) -> bool {
        matches!(self.mode, CudaGraphs::On | CudaGraphs::Batches(_))
    }

    /// Whether a graph must be faster than plain runs, since nobody asked for it.
    pub(super) fn must_pay(&self) -> bool {
        self.mode == CudaGraphs::Auto
    }

    /// The graph for these shapes, which are those of runs from now on.
    pub(super) fn choose(
        &mut self,
        shapes: &[Shape],
        is_there: impl Fn(GraphId) -> bool,
    ) -> Option<GraphId> {
        if self.mode == CudaGraphs::Off {
            return None;
        }
        let at = self.place(shapes);
        self.current = Some(at);
        let known = &mut self.known[at];
        match known.state {
            State::Graph { id, .. } if is_there(id) => Some(id),
            State::Graph { .. } => {
                known.state = State::None;
                None
            }
            State::None | State::Never(_) => None,
        }
    }

    fn place(&mut self, shapes: &[Shape]) -> usize {
        if let Some(&at) = self.places.get(shapes) {
            return at;
        }
        if self.known.len() >= MOST_SHAPES {
            // Those with a graph are few.
            self.known.retain(|known| matches!(known.state, State::Graph { .. }));
            let places = self.known.iter().enumerate();
            self.places = places.map(|(at, known)| (known.shapes.clone(), at)).collect();
        }
        let at = self.known.len();
        let shapes = shapes.to_vec();
        self.places.insert(shapes.clone(), at);
        self.known.push(Known { shapes, runs: 0, last: 0, state: State::None });
        at
    }

    /// Counts a run of the shapes that were chosen. True where they are to have a graph now.
    pub(super) fn count(&mut self) -> bool {
        self.runs += 1;
        let Some(known) = self.current.and_then(|at| self.known.get_mut(at)) else { return false };
        known.runs += 1;
        known.last = self.runs;
        let is_due = matches!(known.state, State::None) && is_wanted(&self.mode, known);
        is_due && self.has_room()
    }

    /// How many graphs there are, and the device memory that they take.
    fn held(&self) -> (usize, u64) {
        let graphs = self.known.iter().filter_map(|known| match known.state {
            State::Graph { bytes, .. } => Some(bytes),
            _ => None,
        });
        graphs.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// Whether one more, of the usual size, can be kept.
    fn has_room(&self) -> bool {
        let (count, bytes) = self.held();
        let usual = bytes / (count as u64).max(1);
        fits(count, bytes + usual) || self.least_recent().is_some()
    }

    /// Takes a graph of the current shapes where there is room for so many bytes, or can be made:
    /// gives those that have to go, or the reason why it cannot be kept.
    pub(super) fn keep(&mut self, id: GraphId, bytes: u64) -> Result<Vec<GraphId>, String> {
        let Some(current) = self.current else { return Err("its shapes are not known".into()) };
        let mut released = Vec::new();
        loop {
            let (count, held) = self.held();
            if fits(count, held + bytes) {
                break;
            }
            let Some((known, id)) = self.least_recent() else { return Err(self.full()) };
            self.known[known].state = State::None;
            released.push(id);
        }
        self.known[current].state = State::Graph { id, bytes };
        Ok(released)
    }

    fn full(&self) -> String {
        let (count, held) = self.held();
        format!("{count} other graphs, which take {} MiB of device memory, are in use", held >> 20)
    }

    /// The graph that was used the longest ago, if that is long enough.
    fn least_recent(&self) -> Option<(usize, GraphId)> {
        let graphs = self.known.iter().enumerate().filter_map(|(at, known)| match known.state {
            State::Graph { id, .. } => Some((known.last, at, id)),
            _ => None,
        });
        let (last, at, id) = graphs.min()?;
        (self.runs - last >= PATIENCE).then_some((at, id))
    }

    /// The current shapes get no graph.
    pub(super) fn never(&mut self, reason: String) {
        if let Some(known) = self.current.and_then(|at| self.known.get_mut(at)) {
            known.state = State::Never(reason);
        }
    }

    /// Why the current shapes have no graph.
    pub(super) fn reason(&self) -> String {
        let known = self.current.and_then(|at| self.known.get(at));
        match (&self.mode, known) {
            (CudaGraphs::Off, _) => "`cuda_graphs` is `off`".to_owned(),
            (_, Some(Known { state: State::Never(reason), .. })) => reason.clone(),
            (CudaGraphs::Batches(_), Some(known)) if !is_wanted(&self.mode, known) => {
                format!("`cuda_graphs` does not list batch {}", batch(&known.shapes))
            }
            (CudaGraphs::Auto, Some(known)) if known.runs < AGAIN => {
                format!("its shapes ran {} times, graphs are made at {AGAIN}", known.runs)
            }
            _ if !self.has_room() => self.full(),
            _ => "it was not tried yet: all values of its inputs were the same".to_owned(),
        }
    }
}

fn fits(others: usize, bytes: u64) -> bool {
    others < MOST_GRAPHS && bytes <= MOST_BYTES
}

fn is_wanted(mode: &CudaGraphs, known: &Known) -> bool {
    match mode {
        CudaGraphs::Auto => known.runs >= AGAIN,
        CudaGraphs::On => true,
        CudaGraphs::Off => false,
        CudaGraphs::Batches(sizes) => sizes.contains(&batch(&known.shapes)),
    }
}

/// The batch of a run: the first axis of its first input.
fn batch(shapes: &[Shape]) -> usize {
    shapes.first().and_then(|shape| shape.0.first()).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> GraphId {
        GraphId::of(number as u64)
    }

    fn shapes(batch: usize) -> Vec<Shape> {
        vec![Shape(vec![batch, 3])]
    }

    /// Runs a batch once and keeps a graph of so many bytes where one is due.
    fn run(graphs: &mut Graphs, batch: usize, bytes: u64) -> Option<Result<Vec<GraphId>, String>> {
        graphs.choose(&shapes(batch), |_| true);
        graphs.count().then(|| graphs.keep(id(batch), bytes))
    }

    #[test]
    fn each_mode_says_when_a_graph_is_due() {
        for (mode, batch, due) in [
            (CudaGraphs::Auto, 1, [false, false, true]),
            (CudaGraphs::On, 1, [true, true, true]),
            (CudaGraphs::Off, 1, [false; 3]),
            (CudaGraphs::Batches(vec![1, 8]), 8, [true, true, true]),
            (CudaGraphs::Batches(vec![1, 8]), 4, [false; 3]),
        ] {
            let mut graphs = Graphs::new(mode.clone());
            graphs.choose(&shapes(batch), |_| true);
            assert_eq!([graphs.count(), graphs.count(), graphs.count()], due, "{mode:?}");
        }
    }

    #[test]
    fn a_graph_is_found_again_unless_it_is_gone() {
        let mut graphs = Graphs::new(CudaGraphs::On);
        assert!(run(&mut graphs, 1, 0).unwrap().is_ok());
        assert!(run(&mut graphs, 2, 0).unwrap().is_ok());
        assert_eq!(graphs.choose(&shapes(1), |_| true), Some(id(1)));
        assert!(!graphs.count(), "there is one already");
        assert_eq!(graphs.choose(&shapes(1), |_| false), None);
        assert!(graphs.count(), "there is none any more");
    }

    #[test]
    fn shapes_without_a_graph_keep_the_reason() {
        let mut graphs = Graphs::new(CudaGraphs::On);
        graphs.choose(&shapes(1), |_| true);
        assert!(graphs.count());
        graphs.never("it loops".into());
        assert_eq!(graphs.reason(), "it loops");
        assert!(!graphs.count());
    }

    #[test]
    fn graphs_in_use_are_not_driven_out_and_stale_ones_are() {
        let mut graphs = Graphs::new(CudaGraphs::On);
        let half = MOST_BYTES / 2;
        for batch in [1, 2] {
            assert!(run(&mut graphs, batch, half).unwrap().is_ok());
        }
        let full = "2 other graphs, which take 512 MiB of device memory, are in use";
        assert!(run(&mut graphs, 3, half).is_none(), "it was due without room");
        assert_eq!(graphs.reason(), full);
        assert_eq!(graphs.keep(id(3), half).unwrap_err(), full);
        graphs.choose(&shapes(2), |_| true);
        (0..PATIENCE).for_each(|_| assert!(!graphs.count()));
        let kept = run(&mut graphs, 4, half).unwrap().unwrap();
        assert_eq!(kept, [id(1)]);
        assert_eq!(graphs.choose(&shapes(2), |_| true), Some(id(2)));
    }

    #[test]
    fn ever_new_shapes_take_no_memory() {
        let mut graphs = Graphs::new(CudaGraphs::Auto);
        for _ in 0..3 {
            run(&mut graphs, 1, 1);
        }
        for batch in 2..3 * MOST_SHAPES {
            run(&mut graphs, batch, 1);
        }
        assert!(graphs.known.len() <= MOST_SHAPES && graphs.places.len() <= MOST_SHAPES);
        assert_eq!(graphs.choose(&shapes(1), |_| true), Some(id(1)));
    }
}
