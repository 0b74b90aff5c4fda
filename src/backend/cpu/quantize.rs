//! Quantization as tract can run it: constant `DequantizeLinear` inputs become float32 constants
//! (INT4, FP8 and blocked scales included), per-tensor `QuantizeLinear` and `DequantizeLinear`
//! become operators of ours. tract's own pair is avoided because its declutter pass replaces what
//! stands between them by a lookup table even where that is no elementwise operator (Softmax),
//! and because it multiplies by a rounded reciprocal where ONNX divides.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb;
use tract_onnx::prelude::{TractError, TractResult};
use tract_onnx::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_onnx::tract_hir::internal::InferenceOp;
use tract_onnx::tract_hir::ops::element_wise::ElementWiseIntoHir as _;

use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::guard::{attribute, integer};
use super::rounding::{Dequantize, Grid, Quantize};
use super::walk::{each_node, subgraphs};
use super::weights;

/// Our operators' types; no model can contain them, because the guard rails refuse unknown ones.
const QUANTIZE: &str = "TrtPipelineQuantize";
const DEQUANTIZE: &str = "TrtPipelineDequantize";

/// Teaches tract's reader our operators.
pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert(QUANTIZE, |_, node| {
        let (scale, zero_point) = parameters(node)?;
        let number: i32 = node.get_attr("to")?;
        let grid = Grid::of(number).ok_or_else(|| TractError::msg("no such quantized type"))?;
        Ok((operator(Quantize { scale, zero_point, grid }), vec![]))
    });
    register.insert(DEQUANTIZE, |_, node| {
        let (scale, zero_point) = parameters(node)?;
        Ok((operator(Dequantize { scale, zero_point }), vec![]))
    });
}

fn parameters(node: &pb::NodeProto) -> TractResult<(u32, i32)> {
    let scale: f32 = node.get_attr("scale")?;
    Ok((scale.to_bits(), node.get_attr("zero_point")?))
}

fn operator(op: impl ElementWiseMiniOp) -> Box<dyn InferenceOp> {
    ElementWiseOp(Box::new(op), None).into_hir()
}

/// Rewrites the quantization operators of the model's graph. Those inside the graphs of `If` and
/// `Scan` stay tract's.
pub(super) fn rewrite(model: &mut Model) -> Result<(), Fault> {
    let graph = &model.graph;
    let quantizes =
        |node: &NodeProto| matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear");
    if !graph.node.iter().any(quantizes) {
        return Ok(());
    }
    let constants = Constants::of(model);
    let mut folded = Vec::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        match node.op_type() {
            "QuantizeLinear" => kept.push(constants.quantize(node)?),
            "DequantizeLinear" => match constants.fold(node)? {
                Some(tensor) => folded.push(tensor),
                None => kept.push(constants.dequantize(node)?),
            },
            _ => kept.push(node.clone()),
        }
    }
    let graph = &mut model.graph;
    graph.node = kept;
    graph.initializer.extend(folded);
    drop_unused(graph);
    Ok(())
}

/// Initializers that only fed folded nodes go: their types may be ones tract cannot load.
fn drop_unused(graph: &mut GraphProto) {
    let mut used: BTreeSet<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
    each_node(graph, &mut |node| used.extend(node.input.iter().map(String::as_str)));
    each_node(graph, &mut |node| {
        let results = subgraphs(node).flat_map(|graph| &graph.output);
        used.extend(results.map(ValueInfoProto::name));
    });
    let used: BTreeSet<String> = used.into_iter().map(str::to_owned).collect();
    graph.initializer.retain(|tensor| used.contains(tensor.name()));
    graph.node.retain(|node| {
        node.op_type() != "Constant" || node.output.iter().any(|name| used.contains(name))
    });
}

/// The constant tensors of a model's graph by name.
struct Constants<'a> {
    tensors: BTreeMap<&'a str, &'a TensorProto>,
    model: &'a Model,
}

