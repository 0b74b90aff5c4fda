//! The guard rails, one by one.

use crate::backend::conformance::{Recorded, assert_close, compiled, conformance_tests, run};
use crate::backend::{Backend as _, BackendError, tensorrt};
use crate::process::CancelToken;
use crate::tensor::{DType, Dim, Tensor};

use super::{CpuBackend, TRACT_VERSION};

mod conformance {
    use super::*;
    conformance_tests!(CpuBackend);
}

/// Runs the recorded input through the compiled model and through the reference.
fn both(name: &str) -> Vec<(Vec<Tensor>, Vec<Tensor>)> {
    let recorded = Recorded::new(name);
    let engines = [
        compiled(&CpuBackend, &recorded.model).unwrap(),
        CpuBackend.reference(&recorded.model, &[]).unwrap(),
    ];
    engines
        .into_iter()
        .map(|engine| {
            let inputs = recorded.inputs(engine.as_ref());
            let expected = recorded.outputs(engine.as_ref());
            let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
            (run(engine.as_ref(), context.as_mut(), &inputs).unwrap(), expected)
        })
        .collect()
}

fn assert_agrees(name: &str, relative: f64, absolute: f64) {
    for (got, expected) in both(name) {
        for (got, expected) in got.iter().zip(&expected) {
            assert_close(got, expected, relative, absolute);
        }
    }
}

fn refusal(name: &str) -> BackendError {
    let model = Recorded::new(name).model;
    let reference = CpuBackend.reference(&model, &[]).err().expect("the reference refuses too");
    let error = compiled(&CpuBackend, &model).err().expect("a refusal");
    assert_eq!(error.to_string(), reference.to_string());
    error
}

#[test]
fn softmax_between_dequantize_and_quantize_is_not_taken_for_a_lookup_table() {
    // The output's quantum is 1/255: one quantum of float noise is allowed, garbage is not.
    assert_agrees("qdq_softmax", 0.0, 1.01 / 255.0);
}

#[test]
fn per_channel_weights_and_int32_biases_are_dequantized() {
    assert_agrees("qdq_cnn", 0.0, 0.0501);
}

#[test]
fn blocked_int4_weights_are_dequantized() {
    assert_agrees("int4_blocked", 1e-5, 1e-6);
}

#[test]
fn fp8_weights_and_activations_are_rounded_to_their_grid() {
    assert_agrees("fp8_matmul", 1e-5, 1e-6);
}

#[test]
fn float16_is_computed_as_float32_and_comes_out_as_float16() {
    assert_agrees("half", 2e-3, 1e-3);
}

#[test]
fn bidirectional_recurrences_agree() {
    for name in ["lstm_bidirectional", "gru_bidirectional", "rnn_bidirectional"] {
        assert_agrees(name, 1e-5, 1e-5);
    }
}

#[test]
fn reversed_recurrences_are_refused() {
    for (name, op) in [("lstm_reverse", "LSTM"), ("gru_reverse", "GRU"), ("rnn_reverse", "RNN")] {
        let error = refusal(name);
        assert!(
            matches!(&error, BackendError::Unsupported { node, op: found, .. }
                if node == "recurrent" && found == op),
            "{error}"
        );
    }
}

#[test]
fn bit_shifts_agree() {
    for name in ["bitshift_left_8", "bitshift_right_8", "bitshift_left_64", "bitshift_right_64"] {
        assert_agrees(name, 0.0, 0.0);
    }
}

