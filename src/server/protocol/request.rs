//! [`Builder`]: the tensors a client names become the model's, in the model's order.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::runtime::{InferRequest, InputTensor, Model};
use crate::suggest::did_you_mean;
use crate::tensor::{DType, Shape, TensorSpec};

use super::{LONGEST_NAME, ProtocolError, clipped, datatype, from_datatype};

/// What a model takes and gives: all that reading a request needs of it.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'m> {
    /// The model's name.
    pub model: &'m str,
    /// Inputs in its order.
    pub inputs: &'m [TensorSpec],
    /// Outputs in its order.
    pub outputs: &'m [TensorSpec],
}

impl<'m> Signature<'m> {
    pub(crate) fn of(model: &'m Model) -> Self {
        Self { model: &model.config().name, inputs: model.inputs(), outputs: model.outputs() }
    }
}

/// The parameters of a request that mean something to this server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parameters {
    /// The priority level; 0 for the model's default.
    pub(crate) priority: u64,
    /// Microseconds it may wait; 0 for the model's default.
    pub(crate) timeout: u64,
    /// Whether it belongs to a sequence.
    pub(crate) sequence: bool,
}

/// Makes a request for a model out of tensors named in any order.
#[derive(Debug)]
pub(crate) struct Builder<'m> {
    signature: Signature<'m>,
    inputs: Vec<Option<InputTensor>>,
    outputs: Vec<usize>,
}

impl<'m> Builder<'m> {
    pub(crate) fn new(signature: Signature<'m>) -> Self {
        let mut inputs = Vec::new();
        inputs.resize_with(signature.inputs.len(), || None);
        Self { signature, inputs, outputs: Vec::new() }
    }

    /// Which of the model's inputs this is, and its type, which is that of the model.
    pub(crate) fn declare(
        &self,
        name: &str,
        said: &str,
    ) -> Result<(usize, &'m TensorSpec), ProtocolError> {
        let (index, spec) = self.find("input", self.signature.inputs, name)?;
        if self.inputs[index].is_some() {
            return Err(ProtocolError::Duplicate { what: "input", name: clipped(name) });
        }
        if said != datatype(spec.dtype) {
            return Err(ProtocolError::input(name, wrong_datatype(said, spec.dtype)));
        }
        Ok((index, spec))
    }

    /// The value of an input that was declared.
    pub(crate) fn fill(&mut self, index: usize, shape: Shape, bytes: Bytes) {
        self.inputs[index] = Some(InputTensor { shape, bytes });
    }

    /// One more output to return. Without any, all are.
    pub(crate) fn output(&mut self, name: &str) -> Result<usize, ProtocolError> {
        let (index, _) = self.find("output", self.signature.outputs, name)?;
        if self.outputs.contains(&index) {
            return Err(ProtocolError::Duplicate { what: "output", name: clipped(name) });
        }
        self.outputs.push(index);
        Ok(index)
    }

    /// How many outputs an answer will have.
    pub(crate) fn output_count(&self) -> usize {
        match self.outputs.len() {
            0 => self.signature.outputs.len(),
            asked => asked,
        }
    }

    /// The request, where every input has its value.
    pub(crate) fn finish(self, parameters: &Parameters) -> Result<InferRequest, ProtocolError> {
        let specs = self.signature.inputs;
        let missing = || {
            let empty = specs.iter().zip(&self.inputs).filter(|(_, input)| input.is_none());
            empty.map(|(spec, _)| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ")
        };
        if self.inputs.iter().any(Option::is_none) {
            let model = self.signature.model.to_owned();
            return Err(ProtocolError::MissingInputs { model, names: missing() });
        }
        if parameters.sequence {
            return Err(ProtocolError::unsupported(
                "no model here keeps state between requests: leave the `sequence_` parameters out",
            ));
        }
        let outputs = match self.outputs {
            asked if asked.is_empty() => (0..self.signature.outputs.len()).collect(),
            asked => asked,
        };
        let wait = (parameters.timeout > 0).then(|| Duration::from_micros(parameters.timeout));
        Ok(InferRequest {
            inputs: self.inputs.into_iter().flatten().collect(),
            outputs,
            priority: match parameters.priority {
                0 => None,
                level => Some(u32::try_from(level).unwrap_or(u32::MAX)),
            },
            // A time that no clock reaches is none.
            deadline: wait.and_then(|wait| Instant::now().checked_add(wait)),
        })
    }

    fn find(
        &self,
        what: &'static str,
        specs: &'m [TensorSpec],
        name: &str,
    ) -> Result<(usize, &'m TensorSpec), ProtocolError> {
        specs.iter().enumerate().find(|(_, spec)| spec.name == name).ok_or_else(|| {
            let names = specs.iter().map(|spec| spec.name.as_str());
            let known = &name[..if name.len() > LONGEST_NAME { 0 } else { name.len() }];
            ProtocolError::UnknownTensor {
                model: self.signature.model.to_owned(),
                what,
                name: clipped(name),
                hint: did_you_mean(known, names, &format!("{what}s")),
            }
        })
    }
}

fn wrong_datatype(said: &str, dtype: DType) -> String {
    let takes = datatype(dtype);
    if from_datatype(said).is_some() || said == "BYTES" {
        format!("its datatype is {said}, the model takes {takes}")
    } else {
        format!("there is no datatype `{}`; the model takes {takes}", clipped(said))
    }
}

/// The extents a client gives as signed numbers.
pub(crate) fn extents(name: &str, shape: &[i64]) -> Result<Shape, ProtocolError> {
    let extent = |&extent: &i64| {
        usize::try_from(extent)
            .map_err(|_| ProtocolError::input(name, format!("its shape has the extent {extent}")))
    };
    Ok(Shape(shape.iter().map(extent).collect::<Result<_, _>>()?))
}
