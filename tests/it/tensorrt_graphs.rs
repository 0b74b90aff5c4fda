//! CUDA graphs of engines' runs, over the stand-ins. A graph that is launched after its execution
//! context changed ends the process.

use std::sync::Arc;

use trt_pipeline::backend::cuda::{Ledger, MemoryKind};
use trt_pipeline::backend::{ExecutionContext, SubmittedAs};
use trt_pipeline::deployment::CudaGraphs;
use trt_pipeline::tensor::Shape;

use crate::tensorrt_engines::{Built, fill, generations, gpu, output, rtx, run, v8_6, v10};

const BATCHES: &str = "      profiles:
        - image: { min: [1, 1, 8, 8], opt: [2, 1, 8, 8], max: [8, 1, 8, 8] }
";

/// Two profiles: small shapes, and larger ones.
const TWO_PROFILES: &str = "      profiles:
        - left: { min: [1, 1, 8], opt: [1, 2, 8], max: [2, 4, 8] }
          right: { min: [1, 8, 1], opt: [1, 8, 2], max: [2, 8, 4] }
        - left: { min: [2, 4, 8], opt: [4, 8, 8], max: [8, 16, 8] }
          right: { min: [2, 8, 4], opt: [4, 8, 8], max: [8, 8, 16] }
";

fn nothing_is_held() {
    for kind in [MemoryKind::Device, MemoryKind::Pinned] {
        let stats = Ledger::process().stats(kind);
        assert_eq!((stats.current, stats.live), (0, 0), "{kind}");
    }
}

/// A context of the digits model, and requests to it that differ.
struct Digits {
    context: Box<dyn ExecutionContext>,
    requests: u8,
}

impl Digits {
    fn new(graphs: CudaGraphs) -> Self {
        let engine = Built::new("digits_fp32", BATCHES).load_with(graphs).unwrap();
        Self { context: engine.new_context().unwrap(), requests: 0 }
    }

    /// Runs a batch of values that no run had before, and checks the answer.
    fn run(&mut self, batch: usize) {
        self.requests += 1;
        let bytes = self.context.input_mut(0, &Shape(vec![batch, 1, 8, 8])).unwrap();
        let values = (0..251_u8).map(|at| at.wrapping_mul(7).wrapping_add(self.requests));
        let image: Vec<u8> = values.cycle().take(bytes.len()).collect();
        bytes.copy_from_slice(&image);
        self.context.run().unwrap();
        let (shape, bytes) = output(self.context.as_ref(), 0);
        assert_eq!(shape[0], batch);
        assert!(bytes.iter().zip(image.iter().cycle()).all(|(a, b)| a == b), "another answer");
    }

    fn has_graph(&self) -> bool {
        matches!(self.context.submitted_as(), Some(SubmittedAs::CudaGraph { nodes: 1.. }))
    }

