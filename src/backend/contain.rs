//! [`contained`]: calls into libraries with their panics turned into errors, and kept off the
//! terminal.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

static HOOK: Once = Once::new();

/// Runs `work`, which calls `library`; a panic in it becomes its message. The panic hook installed
/// at the first call hands every other panic to the hook that was there before.
pub(super) fn contained<T>(library: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.with(Cell::get) == 0 {
                previous(info);
            }
        }));
    });
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    result.map_err(|payload| format!("internal error of {library}: {}", message(payload.as_ref())))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&'static str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_nested_calls_keep_count() {
        assert_eq!(contained("it", || 3), Ok(3));
        let outer = contained("it", || {
            let inner: Result<(), String> = contained("it", || panic!("inner {}", 1));
            assert_eq!(inner, Err("internal error of it: inner 1".to_owned()));
            panic!("outer")
        });
        assert_eq!(outer, Err::<(), _>("internal error of it: outer".to_owned()));
        assert_eq!(DEPTH.with(Cell::get), 0);
    }
}
