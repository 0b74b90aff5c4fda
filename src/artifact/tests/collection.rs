use std::os::unix::fs::symlink;

use super::*;

fn gc(t: &TestStore) -> GcReport {
    t.store.gc(&[t.folder.path().to_owned()], &GcOptions::default()).unwrap()
}

/// Four results with an artifact each.
fn four(t: &TestStore) -> [StageResult; 4] {
    [1, 2, 3, 4].map(|n| {
        let artifact = t.commit(&[("f", &[n])]);
        let result = StageResult::new(fingerprint(n.into()), artifact, 0.0, "p", "s");
        t.store.record(&result).unwrap();
        result
    })
}

fn is_hit(t: &TestStore, result: &StageResult) -> bool {
    matches!(t.store.lookup(&result.key), Lookup::Hit(_))
}

#[test]
fn gc_keeps_what_lock_files_links_and_leases_name_and_nothing_else() {
    let t = TestStore::new();
    let [by_key, by_digest, linked, other] = four(&t);
    let leased = t.commit(&[("f", b"leased")]);
    let lock =
        format!("stages:\n  a: {{ key: {} }}\n  b: '{}'\n", by_key.key, by_digest.artifact.digest);
    t.write("sub/pipeline.lock", lock.as_bytes());
    t.write("sub/not-a-root.txt", other.key.to_string().as_bytes());
    t.store.link(&t.path("build/p"), "s", &linked.artifact.digest).unwrap();
    let lease = t.store.lease(&[leased.digest]).unwrap();

    let dry = GcOptions { dry_run: true, ..GcOptions::default() };
    let planned = t.store.gc(&[t.folder.path().to_owned()], &dry).unwrap();
    assert!(is_hit(&t, &other));
    let report = gc(&t);
    assert_eq!(planned, report);
    assert_eq!(report.results, [other.key]);
    assert_eq!(report.objects, [other.artifact.digest]);
    assert_eq!(report.kept_objects, 4);
    assert!(report.bytes > 0);
    for kept in [&by_key, &by_digest, &linked] {
        assert!(is_hit(&t, kept));
    }
    assert!(matches!(t.store.lookup(&other.key), Lookup::Miss));

    drop(lease);
    assert_eq!(gc(&t).objects, [leased.digest]);
    assert_eq!(gc(&t), GcReport { kept_objects: 3, ..GcReport::default() });
    assert_eq!(t.store.verify().unwrap().damaged, []);
}

