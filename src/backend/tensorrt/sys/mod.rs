//! The binary interface of TensorRT: generated tables, and typed wrappers that choose among them.
//!
//! Owns how a C++ object is called. Knows nothing of who owns it: everything here is `unsafe`,
//! `handle` makes it safe. The tables come from `ffi/*.h` through bindgen, the wrappers from
//! `ffi/generate.py`.
#![expect(unsafe_code, reason = "calls C++ objects through their function tables")]

use std::ffi::c_void;
use std::ptr::NonNull;

use super::generation::Generation;

/// The bindings of one generation: committed, or made from the header by this very build.
macro_rules! generation {
    ($name:ident) => {
        #[allow(
            dead_code,
            non_camel_case_types,
            non_snake_case,
            non_upper_case_globals,
            unsafe_code,
            unreachable_pub,
            clippy::all,
            clippy::pedantic,
            reason = "bindgen's names are those of the header, and not all of them are used"
        )]
        pub(super) mod $name {
            #[cfg(not(feature = "buildtime-bindgen"))]
            include!(concat!("bindings/", stringify!($name), ".rs"));
            #[cfg(feature = "buildtime-bindgen")]
            include!(concat!(env!("OUT_DIR"), "/trt_", stringify!($name), ".rs"));

            #[cfg(all(test, feature = "buildtime-bindgen"))]
            #[test]
            fn the_committed_bindings_are_those_of_the_header() {
                let made =
                    include_str!(concat!(env!("OUT_DIR"), "/trt_", stringify!($name), ".rs"));
                let committed = include_str!(concat!("bindings/", stringify!($name), ".rs"));
                assert!(made == committed, "UPDATE_BINDINGS=1 makes them anew");
            }
        }
    };
}

generation!(v8_6);
generation!(v10);
generation!(v11);
generation!(rtx1_4);
generation!(rtx1);

/// Calls a method of the implementation behind an object: `{ table, implementation }`.
macro_rules! call_impl {
    ($self:ident, $generation:ident::$table:ident, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: of the caller; such an object holds its implementation's address behind its
        // own table's.
        let object = unsafe { *$self.object.as_ptr().cast::<*mut c_void>().add(1) };
        call_at!(object, $generation::$table, $method $(, $argument)*)
    }};
}

/// Calls a method of an object itself.
macro_rules! call_direct {
    ($self:ident, $generation:ident::$table:ident, $method:ident $(, $argument:expr)*) => {
        call_at!($self.object.as_ptr(), $generation::$table, $method $(, $argument)*)
    };
}

macro_rules! call_at {
    ($object:expr, $generation:ident::$table:ident, $method:ident $(, $argument:expr)*) => {{
        let object: *mut c_void = $object;
        // SAFETY: of the caller; an object begins with the address of its table.
        let table = unsafe { *object.cast::<*const $generation::$table>() };
        // SAFETY: the library's version has this slot. Only the one field is read: the real
        // table may be shorter than the struct, which describes the newest of the generation.
        let method = unsafe { (*table).$method };
        let method = method.expect("a slot of a function table is never null");
        // SAFETY: of the caller; the signature is the one that the fact table has.
        unsafe { method(object $(, $argument)*) }
    }};
}

/// The same call in every generation.
macro_rules! everywhere {
    ($call:ident, $self:ident, $table:ident, $method:ident $(, $argument:expr)*) => {
        match $self.abi.generation {
            Generation::V8_6 => $call!($self, v8_6::$table, $method $(, $argument)*),
            Generation::V10 => $call!($self, v10::$table, $method $(, $argument)*),
            Generation::V11 => $call!($self, v11::$table, $method $(, $argument)*),
            Generation::Rtx1_4 => $call!($self, rtx1_4::$table, $method $(, $argument)*),
            Generation::Rtx1 => $call!($self, rtx1::$table, $method $(, $argument)*),
        }
    };
}

/// An object that a method returned, with the ABI of the one that returned it.
macro_rules! wrap {
    ($class:ident, $object:expr, $abi:expr) => {{
        let object: *mut c_void = $object.cast();
        // SAFETY: the method returns null or an object of this class.
        unsafe { $class::from_raw(object, $abi) }
    }};
}

#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::pedantic,
    reason = "generated: a wrapper per method of ffi/used.toml, an enumerator per name in C++"
)]
mod wrappers;

pub(super) use wrappers::*;

/// How to call the objects of one library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abi {
    pub(super) generation: Generation,
    pub(super) version: (u32, u32, u32),
}