#[test]
fn what_tract_would_compute_wrongly_is_refused_with_the_reason() {
    let names = [
        "bitshift_too_far",
        "wrong_batch_norm_training",
        "wrong_celu_alpha",
        "wrong_einsum_ellipsis",
        "wrong_global_lp_pool",
        "wrong_gru_activations",
        "wrong_lstm_clip",
        "wrong_pad_negative",
        "wrong_pad_wrap",
        "wrong_pool_ceil",
        "wrong_pool_dilated",
        "wrong_pool_gaps",
    ];
    let reasons: Vec<String> = names.iter().map(|name| refusal(name).to_string()).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    backend `cpu` cannot run node `shift` (BitShift): a shift by a negative amount or by more than the width is wrong
    backend `cpu` cannot run node `culprit` (BatchNormalization): `training_mode` is ignored
    backend `cpu` cannot run node `culprit` (Celu): `alpha` other than 1 is computed wrongly
    backend `cpu` cannot run node `culprit` (Einsum): `...` in the equation loses axes
    backend `cpu` cannot run node `culprit` (GlobalLpPool): the mean of the powers is taken where ONNX has their sum
    backend `cpu` cannot run node `culprit` (GRU): activations other than the usual ones are ignored
    backend `cpu` cannot run node `culprit` (LSTM): `clip` is ignored
    backend `cpu` cannot run node `culprit` (Pad): padding by less than 0 is not implemented
    backend `cpu` cannot run node `culprit` (Pad): mode `wrap` is not implemented
    backend `cpu` cannot run node `culprit` (MaxPool): `ceil_mode` is ignored where the padding is automatic
    backend `cpu` cannot run node `culprit` (MaxPool): the automatic padding of dilated windows is computed wrongly
    backend `cpu` cannot run node `culprit` (MaxPool): the automatic padding of windows that leave gaps is computed wrongly
    ");
}

#[test]
fn a_constant_less_or_over_a_convolution_agrees() {
    for name in [
        "constant_sub_conv_3",
        "constant_sub_conv_4",
        "constant_div_conv_3",
        "constant_div_conv_4",
        "scalar_div_identity_conv",
    ] {
        assert_agrees(name, 1e-4, 1e-5);
    }
}

#[test]
fn a_value_to_pad_with_is_ignored_where_the_mode_has_no_use_for_it() {
    for name in ["pad_edge_with_a_value", "pad_reflect_with_a_value"] {
        assert_agrees(name, 0.0, 0.0);
    }
}

#[test]
fn slices_whose_ends_are_the_ends_of_the_integers_agree() {
    for name in ["slice_to_before_all", "slice_backwards", "slice_from_behind_all"] {
        assert_agrees(name, 0.0, 0.0);
    }
}

#[test]
fn integers_are_added_up_in_all_their_bits() {
    assert_agrees("integer_sums", 0.0, 0.0);
}

#[test]
fn exponentials_do_not_overflow_before_the_logarithm_of_their_sum() {
    assert_agrees("log_sum_exp", 1e-6, 1e-6);
}

#[test]
fn logarithms_of_integers_are_refused() {
    let model = Recorded::new("wrong_log_sum_exp_integers").model;
    let error = compiled(&CpuBackend, &model).err().expect("a refusal").to_string();
    assert!(error.contains("node `culprit` (ReduceLogSumExp)"), "{error}");
    assert!(error.contains("logarithms of integers are rounded"), "{error}");
}

#[test]
fn a_remainder_of_fewer_elements_than_divisors_is_of_them() {
    assert_agrees("remainder_of_fewer", 1e-6, 1e-6);
}

#[test]
fn the_nearest_element_of_opset_10_is_before_or_after() {
    for name in ["nearest_10_enlarged", "nearest_10_reduced"] {
        assert_agrees(name, 0.0, 0.0);
    }
}

#[test]
fn what_is_filled_without_a_value_is_float32_zero() {
    assert_agrees("zeros_without_a_value", 0.0, 0.0);
}

#[test]
fn the_larger_and_the_smaller_of_a_value_and_nan_are_nan() {
    for (got, expected) in both("not_a_number") {
        for (got, expected) in got.iter().zip(&expected) {
            let nan = |tensor: &Tensor| tensor.to_f64().into_iter().map(f64::is_nan).collect();
            let (found, wanted): (Vec<bool>, Vec<bool>) = (nan(got), nan(expected));
            assert_eq!(found, wanted);
            assert!(wanted.contains(&true));
        }
    }
}

