use std::os::unix::fs::symlink;

use super::*;

/// Puts a settled record of what the file holds now into the stat database, as a run two seconds
/// from now would.
fn settle(store: &Store, path: &Path) -> FileStamp {
    let stamp = store.hash_file(path).unwrap();
    store.stats.put(stamp.stat, stamp.digest);
    stamp
}

#[test]
fn a_file_that_was_just_written_is_not_put_on_record() {
    let t = TestStore::new();
    let file = t.write("f", b"one");
    let stamp = t.store.hash_file(&file).unwrap();
    assert_eq!(stamp.digest, Digest::of(b"one"));
    assert!(!stamp.settled);
    assert_eq!(t.store.stats.get(&stamp.stat), None);
    assert!(!t.store.stats.is_dirty());
}

#[test]
fn a_back_dated_write_does_not_settle_a_file() {
    let t = TestStore::new();
    let file = t.write("f", b"one");
    age(&file, 3600);
    assert!(!t.store.hash_file(&file).unwrap().settled);
}

#[test]
fn settling_takes_two_seconds_without_any_change() {
    let t = TestStore::new();
    let stat = t.store.hash_file(&t.write("f", b"one")).unwrap().stat;
    let at = |ns: i128| SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap());
    assert!(!stat.settled_at(at(stat.ctime_ns + 1_999_999_999)));
    assert!(stat.settled_at(at(stat.ctime_ns + 2_000_000_000)));
    let written_ahead = FileStat { mtime_ns: stat.ctime_ns + 5_000_000_000, ..stat };
    assert!(!written_ahead.settled_at(at(stat.ctime_ns + 3_000_000_000)));
}

#[test]
fn a_file_rewritten_within_the_clock_tick_of_its_hashing_gets_its_new_digest() {
    let t = TestStore::new();
    // As many rounds as it takes for both writes to fall into one tick, or a hundred.
    for round in 0..100 {
        let file = t.write("f", b"one");
        let first = t.store.hash_file(&file).unwrap();
        fs::write(&file, b"two").unwrap();
        let second = t.store.hash_file(&file).unwrap();
        assert_eq!(second.digest, Digest::of(b"two"), "round {round}");
        assert_eq!(t.reopened().hash_file(&file).unwrap().digest, Digest::of(b"two"));
        if first.stat == second.stat {
            return;
        }
    }
}

#[test]
fn recheck_sees_a_rewrite_that_left_the_stat_as_it_was() {
    let t = TestStore::new();
    for _ in 0..100 {
        let file = t.write("f", b"one");
        let stamp = t.store.hash_input(&file).unwrap();
        assert!(t.store.recheck(&stamp).unwrap());
        fs::write(&file, b"two").unwrap();
        assert!(!t.store.recheck(&stamp).unwrap());
        if FileStat::of(&fs::metadata(&file).unwrap()) == stamp.files().next().unwrap().1.stat {
            return;
        }
    }
}

#[test]
fn a_settled_file_is_believed_without_reading_it() {
    let t = TestStore::new();
    let file = t.write("f", b"one");
    let mut stat = t.store.hash_file(&file).unwrap().stat;
    t.store.stats.put(stat, Digest::of(b"what the record says"));
    assert_eq!(t.store.hash_file(&file).unwrap().digest, Digest::of(b"what the record says"));
    assert!(t.store.hash_file(&file).unwrap().settled);
    stat.ctime_ns += 1;
    assert_eq!(t.store.stats.get(&stat), None);
}

#[test]
fn a_touched_but_equal_file_keeps_its_digest() {
    let t = TestStore::new();
    let file = t.write("f", b"one");
    let before = settle(&t.store, &file);
    age(&file, 100);
    let after = t.store.hash_file(&file).unwrap();
    assert_ne!(before.stat, after.stat);
    assert_eq!(before.digest, after.digest);
}

