//! Libraries of every sort, in every place.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::backend::library::fake::Fake;
use crate::backend::library::{Loader, Python, PythonError};

use super::*;

/// A folder with places in it, none of which has a library yet.
struct World {
    dir: TempDir,
    places: Places,
}

impl World {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            option: None,
            variable: None,
            runtimes: Some(dir.path().join("runtimes")),
            python: Some(Err(PythonError::Missing)),
            loader: Loader {
                variable: Some(dir.path().join("loader").into()),
                cache: dir.path().join("ld.so.cache"),
                folders: vec![dir.path().join("system")],
            },
        };
        Self { dir, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// TensorRT with its parser in a folder.
    fn standard(&self, folder: &str, version: &str) -> PathBuf {
        Fake::parser("libnvonnxparser.so.10").write(&self.path(folder), "libnvonnxparser.so.10");
        let fake = Fake::runtime("libnvinfer.so.10", version);
        fake.write(&self.path(folder), "libnvinfer.so.10")
    }

    fn rtx(&self, folder: &str, version: &str) -> PathBuf {
        let fake = Fake::runtime("libtensorrt_rtx.so.1", version);
        fake.write(&self.path(folder), "libtensorrt_rtx.so.1")
    }

    /// Finds what a text such as `rtx >=1.7` asks for: a product, a version, both or nothing.
    fn find(&self, wanted: &str) -> Result<Found, DiscoverError> {
        let mut selection = TensorRtSelection::default();
        for word in wanted.split_whitespace() {
            match word {
                "standard" => selection.flavor = Some(Flavor::Standard),
                "rtx" => selection.flavor = Some(Flavor::Rtx),
                version => selection.version = Some(version.parse().unwrap()),
            }
        }
        find_in(&self.places, &selection)
    }

    /// The error, with the folder's name taken out.
    fn refusal(&self, selection: &str) -> String {
        let error = self.find(selection).unwrap_err();
        let text = format!("{error}\nhelp: {}", error.help());
        text.replace(&self.dir.path().display().to_string(), "[dir]")
    }
}

fn examine(fake: &Fake, name: &str) -> Result<Found, LibraryError> {
    let dir = tempfile::tempdir().unwrap();
    library::examine(&fake.write(dir.path(), name), Source::Option)
}

#[test]
fn product_version_and_generation_are_read_from_the_file() {
    for (soname, version, flavor, generation) in [
        ("libnvinfer.so.8", "8_6_0_12", Flavor::Standard, Generation::V8_6),
        ("libnvinfer.so.10", "10_13_3_9", Flavor::Standard, Generation::V10),
        ("libnvinfer.so.11", "11_4_0_106", Flavor::Standard, Generation::V11),
        ("libtensorrt_rtx.so.1", "1_4_0_76", Flavor::Rtx, Generation::Rtx1_4),
        ("libtensorrt_rtx.so.1", "1_7_1_116", Flavor::Rtx, Generation::Rtx1),
    ] {
        // What it is called by its linker counts, not the name of the file.
        let found = examine(&Fake::runtime(soname, version), "renamed").unwrap();
        assert_eq!((found.flavor, found.generation), (flavor, generation), "{soname}");
        assert_eq!(found.version.to_string(), version.replace('_', "."));
        assert_eq!(found.build_id.as_deref(), Some("abcd0102"));
        assert_eq!((&found.warning, &found.parser), (&None, &None));
    }
}

#[test]
fn a_newer_minor_version_is_used_with_a_warning() {
    let found = examine(&Fake::runtime("libnvinfer.so.10", "10_99_0_1"), "x").unwrap();
    assert_eq!(found.generation, Generation::V10);
    insta::assert_snapshot!(found.warning.unwrap());
}

#[test]
fn every_sort_of_wrong_file_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Fake::runtime("libnvinfer.so.10", "10_3_0_26");
    let bytes = runtime.bytes();
    let mut told = Vec::new();
    let mut tell = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = library::examine(&path, Source::Option).unwrap_err();
        told.push(format!("{error}\n  help: {}\n", error.help()));
    };
    tell("empty.so", b"");
    tell("text.so", b"INPUT(libnvinfer.so.10)\n");
    tell("wheel.whl", b"PK\x03\x04....");
    tell("archive.tar.gz", b"\x1f\x8b....");
    tell("pointer.so", b"version https://git-lfs.github.com/spec/v1\n");
    tell("other.so", b"\0\x01\x02\x03");
    tell("start.so", &bytes[..20]);
    tell("half.so", &bytes[..bytes.len() / 2]);
    let mut wrong = bytes.clone();
    wrong[4] = 1;
    tell("narrow.so", &wrong);
    tell("foreign.so", &Fake { machine: 20, ..runtime.clone() }.bytes());
    wrong = bytes.clone();
    wrong[16] = 2;
    tell("program", &wrong);
    wrong = bytes.clone();
    wrong[62] = 99;
    tell("damaged.so", &wrong);
    tell("libz.so.1", &Fake::new("libz.so.1", &["inflate"]).bytes());
    tell("parser.so", &Fake::parser("libnvonnxparser.so.10").bytes());
    tell("plugin.so", &Fake::new("libnvinfer_plugin.so.10", &["initLibNvInferPlugins"]).bytes());
    let lean = Fake::new("libnvinfer_lean.so.10", &["tensorrt_version_10_3_0_26"]);
    tell("lean.so", &lean.bytes());
    tell("new.so", &Fake::runtime("libnvinfer.so.12", "12_0_0_1").bytes());
    tell("old.so", &Fake::runtime("libnvinfer.so.8", "8_5_3_1").bytes());
    let text = told.concat().replace(&dir.path().display().to_string(), "[dir]");
    insta::assert_snapshot!(text.replace(std::env::consts::ARCH, "[arch]"));
}

