//! [`Memory`]: what trials came to, on disk, so that a search that was ended goes on where it was.
//!
//! It only saves time: whatever goes wrong with it is told to nobody but the log, and the trial is
//! made again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::artifact::Digest;

use super::measured::{Answers, Measured};

/// The trials of all searches in which the same set always comes to the same.
#[derive(Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

/// A trial in its file. JSON has no infinity, and not all readers give every bit back.
#[derive(Serialize, Deserialize)]
struct Entry {
    format: u32,
    snr_bits: u64,
    answers: Option<Answers>,
}

const FORMAT: u32 = 1;

impl Memory {
    /// In a folder that outlives runs; `key` is the digest of all that decides what a set comes to.
    pub(super) fn new(kept: &Path, key: &Digest) -> Self {
        Self { folder: kept.join("search").join(key.to_string()) }
    }

    /// What a set came to, if that is known.
    pub(super) fn get(&self, set: &Digest) -> Option<Measured> {
        let text = fs::read_to_string(self.path(set)).ok()?;
        let (checksum, json) = text.split_once('\n')?;
        if checksum.parse() != Ok(Digest::of(json.as_bytes())) {
            return None;
        }
        let entry: Entry =
            serde_json::from_str(json).ok().filter(|e: &Entry| e.format == FORMAT)?;
        Some(Measured { snr_db: f64::from_bits(entry.snr_bits), answers: entry.answers })
    }

    /// Remembers what a set came to.
    pub(super) fn put(&self, set: &Digest, measured: Measured) {
        if let Err(error) = self.write(set, measured) {
            tracing::debug!("a trial is not remembered in `{}`: {error}", self.folder.display());
        }
    }

    fn write(&self, set: &Digest, measured: Measured) -> io::Result<()> {
        let Measured { snr_db, answers } = measured;
        let entry = Entry { format: FORMAT, snr_bits: snr_db.to_bits(), answers };
        let json = serde_json::to_string(&entry)?;
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        write!(file, "{}\n{json}", Digest::of(json.as_bytes()))?;
        file.as_file().sync_data()?;
        file.persist(self.path(set))?;
        Ok(())
    }

    fn path(&self, set: &Digest) -> PathBuf {
        self.folder.join(set.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back_and_damage_is_as_if_nothing_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path(), &Digest::of(b"key"));
        let set = Digest::of(b"set");
        assert_eq!(memory.get(&set), None);
        let answers = Some(Answers { right: 3, right_before: 4, samples: 5 });
        for snr_db in [0.1 + 0.2, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE] {
            memory.put(&set, Measured { snr_db, answers });
            let found = memory.get(&set).unwrap();
            assert_eq!((found.snr_db.to_bits(), found.answers), (snr_db.to_bits(), answers));
        }
        assert_eq!(memory.get(&Digest::of(b"other")), None);
        let other = Memory::new(folder.path(), &Digest::of(b"another key"));
        assert_eq!(other.get(&set), None);
        let path = memory.path(&set);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [text.replace('3', "4"), text[..text.len() - 1].to_owned(), String::new()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(memory.get(&set), None);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_loses_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let memory = Memory::new(&file, &Digest::of(b"key"));
        memory.put(&Digest::of(b"set"), Measured { snr_db: 1.0, answers: None });
        assert_eq!(memory.get(&Digest::of(b"set")), None);
    }
}
