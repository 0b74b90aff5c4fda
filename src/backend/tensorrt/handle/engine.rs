//! [`EngineHandle`]: a loaded engine, and what it tells of itself.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use serde_json::Value;

use crate::tensor::{DType, Shape};

use super::super::error::TrtError;
use super::super::generation::Generation;
use super::super::layers::read_json;
use super::super::sys::{
    DataType, ICudaEngine, LayerInformationFormat, OptProfileSelector, TensorFormat, TensorIOMode,
    TensorLocation,
};
use super::callback::text;
use super::context::ContextHandle;
use super::execution::Execution;
use super::owned::Owned;
use super::recorder::Recorder;
use super::runtime::{Runtime, leave};

/// A loaded engine.
#[derive(Debug)]
pub(in super::super) struct EngineHandle {
    object: Owned<ICudaEngine>,
    recorder: Recorder,
    tensors: Vec<EngineTensor>,
    // Engines go before their runtime.
    runtime: Runtime,
}

// SAFETY: TensorRT ties an engine to no thread.
unsafe impl Send for EngineHandle {}
// SAFETY: NVIDIA: "non-modifying operations on an engine" and "creating an execution context from
// an engine" may be done from several threads at once, and no other method is called after `new`
// but through an exclusive reference (`Refitter`).
// Of the runtime only what is `Sync` is used.
unsafe impl Sync for EngineHandle {}

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct EngineTensor {
    pub(in super::super) name: CString,
    pub(in super::super) is_input: bool,
    /// `None` for one that the rest of the program has no word for.
    pub(in super::super) dtype: Option<DType>,
    /// The type's name in C++.
    pub(in super::super) type_name: &'static str,
    /// -1 where open.
    pub(in super::super) extents: Vec<i64>,
    /// Whether TensorRT reads or writes it in host memory.
    pub(in super::super) on_host: bool,
    /// Whether shapes of other tensors are computed from its values.
    pub(in super::super) is_shape: bool,
    pub(in super::super) format: Option<TensorFormat>,
    /// TensorRT's words for the format.
    pub(in super::super) format_text: String,
}

impl EngineTensor {
    pub(in super::super) fn name_text(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Bytes that it has with these extents.
    pub(super) fn bytes(&self, extents: &[i64]) -> Option<usize> {
        let extents = extents.iter().map(|&extent| usize::try_from(extent).ok());
        Shape(extents.collect::<Option<_>>()?).checked_bytes(self.dtype?)
    }
}

/// The program's word for an element type.
pub(in super::super) fn element_type(dtype: DataType) -> Option<DType> {
    Some(match dtype {
        DataType::Float => DType::Float32,
        DataType::Half => DType::Float16,
        DataType::Bf16 => DType::BFloat16,
        DataType::Fp8 => DType::Float8E4M3,
        DataType::Int64 => DType::Int64,
        DataType::Int32 => DType::Int32,
        DataType::Int8 => DType::Int8,
        DataType::Uint8 => DType::UInt8,
        DataType::Bool => DType::Bool,
        DataType::Int4 | DataType::Fp4 | DataType::E8m0 => return None,
    })
}

impl EngineHandle {
    pub(super) fn new(object: Owned<ICudaEngine>, recorder: Recorder, runtime: Runtime) -> Self {
        // Whole before the object learns of the recorder: however this ends, the fields are then
        // dropped in their order.
        let mut handle = Self { object, recorder, tensors: Vec::new(), runtime };
        let engine = handle.object.get();
        // SAFETY: the recorder outlives the engine: it is dropped after it.
        unsafe { engine.set_error_recorder(handle.recorder.as_ptr()) };
        // SAFETY: the engine is alive.
        let count = unsafe { engine.get_nb_io_tensors() };
        handle.tensors = (0..count).map(|at| describe(engine, at)).collect();
        handle.recorder.take();
        handle
    }

    /// Inputs and outputs, in the engine's order.
    pub(in super::super) fn tensors(&self) -> &[EngineTensor] {
        &self.tensors
    }

