//! What this process itself takes.

#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "the C library's allocator is told when to tidy up")
)]

/// Bytes of this process that are in RAM; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Gives memory that was freed back to the system. Loading a model takes several times its size for
/// a moment, in pieces all over the heap, and the allocator keeps those that lie between others.
pub fn give_back_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and any thread may call it at any time.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// From now on keeps memory that was freed, up to 64 MiB for each part of the heap, for what comes
/// next. Requests and batches come and go by the thousand; giving each one's memory back and taking
/// it again, page by page, costs a server more than half of its time. Where the environment says
/// how the allocator is to do this (`MALLOC_TRIM_THRESHOLD_` and others), it is left as it is.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    {
        let is_told = |(name, _): (std::ffi::OsString, _)| {
            name == "GLIBC_TUNABLES" || name.as_encoded_bytes().starts_with(b"MALLOC_")
        };
        if std::env::vars_os().any(is_told) {
            return;
        }
        for (parameter, bytes) in
            [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 64 << 20)]
        {
            // SAFETY: takes numbers alone, and any thread may call it at any time.
            let _ = unsafe { libc::mallopt(parameter, bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