impl<'a> Constants<'a> {
    fn of(model: &'a Model) -> Self {
        let initializers = model.graph.initializer.iter().map(|tensor| (tensor.name(), tensor));
        let nodes = model.graph.node.iter().filter(|node| node.op_type() == "Constant");
        let constants = nodes.filter_map(|node| {
            let tensor = attribute(node, "value")?.t.as_ref()?;
            Some((node.output.first()?.as_str(), tensor))
        });
        Self { tensors: initializers.chain(constants).collect(), model }
    }

    fn input(&self, node: &NodeProto, index: usize) -> Option<&'a TensorProto> {
        node.input.get(index).and_then(|name| self.tensors.get(name.as_str())).copied()
    }

    fn values(&self, tensor: &TensorProto) -> Result<Vec<f64>, Fault> {
        weights::values(self.model, tensor)
    }

    /// Zero point of a node: its values and element type.
    fn zero_point(&self, node: &NodeProto) -> Result<Option<(Vec<f64>, i32)>, Fault> {
        if node.input.get(2).is_none_or(String::is_empty) {
            return Ok(None);
        }
        let tensor = self
            .input(node, 2)
            .ok_or_else(|| Fault::node(node, "the zero point is not a constant"))?;
        Ok(Some((self.values(tensor)?, tensor.data_type())))
    }

    /// Scale and zero point of a per-tensor node; `None` for per-axis ones.
    fn per_tensor(&self, node: &NodeProto) -> Result<Option<(f32, i32)>, Fault> {
        let scale =
            self.input(node, 1).ok_or_else(|| Fault::node(node, "the scale is not a constant"))?;
        let scale = self.values(scale)?;
        let zero_point = self.zero_point(node)?.map_or_else(|| vec![0.0], |(values, _)| values);
        match (scale.as_slice(), zero_point.as_slice()) {
            #[expect(clippy::cast_possible_truncation, reason = "scales are at most float32")]
            ([scale], [zero_point]) if integer(node, "block_size").unwrap_or(0) == 0 => {
                Ok(Some((*scale as f32, *zero_point as i32)))
            }
            _ => Ok(None),
        }
    }

    fn quantize(&self, node: &NodeProto) -> Result<NodeProto, Fault> {
        let declared = integer(node, "output_dtype").filter(|&number| number != 0);
        let to = match (self.zero_point(node)?, declared.and_then(|n| i32::try_from(n).ok())) {
            (Some((_, number)), _) | (None, Some(number)) => number,
            (None, None) => DataType::Uint8 as i32,
        };
        if Grid::of(to).is_none() {
            return Err(Fault::node(node, format!("cannot quantize to {}", type_name(to))));
        }
        let Some((scale, zero_point)) = self.per_tensor(node)? else {
            // tract takes the type from the zero point and knows no other way to give it.
            let native = to == DataType::Uint8 as i32
                || to == DataType::Int8 as i32 && node.input.len() == 3;
            return if native && integer(node, "block_size").unwrap_or(0) == 0 {
                Ok(node.clone())
            } else {
                Err(Fault::node(
                    node,
                    format!("activations are quantized to {} per axis or block", type_name(to)),
                ))
            };
        };
        if integer(node, "saturate") == Some(0) && matches!(Grid::of(to), Some(Grid::Float8(_))) {
            return Err(Fault::node(node, "FP8 without saturation is not supported"));
        }
        let mut node = ours(node, QUANTIZE, scale, zero_point);
        node.attribute.push(int("to", i64::from(to)));
        Ok(node)
    }

    fn dequantize(&self, node: &NodeProto) -> Result<NodeProto, Fault> {
        Ok(match self.per_tensor(node)? {
            Some((scale, zero_point)) => ours(node, DEQUANTIZE, scale, zero_point),
            None => node.clone(),
        })
    }

    /// The float32 tensor a constant `DequantizeLinear` makes; `None` where an input varies.
    fn fold(&self, node: &NodeProto) -> Result<Option<TensorProto>, Fault> {
        let (Some(x), Some(scale)) = (self.input(node, 0), self.input(node, 1)) else {
            return Ok(None);
        };
        let layout = Layout::of(node, x, scale)?;
        let q = self.values(x)?;
        let scale = self.values(scale)?;
        let zero_point = self.zero_point(node)?.map(|(values, _)| values);
        if zero_point.as_ref().is_some_and(|zero| zero.len() != scale.len()) {
            return Err(Fault::node(node, "scale and zero point differ in size"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "float32 arithmetic, as in ONNX")]
        let value = |(index, q): (usize, f64)| {
            let at = layout.parameter(index);
            let zero = zero_point.as_ref().and_then(|zero| zero.get(at)).copied().unwrap_or(0.0);
            scale.get(at).map(|&scale| (q - zero) as f32 * scale as f32)
        };
        let values: Option<Vec<f32>> = q.into_iter().enumerate().map(value).collect();
        let values =
            values.ok_or_else(|| Fault::node(node, "the scale is too small for its input"))?;
        Ok(Some(TensorProto {
            name: node.output.first().cloned(),
            dims: x.dims.clone(),
            data_type: Some(DataType::Float as i32),
            raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into()),
            ..TensorProto::default()
        }))
    }
}