#[test]
fn the_curves_of_nan_are_nan_in_the_reference() {
    let (got, expected) = both("curves_of_not_a_number").pop().unwrap();
    for (got, expected) in got.iter().zip(&expected) {
        let (got, expected) = (got.to_f64(), expected.to_f64());
        assert!(got[0].is_nan() && expected[0].is_nan());
        for (got, expected) in got.iter().zip(&expected).skip(1) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }
}

/// onnxruntime passes over NaN, depending on where it stands.
#[test]
fn the_largest_and_the_smallest_of_elements_are_nan_where_one_is() {
    for (got, _) in both("reduced_not_a_number") {
        let [largest, smallest] = [&got[0], &got[1]].map(Tensor::to_f64);
        assert!(largest[0].is_nan() && smallest[0].is_nan());
        assert_eq!(largest[1..], [f64::NEG_INFINITY, f64::INFINITY]);
        assert_eq!(smallest[1..], [f64::NEG_INFINITY, 1.0]);
    }
}

#[test]
fn the_logarithm_of_a_share_agrees_where_the_share_is_no_float32() {
    for name in ["log_softmax_12", "log_softmax_13"] {
        assert_agrees(name, 1e-6, 1e-6);
    }
}

#[test]
fn values_are_clipped_to_the_limits_that_are_given() {
    for name in ["clip", "clip_6"] {
        assert_agrees(name, 1e-6, 1e-7);
    }
}

#[test]
fn depth_to_space_in_column_order_agrees() {
    assert_agrees("d2s_crd", 0.0, 0.0);
}

#[test]
fn a_missing_operator_is_refused_by_name_and_node() {
    insta::assert_snapshot!(
        refusal("roi_align"),
        @"backend `cpu` cannot run node `roi` (RoiAlign): the operator is not implemented"
    );
}

#[test]
fn an_attribute_outside_the_schema_is_refused() {
    insta::assert_snapshot!(
        refusal("unknown_attribute"),
        @"backend `cpu` cannot run node `act` (Relu): opset 17 gives it no attribute `slope`"
    );
}

#[test]
fn a_result_of_another_shape_than_declared_is_an_error() {
    let model = Recorded::new("wrong_output_shape").model;
    let engine = CpuBackend.reference(&model, &[]).unwrap();
    let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
    let input = Tensor::from_f32(vec![2].into(), &[1.0, 2.0]).unwrap();
    let error = run(engine.as_ref(), context.as_mut(), &[input]).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"failed to run the engine: output `y`: the model declares shape [7], the result has [2]"
    );
    assert!(context.output(0).is_err());
}

#[test]
fn recorded_shapes_of_inner_tensors_do_not_get_in_the_way() {
    let engine = compiled(&CpuBackend, &Recorded::new("stale_value_info").model).unwrap();
    let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
    let input = Tensor::from_f32(vec![1, 2].into(), &[1.0, -2.0]).unwrap();
    let output = run(engine.as_ref(), context.as_mut(), &[input]).unwrap();
    assert_eq!(output[0].to_f64(), [-1.0, 0.0]);
}

#[test]
fn the_tools_name_the_version_of_tract_that_is_linked() {
    let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let entry = format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"");
    assert!(lock.contains(&entry), "Cargo.lock has another tract than {TRACT_VERSION}");
    let tools = CpuBackend.tools(&tensorrt::Options::default()).unwrap();
    assert_eq!(tools["tract"], TRACT_VERSION);
    assert!(tools["cpu"].split(',').is_sorted());
}

