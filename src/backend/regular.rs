//! Reading files that are named by hand.

use std::fs;
use std::io;
use std::path::Path;

/// The content of a regular file. Anything else is refused, and not opened: reading a pipe would
/// wait for someone to write into it.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() {
        fs::read(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}
