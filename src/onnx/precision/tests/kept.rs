//! What stays in float32, and why.

use super::*;

fn w() -> Vec<TensorProto> {
    vec![weight("w", &[0.5; 2])]
}

#[test]
fn a_written_out_layer_norm_stays_float32_as_a_whole() {
    let chain = nodes(&[
        "MatMul x w > a",
        "ReduceMean a > mean",
        "Sub a mean > centred",
        "Pow centred two > squares",
        "ReduceMean squares > variance",
        "Add variance epsilon > shifted",
        "Sqrt shifted > deviation",
        "Div centred deviation > normal",
        "Mul normal w > scaled",
        "Add scaled w > b",
        "MatMul b w > y",
    ]);
    let weights = vec![weight("w", &[0.5; 2]), weight("two", &[2.0]), weight("epsilon", &[1e-12])];
    let (low, report) = lowered(&model("x", "y", chain, weights), &FP16);
    let all =
        "Cast MatMul* Cast ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add Cast MatMul* Cast";
    assert_eq!(shown(&low, Half::Float16), all);
    assert_eq!((report.casts, reason(&report, "centred")), (4, "statistic"));
    assert_eq!(reason(&report, "shifted"), "weight_underflow");
    assert_eq!(reason(&report, "normal"), "statistic");
    assert_eq!(reason(&report, "b"), "surrounded");
}

#[test]
fn a_written_out_softmax_stays_float32() {
    let chain = nodes(&[
        "MatMul x w > a",
        "ReduceMax a > most",
        "Sub a most > less",
        "Exp less > powers",
        "ReduceSum powers > sum",
        "Div powers sum > b",
        "MatMul b w > y",
    ]);
    let (_, report) = lowered(&model("x", "y", chain, w()), &FP16);
    for (node, wanted) in
        [("less", "statistic"), ("powers", "operator"), ("sum", "operator"), ("b", "statistic")]
    {
        assert_eq!(reason(&report, node), wanted, "{node}");
    }
}

#[test]
fn attention_is_low_around_a_float32_mask_and_softmax() {
    let mut chain = nodes(&[
        "MatMul x w > q",
        "MatMul x w > k",
        "MatMul x w > v",
        "Transpose k > kt",
        "MatMul q kt > scores",
        "Div scores w > scaled",
    ]);
    chain.push(cast("mask > seen", DataType::Float));
    chain.extend(nodes(&[
        "Sub w seen > hidden",
        "Mul hidden huge > bias",
        "Add scaled bias > biased",
        "Softmax biased > p",
        "MatMul p v > y",
    ]));
    let weights = vec![weight("w", &[0.5; 2]), weight("huge", &[f32::MIN])];
    let (low, report) = lowered(&model("x mask:int64", "y", chain, weights), &FP16);
    let all = "Cast MatMul* MatMul* MatMul* Transpose* MatMul* Div* Cast Sub Mul Cast Add Softmax \
               Cast MatMul* Cast";
    assert_eq!(shown(&low, Half::Float16), all);
    assert_eq!(reason(&report, "bias"), "weight_overflow");
    assert_eq!(reason(&report, "biased"), "large_values");
    assert!(report.nodes.iter().any(|node| node.detail.contains("weight `huge` has -3.4")));
}

#[test]
fn what_was_observed_to_fit_is_not_large() {
    let chain = nodes(&["MatMul x w > a", "Mul a huge > b", "Add b a > c", "MatMul c w > y"]);
    let weights = vec![weight("w", &[0.5; 2]), weight("huge", &[1e6])];
    let model = model("x", "y", chain, weights);
    let (_, report) = lowered(&model, &FP16);
    assert_eq!(reason(&report, "c"), "large_values");
    let observed =
        Observed::from([("a", 1e-3), ("b", 1e3), ("c", 1e3)].map(|(n, v)| (n.into(), v)));
    let (_, report) = lowered(&model, &Settings { observed: Some(&observed), ..*FP16 });
    assert_eq!((reason(&report, "b"), reason(&report, "c")), ("weight_overflow", "default"));
}

#[test]
fn values_observed_near_an_end_of_the_range_keep_who_makes_and_reads_them() {
    let chain = nodes(&["MatMul x w > a", "MatMul a w > b", "MatMul b w > c", "MatMul c w > y"]);
    let model = model("x", "y", chain, w());
    let of = |value| Observed::from([("a".to_owned(), 1.0), ("b".to_owned(), value)]);
    for (value, wanted) in [
        (3e4, ["default", "default", "default"]),
        (4e4, ["default", "activation_overflow", "activation_overflow"]),
        (1e-5, ["default", "activation_underflow", "activation_underflow"]),
        (0.0, ["default", "default", "default"]),
    ] {
        let observed = of(value);
        let (_, report) = lowered(&model, &Settings { observed: Some(&observed), ..*FP16 });
        assert_eq!(["a", "b", "c"].map(|node| reason(&report, node)), wanted, "{value}");
        let bfloat16 = Settings { half: Half::BFloat16, observed: Some(&observed), ..*FP16 };
        assert_eq!(lowered(&model, &bfloat16).1.counts.low, 4);
    }
}

