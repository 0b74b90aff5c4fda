//! An exported model held to what its framework computes.

use crate::support::models::Network;

use super::{GOOD, failed, project, sample};

#[test]
fn a_model_that_computes_something_else_fails_with_the_numbers() {
    let project = project(GOOD, "");
    sample(&project, 1, "outputs", "y", &[1.0, 1.125, 1.25, 1.375, 1.5, 2.0]);
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(
        error.contains("output `y`: max_relative_error is 1.875e-1, at most 0.0001"),
        "{error}"
    );
    assert!(error.contains("worst in sample 1, element 5: 1.625 for 2"), "{error}");
    let lenient = project.read("p.yaml").replace(" }", ", check: { max_relative_error: 0.2 } }");
    project.write("p.yaml", lenient).run_ok();
    let strict = project.read("p.yaml").replace("0.2 }", "0.2, max_abs: 0.1 }");
    let error = failed(&project.write("p.yaml", strict).trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("max_abs is 3.750e-1, at most 0.1"), "{error}");
    sample(&project, 0, "outputs", "y", &[f32::NAN, 1.125]);
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(
        error.contains("1 values are not finite on one side, first in sample 0, element 0"),
        "{error}"
    );
}

#[test]
fn a_node_that_the_cpu_backend_cannot_run_is_named_with_the_backend_to_choose() {
    let project = project(GOOD, "");
    let model = Network::default().input("x", &[0, 2]).output("y", &[0, 2]);
    project.write("model.onnx", model.node("Det", &["x"], "y").encode());
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("`y` (Det)"), "{error}");
    assert!(error.contains("`check: { backend: onnxruntime }`"), "{error}");
}
