use super::*;

/// Whether permissions bind this process; they do not bind root.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_store_that_cannot_be_made_is_a_typed_error_with_a_next_step() {
    let t = TestStore::new();
    t.write("file", b"");
    let store = Store::open(t.path("file/.trt-pipeline"));
    assert!(matches!(store.lookup(&Digest::of(b"k")), Lookup::Miss));
    for error in [
        store.scratch().err(),
        store.lock_key(&Digest::of(b"k"), &|| false).err(),
        store.lease(&[]).err(),
    ] {
        assert!(matches!(error, Some(StoreError::Io { doing: "create", .. })), "{error:?}");
    }
    store.memo_put("m", &Digest::of(b"k"), &serde_json::Value::Null);
    store.flush().unwrap();
    let read_only = StoreError::Io {
        doing: "create",
        path: "x".into(),
        source: std::io::ErrorKind::ReadOnlyFilesystem.into(),
    };
    insta::assert_snapshot!(
        read_only.help().unwrap(),
        @"put the cache where you may write, with `--cache-dir` or TRT_PIPELINE_CACHE"
    );
    let full = StoreError::Io {
        doing: "write",
        path: "x".into(),
        source: std::io::ErrorKind::StorageFull.into(),
    };
    insta::assert_snapshot!(
        full.help().unwrap(),
        @"free some space (`trt-pipeline cache gc` removes what nothing refers to), or put the cache elsewhere with `--cache-dir`"
    );
}

#[test]
fn a_read_only_store_still_gives_hits() {
    let t = TestStore::new();
    let result = t.result(&[("f", b"x")]);
    let folders = ["results", "locks", "tmp", "objects", ""].map(|f| t.store.root().join(f));
    for folder in &folders {
        tree::set_mode(folder, 0o555).unwrap();
    }
    let store = t.reopened();
    assert!(matches!(store.lookup(&result.key), Lookup::Hit(_)));
    store.verify_bytes(&result.artifact).unwrap();
    if !is_root() {
        assert!(store.scratch().is_err());
        assert!(store.record(&result).is_err());
    }
    for folder in folders.iter().rev() {
        tree::set_mode(folder, 0o755).unwrap();
    }
}

#[test]
fn a_result_that_cannot_be_replaced_stays_as_it_was() {
    let t = TestStore::new();
    let result = t.result(&[("f", b"x")]);
    fs::remove_dir(t.store.root().join("tmp")).unwrap();
    assert!(matches!(t.store.record(&result), Err(StoreError::Io { doing: "write", .. })));
    assert!(matches!(t.store.lookup(&result.key), Lookup::Hit(_)));
}

#[test]
fn a_failed_commit_stores_nothing_and_leaves_no_scratch() {
    let t = TestStore::new();
    let scratch = t.store.scratch().unwrap();
    fill(scratch.path(), &[("f", b"x")]);
    fs::remove_dir(t.store.root().join("objects")).unwrap();
    assert!(matches!(
        t.store.commit(scratch.path(), ArtifactKind::Files),
        Err(StoreError::Io { doing: "write", .. })
    ));
    drop(scratch);
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
}
