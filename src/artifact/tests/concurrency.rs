use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::child::{spawn, wait_for};
use super::*;

/// What an executor does for one stage; the number of builds is in a file beside the store.
pub(super) fn build_once(store: &Store) -> StageHit {
    let fingerprint = fingerprint(1);
    let key = fingerprint.key();
    let lock = store.lock_key(&key, &|| false).unwrap();
    let result = match store.lookup(&key) {
        Lookup::Hit(hit) => *hit,
        other => {
            assert!(matches!(other, Lookup::Miss), "{other:?}");
            let mut log = store.root().to_owned();
            log.set_extension("log");
            let mut log = File::options().create(true).append(true).open(log).unwrap();
            std::io::Write::write_all(&mut log, b"x").unwrap();
            let scratch = store.scratch().unwrap();
            fill(scratch.path(), &[("f", b"made")]);
            let artifact = store.commit(scratch.path(), ArtifactKind::Files).unwrap();
            let result = StageResult::new(fingerprint, artifact, 0.0, "p", "s");
            store.record(&result).unwrap();
            result.into()
        }
    };
    drop(lock);
    store.flush().unwrap();
    result
}

#[test]
fn eight_processes_and_eight_threads_build_a_key_once() {
    let t = TestStore::new();
    let children: Vec<_> = (0..8).map(|_| spawn("build", t.store.root())).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| build_once(&t.reopened()));
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut log = t.store.root().to_owned();
    log.set_extension("log");
    assert_eq!(fs::read(log).unwrap(), b"x");
    assert_eq!(t.store.verify().unwrap().damaged, []);
    let locks = gc::digests_in(&t.store.root().join("locks"), "").unwrap();
    assert_eq!(locks, [], "lock files are removed by their owners");
}

#[test]
fn only_one_holds_a_key_at_a_time_while_lock_files_come_and_go() {
    let t = TestStore::new();
    let key = Digest::of(b"k");
    let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lock = t.store.lock_key(&key, &|| false).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    rounds.fetch_add(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(rounds.into_inner(), 300);
}

#[test]
fn a_wait_for_a_key_can_be_cancelled_and_other_keys_are_free() {
    let t = TestStore::new();
    let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
    let held = t.store.lock_key(&a, &|| false).unwrap();
    let asked = AtomicUsize::new(0);
    let refused = t.store.lock_key(&a, &|| asked.fetch_add(1, Ordering::SeqCst) == 3);
    assert!(matches!(refused, Err(StoreError::Cancelled)));
    t.store.lock_key(&b, &|| false).unwrap();
    drop(held);
    t.store.lock_key(&a, &|| false).unwrap();
}

#[test]
fn a_killed_process_leaves_its_key_free_and_its_scratch_to_gc() {
    let t = TestStore::new();
    let mut child = spawn("hold", t.store.root());
    wait_for(&mut child, "held");
    let key = fingerprint(1).key();
    let cancel = AtomicBool::new(false);
    let waited = t.store.lock_key(&key, &|| cancel.swap(true, Ordering::SeqCst));
    assert!(matches!(waited, Err(StoreError::Cancelled)));
    let gc = || t.store.gc(&[], &GcOptions::default());
    assert!(matches!(gc(), Err(StoreError::InUse { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(t.store.lock_key(&key, &|| false).unwrap());
    assert!(gc().unwrap().leftovers > 0);
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(t.store.root().join("locks/leases")).unwrap().count(), 0);
}

#[test]
fn concurrent_commits_of_equal_artifacts_all_succeed() {
    let t = TestStore::new();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (t, start) = (&t, &start);
            scope.spawn(move || {
                let store = t.reopened();
                let scratch = store.scratch().unwrap();
                fill(scratch.path(), &[("f", b"same"), ("d/g", &vec![0; 200_000])]);
                start.wait();
                let artifact = store.commit(scratch.path(), ArtifactKind::Files).unwrap();
                let build = t.path("build");
                store.link(&build, "s", &artifact.digest).unwrap();
                assert_eq!(fs::read(build.join("s/f")).unwrap(), b"same", "thread {n}");
            });
        }
    });
    let report = t.store.verify().unwrap();
    assert_eq!((report.objects, report.damaged), (1, vec![]));
    assert_eq!(fs::read_dir(t.path("build")).unwrap().count(), 2, "the link and .gitignore");
}
