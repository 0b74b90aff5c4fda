//! The stand-in for the CUDA driver, and processes that load it in place of the real one.
//!
//! A process loads one driver, once, so every test of it is a process: this test binary started
//! again for one test, or the program. A C compiler (`cc`) makes the stand-in, with the further
//! flags in `STANDIN_CFLAGS`.

use std::any::type_name;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::repository;

pub mod tensorrt;

/// What [`Cuda::live`] tells of a process that released everything.
pub const NOTHING: &str = "contexts=0 streams=0 events=0 device=0 pinned=0 graphs=0 executables=0";

/// Set in processes that [`Cuda::run`] starts.
const CHILD: &str = "TRT_PIPELINE_STANDIN_CHILD";

/// A stand-in driver for one process, with its settings.
pub struct Cuda {
    library: Library,
    settings: Vec<(String, String)>,
    leaves: Option<&'static str>,
    has_nvml: bool,
    scratch: TempDir,
}

impl Cuda {
    /// One device; everything works.
    pub fn new() -> Self {
        Self::of(Library::StandIn)
    }

    /// A library that is no driver.
    pub fn empty() -> Self {
        Self::of(Library::Empty)
    }

    /// No driver, on a machine that has one too.
    pub fn missing() -> Self {
        Self::of(Library::Missing)
    }

    fn of(library: Library) -> Self {
        let scratch = TempDir::new().unwrap();
        Self { library, settings: Vec::new(), leaves: Some(NOTHING), has_nvml: false, scratch }
    }

    /// Sets `STANDIN_CUDA_{name}`; `tests/standin/cuda.c` lists them.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.settings.push((format!("STANDIN_CUDA_{name}"), value.to_string()));
        self
    }

    /// Sets a variable of another library.
    pub fn and(mut self, variable: &str, value: impl Display) -> Self {
        self.settings.push((variable.to_owned(), value.to_string()));
        self
    }

    /// With NVML beside the driver; `tests/standin/nvml.c` lists its settings.
    pub fn with_nvml(mut self) -> Self {
        self.has_nvml = true;
        self
    }

    /// For [`Self::run`]: objects are left at exit.
    pub fn leaving(mut self, objects: &'static str) -> Self {
        self.leaves = Some(objects);
        self
    }

    /// For [`Self::run`]: no driver is started.
    pub fn unstarted(mut self) -> Self {
        self.leaves = None;
        self
    }

    /// Makes a process load this driver.
    pub fn attach(&self, command: &mut Command) {
        let mut path = self.library.folder().as_os_str().to_owned();
        path.push(OsString::from(":"));
        path.push(nvml(self.has_nvml));
        if let Some(folders) = std::env::var_os("LD_LIBRARY_PATH") {
            path.push(OsString::from(":"));
            path.push(folders);
        }
        command.env("LD_LIBRARY_PATH", path).env("STANDIN_CUDA_REPORT", self.report());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// The objects a process had at exit, or `None` where it started no driver.
    pub fn live(&self) -> Option<String> {
        fs::read_to_string(self.report()).ok()
    }

    /// Runs the rest of a test, once per test, in a process of its own that loads this driver and
    /// must succeed and leave nothing. The body must be a closure in the test's function, whose
    /// name is taken from it.
    #[track_caller]
    pub fn run<F: FnOnce()>(&self, body: F) {
        if std::env::var_os(CHILD).is_some() {
            return body();
        }
        let closure = type_name::<F>().strip_suffix("::{{closure}}").unwrap();
        let (_, test) = closure.split_once("::").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.attach(command.args(["--exact", test, "--nocapture"]).env(CHILD, test));
        let output = command.output().unwrap();
        let said = both(&output);
        assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
        assert_eq!(self.live().as_deref(), self.leaves, "{test}: {said}");
    }

    /// Compiles a C program of these statements against this driver and runs it.
    pub fn c_program(&self, statements: &str) -> Output {
        let (source, program) = (self.scratch.path().join("a.c"), self.scratch.path().join("a"));
        fs::write(&source, format!("{DECLARATIONS}int main(void) {{ {statements} }}")).unwrap();
        let library = self.library.folder().join(NAMES[0]);
        cc(Command::new("cc").args(flags()).arg("-o").args([&program, &source, &library]));
        let mut command = Command::new(&program);
        self.attach(&mut command);
        command.output().unwrap()
    }

    fn report(&self) -> PathBuf {
        self.scratch.path().join("live")
    }
}

