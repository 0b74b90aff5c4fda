//! Changes the extent of axis 0 of all inputs and outputs: how many samples a model takes at once.

use super::check::{NodeName, node_name};
use super::error::OnnxError;
use super::mixing::mixes;
use super::model::Model;
use super::names::{FreshNames, Uses, int_attribute};
use super::passes::shape_constant;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{NodeProto, TensorShapeProto, ValueInfoProto, type_proto};
use super::shapes::{Extent, Shapes};

/// How many samples a model takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// Any number.
    Dynamic,
    /// Exactly so many.
    Fixed(u32),
}

/// Why the batch size of a model cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchProblem {
    /// A tensor has no axis that could count samples.
    #[error("`{0}` has no axis that counts samples")]
    NoAxis(String),
    /// The inputs do not take equally many samples.
    #[error("its inputs `{0}` and `{1}` have axes 0 of their own")]
    Differ(String, String),
    /// A node has the number of samples built in.
    #[error("{0} is made for batches of {1}")]
    Node(NodeName, i64),
    /// A node computes across samples.
    #[error("{0} computes across samples")]
    Mixes(NodeName),
    /// What a node does to the batch axis cannot be told.
    #[error("{0}: what it does to the batch axis is not known")]
    Unknown(NodeName),
    /// An output does not count samples along its first axis.
    #[error("axis 0 of output `{0}` does not count samples")]
    Output(String),
}

impl BatchProblem {
    /// What the user can do next.
    pub fn help(&self) -> String {
        "export the model with a dynamic batch axis, or leave `batch` out".into()
    }
}

/// The name of the batch axis.
const AXIS: &str = "batch";

impl Model {
    /// Sets axis 0 of every input and output. A batch size that is built into the model is made
    /// free where that is safe. The model must have passed [`Model::check`]; on an error it is as
    /// it was.
    pub fn set_batch(&mut self, size: BatchSize) -> Result<(), OnnxError> {
        let mut changed = self.clone();
        changed
            .rebatched(size)
            .map_err(|problem| OnnxError::Batch { path: self.path().to_owned(), problem })?;
        *self = changed;
        Ok(())
    }

    fn rebatched(&mut self, size: BatchSize) -> Result<(), BatchProblem> {
        let built_in = self.built_in_batch()?;
        if let Some(built_in) = built_in {
            if size == BatchSize::Fixed(u32::try_from(built_in).unwrap_or(u32::MAX)) {
                return Ok(());
            }
            self.free_batch(built_in)?;
        } else if size == BatchSize::Dynamic {
            return Ok(());
        }
        if let BatchSize::Fixed(size) = size {
            self.fix_batch(i64::from(size));
        }
        Ok(())
    }

    /// The extent of axis 0 of all inputs; `None` where it is free.
    fn built_in_batch(&self) -> Result<Option<i64>, BatchProblem> {
        let mut first: Option<(&str, Option<i64>)> = None;
        for input in self.fed_inputs() {
            let axis =
                first_axis(input).ok_or_else(|| BatchProblem::NoAxis(input.name().to_owned()))?;
            let extent = match axis.value {
                Some(dimension::Value::DimValue(extent)) if extent >= 0 => Some(extent),
                _ => None,
            };
            match first {
                Some((name, other)) if other != extent => {
                    let (name, input) = (name.to_owned(), input.name().to_owned());
                    return Err(BatchProblem::Differ(name, input));
                }
                _ => first = Some((input.name(), extent)),
            }
        }
        Ok(first.and_then(|(_, extent)| extent))
    }