#[test]
fn what_stages_kept_from_run_to_run_goes_when_it_is_old() {
    let t = TestStore::new();
    t.commit(&[("f", b"makes it a store")]);
    let kept = t.store.root().join("kept/search");
    for name in ["old", "young"] {
        fs::create_dir_all(kept.join(name)).unwrap();
        fs::write(kept.join(name).join("trial"), name).unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_hours(31 * 24);
    fs::File::open(kept.join("old")).unwrap().set_modified(long_ago).unwrap();
    gc(&t);
    assert!(!kept.join("old").exists());
    assert!(kept.join("young/trial").exists());
}

#[test]
fn a_kept_deployment_keeps_the_engines_it_names() {
    let t = TestStore::new();
    let [engine, ..] = four(&t);
    let manifest = format!("{{\"engine\":\"{}\"}}", engine.artifact.digest);
    let deployment = t.commit(&[("deployment.json", manifest.as_bytes())]);
    symlink(t.store.object_path(&deployment.digest), t.path("link")).unwrap();
    assert_eq!(gc(&t).kept_objects, 2);
    assert!(is_hit(&t, &engine));
}

#[test]
fn young_results_stay_if_asked() {
    let t = TestStore::new();
    let [old, young, ..] = four(&t);
    for result in four(&t) {
        age(&t.store.result_path(&result.key), 7200);
    }
    t.store.record(&young).unwrap();
    let keep_newer_than = Some(Duration::from_hours(1));
    let report = t.store.gc(&[], &GcOptions { keep_newer_than, dry_run: false }).unwrap();
    assert_eq!((report.results.len(), report.kept_objects), (3, 1));
    assert!(is_hit(&t, &young) && !is_hit(&t, &old));
}

#[test]
fn gc_removes_what_a_killed_process_left_and_damaged_results() {
    let t = TestStore::new();
    let [result, ..] = four(&t);
    t.write("p.lock", result.key.to_string().as_bytes());
    let scratch = t.store.scratch().unwrap();
    fill(scratch.path(), &[("a/b", b"half")]);
    tree::set_mode(&scratch.path().join("a"), 0o555).unwrap();
    std::mem::forget(scratch);
    let key_lock = t.store.lock_key(&result.key, &|| false).unwrap();
    t.write(&format!(".trt-pipeline/locks/{}", Digest::of(b"dead")), b"");
    t.write(".trt-pipeline/tmp/.tmpAbC", b"{\"format\": 1, \"ke");
    t.write(&format!(".trt-pipeline/results/{}.json", Digest::of(b"d")), b"{\"format\": 1, \"ke");
    let report = gc(&t);
    assert_eq!(report.leftovers, 3);
    assert!(report.results.contains(&Digest::of(b"d")));
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
    assert!(is_hit(&t, &result));
    drop(key_lock);
    assert_eq!(t.store.verify().unwrap().damaged, []);
}

#[test]
fn gc_waits_for_nobody_and_removes_nothing_while_another_uses_the_store() {
    let t = TestStore::new();
    let [result, ..] = four(&t);
    let other = t.reopened();
    assert!(matches!(other.lookup(&result.key), Lookup::Hit(_)));
    let gc = || t.store.gc(&[], &GcOptions::default());
    assert!(matches!(gc(), Err(StoreError::InUse { .. })));
    assert!(is_hit(&t, &result));
    drop(other);
    assert_eq!(gc().unwrap().objects.len(), 4);
    let other = t.reopened();
    assert!(other.scratch().is_ok());
    assert!(matches!(gc(), Err(StoreError::InUse { .. })));
}

#[test]
fn gc_of_a_store_that_does_not_exist_makes_none() {
    let t = TestStore::new();
    assert_eq!(gc(&t), GcReport::default());
    assert!(!t.store.root().exists());
}

#[test]
fn verify_finds_damage_that_the_stat_database_vouches_for() {
    let t = TestStore::new();
    let [result, intact, ..] = four(&t);
    let file = t.object_file(&result.artifact, "f");
    tamper(&file, b"!");
    // As if the disk had changed the byte and the file had settled since.
    let stat = FileStat::of(&fs::metadata(&file).unwrap());
    t.store.stats.put(stat, result.artifact.files[0].digest);
    assert!(is_hit(&t, &result));
    let report = t.store.verify().unwrap();
    assert_eq!((report.results, report.objects, report.bytes), (4, 4, 4));
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].path, t.store.object_path(&result.artifact.digest));
    assert!(is_hit(&t, &intact));
    // The stat record does not vouch any more, once it may be corrected.
    t.store.stats.put(stat, Digest::of(b"!"));
    damage(&t.store.lookup(&result.key));
}

#[test]
fn verify_finds_missing_objects_extra_files_and_broken_results() {
    let t = TestStore::new();
    let [missing, extra, broken, _] = four(&t);
    tree::remove(&t.store.object_path(&missing.artifact.digest)).unwrap();
    let folder = t.store.object_path(&extra.artifact.digest);
    tree::set_mode(&folder, 0o755).unwrap();
    fs::write(folder.join("extra"), b"").unwrap();
    fs::write(t.store.result_path(&broken.key), b"").unwrap();
    let damaged: Vec<_> = t.store.verify().unwrap().damaged.into_iter().map(|d| d.path).collect();
    assert_eq!(damaged.len(), 3);
    for path in [folder, t.store.result_path(&missing.key), t.store.result_path(&broken.key)] {
        assert!(damaged.contains(&path), "{}", path.display());
    }
    let inventory = t.store.ls().unwrap();
    assert_eq!((inventory.results.len(), inventory.objects, inventory.bytes), (3, 3, 3));
}
