//! [`Reply`]: what the answer to an inference request is to look like.

use crate::runtime::InferResponse;
use crate::server::SharedMemory;
use crate::server::protocol::{Builder, ProtocolError};
use crate::server::shared_memory::RegionPart;

use super::head::{Output, RegionParameters, RequestParameters};
use super::object::Fields;

/// What the answer is to look like.
#[derive(Debug)]
pub struct Reply {
    /// The request's name for itself, to be returned.
    pub(super) id: Option<String>,
    /// For every output of the request, where its elements go.
    pub(super) places: Vec<Place>,
}

/// Where the elements of an output go.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Into the JSON.
    Json,
    /// Behind the JSON.
    Binary,
    /// Into a part of a shared memory region.
    Region(RegionPart),
}

impl Reply {
    /// Bytes of outputs that writing the answer converts or copies.
    pub(super) fn work(&self, response: &InferResponse) -> usize {
        let outputs = response.outputs.iter().zip(&self.places);
        let work = outputs.filter(|(_, place)| !matches!(place, Place::Binary));
        work.map(|(output, _)| output.bytes.len()).sum()
    }
}

/// Tells the builder which outputs are asked for. Returns where each is to go.
pub(super) fn read_outputs(
    builder: &mut Builder<'_>,
    outputs: Vec<Fields<Output<'_>>>,
    parameters: &RequestParameters<'_>,
    regions: Option<&SharedMemory>,
) -> Result<Vec<Place>, ProtocolError> {
    let default = parameters.binary_data_output.unwrap_or(false);
    let place = |binary: bool| if binary { Place::Binary } else { Place::Json };
    if outputs.is_empty() {
        return Ok(vec![place(default); builder.output_count()]);
    }
    let mut places = Vec::with_capacity(outputs.len());
    for Fields(output) in outputs {
        let name = output.name.ok_or_else(|| ProtocolError::syntax("an output has no `name`"))?.0;
        builder.output(&name)?;
        let parameters = output.parameters.unwrap_or_default().0;
        if parameters.classification.is_some_and(|count| count > 0) {
            return Err(ProtocolError::unsupported(
                "this server does not classify: leave `classification` out and sort the output",
            ));
        }
        places.push(match (&parameters.region.name, parameters.binary_data) {
            (None, binary) => place(binary.unwrap_or(default)),
            (Some(_), Some(true)) => {
                let reason = "it goes into shared memory or behind the JSON (`binary_data`), not \
                              both";
                return Err(ProtocolError::output(&name, reason));
            }
            (Some(_), _) => Place::Region(region_part(&parameters.region, regions)?),
        });
    }
    Ok(places)
}

/// The part of a region that parameters name.
pub(super) fn region_part(
    parameters: &RegionParameters<'_>,
    regions: Option<&SharedMemory>,
) -> Result<RegionPart, ProtocolError> {
    let name = parameters.name.as_ref().map_or("", |name| &name.0);
    let regions = regions.ok_or_else(|| ProtocolError::unsupported("there is no shared memory"))?;
    let offset = parameters.offset.unwrap_or(0);
    Ok(regions.part(name, offset, parameters.byte_size.unwrap_or(0))?)
}