#[test]
fn weights_beyond_the_range_are_named() {
    let chain = nodes(&["MatMul x w > a", "MatMul a v > y"]);
    let weights = |v: &[f32]| vec![weight("w", &[0.5; 2]), weight("v", v)];
    let large = model("x", "y", chain.clone(), weights(&[1.0, -7e4]));
    let (low, report) = lowered(&large, &FP16);
    assert_eq!(report.nodes[1].detail, "weight `v` has -7e4; float16 ends at 6.5504e4");
    assert_eq!(constant_type(&low, "v"), Some(DType::Float32));
    assert_eq!(lowered(&large, &Settings { half: Half::BFloat16, ..*FP16 }).1.counts.low, 2);
    let small = model("x", "y", chain, weights(&[1e-6, 1.0]));
    let (_, report) = lowered(&small, &FP16);
    assert_eq!(
        report.nodes[1].detail,
        "50 % of weight `v` is below 6.10e-5, where float16 loses digits"
    );
}

#[test]
fn the_user_keeps_operators_and_names() {
    let chain = nodes(&["MatMul x w > head/a", "MatMul head/a w > tail/b", "Conv tail/b w > y"]);
    let model = model("x", "y", chain, w());
    let keep = NodePatterns::new(["Conv", "head/*"].map(str::to_owned));
    let (_, report) = lowered(&model, &Settings { keep: &keep, ..*FP16 });
    assert_eq!(report.nodes[0].detail, "`keep_fp32` says `head/*`");
    let codes: Vec<_> = report.nodes.iter().map(|node| node.reason).collect();
    assert_eq!(codes, ["keep_fp32", "default", "keep_fp32"]);
}

#[test]
fn operators_without_a_form_in_16_bits_are_kept() {
    let chain = nodes(&["MatMul x w > a", "CumSum a axis > b", "Add b w > y"]);
    let axis = from_tensor("axis", &Tensor::from_i64(Shape(vec![]), &[0]).unwrap());
    let mut old = model("x", "y", chain, vec![weight("w", &[0.5; 2]), axis]);
    old.header.opset_import[0].version = Some(12);
    old.check().unwrap();
    let (_, report) = lowered(&old, &Settings { half: Half::BFloat16, ..*FP16 });
    assert_eq!((reason(&report, "a"), reason(&report, "b")), ("default", "operator"));
    let change = report.opset.unwrap();
    assert_eq!((change.before, change.after, change.refused), (12, 13, None));
}

#[test]
fn a_model_comes_to_the_opset_that_has_its_operators_in_the_type() {
    let chain = nodes(&["Conv x w > a", "Relu a > b", "TopK b k > y i"]);
    let count = from_tensor("k", &Tensor::from_i64(Shape(vec![1]), &[1]).unwrap());
    let model = model("x", "y", chain, vec![weight("w", &[0.5; 2]), count]);
    let (low, report) = lowered(&model, &Settings { half: Half::BFloat16, ..*FP16 });
    assert_eq!(low.opset(), Some(22));
    // This one took bfloat16 later than others read.
    assert_eq!((reason(&report, "a"), reason(&report, "y")), ("default", "no_such_type"));
    assert_eq!(lowered(&model, &FP16).1.opset, None);
}

#[test]
fn a_model_that_cannot_come_to_an_opset_is_lowered_as_far_as_it_can() {
    let mut model = model("x", "y", nodes(&["MatMul x w > a", "Conv a w > y"]), w());
    model.header.functions.push(crate::onnx::proto::FunctionProto {
        name: Some("Twice".into()),
        domain: Some("mine".into()),
        ..Default::default()
    });
    let (low, report) = lowered(&model, &Settings { half: Half::BFloat16, ..*FP16 });
    assert_eq!(low.opset(), Some(17));
    assert_eq!((reason(&report, "a"), reason(&report, "y")), ("default", "no_such_type"));
    assert!(report.opset.unwrap().refused.unwrap().contains("function"));
}

#[test]
fn angles_are_computed_in_float32_from_the_positions_on() {
    let mut chain = vec![cast("ids > positions", DataType::Float)];
    chain.extend(nodes(&[
        "MatMul positions w > angles",
        "Concat angles angles > both",
        "Cos both > turn",
        "MatMul x w > a",
        "Sin a > wave",
        "Mul wave turn > y",
    ]));
    chain[2] = with(chain[2].clone(), "axis", 0);
    let (_, report) = lowered(&model("ids:int64 x", "y", chain, w()), &FP16);
    assert_eq!(reason(&report, "angles"), "angle");
    assert_eq!(reason(&report, "both"), "angle");
    assert_eq!(reason(&report, "a"), "default");
}

