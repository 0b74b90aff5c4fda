//! Optimization profiles: from those of a spec to TensorRT's.
//!
//! What a profile says of an input is the range of its shape or, for an input that holds a shape,
//! of its values. Only the network tells which.

use std::ffi::CString;
use std::sync::Arc;

use crate::backend::{BackendError, Profile, ShapeRange};
use crate::tensor::{Dim, TensorSpec};

use super::super::calibration::BatchSpec;
use super::super::error::TrtError;
use super::super::handle::{self, Builder, Config, NetworkTensor};
use super::super::sys::{Dims, OptProfileSelector};

/// A spec's profiles.
#[derive(Debug, PartialEq)]
pub(super) struct Ranges {
    /// The ranges of shapes, per profile.
    pub(super) shapes: Vec<Profile>,
    /// The ranges of values, per profile; empty where no input holds a shape.
    pub(super) values: Vec<Profile>,
}

impl Ranges {
    /// Tells shapes from values, and refuses what does not fit the network's inputs.
    pub(super) fn of(profiles: &[Profile], inputs: &[NetworkTensor]) -> Result<Self, BackendError> {
        if profiles.is_empty()
            && let Some(input) = inputs.iter().find(|input| input.is_shape || is_open(input))
        {
            return Err(missing(input));
        }
        let (mut shapes, mut values) = (profiles.to_vec(), Vec::new());
        for profile in &mut shapes {
            let mut of_profile = Profile::new();
            for input in inputs {
                if input.is_shape {
                    let range = profile.remove(&input.name).ok_or_else(|| missing(input))?;
                    hold_to_count(input, &range)?;
                    of_profile.insert(input.name.clone(), range);
                } else {
                    hold_to_shape(input, profile.get(&input.name))?;
                }
            }
            values.push(of_profile);
        }
        if values.iter().all(Profile::is_empty) {
            values.clear();
        }
        Ok(Self { shapes, values })
    }

    /// Gives them to a configuration.
    pub(super) fn add_to(
        &self,
        builder: &Arc<Builder>,
        config: &Config,
    ) -> Result<(), BackendError> {
        let failed = |error: TrtError| {
            let help = match error {
                TrtError::TooWide(_) => "give smaller numbers, or build with TensorRT 10 or later",
                _ => "a profile gives `min`, `opt` and `max` of every input whose shape is open",
            };
            refused(error.to_string(), help.to_owned())
        };
        for (at, shapes) in self.shapes.iter().enumerate() {
            let target = builder.profile().map_err(failed)?;
            for (input, which, extents) in ends(shapes) {
                let too_many = || refused(format!("`{input:?}` has too many axes"), String::new());
                let dims = Dims::new(&extents).ok_or_else(too_many)?;
                target.set_shape(&input, which, &dims).map_err(failed)?;
            }
            for (input, which, values) in self.values.get(at).into_iter().flat_map(ends) {
                target.set_values(&input, which, &values).map_err(failed)?;
            }
            config.add_profile(&target).map_err(failed)?;
        }
        Ok(())
    }
}

/// The three lists of numbers of every input.
fn ends(profile: &Profile) -> impl Iterator<Item = (CString, OptProfileSelector, Vec<i64>)> {
    profile.iter().flat_map(|(input, range)| {
        // A name with a zero byte in it is no input of any model.
        let input = CString::new(input.as_str()).unwrap_or_default();
        let ends = [
            (OptProfileSelector::Min, &range.min),
            (OptProfileSelector::Opt, &range.opt),
            (OptProfileSelector::Max, &range.max),
        ];
        ends.map(|(which, numbers)| {
            let numbers = numbers.0.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX));
            (input.clone(), which, numbers.collect())
        })
    })
}

/// The inputs that samples are for: those that hold shapes have their values from profiles.
pub(super) fn specs(inputs: &[NetworkTensor]) -> Vec<TensorSpec> {
    let inputs = inputs.iter().filter(|input| !input.is_shape);
    let dim = |&extent: &i64| usize::try_from(extent).map_or(Dim::Any, Dim::Fixed);
    inputs
        .filter_map(|input| {
            Some(TensorSpec {
                name: input.name.clone(),
                dtype: handle::element_type(input.dtype?)?,
                dims: Some(input.extents.iter().map(dim).collect()),
            })
        })
        .collect()
}

/// Calibrates with the shapes of the batches, whatever the profiles are fastest at.
pub(super) fn calibration_profile(
    builder: &Arc<Builder>,
    config: &Config,
    batch: &BatchSpec,
) -> Result<(), TrtError> {
    let profile = builder.profile()?;
    for input in batch.inputs() {
        let name = CString::new(input.name.as_str()).unwrap_or_default();
        let extents = input.shape.0.iter().map(|&extent| i64::try_from(extent).unwrap_or(-1));
        let dims = Dims::new(&extents.collect::<Vec<_>>()).unwrap_or_default();
        for which in [OptProfileSelector::Min, OptProfileSelector::Opt, OptProfileSelector::Max] {
            profile.set_shape(&name, which, &dims)?;
        }
    }
    config.set_calibration_profile(&profile)
}

fn is_open(input: &NetworkTensor) -> bool {
    input.extents.contains(&-1)
}

