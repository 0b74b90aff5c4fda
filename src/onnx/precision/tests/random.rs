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

    #[test]
    fn what_will_be_low_is_known_ahead_and_decides_the_model(
        steps in prop::collection::vec((0..STEPS.len(), prop::collection::vec(0..20_usize, 3)), 1..20),
        outputs in prop::collection::vec(0..22_usize, 1..4),
        bfloat16: bool,
        convert: bool,
        kept in prop::collection::vec(prop::collection::vec(0..22_usize, 0..6), 2),
        always in 0..22_usize,
    ) {
        let model = graph(&steps, &outputs);
        let half = if bfloat16 { Half::BFloat16 } else { Half::Float16 };
        let io = if convert { Io::Convert } else { Io::Keep };
        let keep = NodePatterns::new([format!("t{always}")]);
        let settings = Settings { half, io, keep: &keep, observed: None };
        let mut raised = model.clone();
        let outlook = Outlook::new(&mut raised, settings).unwrap();
        let mut models: BTreeMap<Vec<usize>, GraphProto> = BTreeMap::new();
        // What stays where some are kept may be kept as well.
        let mut lists: Vec<Vec<String>> = kept
            .iter()
            .map(|picks| picks.iter().map(|pick| format!("t{pick}")).collect())
            .collect();
        for at in 0..4 {
            let Some(names) = lists.get(at).cloned() else { break };
            let keep = settings.keep.and(names.iter().map(String::as_str));
            let names = NodePatterns::new(names);
            let mut low = model.clone();
            let report = lower(&mut low, &Settings { keep: &keep, ..settings }).unwrap();
            let is_low = |at: &usize| report.nodes[*at].precision == Some(half.name());
            let found: Vec<usize> = (0..report.nodes.len()).filter(is_low).collect();
            prop_assert_eq!(&outlook.low(&names), &found);
            let stays = report.nodes.iter().filter(|node| node.precision != Some(half.name()));
            lists.push(stays.map(|node| node.node.clone()).collect());
            if let Some(same) = models.insert(found, low.graph.clone()) {
                prop_assert_eq!(same, low.graph);
            }
        }
    }
}