/// A product of 8 bits, whose weights have this scale, between two others.
fn quantized(scale: f32) -> Model {
    let chain = nodes(&[
        "MatMul x w > r",
        "QuantizeLinear r s z > q",
        "DequantizeLinear q s z > a",
        "Transpose a > t",
        "DequantizeLinear v vs > w8",
        "MatMul t w8 > b",
        "MatMul b w > y",
    ]);
    let scalar = |name: &str, value: f32| {
        from_tensor(name, &Tensor::from_f32(Shape(vec![]), &[value]).unwrap())
    };
    let eight_bits = |name: &str, shape: Vec<usize>| {
        let count = shape.iter().product();
        from_tensor(name, &Tensor::from_bytes(DType::Int8, Shape(shape), &vec![0; count]).unwrap())
    };
    let weights = vec![
        weight("w", &[0.5; 2]),
        scalar("s", 0.5),
        scalar("vs", scale),
        eight_bits("z", vec![]),
        eight_bits("v", vec![2, 2]),
    ];
    model("x", "y", chain, weights)
}

#[test]
fn operations_of_8_bits_have_scales_of_16() {
    let (low, report) = lowered(&quantized(0.01), &FP16);
    assert_eq!(
        shown(&low, Half::Float16),
        "Cast MatMul* QuantizeLinear* DequantizeLinear* Transpose* DequantizeLinear* MatMul* MatMul* \
         Cast"
    );
    assert_eq!(constant_type(&low, "s"), Some(DType::Float16));
    assert_eq!(constant_type(&low, "vs"), Some(DType::Float16));
    let change = report.opset.unwrap();
    assert_eq!((change.before, change.after), (17, 19));
}

#[test]
fn one_scale_that_is_too_small_keeps_the_whole_operation_of_8_bits() {
    for (scale, why) in [(1e-6, "weight_underflow"), (1e-9, "zero_scale")] {
        let (low, report) = lowered(&quantized(scale), &FP16);
        assert_eq!(
            shown(&low, Half::Float16),
            "Cast MatMul* QuantizeLinear* DequantizeLinear Transpose DequantizeLinear MatMul Cast MatMul* \
             Cast"
        );
        assert_eq!(reason(&report, "w8"), why);
        for node in ["a", "t", "b"] {
            assert_eq!(reason(&report, node), "quantized", "{node}");
        }
    }
}

#[test]
fn the_user_keeps_operations_of_8_bits_and_with_them_the_opset() {
    let keep = NodePatterns::new(["QuantizeLinear", "DequantizeLinear"].map(str::to_owned));
    let (low, _) = lowered(&quantized(0.01), &Settings { keep: &keep, ..*FP16 });
    assert_eq!(low.opset(), Some(17));
    assert_eq!(
        shown(&low, Half::Float16),
        "Cast MatMul* Cast QuantizeLinear DequantizeLinear Transpose DequantizeLinear MatMul Cast MatMul* Cast"
    );
}

#[test]
fn functions_other_domains_and_what_they_give_are_left_alone() {
    let mut call = node("Twice a > b");
    call.domain = Some("mine".into());
    let chain = vec![node("MatMul x w > a"), call, node("MatMul b w > c"), node("MatMul x w > y")];
    let mut model = super::model("x", "y", vec![node("MatMul x w > y")], w());
    model.graph.node = chain;
    model.header.functions.push(crate::onnx::proto::FunctionProto {
        name: Some("Twice".into()),
        domain: Some("mine".into()),
        input: vec!["i".into()],
        output: vec!["o".into()],
        node: nodes(&["Add i i > o"]),
        ..Default::default()
    });
    let (_, report) = lowered(&model, &FP16);
    assert_eq!(reason(&report, "b"), "not_standard");
    assert_eq!(reason(&report, "c"), "unknown_type");
    assert_eq!(reason(&report, "a"), "default");
    // Declared types are taken at their word.
    model.graph.value_info = values("b");
    assert_eq!(reason(&lowered(&model, &FP16).1, "c"), "default");
}

#[test]
fn a_model_that_is_badly_typed_is_refused_and_not_changed() {
    let mut bad = model("x i:int64", "y", nodes(&["MatMul x w > y"]), w());
    bad.graph.node = nodes(&["MatMul x i > y"]);
    let before = bad.encode();
    let error = lower(&mut bad, &FP16).unwrap_err().to_string();
    assert!(error.contains("takes `x` and `i` of one element type"), "{error}");
    assert_eq!(bad.encode(), before);
}

#[test]
fn between_float32_values_nothing_is_cast() {
    let chain = nodes(&["Softmax x > a", "Transpose a > b", "Mul b w > c", "Softmax c > y"]);
    let (low, report) = lowered(&model("x", "y", chain, w()), &FP16);
    assert_eq!(shown(&low, Half::Float16), "Softmax Transpose Mul Softmax");
    assert_eq!((report.casts, reason(&report, "b")), (0, "surrounded"));
}
