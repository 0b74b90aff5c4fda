//! Lets tract rearrange a graph: its own passes, each of which can be stopped, but for the one that
//! merges equal nodes. That one compares every two readers of a tensor and looks both up among the
//! outputs: with a constant that all layers share, and many outputs, that is the cube of the number
//! of layers.

use std::collections::{HashMap, HashSet};
use std::fmt;

use tract_onnx::prelude::{TractError, TractResult, TypedModel};
use tract_onnx::tract_core::internal::{OutletId, StaticName, TypedModelPatch, TypedNode};
use tract_onnx::tract_core::optim::{Optimizer, OptimizerSession, TypedPass};

use crate::process::CancelToken;

/// What the pass of tract's calls itself that is replaced.
const REPLACED: &str = "PushSplitDown";

/// Rearranges a graph into what is fast; fails soon where it is told to stop.
///
/// What is left grows with the square of the number of nodes, in tract's hands: every change of the
/// graph looks whether there is a node like the new one by comparing it with all.
pub(super) fn rearrange(mut model: TypedModel, cancel: &CancelToken) -> TractResult<TypedModel> {
    ours(Optimizer::declutter(), cancel).optimize(&mut model)?;
    model.optimize_with_session(&mut ours(Optimizer::codegen(), cancel).session())?;
    Ok(model)
}

fn ours(mut optimizer: Optimizer, cancel: &CancelToken) -> Optimizer {
    for pass in &mut optimizer.passes {
        if format!("{pass:?}") == REPLACED {
            *pass = Box::new(MergeNodes);
        }
        *pass = Box::new(Watched { pass: pass.clone(), cancel: cancel.clone() });
    }
    optimizer
}

/// A pass that ends where it is told to stop.
#[derive(Clone)]
struct Watched {
    pass: Box<dyn TypedPass>,
    cancel: CancelToken,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It stands in messages.
        self.pass.fmt(f)
    }
}

impl TypedPass for Watched {
    fn reset(&mut self) -> TractResult<()> {
        self.pass.reset()
    }

    fn next(
        &mut self,
        session: &mut OptimizerSession,
        model: &TypedModel,
    ) -> TractResult<Option<TypedModelPatch>> {
        if self.cancel.is_cancelled() {
            return Err(TractError::msg("stopped"));
        }
        self.pass.next(session, model)
    }

    fn run_direct(&mut self, model: &mut TypedModel) -> TractResult<bool> {
        self.pass.run_direct(model)
    }
}

/// Merges nodes that compute the same from the same inputs.
#[derive(Debug, Clone)]
struct MergeNodes;

/// The first of the nodes that compute the same.
struct First<'a> {
    node: &'a TypedNode,
    /// Whether it is an output, or will be one.
    is_output: bool,
}

impl TypedPass for MergeNodes {
    fn reset(&mut self) -> TractResult<()> {
        Ok(())
    }

    fn next(
        &mut self,
        _session: &mut OptimizerSession,
        model: &TypedModel,
    ) -> TractResult<Option<TypedModelPatch>> {
        let outputs: HashSet<usize> = model.outputs.iter().map(|outlet| outlet.node).collect();
        let mut alike: HashMap<(&[OutletId], StaticName), Vec<First<'_>>> = HashMap::new();
        let mut patch = TypedModelPatch::default();
        for id in model.eval_order()? {
            let node = model.node(id);
            if node.inputs.is_empty() {
                continue;
            }
            let is_output = outputs.contains(&id);
            let alike = alike.entry((&node.inputs, node.op().name())).or_default();
            let Some(first) = alike.iter_mut().find(|first| first.node.same_as(node)) else {
                alike.push(First { node, is_output });
                continue;
            };
            if first.is_output && is_output {
                continue;
            }
            for slot in 0..node.outputs.len() {
                let kept = patch.tap_model(model, OutletId::new(first.node.id, slot))?;
                patch.shunt_outside(model, OutletId::new(id, slot), kept)?;
            }
            patch.obliterate(id)?;
            first.is_output |= is_output;
        }
        Ok(Some(patch).filter(|patch| !patch.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tract_onnx::prelude::{DatumExt as _, SpecialOps as _, TValue, TVec};
    use tract_onnx::tract_core::internal::{
        EvalContext, EvalOp, Op, TypedFact, TypedOp, as_op, op_as_typed_op, op_out_of_plan, tvec,
    };

    use super::*;

    /// Gives its first input, and counts how often it is compared.
    #[derive(Debug, Clone)]
    struct Counted {
        kind: usize,
        compared: Arc<AtomicUsize>,
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.compared.fetch_add(1, Ordering::Relaxed);
            self.kind == other.kind
        }
    }

    impl Eq for Counted {}

    impl Op for Counted {
        fn name(&self) -> StaticName {
            "Counted".into()
        }

        op_as_typed_op!();
    }

    impl EvalOp for Counted {
        op_out_of_plan!();

        fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
            inputs.truncate(1);
            Ok(inputs)
        }
    }

    impl TypedOp for Counted {
        fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
            Ok(tvec!(inputs[0].without_value()))
        }

        as_op!();
    }