    /// Makes a built-in batch size free.
    fn free_batch(&mut self, built_in: i64) -> Result<(), BatchProblem> {
        self.loosen(built_in);
        let before: Vec<Option<Vec<Extent>>> = outputs(self, &Shapes::of(self));
        let axis = self.free_axis();
        let fed: Vec<String> = self.fed_inputs().map(|input| input.name().to_owned()).collect();
        let graph = &mut self.graph;
        for input in
            graph.input.iter_mut().filter(|input| fed.iter().any(|name| name == input.name()))
        {
            set_first_axis(input, dimension::Value::DimParam(axis.clone()));
        }
        graph.value_info.clear();
        let shapes = Shapes::of(self);
        let batch = fed.first().and_then(|name| shapes.dims(name)?.first().copied());
        let after = outputs(self, &shapes);
        if let Some(batch) = batch
            && let Some(node) =
                self.graph.node.iter().find(|node| mixes(self, node, batch, &shapes))
        {
            return Err(BatchProblem::Mixes(node_name(node)));
        }
        let uses = Uses::of(&self.graph);
        let mut pairs = before.iter().zip(&after);
        for node in &self.graph.node {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let found = uses.get(name);
                if let Some((before, after)) = pairs.next()
                    && (found.reads > 0 || found.pinned)
                {
                    follows(node, before.as_deref(), after.as_deref(), batch, built_in, &shapes)?;
                }
            }
        }
        for output in &self.graph.output {
            let first = shapes.dims(output.name()).and_then(|dims| dims.first().copied());
            if first.is_none() || first != batch {
                return Err(BatchProblem::Output(output.name().to_owned()));
            }
        }
        for output in &mut self.graph.output {
            set_first_axis(output, dimension::Value::DimParam(axis.clone()));
        }
        Ok(())
    }

    /// A name for the batch axis that no other axis has.
    fn free_axis(&self) -> String {
        let inputs = self.graph.input.iter().chain(&self.graph.output);
        let taken: Vec<&Dimension> =
            inputs.filter_map(shape).flat_map(|shape| &shape.dim).collect();
        let is_taken = |name: &str| {
            taken.iter().any(|dim| {
                matches!(&dim.value, Some(dimension::Value::DimParam(other)) if other == name)
            })
        };
        let mut name = AXIS.to_owned();
        while is_taken(&name) {
            name.push('_');
        }
        name
    }

    /// Writes reshapings that name the batch size so that they take it from their input: the same
    /// for a model of that batch size.
    fn loosen(&mut self, built_in: i64) {
        let shapes = Shapes::of(self);
        let mut changes = Vec::new();
        for (index, node) in self.graph.node.iter().enumerate() {
            let [data, shape] = node.input.as_slice() else { continue };
            let values = shapes.get(shape).and_then(|fact| fact.values.as_deref());
            let Some(mut target) = values.and_then(super::shapes::fixed) else { continue };
            if target.first() != Some(&built_in) {
                continue;
            }
            let copies = shapes.dims(data).and_then(<[_]>::first) == Some(&Extent::Fixed(built_in));
            let is_reshape =
                self.is_standard(node, "Reshape") && int_attribute(node, "allowzero", 0) == 0;
            target[0] = match () {
                () if is_reshape && copies => 0,
                () if is_reshape && !target.contains(&-1) && !target.contains(&0) => -1,
                () if self.is_standard(node, "Expand")
                    && copies
                    && shapes.dims(data).is_some_and(|dims| dims.len() == target.len()) =>
                {
                    1
                }
                () => continue,
            };
            changes.push((index, target));
        }
        let mut fresh = FreshNames::of(&self.graph);
        for (index, target) in changes {
            let name = fresh.take(&format!("{}_shape", self.graph.node[index].output[0]));
            self.graph.initializer.extend(shape_constant(&name, &target));
            self.graph.node[index].input[1] = name;
        }
    }

    /// Gives the free batch axis an extent, wherever the model names it.
    fn fix_batch(&mut self, size: i64) {
        let fed: Vec<String> = self.fed_inputs().map(|input| input.name().to_owned()).collect();
        let graph = &mut self.graph;
        let mut names = Vec::new();
        let is_fed = |value: &ValueInfoProto| fed.iter().any(|name| name == value.name());
        for input in graph.input.iter_mut().filter(|input| is_fed(input)) {
            let before = first_axis(input).and_then(|axis| axis.value.clone());
            if let Some(dimension::Value::DimParam(name)) = before {
                names.push(name);
            }
            set_first_axis(input, dimension::Value::DimValue(size));
        }
        for output in &mut graph.output {
            set_first_axis(output, dimension::Value::DimValue(size));
        }
        let all = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
        for dim in all.filter_map(shape_mut).flat_map(|shape| &mut shape.dim) {
            if matches!(&dim.value, Some(dimension::Value::DimParam(name)) if names.contains(name))
            {
                dim.value = Some(dimension::Value::DimValue(size));
            }
        }
    }
}

/// Whether a node's output only changed where it counted samples before.
fn follows(
    node: &NodeProto,
    before: Option<&[Extent]>,
    after: Option<&[Extent]>,
    batch: Option<Extent>,
    built_in: i64,
    shapes: &Shapes<'_>,
) -> Result<(), BatchProblem> {
    let (Some(before), Some(after)) = (before, after) else {
        return Err(BatchProblem::Unknown(node_name(node)));
    };
    let has = |dims: Option<&[Extent]>| dims.is_some_and(|dims| dims.first().copied() == batch);
    let takes_batch = node.input.iter().any(|input| has(shapes.dims(input)));
    let was = Extent::Fixed(built_in);
    // A constant of that many rows beside the batch, or a reshaping to a shape without it.
    let keeps = built_in != 1 && before.first() == Some(&was) && after.first() == Some(&was);
    let loses = node.op_type() == "Reshape" && !after.iter().any(|extent| Some(*extent) == batch);
    let mixes = takes_batch && (keeps || loses);
    let fits = before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            before == after
                || (Some(*after) == batch && *before == was)
                || matches!((before, after), (Extent::Symbol(_), Extent::Symbol(_)))
        });
    if fits && !mixes { Ok(()) } else { Err(BatchProblem::Node(node_name(node), built_in)) }
}

/// The axes of what nodes give, in order.
fn outputs(model: &Model, shapes: &Shapes<'_>) -> Vec<Option<Vec<Extent>>> {
    let names = model.graph.node.iter().flat_map(|node| &node.output);
    let names = names.filter(|name| !name.is_empty());
    names.map(|name| shapes.dims(name).map(<[_]>::to_vec)).collect()
}

fn shape(value: &ValueInfoProto) -> Option<&TensorShapeProto> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => tensor.shape.as_ref(),
        _ => None,
    }
}

fn shape_mut(value: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    match value.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => tensor.shape.as_mut(),
        _ => None,
    }
}

fn first_axis(value: &ValueInfoProto) -> Option<&Dimension> {
    shape(value)?.dim.first()
}

fn set_first_axis(value: &mut ValueInfoProto, extent: dimension::Value) {
    if let Some(axis) = shape_mut(value).and_then(|shape| shape.dim.first_mut()) {
        axis.value = Some(extent);
    }
}
