//! [`Slot`]: a GPU for oneself, while kernels on it are timed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::process::CancelToken;

/// How often a taken slot is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The right to time kernels on a GPU, held until it is dropped. It keeps stages of this and other
/// runs with the same cache apart; programs that do not ask for it are not kept out.
#[derive(Debug)]
pub struct Slot {
    _locked: File,
}

impl Slot {
    /// Waits for the slot of a GPU; `folder` is where all who share it look. `None` where the wait
    /// was cancelled.
    pub fn take(folder: &Path, device: usize, cancel: &CancelToken) -> io::Result<Option<Self>> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
        };
        fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
        let path = folder.join(format!("gpu-{device}.lock"));
        let file = File::create(&path).map_err(|error| named(&path, error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _locked: file })),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if cancel.is_cancelled() => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(RETRY),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_the_slot_of_a_gpu_and_a_cancelled_wait_ends() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = CancelToken::default();
        let held = Slot::take(folder.path(), 0, &cancel).unwrap();
        assert!(held.is_some());
        assert!(Slot::take(folder.path(), 1, &cancel).unwrap().is_some(), "another GPU is free");
        cancel.cancel();
        assert!(Slot::take(folder.path(), 0, &cancel).unwrap().is_none());
        drop(held);
        assert!(Slot::take(folder.path(), 0, &cancel).unwrap().is_some());
    }
}
