use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::onnx::proto::{NodeProto, TensorProto, ValueInfoProto};
use crate::tensor::Shape;

/// Computes float32 `Add` and `Mul` of one-element tensors.
struct Arithmetic;

impl Evaluator for Arithmetic {
    fn evaluate(&self, model: &Model) -> Result<Vec<Tensor>, String> {
        let constants = model.constants();
        let node = &model.graph.node[0];
        let input = |index: usize| {
            let tensor = model.values(constants[node.input[index].as_str()]).unwrap();
            tensor.as_slice::<f32>().unwrap()[0]
        };
        let result = match node.op_type() {
            "Add" => input(0) + input(1),
            "Mul" => input(0) * input(1),
            other => return Err(format!("no {other} here")),
        };
        Ok(vec![Tensor::from_f32(Shape(vec![1]), &[result]).unwrap()])
    }

    fn infer_shapes(&self, model: &Model) -> BTreeMap<String, TensorFacts> {
        let facts = (DType::Float32, Some(vec![Dim::Symbol("batch".into()), Dim::Any]));
        let names = model.graph.node.iter().flat_map(|node| node.output.clone());
        names.map(|name| (name, facts.clone())).collect()
    }
}

fn fixture(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let model = Model::load(&folder.join(format!("{name}.onnx"))).unwrap();
    model.check().unwrap();
    model
}

fn run_pass(pass: &dyn Pass, model: &mut Model) -> usize {
    let signature = model.signature().unwrap();
    let tools = Tools::new(&Arithmetic, model);
    let changes = pass.run(model, &tools).unwrap();
    model.check().unwrap();
    assert_eq!(model.signature().unwrap(), signature);
    changes
}

fn ops(model: &Model) -> Vec<&str> {
    model.graph.node.iter().map(NodeProto::op_type).collect()
}

fn names(model: &Model) -> Vec<&str> {
    model.graph.initializer.iter().map(TensorProto::name).collect()
}

#[test]
fn dead_nodes_go_with_their_initializers() {
    let mut model = fixture("conv_bn");
    assert_eq!(run_pass(&dead_nodes::RemoveDeadNodes, &mut model), 2);
    assert!(!ops(&model).contains(&"Sqrt"));
    assert!(!names(&model).contains(&"unused_weight"));
    assert_eq!(run_pass(&dead_nodes::RemoveDeadNodes, &mut model), 0);
}

#[test]
fn what_a_branch_captures_is_alive() {
    let mut model = fixture("if_capture");
    assert_eq!(run_pass(&dead_nodes::RemoveDeadNodes, &mut model), 0);
    assert_eq!(names(&model), ["w", "twin"]);
}

#[test]
fn an_unused_input_with_a_default_goes_with_its_initializer() {
    let mut model = fixture("mlp");
    let mut input = model.graph.input[0].clone();
    for name in ["unused", "w1"] {
        input.name = Some(name.into());
        model.graph.input.push(input.clone());
    }
    let unused = Tensor::from_f32(Shape(vec![1]), &[1.0]).unwrap();
    model.graph.initializer.push(crate::onnx::from_tensor("unused", &unused));
    assert_eq!(run_pass(&dead_nodes::RemoveDeadNodes, &mut model), 1);
    let inputs: Vec<&str> = model.graph.input.iter().map(ValueInfoProto::name).collect();
    assert_eq!(inputs, ["x", "w1"]);
}

#[test]
fn identities_and_dropouts_are_bypassed_and_outputs_keep_their_names() {
    let mut model = fixture("conv_bn");
    assert_eq!(run_pass(&identities::RemoveIdentities, &mut model), 3);
    assert!(!ops(&model).iter().any(|op| ["Identity", "Dropout"].contains(op)));
    let conv2 = model.graph.node.iter().find(|node| node.name() == "conv2").unwrap();
    assert_eq!(conv2.input[0], "r1");
    let flatten = model.graph.node.iter().find(|node| node.name() == "flatten").unwrap();
    assert_eq!(flatten.output, ["y"]);
}

#[test]
fn an_identity_that_a_branch_captures_stays() {
    let mut model = fixture("if_capture");
    assert_eq!(run_pass(&identities::RemoveIdentities, &mut model), 0);
}

#[test]
fn an_identity_from_an_input_to_an_output_stays() {
    let mut model = fixture("no_batch");
    model.graph.node[0].op_type = Some("Identity".into());
    assert_eq!(run_pass(&identities::RemoveIdentities, &mut model), 0);
    assert_eq!(ops(&model), ["Identity"]);
}

