//! An inference request's body, in JSON or with binary tensors behind the JSON.

use bytes::Bytes;

use crate::runtime::InferRequest;
use crate::server::protocol::{Builder, Parameters, ProtocolError, Signature};
use crate::tensor::{Dim, Shape, TensorSpec};

use super::elements;
use super::head::{Head, Input, InputParameters, Output, RequestParameters};
use super::object::Fields;

/// What the answer is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's name for itself, to be returned.
    pub id: Option<String>,
    /// For every output of the request, whether its bytes go behind the JSON.
    pub binary: Vec<bool>,
}

/// Reads an inference request. `header` is the length of its JSON where bytes of tensors follow
/// it; those become slices of the body, not copies.
pub fn decode(
    signature: Signature<'_>,
    body: &Bytes,
    header: Option<usize>,
) -> Result<(InferRequest, Reply), ProtocolError> {
    let length = header.unwrap_or(body.len());
    if length > body.len() {
        return Err(ProtocolError::syntax(format!(
            "its JSON is to have {length} bytes, the whole body has {}",
            body.len()
        )));
    }
    if length == 0 && header.is_some() {
        return raw(signature, body);
    }
    let head = Head::parse(&body[..length])?;
    let inputs = head.inputs.ok_or_else(|| ProtocolError::syntax("it has no `inputs`"))?;
    let mut builder = Builder::new(signature);
    let mut tail = Tail { body, at: length, announced: header.is_some() };
    for Fields(input) in inputs {
        read_input(&mut builder, input, &mut tail)?;
    }
    tail.end()?;
    let parameters = head.parameters.unwrap_or_default().0;
    let binary = read_outputs(&mut builder, head.outputs.unwrap_or_default(), &parameters)?;
    let request = builder.finish(&Parameters {
        priority: parameters.priority.unwrap_or(0),
        timeout: parameters.timeout.unwrap_or(0),
        sequence: parameters.is_of_a_sequence(),
    })?;
    let id = head.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty());
    Ok((request, Reply { id, binary }))
}

/// The bytes behind the JSON, taken input by input.
struct Tail<'a> {
    body: &'a Bytes,
    at: usize,
    announced: bool,
}

impl Tail<'_> {
    fn take(&mut self, name: &str, size: usize) -> Result<Bytes, ProtocolError> {
        let left = self.body.len() - self.at;
        if size > left {
            let reason = if self.announced {
                format!("its `binary_data_size` is {size}, but only {left} bytes are left")
            } else {
                "it is to be found behind the JSON; say in the header \
                 `Inference-Header-Content-Length` how long the JSON is"
                    .into()
            };
            return Err(ProtocolError::input(name, reason));
        }
        let bytes = self.body.slice(self.at..self.at + size);
        self.at += size;
        Ok(bytes)
    }

    fn end(&self) -> Result<(), ProtocolError> {
        match self.body.len() - self.at {
            0 => Ok(()),
            more => Err(ProtocolError::syntax(format!("{more} bytes follow that no input has"))),
        }
    }
}

fn read_input(
    builder: &mut Builder<'_>,
    input: Input<'_>,
    tail: &mut Tail<'_>,
) -> Result<(), ProtocolError> {
    let name = input.name.ok_or_else(|| ProtocolError::syntax("an input has no `name`"))?.0;
    let lacks = |field: &str| ProtocolError::input(&name, format!("it has no `{field}`"));
    let datatype = input.datatype.ok_or_else(|| lacks("datatype"))?.0;
    let shape = Shape(input.shape.ok_or_else(|| lacks("shape"))?);
    let (index, spec) = builder.declare(&name, &datatype)?;
    let InputParameters { binary_data_size, region } = input.parameters.unwrap_or_default().0;
    let bytes = match (input.data, binary_data_size, region.name) {
        (Some(data), None, None) => {
            let elements = shape.checked_bytes(spec.dtype).map(|bytes| bytes / spec.dtype.size());
            let elements = elements.ok_or_else(|| {
                ProtocolError::input(&name, format!("its shape {shape} has too many elements"))
            })?;
            let bytes = elements::read(data.get(), spec.dtype, elements);
            Bytes::from(bytes.map_err(|reason| ProtocolError::input(&name, reason))?)
        }
        (None, Some(size), None) => tail.take(&name, size)?,
        (None, None, Some(_)) => {
            return Err(ProtocolError::unsupported("shared memory is not in use on this server"));
        }
        (None, None, None) => return Err(lacks("data")),
        _ => {
            let reason = "only one of `data`, `binary_data_size` and `shared_memory_region` may \
                          say where its elements are";
            return Err(ProtocolError::input(&name, reason));
        }
    };
    builder.fill(index, shape, bytes);
    Ok(())
}

fn read_outputs(
    builder: &mut Builder<'_>,
    outputs: Vec<Fields<Output<'_>>>,
    parameters: &RequestParameters<'_>,
) -> Result<Vec<bool>, ProtocolError> {
    let default = parameters.binary_data_output.unwrap_or(false);
    if outputs.is_empty() {
        return Ok(vec![default; builder.output_count()]);
    }
    let mut binary = Vec::with_capacity(outputs.len());
    for Fields(output) in outputs {
        let name = output.name.ok_or_else(|| ProtocolError::syntax("an output has no `name`"))?.0;
        builder.output(&name)?;
        let parameters = output.parameters.unwrap_or_default().0;
        if parameters.classification.is_some_and(|count| count > 0) {
            return Err(ProtocolError::unsupported(
                "this server does not classify: leave `classification` out and sort the output",
            ));
        }
        if parameters.region.name.is_some() {
            return Err(ProtocolError::unsupported("shared memory is not in use on this server"));
        }
        binary.push(parameters.binary_data.unwrap_or(default));
    }
    Ok(binary)
}

/// A body without JSON: the bytes of the only input, of the only shape it can have.
fn raw(signature: Signature<'_>, body: &Bytes) -> Result<(InferRequest, Reply), ProtocolError> {
    let [spec] = signature.inputs else {
        return Err(ProtocolError::syntax(format!(
            "a body without JSON is for models with one input, `{}` has {}",
            signature.model,
            signature.inputs.len()
        )));
    };
    let shape = only_shape(spec, body.len()).ok_or_else(|| {
        ProtocolError::input(
            &spec.name,
            format!(
                "its shape does not follow from {} bytes, as the model takes {} {}",
                body.len(),
                spec.dtype,
                spec.dims_text()
            ),
        )
    })?;
    let mut builder = Builder::new(signature);
    builder.fill(0, shape, body.clone());
    let binary = vec![true; builder.output_count()];
    Ok((builder.finish(&Parameters::default())?, Reply { id: None, binary }))
}

/// The shape of so many bytes where at most one extent is free.
fn only_shape(spec: &TensorSpec, bytes: usize) -> Option<Shape> {
    let dims = spec.dims.as_ref()?;
    let fixed = dims.iter().try_fold(spec.dtype.size(), |product, dim| match dim {
        Dim::Fixed(extent) => product.checked_mul(*extent),
        Dim::Symbol(_) | Dim::Any => Some(product),
    })?;
    let free = dims.iter().filter(|dim| !matches!(dim, Dim::Fixed(_))).count();
    let extent = bytes.checked_div(fixed)?;
    if free > 1 || (free == 0 && extent != 1) || extent * fixed != bytes {
        return None;
    }
    let extent_of = |dim: &Dim| match dim {
        Dim::Fixed(fixed) => *fixed,
        Dim::Symbol(_) | Dim::Any => extent,
    };
    Some(Shape(dims.iter().map(extent_of).collect()))
}
