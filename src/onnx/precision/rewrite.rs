//! Writes the decisions into the graph: constants in the types that their readers want, and casts
//! where float32 and 16 bits meet, one for each tensor and direction.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::error::OnnxError;
use crate::onnx::names::{FreshNames, int};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};

use super::Io;
use super::constants::Constants;
use super::declare::{self, Made};
use super::half::Half;
use super::settle::Decision;
use super::view::View;

/// What the rewriting makes of a model.
pub(super) struct Rewritten {
    pub(super) graph: GraphProto,
    /// Casts that were put in.
    pub(super) casts: usize,
    /// Whether initializers came to it.
    pub(super) new_initializers: bool,
}

/// The names of a tensor in both precisions, as far as there are such.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) float: Option<String>,
    pub(super) low: Option<String>,
}

impl Names {
    pub(super) fn side(&mut self, low: bool) -> &mut Option<String> {
        if low { &mut self.low } else { &mut self.float }
    }
}

/// Rewrites the main graph.
pub(super) fn rewrite(
    view: &View<'_>,
    decisions: &[Decision],
    io: Io,
) -> Result<Rewritten, OnnxError> {
    let mut fresh = FreshNames::of(&view.model.graph);
    let constants = Constants::plan(view, decisions, io, &mut fresh);
    let mut writer = Writer {
        view,
        io,
        fresh,
        names: constants.names(view),
        sources: HashMap::new(),
        renamed: HashMap::new(),
        nodes: Vec::new(),
        made: Vec::new(),
        casts: HashMap::new(),
        added: HashSet::new(),
    };
    for input in &view.model.graph.input {
        let name = input.name();
        if view.is_float(name) && !view.constants.contains_key(name) {
            let low = io == Io::Convert && !view.pinned.contains(name);
            *writer.names.entry(name.to_owned()).or_default().side(low) = Some(name.to_owned());
        }
    }
    for (index, decision) in decisions.iter().enumerate() {
        writer.step(index, decision.low)?;
    }
    let mut graph = constants.graph(view)?;
    graph.node = writer.alive();
    declare::update(&mut graph, view, &writer.names, &writer.made);
    let is_added = |node: &&NodeProto| node.output.iter().any(|name| writer.added.contains(name));
    let casts = graph.node.iter().filter(is_added).count();
    Ok(Rewritten { graph, casts, new_initializers: constants.adds() })
}

struct Writer<'v, 'm> {
    view: &'v View<'m>,
    io: Io,
    fresh: FreshNames,
    /// By the name in the model as it was.
    names: BTreeMap<String, Names>,
    /// What a tensor was cast from, and the type of that.
    sources: HashMap<String, (String, DataType)>,
    /// What is read in place of the result of a cast that is not needed any more.
    renamed: HashMap<String, String>,
    nodes: Vec<NodeProto>,
    /// New tensors.
    made: Vec<Made>,
    /// The casts that were put in, by what they read and whether they give 16 bits.
    casts: HashMap<(String, bool), String>,
    /// What those give.
    added: HashSet<String>,
}

impl Writer<'_, '_> {
    fn half(&self) -> Half {
        self.view.half
    }

    /// The precision that a name must have, because somebody else reads it.
    fn declared_low(&self, name: &str) -> Option<bool> {
        declared_low(self.view, name, self.io)
    }

    fn step(&mut self, index: usize, low: bool) -> Result<(), OnnxError> {
        let step = &self.view.steps[index];
        let mut node = step.node.clone();
        if self.view.model.is_standard(&node, "Cast") && step.has_float {
            self.cast(node);
            return Ok(());
        }
        for (slot, input) in node.input.iter_mut().enumerate() {
            if self.view.is_float(input) {
                *input = self.read(&input.clone(), low && step.lowerable.contains(&slot));
            } else if let Some(name) = self.renamed.get(input) {
                input.clone_from(name);
            }
        }
        if low {
            lower_attributes(&mut node, self.view)?;
        }
        let mut casts = Vec::new();
        for (output, lowered) in node.output.iter_mut().zip(&step.lowered) {
            if self.view.is_float(output) {
                casts.extend(self.give(output, low && *lowered));
            }
        }
        self.nodes.push(node);
        for name in casts {
            self.demand(&name);
        }
        Ok(())
    }

    /// Gives an output its name; the answer is a tensor that somebody else reads in the other
    /// precision.
    fn give(&mut self, output: &mut String, low: bool) -> Option<String> {
        let name = output.clone();
        let other = self.declared_low(&name).is_some_and(|declared| declared != low);
        if other {
            *output = self.make(&name, low);
        }
        *self.names.entry(name.clone()).or_default().side(low) = Some(output.clone());
        other.then_some(name)
    }

    /// A new name for a tensor in a precision.
    fn make(&mut self, tensor: &str, low: bool) -> String {
        let dtype = if low { self.half().name() } else { "float32" };
        let name = self.fresh.take(&format!("{tensor}_{dtype}"));
        self.made.push(Made { name: name.clone(), of: tensor.to_owned(), low });
        name
    }

    /// Casts a tensor to the precision that its own name must have.
    fn demand(&mut self, name: &str) {
        let Some(low) = self.declared_low(name) else { return };
        let names = self.names.entry(name.to_owned()).or_default();
        let Some(from) = names.side(!low).clone() else { return };
        *names.side(low) = Some(name.to_owned());
        self.push_cast(&from, name.to_owned(), low);
    }

