//! Graphs of any form.

use proptest::prelude::*;

use super::*;

/// What a random graph is made of; `$` stands for a random tensor so far.
const STEPS: [&str; 22] = [
    "MatMul $ w > ",
    "MatMul $ $ > ",
    "Add $ $ > ",
    "Mul $ w > ",
    "Sub $ $ > ",
    "Relu $ > ",
    "Tanh $ > ",
    "Softmax $ > ",
    "Exp $ > ",
    "Pow $ w > ",
    "ReduceMean $ > ",
    "ReduceMax $ > ",
    "Transpose $ > ",
    "Identity $ > ",
    "Where c $ $ > ",
    "Mul $ huge > ",
    "Min $ $ $ > ",
    "Gather table ids > ",
    "Cast $ > ",
    "LayerNormalization $ w > ",
    "Sin $ > ",
    "ConstantOfShape dims > ",
];

/// Casts go to integers and come back.
fn graph(steps: &[(usize, Vec<usize>)], outputs: &[usize]) -> Model {
    let mut tensors: Vec<String> = vec!["x".into(), "z".into()];
    let mut made = Vec::new();
    for (index, (step, picks)) in steps.iter().enumerate() {
        let mut text = STEPS[step % STEPS.len()].to_owned();
        for pick in picks {
            text = text.replacen('$', &tensors[pick % tensors.len()], 1);
        }
        let name = format!("t{index}");
        let step = node(&format!("{text}{name}"));
        if step.op_type() == "Cast" {
            let half = |step| with(step, "to", DataType::Float16 as i64);
            let whole = |step| with(step, "to", DataType::Int64 as i64);
            let mut there = step;
            there.output[0] = format!("i{index}");
            made.push(if index % 2 == 0 { half(there) } else { whole(there) });
            made.push(cast(&format!("i{index} > {name}"), DataType::Float));
        } else {
            made.push(step);
        }
        tensors.push(name);
    }
    let names: BTreeSet<&str> =
        outputs.iter().map(|pick| tensors[pick % tensors.len()].as_str()).collect();
    let outputs = names.into_iter().collect::<Vec<_>>().join(" ");
    let weights = vec![weight("w", &[0.5; 2]), weight("huge", &[1e6]), weight("table", &[0.25; 8])];
    model("x z c:bool ids:int64 dims:int64", &outputs, made, weights)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_graph_stays_well_typed_with_few_casts(
        steps in prop::collection::vec((0..STEPS.len(), prop::collection::vec(0..20_usize, 3)), 1..20),
        outputs in prop::collection::vec(0..22_usize, 1..4),
        bfloat16: bool,
        convert: bool,
        kept in 0..STEPS.len(),
    ) {
        let model = graph(&steps, &outputs);
        let op = STEPS[kept].split(' ').next().unwrap();
        let keep = NodePatterns::new([op.to_owned()]);
        let half = if bfloat16 { Half::BFloat16 } else { Half::Float16 };
        let io = if convert { Io::Convert } else { Io::Keep };
        let (low, report) = lowered(&model, &Settings { half, io, keep: &keep, observed: None });
        for node in report.nodes.iter().filter(|node| node.op == op && op != "Cast") {
            prop_assert_ne!(node.precision, Some(half.name()));
        }
        // Lowered again, there is nothing left to do but for what was kept before.
        let again = lowered(&low, &Settings { half, io, keep: &keep, observed: None });
        prop_assert!(again.1.counts.low <= report.counts.low + low.graph.node.len());
    }
}