/// A class, method or enumerator that the library does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this TensorRT has no {class}::{method}{}", if since.is_empty() { String::new() } else { format!(" (there from {since} on)") })]
pub(super) struct Missing {
    pub(super) class: &'static str,
    pub(super) method: &'static str,
    /// The first version of the generation that has it, where one has.
    pub(super) since: &'static str,
}

/// Extents of a tensor, -1 where open: `nvinfer1::Dims` of any generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dims {
    rank: i32,
    extents: [i64; Dims::MAX],
}

impl Dims {
    /// The most axes a tensor can have.
    pub(super) const MAX: usize = 8;

    /// `None` where there are more than eight.
    pub(super) fn new(extents: &[i64]) -> Option<Self> {
        let mut dims = Self { rank: i32::try_from(extents.len()).ok()?, extents: [0; Self::MAX] };
        dims.extents.get_mut(..extents.len())?.copy_from_slice(extents);
        Some(dims)
    }

    /// The extents; `None` for the invalid value (rank -1) that a failing method returns.
    pub(super) fn extents(&self) -> Option<&[i64]> {
        self.extents.get(..usize::try_from(self.rank).ok()?)
    }

    /// What a pointer to `Dims` from a library points at.
    ///
    /// # Safety
    /// `dims` points at a `Dims` of that generation.
    pub(super) unsafe fn read(dims: *const c_void, abi: Abi) -> Self {
        match abi.generation {
            // SAFETY: of the caller.
            Generation::V8_6 => unsafe { *dims.cast::<v8_6::Dims32>() }.into(),
            // SAFETY: of the caller; the type is the same in all later generations.
            _ => unsafe { *dims.cast::<v10::Dims64>() }.into(),
        }
    }

    /// An extent that the library's integers cannot hold: those of 8.6 have 32 bits.
    pub(super) fn too_wide(&self, abi: Abi) -> Option<i64> {
        let is_narrow = abi.generation == Generation::V8_6;
        self.extents.into_iter().find(|&extent| is_narrow && i32::try_from(extent).is_err())
    }

    /// As 8.6 has them; what is [too wide](Self::too_wide) becomes the largest there is.
    fn to_32(self) -> v8_6::Dims32 {
        let narrow = |extent| i32::try_from(extent).unwrap_or(i32::MAX);
        v8_6::Dims32 { nbDims: self.rank, d: self.extents.map(narrow) }
    }

    fn to_64(self) -> v10::Dims64 {
        v10::Dims64 { nbDims: self.rank, d: self.extents }
    }
}

impl From<v8_6::Dims32> for Dims {
    fn from(dims: v8_6::Dims32) -> Self {
        Self { rank: dims.nbDims, extents: dims.d.map(i64::from) }
    }
}

macro_rules! from_dims_64 {
    ($($generation:ident)+) => {
        $(impl From<$generation::Dims64> for Dims {
            fn from(dims: $generation::Dims64) -> Self {
                Self { rank: dims.nbDims, extents: dims.d }
            }
        })+
    };
}

from_dims_64! { v10 v11 rtx1_4 rtx1 }

/// Address of a `std::type_info`, or null.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeInfo(pub(super) *const c_void);

// SAFETY: it points at constant data that is never freed.
unsafe impl Send for TypeInfo {}
// SAFETY: as above.
unsafe impl Sync for TypeInfo {}

/// A table as C++ lays it out: the address that objects hold is that of `functions`.
#[repr(C)]
struct Table<T> {
    offset_to_top: isize,
    type_info: *const c_void,
    functions: T,
}

/// Makes a table that lives as long as the process.
fn leak_table<T>(type_info: TypeInfo, functions: T) -> NonNull<c_void> {
    let table = Box::leak(Box::new(Table { offset_to_top: 0, type_info: type_info.0, functions }));
    NonNull::from(&mut table.functions).cast()
}

/// Runs the deleting destructor in `slot` of the object's own table.
///
/// # Safety
/// The object is alive and owned by the caller; the slot is its deleting destructor's.
unsafe fn delete(object: NonNull<c_void>, slot: usize) {
    type Destructor = unsafe extern "C" fn(*mut c_void);
    // SAFETY: of the caller; an object begins with the address of its table.
    let table = unsafe { *object.as_ptr().cast::<*const Destructor>() };
    // SAFETY: of the caller; the table has that slot.
    let entry = unsafe { table.add(slot) };
    // SAFETY: as above.
    let destructor = unsafe { *entry };
    // SAFETY: of the caller.
    unsafe { destructor(object.as_ptr()) }
}
