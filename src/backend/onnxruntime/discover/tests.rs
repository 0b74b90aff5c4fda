//! Libraries of every sort, in every place.

use std::fs;

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

    /// A library of a version in a folder.
    fn library(&self, folder: &str, version: &str) -> PathBuf {
        let fake = Fake::new("libonnxruntime.so.1", &["OrtGetApiBase"]);
        fake.write(&self.path(folder), &format!("libonnxruntime.so.{version}"))
    }

    fn found(&self) -> (Source, String) {
        let found = find_in(&self.places).unwrap();
        (found.source, found.version)
    }

    /// The error, with the folder's name taken out.
    fn refusal(&self) -> String {
        let error = find_in(&self.places).unwrap_err();
        let text = format!("{error}\nhelp: {}\n", error.help());
        text.replace(&self.dir.path().display().to_string(), "[dir]")
    }
}

#[test]
fn earlier_places_go_before_later_ones_and_newer_libraries_before_older_ones() {
    let mut world = World::empty();
    let of = |source, version: &str| (source, version.to_owned());
    world.library("system", "1.30.0");
    assert_eq!(world.found(), of(Source::System, "1.30.0"));
    world.library("loader", "1.29.0");
    assert_eq!(world.found(), of(Source::LibraryPath, "1.29.0"));
    let site = world.path("site-packages");
    world.library("site-packages/onnxruntime/capi", "1.28.0");
    world.library("site-packages/unrelated/capi", "1.40.0");
    let program = PathBuf::from("/usr/bin/python3");
    world.places.python =
        Some(Ok(Python { program, version: "3.12.1".to_owned(), folders: vec![site] }));
    assert_eq!(world.found(), of(Source::Python, "1.28.0"));
    for version in ["1.26.0", "1.27.10", "1.27.9"] {
        world.library(&format!("runtimes/onnxruntime-{version}"), version);
    }
    world.library("runtimes/.onnxruntime-1.31.0.partial", "1.31.0");
    assert_eq!(world.found(), of(Source::Installed, "1.27.10"));
    world.library("variable/onnxruntime/capi", "1.25.0");
    world.places.variable = Some(world.path("variable").into());
    assert_eq!(world.found(), of(Source::Variable, "1.25.0"));
    world.places.option = Some(world.library("option", "1.24.0"));
    assert_eq!(world.found(), of(Source::Option, "1.24.0"));
}

#[test]
fn what_is_named_and_cannot_be_used_is_refused_with_the_reason() {
    let mut world = World::empty();
    world.library("system", "1.30.0");
    let other = Fake::new("libz.so.1", &["inflate"]).write(&world.path("other"), "libz.so.1");
    let text = world.path("text.so");
    fs::write(&text, "text").unwrap();
    let bare = Fake::new("libonnxruntime.so.1", &["OrtGetApiBase"]);
    let named = [
        world.path("nowhere"),
        world.path("system/.."),
        text,
        other,
        bare.write(&world.path("bare"), "libonnxruntime.so"),
        world.library("old", "1.23.9"),
        world.library("other", "2.0.0"),
    ];
    let refusals = named.map(|path| {
        world.places.variable = Some(path.into());
        world.refusal()
    });
    insta::assert_snapshot!(refusals.concat());
}

#[test]
fn where_nothing_fits_every_place_is_told_with_its_reason() {
    let world = World::empty();
    world.library("loader", "1.9.0");
    insta::assert_snapshot!(world.refusal());
}

#[test]
fn facts_name_the_library_by_version_and_content() {
    let world = World::empty();
    world.library("loader", "1.30.1");
    let facts = find_in(&world.places).unwrap().facts().unwrap();
    let text: Vec<String> = facts.iter().map(|(name, fact)| format!("{name}={fact}")).collect();
    assert_eq!(text, ["onnxruntime=1.30.1", "onnxruntime_build=abcd0102"]);
}

#[test]
fn the_version_of_a_real_library_is_read_from_the_file() {
    let Ok(found) = find() else {
        eprintln!("SKIPPED: there is no ONNX Runtime here");
        return;
    };
    // A name that says nothing.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("libonnxruntime.so");
    fs::copy(&found.library, &copy).unwrap();
    assert_eq!(examine(&copy, Source::Option).unwrap().version, found.version);
}
