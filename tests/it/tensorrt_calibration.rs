//! Builds that find INT8 ranges from samples, by the program, over the stand-ins.

use std::fs;

use crate::standin::Cuda;
use crate::standin::tensorrt::TensorRt;
use crate::support::{Project, Ran, fixture};
use crate::tensorrt_engines::{gpu, v8_6, v10};

/// A project that builds the digits model with these lines below `int8:`.
fn project(int8: &str) -> Project {
    let model = fixture("tensorrt/digits_fp32.onnx");
    Project::with_spec(&format!(
        "version: 1
name: p
stages:
  engine:
    build:
      from: {{ file: {}, kind: model }}
      backend: tensorrt
      profiles:
        - image: {{ min: [1, 1, 8, 8], opt: [4, 1, 8, 8], max: [32, 1, 8, 8] }}
      precision: [int8]
      int8: {{ {int8} }}
",
        model.display()
    ))
}

/// Raw samples, one in a file.
fn samples(project: &Project, count: usize) {
    for at in 0..count {
        let sample: Vec<u8> = (0..64).flat_map(|_| 0.5_f32.to_le_bytes()).collect();
        project.write(&format!("samples/{at:02}.bin"), sample);
    }
}

fn run(project: &Project, tensorrt: &TensorRt, cuda: &Cuda) -> Ran {
    let mut command = project.command(&["run", "p.yaml"]);
    tensorrt.attach(&mut command);
    cuda.attach(&mut command);
    Ran::of(&command.output().unwrap(), project.path())
}

/// The text of a run that fails.
#[track_caller]
fn failure(project: &Project, cuda: &Cuda) -> String {
    let tensorrt = v8_6();
    let ran = run(project, &tensorrt, cuda);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(!project.file("build/p/engine").exists());
    // Without the frame and the way lines wrap.
    let words = ran.stderr.split(|c: char| c.is_whitespace() || c == '│');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn samples_give_a_cache_that_later_builds_need_no_samples_with() {
    for (tensorrt, calibrator, head) in [
        (v8_6(), "entropy", "TRT-8600-EntropyCalibration2\n"),
        (v10(), "minmax", "TRT-101303-MinMaxCalibration\n"),
    ] {
        let cuda = gpu();
        let first = project(&format!("calibrator: {calibrator}, data: samples"));
        samples(&first, 9);
        let ran = run(&first, &tensorrt, &cuda);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("the last 1 of the 9 calibration samples"), "{ran:?}");
        let cache = first.read("build/p/engine/calibration.cache");
        assert!(cache.starts_with(head), "{cache}");

        let second = project(&format!("calibrator: {calibrator}, cache: found.cache"));
        second.write("found.cache", &cache);
        assert_eq!(run(&second, &tensorrt, &cuda).status, 0);
        assert!(
            !second.file("build/p/engine/calibration.cache").exists(),
            "nothing was found anew"
        );
        tensorrt.assert_nothing_left();
    }
}

#[test]
fn a_cache_of_another_calibrator_is_refused_unless_there_are_samples() {
    let cache = "TRT-8600-MinMaxCalibration\nimage: 3c010a14\n";
    let alone = project("cache: found.cache");
    alone.write("found.cache", cache);
    let text = failure(&alone, &gpu());
    assert!(text.contains("was made by MinMaxCalibration"), "{text}");
    assert!(text.contains("or give `data`"), "{text}");

    let both = project("cache: found.cache, data: samples");
    both.write("found.cache", cache);
    samples(&both, 4);
    let ran = run(&both, &v8_6(), &gpu());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("calibrates anew"), "{ran:?}");
    let found = both.read("build/p/engine/calibration.cache");
    assert!(found.starts_with("TRT-8600-EntropyCalibration2\n"), "{found}");
}

#[test]
fn data_that_makes_no_batches_fails_the_build_with_the_counts() {
    let few = project("data: samples");
    samples(&few, 3);
    let text = failure(&few, &gpu());
    assert!(text.contains("has 3 of the 4 samples of one batch"), "{text}");
    assert!(text.contains("write `batch: 3` or less"), "{text}");

    let cut = project("data: samples");
    samples(&cut, 8);
    let sample = fs::read(cut.file("samples/05.bin")).unwrap();
    cut.write("samples/05.bin", &sample[..200]);
    let text = failure(&cut, &gpu());
    assert!(text.contains("05.bin` has 200 bytes, float32 [1,8,8] needs 256"), "{text}");

    let empty = project("data: samples");
    fs::create_dir(empty.file("samples")).unwrap();
    empty.write("samples/README", "to come");
    let text = failure(&empty, &gpu());
    assert!(text.contains("has no .npz, .npy, .bin or .raw files"), "{text}");
}

#[test]
fn a_gpu_that_fails_during_calibration_fails_the_build_with_cudas_words() {
    let project = project("data: samples");
    samples(&project, 8);
    let text = failure(&project, &gpu().with("FAIL", "cuMemcpyHtoDAsync_v2:2=999"));
    assert!(text.contains("failed to copy to the GPU: CUDA_ERROR_UNKNOWN"), "{text}");
}