#[test]
fn the_number_of_specialisations_an_engine_keeps_is_bounded() {
    let model = Recorded::new("mlp").model;
    let program = super::program(&model, &[], super::Rearranging::Free).unwrap();
    let engine = super::CpuEngine::new(program, "mlp.onnx".into(), Vec::new());
    let first = engine.plan(&[vec![1, 6].into()], &CancelToken::default()).unwrap();
    for batch in 2..100 {
        engine.plan(&[vec![batch, 6].into()], &CancelToken::default()).unwrap();
    }
    assert_eq!(engine.held_plans(), 64);
    let last = engine.plan(&[vec![99, 6].into()], &CancelToken::default()).unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &last,
        &engine.plan(&[vec![99, 6].into()], &CancelToken::default()).unwrap()
    ));
    assert!(!std::sync::Arc::ptr_eq(
        &first,
        &engine.plan(&[vec![1, 6].into()], &CancelToken::default()).unwrap()
    ));
}

#[test]
fn constant_graphs_are_evaluated_and_graphs_with_inputs_refused() {
    use prost::Message as _;

    let model = std::fs::read(Recorded::new("mlp").model).unwrap();
    let error = super::evaluate(&model).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");

    // The same graph with its input as a constant.
    let recorded = Recorded::new("mlp");
    let x = recorded.array("in.x", DType::Float32);
    let mut proto = crate::onnx::proto::ModelProto::decode(model.as_slice()).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    graph.input.clear();
    graph.initializer.push(crate::onnx::from_tensor("x", &x));
    let outputs = super::evaluate(&proto.encode_to_vec()).unwrap();
    assert_close(&outputs[0], &recorded.array("out.y", DType::Float32), 1e-5, 1e-6);
    assert!(super::evaluate(b"junk").is_err());
}

#[test]
fn shapes_are_inferred_with_the_names_of_open_axes() {
    let model = std::fs::read(Recorded::new("cnn").model).unwrap();
    let shapes = super::infer_shapes(&model);
    let batch = || Dim::Symbol("batch".to_owned());
    assert_eq!(
        shapes["p"],
        (DType::Float32, Some(vec![batch(), Dim::Fixed(4), Dim::Fixed(4), Dim::Fixed(4)]))
    );
    assert_eq!(shapes["y"].1, Some(vec![batch(), Dim::Fixed(4)]));
    assert!(super::infer_shapes(b"junk").is_empty());
    let refused = std::fs::read(Recorded::new("roi_align").model).unwrap();
    assert!(!super::infer_shapes(&refused).contains_key("y"), "an operator nobody knows");
}
#[test]
fn external_data_travels_with_the_engine_and_may_not_take_its_file_names() {
    use crate::onnx::proto::{ModelProto, StringStringEntryProto};
    use prost::Message as _;

    let recorded = Recorded::new("mlp");
    let folder = tempfile::tempdir().unwrap();
    let write = |location: &str| {
        let bytes = std::fs::read(&recorded.model).unwrap();
        let mut proto = ModelProto::decode(bytes.as_slice()).unwrap();
        let tensor = &mut proto.graph.as_mut().unwrap().initializer[0];
        let target = folder.path().join(location);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, tensor.raw_data.take().unwrap()).unwrap();
        tensor.data_location = Some(1);
        tensor.external_data = vec![StringStringEntryProto {
            key: Some("location".to_owned()),
            value: Some(location.to_owned()),
        }];
        let path = folder.path().join("split.onnx");
        std::fs::write(&path, proto.encode_to_vec()).unwrap();
        path
    };
    let engine = compiled(&CpuBackend, &write("weights/w1.bin")).unwrap();
    let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
    let outputs =
        run(engine.as_ref(), context.as_mut(), &recorded.inputs(engine.as_ref())).unwrap();
    assert_close(&outputs[0], &recorded.array("out.y", DType::Float32), 1e-5, 1e-6);
    let error = compiled(&CpuBackend, &write("engine.json")).err().expect("a refusal");
    assert!(error.to_string().contains("`engine.json`"), "{error}");
    let model = write("weights/w1.bin");
    std::fs::remove_file(folder.path().join("weights/w1.bin")).unwrap();
    let error = compiled(&CpuBackend, &model).err().expect("a refusal");
    assert!(error.to_string().contains("w1.bin"), "{error}");
}
