//! Bad libraries, engines, settings and endings of TensorRT, as people meet them: through the
//! program, over the stand-ins. What is refused says so, and stores nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::standin::Cuda;
use crate::standin::tensorrt::TensorRt;
use crate::support::{Project, Ran, fixture, with_filters};
use crate::tensorrt_engines::{gpu, rtx, v8_6, v10};

mod endings;
mod engines;
mod files;

/// The profile of the digits.
const IMAGES: &str = "{ image: { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [32, 1, 8, 8] } }";

/// A project that builds the digits, on a machine with a GPU and a TensorRT, whose folder is
/// `tensorrt` there: where messages wrap must not depend on where the stand-ins are.
struct Machine {
    project: Project,
    tensorrt: TensorRt,
    cuda: Cuda,
}

impl Machine {
    /// `settings` are lines below `build:`, each indented by six.
    fn new(tensorrt: TensorRt, settings: &str) -> Self {
        let machine = Self { project: Project::empty(), tensorrt, cuda: gpu() };
        machine.project.copy(&fixture("tensorrt/digits_fp32.onnx"), "model.onnx");
        symlink(machine.tensorrt.folder(), machine.project.file("tensorrt")).unwrap();
        machine.build(IMAGES, settings);
        machine
    }

    /// Writes the spec.
    fn build(&self, profile: &str, settings: &str) {
        let spec = format!(
            "version: 1\nname: p\nstages:\n  engine:\n    build:\n      from: {{ file: model.onnx, \
             kind: model }}\n      backend: tensorrt\n      profiles: [{profile}]\n{settings}"
        );
        self.project.write("p.yaml", spec);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        self.tensorrt.attach(&mut command);
        self.cuda.attach(&mut command);
        command.env("TRT_PIPELINE_TENSORRT", self.project.file("tensorrt"));
        command
    }

    fn trt(&self, args: &[&str]) -> Ran {
        self.ran(&mut self.command(args))
    }

    fn ran(&self, command: &mut Command) -> Ran {
        Ran::of(&command.output().unwrap(), self.project.path())
    }