#[test]
fn a_file_cut_off_or_damaged_anywhere_is_an_error_or_read_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libnvinfer.so.10");
    let bytes = Fake::runtime("libnvinfer.so.10", "10_3_0_26").bytes();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        library::examine(&path, Source::Option).unwrap_err();
    }
    for at in 0..bytes.len() {
        for value in [0, 0xff, bytes[at] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            fs::write(&path, &damaged).unwrap();
            let _ = library::examine(&path, Source::Option);
        }
    }
}

#[test]
fn parts_are_those_beside_it_of_the_same_version() {
    let world = World::empty();
    let runtime = world.standard("loader", "10_3_0_26");
    let folder = runtime.parent().unwrap();
    for name in [
        "libnvinfer_plugin.so.8",
        "libnvinfer_plugin.so.10",
        "libnvinfer_plugin.so.10.3.0",
        "libnvinfer_lean.so.10.5.0",
        "libnvinfer_dispatch.so",
        "libnvonnxparser.so.10.x",
    ] {
        fs::write(folder.join(name), b"").unwrap();
    }
    let found = world.find("").unwrap();
    assert_eq!(found.runtime, runtime);
    assert_eq!(found.parser().unwrap(), folder.join("libnvonnxparser.so.10"));
    assert_eq!(found.plugin, Some(folder.join("libnvinfer_plugin.so.10.3.0")));
    assert_eq!(found.lean, Some(folder.join("libnvinfer_lean.so.10.5.0")));
    assert_eq!(found.dispatch, None, "a name without a version may be of any");
}

#[test]
fn a_missing_parser_is_an_error_where_it_is_asked_for() {
    let world = World::empty();
    world.rtx("loader", "1_7_1_116");
    let error = world.find("").unwrap().parser().unwrap_err();
    let text = format!("{error}\nhelp: {}", error.help());
    insta::assert_snapshot!(text.replace(&world.dir.path().display().to_string(), "[dir]"));
}

#[test]
fn earlier_places_go_before_later_ones() {
    let mut world = World::empty();
    world.standard("system", "10_9_0_1");
    world.standard("loader", "10_8_0_1");
    let source = |world: &World| {
        let found = world.find("").unwrap();
        (found.source, found.version.minor)
    };
    assert_eq!(source(&world), (Source::LibraryPath, 8));
    world.standard("runtimes/tensorrt-10.7", "10_7_0_1");
    assert_eq!(source(&world), (Source::Installed, 7));
    world.standard("variable", "10_6_0_1");
    world.places.variable = Some(world.path("variable").into());
    assert_eq!(source(&world), (Source::Variable, 6));
    world.places.option = Some(world.standard("option", "10_5_0_1"));
    assert_eq!(source(&world), (Source::Option, 5));
    world.standard("vendor/lib", "10_4_0_1");
    let library = Some(world.path("vendor"));
    let selection = TensorRtSelection { library, ..TensorRtSelection::default() };
    let found = find_in(&world.places, &selection).unwrap();
    assert_eq!((found.source, found.version.minor), (Source::Spec, 4), "NVIDIA's archive");
}

#[test]
fn packages_of_python_are_looked_into() {
    let mut world = World::empty();
    let site = world.path("site-packages");
    let fake = Fake::runtime("libtensorrt_rtx.so.1", "1_7_1_116");
    let package = site.join("onnxruntime_ep_nv_tensorrt_rtx");
    let file = fake.write(&package, "libtensorrt_rtx.so.1.7.1");
    fake.write(&site.join("unrelated"), "libtensorrt_rtx.so.1.7.1");
    let program = PathBuf::from("/usr/bin/python3");
    world.places.python =
        Some(Ok(Python { program, version: "3.12.1".to_owned(), folders: vec![site] }));
    let looked = places::look(&world.places, Source::Python);
    assert_eq!(looked.libraries.len(), 1, "{looked:?}");
    let found = world.find("").unwrap();
    assert_eq!((found.source, found.runtime), (Source::Python, file));
}

