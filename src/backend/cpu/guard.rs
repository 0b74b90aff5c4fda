//! The guard rails: every node that tract cannot run, or would run wrongly without a word, is
//! refused by name before tract sees the model.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use tract_onnx::Onnx;

use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::operators::{self, OPSETS};
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};

use super::walk::each_node;
use super::weights::Constants;
use super::{known_wrong, log_softmax, mend, patch, quantize, rectify, widen};

/// The newest opset tract is tested against by its authors.
const TESTED_OPSET: i64 = 18;

/// tract's ONNX reader with our operators, set up as every use of it needs.
pub(super) fn reader() -> &'static Onnx {
    static READER: OnceLock<Onnx> = OnceLock::new();
    READER.get_or_init(|| {
        // Shapes recorded by other tools go stale when an input's shape is fixed here.
        let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
        log_softmax::register(&mut onnx.op_register);
        mend::register(&mut onnx.op_register);
        patch::register(&mut onnx.op_register);
        quantize::register(&mut onnx.op_register);
        rectify::register(&mut onnx.op_register);
        widen::register(&mut onnx.op_register);
        onnx
    })
}

/// Warns of what tract may do wrongly.
pub(super) fn warn(model: &Model) {
    /// Opsets that were warned of: once in a process will do.
    static TOLD: Mutex<BTreeSet<i64>> = Mutex::new(BTreeSet::new());
    let Some(opset) = model.opset().filter(|opset| *opset > TESTED_OPSET) else { return };
    if !TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(opset) {
        return;
    }
    tracing::warn!(
        "the model uses opset {opset}; the cpu backend is tested up to {TESTED_OPSET}: compare its \
         results with another backend's"
    );
}

/// Refuses what tract cannot do correctly.
pub(super) fn check(model: &Model) -> Result<(), Fault> {
    // ONNX says 1 where a model names no opset.
    let opset = model.opset().unwrap_or(1);
    if !OPSETS.contains(&opset) {
        return Err(Fault::Model(format!(
            "it uses opset {opset}; those from {} to {} are understood",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    if let Some(sparse) = model.graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |values| values.name());
        return Err(Fault::Model(format!("initializer `{name}` is sparse")));
    }
    let constants = Constants::of(model);
    let mut first = None;
    each_node(&model.graph, &mut |node| {
        if first.is_none() {
            first = check_node(node, opset, &constants).err();
        }
    });
    first.map_or(Ok(()), Err)
}

fn check_node(node: &NodeProto, opset: i64, constants: &Constants<'_>) -> Result<(), Fault> {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return Err(Fault::node(
            node,
            format!("operators of domain `{}` are not supported", node.domain()),
        ));
    }
    check_schema(node, opset)?;
    if !reader().op_register.0.contains_key(node.op_type()) {
        return Err(Fault::node(node, "the operator is not implemented"));
    }
    known_wrong::reason(node, constants).map_or(Ok(()), |reason| Err(Fault::node(node, reason)))
}

/// tract ignores attributes it does not know, so every one must be in the operator's schema.
fn check_schema(node: &NodeProto, opset: i64) -> Result<(), Fault> {
    let Some(operator) = operators::lookup(node.op_type(), opset) else {
        return Err(Fault::node(node, format!("opset {opset} has no such operator")));
    };
    if operator.withdrawn {
        return Err(Fault::node(node, format!("opset {opset} no longer has this operator")));
    }
    match node.attribute.iter().find(|a| operator.attribute(a.name()).is_none()) {
        Some(unknown) => Err(Fault::node(
            node,
            format!("opset {opset} gives it no attribute `{}`", unknown.name()),
        )),
        None => Ok(()),
    }
}

/// An attribute of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

/// A text attribute of a node.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    attribute(node, name).and_then(|a| a.s.as_deref()).and_then(|s| std::str::from_utf8(s).ok())
}

/// An integer attribute of a node.
pub(super) fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).and_then(|a| a.i)
}

/// Whether a `DequantizeLinear` is left anywhere. tract's declutter pass replaces what stands
/// between it and a `QuantizeLinear` by a lookup table, and takes Softmax for an elementwise
/// operator while doing so: such a graph must run without that pass.
pub(super) fn has_dequantize(graph: &GraphProto) -> bool {
    let mut found = false;
    each_node(graph, &mut |node| found |= node.op_type() == "DequantizeLinear");
    found
}
