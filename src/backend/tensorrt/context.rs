//! [`TensorRtContext`]: one caller's run.
//!
//! A run copies inputs from pinned memory to the GPU, executes, copies outputs back and waits
//! once. All memory is allocated when a profile is first used, at the largest shapes of that
//! profile, and kept; while shapes do not change, a run tells TensorRT nothing but to run. Shapes
//! that are worth it get a CUDA graph, which is launched instead once it has passed its trial.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::shapes::{
    accept, agree, misfit, no_profile, no_results, no_such, not_set, takes,
};
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes, SubmittedAs};
use crate::tensor::Shape;

use super::engine::TensorRtEngine;
use super::error::TrtError;
use super::graphs::Graphs;
use super::handle::{ContextHandle, GraphId};
use super::plan;
use super::staging::{Input, Output};
use super::stopwatch::Stopwatch;
use super::trial::{self, POISON};

/// How often a graph and plain runs are timed in turns, and of the shortest time of plain runs the
/// part that the graph may take to be worth its memory.
const ROUNDS: usize = 5;
const WORTH: f64 = 0.97;

/// One run at a time of a [`TensorRtEngine`].
pub(super) struct TensorRtContext {
    handle: ContextHandle,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// The profile that is chosen and has its memory.
    profile: Option<usize>,
    /// How runs are submitted; `None` where shapes changed.
    way: Option<Way>,
    graphs: Graphs,
    /// Whether the outputs are those of the last run.
    has_results: bool,
    stopwatch: Stopwatch,
    engine: Arc<TensorRtEngine>,
}

/// How a run is submitted.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Kernel by kernel: TensorRT knows the shapes of all inputs.
    Plain,
    Graph(GraphId),
}

impl TensorRtContext {
    pub(super) fn new(engine: Arc<TensorRtEngine>) -> Result<Self, BackendError> {
        let failed = |error: TrtError| running(error, "making an execution context");
        let handle = engine.new_handle().map_err(failed)?;
        let stopwatch = Stopwatch::new(handle.gpu()).map_err(|error| failed(error.into()))?;
        Ok(Self {
            inputs: engine.input_ports().iter().copied().map(Input::new).collect(),
            outputs: engine.output_ports().iter().copied().map(Output::new).collect(),
            profile: None,
            way: None,
            graphs: Graphs::new(engine.cuda_graphs().clone()),
            has_results: false,
            handle,
            stopwatch,
            engine,
        })
    }

    /// The most bytes of an input in a profile that takes the shape: the chosen one, else the
    /// first. One that TensorRT reads on the host keeps its values when the profile changes: it
    /// has room for those of every profile.
    fn most_bytes(&self, index: usize, shape: &Shape) -> usize {
        let (engine, port) = (&self.engine, self.inputs[index].port);
        let name = &engine.inputs()[index].name;
        let most = |profile: usize| {
            let range = engine.ranges().get(profile)?.get(name)?;
            range.contains(shape).then(|| port.bytes(&range.max))?
        };
        let mut bytes = self.profile.into_iter().chain(0..engine.ranges().len()).filter_map(most);
        let bytes = if port.is_on_host { bytes.max() } else { bytes.next() };
        bytes.unwrap_or(0)
    }

    /// Brings values into the engine's own types.
    fn narrow(&mut self) -> Result<(), BackendError> {
        for (input, spec) in self.inputs.iter_mut().zip(self.engine.inputs()) {
            input.narrow(&mut self.handle).map_err(|value| {
                let reason =
                    format!("{value} does not fit the 32-bit integers that this TensorRT has");
                misfit(spec, input.shape.as_ref().unwrap_or(&Shape::default()), reason)
            })?;
        }
        Ok(())
    }

    /// The shapes of all inputs.
    fn shapes(&self) -> Result<Vec<Shape>, BackendError> {
        let inputs = self.engine.inputs().iter().zip(&self.inputs);
        inputs.map(|(spec, input)| input.shape.clone().ok_or_else(|| not_set(spec))).collect()
    }