    /// `run`, which must end with this status and leave nothing; what a person sees of it.
    #[track_caller]
    fn fails(&self, status: i32) -> String {
        let ran = self.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, status, "{ran:#?}");
        self.left_nothing();
        ran.seen()
    }

    /// `run`, which must succeed; what it warns of.
    #[track_caller]
    fn warns(&self) -> String {
        let ran = self.trt(&["run", "p.yaml", "--format", "json"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        let at = |line: &str| line.find("WARN").map(|at| line[at..].to_owned() + "\n");
        ran.stderr.lines().filter_map(at).collect()
    }

    /// Nothing is stored, and nothing half-written or still at work.
    #[track_caller]
    fn left_nothing(&self) {
        assert_eq!(self.project.stored(), [""; 0]);
        let scratch = fs::read_dir(self.project.file(".trt-pipeline/tmp"));
        assert_eq!(scratch.map_or(0, Iterator::count), 0, "scratch folders are removed");
        assert!(!self.project.file("build").exists());
        self.nobody_compiles();
    }

    /// No process compiles for this project, or at least none does in a moment.
    #[track_caller]
    fn nobody_compiles(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.compilers() > 0 {
            assert!(Instant::now() < deadline, "a compiling process still runs");
            std::thread::yield_now();
        }
    }

    /// How many processes compile for this project.
    fn compilers(&self) -> usize {
        let folder = self.project.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let compiles = |process: &fs::DirEntry| {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            command.contains("compile-tensorrt") && command.contains(folder)
        };
        processes.filter(compiles).count()
    }

    fn pipe(&self, name: &str) {
        let path = self.project.file(name);
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
}

#[test]
fn what_is_no_library_is_told_apart_and_never_waited_for() {
    let machine = Machine::new(v10(), "");
    let project = &machine.project;
    let runtime = fs::read(machine.tensorrt.runtime()).unwrap();
    let name = "libnvinfer.so.10";
    machine.pipe("pipe");
    fs::create_dir(project.file("folder-with-a-pipe")).unwrap();
    machine.pipe(&format!("folder-with-a-pipe/{name}"));
    symlink("loop", project.file("loop")).unwrap();
    fs::create_dir_all(project.file("folder-with-a-folder").join(name)).unwrap();
    project.write(&format!("text/{name}"), "no library\n");
    fs::File::create(project.file("zeros")).unwrap().set_len(3 << 30).unwrap();
    project.write(&format!("cut/{name}"), &runtime[..runtime.len() / 2]);
    project.write(&format!("without-parser/{name}"), &runtime);
    project.write(&format!("text-for-parser/{name}"), &runtime);
    project.write("text-for-parser/libnvonnxparser.so.10", "no parser\n");
    let both = project.file("both");
    fs::create_dir(&both).unwrap();
    for library in [machine.tensorrt.runtime(), rtx().runtime()] {
        symlink(&library, both.join(library.file_name().unwrap())).unwrap();
    }
    let mut seen = String::new();
    for library in [
        "pipe",
        "folder-with-a-pipe",
        "loop",
        "folder-with-a-folder",
        "text",
        "zeros",
        "cut",
        "without-parser",
        "text-for-parser",
        "both",
    ] {
        let mut command = machine.command(&["run", "p.yaml"]);
        let ran = machine.ran(command.env("TRT_PIPELINE_TENSORRT", project.file(library)));
        assert_eq!(ran.status, 3, "{library}: {ran:#?}");
        machine.left_nothing();
        seen += &format!("== {library}\n{}\n", told(&ran));
    }
    let sizes = format!("{} bytes of {} or more", runtime.len() / 2, runtime.len());
    let seen = seen.replace(&sizes, "[half] bytes of [all] or more");
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_libraries", seen));
}

/// The message and the help of a failed stage, without the place.
fn told(ran: &Ran) -> String {
    let lines = ran.stderr.lines().filter(|line| {
        let start = line.trim_start();
        ["×", "│", "help:"].iter().any(|sign| start.starts_with(sign)) || line.starts_with("     ")
    });
    let of_the_spec = |line: &&str| !line.contains('·') && !line.contains('┬');
    lines.filter(of_the_spec).collect::<Vec<_>>().join("\n")
}

#[test]
fn ranges_that_no_tensor_has_are_spec_errors() {
    let machine = Machine::new(v10(), "");
    let refused = |profile: &str| {
        machine.build(profile, "");
        machine.fails(2)
    };
    let profile = |max: &str| {
        format!("{{ image: {{ min: [1, 1, 8, 8], opt: [1, 1, 8, 8], max: [{max}, 1, 8, 8] }} }}")
    };
    let seen = [
        // More than a signed integer holds, and as many as it holds but 64 times.
        refused(&profile("18446744073709551615")),
        refused(&profile("9223372036854775807")),
        refused(&profile("18446744073709551616")),
        refused("{ image: { min: [0, 1, 8, 8], opt: [1, 1, 8, 8], max: [2, 1, 8, 8] } }"),
        refused("{ image: { min: [-1, 1, 8, 8], opt: [1, 1, 8, 8], max: [2, 1, 8, 8] } }"),
    ];
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_ranges", seen.join("\n")));
}

#[test]
fn a_model_with_a_name_that_tensorrt_cannot_tell_is_refused() {
    let machine = Machine::new(v10(), "");
    let mut model = fs::read(machine.project.file("model.onnx")).unwrap();
    let name = b"image";
    for at in 0..model.len() - name.len() {
        if model[at..].starts_with(name) {
            model[at + 2] = 0;
        }
    }
    machine.project.write("model.onnx", model);
    machine
        .build("{ \"im\\0ge\": { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [32, 1, 8, 8] } }", "");
    let seen = machine.fails(1);
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_name", seen));
}

/// Whether a file of the project is there.
fn exists(machine: &Machine, file: &str) -> bool {
    Path::new(&machine.project.file(file)).exists()
}
