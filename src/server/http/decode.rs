//! An inference request's body, in JSON or with binary tensors behind the JSON.

use bytes::Bytes;

use crate::runtime::InferRequest;
use crate::server::SharedMemory;
use crate::server::protocol::{Builder, Parameters, ProtocolError, Signature};
use crate::tensor::Shape;

use super::head::{Head, Input, InputParameters};
use super::object::Fields;
use super::reply::{Reply, read_outputs, region_part};
use super::{elements, raw};

/// Reads an inference request. `header` is the length of its JSON where bytes of tensors follow
/// it; those become slices of the body, not copies.
pub(super) fn decode(
    signature: Signature<'_>,
    body: &Bytes,
    header: Option<usize>,
    regions: Option<&SharedMemory>,
) -> Result<(InferRequest, Reply), ProtocolError> {
    let length = header.unwrap_or(body.len());
    if length > body.len() {
        return Err(ProtocolError::syntax(format!(
            "its JSON is to have {length} bytes, the whole body has {}",
            body.len()
        )));
    }
    if length == 0 && header.is_some() {
        return raw::decode(signature, body);
    }
    let head = Head::parse(&body[..length])?;
    let inputs = head.inputs.ok_or_else(|| ProtocolError::syntax("it has no `inputs`"))?;
    let mut builder = Builder::new(signature);
    let mut tail = Tail { body, at: length, announced: header.is_some() };
    for Fields(input) in inputs {
        read_input(&mut builder, input, &mut tail, regions)?;
    }
    tail.end()?;
    let parameters = head.parameters.unwrap_or_default().0;
    let outputs = head.outputs.unwrap_or_default();
    let places = read_outputs(&mut builder, outputs, &parameters, regions)?;
    let request = builder.finish(&Parameters {
        priority: parameters.priority.unwrap_or(0),
        timeout: parameters.timeout.unwrap_or(0),
        sequence: parameters.is_of_a_sequence(),
    })?;
    let id = head.id.map(|id| id.0.into_owned()).filter(|id| !id.is_empty());
    Ok((request, Reply { id, places }))
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
    regions: Option<&SharedMemory>,
) -> Result<(), ProtocolError> {
    let name = input.name.ok_or_else(|| ProtocolError::syntax("an input has no `name`"))?.0;
    let lacks = |field: &str| ProtocolError::input(&name, format!("it has no `{field}`"));
    let datatype = input.datatype.ok_or_else(|| lacks("datatype"))?.0;
    let shape = Shape(input.shape.ok_or_else(|| lacks("shape"))?);
    let (index, spec) = builder.declare(&name, &datatype)?;
    let InputParameters { binary_data_size, region } = input.parameters.unwrap_or_default().0;
    let bytes = match (input.data, binary_data_size, &region.name) {
        (Some(data), None, None) => {
            let elements = shape.checked_bytes(spec.dtype).map(|bytes| bytes / spec.dtype.size());
            let elements = elements.ok_or_else(|| {
                ProtocolError::input(&name, format!("its shape {shape} has too many elements"))
            })?;
            let bytes = elements::read(data.get(), spec.dtype, elements);
            Bytes::from(bytes.map_err(|reason| ProtocolError::input(&name, reason))?)
        }
        (None, Some(size), None) => tail.take(&name, size)?,
        (None, None, Some(_)) => region_part(&region, regions)?.read()?,
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
