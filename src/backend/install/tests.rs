//! Installing small packages through a program that stands in for Python.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zip::write::FileOptions;

use crate::backend::library::fake::Fake;
use crate::backend::tensorrt::Flavor;
use crate::progress::NoProgress;

use super::catalog::Wheel;
use super::*;

/// A package and its library, of the versions that a runtime expects.
const RUNTIME: &str = "pkg/libtensorrt_rtx.so.1.7.1";
const PARSER: &str = "pkg/libtensorrt_onnxparser_rtx.so.1.7.1";

fn library() -> Vec<u8> {
    Fake::runtime("libtensorrt_rtx.so.1", "1_7_1_116").bytes()
}

fn parser() -> Vec<u8> {
    Fake::parser("libtensorrt_onnxparser_rtx.so.1").bytes()
}

/// An index of packages, a Python that downloads from it, and a folder to install into.
struct World {
    dir: TempDir,
    pip: Pip,
}

impl World {
    /// With a Python that does this for `pip download`; `$dest` and `$package` are set.
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("index");
        fs::create_dir_all(&index).unwrap();
        let python = dir.path().join("python3");
        let text = format!(
            "#!/bin/sh\nindex='{}'\n\
             while [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
             package=$1\necho \"$package\" >> \"$index/asked\"\n{script}\n",
            index.display()
        );
        fs::write(&python, text).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, pip: Pip { python } }
    }

    /// One that copies the package.
    fn honest() -> Self {
        Self::new("cp \"$index/$package.whl\" \"$dest/\"")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn runtimes(&self) -> PathBuf {
        self.path("runtimes")
    }

    /// Puts a package into the index.
    fn package(&self, name: &'static str, entries: &[(&str, &[u8])]) -> Wheel {
        let file: &'static str = format!("{name}.whl").leak();
        let path = self.path("index").join(file);
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        for (entry, content) in entries {
            let options = FileOptions::default().last_modified_time(zip::DateTime::default());
            archive.start_file(*entry, options).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        Wheel {
            package: name,
            python: "3.12",
            platform: "manylinux_2_28_x86_64",
            file,
            bytes: bytes.len() as u64,
            sha256: format!("{:x}", Sha256::digest(&bytes)).leak(),
            libraries: &["libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so", "libmath.so"],
            unpacked: entries.iter().map(|(_, content)| content.len() as u64).sum(),
        }
    }

    fn install(&self, wheels: Vec<Wheel>) -> Result<Installed, InstallError> {
        self.install_with(wheels, &NoProgress, &CancelToken::default())
    }

    fn install_with(
        &self,
        wheels: Vec<Wheel>,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Installed, InstallError> {
        install(&runtime(wheels), &self.runtimes(), &self.pip, progress, cancel)
    }

    /// The packages that Python was asked for.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("index/asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Every file below the folder of runtimes.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.runtimes()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(self.runtimes()).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }
}

fn runtime(wheels: Vec<Wheel>) -> Runtime {
    Runtime {
        name: "tensorrt-rtx",
        version: "1.7.1",
        product: Product::TensorRt(Flavor::Rtx),
        about: "",
        licence: Licence { name: "", must_be_accepted: false, terms: &[] },
        wheels: wheels.leak(),
    }
}

/// Phases, each once, in order.
#[derive(Default)]
struct Phases(Mutex<Vec<String>>);

impl Progress for Phases {
    fn report(&self, phase: &str, done: u64, total: Option<u64>) {
        assert!(total.is_some_and(|total| done <= total), "{phase}: {done} of {total:?}");
        let mut phases = self.0.lock().unwrap();
        if phases.last().is_none_or(|last| last != phase) {
            phases.push(phase.to_owned());
        }
    }
}

#[test]
fn libraries_and_licences_are_unpacked_and_nothing_else_stays() {
    let world = World::honest();
    let main = world.package(
        "main",
        &[
            (RUNTIME, &library()),
            (PARSER, &parser()),
            ("pkg/libunrelated.so", b"x"),
            ("pkg/__init__.py", b"import os"),
            ("main-1.dist-info/LICENSE.txt", b"terms"),
        ],
    );
    let math = world.package("math", &[("nvidia/lib/libmath.so.12", b"math")]);
    let phases = Phases::default();
    let found = world.install_with(vec![main, math], &phases, &CancelToken::default()).unwrap();
    assert_eq!(found.version, "1.7.1.116");
    assert_eq!(
        world.files(),
        [
            "tensorrt-rtx-1.7.1/libmath.so.12",
            "tensorrt-rtx-1.7.1/libtensorrt_onnxparser_rtx.so.1.7.1",
            "tensorrt-rtx-1.7.1/libtensorrt_rtx.so.1.7.1",
            "tensorrt-rtx-1.7.1/licenses/main/LICENSE.txt",
        ]
    );
    let expected = ["downloading main", "checking main", "downloading math", "checking math"];
    let expected = [&expected[..], &["unpacking main", "unpacking math"]].concat();
    assert_eq!(*phases.0.lock().unwrap(), expected);
    assert_eq!(installed(&runtime(vec![]), &world.runtimes()), Some(found));
}

#[test]
fn a_file_with_another_digest_is_refused_and_not_kept() {
    let world = World::honest();
    let mut wheel = world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    wheel.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
    let error = world.install(vec![wheel]).unwrap_err();
    assert!(matches!(error, InstallError::Digest { file: "main.whl", .. }), "{error}");
    assert_eq!(fs::read_dir(world.runtimes()).unwrap().count(), 0);
}

#[test]
fn what_was_downloaded_before_a_failure_is_not_downloaded_again() {
    let world = World::new(
        "[ -e \"$index/$package.whl\" ] || { echo 'ERROR: no network' >&2; exit 1; }\n\
         cp \"$index/$package.whl\" \"$dest/\"",
    );
    let package = || world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    let missing = || {
        let wheel = world.package("math", &[("libmath.so", b"math")]);
        fs::remove_file(world.path("index/math.whl")).unwrap();
        wheel
    };
    let error = world.install(vec![package(), missing()]).unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "pip exited with status 1 and did not download math; its last output:\n  \
         | ERROR: no network"
    );
    assert!(installed(&runtime(vec![]), &world.runtimes()).is_none());
    let math = world.package("math", &[("libmath.so", b"math")]);
    world.install(vec![package(), math]).unwrap();
    assert_eq!(world.asked(), ["main", "math", "math"]);
}

#[test]
fn a_kept_download_that_was_damaged_is_downloaded_again() {
    let world = World::honest();
    let partial = world.runtimes().join(".tensorrt-rtx-1.7.1.partial");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("main.whl"), b"half of it").unwrap();
    let wheel = world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    world.install(vec![wheel]).unwrap();
    assert_eq!(world.asked(), ["main"]);
}

