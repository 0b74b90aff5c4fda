//! [`Head`]: the JSON of an inference request, with the tensors' elements still as text.

use serde::de::MapAccess;
use serde_json::value::RawValue;

use crate::server::protocol::ProtocolError;

use super::object::{Fields, Object, Text, set, skip};

/// The JSON of an inference request.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) parameters: Option<Fields<RequestParameters<'a>>>,
    pub(super) inputs: Option<Vec<Fields<Input<'a>>>>,
    pub(super) outputs: Option<Vec<Fields<Output<'a>>>>,
}

/// What goes for the whole request.
#[derive(Debug, Default)]
pub(super) struct RequestParameters<'a> {
    pub(super) priority: Option<u64>,
    pub(super) timeout: Option<u64>,
    pub(super) binary_data_output: Option<bool>,
    pub(super) sequence_id: Option<&'a RawValue>,
    pub(super) sequence_start: Option<bool>,
    pub(super) sequence_end: Option<bool>,
}

/// One input.
#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) shape: Option<Vec<usize>>,
    pub(super) datatype: Option<Text<'a>>,
    pub(super) parameters: Option<Fields<InputParameters<'a>>>,
    pub(super) data: Option<&'a RawValue>,
}

/// Where an input's elements are, if not in its `data`.
#[derive(Debug, Default)]
pub(super) struct InputParameters<'a> {
    pub(super) binary_data_size: Option<usize>,
    pub(super) region: RegionParameters<'a>,
}

/// One output that is asked for.
#[derive(Debug, Default)]
pub(super) struct Output<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) parameters: Option<Fields<OutputParameters<'a>>>,
}

/// How an output is to be returned.
#[derive(Debug, Default)]
pub(super) struct OutputParameters<'a> {
    pub(super) binary_data: Option<bool>,
    pub(super) classification: Option<u64>,
    pub(super) region: RegionParameters<'a>,
}

/// A place in shared memory.
#[derive(Debug, Default)]
pub(super) struct RegionParameters<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) byte_size: Option<u64>,
    pub(super) offset: Option<u64>,
}

impl<'a> Head<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, ProtocolError> {
        let Fields(head) = serde_json::from_slice(json).map_err(ProtocolError::syntax)?;
        Ok(head)
    }
}

impl RequestParameters<'_> {
    /// Whether the request belongs to a sequence; 0 and the empty text are no sequence.
    pub(super) fn is_of_a_sequence(&self) -> bool {
        self.sequence_id.is_some_and(|id| !matches!(id.get(), "0" | "\"\""))
            || self.sequence_start == Some(true)
            || self.sequence_end == Some(true)
    }
}

impl<'de> Object<'de> for Head<'de> {
    const WHAT: &'static str = "an inference request: an object with `inputs`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "id" => set(&mut self.id, "id", map),
            "parameters" => set(&mut self.parameters, "parameters", map),
            "inputs" => set(&mut self.inputs, "inputs", map),
            "outputs" => set(&mut self.outputs, "outputs", map),
            _ => skip(map),
        }
    }
}

impl<'de> Object<'de> for RequestParameters<'de> {
    const WHAT: &'static str = "an object of parameters";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "priority" => set(&mut self.priority, "priority", map),
            "timeout" => set(&mut self.timeout, "timeout", map),
            "binary_data_output" => set(&mut self.binary_data_output, "binary_data_output", map),
            "sequence_id" => set(&mut self.sequence_id, "sequence_id", map),
            "sequence_start" => set(&mut self.sequence_start, "sequence_start", map),
            "sequence_end" => set(&mut self.sequence_end, "sequence_end", map),
            _ => skip(map),
        }
    }
}

impl<'de> Object<'de> for Input<'de> {
    const WHAT: &'static str = "an input: an object with `name`, `shape`, `datatype` and `data`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => set(&mut self.name, "name", map),
            "shape" => set(&mut self.shape, "shape", map),
            "datatype" => set(&mut self.datatype, "datatype", map),
            "parameters" => set(&mut self.parameters, "parameters", map),
            "data" => set(&mut self.data, "data", map),
            _ => skip(map),
        }
    }
}

impl<'de> Object<'de> for InputParameters<'de> {
    const WHAT: &'static str = "an object of parameters";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "binary_data_size" => set(&mut self.binary_data_size, "binary_data_size", map),
            _ => self.region.field(name, map),
        }
    }
}

impl<'de> Object<'de> for Output<'de> {
    const WHAT: &'static str = "an output: an object with `name`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => set(&mut self.name, "name", map),
            "parameters" => set(&mut self.parameters, "parameters", map),
            _ => skip(map),
        }
    }
}

impl<'de> Object<'de> for OutputParameters<'de> {
    const WHAT: &'static str = "an object of parameters";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "binary_data" => set(&mut self.binary_data, "binary_data", map),
            "classification" => set(&mut self.classification, "classification", map),
            _ => self.region.field(name, map),
        }
    }
}

impl<'de> Object<'de> for RegionParameters<'de> {
    const WHAT: &'static str = "an object of parameters";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "shared_memory_region" => set(&mut self.name, "shared_memory_region", map),
            "shared_memory_byte_size" => set(&mut self.byte_size, "shared_memory_byte_size", map),
            "shared_memory_offset" => set(&mut self.offset, "shared_memory_offset", map),
            _ => skip(map),
        }
    }
}
