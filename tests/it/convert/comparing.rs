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

#[test]
fn a_sample_that_is_no_regular_file_is_refused_unopened() {
    for (body, told) in [
        (
            "os.mkfifo(request['cases'] + '/1/inputs.npz')",
            "sample 1 cannot be compared: its `inputs.npz`",
        ),
        ("os.symlink('/dev/zero', request['cases'] + '/1/outputs.npz')", "its `outputs.npz`"),
    ] {
        let file = if body.contains("inputs") { "inputs" } else { "outputs" };
        let body = format!(
            "model(); cases(); os.remove(request['cases'] + '/1/{file}.npz'); {body}; result()\n"
        );
        let error = failed(&project(&body, "").trt(&["run", "p.yaml"]), 1);
        assert!(error.contains(told) && error.contains("is no regular file"), "{error}");
    }
}

/// The values of this one cannot be unpacked, its header can.
#[test]
fn the_shape_of_an_output_is_compared_before_its_values_are_read() {
    let body = "import io, random, struct, zipfile\n\
        header = str({'descr': '<f4', 'fortran_order': False, 'shape': (5000, 2)}).ljust(117) + '\\n'\n\
        values = random.Random(0).randbytes(40000)\n\
        file = request['cases'] + '/0/outputs.npz'\n\
        model(); cases()\n\
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:\n\
        \x20   archive.writestr('y.npy', b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', len(header)) + header.encode() + values)\n\
        with open(file, 'r+b') as bad: bad.seek(20000); bad.write(bytes(9))\n\
        result()\n";
    let error = failed(&project(body, "").trt(&["run", "p.yaml"]), 1);
    let told = "output `y` has shape [1,2] in the exported model, and [5000,2] in the framework";
    assert!(error.contains(told), "{error}");
}

#[test]
fn a_comparison_of_nothing_fails_and_asks_for_inputs() {
    let project = project(GOOD, "");
    for (case, values) in [(0, &[f32::NAN; 2][..]), (1, &[f32::INFINITY; 6])] {
        sample(&project, case, "inputs", "x", values);
        sample(&project, case, "outputs", "y", values);
    }
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("output `y` is NaN or infinite everywhere, on both sides"), "{error}");
    assert!(error.contains("`samples: FILE.npz`"), "{error}");
    sample(&project, 1, "inputs", "x", &[0.5; 6]);
    sample(&project, 1, "outputs", "y", &[1.5; 6]);
    project.run_ok();
}

#[test]
fn what_an_export_warns_of_and_how_close_it_is_show_on_the_terminal() {
    let project = project("model(); cases(); result(warnings=['rounded\\nup'])\n", "");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stderr.contains("WARN") && ran.stderr.contains("rounded\\nup"), "{ran:#?}");
    let line = "exported by stand-in, opset 17; it computes exactly what its framework does";
    assert!(ran.stdout.contains(line), "{ran:#?}");
    sample(&project, 0, "outputs", "y", &[1.0, 1.12501]);
    let ran = project.trt(&["run", "p.yaml", "--force"]);
    assert!(ran.stdout.contains("max_relative_error is 6.2e-6, of `y`"), "{ran:#?}");
}
