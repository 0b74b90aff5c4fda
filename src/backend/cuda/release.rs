//! The driver's release, such as 580.95.05, as its kernel module tells it. No library is loaded.

use std::fs;
use std::path::Path;

/// The release of the driver that the kernel runs; `None` where there is none or it is hidden, as
/// in some containers.
pub fn driver_release() -> Option<String> {
    release_in(Path::new("/proc/driver/nvidia/version"))
}

fn release_in(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    // `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025`
    let words = text.lines().next()?.split_whitespace();
    let is_release = |word: &&str| {
        word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    words.rev().find(is_release).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_found_in_the_words_of_both_kernel_modules() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\nGCC version:  gcc version 12.2.0\n",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (u@h)\n",
        ] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(release_in(file.path()).as_deref(), Some("580.95.05"), "{text}");
        }
        fs::write(file.path(), "NVRM version: unknown\n").unwrap();
        assert_eq!(release_in(file.path()), None);
        assert_eq!(release_in(Path::new("/nonexistent")), None);
    }
}
