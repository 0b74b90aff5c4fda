use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn opening_a_store_makes_nothing() {
    let t = TestStore::new();
    assert!(matches!(t.store.lookup(&Digest::of(b"k")), Lookup::Miss));
    t.store.flush().unwrap();
    assert!(!t.store.root().exists());
}

#[test]
fn a_recorded_result_is_a_hit_in_every_later_process() {
    let t = TestStore::new();
    let result = t.result(&[("a.bin", b"abc"), ("sub/b.bin", b"")]);
    for store in [&t.store, &t.reopened()] {
        match store.lookup(&result.key) {
            Lookup::Hit(found) => assert_eq!(*found, result.clone().into()),
            other => panic!("{other:?}"),
        }
        store.verify_bytes(&result.artifact).unwrap();
    }
    assert_eq!(fs::read(t.store.root().join(".gitignore")).unwrap(), b"*\n");
}

#[test]
fn an_artifact_is_named_by_its_files_and_stored_once() {
    let t = TestStore::new();
    let first = t.commit(&[("z", b"1"), ("a/b", b"2")]);
    let second = t.commit(&[("a/b", b"2"), ("z", b"1")]);
    assert_eq!(first, second);
    assert_eq!(first.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a/b", "z"]);
    assert_ne!(first.digest, t.commit(&[("z", b"2"), ("a/b", b"1")]).digest);
    assert_eq!(fs::read_dir(t.store.root().join("objects")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn stored_files_and_folders_are_read_only() {
    let t = TestStore::new();
    let scratch = t.store.scratch().unwrap();
    fill(scratch.path(), &[("tool", b"#!"), ("sub/data", b"x")]);
    fs::create_dir(scratch.path().join("empty")).unwrap();
    tree::set_mode(&scratch.path().join("tool"), 0o4755).unwrap();
    let artifact = t.store.commit(scratch.path(), ArtifactKind::Files).unwrap();
    let root = t.store.object_path(&artifact.digest);
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [mode(""), mode("sub"), mode("sub/data"), mode("tool")],
        [0o555, 0o555, 0o444, 0o555]
    );
    assert!(artifact.files.iter().any(|file| file.executable));
    assert!(!root.join("empty").exists());
}

type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn links_pipes_and_hard_links_are_refused_and_nothing_is_stored() {
    let t = TestStore::new();
    let make: [(&str, Make); 3] = [
        ("a symbolic link", &|at| symlink("/etc/hostname", at).unwrap()),
        ("a pipe", &|at| {
            rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .unwrap();
        }),
        ("a file with several names (hard links)", &|at| {
            fs::hard_link(t.write("outside", b"x"), at).unwrap();
        }),
    ];
    for (name, make) in make {
        let scratch = t.store.scratch().unwrap();
        fill(scratch.path(), &[("fine", b"1")]);
        make(&scratch.path().join("odd"));
        match t.store.commit(scratch.path(), ArtifactKind::Files) {
            Err(StoreError::NotRegular { path, what }) => {
                assert_eq!(what, name);
                assert!(path.ends_with("odd"));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(fs::read_dir(t.store.root().join("objects")).unwrap().count(), 0);
    assert!(t.store.commit(&t.path("elsewhere"), ArtifactKind::Files).is_err());
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let t = TestStore::new();
    let scratch = t.store.scratch().unwrap();
    fs::write(scratch.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), b"").unwrap();
    let error = t.store.commit(scratch.path(), ArtifactKind::Files).unwrap_err();
    assert!(matches!(error, StoreError::NotUtf8 { .. }), "{error}");
}

#[test]
fn an_edit_through_the_build_link_is_seen_and_repaired() {
    let t = TestStore::new();
    let result = t.result(&[("model.onnx", b"good")]);
    t.store.link(&t.path("build/p"), "s", &result.artifact.digest).unwrap();
    let through_link = t.path("build/p/s/model.onnx");
    assert_eq!(fs::read(&through_link).unwrap(), b"good");
    tamper(&through_link, b"evil");
    assert!(damage(&t.store.lookup(&result.key)).contains("content was changed"));
    assert!(t.store.verify_bytes(&result.artifact).is_err());
    t.commit(&[("model.onnx", b"good")]);
    assert!(matches!(t.store.lookup(&result.key), Lookup::Hit(_)));
    assert_eq!(fs::read(&through_link).unwrap(), b"good");
}

#[test]
fn every_kind_of_damage_to_an_object_is_seen() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("is missing", |root| fs::remove_file(root.join("f")).unwrap()),
        ("bytes, not", |root| tamper(&root.join("f"), b"longer than it was")),
        ("executable bit", |root| tree::set_mode(&root.join("f"), 0o555).unwrap()),
        ("a symbolic link", |root| {
            fs::rename(root.join("f"), root.join("../../tmp/moved")).unwrap();
            symlink("../../tmp/moved", root.join("f")).unwrap();
        }),
        ("a folder", |root| {
            fs::remove_file(root.join("f")).unwrap();
            fs::create_dir(root.join("f")).unwrap();
        }),
        ("it is missing", |root| tree::remove(root).unwrap()),
    ];
    for (reason, harm) in harms {
        let t = TestStore::new();
        let result = t.result(&[("f", b"x")]);
        let root = t.store.object_path(&result.artifact.digest);
        tree::set_mode(&root, 0o755).unwrap();
        harm(&root);
        assert!(damage(&t.store.lookup(&result.key)).contains(reason), "{reason}");
        t.commit(&[("f", b"x")]);
        assert!(matches!(t.store.lookup(&result.key), Lookup::Hit(_)), "{reason}");
    }
}

#[test]
fn a_file_added_to_an_object_is_seen_before_it_is_used_and_repaired() {
    let t = TestStore::new();
    let artifact = t.commit(&[("f", b"x")]);
    let root = t.store.object_path(&artifact.digest);
    tree::set_mode(&root, 0o755).unwrap();
    fs::write(root.join("extra"), b"").unwrap();
    let error = t.store.verify_bytes(&artifact).unwrap_err();
    assert!(error.to_string().contains("not part of the artifact"), "{error}");
    t.commit(&[("f", b"x")]);
    t.store.verify_bytes(&artifact).unwrap();
}

#[test]
fn a_result_under_the_wrong_name_or_with_changed_fields_is_damaged() {
    let t = TestStore::new();
    let result = t.result(&[("f", b"x")]);
    let path = t.store.result_path(&result.key);
    let text = fs::read_to_string(&path).unwrap();
    let other = Digest::of(b"other");
    fs::copy(&path, t.store.result_path(&other)).unwrap();
    assert!(damage(&t.store.lookup(&other)).contains("another key"));
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("\"path\":\"f\"", "\"path\":\"../f\""),
        ("\"kind\":\"files\"", "\"kind\":\"model\""),
        ("\"seconds\":0.5", "\"seconds\":0.6"),
        ("\"files\":[", "\"files\":[["),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        damage(&t.store.lookup(&result.key));
    }
    fs::write(&path, text.replace("\"format\":1", "\"format\":2")).unwrap();
    assert!(matches!(t.store.lookup(&result.key), Lookup::Miss));
    t.store.record(&result).unwrap();
    assert!(matches!(t.store.lookup(&result.key), Lookup::Hit(_)));
}

#[test]
fn a_link_is_replaced_only_when_it_is_wrong_and_never_in_place_of_a_file() {
    let t = TestStore::new();
    let [a, b] = [t.commit(&[("f", b"a")]), t.commit(&[("f", b"b")])];
    let build = t.path("build/p");
    t.store.link(&build, "s", &a.digest).unwrap();
    let before = fs::symlink_metadata(build.join("s")).unwrap();
    t.reopened().link(&build, "s", &a.digest).unwrap();
    assert_eq!(
        FileStat::of(&before),
        FileStat::of(&fs::symlink_metadata(build.join("s")).unwrap())
    );
    t.store.link(&build, "s", &b.digest).unwrap();
    assert_eq!(fs::read(build.join("s/f")).unwrap(), b"b");
    assert!(fs::read_link(build.join("s")).unwrap().is_relative());
    t.write("build/p/file", b"mine");
    assert!(matches!(
        t.store.link(&build, "file", &a.digest),
        Err(StoreError::LinkObstructed { .. })
    ));
    for name in ["", "..", "a/b", "/"] {
        assert!(t.store.link(&build, name, &a.digest).is_err(), "{name}");
    }
    assert_eq!(fs::read_dir(&build).unwrap().count(), 3, "two names and .gitignore");
}

#[test]
fn a_result_with_a_consistent_check_but_a_path_outside_is_damaged() {
    let t = TestStore::new();
    let mut result = t.result(&[("f", b"x")]);
    for path in ["../f", "/f", "a//f", ".", ""] {
        result.artifact.files[0].path = path.to_owned();
        result.artifact.digest = tree_digest(&result.artifact.files);
        t.store.record(&result).unwrap();
        assert!(damage(&t.store.lookup(&result.key)).contains("list of files"), "{path}");
    }
}

#[test]
fn a_result_whose_key_is_not_its_fingerprints_is_not_recorded() {
    let t = TestStore::new();
    let mut result = t.result(&[("f", b"x")]);
    result.fingerprint.version += 1;
    assert!(t.store.record(&result).is_err());
}

#[test]
fn a_result_is_json_with_its_format_and_key() {
    let t = TestStore::new();
    let result = t.result(&[("f", b"x")]);
    let text = fs::read(t.store.result_path(&result.key)).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["format"], 1);
    assert_eq!(value["key"], result.key.to_string());
}

#[test]
fn short_and_long_stages_are_stored_alike() {
    let t = TestStore::new();
    for seconds in [0.0, 3600.0] {
        let result = StageResult { seconds, ..t.result(&[("a", b"abc"), ("sub/b", b"")]) };
        t.store.record(&result).unwrap();
        t.store.flush().unwrap();
        match t.reopened().lookup(&result.key) {
            Lookup::Hit(found) => assert_eq!(*found, result.clone().into()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_a_real_folder_inside_the_scratch_space_is_taken() {
    let t = TestStore::new();
    let scratch = t.store.scratch().unwrap();
    fill(scratch.path(), &[("file", b"x"), ("dir/f", b"x")]);
    symlink("dir", scratch.path().join("link")).unwrap();
    let commit = |path: PathBuf| t.store.commit(&path, ArtifactKind::Files).unwrap_err();
    assert!(matches!(commit(scratch.path().join("file")), StoreError::NotFolder { .. }));
    assert!(matches!(commit(scratch.path().join("link")), StoreError::NotFolder { .. }));
    assert!(matches!(commit(scratch.path().join("absent")), StoreError::Io { .. }));
    t.write("project/f", b"mine");
    let around = scratch.path().join("../../../project");
    assert!(matches!(commit(around), StoreError::OutsideScratch { .. }));
    assert!(matches!(commit(t.path("project")), StoreError::OutsideScratch { .. }));
    assert_eq!(fs::read(t.path("project/f")).unwrap(), b"mine");
}