    /// The profile that takes all inputs: the one that is chosen if it does, else the first.
    fn choose_profile(&self, shapes: &[Shape]) -> Result<usize, BackendError> {
        let inputs = || self.engine.inputs().iter().zip(shapes);
        agree(inputs())?;
        let ranges = self.engine.ranges();
        let chosen = self
            .profile
            .into_iter()
            .chain(0..ranges.len())
            .find(|&number| takes(&ranges[number], inputs()) && self.takes_values(number));
        chosen.ok_or_else(|| no_profile(inputs()))
    }

    /// Whether a profile takes the values of the inputs that hold shapes.
    fn takes_values(&self, profile: usize) -> bool {
        let mut ranges = self.engine.values().get(profile).into_iter().flatten();
        ranges.all(|(&index, (low, high))| {
            let values = self.inputs[index].values(&self.handle);
            let mut ends = low.iter().zip(high).zip(&values);
            ends.all(|((low, high), value)| (low..=high).contains(&value))
        })
    }

    /// Tells TensorRT the shapes that changed, and sees to memory for all that follows from them.
    fn settle(&mut self, profile: usize) -> Result<(), TrtError> {
        if self.profile != Some(profile) {
            self.profile = None;
            if self.engine.is_dynamic() && self.handle.profile() != Some(profile) {
                self.handle.set_profile(profile)?;
            }
            self.reserve_most(profile)?;
            self.profile = Some(profile);
        }
        for input in &mut self.inputs {
            input.settle(&mut self.handle)?;
        }
        self.handle.settle()?;
        for output in &mut self.outputs {
            output.settle(&self.handle, self.engine.ledger())?;
        }
        Ok(())
    }

    /// Sees to memory for the largest shapes of a profile, so that none is allocated later.
    fn reserve_most(&mut self, profile: usize) -> Result<(), TrtError> {
        let Self { handle, inputs, outputs, engine, .. } = self;
        for (input, spec) in inputs.iter_mut().zip(engine.inputs()) {
            let Some(range) = engine.ranges()[profile].get(&spec.name) else { continue };
            handle.reserve(input.port.place, input.port.bytes(&range.max).unwrap_or(usize::MAX))?;
            input.tell(handle, &range.max)?;
        }
        let follows_from_values = engine.values().get(profile).is_some_and(|v| !v.is_empty());
        // Where the largest shapes do not go together either, outputs grow as they need.
        if follows_from_values || handle.infer_shapes().is_err() {
            return Ok(());
        }
        for output in outputs {
            let most = handle.extents(output.port.place).as_deref().and_then(plan::shape);
            if let Some(bytes) = most.and_then(|shape| output.port.bytes(&shape)) {
                output.reserve(handle, engine.ledger(), bytes)?;
            }
        }
        Ok(())
    }

    /// How the next run is submitted, once all is ready for it.
    fn prepare(&mut self) -> Result<Way, BackendError> {
        match self.way {
            Some(Way::Plain) if self.handle.is_settled() => return Ok(Way::Plain),
            Some(Way::Graph(id)) if self.handle.graph(id).is_some() => return Ok(Way::Graph(id)),
            _ => self.way = None,
        }
        let shapes = self.shapes()?;
        let failed = |error| running(error, "preparing a run");
        let graph = self.graphs.choose(&shapes, |id| self.handle.graph(id).is_some());
        let way = if let Some(id) = graph {
            self.follow(id).map_err(failed)?;
            Way::Graph(id)
        } else {
            let profile = self.choose_profile(&shapes)?;
            self.settle(profile).map_err(failed)?;
            Way::Plain
        };
        self.stopwatch.measure_next();
        self.way = Some(way);
        Ok(way)
    }

