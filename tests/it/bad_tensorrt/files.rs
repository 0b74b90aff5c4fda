//! Bad files beside the model: samples, calibration caches, timing caches, plug-ins.

use trt_pipeline::data::write_npz;
use trt_pipeline::tensor::{Shape, Tensor};

use super::*;

#[test]
fn a_sample_with_a_value_that_is_no_number_is_named() {
    for value in [f32::NAN, f32::INFINITY] {
        let machine =
            Machine::new(v8_6(), "      precision: [int8]\n      int8: { data: samples.npz }\n");
        let mut pixels = vec![0.5; 64 * 16];
        pixels[64 * 13 + 7] = value;
        let image = Tensor::from_f32(Shape(vec![16, 1, 8, 8]), &pixels).unwrap();
        write_npz(&machine.project.file("samples.npz"), [("image", &image)]).unwrap();
        let seen = machine.fails(1);
        with_filters(|| insta::assert_snapshot!("bad_tensorrt_sample", seen));
    }
}

#[test]
fn a_calibration_cache_that_cannot_be_used_is_refused_at_its_place() {
    let machine =
        Machine::new(v8_6(), "      precision: [int8]\n      int8: { cache: calibration }\n");
    let mut seen = String::new();
    for cache in [
        &b""[..],
        b"garbage \x1b[31m\xff",
        b"TRT-8600-MinMaxCalibration\nimage: 3c010a14\n",
        b"TRT-8600-EntropyCalibration2\n",
        b"TRT-8600-EntropyCalibration2\nimage: 7fc00000\n",
    ] {
        machine.project.write("calibration", cache);
        seen += &machine.fails(1);
    }
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_calibration_cache", seen));
}

#[test]
fn a_timing_cache_that_cannot_be_had_is_a_warning() {
    let mut seen = String::new();
    for (name, make) in [
        (
            "garbage",
            (|machine| fs::write(machine.project.file("timings"), [7; 5000]).unwrap())
                as fn(&Machine),
        ),
        ("folder", |machine| fs::create_dir(machine.project.file("timings")).unwrap()),
        ("pipe", |machine| machine.pipe("timings")),
        ("below a file", |machine| symlink("p.yaml/x", machine.project.file("timings")).unwrap()),
    ] {
        let machine = Machine::new(v10(), "      tensorrt: { timing_cache: timings }\n");
        make(&machine);
        seen += &format!("== {name}\n{}", machine.warns());
    }
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_timing_cache", seen));
}

#[test]
fn a_file_where_the_slots_of_gpus_are_is_named() {
    let machine = Machine::new(v10(), "");
    machine.warns();
    fs::remove_dir_all(machine.project.file(".trt-pipeline/kept")).unwrap();
    machine.project.write(".trt-pipeline/kept", "in the way");
    let ran = machine.trt(&["run", "p.yaml", "--force", "--format", "json"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let named = "cannot lock the GPU: `[dir]/.trt-pipeline/kept`: File exists";
    assert!(ran.stdout.contains(named), "{ran:#?}");
}
