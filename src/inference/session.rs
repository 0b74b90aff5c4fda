//! [`Session`]: an execution context for oneself, with its staging memory.

use std::fmt;
use std::time::Instant;

use crate::runtime::{self, InferError};
use crate::tensor::{Shape, TensorSpec};

use super::input::{AsInput, check_type};
use super::key::{self, TensorKey};
use super::output::{Latency, Output};

/// An execution context of an engine, lent until this is dropped: write the inputs where the device
/// copies from, run, read the outputs where the device copies to. A run allocates nothing.
///
/// While all contexts are lent, others wait for one: so does the next session or
/// [`super::Engine::infer`] of the same thread, for ever where the engine has one instance. After a
/// run that failed, take another session. Set every input before the first run: until then, inputs
/// and outputs are those of whoever had the context before.
///
/// ```
/// # use trt_pipeline::inference::{Engine, compile};
/// # use trt_pipeline::tensor::Shape;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # compile("pipelines/digits/model/digits_cnn.onnx", "cpu", &[], folder.path())?;
/// let engine = Engine::load(folder.path())?;
/// let shape = Shape::from([1, 1, 8, 8]);
/// let mut session = engine.session()?;
/// for _image in 0..3 {
///     session.input_mut("image", &shape)?.fill(0);
///     session.run()?;
///     assert_eq!(session.output("logits")?.values::<f32>()?.len(), 10);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Session<'a> {
    context: runtime::Session<'a>,
    inputs: &'a [TensorSpec],
    outputs: &'a [TensorSpec],
}

impl<'a> Session<'a> {
    pub(super) fn new(
        context: runtime::Session<'a>,
        inputs: &'a [TensorSpec],
        outputs: &'a [TensorSpec],
    ) -> Self {
        Self { context, inputs, outputs }
    }

    /// Sets the shape of an input and gives its bytes to write: row-major, little-endian, aligned to
    /// 256. They keep what was written while the shape stays as it is, run after run.
    pub fn input_mut(
        &mut self,
        key: impl TensorKey,
        shape: &Shape,
    ) -> Result<&mut [u8], InferError> {
        self.context.input_mut(key::find("input", self.inputs, key)?, shape)
    }

    /// Copies a value into an input.
    pub fn set(&mut self, key: impl TensorKey, value: impl AsInput) -> Result<(), InferError> {
        let at = key::find("input", self.inputs, key)?;
        let value = value.as_input();
        check_type(&self.inputs[at], &value)?;
        self.context.set_input(at, value.shape, value.bytes)
    }

    /// Runs on the inputs as they are.
    pub fn run(&mut self) -> Result<Latency, InferError> {
        let since = Instant::now();
        let times = self.context.run()?;
        Ok(Latency::new(times, since.elapsed()))
    }

    /// An output of the last run, where it is; an error names the outputs there are.
    pub fn output(&self, key: impl TensorKey) -> Result<Output<'_>, InferError> {
        let at = key::find("output", self.outputs, key)?;
        let (shape, bytes) = self.context.output(at)?;
        Ok(Output { spec: &self.outputs[at], shape, bytes })
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