fn numbers(range: &ShapeRange) -> [&[usize]; 3] {
    [&range.min, &range.opt, &range.max].map(|shape| &shape.0[..])
}

/// An input that holds a shape has as many values as elements.
fn hold_to_count(input: &NetworkTensor, range: &ShapeRange) -> Result<(), BackendError> {
    let count = input.extents.iter().product::<i64>();
    let fits = |values: &[usize]| i64::try_from(values.len()) == Ok(count);
    if numbers(range).into_iter().all(fits) {
        return Ok(());
    }
    let reason = format!("the model reads a shape from `{}`, which has {count} values", input.name);
    let help = "give the smallest, most common and largest values, not extents";
    Err(refused(reason, help.to_owned()))
}

/// An input of fixed shape has the shape that the model says.
fn hold_to_shape(input: &NetworkTensor, range: Option<&ShapeRange>) -> Result<(), BackendError> {
    let Some(range) = range else {
        return if is_open(input) { Err(missing(input)) } else { Ok(()) };
    };
    let is_its_shape = |extents: &[usize]| {
        extents.iter().map(|&extent| i64::try_from(extent)).eq(input
            .extents
            .iter()
            .copied()
            .map(Ok))
    };
    if is_open(input) || numbers(range).into_iter().all(is_its_shape) {
        return Ok(());
    }
    let reason = format!(
        "the values of `{}` are data to the model, not a shape, and need no range",
        input.name
    );
    Err(refused(reason, format!("remove `{}` from the profile", input.name)))
}

fn missing(input: &NetworkTensor) -> BackendError {
    let (what, numbers) =
        if input.is_shape { ("holds a shape", "values") } else { ("has an open shape", "extents") };
    refused(
        format!(
            "the input `{}` {what}, and a profile must say which {numbers} it takes",
            input.name
        ),
        format!("give those {numbers}: `{}: {{ min: .., opt: .., max: .. }}`", input.name),
    )
}

fn refused(reason: String, help: String) -> BackendError {
    BackendError::Setting { setting: "profiles".to_owned(), reason, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, extents: &[i64], is_shape: bool) -> NetworkTensor {
        NetworkTensor { name: name.to_owned(), dtype: None, extents: extents.to_vec(), is_shape }
    }

    /// `x` of one open axis, `shape` that holds a shape of two, `two` of fixed shape.
    fn inputs() -> [NetworkTensor; 3] {
        [input("x", &[1, -1], false), input("shape", &[2], true), input("two", &[2], false)]
    }

    fn profile(ranges: &[(&str, [&[usize]; 3])]) -> Profile {
        let range = |[min, opt, max]: [&[usize]; 3]| ShapeRange {
            min: min.into(),
            opt: opt.into(),
            max: max.into(),
        };
        ranges.iter().map(|(name, numbers)| ((*name).to_owned(), range(*numbers))).collect()
    }

    const X: (&str, [&[usize]; 3]) = ("x", [&[1, 1], &[1, 4], &[1, 8]]);
    const SHAPE: (&str, [&[usize]; 3]) = ("shape", [&[1, 1], &[3, 4], &[6, 8]]);

    fn refusal(ranges: &[(&str, [&[usize]; 3])]) -> String {
        match Ranges::of(&[profile(ranges)], &inputs()) {
            Err(BackendError::Setting { setting, reason, help }) => {
                assert_eq!(setting, "profiles");
                format!("{reason}\n{help}")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_those_of_inputs_that_hold_a_shape() {
        let found = Ranges::of(&[profile(&[X, SHAPE])], &inputs()).unwrap();
        assert_eq!(found.shapes, [profile(&[X])]);
        assert_eq!(found.values, [profile(&[SHAPE])]);
        let plain = Ranges::of(&[profile(&[X])], &inputs()[..1]).unwrap();
        assert_eq!((plain.shapes.len(), plain.values.len()), (1, 0));
    }

    #[test]
    fn the_shape_of_an_input_that_has_only_one_may_be_said() {
        let two: (&str, [&[usize]; 3]) = ("two", [&[2], &[2], &[2]]);
        assert!(Ranges::of(&[profile(&[X, SHAPE, two])], &inputs()).is_ok());
    }

    #[test]
    fn what_does_not_fit_the_network_is_refused_with_the_next_step() {
        insta::assert_snapshot!(refusal(&[X]), @r"
        the input `shape` holds a shape, and a profile must say which values it takes
        give those values: `shape: { min: .., opt: .., max: .. }`
        ");
        insta::assert_snapshot!(refusal(&[SHAPE]), @r"
        the input `x` has an open shape, and a profile must say which extents it takes
        give those extents: `x: { min: .., opt: .., max: .. }`
        ");
        insta::assert_snapshot!(refusal(&[X, ("shape", [&[2], &[2], &[2]])]), @r"
        the model reads a shape from `shape`, which has 2 values
        give the smallest, most common and largest values, not extents
        ");
        insta::assert_snapshot!(refusal(&[X, SHAPE, ("two", [&[1, 1], &[3, 3], &[5, 5]])]), @r"
        the values of `two` are data to the model, not a shape, and need no range
        remove `two` from the profile
        ");
        assert!(Ranges::of(&[], &inputs()).is_err());
        assert!(Ranges::of(&[], &inputs()[2..]).is_ok());
    }
}