    /// The name of a float32 tensor of the model in a precision; casts it where that is new.
    fn read(&mut self, tensor: &str, low: bool) -> String {
        let names = self.names.entry(tensor.to_owned()).or_default();
        if let Some(name) = names.side(low) {
            return name.clone();
        }
        let other = names.side(!low).clone().unwrap_or_else(|| tensor.to_owned());
        let (from, dtype) = self.sources.get(tensor).cloned().unwrap_or((other, DataType::Float));
        let name = if low && dtype == self.half().data_type() {
            from
        } else if let Some(name) = self.casts.get(&(from.clone(), low)) {
            name.clone()
        } else {
            let name = self.make(tensor, low);
            self.push_cast(&from, name, low)
        };
        *self.names.entry(tensor.to_owned()).or_default().side(low) = Some(name.clone());
        name
    }

    fn push_cast(&mut self, from: &str, to: String, low: bool) -> String {
        let dtype = if low { self.half().data_type() } else { DataType::Float };
        self.added.insert(to.clone());
        self.casts.insert((from.to_owned(), low), to.clone());
        let name = self.fresh.take(&format!("{to}/Cast"));
        self.nodes.push(NodeProto {
            name: Some(name),
            op_type: Some("Cast".into()),
            input: vec![from.to_owned()],
            output: vec![to.clone()],
            attribute: vec![int("to", dtype as i64)],
            ..NodeProto::default()
        });
        to
    }

    /// A `Cast` of the model: reads what there is, and goes where it is not needed any more.
    fn cast(&mut self, mut node: NodeProto) {
        let (Some(input), Some(output)) =
            (node.input.first().cloned(), node.output.first().cloned())
        else {
            self.nodes.push(node);
            return;
        };
        let from = self.view.types.get(&input);
        let is_low = |name: &Names| name.float.is_none() && name.low.is_some();
        let reads_low = self.names.get(&input).is_some_and(is_low);
        if from == Some(DataType::Float) {
            node.input[0] = self.read(&input, reads_low);
        } else if let Some(name) = self.renamed.get(&input) {
            node.input[0].clone_from(name);
        }
        if !self.view.is_float(&output) {
            self.cast_away(node, &input, &output, reads_low);
            return;
        }
        let source = (
            node.input[0].clone(),
            match (from, reads_low) {
                (Some(DataType::Float), true) => self.half().data_type(),
                (Some(dtype), _) => dtype,
                (None, _) => DataType::Undefined,
            },
        );
        let source = self.sources.get(&input).cloned().unwrap_or(source);
        // A name that must be low is made low here, whatever it is made from.
        let low = self.declared_low(&output) == Some(true);
        if low {
            set_int(&mut node, "to", self.half().data_type() as i64);
        }
        *self.names.entry(output.clone()).or_default().side(low) = Some(output.clone());
        self.sources.insert(output, source);
        self.nodes.push(node);
    }

    /// A `Cast` of the model from float32 to another type.
    fn cast_away(&mut self, node: NodeProto, input: &str, output: &str, reads_low: bool) {
        let is_half = self.view.types.get(output) == Some(self.half().data_type());
        let is_read_elsewhere =
            self.view.pinned.contains(output) || self.view.outputs.contains(output);
        if is_half && reads_low && !is_read_elsewhere {
            self.renamed.insert(output.to_owned(), node.input[0].clone());
            return;
        }
        if is_half && !reads_low {
            let names = self.names.entry(input.to_owned()).or_default();
            names.low.get_or_insert_with(|| output.to_owned());
        }
        self.nodes.push(node);
    }

    /// The nodes, without casts that nobody reads.
    fn alive(&mut self) -> Vec<NodeProto> {
        let mut read: HashSet<String> =
            self.view.outputs.iter().chain(&self.view.pinned).map(|&name| name.into()).collect();
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            let is_cast = self.view.model.is_standard(&node, "Cast");
            if !is_cast || node.output.iter().any(|name| read.contains(name)) {
                read.extend(node.input.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        kept
    }
}

/// The precision that a name must have, because somebody else reads it.
pub(super) fn declared_low(view: &View<'_>, name: &str, io: Io) -> Option<bool> {
    if view.pinned.contains(name) {
        return Some(false);
    }
    view.outputs.contains(name).then_some(io == Io::Convert)
}

/// Attributes that decide of which type a low node computes or gives.
fn lower_attributes(node: &mut NodeProto, view: &View<'_>) -> Result<(), OnnxError> {
    match node.op_type() {
        // By default the softmax inside is computed in the type of its inputs.
        "Attention" if !node.attribute.iter().any(|a| a.name() == "softmax_precision") => {
            node.attribute.push(int("softmax_precision", DataType::Float as i64));
        }
        "ConstantOfShape" => {
            let value = match node.attribute.iter().find_map(|attribute| attribute.t.as_ref()) {
                Some(value) => view.half.convert(view.model, value, value.name())?,
                None => view.half.zero(),
            };
            node.attribute = vec![AttributeProto {
                name: Some("value".into()),
                r#type: Some(AttributeType::Tensor as i32),
                t: Some(value),
                ..AttributeProto::default()
            }];
        }
        _ => {}
    }
    Ok(())
}

fn set_int(node: &mut NodeProto, name: &str, value: i64) {
    node.attribute.retain(|attribute| attribute.name() != name);
    node.attribute.push(int(name, value));
}