/// The names that programs load the driver by.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// What a process finds under those names.
enum Library {
    StandIn,
    Empty,
    Missing,
}

impl Library {
    /// The folder to look in, made when it is first needed.
    fn folder(&self) -> &'static Path {
        static STAND_IN: OnceLock<PathBuf> = OnceLock::new();
        static EMPTY: OnceLock<PathBuf> = OnceLock::new();
        static MISSING: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Self::StandIn => STAND_IN.get_or_init(|| {
                compiled("cuda", &repository().join("tests/standin/cuda.c"), &NAMES)
            }),
            Self::Empty => EMPTY.get_or_init(|| compiled("empty", Path::new("/dev/null"), &NAMES)),
            Self::Missing => MISSING.get_or_init(|| not_libraries("missing", &NAMES)),
        }
    }
}

/// The folder with a stand-in for NVML, or with what ends the loader's search for one.
fn nvml(is_there: bool) -> &'static Path {
    static STAND_IN: OnceLock<PathBuf> = OnceLock::new();
    static MISSING: OnceLock<PathBuf> = OnceLock::new();
    const NAME: &str = "libnvidia-ml.so.1";
    if is_there {
        let source = repository().join("tests/standin/nvml.c");
        return STAND_IN.get_or_init(|| compiled("nvml", &source, &[NAME]));
    }
    MISSING.get_or_init(|| not_libraries("no-nvml", &[NAME]))
}

/// A folder in which these names are no libraries: that ends the loader's search.
fn not_libraries(name: &str, names: &[&str]) -> PathBuf {
    let folder = folder(name);
    for name in names {
        fs::write(folder.join(name), "not a library").unwrap();
    }
    folder
}

/// What a C program needs to misuse the driver.
const DECLARATIONS: &str = "#include <stddef.h>
typedef void *P; typedef unsigned long long D;
int cuInit(unsigned), cuDevicePrimaryCtxRetain(P *, int), cuDevicePrimaryCtxRelease_v2(int),
    cuCtxSetCurrent(P), cuMemAlloc_v2(D *, size_t), cuMemFree_v2(D), cuStreamCreate(P *, unsigned),
    cuStreamDestroy_v2(P), cuStreamSynchronize(P), cuMemsetD8Async(D, unsigned char, size_t, P);
";

/// Compiles a library that programs find under these names; they know it by the last.
fn compiled(name: &str, source: &Path, names: &[&str]) -> PathBuf {
    let folder = folder(name);
    // Other processes may be loading the last one: the new one takes its place in one step.
    let fresh = TempDir::new_in(&folder).unwrap();
    let library = fresh.path().join("library");
    let usual = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-shared", "-fPIC"];
    let mut command = Command::new("cc");
    let soname = format!("-Wl,-soname,{}", names.last().unwrap());
    command.args(usual).args(flags()).args(["-pthread", &soname, "-x", "c"]);
    cc(command.arg(source).arg("-o").arg(&library));
    for name in names {
        let link = fresh.path().join(name);
        fs::hard_link(&library, &link).unwrap();
        fs::rename(link, folder.join(name)).unwrap();
    }
    folder
}

fn cc(command: &mut Command) {
    let output = command.output().expect("the stand-in needs a C compiler, `cc`");
    assert!(output.status.success(), "{}", both(&output));
}

/// Flags beside the usual ones, such as those of a sanitizer.
fn flags() -> Vec<String> {
    let flags = std::env::var("STANDIN_CFLAGS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

/// A folder for libraries that were made with the same flags.
fn folder(name: &str) -> PathBuf {
    let made = format!("standin{}", flags().concat());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(made).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