    /// Gives outputs the shapes that a graph gives them.
    fn follow(&mut self, id: GraphId) -> Result<(), TrtError> {
        let Self { handle, outputs, engine, .. } = self;
        for output in outputs {
            let extents = handle.graph(id).and_then(|graph| graph.extents(output.port.place));
            output.follow(handle, engine.ledger(), extents.as_deref())?;
        }
        Ok(())
    }

    fn execute(&mut self, way: Way) -> Result<RunTimes, TrtError> {
        let Self { handle, inputs, outputs, stopwatch, engine, .. } = self;
        let (used, watch) = (&*handle, stopwatch.start());
        used.stream().scope(|work| -> Result<(), TrtError> {
            watch.mark(work, 0)?;
            for input in &*inputs {
                input.upload(used, work)?;
            }
            watch.mark(work, 1)?;
            match way {
                Way::Plain => used.enqueue(work)?,
                Way::Graph(id) => used.launch(id, work)?,
            }
            watch.mark(work, 2)?;
            for output in &mut *outputs {
                output.download(used, work)?;
            }
            Ok(watch.mark(work, 3)?)
        })?;
        for output in outputs {
            output.finish(handle, engine.ledger())?;
        }
        Ok(stopwatch.read()?)
    }

    /// Makes a graph of the run that just was, and uses it from now on where it passes its trial.
    /// Inputs and outputs are afterwards as they are now.
    fn make_graph(&mut self) -> Result<(), TrtError> {
        let inputs = trial::read_inputs(&self.inputs);
        let Some(others) = trial::others(&self.inputs, &inputs) else { return Ok(()) };
        let started = Instant::now();
        match self.handle.capture() {
            Ok(id) => {
                let captured = started.elapsed();
                let tried = self.try_graph(id, [&inputs, &others]);
                let is_broken = tried.is_err();
                let passed = tried.unwrap_or_else(|error| Err(error.to_string()));
                match passed.and_then(|()| self.keep(id)) {
                    Ok(()) => self.way = Some(Way::Graph(id)),
                    Err(reason) => {
                        self.handle.release(id);
                        if is_broken {
                            // The outputs are those of another run, if of any.
                            self.run_on(&inputs, Way::Plain)?;
                        }
                        self.do_without(reason);
                    }
                }
                let all = started.elapsed();
                tracing::debug!(?captured, ?all, graph = ?self.submitted_as(), "tried a CUDA graph");
            }
            // The run is over all the same. If more is broken than the capture, the next one fails.
            Err(error) => self.do_without(error.to_string()),
        }
        self.stopwatch.measure_next();
        Ok(())
    }

