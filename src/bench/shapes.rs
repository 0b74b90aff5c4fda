//! Which shapes to run: those asked for, of the data, of a profile, or the smallest the model
//! allows.

use std::collections::BTreeMap;

use crate::backend::{Profile, ShapeRange};
use crate::data::Column;
use crate::tensor::{Dim, Shape, TensorSpec};

use super::BenchError;

/// What decides the shapes.
pub(super) struct Choice<'a> {
    pub(super) inputs: &'a [TensorSpec],
    pub(super) profiles: &'a [Profile],
    /// What the user wrote.
    pub(super) asked: &'a BTreeMap<String, Shape>,
    /// The profile the user named.
    pub(super) profile: Option<usize>,
    /// The extent of axis 0 of inputs whose shape is not written.
    pub(super) batch: Option<usize>,
    /// An array for each input, where there is data.
    pub(super) arrays: Option<&'a [Column<'a>]>,
}

/// A shape for each input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) shapes: Vec<Shape>,
    /// The profile whose best shapes were taken where nothing else was said.
    pub(super) profile: Option<usize>,
    /// Axes that nothing decides and that are 1 therefore.
    pub(super) assumed: Vec<String>,
}

impl Choice<'_> {
    pub(super) fn resolve(&self) -> Result<Chosen, BenchError> {
        self.check_names()?;
        let symbols = self.symbols();
        let mut assumed = Vec::new();
        let mut shapes = Vec::with_capacity(self.inputs.len());
        for (at, input) in self.inputs.iter().enumerate() {
            let shape = self.shape(at, input, &symbols, &mut assumed)?;
            if !input.accepts(&shape) {
                return Err(BenchError::Shape {
                    input: input.name.clone(),
                    declared: input.dims_text(),
                    shape,
                });
            }
            shapes.push(shape);
        }
        self.check_profiles(&shapes)?;
        let is_open = |input: &TensorSpec| !self.asked.contains_key(&input.name);
        let takes_profile = self.base().is_some() && self.inputs.iter().any(is_open);
        let profile = takes_profile.then(|| self.profile.unwrap_or(0));
        Ok(Chosen { shapes, profile, assumed })
    }

    /// The profile that shapes are taken from.
    fn base(&self) -> Option<&Profile> {
        self.profiles.get(self.profile.unwrap_or(0))
    }

    fn check_names(&self) -> Result<(), BenchError> {
        let names = || self.inputs.iter().map(|input| &input.name);
        if let Some(input) = self.asked.keys().find(|asked| !names().any(|name| name == *asked)) {
            let known = names().cloned().collect();
            return Err(BenchError::UnknownInput { input: input.clone(), known });
        }
        match self.profile {
            Some(profile) if profile >= self.profiles.len() => {
                Err(BenchError::UnknownProfile { profile, count: self.profiles.len() })
            }
            _ => Ok(()),
        }
    }

    /// The extents that shapes asked for give to axes the model names, for the other inputs.
    fn symbols(&self) -> BTreeMap<&str, usize> {
        let mut symbols = BTreeMap::new();
        for input in self.inputs {
            let Some(shape) = self.asked.get(&input.name) else { continue };
            for (dim, &extent) in input.dims.iter().flatten().zip(&shape.0) {
                if let Dim::Symbol(name) = dim {
                    symbols.entry(name.as_str()).or_insert(extent);
                }
            }
        }
        symbols
    }

    fn shape(
        &self,
        at: usize,
        input: &TensorSpec,
        symbols: &BTreeMap<&str, usize>,
        assumed: &mut Vec<String>,
    ) -> Result<Shape, BenchError> {
        if let Some(shape) = self.asked.get(&input.name) {
            return Ok(shape.clone());
        }
        let range = self.base().and_then(|profile| profile.get(&input.name));
        let array = self.arrays.and_then(|arrays| arrays.get(at));
        let mut shape = match (array, range, &input.dims) {
            (Some(array), range, dims) => of_array(*array, range, dims.as_deref()),
            (None, Some(range), _) => range.opt.clone(),
            (None, None, Some(dims)) => self.smallest(input, dims, symbols, assumed),
            (None, None, None) => {
                return Err(BenchError::NoShape { input: input.name.clone() });
            }
        };
        for (extent, dim) in shape.0.iter_mut().zip(input.dims.iter().flatten()) {
            if let Dim::Symbol(name) = dim
                && let Some(&bound) = symbols.get(name.as_str())
            {
                *extent = bound;
            }
        }
        if let (Some(batch), Some(first)) = (self.batch, shape.0.first_mut()) {
            *first = batch;
        }
        Ok(shape)
    }

    /// The model's extents, with 1 where it leaves them open.
    fn smallest(
        &self,
        input: &TensorSpec,
        dims: &[Dim],
        symbols: &BTreeMap<&str, usize>,
        assumed: &mut Vec<String>,
    ) -> Shape {
        let extent = |(axis, dim): (usize, &Dim)| {
            let name = match dim {
                Dim::Fixed(extent) => return *extent,
                _ if axis == 0 && self.batch.is_some() => return 1,
                Dim::Symbol(name) => match symbols.get(name.as_str()) {
                    Some(bound) => return *bound,
                    None => format!("`{name}`"),
                },
                Dim::Any => format!("axis {axis} of `{}`", input.name),
            };
            if !assumed.contains(&name) {
                assumed.push(name);
            }
            1
        };
        Shape(dims.iter().enumerate().map(extent).collect())
    }

    /// Fails where the profile that was named, or else every profile, does not take the shapes.
    fn check_profiles(&self, shapes: &[Shape]) -> Result<(), BenchError> {
        let inputs = || self.inputs.iter().zip(shapes);
        let takes = |profile: &Profile| {
            inputs().all(|(input, shape)| {
                profile.get(&input.name).is_none_or(|range| range.contains(shape))
            })
        };
        let numbered = self.profiles.iter().enumerate();
        let mut candidates = numbered.filter(|(at, _)| self.profile.is_none_or(|only| only == *at));
        if self.profiles.is_empty() || candidates.clone().any(|(_, profile)| takes(profile)) {
            return Ok(());
        }
        let profiles = match (candidates.next(), candidates.next()) {
            (Some((at, _)), None) => format!("profile {at} does"),
            _ => format!("the {} profiles do", self.profiles.len()),
        };
        let shapes: Vec<String> =
            inputs().map(|(input, shape)| format!("`{}` of shape {shape}", input.name)).collect();
        let ranges = self.profiles.iter().enumerate().map(|(at, profile)| ranges(at, profile));
        Err(BenchError::OutsideProfiles {
            profiles,
            shapes: shapes.join(", "),
            ranges: ranges.collect(),
        })
    }
}

/// As many samples as the profile is fastest at, or the model fixes, as far as there are so many.
fn of_array(array: Column<'_>, range: Option<&ShapeRange>, dims: Option<&[Dim]>) -> Shape {
    let mut shape = array.shape().clone();
    let fixed = dims.and_then(|dims| match dims.first() {
        Some(Dim::Fixed(extent)) => Some(*extent),
        _ => None,
    });
    let best = range.and_then(|range| range.opt.0.first().copied());
    if let Some(first) = shape.0.first_mut() {
        *first = fixed.unwrap_or_else(|| best.unwrap_or(1).min(*first));
    }
    shape
}

/// `profile 0: image [1,1,8,8] to [32,1,8,8]`.
fn ranges(at: usize, profile: &Profile) -> String {
    let ranges: Vec<String> = profile
        .iter()
        .map(|(input, range)| format!("`{input}` {} to {}", range.min, range.max))
        .collect();
    format!("profile {at} takes {}", ranges.join(", "))
}
