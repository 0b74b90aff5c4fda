//! [`Model`]: one loaded version of a model: its engine, its queue and the threads that run it.

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::backend::{self, BackendError, Engine, EngineManifest, EngineMemory, ExecutionContext};
use crate::deployment::ModelConfig;
use crate::tensor::TensorSpec;

use super::{
    ErrorKind, InferError, InferRequest, InferResponse, InputTensor, OutputTensor, PhaseTimes,
    Samples, Statistics,
};

type Answer = Result<InferResponse, InferError>;

struct Waiting {
    request: InferRequest,
    since: Instant,
    reply: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<(VecDeque<Waiting>, bool)>,
    changed: Condvar,
}

/// One loaded version of a model.
pub struct Model {
    config: ModelConfig,
    version: u32,
    engine: Arc<dyn Engine>,
    queue: Arc<Queue>,
    statistics: Arc<Statistics>,
    samples: Samples,
}

/// A request that was taken. Dropping it before the answer cancels it.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Answer>);

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(InferError::Cancelled)))
    }
}

impl Pending {
    /// Waits for the answer on this thread, which must not be one of an async runtime.
    pub fn wait(self) -> Answer {
        self.0.blocking_recv().unwrap_or(Err(InferError::Cancelled))
    }
}

impl Model {
    /// Loads an engine from its folder and starts its instances. `_deployment` is the folder of
    /// the deployment, with its warm-up data.
    pub fn load(
        config: ModelConfig,
        version: u32,
        folder: &Path,
        _deployment: &Path,
    ) -> Result<Self, InferError> {
        let read = |error: String| BackendError::Load {
            path: folder.display().to_string(),
            reason: error,
        };
        let manifest =
            std::fs::read(folder.join("engine.json")).map_err(|e| read(e.to_string()))?;
        let manifest: EngineManifest =
            serde_json::from_slice(&manifest).map_err(|e| read(e.to_string()))?;
        let engine = backend::by_name(&manifest.backend)?.load(folder, &manifest, None)?;
        Self::start(config, version, engine, folder)
    }

    /// A model with an engine that is loaded already.
    pub(crate) fn start(
        config: ModelConfig,
        version: u32,
        engine: Arc<dyn Engine>,
        folder: &Path,
    ) -> Result<Self, InferError> {
        let read = |error: String| BackendError::Load {
            path: folder.display().to_string(),
            reason: error,
        };
        let queue = Arc::new(Queue::default());
        let statistics = Arc::new(Statistics::default());
        for _ in 0..config.instances {
            let context = Arc::clone(&engine).new_context()?;
            let (queue, statistics) = (Arc::clone(&queue), Arc::clone(&statistics));
            let outputs = engine.outputs().len();
            std::thread::Builder::new()
                .name(format!("{}-{version}", config.name))
                .spawn(move || serve(context, &queue, &statistics, outputs))
                .map_err(|error| read(error.to_string()))?;
        }
        let samples = Samples::new(&config.reload);
        Ok(Self { config, version, engine, queue, statistics, samples })
    }

    /// What the deployment says of it.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its version, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Inputs in the model's order.
    pub fn inputs(&self) -> &[TensorSpec] {
        self.engine.inputs()
    }

    /// Outputs in the model's order.
    pub fn outputs(&self) -> &[TensorSpec] {
        self.engine.outputs()
    }

    /// What happened to its requests.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Recent requests, to run them on the next version.
    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// What its engines hold on their devices, where the backend counts it.
    pub fn memory(&self) -> Option<EngineMemory> {
        self.engine.memory()
    }

    /// Requests that wait.
    pub fn queue_depth(&self) -> usize {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }

    /// Takes a request into the queue, or refuses it at once.
    pub fn submit(&self, request: InferRequest) -> Result<Pending, InferError> {
        for (spec, input) in self.inputs().iter().zip(&request.inputs) {
            check(spec, input)?;
        }
        let now = Instant::now();
        self.samples.offer(&request, now);
        let (reply, pending) = oneshot::channel();
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0.push_back(Waiting { request, since: now, reply });
        drop(waiting);
        self.statistics.taken();
        self.queue.changed.notify_one();
        Ok(Pending(pending))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.queue.changed.notify_all();
    }
}

fn check(spec: &TensorSpec, input: &InputTensor) -> Result<(), InferError> {
    let wrong = |reason| InferError::Input { input: spec.name.clone(), reason };
    if !spec.accepts(&input.shape) {
        return Err(wrong(format!(
            "its shape is {}, the model takes {}",
            input.shape,
            spec.dims_text()
        )));
    }
    let bytes = input.shape.checked_bytes(spec.dtype);
    if bytes != Some(input.bytes.len()) {
        return Err(wrong(format!(
            "{} bytes do not make a {} {}",
            input.bytes.len(),
            spec.dtype,
            input.shape
        )));
    }
    Ok(())
}

fn serve(
    mut context: Box<dyn ExecutionContext>,
    queue: &Queue,
    statistics: &Statistics,
    outputs: usize,
) {
    loop {
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = loop {
            if let Some(next) = waiting.0.pop_front() {
                break next;
            }
            if waiting.1 {
                return;
            }
            waiting = queue.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        };
        drop(waiting);
        if next.reply.is_closed() {
            statistics.ended(1);
            statistics.failed(ErrorKind::Cancelled, next.since.elapsed());
            continue;
        }
        let queued = next.since.elapsed();
        let answer = run(&mut *context, &next.request, outputs).map(|mut response| {
            response.times.queue = queued;
            statistics.executed(1, 1, &response.times);
            statistics.answered(queued, next.since.elapsed());
            response
        });
        statistics.ended(1);
        if let Err(error) = &answer {
            statistics.failed(error.kind(), next.since.elapsed());
        }
        // The caller may have gone away by now.
        let _ = next.reply.send(answer);
    }
}

fn run(context: &mut dyn ExecutionContext, request: &InferRequest, outputs: usize) -> Answer {
    for (index, input) in request.inputs.iter().enumerate() {
        context.input_mut(index, &input.shape)?.copy_from_slice(&input.bytes);
    }
    let times = context.run()?;
    let output = |&index: &usize| -> Result<OutputTensor, InferError> {
        let (shape, bytes) = context.output(index.min(outputs))?;
        Ok(OutputTensor { index, shape: shape.clone(), bytes: Bytes::copy_from_slice(bytes) })
    };
    let outputs = request.outputs.iter().map(output).collect::<Result<_, _>>()?;
    let times = PhaseTimes {
        queue: std::time::Duration::ZERO,
        upload: times.upload,
        compute: times.compute,
        download: times.download,
    };
    Ok(InferResponse { outputs, times, batch: 1 })
}
