use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::runtime::ErrorKind;

use super::super::Limits;
use super::*;

fn config(http: &str, on: bool) -> ServerConfig {
    ServerConfig {
        http: Some(http.parse().unwrap()),
        grpc: None,
        admin: None,
        control: false,
        token: None,
        tls: None,
        insecure: false,
        shared_memory: on,
        limits: Limits { body_bytes: 1 << 20, ..Limits::default() },
    }
}

/// Shared memory in a folder of its own, with an object `object` of 4096 bytes 0, 1, .. 255, 0 ..
fn memory() -> (SharedMemory, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    std::fs::write(folder.path().join("object"), bytes).unwrap();
    let mut memory = SharedMemory::new(&config("127.0.0.1:8000", true));
    memory.folder = folder.path().to_owned();
    (memory, folder)
}

#[test]
fn what_is_written_is_read() {
    let (memory, folder) = memory();
    memory.register("r", "/object", 256, 1024).unwrap();
    let part = memory.part("r", 16, 8).unwrap();
    assert_eq!(part.read().unwrap()[..], [16, 17, 18, 19, 20, 21, 22, 23]);
    part.write(&[7; 4]).unwrap();
    assert_eq!(part.read().unwrap()[..], [7, 7, 7, 7, 20, 21, 22, 23]);
    let file = std::fs::read(folder.path().join("object")).unwrap();
    assert_eq!(file[271..277], [15, 7, 7, 7, 7, 20]);
    assert_eq!(file.len(), 4096);
}

#[test]
fn regions_are_listed_until_they_are_unregistered() {
    let (memory, _folder) = memory();
    memory.register("b", "object", 0, 64).unwrap();
    memory.register("a", "/object", 64, 32).unwrap();
    let a = RegionStatus { name: "a".into(), key: "/object".into(), offset: 64, byte_size: 32 };
    assert_eq!(memory.status(Some("a")).unwrap(), [a]);
    let names = |memory: &SharedMemory| -> Vec<String> {
        memory.status(None).unwrap().into_iter().map(|region| region.name).collect()
    };
    assert_eq!(names(&memory), ["a", "b"]);
    let error = memory.register("a", "object", 0, 1).unwrap_err();
    assert!(matches!(error, SharedMemoryError::Twice(_)), "{error}");
    memory.unregister(Some("none"));
    memory.unregister(Some("a"));
    let error = memory.status(Some("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "unable to find shared memory region `a`; registered: b");
    memory.unregister(None);
    assert!(memory.status(None).unwrap().is_empty());
}

#[test]
fn a_part_outside_of_its_region_is_refused() {
    let (memory, _folder) = memory();
    memory.register("r", "object", 1024, 1024).unwrap();
    memory.part("r", 0, 1024).unwrap();
    for (offset, len) in [(0, 0), (0, 1025), (1, 1024), (1024, 1), (u64::MAX, 2), (2, u64::MAX)] {
        let error = memory.part("r", offset, len).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Outside { .. }), "{offset} {len}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    for (offset, size) in [(0, 4097), (4096, 1), (1, 4096), (1 << 62, 1)] {
        let error = memory.register("s", "object", offset, size).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Cut { .. }), "{offset} {size}: {error}");
    }
    for (offset, size) in [(0, 0), (u64::MAX, 1), (1 << 63, 1 << 63), (1, i64::MAX as u64)] {
        let error = memory.register("s", "object", offset, size).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Outside { .. }), "{offset} {size}: {error}");
    }
}

#[test]
fn an_object_that_was_cut_short_is_an_error_at_the_next_use() {
    let (memory, folder) = memory();
    memory.register("r", "object", 0, 4096).unwrap();
    let part = memory.part("r", 0, 4096).unwrap();
    part.read().unwrap();
    let file = File::options().write(true).open(folder.path().join("object")).unwrap();
    file.set_len(4095).unwrap();
    for error in [part.read().unwrap_err(), part.write(&[1]).unwrap_err()] {
        assert!(matches!(error, SharedMemoryError::Cut { size: 4095, .. }), "{error}");
    }
    assert_eq!(file.metadata().unwrap().len(), 4095, "a refused write makes nothing larger");
    assert_eq!(memory.part("r", 0, 64).unwrap().read().unwrap().len(), 64);
}

#[test]
fn an_output_larger_than_its_part_is_refused() {
    let (memory, folder) = memory();
    memory.register("r", "object", 0, 4096).unwrap();
    let error = memory.part("r", 0, 15).unwrap().write(&[9; 16]).unwrap_err();
    assert!(matches!(error, SharedMemoryError::NoRoom { room: 15, needed: 16, .. }), "{error}");
    assert_eq!(std::fs::read(folder.path().join("object")).unwrap()[..2], [0, 1]);
}

#[test]
fn only_regular_files_right_under_the_folder_are_opened() {
    let (memory, folder) = memory();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("secret"), [0; 4096]).unwrap();
    symlink(elsewhere.path().join("secret"), folder.path().join("link")).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for key in ["link", "/folder", "pipe", "/none"] {
        let error = memory.register("r", key, 0, 64).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Open { .. }), "{key}: {error}");
    }
    let long = "a".repeat(256);
    let outside = ["", "/", ".", "..", "/..", "../object", "//object", "folder/x", "a b", "é"];
    for key in outside.into_iter().chain(["a\0b", "object\n", &long]) {
        let error = memory.register("r", key, 0, 64).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Key(_)), "{key}: {error}");
    }
    for name in ["", &long] {
        let error = memory.register(name, "object", 0, 64).unwrap_err();
        assert!(matches!(error, SharedMemoryError::Name(_)), "{name}: {error}");
    }
}

#[test]
fn there_are_never_more_regions_than_may_be() {
    let (memory, _folder) = memory();
    for region in 0..MOST_REGIONS {
        memory.register(&region.to_string(), "object", 0, 64).unwrap();
    }
    let error = memory.register("one more", "object", 0, 64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    memory.unregister(Some("0"));
    memory.register("one more", "object", 0, 64).unwrap();
}

#[test]
fn a_huge_object_takes_no_memory() {
    let (memory, folder) = memory();
    let huge = File::create(folder.path().join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    memory.register("huge", "huge", 0, 1 << 40).unwrap();
    let error = memory.part("huge", 0, 1 << 40).unwrap_err();
    assert!(matches!(error, SharedMemoryError::TooLarge { .. }), "{error}");
}

#[test]
fn it_is_off_unless_asked_for_on_loopback_listeners_only() {
    let off = [config("127.0.0.1:8000", false), config("0.0.0.0:8000", true)];
    let mut admin = config("[::1]:8000", true);
    admin.admin = Some("192.0.2.1:8002".parse().unwrap());
    for config in off.into_iter().chain([admin]) {
        let memory = SharedMemory::new(&config);
        let errors = [
            memory.register("r", "object", 0, 1).unwrap_err(),
            memory.part("r", 0, 1).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, SharedMemoryError::Off(_)), "{error}");
        }
        assert!(memory.status(None).unwrap().is_empty());
    }
}
