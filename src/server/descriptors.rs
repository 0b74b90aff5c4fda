//! How many files the process may have open, and how the listeners share them: connections are
//! files, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::Role;

/// Kept for everything that is no connection: engines, the store, logs.
const RESERVED: usize = 256;

/// Most connections to the listener for control requests, so that it answers when the others are
/// full.
const ADMIN: usize = 256;

/// Allows as many open files as the system lets this process; says how many.
pub(super) fn allow_all() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = if raised.is_ok() { limit.maximum } else { limit.current };
    allowed.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// How many connections a listener may have, of the `wanted`, where `inference` listeners and one
/// for control requests share the open files there may be.
pub(super) fn share(role: Role, wanted: usize, inference: usize, files: usize) -> usize {
    let files = files - RESERVED.min(files / 2);
    let admin = ADMIN.min(files / 8);
    let share = match role {
        Role::Admin => admin,
        Role::Http | Role::Grpc => (files - admin) / inference.max(1),
    };
    wanted.min(share).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_together_never_have_more_connections_than_there_may_be_files() {
        for files in [0, 1, 16, 64, 1024, 20_000, usize::MAX] {
            for inference in [0, 1, 2] {
                let one = share(Role::Http, usize::MAX, inference, files);
                let admin = share(Role::Admin, usize::MAX, inference, files);
                assert!(one >= 1 && admin >= 1);
                let all = one.saturating_mul(inference).saturating_add(admin);
                assert!(all <= files.max(3), "{all} of {files}");
            }
        }
        assert_eq!(share(Role::Grpc, 16_384, 2, 20_000), 9_744);
        assert_eq!(share(Role::Http, 100, 2, 20_000), 100);
    }
}
