//! The shadow check: recent requests, run on the version that serves and on the one that wants to,
//! both through their ordinary queues.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::deployment::{ReloadConfig, Tolerance};
use crate::difference::Difference;
use crate::runtime::{ErrorKind, InferError, InferRequest, InferResponse, Model, Pending};
use crate::tensor::{self, DType, Shape, TensorSpec};

use super::Gate;
use super::samples::Sample;

/// The gate's name.
const NAME: &str = "shadow";

/// How long to leave a version alone that has no room for one more request.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Rounds off what is only the representation of decimals.
const SLACK: f64 = 1e-12;

/// A sample and what the version that serves answered.
pub(super) struct Expected {
    sample: Arc<Sample>,
    /// `None` where it could not answer: then the new one is only asked to.
    answer: Option<InferResponse>,
}

/// What the version that serves says to the samples.
pub(super) struct Reference {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    expected: Vec<Expected>,
}

impl Reference {
    pub(super) fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }
}

/// Asks the version that serves, as much as the deployment that is offered wants. What comes back
/// takes no more than its limit and one answer, and as long as `patience`.
pub(super) fn ask(
    model: &Model,
    wanted: &ReloadConfig,
    patience: Duration,
) -> Result<Reference, Gate> {
    let samples = model.samples().recent();
    let _paused = model.samples().pause();
    let deadline = Instant::now() + patience;
    let (mut expected, mut bytes) = (Vec::with_capacity(samples.len()), 0);
    // The newest first: they are kept where not all are.
    for sample in samples.into_iter().rev().take(wanted.samples) {
        let answer = match run(model, model.inputs(), &sample, deadline) {
            Ok(answer) => Some(answer),
            Err(error) if is_busy(&error) => {
                let detail = format!(
                    "version {} is too busy to run the samples: {error}; try again when there is \
                     less to do",
                    model.version()
                );
                return Err(Gate::failed(NAME, detail));
            }
            Err(_) => None,
        };
        let outputs = answer.iter().flat_map(|answer| &answer.outputs);
        bytes += outputs.map(|output| output.bytes.len()).sum::<usize>();
        expected.push(Expected { sample, answer });
        if bytes > wanted.sample_bytes {
            break;
        }
    }
    let (inputs, outputs) = (model.inputs().to_vec(), model.outputs().to_vec());
    Ok(Reference { inputs, outputs, expected })
}

/// Holds a version to what the one that serves answered. The last gate says whether it got
/// through.
pub(super) fn compare(
    model: &Model,
    reference: &Reference,
    wanted: &ReloadConfig,
    patience: Duration,
) -> Vec<Gate> {
    let _paused = model.samples().pause();
    let outputs = reference.outputs.iter().enumerate();
    let mut outputs: Vec<Output<'_>> =
        outputs.map(|(index, spec)| Output::new(index, spec, model.outputs())).collect();
    let deadline = Instant::now() + patience;
    let may_refuse =
        |error: &InferError| wanted.allow_interface_change && error.kind() == ErrorKind::Invalid;
    let mut compared = 0;
    for (index, Expected { sample, answer }) in reference.expected.iter().enumerate() {
        let actual = match run(model, &reference.inputs, sample, deadline) {
            Ok(actual) => actual,
            Err(error) if answer.is_some() && !may_refuse(&error) => {
                let detail = format!("sample {index} failed: {error}");
                return vec![Gate::failed(NAME, detail)];
            }
            // Neither version answers it, or it need not.
            Err(_) => continue,
        };
        let Some(expected) = answer else { continue };
        compared += 1;
        for output in &mut outputs {
            output.add(index, &actual, expected);
        }
    }
    let mut gates: Vec<Gate> =
        outputs.iter().flat_map(|output| output.gates(wanted.compare.as_ref())).collect();
    if gates.iter().all(|gate| gate.passed) {
        let samples = reference.expected.len();
        let detail = format!("{compared} of {samples} recent requests ran on both versions");
        gates.push(Gate::passed(NAME, detail));
    }
    gates
}

fn is_busy(error: &InferError) -> bool {
    matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::DeadlineExceeded)
}