    fn reason(&self) -> String {
        match self.context.submitted_as() {
            Some(SubmittedAs::Kernels { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn shapes_that_come_again_get_a_graph_in_every_generation() {
    for version in generations() {
        run(&version.with("ENQUEUE_US", 2000), gpu().with("DEFER", 1), || {
            let mut digits = Digits::new(CudaGraphs::Auto);
            assert_eq!(digits.context.submitted_as(), None);
            let seen: Vec<bool> = (0..4)
                .map(|_| {
                    digits.run(2);
                    digits.has_graph()
                })
                .collect();
            assert_eq!(seen, [false, false, true, true]);
            digits.run(5);
            assert_eq!(digits.reason(), "its shapes ran 1 times, graphs are made at 3");
            digits.run(2);
            assert!(digits.has_graph(), "it was forgotten");
            (0..3).for_each(|_| digits.run(5));
            assert!(digits.has_graph());
            digits.run(2);
            digits.run(5);
            drop(digits);
            nothing_is_held();
        });
    }
}

#[test]
fn graphs_that_are_no_faster_are_not_used_nor_tried_for_larger_inputs() {
    run(&v8_6().with("GRAPH_US", 2000), gpu(), || {
        let mut digits = Digits::new(CudaGraphs::Auto);
        (0..3).for_each(|_| digits.run(2));
        assert!(digits.reason().starts_with("a graph is no faster: "), "{}", digits.reason());
        (0..3).for_each(|_| digits.run(3));
        assert_eq!(digits.reason(), "a graph was no faster for smaller inputs");
        (0..3).for_each(|_| digits.run(1));
        assert!(digits.reason().starts_with("a graph is no faster: "), "{}", digits.reason());
        let mut digits = Digits::new(CudaGraphs::On);
        digits.run(3);
        assert!(digits.has_graph(), "somebody asked for it");
    });
}

#[test]
fn graphs_that_are_asked_for_are_there_at_once_and_others_never() {
    run(&v8_6(), gpu(), || {
        let mut digits = Digits::new(CudaGraphs::On);
        digits.run(1);
        assert!(digits.has_graph());
        let mut digits = Digits::new(CudaGraphs::Off);
        (0..5).for_each(|_| digits.run(1));
        assert_eq!(digits.reason(), "`cuda_graphs` is `off`");
        let mut digits = Digits::new(CudaGraphs::Batches(vec![1, 4]));
        for batch in [4, 2, 1] {
            (0..5).for_each(|_| digits.run(batch));
            assert_eq!(digits.has_graph(), batch != 2);
        }
        digits.run(2);
        assert_eq!(digits.reason(), "`cuda_graphs` does not list batch 2");
    });
}

/// The reason why graphs that are wrong in this way are not used. Answers are right all the same.
fn refused(wrong: &str) -> String {
    let mut digits = Digits::new(CudaGraphs::On);
    digits.run(3);
    let reason = digits.reason();
    (0..3).for_each(|_| digits.run(3));
    assert_eq!(digits.reason(), reason, "{wrong}: it was tried again");
    drop(digits);
    nothing_is_held();
    reason
}

#[test]
fn a_graph_that_answers_as_to_an_earlier_request_is_never_used() {
    for version in [v8_6(), v10(), rtx()] {
        run(&version.with("GRAPHS", "stale"), gpu().with("DEFER", 1), || {
            assert_eq!(
                refused("stale"),
                "in its trial a graph gave another answer than a plain run"
            );
        });
    }
}

#[test]
fn a_graph_that_writes_nothing_is_never_used() {
    run(&v8_6().with("GRAPHS", "idle"), gpu(), || {
        assert_eq!(refused("idle"), "in its trial a graph gave another answer than a plain run");
    });
}

#[test]
fn an_engine_that_cannot_be_captured_runs_without_a_graph() {
    run(&v8_6().with("GRAPHS", "impossible"), gpu(), || {
        let reason = refused("impossible");
        assert!(reason.starts_with("enqueueV3 failed"), "{reason}");
        assert!(reason.contains("not permitted when stream is capturing"), "{reason}");
    });
}

#[test]
fn an_engine_whose_answers_differ_from_run_to_run_has_no_graph() {
    run(&v8_6().with("GRAPHS", "noisy"), gpu(), || {
        let engine = Built::new("digits_fp32", BATCHES).load_with(CudaGraphs::On).unwrap();
        let mut context = engine.new_context().unwrap();
        fill(context.as_mut(), 0, &[2, 1, 8, 8]);
        context.run().unwrap();
        let reason = match context.submitted_as() {
            Some(SubmittedAs::Kernels { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason.contains("differ from run to run"), "{reason}");
    });
}

#[test]
fn inputs_of_one_value_prove_nothing_so_the_trial_waits_for_others() {
    run(&v10(), gpu(), || {
        let mut digits = Digits::new(CudaGraphs::On);
        for _ in 0..3 {
            digits.context.input_mut(0, &Shape(vec![1, 1, 8, 8])).unwrap().fill(0);
            digits.context.run().unwrap();
        }
        assert_eq!(digits.reason(), "it was not tried yet: all values of its inputs were the same");
        digits.run(1);
        assert!(digits.has_graph());
    });
}

#[test]
fn graphs_go_where_memory_has_to_grow_and_are_made_anew() {
    run(&v8_6(), gpu().with("DEFER", 1), || {
        let engine = Built::new("two_inputs_dynamic", TWO_PROFILES);
        let engine = engine.load_with(CudaGraphs::On).unwrap();
        let mut context = Arc::clone(&engine).new_context().unwrap();
        for rows in [1, 4, 1, 8, 1, 4, 16, 4] {
            let batch = if rows > 4 { 4 } else { 2 };
            for _ in 0..2 {
                let left = fill(context.as_mut(), 0, &[batch, rows, 8]);
                fill(context.as_mut(), 1, &[batch, 8, rows]);
                context.run().unwrap();
                let (shape, bytes) = output(context.as_ref(), 0);
                assert_eq!(shape, [batch, rows, rows]);
                assert!(bytes.iter().zip(left.iter().cycle()).all(|(a, b)| a == b));
                let way = context.submitted_as();
                assert!(matches!(way, Some(SubmittedAs::CudaGraph { .. })), "{rows} {way:?}");
            }
        }
        drop((engine, context));
        nothing_is_held();
    });
}

#[test]
fn what_changes_from_run_to_run_beyond_values_is_in_no_graph() {
    run(&v10(), gpu(), || {
        let samples = "      profiles:\n        - x: { min: [1, 4], opt: [2, 4], max: [8, 4] }\n";
        let engine = Built::new("dynamic_output", samples).load_with(CudaGraphs::On).unwrap();
        let mut context = engine.new_context().unwrap();
        fill(context.as_mut(), 0, &[2, 4]);
        context.run().unwrap();
        let way = context.submitted_as();
        assert!(
            matches!(&way, Some(SubmittedAs::Kernels { reason }) if reason.contains("depends on data")),
            "{way:?}"
        );
        let shapes = "      profiles:
        - x: { min: [1, 1], opt: [1, 4], max: [1, 8] }
          shape: { min: [1, 1], opt: [2, 4], max: [4, 8] }\n";
        let engine = Built::new("shape_tensor", shapes).load_with(CudaGraphs::On).unwrap();
        let mut context = engine.new_context().unwrap();
        for rows in [2_i64, 3, 4] {
            fill(context.as_mut(), 0, &[1, 4]);
            let bytes = context.input_mut(1, &Shape(vec![2])).unwrap();
            bytes.copy_from_slice([rows, 4].map(i64::to_le_bytes).as_flattened());
            context.run().unwrap();
            let way = context.submitted_as();
            assert!(
                matches!(&way, Some(SubmittedAs::Kernels { reason }) if reason.contains("`shape`")),
                "{way:?}"
            );
        }
    });
}

/// What is to be seen where one call of the driver fails while the first graph is made.
fn the_first_graph_is_missing() {
    let mut digits = Digits::new(CudaGraphs::On);
    digits.run(2);
    assert!(!digits.has_graph());
    let reason = digits.reason();
    assert!(reason.contains("failed"), "{reason}");
    digits.run(2);
    digits.run(3);
    assert!(digits.has_graph(), "another shape has one");
    drop(digits);
    nothing_is_held();
}

#[test]
fn a_capture_that_cannot_begin_costs_no_answer() {
    run(&v8_6(), gpu().and("STANDIN_CUDA_FAIL", "cuStreamBeginCapture_v2:1=999"), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn a_graph_that_cannot_be_made_ready_costs_no_answer() {
    run(&v8_6(), gpu().and("STANDIN_CUDA_FAIL", "cuGraphInstantiateWithFlags:1=999"), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn memory_that_is_missing_for_a_graph_costs_no_answer() {
    run(&v8_6(), gpu().and("STANDIN_CUDA_FAIL", "cuGraphInstantiateWithFlags:1=2"), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn a_trial_whose_graph_cannot_be_launched_costs_no_answer() {
    run(&v8_6(), gpu().and("STANDIN_CUDA_FAIL", "cuGraphLaunch:2=2"), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn memory_that_is_missing_for_the_context_of_a_graph_costs_no_answer() {
    let contexts = "ICudaEngine::createExecutionContextWithoutDeviceMemory:2=oom";
    run(&v8_6().with("FAIL", contexts), gpu(), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn a_trial_whose_plain_run_fails_costs_no_answer() {
    // After the run itself, the one before the capture and the capture.
    run(&v8_6().with("FAIL", "IExecutionContext::enqueueV3:4=oom"), gpu(), || {
        the_first_graph_is_missing();
    });
}

#[test]
fn sixty_four_bit_integers_are_tried_in_the_type_that_the_engine_has() {
    run(&v8_6(), gpu(), || {
        let tokens = "      profiles:\n        - ids: { min: [1, 3], opt: [2, 3], max: [4, 3] }\n";
        let engine = Built::new("int64_io", tokens).load_with(CudaGraphs::On).unwrap();
        let mut context = engine.new_context().unwrap();
        for first in [1_i64, 50, 7] {
            let ids: Vec<i64> = (first..first + 6).collect();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            context.input_mut(0, &Shape(vec![2, 3])).unwrap().copy_from_slice(&bytes);
            context.run().unwrap();
            assert_eq!(output(context.as_ref(), 1).1, bytes);
            let way = context.submitted_as();
            assert!(matches!(way, Some(SubmittedAs::CudaGraph { .. })), "{way:?}");
        }
    });
}
