//! Running engines, over the stand-ins: TensorRT's copies input to output.

use std::thread;

use trt_pipeline::backend::BackendError;
use trt_pipeline::backend::cuda::{Ledger, MemoryKind};
use trt_pipeline::tensor::Shape;

use crate::tensorrt_engines::{Built, fill, generations, gpu, held, output, rtx, run, v8_6, v10};

/// Two profiles: small shapes, and larger ones.
const TWO_PROFILES: &str = "      profiles:
        - left: { min: [1, 1, 8], opt: [1, 2, 8], max: [2, 4, 8] }
          right: { min: [1, 8, 1], opt: [1, 8, 2], max: [2, 8, 4] }
        - left: { min: [2, 4, 8], opt: [4, 8, 8], max: [8, 16, 8] }
          right: { min: [2, 8, 4], opt: [4, 8, 8], max: [8, 8, 16] }
";

const SAMPLES: &str = "      profiles:
        - x: { min: [1, 4], opt: [2, 4], max: [8, 4] }
";

/// The ranges of an input that holds a shape are ranges of its values.
const SHAPES: &str = "      profiles:
        - x: { min: [1, 1], opt: [1, 4], max: [1, 8] }
          shape: { min: [1, 1], opt: [2, 4], max: [4, 8] }
        - x: { min: [1, 1], opt: [1, 4], max: [1, 8] }
          shape: { min: [5, 1], opt: [6, 4], max: [8, 8] }
";

const TOKENS: &str = "      profiles:
        - ids: { min: [1, 3], opt: [2, 3], max: [4, 3] }
";

/// Everything that the process ever allocated for engines, on the device and pinned.
fn allocations() -> u64 {
    [MemoryKind::Device, MemoryKind::Pinned]
        .map(|kind| Ledger::process().stats(kind).allocations)
        .iter()
        .sum()
}

fn nothing_is_held() {
    for kind in [MemoryKind::Device, MemoryKind::Pinned] {
        let stats = Ledger::process().stats(kind);
        assert_eq!((stats.current, stats.live), (0, 0), "{kind}");
    }
}

#[test]
fn what_goes_in_comes_out_of_every_generation() {
    for version in generations() {
        run(&version, gpu().with("DEFER", 1), || {
            let mut context = Built::new("two_inputs_dynamic", TWO_PROFILES).context();
            for (batch, rows) in [(1, 3), (2, 4), (1, 1), (8, 16), (1, 2)] {
                let left = fill(context.as_mut(), 0, &[batch, rows, 8]);
                fill(context.as_mut(), 1, &[batch, 8, rows]);
                context.run().unwrap();
                let (shape, bytes) = output(context.as_ref(), 0);
                assert_eq!(shape, [batch, rows, rows]);
                let expected: Vec<u8> = left.iter().copied().cycle().take(bytes.len()).collect();
                assert_eq!(bytes, expected);
            }
            drop(context);
            nothing_is_held();
        });
    }
}

#[test]
fn a_profile_that_takes_the_shapes_is_chosen_and_its_memory_is_allocated_once() {
    run(&v10(), gpu(), || {
        let engine = Built::new("two_inputs_dynamic", TWO_PROFILES).load().unwrap();
        let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
        let mut go = |batch, rows| {
            fill(context.as_mut(), 0, &[batch, rows, 8]);
            fill(context.as_mut(), 1, &[batch, 8, rows]);
            context.run().unwrap();
            assert_eq!(output(context.as_ref(), 0).0, [batch, rows, rows]);
        };
        go(1, 1);
        let small = held(engine.as_ref());
        // The largest shapes of the first profile: both inputs and the output.
        assert_eq!(small[1], (4 * (2 * 4 * 8 + 2 * 8 * 4 + 2 * 4 * 4), 3));
        let before = allocations();
        go(2, 4);
        go(1, 3);
        assert_eq!(allocations(), before, "a run of the same profile allocated");
        go(3, 5);
        let large = held(engine.as_ref());
        assert_eq!(large[1], (4 * (8 * 16 * 8 + 8 * 8 * 16 + 8 * 16 * 16), 3));
        assert_eq!(large[0].1, small[0].1);
        let before = allocations();
        // The profile that is chosen takes these as well as the first.
        go(2, 4);
        go(1, 1);
        go(8, 16);
        assert_eq!(allocations(), before, "changing profiles back and forth allocated");
    });
}