/// Which scale belongs to which element.
enum Layout {
    Tensor,
    /// One per index of an axis: elements after that axis, and its extent.
    Axis {
        inner: usize,
        extent: usize,
    },
    /// One per `block` consecutive indices of an axis.
    Block {
        inner: usize,
        extent: usize,
        block: usize,
        blocks: usize,
    },
}

impl Layout {
    fn of(node: &NodeProto, x: &TensorProto, scale: &TensorProto) -> Result<Self, Fault> {
        let block = integer(node, "block_size").unwrap_or(0);
        if block == 0 && weights::elements(scale)? == 1 {
            return Ok(Self::Tensor);
        }
        let wrong = || Fault::node(node, "scale, axis and block size do not fit the input");
        let rank = i64::try_from(x.dims.len()).map_err(|_| wrong())?;
        let axis = integer(node, "axis").unwrap_or(1);
        let axis = if axis < 0 { axis + rank } else { axis };
        let axis = usize::try_from(axis).map_err(|_| wrong())?;
        let extent = |dim: &i64| usize::try_from(*dim).map_err(|_| wrong());
        let inner = x.dims.get(axis + 1..).ok_or_else(wrong)?;
        let inner = inner.iter().map(extent).product::<Result<usize, _>>()?;
        let along = extent(x.dims.get(axis).ok_or_else(wrong)?)?;
        if inner == 0 || along == 0 {
            return Ok(Self::Tensor);
        }
        if block == 0 {
            return (scale.dims.len() == 1 && weights::elements(scale)? == along)
                .then_some(Self::Axis { inner, extent: along })
                .ok_or_else(wrong);
        }
        let block = usize::try_from(block).map_err(|_| wrong())?;
        let blocks = extent(scale.dims.get(axis).ok_or_else(wrong)?)?;
        (along.div_ceil(block) == blocks && scale.dims.len() == x.dims.len())
            .then_some(Self::Block { inner, extent: along, block, blocks })
            .ok_or_else(wrong)
    }

    fn parameter(&self, index: usize) -> usize {
        match *self {
            Self::Tensor => 0,
            Self::Axis { inner, extent } => index / inner % extent,
            Self::Block { inner, extent, block, blocks } => {
                let (outer, along) = (index / inner / extent, index / inner % extent);
                (outer * blocks + along / block) * inner + index % inner
            }
        }
    }
}

/// The node as one of our operators.
fn ours(node: &NodeProto, op: &str, scale: f32, zero_point: i32) -> NodeProto {
    let scale = AttributeProto {
        name: Some("scale".to_owned()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(scale),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some(op.to_owned()),
        input: node.input.iter().take(1).cloned().collect(),
        attribute: vec![scale, int("zero_point", i64::from(zero_point))],
        ..node.clone()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// ONNX's name of an element type.
fn type_name(number: i32) -> &'static str {
    DataType::try_from(number).map_or("an unknown type", |kind| kind.as_str_name())
}