#[test]
fn a_cancelled_download_ends_at_once_and_installs_nothing() {
    let world = World::new("echo started >> \"$index/started\"\nexec sleep 60");
    let wheel = world.package("main", &[(RUNTIME, &library())]);
    let cancel = CancelToken::default();
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !world.path("index/started").exists() {
                assert!(start.elapsed() < Duration::from_secs(30), "the download never started");
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel();
        });
        world.install_with(vec![wheel], &NoProgress, &cancel).unwrap_err()
    });
    assert!(matches!(error, InstallError::Cancelled { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(fs::read_dir(world.runtimes()).unwrap().count(), 0);
}

/// Cancels when a phase begins.
struct CancelAt<'a>(&'a str, &'a CancelToken);

impl Progress for CancelAt<'_> {
    fn report(&self, phase: &str, _done: u64, _total: Option<u64>) {
        if phase == self.0 {
            self.1.cancel();
        }
    }
}

#[test]
fn cancelled_while_unpacking_only_complete_downloads_stay() {
    let world = World::honest();
    let package = || world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    let cancel = CancelToken::default();
    let at = CancelAt("unpacking main", &cancel);
    let error = world.install_with(vec![package()], &at, &cancel).unwrap_err();
    let partial = world.runtimes().join(".tensorrt-rtx-1.7.1.partial");
    assert!(error.help().unwrap().contains(&partial.display().to_string()), "{error:?}");
    let [lock, wheel] =
        ["lock", "main.whl"].map(|file| format!(".tensorrt-rtx-1.7.1.partial/{file}"));
    assert_eq!(world.files(), [lock, wheel]);
    world.install(vec![package()]).unwrap();
    assert_eq!(world.asked(), ["main"]);
}

#[test]
fn packages_without_the_library_they_should_have_are_refused() {
    let world = World::honest();
    let other = Fake::runtime("libtensorrt_rtx.so.1", "1_6_0_9").bytes();
    let mut told = Vec::new();
    for entries in [
        &[("README", &b"nothing"[..])][..],
        &[(RUNTIME, &library())],
        &[(RUNTIME, &other), (PARSER, &parser())],
        &[(RUNTIME, &library()[..99]), (PARSER, &parser())],
    ] {
        let wheel = world.package("main", entries);
        let text = world.install(vec![wheel]).unwrap_err().to_string();
        told.push(text.replace(&world.dir.path().display().to_string(), "[dir]"));
        assert!(installed(&runtime(vec![]), &world.runtimes()).is_none());
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn no_entry_of_a_package_leaves_the_folder() {
    let world = World::honest();
    let wheel = world.package(
        "main",
        &[
            (RUNTIME, &library()),
            (PARSER, &parser()),
            ("../../../libmath.so.1", b"x"),
            ("/tmp/libmath.so.2", b"x"),
            ("../LICENSE", b"x"),
        ],
    );
    world.install(vec![wheel]).unwrap();
    let files = world.files();
    assert!(files.iter().all(|file| file.starts_with("tensorrt-rtx-1.7.1/")), "{files:?}");
    assert_eq!(files.len(), 5);
}

#[test]
fn a_damaged_installation_is_replaced() {
    let world = World::honest();
    let home = world.runtimes().join("tensorrt-rtx-1.7.1");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("libtensorrt_rtx.so.1.7.1"), b"half").unwrap();
    fs::write(home.join("leftover"), b"x").unwrap();
    assert!(installed(&runtime(vec![]), &world.runtimes()).is_none());
    let wheel = world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    world.install(vec![wheel]).unwrap();
    assert_eq!(world.files().len(), 2, "{:?}", world.files());
}

#[test]
fn a_second_process_is_kept_out() {
    let world = World::honest();
    let partial = world.runtimes().join(".tensorrt-rtx-1.7.1.partial");
    fs::create_dir_all(&partial).unwrap();
    let held = Lock::take(&partial).unwrap();
    let package = || world.package("main", &[(RUNTIME, &library()), (PARSER, &parser())]);
    let error = world.install(vec![package()]).unwrap_err();
    assert!(matches!(error, InstallError::Busy { .. }), "{error}");
    assert!(world.asked().is_empty());
    drop(held);
    world.install(vec![package()]).unwrap();
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_is_downloaded() {
    let world = World::honest();
    let mut wheel = world.package("main", &[(RUNTIME, &library())]);
    wheel.unpacked = 1 << 60;
    let error = world.install(vec![wheel]).unwrap_err();
    assert!(matches!(error, InstallError::NoSpace { needed, .. } if needed > 1 << 60), "{error}");
    assert!(world.asked().is_empty());
}
