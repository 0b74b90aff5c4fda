//! BLAKE3 of an open file of any size with bounded memory: blocks of the tree are read with
//! `pread` and hashed in parallel, then merged.
//!
//! Knows file descriptors and nothing else. Memory maps are avoided: they need `unsafe`, and a
//! file truncated under one kills the process.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes read at a time, per thread. A power of two, so that a block is a subtree; it fits the L2
/// cache and keeps 128 threads within 32 MiB. A file of one block is hashed on the
/// calling thread: waking the pool would cost more.
const BLOCK: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hashes the first `size` bytes of `file`. The position of the descriptor is neither used nor
/// moved. Fails with [`io::ErrorKind::UnexpectedEof`] if the file is shorter.
///
/// Large files are hashed on the rayon pool: no lock may be held by the caller.
pub(crate) fn hash_file(file: &File, size: u64) -> io::Result<blake3::Hash> {
    if size <= BLOCK as u64 {
        return with_block(file, 0, size, blake3::hash);
    }
    let (left, right) = halves(file, 0, size)?;
    Ok(merge_subtrees_root(&left, &right, Mode::Hash))
}

fn halves(file: &File, offset: u64, len: u64) -> io::Result<(ChainingValue, ChainingValue)> {
    let left = left_subtree_len(len);
    let (a, b) =
        rayon::join(|| subtree(file, offset, left), || subtree(file, offset + left, len - left));
    Ok((a?, b?))
}

fn subtree(file: &File, offset: u64, len: u64) -> io::Result<ChainingValue> {
    if len > BLOCK as u64 {
        let (left, right) = halves(file, offset, len)?;
        return Ok(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    with_block(file, offset, len, |bytes| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        hasher.update(bytes);
        hasher.finalize_non_root()
    })
}

fn with_block<T>(
    file: &File,
    offset: u64,
    len: u64,
    hash: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    let mut buffer = BUFFER.take();
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(BLOCK);
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = file.read_exact_at(&mut buffer[..len], offset).map(|()| hash(&buffer[..len]));
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn content(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn every_size_around_a_boundary_gives_the_standard_hash() {
        let block = BLOCK;
        let mut sizes = vec![0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3 * 1024 + 1];
        for base in [64 << 10, 128 << 10, block, 2 * block, 3 * block, 4 * block, 1 << 20, 5 << 20]
        {
            sizes.extend([base - 1, base, base + 1, base + 1024, base + 1025]);
        }
        sizes.extend([7 * block + 12_345, 13 * block - 1024, (9 << 20) + 777]);
        let bytes = content(10 << 20);
        for size in sizes {
            let file = file_of(&bytes[..size]);
            assert_eq!(
                hash_file(&file, size as u64).unwrap(),
                blake3::hash(&bytes[..size]),
                "{size} bytes"
            );
        }
    }

    #[test]
    fn a_file_shorter_than_said_is_an_error() {
        for size in [10_usize, 3 << 20] {
            let file = file_of(&content(size - 1));
            let error = hash_file(&file, size as u64).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