#[test]
fn recheck_sees_every_change_to_a_folder() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("content", |dir| fs::write(dir.join("sub/b"), b"B").unwrap()),
        ("added", |dir| fs::write(dir.join("c"), b"").unwrap()),
        ("removed", |dir| fs::remove_file(dir.join("a")).unwrap()),
        ("renamed", |dir| fs::rename(dir.join("a"), dir.join("z")).unwrap()),
        ("permissions", |dir| tree::set_mode(&dir.join("a"), 0o755).unwrap()),
        ("gone", |dir| fs::remove_dir_all(dir).unwrap()),
        ("a file now", |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::write(dir, b"").unwrap();
        }),
    ];
    for (name, change) in changes {
        let t = TestStore::new();
        t.write("in/a", b"a");
        t.write("in/sub/b", b"b");
        let dir = t.path("in");
        for file in ["a", "sub/b"] {
            settle(&t.store, &dir.join(file));
        }
        let stamp = t.store.hash_input(&dir).unwrap();
        assert!(stamp.files().all(|(_, stamp)| stamp.settled));
        assert!(t.store.recheck(&stamp).unwrap());
        change(&dir);
        assert!(!t.store.recheck(&stamp).unwrap(), "{name}");
    }
}

#[test]
fn a_folder_is_identified_by_its_files_through_links() {
    let t = TestStore::new();
    for dir in ["x", "y"] {
        t.write(&format!("{dir}/b"), b"b");
        t.write(&format!("{dir}/sub/a"), &vec![7; 300_000]);
    }
    fs::rename(t.path("y/b"), t.path("elsewhere")).unwrap();
    symlink("../elsewhere", t.path("y/b")).unwrap();
    let [x, y] = ["x", "y"].map(|dir| t.store.hash_input(&t.path(dir)).unwrap());
    assert_eq!(x.digest, y.digest);
    assert_eq!(x.size, 300_001);
    assert_eq!(x.files().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "sub/a"]);
    fs::write(t.path("elsewhere"), b"c").unwrap();
    assert!(!t.store.recheck(&y).unwrap());
    assert_ne!(t.store.hash_input(&t.path("y")).unwrap().digest, x.digest);
}

#[test]
fn an_input_that_cannot_be_hashed_is_refused_by_name() {
    let t = TestStore::new();
    t.write("loop/a", b"");
    symlink(".", t.path("loop/up")).unwrap();
    symlink("self", t.path("self")).unwrap();
    t.write("dangling/a", b"");
    symlink("nowhere", t.path("dangling/b")).unwrap();
    let error = |name: &str| t.store.hash_input(&t.path(name)).unwrap_err();
    assert!(matches!(error("loop"), StoreError::LinkLoop { path } if path.ends_with("loop/up")));
    assert!(matches!(error("self"), StoreError::Io { doing: "read", .. }));
    assert!(matches!(error("dangling"), StoreError::Io { path, .. } if path.ends_with("b")));
    assert!(matches!(error("absent"), StoreError::Io { .. }));
    assert!(matches!(error("/dev/null"), StoreError::NotRegular { what: "a device", .. }));
    let folder = t.store.hash_file(&t.path("loop")).unwrap_err();
    insta::assert_snapshot!(
        folder.to_string().replace(&t.folder.path().display().to_string(), ""),
        @"`/loop` is a folder, not a regular file"
    );
}

#[test]
fn a_file_that_keeps_changing_is_an_error_and_never_a_wrong_digest() {
    let t = TestStore::new();
    let size = 600_000;
    let file = t.write("f", &vec![0; size]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            let file = File::options().write(true).open(&file).unwrap();
            let mut byte = 0_u8;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                byte = byte.wrapping_add(1);
                file.write_all_at(&[byte], 0).unwrap();
                file.write_all_at(&[byte], size as u64 - 1).unwrap();
            }
        });
        for _ in 0..50 {
            match t.store.hash_file(&file) {
                Ok(stamp) => assert!(!stamp.settled),
                Err(error) => assert!(matches!(error, StoreError::Changing { .. }), "{error}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(t.store.stats.get(&FileStat::of(&fs::metadata(&file).unwrap())), None);
}

#[test]
fn a_memo_is_found_again_and_a_damaged_one_is_forgotten() {
    let t = TestStore::new();
    let key = Digest::of(b"k");
    assert_eq!(t.store.memo_get("io", &key), None);
    t.store.memo_put("io", &key, &serde_json::json!([1, "x"]));
    assert_eq!(t.reopened().memo_get("io", &key), Some(serde_json::json!([1, "x"])));
    assert_eq!(t.store.memo_get("other", &key), None);
    t.store.memo_put("../io", &key, &serde_json::json!(1));
    assert_eq!(t.store.memo_get("../io", &key), None);
    let path = t.store.root().join("memo/io").join(key.to_string());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[1,", "[2,")).unwrap();
    assert_eq!(t.store.memo_get("io", &key), None);
}
