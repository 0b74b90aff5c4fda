//! Where float32 and 16 bits meet.

use super::*;

#[test]
fn a_tensor_is_cast_once_for_all_its_readers() {
    let chain = nodes(&[
        "MatMul x w > a",
        "Softmax a > b",
        "Exp a > c",
        "MatMul b w > d",
        "MatMul c w > e",
        "MatMul b w > f",
    ]);
    let model = model("x", "d e f", chain, vec![weight("w", &[0.5; 2])]);
    let (low, report) = lowered(&model, &FP16);
    // x, a, b, c and the three outputs.
    assert_eq!(report.casts, 7);
    assert_eq!(constant_type(&low, "w"), Some(DType::Float16));
}

#[test]
fn a_constant_that_both_precisions_read_is_there_twice() {
    let chain = nodes(&["MatMul x w > a", "Pow a w > y"]);
    let (low, _) = lowered(&model("x", "y", chain, vec![weight("w", &[0.5; 2])]), &FP16);
    assert_eq!(constant_type(&low, "w"), Some(DType::Float32));
    assert_eq!(constant_type(&low, "w_float16"), Some(DType::Float16));
    assert_eq!(low.graph.node[1].input[1], "w_float16");
}

#[test]
fn a_constant_that_is_an_output_keeps_the_type_of_the_output() {
    let chain = nodes(&["MatMul x w > y"]);
    let model = model("x", "y w", chain, vec![weight("w", &[0.5; 2])]);
    let (low, _) = lowered(&model, &FP16);
    assert_eq!(constant_type(&low, "w"), Some(DType::Float32));
    let (low, _) = lowered(&model, &Settings { io: Io::Convert, ..*FP16 });
    assert_eq!(constant_type(&low, "w"), Some(DType::Float16));
    assert_eq!(low.signature().unwrap().outputs[1].dtype, DType::Float16);
}

#[test]
fn an_output_that_is_read_too_is_low_under_another_name() {
    let chain = nodes(&["MatMul x w > h", "MatMul h w > y"]);
    let (low, report) = lowered(&model("x", "h y", chain, vec![weight("w", &[0.5; 2])]), &FP16);
    assert_eq!(report.casts, 3);
    assert_eq!(low.graph.node[1].output, ["h_float16"]);
    assert_eq!(low.graph.node[3].input[0], "h_float16");
}

#[test]
fn an_input_that_is_an_output_stays_one() {
    let chain = nodes(&["MatMul x w > y"]);
    let model = model("x", "x y", chain, vec![weight("w", &[0.5; 2])]);
    for io in [Io::Keep, Io::Convert] {
        lowered(&model, &Settings { io, ..*FP16 });
    }
}

#[test]
fn a_listed_initializer_changes_its_listing() {
    let chain = nodes(&["MatMul x w > y"]);
    let mut listed = model("x", "y", chain, vec![weight("w", &[0.5; 2])]);
    listed.graph.input.push(value("w", DType::Float32));
    listed.header.ir_version = Some(3);
    let (low, _) = lowered(&listed, &FP16);
    assert_eq!(declared(&low.graph.input, "w"), Some(DType::Float16));
}

#[test]
fn casts_of_the_model_are_gone_straight_through() {
    // From integers: what low readers get is cast from the integers.
    let chain = vec![
        cast("ids > f", DataType::Float),
        node("MatMul f w > a"),
        node("Exp f > b"),
        node("MatMul a w > y"),
        node("Neg b > z"),
    ];
    let model = model("ids:int64", "y z", chain, vec![weight("w", &[0.5; 2])]);
    let (low, _) = lowered(&model, &FP16);
    let casts: Vec<&String> =
        low.graph.node.iter().filter(|n| n.op_type() == "Cast").map(|n| &n.input[0]).collect();
    assert_eq!(casts.iter().filter(|from| **from == "ids").count(), 2, "{casts:?}");
    // Nobody reads the float32 version any more.
    let chain = vec![cast("ids > f", DataType::Float), node("MatMul f w > y")];
    let model = super::model("ids:int64", "y", chain, vec![weight("w", &[0.5; 2])]);
    let (low, report) = lowered(&model, &FP16);
    assert_eq!(shown(&low, Half::Float16), "Cast MatMul* Cast");
    assert_eq!(report.casts, 2);
}

#[test]
fn what_is_of_16_bits_already_is_used_as_it_is() {
    let half = DataType::Float16;
    let chain = vec![
        cast("h > f", DataType::Float),
        node("MatMul f w > a"),
        cast("a > b", half),
        node("Relu b > y"),
    ];
    let model = model("h:float16", "y:float16", chain, vec![weight("w", &[0.5; 2])]);
    let (low, report) = lowered(&model, &FP16);
    assert_eq!(shown(&low, Half::Float16), "MatMul* Relu*");
    assert_eq!(report.casts, 0);
    let (low, _) = lowered(&model, &Settings { half: Half::BFloat16, ..*FP16 });
    assert_eq!(shown(&low, Half::BFloat16), "Cast MatMul* Cast Relu");
}

