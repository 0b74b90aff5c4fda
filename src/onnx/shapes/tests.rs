use std::path::Path;

use super::*;

fn fixture(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let model = Model::load(&folder.join(format!("{name}.onnx"))).unwrap();
    model.check().unwrap();
    model
}

fn specs(model: &Model) -> Vec<String> {
    let shapes = Shapes::of(model);
    let names = model.graph.node.iter().flat_map(|node| &node.output);
    names
        .map(|name| shapes.spec(name).map_or(format!("{name}?"), |spec| spec.to_string()))
        .collect()
}

#[test]
fn symbols_of_inputs_reach_the_outputs() {
    assert_eq!(
        specs(&fixture("mlp")),
        [
            "h float32 [batch,8]",
            "a float32 [batch,8]",
            "logits float32 [batch,3]",
            "y float32 [batch,3]"
        ]
    );
}

#[test]
fn the_operators_that_keep_a_shape_are_sorted_and_of_the_standard() {
    assert!(rules::KEEPING.is_sorted_by(|a, b| a < b));
    for op in rules::KEEPING {
        assert!(crate::onnx::operators::lookup(op, 26).is_some(), "{op}");
    }
}