    pub(super) fn object(&mut self) -> ICudaEngine {
        self.object.get()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whether shapes can change from run to run: only then has a profile to be chosen.
    pub(in super::super) fn is_dynamic(&self) -> bool {
        let mut inputs = self.tensors.iter().filter(|tensor| tensor.is_input);
        inputs.any(|input| input.is_shape || input.extents.iter().any(|&extent| extent < 0))
    }

    /// Number of optimization profiles.
    pub(in super::super) fn profile_count(&self) -> i32 {
        // SAFETY: the engine is alive.
        unsafe { self.object.get().get_nb_optimization_profiles() }
    }

    /// One end, or the middle, of the range of an input's shapes in a profile.
    pub(in super::super) fn profile_shape(
        &self,
        input: &CStr,
        profile: i32,
        which: OptProfileSelector,
    ) -> Option<Vec<i64>> {
        // SAFETY: the engine is alive.
        let dims = unsafe { self.object.get().get_profile_shape(input, profile, which) };
        self.recorder.take();
        dims.ok()?.extents().map(<[i64]>::to_vec)
    }

    /// The same of the values of an input that holds shapes, which has `count` of them.
    pub(in super::super) fn profile_values(
        &self,
        input: &CStr,
        profile: i32,
        which: OptProfileSelector,
        count: usize,
    ) -> Option<Vec<i64>> {
        let engine = self.object.get();
        // SAFETY: the engine is alive.
        let wide = unsafe { engine.get_profile_tensor_values_v2(input, profile, which) };
        if let Ok(wide) = wide {
            let wide: *const i64 = wide.cast();
            if wide.is_null() {
                return None;
            }
            // SAFETY: TensorRT keeps as many values as the tensor has elements.
            return Some(unsafe { std::slice::from_raw_parts(wide, count) }.to_vec());
        }
        // SAFETY: the engine is alive.
        let narrow = unsafe { engine.get_profile_tensor_values(input, profile, which) };
        let narrow: *const i32 = narrow.ok()?.cast();
        if narrow.is_null() {
            return None;
        }
        // SAFETY: as above.
        let narrow = unsafe { std::slice::from_raw_parts(narrow, count) };
        Some(narrow.iter().copied().map(i64::from).collect())
    }

    /// Bytes of device memory that a context needs beyond inputs and outputs.
    pub(in super::super) fn device_memory(&self) -> Option<u64> {
        // SAFETY: the engine is alive.
        let size = unsafe { self.object.get().get_device_memory_size_v2() };
        if let Ok(size) = size {
            return u64::try_from(size).ok();
        }
        // SAFETY: as above.
        unsafe { self.object.get().get_device_memory_size() }.ok()
    }

    /// What the engine inspector tells, as JSON: how much is set when building.
    pub(in super::super) fn inspect(&self) -> Result<Value, TrtError> {
        const CREATE: &str = "createEngineInspector";
        const ASK: &str = "getEngineInformation";
        self.runtime.context().make_current()?;
        // SAFETY: the engine is alive.
        let inspector = unsafe { self.object.get().create_engine_inspector() };
        let inspector = self.recorder.check(CREATE, inspector)?;
        // SAFETY: the caller owns the inspector, which is dropped here, before the engine.
        let inspector = unsafe { Owned::new(inspector) };
        // SAFETY: the inspector is alive.
        let json = unsafe { inspector.get().get_engine_information(LayerInformationFormat::Json) }?;
        // SAFETY: the text is the inspector's, which is alive.
        let json = unsafe { text(json) };
        read_json(&json).map_err(|error| {
            tracing::warn!("the engine inspector gave no JSON ({error}): no layers are listed");
            tracing::debug!("the inspector's text: {json}");
            self.recorder.failed(ASK)
        })
    }

    /// A context of its own, with a stream of its own.
    pub(in super::super) fn new_context(self: &Arc<Self>) -> Result<ContextHandle, TrtError> {
        ContextHandle::new(self)
    }

    /// An execution context that is given its memory: [`Self::device_memory`].
    pub(super) fn new_execution(self: &Arc<Self>) -> Result<Execution, TrtError> {
        const CREATE: &str = "createExecutionContext";
        /// `ExecutionContextAllocationStrategy::kUSER_MANAGED`.
        const USER_MANAGED: i32 = 2;
        self.runtime.start()?;
        let engine = self.object.get();
        let execution = if self.runtime.abi().generation == Generation::V8_6 {
            // SAFETY: the engine is alive; several threads may do this at once.
            unsafe { engine.create_execution_context_without_device_memory() }?
        } else {
            // SAFETY: as above.
            unsafe { engine.create_execution_context(USER_MANAGED) }
        };
        let Some(execution) = execution else {
            return Err(self.runtime.failed(CREATE, &self.recorder));
        };
        // SAFETY: the caller owns the context; `Execution` drops it before its engine.
        Execution::new(unsafe { Owned::new(execution) }, self)
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        leave(self.runtime.context(), &mut self.object);
    }
}

fn describe(engine: ICudaEngine, at: i32) -> EngineTensor {
    // SAFETY: the engine is alive: its handle is being made.
    let name = unsafe { engine.get_io_tensor_name(at) };
    let name = if name.is_null() {
        CString::default()
    } else {
        // SAFETY: the text is the engine's, which is alive.
        unsafe { CStr::from_ptr(name) }.to_owned()
    };
    // SAFETY: as above, also below.
    let mode = unsafe { engine.get_tensor_io_mode(&name) };
    // SAFETY: as above.
    let dtype = unsafe { engine.get_tensor_data_type(&name) };
    // SAFETY: as above.
    let dims = unsafe { engine.get_tensor_shape(&name) };
    // SAFETY: as above.
    let location = unsafe { engine.get_tensor_location(&name) };
    // SAFETY: as above.
    let is_shape = unsafe { engine.is_shape_inference_io(&name) };
    // SAFETY: as above.
    let format = unsafe { engine.get_tensor_format(&name) };
    // SAFETY: as above.
    let format_text = unsafe { engine.get_tensor_format_desc(&name) };
    EngineTensor {
        is_input: mode == Some(TensorIOMode::Input),
        dtype: dtype.and_then(element_type),
        type_name: dtype.map_or("an unknown type", DataType::name),
        extents: dims.extents().unwrap_or(&[]).to_vec(),
        on_host: location == Some(TensorLocation::Host),
        is_shape,
        format,
        // SAFETY: the text is the engine's, which is alive.
        format_text: unsafe { text(format_text) },
        name,
    }
}