    /// Runs a graph and the engine in turns on the inputs as they are. That the graph is not faster
    /// is the reason not to use it, neither here nor for larger inputs.
    fn race(&mut self, id: GraphId) -> Result<Result<(), String>, TrtError> {
        let [mut plain, mut graph] = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            for (way, best) in [(Way::Plain, &mut plain), (Way::Graph(id), &mut graph)] {
                let started = Instant::now();
                self.execute(way)?;
                *best = started.elapsed().min(*best);
            }
        }
        if graph.as_secs_f64() <= plain.as_secs_f64() * WORTH {
            return Ok(Ok(()));
        }
        self.engine.graphs_do_not_pay(self.input_bytes());
        Ok(Err(format!("a graph is no faster: {graph:.1?} instead of {plain:.1?}")))
    }

    /// Bytes that a run copies to the GPU.
    fn input_bytes(&self) -> usize {
        self.inputs.iter().map(|input| input.staged().len()).sum()
    }

    /// Keeps a graph, and lets go of those that make room for it.
    fn keep(&mut self, id: GraphId) -> Result<(), String> {
        let Some(run) = self.handle.graph(id) else { return Err("it is gone".to_owned()) };
        let bytes = run.device_bytes();
        for id in self.graphs.keep(id, bytes)? {
            self.handle.release(id);
        }
        Ok(())
    }

    fn do_without(&mut self, reason: String) {
        if self.graphs.are_asked_for() {
            self.engine.warn_of_graphs(&reason);
        } else {
            tracing::debug!("runs are submitted kernel by kernel: {reason}");
        }
        self.graphs.never(reason);
    }

    /// Runs a graph and the engine on inputs A, B and A again; what is staged are A and the outputs
    /// to it, before and afterwards. A difference is the reason not to use it, and so is that it does
    /// not pay where it must.
    fn try_graph(
        &mut self,
        id: GraphId,
        [a, b]: [&trial::Contents; 2],
    ) -> Result<Result<(), String>, TrtError> {
        let expected_a = trial::read_outputs(&self.outputs);
        let expected_b = self.run_on(b, Way::Plain)?;
        for (inputs, expected) in [(a, &expected_a), (b, &expected_b), (a, &expected_a)] {
            if self.run_on(inputs, Way::Graph(id))? == *expected {
                continue;
            }
            let again = self.run_on(a, Way::Plain)?;
            return Ok(Err(if again == expected_a {
                "in its trial a graph gave another answer than a plain run".to_owned()
            } else {
                "the engine's answers to the same inputs differ from run to run, so a graph \
                 cannot be tried"
                    .to_owned()
            }));
        }
        if self.graphs.must_pay() { self.race(id) } else { Ok(Ok(())) }
    }

    fn run_on(
        &mut self,
        contents: &trial::Contents,
        way: Way,
    ) -> Result<trial::Contents, TrtError> {
        for (input, bytes) in self.inputs.iter_mut().zip(contents) {
            input.stage(bytes);
        }
        let Self { handle, outputs, .. } = self;
        let used = &*handle;
        used.stream().scope(|work| {
            let mut outputs = outputs.iter_mut();
            outputs.try_for_each(|output| output.overwrite(used, work, POISON))
        })?;
        self.execute(way)?;
        Ok(trial::read_outputs(&self.outputs))
    }
}

impl ExecutionContext for TensorRtContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let specs = self.engine.inputs();
        let Some(spec) = specs.get(index) else {
            return Err(no_such("input", index, specs.len()));
        };
        if self.inputs[index].shape.as_ref() != Some(shape) {
            accept(self.engine.ranges(), spec, shape)?;
            self.way = None;
            let most = self.most_bytes(index, shape);
            let Self { handle, inputs, engine, .. } = self;
            inputs[index]
                .set_shape(handle, engine.ledger(), shape, most)
                .map_err(|error| running(error, "staging an input"))?;
        }
        let bytes = self.inputs[index].bytes_mut(&mut self.handle);
        bytes.ok_or_else(|| not_set(&self.engine.inputs()[index]))
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        // Whatever happens, the results of an earlier run are no longer there to be read.
        self.has_results = false;
        self.narrow()?;
        let way = self.prepare()?;
        let failed = |error| running(error, "running the engine");
        let times = self.execute(way).map_err(failed)?;
        if self.graphs.count() {
            if self.graphs.must_pay() && !self.engine.may_graphs_pay(self.input_bytes()) {
                self.graphs.never("a graph was no faster for smaller inputs".to_owned());
            } else {
                self.make_graph().map_err(failed)?;
            }
        }
        self.has_results = true;
        Ok(times)
    }

    fn submitted_as(&self) -> Option<SubmittedAs> {
        let graph = match self.way? {
            Way::Graph(id) => self.handle.graph(id),
            Way::Plain => None,
        };
        Some(match graph {
            Some(graph) => SubmittedAs::CudaGraph { nodes: graph.nodes() },
            None => SubmittedAs::Kernels { reason: self.graphs.reason() },
        })
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        let Some(output) = self.outputs.get(index) else {
            return Err(no_such("output", index, self.outputs.len()));
        };
        let result = self.has_results.then(|| output.result()).flatten();
        result.ok_or_else(no_results)
    }
}

fn running(error: TrtError, doing: &'static str) -> BackendError {
    error.into_error(doing, |reason| BackendError::Run { reason })
}
