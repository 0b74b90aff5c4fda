//! Unit tests with the stand-in for the CUDA driver (`tests/standin/cuda.c`), each in a process of
//! its own: a process loads one driver, once. `STANDIN_CFLAGS` are further flags for the C compiler.

use std::any::type_name;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Set in the processes that [`with_driver`] starts.
const CHILD: &str = "TRT_PIPELINE_STANDIN_CHILD";

/// What a process reports that released everything.
const NOTHING: &str = "contexts=0 streams=0 events=0 device=0 pinned=0 graphs=0 executables=0";

/// Runs the rest of a test, once per test, in a process that loads the stand-in with these settings
/// and must succeed and release everything, of a stand-in for TensorRT too. The body must be a
/// closure in the test's function, whose name is taken from it.
#[track_caller]
pub(crate) fn with_driver<F: FnOnce()>(settings: &[(&str, &str)], body: F) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let closure = type_name::<F>().strip_suffix("::{{closure}}").unwrap();
    let (_, test) = closure.split_once("::").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    compile(&folder.path().join("libcuda.so"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, test);
    command.env("LD_LIBRARY_PATH", folder.path()).env("STANDIN_CUDA_REPORT", &report);
    let objects = folder.path().join("objects");
    command.env("STANDIN_TENSORRT_REPORT", &objects).envs(settings.iter().copied());
    let output = command.output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
    if let Ok(report) = fs::read_to_string(report) {
        assert_eq!(report, NOTHING, "{test}: {said}");
    }
    for line in fs::read_to_string(objects).unwrap_or_default().lines() {
        assert!(line.contains("\"live\":{}"), "{test}: {line}");
    }
}

fn compile(library: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin/cuda.c");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1"]);
    cc.args(std::env::var("STANDIN_CFLAGS").unwrap_or_default().split_whitespace());
    let output = cc.arg(source).arg("-o").arg(library).output();
    let output = output.expect("the stand-in needs a C compiler, `cc`");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
