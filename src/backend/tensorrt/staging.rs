//! [`Input`] and [`Output`]: the host's side of an engine's tensors.
//!
//! A tensor is staged in pinned memory, or, where TensorRT itself reads or writes it on the host,
//! in memory of the [`ContextHandle`]. TensorRT 8.6 computes in 32-bit integers where a model has
//! 64-bit ones: such a tensor has a second, wide copy, which is the one that callers see.

use std::sync::Arc;

use crate::backend::cuda::{CudaError, Ledger, PinnedBuffer, Submission};
use crate::tensor::{AlignedBytes, DType, Shape};

use super::error::TrtError;
use super::handle::ContextHandle;
use super::plan;
use super::sys::Dims;

/// How a tensor of the model is one of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    /// Where the handle has it.
    pub(super) place: usize,
    /// The engine's element type.
    pub(super) dtype: DType,
    /// Whether the model has 64-bit integers where the engine has 32-bit ones.
    pub(super) is_narrow: bool,
    /// Whether TensorRT reads or writes it in host memory.
    pub(super) is_on_host: bool,
}

impl Port {
    /// Bytes of a shape in the engine.
    pub(super) fn bytes(&self, shape: &Shape) -> Option<usize> {
        shape.checked_bytes(self.dtype)
    }

    /// Bytes that callers see where the engine has so many.
    fn seen(&self, len: usize) -> usize {
        if self.is_narrow { len * 2 } else { len }
    }
}

/// An input.
pub(super) struct Input {
    pub(super) port: Port,
    pub(super) shape: Option<Shape>,
    /// The shape that TensorRT knows.
    told: Option<Shape>,
    /// Bytes of the shape in the engine.
    len: usize,
    staging: Option<PinnedBuffer>,
    wide: Option<AlignedBytes>,
    /// Whether the wide copy was given out since it was narrowed.
    is_stale: bool,
}

impl Input {
    pub(super) fn new(port: Port) -> Self {
        Self { port, shape: None, told: None, len: 0, staging: None, wide: None, is_stale: false }
    }

    /// Takes a shape, and memory for `most` bytes of the engine where it has less than it needs.
    pub(super) fn set_shape(
        &mut self,
        handle: &mut ContextHandle,
        ledger: &Arc<Ledger>,
        shape: &Shape,
        most: usize,
    ) -> Result<(), TrtError> {
        self.shape = None;
        let len = self.port.bytes(shape).unwrap_or(usize::MAX);
        if self.port.is_on_host {
            handle.reserve(self.port.place, len.max(most))?;
        } else {
            grow(&mut self.staging, handle, ledger, len, most)?;
        }
        if self.port.is_narrow {
            widen_to(&mut self.wide, self.port.seen(len));
        }
        (self.shape, self.len) = (Some(shape.clone()), len);
        Ok(())
    }

