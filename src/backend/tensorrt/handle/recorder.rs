//! [`Recorder`]: the errors of one call, for the error that it becomes.

use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::error::{Reported, TrtError};
use super::super::sys::{Abi, ErrorCode, IErrorRecorderFunctions};
use super::callback::{Callback, SharedTable, guarded, state_of, text, type_info};

/// More errors than this are counted, not kept.
const MOST: usize = 64;

static TABLE: SharedTable = SharedTable::new();

#[derive(Debug)]
struct State {
    abi: Abi,
    errors: Mutex<Vec<(i32, CString)>>,
    references: AtomicI32,
}

impl State {
    fn errors(&self) -> MutexGuard<'_, Vec<(i32, CString)>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects what TensorRT reports about the objects it is set on.
#[derive(Debug, Clone)]
pub(in super::super) struct Recorder(Arc<Callback<State>>);

impl Recorder {
    pub(in super::super) fn new(abi: Abi) -> Result<Self, TrtError> {
        let functions = IErrorRecorderFunctions {
            get_nb_errors,
            get_error_code,
            get_error_desc,
            has_overflowed,
            clear,
            report_error,
            inc_ref_count,
            dec_ref_count,
        };
        let table = TABLE.get(abi, || functions.table(abi, type_info))?;
        let state = State { abi, errors: Mutex::default(), references: AtomicI32::new(0) };
        Ok(Self(Callback::new(table, state)))
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Takes what was reported since the last time.
    pub(in super::super) fn take(&self) -> Vec<Reported> {
        let state = self.0.state();
        let taken = std::mem::take(&mut *state.errors());
        let reported = taken.into_iter().map(|(code, message)| {
            let code = ErrorCode::from_value(state.abi.generation, code);
            Reported {
                code: code.map_or("an unknown code", ErrorCode::name),
                message: message.to_string_lossy().trim().to_owned(),
            }
        });
        reported.collect()
    }

    /// The error of a call that failed.
    pub(in super::super) fn failed(&self, call: &'static str) -> TrtError {
        TrtError::Failed { call, reported: self.take() }
    }

    /// The object of a call that gives null where it fails.
    pub(super) fn check<T>(&self, call: &'static str, object: Option<T>) -> Result<T, TrtError> {
        object.ok_or_else(|| self.failed(call))
    }

    /// A call that gives `false` where it fails.
    pub(super) fn hold(&self, call: &'static str, succeeded: bool) -> Result<(), TrtError> {
        if succeeded { Ok(()) } else { Err(self.failed(call)) }
    }
}

/// The recorder that a function of the table was called on.
///
/// # Safety
/// `object` is the address of a live [`Recorder`].
unsafe fn state<'a>(object: *mut c_void) -> &'a State {
    // SAFETY: of the caller.
    unsafe { state_of(object) }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

unsafe extern "C" fn get_nb_errors(object: *mut c_void) -> i32 {
    // SAFETY: C++ calls the table's functions on the object it belongs to.
    let state = unsafe { state(object) };
    guarded("getNbErrors", 0, || number(state.errors().len()))
}

unsafe extern "C" fn get_error_code(object: *mut c_void, index: i32) -> i32 {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    guarded("getErrorCode", 0, || {
        let errors = state.errors();
        usize::try_from(index).ok().and_then(|at| errors.get(at)).map_or(0, |(code, _)| *code)
    })
}

unsafe extern "C" fn get_error_desc(object: *mut c_void, index: i32) -> *mut c_void {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    guarded("getErrorDesc", c"".as_ptr().cast_mut().cast(), || {
        let errors = state.errors();
        let found = usize::try_from(index).ok().and_then(|at| errors.get(at));
        // The text's own memory does not move when the list grows.
        found.map_or(c"".as_ptr(), |(_, message)| message.as_ptr()).cast_mut().cast()
    })
}

unsafe extern "C" fn has_overflowed(object: *mut c_void) -> bool {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    guarded("hasOverflowed", false, || state.errors().len() >= MOST)
}

unsafe extern "C" fn clear(object: *mut c_void) {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    guarded("clear", (), || state.errors().clear());
}

unsafe extern "C" fn report_error(object: *mut c_void, code: i32, message: *mut c_void) -> bool {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    guarded("reportError", false, || {
        // SAFETY: TensorRT passes a C string.
        let message = unsafe { text(message.cast::<c_char>()) };
        tracing::debug!(target: "tensorrt", code, "{message}");
        let mut errors = state.errors();
        if errors.len() < MOST {
            errors.push((code, CString::new(message).unwrap_or_default()));
        }
        // Not an order to stop.
        false
    })
}

unsafe extern "C" fn inc_ref_count(object: *mut c_void) -> i32 {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    state.references.fetch_add(1, Ordering::SeqCst) + 1
}

unsafe extern "C" fn dec_ref_count(object: *mut c_void) -> i32 {
    // SAFETY: as above.
    let state = unsafe { state(object) };
    state.references.fetch_sub(1, Ordering::SeqCst) - 1
}