#[test]
fn a_shape_outside_every_profile_is_an_input_error_with_the_ranges_of_all() {
    run(&v8_6(), gpu(), || {
        let mut context = Built::new("two_inputs_dynamic", TWO_PROFILES).context();
        let mut refused = |index, shape: &[usize]| {
            context.input_mut(index, &Shape::from(shape)).unwrap_err().to_string()
        };
        insta::assert_snapshot!(
            refused(0, &[9, 4, 8]),
            @"input `left` of shape [9,4,8] does not fit: the engine was built for [1,1,8] to [2,4,8], or [2,4,8] to [8,16,8]"
        );
        insta::assert_snapshot!(
            refused(0, &[1, 4]),
            @"input `left` of shape [1,4] does not fit: the model takes [batch,rows,8]"
        );
        insta::assert_snapshot!(
            refused(0, &[0, 4, 8]),
            @"input `left` of shape [0,4,8] does not fit: the engine was built for [1,1,8] to [2,4,8], or [2,4,8] to [8,16,8]"
        );
        insta::assert_snapshot!(
            refused(2, &[1]),
            @"failed to run the engine: there is no input 2: the engine has 2"
        );
        // Each fits a profile, and both fit none.
        fill(context.as_mut(), 0, &[2, 16, 8]);
        fill(context.as_mut(), 1, &[2, 8, 1]);
        insta::assert_snapshot!(
            context.run().unwrap_err(),
            @"failed to run the engine: no profile takes these shapes together: left [2,16,8], right [2,8,1]"
        );
    });
}

#[test]
fn an_input_that_is_not_set_is_named_and_results_of_an_earlier_run_are_gone() {
    run(&v10(), gpu(), || {
        let mut context = Built::new("two_inputs_dynamic", TWO_PROFILES).context();
        fill(context.as_mut(), 0, &[1, 1, 8]);
        let unset = "failed to run the engine: input `right` is not set";
        assert_eq!(context.run().unwrap_err().to_string(), unset);
        assert!(context.output(0).is_err());
        fill(context.as_mut(), 1, &[1, 8, 1]);
        context.run().unwrap();
        assert!(context.output(0).is_ok());
        assert!(context.output(1).is_err());
        fill(context.as_mut(), 1, &[2, 8, 1]);
        let disagree = context.run().unwrap_err().to_string();
        assert!(disagree.contains("`batch` is 2 here and 1 in input `left`"), "{disagree}");
        assert!(context.output(0).is_err());
    });
}

#[test]
fn an_output_whose_shape_depends_on_the_data_has_the_shape_it_turns_out_to_have() {
    run(&v10(), gpu().with("DEFER", 1), || {
        let engine = Built::new("dynamic_output", SAMPLES).load().unwrap();
        let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
        for samples in [2, 8, 1] {
            let input = fill(context.as_mut(), 0, &[samples, 4]);
            context.run().unwrap();
            // The stand-in finds half of what there could be.
            let (shape, bytes) = output(context.as_ref(), 0);
            assert_eq!(shape, [samples * 4 / 2, 4]);
            let expected: Vec<u8> = input.iter().copied().cycle().take(bytes.len()).collect();
            assert_eq!(bytes, expected);
        }
        let before = held(engine.as_ref());
        fill(context.as_mut(), 0, &[8, 4]);
        context.run().unwrap();
        assert_eq!(held(engine.as_ref()), before, "memory of an earlier run was not kept");
        drop((engine, context));
        nothing_is_held();
    });
}

#[test]
fn where_tensorrt_has_32_bit_integers_the_model_keeps_its_64_bit_ones() {
    run(&v8_6(), gpu(), || {
        let mut context = Built::new("int64_io", TOKENS).context();
        let mut go = |ids: [i64; 6]| {
            let bytes = context.input_mut(0, &Shape(vec![2, 3])).unwrap();
            assert_eq!(bytes.len(), 48);
            bytes.copy_from_slice(ids.map(i64::to_le_bytes).as_flattened());
            context.run()?;
            let (shape, bytes) = output(context.as_ref(), 1);
            assert_eq!(shape, [2, 3]);
            let numbers = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            Ok::<Vec<i64>, BackendError>(numbers.collect())
        };
        let ids = [1, -2, 3_000, i64::from(i32::MIN), i64::from(i32::MAX), 0];
        assert_eq!(go(ids).unwrap(), ids);
        insta::assert_snapshot!(
            go([1, 2, 3, 4, 5, 1 << 40]).unwrap_err(),
            @"input `ids` of shape [2,3] does not fit: 1099511627776 does not fit the 32-bit integers that this TensorRT has"
        );
        assert_eq!(go(ids).unwrap(), ids);
    });
}

