use proptest::prelude::*;

use super::*;
use crate::artifact::stat_db::StatDb;

fn stat(n: u64) -> FileStat {
    let time = i128::from(n) * 1_000_003;
    FileStat { dev: n % 3, inode: n, size: n * 7, mtime_ns: time, ctime_ns: -time }
}

fn digest(n: u64) -> Digest {
    Digest::of(&n.to_le_bytes())
}

struct Db {
    folder: tempfile::TempDir,
}

impl Db {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("stat.db")
    }

    fn open(&self) -> StatDb {
        StatDb::new(self.path())
    }

    fn flush(&self, db: &StatDb) -> Result<(), StoreError> {
        db.flush(&self.folder.path().join("lock"), self.folder.path())
    }

    fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        let db = self.open();
        for n in numbers {
            db.put(stat(n), digest(n));
        }
        self.flush(&db).unwrap();
    }
}

#[test]
fn records_are_found_by_later_processes_and_only_for_the_very_same_stat() {
    let t = Db::new();
    t.write(0..500);
    t.write(500..1000);
    let db = t.open();
    for n in 0..1000 {
        assert_eq!(db.get(&stat(n)), Some(digest(n)));
        let changes: [fn(&mut FileStat); 5] = [
            |stat| stat.dev += 1,
            |stat| stat.inode += 1000,
            |stat| stat.size += 1,
            |stat| stat.mtime_ns += 1,
            |stat| stat.ctime_ns += 1,
        ];
        for change in changes {
            let mut other = stat(n);
            change(&mut other);
            assert_eq!(db.get(&other), None);
        }
    }
    assert!(!db.is_dirty());
}

#[test]
fn a_newer_record_replaces_that_of_the_same_inode() {
    let t = Db::new();
    t.write([1]);
    let db = t.open();
    let newer = FileStat { size: 99, ..stat(1) };
    db.put(newer, digest(2));
    for db in [&db, &{
        t.flush(&db).unwrap();
        t.open()
    }] {
        assert_eq!(db.get(&newer), Some(digest(2)));
    }
    assert_eq!(t.open().get(&stat(1)), None);
}

#[test]
fn a_time_that_cannot_be_written_down_is_not_recorded() {
    let t = Db::new();
    let db = t.open();
    let far = FileStat { mtime_ns: i128::MAX, ..stat(1) };
    db.put(far, digest(1));
    assert!(!db.is_dirty());
    assert_eq!(db.get(&far), None);
}

#[test]
fn records_nobody_asks_for_are_dropped_after_two_months() {
    let t = Db::new();
    t.write(0..3);
    let later =
        |days: u64| StatDb::at(t.path(), SystemTime::now() + Duration::from_secs(days * 86_400));
    let db = later(50);
    assert_eq!(db.get(&stat(0)), Some(digest(0)));
    assert!(db.is_dirty());
    t.flush(&db).unwrap();
    let db = later(100);
    db.put(stat(7), digest(7));
    t.flush(&db).unwrap();
    let db = t.open();
    assert_eq!([0, 1, 7].map(|n| db.get(&stat(n)).is_some()), [true, false, true]);
}

#[test]
fn a_mere_refresh_that_cannot_be_written_is_no_error_but_a_lost_record_is() {
    let t = Db::new();
    t.write([1]);
    let missing = t.folder.path().join("missing");
    let db = StatDb::at(t.path(), SystemTime::now() + Duration::from_hours(48));
    assert!(db.get(&stat(1)).is_some());
    db.flush(&missing.join("lock"), &missing).unwrap();
    db.put(stat(2), digest(2));
    assert!(db.flush(&missing.join("lock"), &missing).is_err());
    t.flush(&db).unwrap();
    assert_eq!(t.open().get(&stat(2)), Some(digest(2)));
}

#[test]
fn eight_concurrent_flushes_lose_no_record() {
    let t = Db::new();
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (t, start) = (&t, &start);
            scope.spawn(move || {
                let db = t.open();
                assert_eq!(db.get(&stat(0)), None);
                (0..50).for_each(|n| db.put(stat(1 + thread * 50 + n), digest(thread)));
                start.wait();
                t.flush(&db).unwrap();
            });
        }
    });
    let db = t.open();
    for n in 0..400 {
        assert_eq!(db.get(&stat(1 + n)), Some(digest(n / 50)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_anywhere_means_no_record_never_a_wrong_one(
        at in any::<prop::sample::Index>(), with in 1..=255_u8, cut in any::<bool>(),
    ) {
        let t = Db::new();
        t.write(0..20);
        let mut bytes = fs::read(t.path()).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= with }
        fs::write(t.path(), bytes).unwrap();
        let db = t.open();
        for n in 0..20 {
            prop_assert_eq!(db.get(&stat(n)), None);
        }
        t.write([30]);
        prop_assert_eq!(t.open().get(&stat(30)), Some(digest(30)));
    }

    #[test]
    fn any_bytes_at_all_are_an_empty_database(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let t = Db::new();
        fs::write(t.path(), bytes).unwrap();
        prop_assert_eq!(t.open().get(&stat(1)), None);
    }

    #[test]
    fn a_damaged_result_is_never_a_hit(
        at in any::<prop::sample::Index>(), with in 1..=255_u8, cut in any::<bool>(),
    ) {
        let t = TestStore::new();
        let result = t.result(&[("f", b"x")]);
        let path = t.store.result_path(&result.key);
        let mut text = fs::read(&path).unwrap();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] ^= with }
        fs::write(&path, text).unwrap();
        let is_hit = matches!(t.store.lookup(&result.key), Lookup::Hit(_));
        prop_assert!(!is_hit);
    }
}

#[test]
fn a_digest_in_capitals_is_damage() {
    let t = TestStore::new();
    let result = t.result(&[("f", b"x")]);
    let path = t.store.result_path(&result.key);
    let text = fs::read(&path).unwrap();
    for at in (0..text.len()).filter(|&at| text[at].is_ascii_alphabetic()) {
        let mut text = text.clone();
        text[at] ^= 32;
        fs::write(&path, text).unwrap();
        assert!(!matches!(t.store.lookup(&result.key), Lookup::Hit(_)), "byte {at}");
    }
}
