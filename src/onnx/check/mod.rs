//! What must hold of a model before anything is done with it.
//!
//! Finds all defects; never fails itself. Types and shapes of intermediate values are not looked
//! at: backends infer them.

use std::collections::BTreeMap;

mod defect;
mod scope;
mod tensor;

#[cfg(test)]
mod tests;

pub use defect::{Defect, NodeName};

use super::model::Model;
use super::proto::{OperatorSetIdProto, Version};
use super::{operators, signature, walk};
pub(super) use scope::node_name;
use scope::{Checker, Scope};

/// The version of the default operator set that a list of imports names.
pub(super) fn default_opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    imports
        .iter()
        .find(|import| is_default_domain(import.domain()))
        .map(OperatorSetIdProto::version)
}

/// Whether a domain is that of the standard's own operators.
pub(super) fn is_default_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The IR versions that are understood; the format of today began with 3.
const OLDEST_IR: i64 = 3;

/// Everything that is wrong with a model; sorted, each once.
pub(super) fn defects(model: &Model) -> Vec<Defect> {
    let header = &model.header;
    let mut found = Vec::new();
    let newest = Version::IrVersion as i64;
    if !(OLDEST_IR..=newest).contains(&header.ir_version()) {
        found.push(Defect::IrVersion { found: header.ir_version(), newest });
    }
    let functions: BTreeMap<_, _> = header
        .functions
        .iter()
        .map(|function| ((function.domain(), function.name()), function))
        .collect();

    let mut checker = Checker { opset: None, functions: &functions, found: &mut found };
    checker.opset = checker.supported(default_opset(&header.opset_import));
    checker.graph(&model.graph, None);
    for function in &header.functions {
        let imports = default_opset(&function.opset_import);
        checker.opset = if imports.is_some() { checker.supported(imports) } else { checker.opset };
        let mut scope = Scope::default();
        for input in &function.input {
            checker.define(&mut scope, input, "an input of a function");
        }
        checker.nodes(&function.node, &mut scope);
    }

    let declared = model.fed_inputs().chain(&model.graph.output);
    found.extend(declared.filter_map(|value| signature::tensor_spec(value).err()));
    let mut check_tensor = |tensor| found.extend(tensor::defect(tensor, model.folder()));
    walk::tensors(&model.graph, &mut check_tensor);
    for function in &header.functions {
        walk::node_tensors(&function.node, &mut check_tensor);
    }
    found.sort();
    found.dedup();
    found
}

impl Checker<'_> {
    /// The opset, if its operators are known; says so where not.
    fn supported(&mut self, opset: Option<i64>) -> Option<i64> {
        match opset {
            None => self.found.push(Defect::NoOpset),
            Some(found) if !operators::OPSETS.contains(&found) => {
                self.found.push(Defect::Opset { found });
            }
            Some(known) => return Some(known),
        }
        None
    }
}