#[test]
fn an_input_that_holds_a_shape_is_read_on_the_host_and_its_values_choose_the_profile() {
    for version in [v8_6(), rtx()] {
        run(&version, gpu(), || {
            let mut context = Built::new("shape_tensor", SHAPES).context();
            let mut go = |shape: [i64; 2]| {
                let x = fill(context.as_mut(), 0, &[1, 4]);
                let bytes = context.input_mut(1, &Shape(vec![2])).unwrap();
                bytes.copy_from_slice(shape.map(i64::to_le_bytes).as_flattened());
                context.run()?;
                let (_, bytes) = output(context.as_ref(), 0);
                assert!(bytes.iter().zip(x.iter().cycle()).all(|(a, b)| a == b));
                Ok::<_, BackendError>(())
            };
            go([2, 4]).unwrap();
            go([6, 4]).unwrap();
            go([3, 4]).unwrap();
            let error = go([9, 4]).unwrap_err().to_string();
            assert!(error.contains("no profile takes these shapes together"), "{error}");
            go([8, 4]).unwrap();
            drop(context);
            nothing_is_held();
        });
    }
}

#[test]
fn bool_and_64_bit_integers_pass_as_they_are() {
    run(&rtx(), gpu(), || {
        let mut context = Built::new("int64_io", TOKENS).context();
        let ids = fill(context.as_mut(), 0, &[4, 3]);
        context.run().unwrap();
        assert_eq!(output(context.as_ref(), 1), (vec![4, 3], ids));
    });
}

#[test]
fn contexts_of_one_engine_run_on_several_threads_and_can_be_dropped_in_any_order() {
    run(&v10(), gpu().with("DEFER", 1), || {
        let engine = Built::new("two_inputs_dynamic", TWO_PROFILES).load().unwrap();
        thread::scope(|scope| {
            for batch in 1..=6 {
                let engine = std::sync::Arc::clone(&engine);
                scope.spawn(move || {
                    let mut context = engine.new_context().unwrap();
                    for rows in [4, 5, 16, 4].into_iter().cycle().take(40) {
                        let (batch, rows) = if rows == 4 { (2, 4) } else { (batch + 1, rows) };
                        let left = fill(context.as_mut(), 0, &[batch, rows, 8]);
                        fill(context.as_mut(), 1, &[batch, 8, rows]);
                        context.run().unwrap();
                        let (shape, bytes) = output(context.as_ref(), 0);
                        assert_eq!(shape, [batch, rows, rows]);
                        assert!(bytes.iter().zip(left.iter().cycle()).all(|(a, b)| a == b));
                    }
                });
            }
        });
        let contexts = [(); 3].map(|()| std::sync::Arc::clone(&engine).new_context().unwrap());
        let [first, second, third] = contexts;
        drop((second, engine, first));
        let third = thread::spawn(move || drop(third));
        third.join().unwrap();
        nothing_is_held();
    });
}

#[test]
fn an_engine_of_fixed_shapes_needs_no_profile_and_takes_no_other_shape() {
    run(&v8_6(), gpu(), || {
        let engine = Built::new("light/light_squeezenet", "").load().unwrap();
        assert!(engine.profiles().is_empty());
        let image = [1, 3, 224, 224];
        let mut contexts = [(); 2].map(|()| std::sync::Arc::clone(&engine).new_context().unwrap());
        for context in &mut contexts {
            let input = fill(context.as_mut(), 0, &image);
            context.run().unwrap();
            assert_eq!(output(context.as_ref(), 0).1, input[..4000]);
        }
        insta::assert_snapshot!(
            contexts[1].input_mut(0, &Shape(vec![2, 3, 224, 224])).unwrap_err(),
            @"input `data_0` of shape [2,3,224,224] does not fit: the model takes [1,3,224,224]"
        );
        drop((engine, contexts));
        nothing_is_held();
    });
}

#[test]
fn loading_and_unloading_leaves_nothing_behind() {
    run(&v8_6(), gpu(), || {
        let built = Built::new("two_inputs_dynamic", TWO_PROFILES);
        for _ in 0..200 {
            let engine = built.load().unwrap();
            let mut context = std::sync::Arc::clone(&engine).new_context().unwrap();
            fill(context.as_mut(), 0, &[2, 4, 8]);
            fill(context.as_mut(), 1, &[2, 8, 4]);
            context.run().unwrap();
            drop(engine);
            drop(context);
            nothing_is_held();
        }
    });
}