#[test]
fn the_newest_of_a_place_that_is_wanted_is_used() {
    let world = World::empty();
    for (folder, version) in
        [("a", "10_9_0_1"), ("b", "10_13_0_35"), ("c", "10_13_3_9"), (".d", "10_14_0_1")]
    {
        world.standard(&format!("runtimes/{folder}"), version);
    }
    let found = |spec: &str| world.find(spec).unwrap().version.to_string();
    assert_eq!(found(""), "10.13.3.9", "an unfinished installation does not count");
    assert_eq!(found("<10.13.3"), "10.13.0.35");
    assert_eq!(found("10.9"), "10.9.0.1");
    world.standard("loader", "10_6_0_1");
    assert_eq!(found("10.6"), "10.6.0.1", "a later place has it");
}

#[test]
fn a_library_with_several_names_is_seen_once() {
    let world = World::empty();
    let file = world.standard("loader", "10_3_0_26");
    fs::rename(&file, world.path("loader/libnvinfer.so.10.3.0")).unwrap();
    for name in ["libnvinfer.so.10", "libnvinfer.so"] {
        symlink("libnvinfer.so.10.3.0", world.path("loader").join(name)).unwrap();
    }
    let looked = places::look(&world.places, Source::LibraryPath);
    assert_eq!(looked.libraries.len(), 1);
    assert_eq!(looked.libraries[0].path, file);
}

#[test]
fn two_products_need_a_choice() {
    let mut world = World::empty();
    world.standard("runtimes/tensorrt-10.3", "10_3_0_26");
    world.rtx("system", "1_7_1_116");
    insta::assert_snapshot!(world.refusal(""));
    assert_eq!(world.find("rtx").unwrap().source, Source::System);
    assert_eq!(world.find("standard").unwrap().source, Source::Installed);
    let by_version = world.find("<2").unwrap();
    assert_eq!(by_version.flavor, Flavor::Rtx, "a version can be a choice too");
    world.rtx("both", "1_7_1_116");
    world.standard("both", "10_3_0_26");
    world.places.variable = Some(world.path("both").into());
    assert!(matches!(world.find(""), Err(DiscoverError::Ambiguous { .. })));
    assert_eq!(world.find("rtx").unwrap().source, Source::Variable);
}

#[test]
fn what_was_named_is_used_or_refused_and_nothing_else_is_looked_at() {
    let mut world = World::empty();
    world.standard("system", "10_3_0_26");
    world.places.variable = Some(world.rtx("named", "1_7_1_116").into());
    let mut told = Vec::new();
    for spec in ["standard", ">=10"] {
        told.push(world.refusal(spec));
    }
    for named in ["nowhere", "named/sub"] {
        fs::create_dir_all(world.path("named/sub")).unwrap();
        world.places.variable = Some(world.path(named).into());
        told.push(world.refusal(""));
    }
    world.places.variable = Some("".into());
    assert_eq!(world.find("").unwrap().source, Source::System, "empty is not set");
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_library_that_cannot_be_used_does_not_hide_one_that_can() {
    let world = World::empty();
    Fake::runtime("libnvinfer.so.12", "12_0_0_1").write(&world.path("loader"), "libnvinfer.so.12");
    world.standard("system", "10_3_0_26");
    assert_eq!(world.find("").unwrap().source, Source::System);
}

#[test]
fn where_nothing_fits_every_place_is_told_with_its_reason() {
    let world = World::empty();
    insta::assert_snapshot!("nothing_anywhere", world.refusal(""));
    Fake::runtime("libnvinfer.so.12", "12_0_0_1").write(&world.path("loader"), "libnvinfer.so.12");
    world.standard("loader", "10_3_0_26");
    world.rtx("system", "1_7_1_116");
    let spec = "standard 11";
    insta::assert_snapshot!("nothing_that_fits", world.refusal(spec));
}

#[test]
fn facts_name_the_library_and_its_parser_by_content() {
    let world = World::empty();
    world.standard("loader", "10_3_0_26");
    let found = world.find("").unwrap();
    let facts = tool_facts(&found).unwrap();
    let text: Vec<String> = facts.iter().map(|(name, fact)| format!("{name}={fact}")).collect();
    assert_eq!(
        text,
        [
            "onnx_parser=abcd0102",
            "tensorrt=10.3.0.26",
            "tensorrt_build=abcd0102",
            "tensorrt_flavor=standard"
        ]
    );
    // Without a digest of the linker's, the content is read.
    let mut parser = Fake { build_id: None, ..Fake::parser("libnvonnxparser.so.10") };
    parser.write(&world.path("loader"), "libnvonnxparser.so.10");
    let before = tool_facts(&found).unwrap().remove("onnx_parser").unwrap();
    assert_eq!(before.len(), 64);
    parser.exports.push("another".to_owned());
    parser.write(&world.path("loader"), "libnvonnxparser.so.10");
    assert_ne!(tool_facts(&found).unwrap()["onnx_parser"], before);
}