    /// The bytes to fill.
    pub(super) fn bytes_mut<'a>(
        &'a mut self,
        handle: &'a mut ContextHandle,
    ) -> Option<&'a mut [u8]> {
        let len = self.port.seen(self.len);
        self.is_stale = true;
        let bytes = match (&mut self.wide, &mut self.staging) {
            (Some(wide), _) => wide.as_mut_slice(),
            (None, Some(staging)) => staging,
            (None, None) => handle.host_mut(self.port.place)?,
        };
        bytes.get_mut(..len)
    }

    /// Brings what was written into the engine's own type; a value that does not fit is the error.
    pub(super) fn narrow(&mut self, handle: &mut ContextHandle) -> Result<(), i64> {
        let Some(wide) = self.wide.as_ref().filter(|_| self.is_stale) else { return Ok(()) };
        let target = match &mut self.staging {
            Some(staging) => Some(&mut **staging),
            None => handle.host_mut(self.port.place),
        };
        let target = target.unwrap_or(&mut []).as_chunks_mut().0;
        let values = wide.as_slice()[..self.port.seen(self.len)].as_chunks().0;
        for (value, target) in values.iter().zip(target) {
            let value = i64::from_le_bytes(*value);
            *target = i32::try_from(value).map_err(|_| value)?.to_le_bytes();
        }
        self.is_stale = false;
        Ok(())
    }

    /// The values of an input that TensorRT reads on the host.
    pub(super) fn values(&self, handle: &ContextHandle) -> Vec<i64> {
        let bytes = handle.host(self.port.place).and_then(|bytes| bytes.get(..self.len));
        let bytes = bytes.unwrap_or(&[]);
        match self.port.dtype {
            DType::Int64 => bytes.as_chunks().0.iter().map(|v| i64::from_le_bytes(*v)).collect(),
            DType::Int32 => {
                bytes.as_chunks().0.iter().map(|v| i32::from_le_bytes(*v).into()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tells TensorRT a shape of its own, for now.
    pub(super) fn tell(
        &mut self,
        handle: &mut ContextHandle,
        shape: &Shape,
    ) -> Result<(), TrtError> {
        self.told = None;
        let extents = shape.0.iter().map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX));
        let extents: Vec<i64> = extents.collect();
        // No tensor of TensorRT has more axes than this can hold.
        handle.set_shape(self.port.place, &Dims::new(&extents).unwrap_or_default())?;
        self.told = Some(shape.clone());
        Ok(())
    }

    /// Tells TensorRT the shape, where it knows another.
    pub(super) fn settle(&mut self, handle: &mut ContextHandle) -> Result<(), TrtError> {
        match self.shape.clone() {
            Some(shape) if self.told.as_ref() != Some(&shape) => self.tell(handle, &shape),
            _ => Ok(()),
        }
    }

    /// What the GPU gets, in the engine's type.
    pub(super) fn staged(&self) -> &[u8] {
        self.staging.as_ref().map_or(&[], |staging| &staging[..self.len])
    }

    /// Stages something else, until the caller's bytes are filled anew.
    pub(super) fn stage(&mut self, bytes: &[u8]) {
        if let Some(staging) = &mut self.staging {
            staging[..bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(super) fn upload<'env>(
        &'env self,
        handle: &'env ContextHandle,
        work: &Submission<'_, 'env>,
    ) -> Result<(), CudaError> {
        match (&self.staging, handle.device(self.port.place)) {
            (Some(staging), Some(device)) => work.upload(&staging[..self.len], device),
            _ => Ok(()),
        }
    }
}

/// An output.
pub(super) struct Output {
    pub(super) port: Port,
    shape: Shape,
    /// Bytes of the shape in the engine.
    len: usize,
    staging: Option<PinnedBuffer>,
    /// What callers see, where that is a copy: of 32-bit integers, or of what TensorRT writes on
    /// the host.
    copy: Option<AlignedBytes>,
    /// Whether its shape is known only when it was computed.
    is_open: bool,
}

impl Output {
    pub(super) fn new(port: Port) -> Self {
        let shape = Shape::default();
        Self { port, shape, len: 0, staging: None, copy: None, is_open: false }
    }

    /// Takes the shape that follows from those of the inputs, and memory for it.
    pub(super) fn settle(
        &mut self,
        handle: &ContextHandle,
        ledger: &Arc<Ledger>,
    ) -> Result<(), TrtError> {
        let shape = handle.extents(self.port.place).as_deref().and_then(plan::shape);
        self.is_open = shape.is_none();
        self.set_shape(handle, ledger, shape.unwrap_or_default())
    }

    /// Sees to memory for the most bytes that it will have.
    pub(super) fn reserve(
        &mut self,
        handle: &mut ContextHandle,
        ledger: &Arc<Ledger>,
        most: usize,
    ) -> Result<(), TrtError> {
        handle.reserve(self.port.place, most)?;
        self.grow(handle, ledger, most)
    }

    /// Sees to the host's memory for so many bytes of the engine.
    fn grow(
        &mut self,
        handle: &ContextHandle,
        ledger: &Arc<Ledger>,
        len: usize,
    ) -> Result<(), TrtError> {
        if !self.port.is_on_host {
            grow(&mut self.staging, handle, ledger, len, len)?;
        }
        if self.port.is_on_host || self.port.is_narrow {
            widen_to(&mut self.copy, self.port.seen(len));
        }
        Ok(())
    }

    fn set_shape(
        &mut self,
        handle: &ContextHandle,
        ledger: &Arc<Ledger>,
        shape: Shape,
    ) -> Result<(), TrtError> {
        // The handle has memory for it, so its size is no overflow.
        let len = self.port.bytes(&shape).unwrap_or(usize::MAX);
        self.grow(handle, ledger, len)?;
        (self.shape, self.len) = (shape, len);
        Ok(())
    }

    /// Takes the shape that a graph gives it.
    pub(super) fn follow(
        &mut self,
        handle: &ContextHandle,
        ledger: &Arc<Ledger>,
        extents: Option<&[i64]>,
    ) -> Result<(), TrtError> {
        let failed = || TrtError::Failed { call: "getTensorShape", reported: Vec::new() };
        let shape = extents.and_then(plan::shape).ok_or_else(failed)?;
        self.is_open = false;
        self.set_shape(handle, ledger, shape)
    }

    /// What came from the GPU, in the engine's type.
    pub(super) fn staged(&self) -> &[u8] {
        self.staging.as_ref().map_or(&[], |staging| &staging[..self.len])
    }

    /// Overwrites what is staged, and what the GPU has.
    pub(super) fn overwrite<'env>(
        &'env mut self,
        handle: &'env ContextHandle,
        work: &Submission<'_, 'env>,
        byte: u8,
    ) -> Result<(), CudaError> {
        if let Some(staging) = &mut self.staging {
            staging.fill(byte);
        }
        handle.device(self.port.place).map_or(Ok(()), |device| work.fill(device, byte))
    }

    pub(super) fn download<'env>(
        &'env mut self,
        handle: &'env ContextHandle,
        work: &Submission<'_, 'env>,
    ) -> Result<(), CudaError> {
        match (&mut self.staging, handle.device(self.port.place)) {
            (Some(staging), Some(device)) => work.download(device, &mut staging[..self.len]),
            _ => Ok(()),
        }
    }

    /// Fetches what only now has a shape, and brings it into the model's type.
    pub(super) fn finish(
        &mut self,
        handle: &mut ContextHandle,
        ledger: &Arc<Ledger>,
    ) -> Result<(), TrtError> {
        if self.is_open {
            self.fetch(handle, ledger)?;
        }
        let Some(copy) = &mut self.copy else { return Ok(()) };
        let bytes = match &self.staging {
            Some(staging) => Some(&**staging),
            None => handle.host_output(self.port.place),
        };
        let bytes = bytes.and_then(|bytes| bytes.get(..self.len)).unwrap_or(&[]);
        let copy = copy.as_mut_slice();
        if self.port.is_narrow {
            for (value, wide) in bytes.as_chunks().0.iter().zip(copy.as_chunks_mut().0) {
                *wide = i64::from(i32::from_le_bytes(*value)).to_le_bytes();
            }
        } else {
            copy[..bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn fetch(&mut self, handle: &ContextHandle, ledger: &Arc<Ledger>) -> Result<(), TrtError> {
        let failed = || TrtError::Failed { call: "notifyShape", reported: Vec::new() };
        let (extents, memory) = handle.allocated(self.port.place).ok_or_else(failed)?;
        self.set_shape(handle, ledger, plan::shape(&extents).ok_or_else(failed)?)?;
        let staging = self.staging.as_mut().ok_or_else(failed)?;
        let bytes = &mut staging[..self.len];
        Ok(handle.stream().scope(|work| work.download(&memory, bytes))?)
    }

    /// The shape and bytes of the last run.
    pub(super) fn result(&self) -> Option<(&Shape, &[u8])> {
        let bytes = match (&self.copy, &self.staging) {
            (Some(copy), _) => copy.as_slice(),
            (None, staging) => staging.as_deref()?,
        };
        Some((&self.shape, bytes.get(..self.port.seen(self.len))?))
    }
}

/// Staging memory of at least `len` bytes; where that is more than there is, of `most`.
fn grow(
    staging: &mut Option<PinnedBuffer>,
    handle: &ContextHandle,
    ledger: &Arc<Ledger>,
    len: usize,
    most: usize,
) -> Result<(), CudaError> {
    if staging.as_ref().is_none_or(|staging| staging.len() < len) {
        // Both need not be there at once.
        *staging = None;
        *staging = Some(PinnedBuffer::new(handle.gpu(), ledger, len.max(most))?);
    }
    Ok(())
}

fn widen_to(wide: &mut Option<AlignedBytes>, len: usize) {
    if wide.as_ref().is_none_or(|wide| wide.as_slice().len() < len) {
        *wide = Some(AlignedBytes::zeroed(len));
    }
}