#[test]
fn a_body_and_what_it_captures_stay_as_they_are() {
    let body = |name: &str, op: &str| AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(GraphProto {
            name: Some(name.into()),
            node: nodes(&[&format!("{op} a w > {name}_y")]),
            output: vec![value(&format!("{name}_y"), DType::Float32)],
            ..GraphProto::default()
        }),
        ..AttributeProto::default()
    };
    let mut choice = node("If c > b");
    choice.attribute = vec![body("then_branch", "Add"), body("else_branch", "MatMul")];
    let chain = vec![node("MatMul x w > a"), choice, node("MatMul b w > y")];
    let model = model("x c:bool", "y", chain, vec![weight("w", &[0.5; 2])]);
    for io in [Io::Keep, Io::Convert] {
        let (low, report) = lowered(&model, &Settings { io, ..*FP16 });
        assert_eq!(reason(&report, "b"), "subgraph");
        assert_eq!(low.element_types().get("a"), Some(DataType::Float));
        assert_eq!(constant_type(&low, "w"), Some(DType::Float32));
        let find = |op| low.graph.node.iter().find(|node| node.op_type() == op).unwrap();
        assert_eq!(find("If").attribute, model.graph.node[1].attribute);
        assert_eq!(find("MatMul").output, ["a_float16"]);
    }
}

#[test]
fn left_out_inputs_stay_left_out() {
    let chain = nodes(&["MatMul x w > a", "Clip a _ m > y"]);
    let scalar = from_tensor("m", &Tensor::from_f32(Shape(vec![]), &[6.0]).unwrap());
    let (low, _) = lowered(&model("x", "y", chain, vec![weight("w", &[1.0; 2]), scalar]), &FP16);
    assert_eq!(shown(&low, Half::Float16), "Cast MatMul* Clip* Cast");
    assert_eq!(low.graph.node[2].input[1], "");
}

#[test]
fn scales_and_regions_of_a_resize_stay_float32() {
    let chain = nodes(&["MatMul x w > a", "Resize a roi scales > y"]);
    let weights =
        vec![weight("w", &[1.0; 2]), weight("roi", &[0.0; 4]), weight("scales", &[2.0; 2])];
    let (low, _) = lowered(&model("x", "y", chain, weights), &FP16);
    assert_eq!(shown(&low, Half::Float16), "Cast MatMul* Resize* Cast");
    assert_eq!(constant_type(&low, "roi"), Some(DType::Float32));
    assert_eq!(constant_type(&low, "scales"), Some(DType::Float32));
}

#[test]
fn tables_of_embeddings_are_of_16_bits() {
    let chain = nodes(&["Gather table ids > a", "MatMul a w > y"]);
    let weights = vec![weight("table", &[0.25; 8]), weight("w", &[1.0; 2])];
    let (low, report) = lowered(&model("ids:int64", "y", chain, weights), &FP16);
    assert_eq!(shown(&low, Half::Float16), "Gather* MatMul* Cast");
    assert_eq!((report.casts, constant_type(&low, "table")), (1, Some(DType::Float16)));
}

#[test]
fn declared_types_follow() {
    let chain = nodes(&["MatMul x w > a", "Softmax a > b", "MatMul b w > y"]);
    let mut model = model("x", "y", chain, vec![weight("w", &[1.0; 2])]);
    model.graph.value_info = values("a b");
    let (low, _) = lowered(&model, &FP16);
    let info = &low.graph.value_info;
    let found = ["a", "b", "x_float16", "a_float32", "b_float16", "y_float16"]
        .map(|name| declared(info, name).map(DType::name));
    let (half, float) = (Some("float16"), Some("float32"));
    assert_eq!(found, [half, float, half, float, half, half]);
}

#[test]
fn a_constant_made_by_a_node_is_made_in_16_bits() {
    let chain = nodes(&["ConstantOfShape dims > a", "MatMul a w > y"]);
    let (low, _) = lowered(&model("dims:int64", "y", chain, vec![weight("w", &[1.0; 2])]), &FP16);
    assert_eq!(shown(&low, Half::Float16), "ConstantOfShape* MatMul* Cast");
}

#[test]
fn names_that_are_taken_are_not_given() {
    let chain = nodes(&["MatMul x w > x_float16", "MatMul x_float16 w > y"]);
    let (low, _) = lowered(&model("x", "y", chain, vec![weight("w", &[1.0; 2])]), &FP16);
    assert_eq!(low.graph.node[0].output, ["x_float16_2"]);
}
