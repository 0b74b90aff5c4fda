//! [`Callback`]: an object of ours that C++ calls.

use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::generation::Generation;
use super::super::sys::{Abi, Missing, TypeInfo};

/// An object as C++ sees it: the address of its function table, then what is ours.
///
/// C++ may call from any thread, so the state is `Sync`; it may call as long as it knows the
/// address, so whoever gave it the address holds the `Arc` until C++ has forgotten it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Callback<T> {
    table: NonNull<c_void>,
    state: T,
}

// SAFETY: the table is constant data that lives as long as the process.
unsafe impl<T: Send> Send for Callback<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Callback<T> {}

impl<T: Send + Sync> Callback<T> {
    /// `table` must be one that takes objects with this state: its functions get it by
    /// [`state_of`].
    pub(super) fn new(table: NonNull<c_void>, state: T) -> Arc<Self> {
        Arc::new(Self { table, state })
    }

    pub(super) fn state(&self) -> &T {
        &self.state
    }

    /// The address that C++ gets.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// The function table of one kind of callback. A table lives as long as the process, so there is
/// one for each generation, however many callbacks there are.
pub(super) struct SharedTable(Mutex<Vec<(Generation, Table)>>);

#[derive(Clone, Copy)]
struct Table(NonNull<c_void>);

// SAFETY: it points at constant data that lives as long as the process.
unsafe impl Send for Table {}

impl SharedTable {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The table for a library; `make` makes it when it is first asked for.
    pub(super) fn get(
        &self,
        abi: Abi,
        make: impl FnOnce() -> Result<NonNull<c_void>, Missing>,
    ) -> Result<NonNull<c_void>, Missing> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, Table(known))) = tables.iter().find(|(of, _)| *of == abi.generation) {
            return Ok(*known);
        }
        let table = make()?;
        tables.push((abi.generation, Table(table)));
        Ok(table)
    }
}

/// The state of the object that a function of its table was called on.
///
/// # Safety
/// `object` is a `Callback<T>` that is alive for `'a`.
pub(super) unsafe fn state_of<'a, T>(object: *mut c_void) -> &'a T {
    // SAFETY: of the caller.
    let callback = unsafe { &*object.cast::<Callback<T>>() };
    &callback.state
}

/// Runs the body of a callback: a panic must not cross into C++.
pub(super) fn guarded<R>(name: &'static str, otherwise: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        tracing::error!(callback = name, "a callback panicked: {}", panic_text(panic.as_ref()));
        otherwise
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

/// A copy of C++'s text.
///
/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: of the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A `std::type_info` of a class without bases, so that C++ can ask what a callback is
/// (`dynamic_cast`, `typeid`) without reading a null pointer. Null where no C++ runtime is loaded.
pub(super) fn type_info(name: &'static CStr) -> TypeInfo {
    /// The virtual table that all such descriptions share, in the C++ runtime.
    const CLASS: &[u8] = b"_ZTVN10__cxxabiv117__class_type_infoE\0";
    /// Offset to top and type information come before the functions.
    const BEFORE_FUNCTIONS: usize = 2;
    let process = libloading::os::unix::Library::this();
    // SAFETY: only the symbol's address is used.
    let table = unsafe { process.get::<*const usize>(CLASS) };
    let Ok(table) = table else { return TypeInfo(std::ptr::null()) };
    let table: *const usize = table.as_raw_ptr().cast();
    // SAFETY: the table has its functions behind the two words.
    let functions = unsafe { table.add(BEFORE_FUNCTIONS) };
    let info = Box::leak(Box::new([functions.cast::<c_void>(), name.as_ptr().cast()]));
    TypeInfo(info.as_ptr().cast())
}
