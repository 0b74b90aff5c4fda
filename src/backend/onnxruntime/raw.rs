//! Running a session on memory that contexts own: what the `ort` crate has no safe call for.
//!
//! Its `Session::run` takes the session for itself alone, so that contexts could not share one and
//! each would hold the weights again; and it takes elements of Rust's own types only, which leaves
//! out FP8. Everything here is about one call of the library's `Run`.

#![expect(unsafe_code, reason = "the library is a C library that is handed memory")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use ort::AsPointer as _;
use ort::memory::MemoryInfo;
use ort::session::{RunOptions, Session};
use ort::sys::{OrtStatusPtr, OrtValue};
use ort::value::{DynTensor, DynTensorValueType, DynValue, TensorElementType};

use crate::tensor::Shape;

/// A tensor that stays where it is.
pub(super) struct View<'a> {
    value: NonNull<OrtValue>,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    /// A tensor of these elements. The library checks that there are as many as the shape has.
    pub(super) fn new(
        element: TensorElementType,
        shape: &Shape,
        bytes: &'a [u8],
    ) -> Result<Self, ort::Error> {
        let extents: Vec<i64> = shape
            .0
            .iter()
            .map(|&extent| i64::try_from(extent))
            .collect::<Result<_, _>>()
            .map_err(ort::Error::wrap)?;
        let memory = MemoryInfo::default();
        let mut value = ptr::null_mut();
        // SAFETY: all pointers are to values that live during the call, the lengths are theirs.
        // The library keeps the address of `bytes`, which the lifetime of the view keeps alive;
        // it only reads inputs, although it takes them by pointers that could be written through.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                bytes.as_ptr().cast_mut().cast::<c_void>(),
                bytes.len(),
                extents.as_ptr(),
                extents.len(),
                element.into(),
                &raw mut value,
            )
        };
        checked(status)?;
        let value = NonNull::new(value).ok_or_else(|| ort::Error::new("no tensor was made"))?;
        Ok(Self { value, bytes: PhantomData })
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // SAFETY: the library made the value, and nobody else releases it. The bytes stay.
        unsafe { (ort::api().ReleaseValue)(self.value.as_ptr()) };
    }
}

/// A result, in the library's memory.
pub(super) struct Value(DynTensor);

/// What a result says of itself.
pub(super) struct Contents<'a> {
    pub(super) element: TensorElementType,
    pub(super) shape: Shape,
    pub(super) bytes: &'a [u8],
}

impl Value {
    /// The elements. Fails where they are texts.
    pub(super) fn contents(&self) -> Result<Contents<'_>, String> {
        let element = *self.0.data_type();
        let extents = self.0.shape().iter().map(|&extent| usize::try_from(extent));
        let shape: Vec<usize> =
            extents.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let size = self.0.size().ok_or_else(|| format!("it is a tensor of {element}"))?;
        let data = self.0.data_ptr().cast::<u8>();
        let bytes = if data.is_null() || size == 0 {
            &[]
        } else {
            // SAFETY: a tensor of the CPU has so many bytes at that address, which the library has
            // written and nobody changes while the value is borrowed.
            unsafe { std::slice::from_raw_parts(data, size) }
        };
        Ok(Contents { element, shape: shape.into(), bytes })
    }
}

/// Runs a session on the calling thread: `inputs` belong to `input_names`; gives what
/// `output_names` name. `options` may end the run from another thread.
pub(super) fn run(
    session: &Session,
    options: Option<&RunOptions>,
    input_names: &[CString],
    inputs: &[View<'_>],
    output_names: &[CString],
) -> Result<Vec<Value>, ort::Error> {
    if inputs.len() != input_names.len() {
        return Err(ort::Error::new("there is not one input per name"));
    }
    let addresses = |names: &[CString]| -> Vec<*const c_char> {
        names.iter().map(CString::as_c_str).map(CStr::as_ptr).collect()
    };
    let (input_names, output_names) = (addresses(input_names), addresses(output_names));
    let inputs: Vec<*const OrtValue> =
        inputs.iter().map(|view| view.value.as_ptr().cast_const()).collect();
    let mut outputs: Vec<*mut OrtValue> = vec![ptr::null_mut(); output_names.len()];
    // SAFETY: all pointers are to arrays that live during the call, of the lengths given. The
    // library documents `Run` as safe to call from several threads on one session; that holds for
    // the CPU execution provider, the only one that sessions get here.
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            options.map_or(ptr::null(), RunOptions::ptr),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            output_names.len(),
            outputs.as_mut_ptr(),
        )
    };
    // Owned before the status is looked at, so that none is lost.
    let owned: Vec<Option<DynValue>> = outputs
        .into_iter()
        .map(|output| {
            let output = NonNull::new(output)?;
            // SAFETY: `Run` hands its results over to the caller; they are the session's own.
            Some(unsafe { DynValue::from_ptr(output, Some(session.allocator())) })
        })
        .collect();
    checked(status)?;
    let tensor = |value: Option<DynValue>| {
        let value = value.ok_or_else(|| ort::Error::new("an output is missing"))?;
        value.downcast::<DynTensorValueType>().map(Value)
    };
    owned.into_iter().map(tensor).collect()
}

fn checked(status: OrtStatusPtr) -> Result<(), ort::Error> {
    // SAFETY: the status is fresh from a call of the library's and used once.
    unsafe { ort::Error::result_from_status(status) }
}