    /// A model of one input and a node for each entry: its kind, and the nodes that it reads.
    fn model(nodes: &[(usize, &[usize])], outputs: &[usize]) -> (TypedModel, Arc<AtomicUsize>) {
        let compared = Arc::new(AtomicUsize::new(0));
        let mut model = TypedModel::default();
        let mut made = vec![model.add_source("x", f32::fact([2])).unwrap()];
        for (index, (kind, inputs)) in nodes.iter().enumerate() {
            let op = Counted { kind: *kind, compared: Arc::clone(&compared) };
            let inputs: Vec<OutletId> = inputs.iter().map(|input| made[*input]).collect();
            made.push(model.wire_node(format!("n{index}"), op, &inputs).unwrap()[0]);
        }
        let outputs: Vec<OutletId> = outputs.iter().map(|output| made[*output]).collect();
        model.select_output_outlets(&outputs).unwrap();
        (model, compared)
    }

    fn merged(model: &TypedModel) -> Option<TypedModel> {
        let mut after = model.clone();
        let optimizer = Optimizer { passes: vec![Box::new(MergeNodes)], steps: None };
        let patch = MergeNodes.next(&mut optimizer.session(), model).unwrap()?;
        patch.apply(&mut after).unwrap();
        after.compact().unwrap();
        Some(after)
    }

    #[test]
    fn nodes_that_share_an_input_are_not_compared_with_each_other() {
        let layers: Vec<[usize; 2]> = (0..100).map(|layer| [layer, 0]).collect();
        let nodes: Vec<(usize, &[usize])> = layers.iter().map(|reads| (1, &reads[..])).collect();
        let outputs: Vec<usize> = (1..=100).collect();
        let (chain, compared) = model(&nodes, &outputs);
        assert!(merged(&chain).is_none());
        assert_eq!(compared.load(Ordering::Relaxed), 0);
        let equal: Vec<(usize, &[usize])> = (0..100).map(|_| (1, &[0][..])).collect();
        let (wide, compared) = model(&equal, &outputs);
        assert!(merged(&wide).is_none());
        assert_eq!(compared.load(Ordering::Relaxed), 99);
    }

    #[test]
    fn equal_nodes_become_one_unless_two_of_them_are_outputs() {
        let twins: [(usize, &[usize]); 5] = [(1, &[0]), (1, &[0]), (2, &[0]), (3, &[1]), (3, &[2])];
        let (twins, _) = model(&twins, &[3, 4, 5]);
        let once = merged(&twins).unwrap();
        assert_eq!((once.nodes().len(), once.outputs.len()), (5, 3));
        assert!(merged(&once).is_none());
    }

    #[test]
    fn tracts_own_pass_is_replaced_and_all_end_when_told_to() {
        let cancel = CancelToken::default();
        for optimizer in [Optimizer::declutter, Optimizer::codegen] {
            let names = |optimizer: &Optimizer| -> Vec<String> {
                optimizer.passes.iter().map(|pass| format!("{pass:?}")).collect()
            };
            assert!(names(&optimizer()).iter().any(|name| name == REPLACED));
            let ours = names(&ours(optimizer(), &cancel));
            assert!(ours.iter().any(|name| name == "MergeNodes"));
            assert!(ours.iter().all(|name| name != REPLACED));
        }
        let (model, _) = model(&[(1, &[0])], &[1]);
        rearrange(model.clone(), &cancel).unwrap();
        cancel.cancel();
        let error = rearrange(model, &cancel).unwrap_err();
        assert!(format!("{error:#}").contains("stopped"), "{error:#}");
    }
}