#[test]
fn a_dropout_in_training_or_with_a_used_mask_stays() {
    let mut model = fixture("conv_bn");
    let dropout = model.graph.node.iter_mut().find(|node| node.op_type() == "Dropout").unwrap();
    dropout.input.push("train".into());
    let train = Tensor::from_bytes(DType::Bool, Shape(vec![]), &[1]).unwrap();
    model.graph.initializer.push(crate::onnx::from_tensor("train", &train));
    assert_eq!(run_pass(&identities::RemoveIdentities, &mut model), 2);
    assert!(ops(&model).contains(&"Dropout"));

    let mut model = fixture("conv_bn");
    let dropout = model.graph.node.iter_mut().find(|node| node.op_type() == "Dropout").unwrap();
    dropout.output.push("mask".into());
    let mut output = model.graph.output[0].clone();
    output.name = Some("mask".into());
    model.graph.output.push(output);
    assert_eq!(run_pass(&identities::RemoveIdentities, &mut model), 2);
}

#[test]
fn batch_norm_folds_into_a_convolution_with_and_without_bias() {
    let mut model = fixture("conv_bn");
    let before: BTreeMap<String, Vec<f64>> = model
        .graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name().to_owned(), model.values(tensor).unwrap().to_f64()))
        .collect();
    assert_eq!(run_pass(&scaling::FoldScaling, &mut model), 2);
    assert!(!ops(&model).contains(&"BatchNormalization"));
    let constants = model.constants();
    for (index, conv) in ["conv1", "conv2"].into_iter().enumerate() {
        let node = model.graph.node.iter().find(|node| node.name() == conv).unwrap();
        let number = index + 1;
        assert_eq!(node.output, [format!("n{number}")]);
        let weight = model.values(constants[node.input[1].as_str()]).unwrap().to_f64();
        let bias = model.values(constants[node.input[2].as_str()]).unwrap().to_f64();
        let part = |name: &str| before[&format!("bn{number}_{name}")].clone();
        let old = &before[&format!("w{number}")];
        let per_channel = old.len() / bias.len();
        for (channel, new_bias) in bias.iter().enumerate() {
            let factor = part("scale")[channel] / (part("var")[channel] + 1e-5).sqrt();
            let old_bias = before.get(&format!("b{number}")).map_or(0.0, |bias| bias[channel]);
            let expected = (old_bias - part("mean")[channel]) * factor + part("bias")[channel];
            assert!((new_bias - expected).abs() < 1e-6);
            for at in channel * per_channel..(channel + 1) * per_channel {
                assert!((weight[at] - old[at] * factor).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn batch_norm_stays_behind_a_convolution_that_others_read() {
    let mut model = fixture("conv_shared_by_two");
    assert_eq!(run_pass(&scaling::FoldScaling, &mut model), 0);
}

#[test]
fn batch_norm_in_training_or_with_a_broken_variance_stays() {
    let mut model = fixture("conv_bn");
    for node in &mut model.graph.node {
        if node.name() == "bn1" {
            node.attribute.push(crate::onnx::proto::AttributeProto {
                name: Some("training_mode".into()),
                i: Some(1),
                r#type: Some(2),
                ..Default::default()
            });
        }
    }
    let negative = Tensor::from_f32(Shape(vec![4]), &[-1.0; 4]).unwrap();
    let broken = model.graph.initializer.iter_mut().find(|tensor| tensor.name() == "bn2_var");
    *broken.unwrap() = crate::onnx::from_tensor("bn2_var", &negative);
    assert_eq!(run_pass(&scaling::FoldScaling, &mut model), 0);
}

#[test]
fn equal_initializers_become_one_unless_a_branch_captures_them() {
    let mut model = fixture("shared_initializers");
    assert_eq!(run_pass(&duplicates::MergeInitializers, &mut model), 1);
    assert_eq!(names(&model), ["wa"]);
    assert_eq!(model.graph.node[1].input[1], "wa");

    let mut model = fixture("if_capture");
    assert_eq!(run_pass(&duplicates::MergeInitializers, &mut model), 0);
}

#[test]
fn initializers_of_equal_bytes_but_other_shapes_stay_apart() {
    let mut model = fixture("shared_initializers");
    let reshaped = Tensor::from_f32(Shape(vec![4, 3]), &[0.0; 12]).unwrap();
    let flat = Tensor::from_f32(Shape(vec![12]), &[0.0; 12]).unwrap();
    model.graph.initializer[0] = crate::onnx::from_tensor("wa", &reshaped);
    model.graph.initializer[1] = crate::onnx::from_tensor("wb", &flat);
    assert_eq!(run_pass(&duplicates::MergeInitializers, &mut model), 0);
}

#[test]
fn constants_fold_and_random_numbers_do_not() {
    let mut model = fixture("constant_chain");
    assert_eq!(run_pass(&constants::FoldConstants, &mut model), 3);
    assert_eq!(ops(&model), ["Mul", "RandomNormal"]);
    let nine = model.constants()["nine"];
    assert_eq!(model.values(nine).unwrap().to_f64(), [9.0]);
}

#[test]
fn a_huge_constant_is_not_made() {
    struct Refuses;
    impl Evaluator for Refuses {
        fn evaluate(&self, model: &Model) -> Result<Vec<Tensor>, String> {
            panic!("asked to compute {}", model.graph.node[0].op_type())
        }
    }
    let mut model = fixture("constant_chain");
    let shape = Tensor::from_i64(Shape(vec![2]), &[1 << 20, 1 << 20]).unwrap();
    model.graph.initializer.push(crate::onnx::from_tensor("shape", &shape));
    model.graph.node.truncate(1);
    for (op, inputs) in [
        ("ConstantOfShape", vec!["shape"]),
        ("Expand", vec!["offset", "shape"]),
        ("Tile", vec!["offset", "shape"]),
    ] {
        model.graph.node[0] = NodeProto {
            op_type: Some(op.into()),
            input: inputs.into_iter().map(str::to_owned).collect(),
            output: vec!["huge".into()],
            ..NodeProto::default()
        };
        let tools = Tools::new(&Refuses, &model);
        assert_eq!(constants::FoldConstants.run(&mut model, &tools).unwrap(), 0);
    }
}

#[test]
fn what_the_evaluator_refuses_stays() {
    struct Fails;
    impl Evaluator for Fails {
        fn evaluate(&self, _model: &Model) -> Result<Vec<Tensor>, String> {
            Err("not today".into())
        }
    }
    let mut model = fixture("constant_chain");
    let tools = Tools::new(&Fails, &model);
    let changes = constants::FoldConstants.run(&mut model, &tools).unwrap();
    assert_eq!(changes, 1, "the Constant node needs no evaluator");
    assert_eq!(ops(&model), ["Add", "Mul", "Mul", "RandomNormal"]);
}

#[test]
fn all_passes_together_reach_the_shortest_form() {
    let mut model = fixture("conv_bn");
    let reports = run(&mut model, &Arithmetic).unwrap();
    model.check().unwrap();
    assert_eq!(ops(&model), ["Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten"]);
    assert_eq!(model.graph.initializer.len(), 4);
    let shown: Vec<(PassName, usize)> = reports
        .iter()
        .filter(|report| report.changes > 0)
        .map(|report| (report.name, report.changes))
        .collect();
    assert_eq!(
        shown,
        [
            (PassName::RemoveIdentities, 3),
            (PassName::FoldScaling, 2),
            (PassName::RemoveDeadNodes, 14),
            (PassName::InferShapes, 4),
        ]
    );
}

#[test]
fn shapes_are_added_for_intermediates_and_what_is_said_stays() {
    let mut model = fixture("mlp");
    let mut said = model.graph.output[0].clone();
    said.name = Some("h".into());
    model.graph.value_info.push(said.clone());
    assert_eq!(run_pass(&shapes::InferShapes, &mut model), 2);
    assert_eq!(model.graph.value_info[0], said);
    let added: Vec<&str> = model.graph.value_info.iter().map(ValueInfoProto::name).collect();
    assert_eq!(added, ["h", "a", "logits"]);
}

#[test]
fn passes_give_the_same_bytes_every_time() {
    for name in ["conv_bn", "constant_chain", "if_capture", "shared_initializers", "mlp"] {
        let bytes: Vec<Vec<u8>> = (0..3)
            .map(|_| {
                let mut model = fixture(name);
                run(&mut model, &Arithmetic).unwrap();
                model.encode()
            })
            .collect();
        assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
}

#[test]
fn shapes_behind_branches_are_not_guessed() {
    let mut model = fixture("if_capture");
    run_pass(&shapes::InferShapes, &mut model);
    let behind = |node: &&NodeProto| node.op_type() == "If";
    let results = model.graph.node.iter().filter(behind).flat_map(|node| &node.output);
    for name in results {
        assert!(!model.graph.value_info.iter().any(|value| value.name() == name), "{name}");
    }
}

#[test]
fn a_rewritten_model_of_ir_3_becomes_one_that_need_not_list_initializers() {
    let mut model = fixture("conv_bn");
    model.header.ir_version = Some(3);
    run(&mut model, &Arithmetic).unwrap();
    assert_eq!(model.header.ir_version, Some(4));
}