/// Runs a sample, whose inputs are in the order of `names`; all outputs. Requests of clients go
/// before it.
fn run(
    model: &Model,
    names: &[TensorSpec],
    sample: &Sample,
    deadline: Instant,
) -> Result<InferResponse, InferError> {
    let input = |input: &TensorSpec| {
        let place = names.iter().position(|name| name.name == input.name);
        place.and_then(|place| sample.inputs.get(place)).cloned().ok_or_else(|| {
            let reason = "the recorded request has no such input".to_owned();
            InferError::Input { input: input.name.clone(), reason }
        })
    };
    let inputs = model.inputs().iter().map(input).collect::<Result<Vec<_>, _>>()?;
    let request = InferRequest {
        inputs,
        outputs: (0..model.outputs().len()).collect(),
        priority: Some(model.config().queue.priority_levels.max(1)),
        deadline: Some(deadline),
    };
    loop {
        let started = Instant::now();
        let answer = match model.submit(request.clone()) {
            Ok(pending) => wait(pending, deadline)
                .unwrap_or_else(|| Err(InferError::DeadlineExceeded { waited: started.elapsed() })),
            Err(error) => Err(error),
        };
        match answer {
            Err(error)
                if error.kind() == ErrorKind::Overloaded
                    && Instant::now() + BUSY_PAUSE < deadline =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Waits for an answer, but no longer than until `deadline`: an engine may hang.
fn wait(pending: Pending, deadline: Instant) -> Option<Result<InferResponse, InferError>> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut pending = std::pin::pin!(pending);
    loop {
        if let Poll::Ready(answer) = pending.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What was found about one output of the version that serves, over all samples.
struct Output<'a> {
    index: usize,
    spec: &'a TensorSpec,
    /// The same output of the new version.
    new: Option<(usize, DType)>,
    difference: Difference,
    /// Where the new version first gave NaN or an infinity, and the old one a number.
    nonfinite: Option<(usize, f64)>,
    /// Where both first had different shapes.
    shapes: Option<(usize, Shape, Shape)>,
}

impl<'a> Output<'a> {
    fn new(index: usize, spec: &'a TensorSpec, new: &[TensorSpec]) -> Self {
        let place = new.iter().position(|other| other.name == spec.name);
        Self {
            index,
            spec,
            new: place.and_then(|place| Some((place, new.get(place)?.dtype))),
            difference: Difference::new(0.0),
            nonfinite: None,
            shapes: None,
        }
    }

    /// Adds what both versions answered to a sample. An output that the new one lacks is the
    /// business of the interface.
    fn add(&mut self, sample: usize, actual: &InferResponse, expected: &InferResponse) {
        let Some((place, dtype)) = self.new else { return };
        let (Some(new), Some(old)) = (actual.outputs.get(place), expected.outputs.get(self.index))
        else {
            return;
        };
        if new.shape != old.shape {
            self.shapes.get_or_insert((sample, new.shape.clone(), old.shape.clone()));
            return;
        }
        let new = tensor::to_f64(dtype, &new.bytes);
        let old = tensor::to_f64(self.spec.dtype, &old.bytes);
        let worse = new.iter().zip(&old).find(|(new, old)| !new.is_finite() && old.is_finite());
        if let Some((value, _)) = worse {
            self.nonfinite.get_or_insert((sample, *value));
        }
        self.difference.add(sample, &new, &old);
    }

    fn gates(&self, tolerance: Option<&Tolerance>) -> Vec<Gate> {
        let name = &self.spec.name;
        if let Some((sample, value)) = self.nonfinite {
            let detail = format!("sample {sample} gives {value}, and a number before");
            return vec![Gate::failed("shadow.nonfinite", detail).of_output(name)];
        }
        let Some(tolerance) = tolerance else { return Vec::new() };
        if let Some((sample, new, old)) = &self.shapes {
            let detail = format!("sample {sample} gives shape {new}, and {old} before");
            return vec![Gate::failed("shadow.shape", detail).of_output(name)];
        }
        let Tolerance { max_abs, max_relative_error, cosine } = tolerance;
        let found = &self.difference;
        let at_most = |name, value: f64, limit: f64| {
            bound(name, value, limit, value <= limit + SLACK * limit.abs(), "at most")
        };
        let at_least = |name, value: f64, limit: f64| {
            bound(name, value, limit, value >= limit - SLACK * limit.abs(), "at least")
        };
        let gates = [
            max_abs.map(|limit| at_most("shadow.max_abs", found.max_abs(), limit)),
            max_relative_error.map(|limit| {
                at_most("shadow.max_relative_error", found.max_relative_error(), limit)
            }),
            cosine.map(|limit| at_least("shadow.cosine", found.cosine(), limit)),
        ];
        gates.into_iter().flatten().map(|gate| gate.of_output(name)).collect()
    }
}

fn bound(name: &'static str, value: f64, limit: f64, passed: bool, words: &str) -> Gate {
    let detail = format!("{value:.6e}, allowed is {words} {limit:e}");
    Gate { passed, ..Gate::passed(name, detail) }.measured(value, limit)
}
