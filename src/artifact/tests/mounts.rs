//! The store on file systems that are full or read-only, mounted in a namespace of their own.

use std::io::{ErrorKind, Write};
use std::process::Command;

use super::child::{ARGUMENTS, TASK, spawn, wait_for};
use super::*;

/// Stores a small artifact and its result.
pub(super) fn store_one(store: &Store, seed: usize) -> Result<StageResult, StoreError> {
    let scratch = store.scratch()?;
    let dir = scratch.path();
    let path = dir.join("f");
    fs::write(&path, seed.to_le_bytes()).map_err(StoreError::io("write", &path))?;
    let artifact = store.commit(dir, ArtifactKind::Files)?;
    let result = StageResult::new(fingerprint(seed), artifact, 0.0, "p", "s");
    store.record(&result)?;
    Ok(result)
}

/// Runs a shell script in which `"$0"` is a fresh file system of 1 MiB and `run TASK` runs a task
/// of [`child`](super::child) in a store on it. Says so where the system does not let us mount.
fn on_a_disk_of_its_own(script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc"]);
        command.arg(format!("mount -t tmpfs -o size=1m none \"$0\"\n{script}")).arg(folder.path());
        command
    };
    if !unshare("").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no mounting in user namespaces here");
        return;
    }
    let run = format!(
        "run() {{ {TASK}=\"$1:$0/store\" '{}' {}; }}\n",
        std::env::current_exe().unwrap().display(),
        ARGUMENTS.join(" ")
    );
    let output = unshare(&format!("{run}{script}")).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_full_disk_is_a_typed_error_and_what_was_stored_stays() {
    on_a_disk_of_its_own("run 'full disk'");
}

#[test]
fn a_read_only_disk_gives_hits_and_typed_errors() {
    on_a_disk_of_its_own("run 'before read-only'; mount -o remount,ro none \"$0\"; run read-only");
}

pub(super) fn on_a_full_disk(store: &Store) {
    let is_full = |error: StoreError| {
        assert!(error.help().unwrap().contains("free some space"), "{error:?}");
        assert!(
            matches!(&error, StoreError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
            "{error:?}"
        );
    };
    let before = store_one(store, 1).unwrap();
    let filler = store.root().with_file_name("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    is_full(store_one(store, 2).unwrap_err());
    let changed = StageResult { seconds: 99.0, ..before.clone() };
    is_full(store.record(&changed).unwrap_err());
    let stat = FileStat::of(&fs::metadata(&filler).unwrap());
    store.stats.put(stat, Digest::of(b""));
    is_full(store.flush().unwrap_err());
    match store.lookup(&before.key) {
        Lookup::Hit(found) => assert_eq!(*found, before.into()),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    // Open, it would keep its space.
    drop(file);
    fs::remove_file(&filler).unwrap();
    store_one(store, 2).unwrap();
    store.flush().unwrap();
    assert_eq!(store.verify().unwrap().damaged, []);
}

pub(super) fn on_a_read_only_disk(store: &Store) {
    let key = fingerprint(1).key();
    let Lookup::Hit(hit) = store.lookup(&key) else { panic!("no hit") };
    store.verify_bytes(&hit.artifact).unwrap();
    let result = StageResult::new(fingerprint(1), hit.artifact, 0.0, "p", "s");
    store.flush().unwrap();
    for error in [
        store.scratch().err(),
        store.record(&result).err(),
        store.lock_key(&key, &|| false).err(),
        store.gc(&[], &GcOptions::default()).err(),
    ] {
        let error = error.unwrap();
        assert!(error.help().unwrap().contains("--cache-dir"), "{error:?}");
    }
    assert_eq!(store.verify().unwrap().damaged, []);
}

/// A small version of a soak test: a dozen kills at whatever the process is doing then.
#[test]
fn a_store_whose_writers_are_killed_stays_intact() {
    let t = TestStore::new();
    for round in 0..12 {
        let mut child = spawn("build forever", t.store.root());
        wait_for(&mut child, &format!("stored {round} "));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = t.reopened();
        assert_eq!(store.verify().unwrap().damaged, []);
        for result in store.ls().unwrap().results {
            assert!(matches!(store.lookup(&result.key), Lookup::Hit(_)));
        }
    }
    t.store.gc(&[], &GcOptions::default()).unwrap();
    assert_eq!(fs::read_dir(t.store.root().join("objects")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
}
