//! What a loaded plan says of its inputs and outputs, in the program's own words.

use std::collections::BTreeMap;

use crate::backend::{Profile, ShapeRange};
use crate::tensor::{DType, Dim, Shape, TensorSpec};

use super::handle::{EngineHandle, EngineTensor};
use super::staging::Port;
use super::sys::{OptProfileSelector, TensorFormat};

/// Smallest and largest values that a profile allows of each input that holds shapes, by the
/// input's index.
pub(super) type ValueRanges = BTreeMap<usize, (Vec<i64>, Vec<i64>)>;

/// How the tensors of the manifest are those of the plan; fails where they are not.
pub(super) fn ports(
    handle: &EngineHandle,
    specs: &[TensorSpec],
    are_inputs: bool,
) -> Result<Vec<Port>, String> {
    let role = if are_inputs { "input" } else { "output" };
    let tensors = handle.tensors();
    let port = |wanted: &TensorSpec| {
        let is_it = |tensor: &EngineTensor| {
            tensor.is_input == are_inputs && tensor.name_text() == wanted.name
        };
        let place = tensors.iter().position(is_it).ok_or_else(|| {
            format!("engine.json lists {role} `{}`, which the plan does not have", wanted.name)
        })?;
        let (found, is_on_host) = (spec(&tensors[place])?, tensors[place].on_host);
        let is_narrow = (wanted.dtype, found.dtype) == (DType::Int64, DType::Int32);
        if found.dtype != wanted.dtype && !is_narrow {
            return Err(format!(
                "{role} `{}` is {} in the plan and {} in engine.json",
                wanted.name, found.dtype, wanted.dtype
            ));
        }
        Ok(Port { place, dtype: found.dtype, is_narrow, is_on_host })
    };
    let ports: Vec<Port> = specs.iter().map(port).collect::<Result<_, _>>()?;
    let is_listed = |place| ports.iter().any(|port| port.place == place);
    let mut unlisted = tensors.iter().enumerate().filter(|(place, _)| !is_listed(*place));
    match unlisted.find(|(_, tensor)| tensor.is_input == are_inputs) {
        Some((_, tensor)) => {
            let name = tensor.name_text();
            Err(format!("the plan has {role} `{name}`, which engine.json does not list"))
        }
        None => Ok(ports),
    }
}

fn spec(tensor: &EngineTensor) -> Result<TensorSpec, String> {
    let name = tensor.name_text();
    if tensor.format != Some(TensorFormat::Linear) {
        let format = tensor.format.map_or("unknown", TensorFormat::name);
        return Err(format!(
            "tensor `{name}` has format {format} ({}), and only kLINEAR can be filled and read: \
             build it again with linear inputs and outputs",
            tensor.format_text
        ));
    }
    let dtype = tensor.dtype.ok_or_else(|| {
        format!("tensor `{name}` has element type {}, which cannot be passed", tensor.type_name)
    })?;
    let dim = |&extent: &i64| usize::try_from(extent).map_or(Dim::Any, Dim::Fixed);
    Ok(TensorSpec { name, dtype, dims: Some(tensor.extents.iter().map(dim).collect()) })
}

/// The plan's profiles: ranges of all inputs, those of fixed shape too.
pub(super) fn profiles(handle: &EngineHandle) -> Vec<Profile> {
    let range = |profile, input: &EngineTensor| {
        let shape = |which| {
            let extents = handle.profile_shape(&input.name, profile, which);
            shape(&extents?).or_else(|| shape(&input.extents))
        };
        Some(ShapeRange {
            min: shape(OptProfileSelector::Min)?,
            opt: shape(OptProfileSelector::Opt)?,
            max: shape(OptProfileSelector::Max)?,
        })
    };
    let ranges = |profile| {
        let inputs = handle.tensors().iter().filter(|tensor| tensor.is_input);
        inputs.filter_map(|input| Some((input.name_text(), range(profile, input)?))).collect()
    };
    (0..handle.profile_count().max(1)).map(ranges).collect()
}

/// The values that each profile allows of inputs that hold shapes. Where the library does not tell
/// (8.6 does so by binding number only), what the engine was built with is known: `built_with`.
pub(super) fn value_ranges(
    handle: &EngineHandle,
    inputs: &[Port],
    built_with: &[Profile],
) -> Vec<ValueRanges> {
    let told = |profile: i32, input: &EngineTensor| {
        let count = shape(&input.extents)?.checked_elements()?;
        let values = |which| handle.profile_values(&input.name, profile, which, count);
        Some((values(OptProfileSelector::Min)?, values(OptProfileSelector::Max)?))
    };
    let known = |profile: i32, input: &EngineTensor| {
        let profile = built_with.get(usize::try_from(profile).ok()?)?;
        let range = profile.get(&input.name_text())?;
        let value = |&value: &usize| i64::try_from(value).ok();
        let values = |shape: &Shape| shape.0.iter().map(value).collect::<Option<Vec<i64>>>();
        Some((values(&range.min)?, values(&range.max)?))
    };
    let ranges = |profile| {
        let inputs = inputs.iter().map(|port| &handle.tensors()[port.place]).enumerate();
        let shapes = inputs.filter(|(_, input)| input.is_shape && input.on_host);
        let range = |input| told(profile, input).or_else(|| known(profile, input));
        shapes.filter_map(|(index, input)| Some((index, range(input)?))).collect()
    };
    (0..handle.profile_count().max(1)).map(ranges).collect()
}

/// `None` where an extent is open.
pub(super) fn shape(extents: &[i64]) -> Option<Shape> {
    let extents = extents.iter().map(|&extent| usize::try_from(extent).ok());
    Some(Shape(extents.collect::<Option<_>>()?))
}
