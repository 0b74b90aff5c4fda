//! The loaded driver library: its functions, and the questions that need no context.
//!
//! The library and its names are cudarc's; the functions are looked up here, once and all of them,
//! for two reasons. cudarc panics at the first call of a function that an old driver lacks. And its
//! functions return a closed enum of the codes that CUDA 12.2 had, while a newer driver returns
//! newer codes: to receive one of those as that enum is undefined behaviour. Here they are integers.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUevent, CUfunction, CUgraph, CUgraphExec,
    CUgraphNode, CUmodule, CUstream, CUuuid,
};
use serde::{Serialize, Serializer};

use super::error::{CudaError, NO_DEVICE, SUCCESS};
use super::fault::Fault;
use super::gpu::Gpu;

/// The newest functions used here, `cuDeviceGetUuid_v2` and `cuGraphInstantiateWithFlags`, came
/// with CUDA 11.4.
pub(super) const MINIMUM: CudaVersion = CudaVersion { major: 11, minor: 4 };

/// An address on a device, `CUdeviceptr` of `cuda.h`: an integer as wide as a pointer.
pub(super) type DeviceAddress = usize;

/// The newest CUDA that a driver supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion {
    /// 12 of 12.2.
    pub major: u32,
    /// 2 of 12.2.
    pub minor: u32,
}

impl CudaVersion {
    /// From the driver's form, 12020 for 12.2.
    fn from_number(number: c_int) -> Self {
        let number = number.cast_unsigned();
        Self { major: number / 1000, minor: number % 1000 / 10 }
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for CudaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! functions {
    ($($field:ident = $symbol:literal($($argument:ty),*);)*) => {
        /// The driver's functions, as `cuda.h` declares them; each returns the driver's code.
        pub(super) struct Functions {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            /// Looks all of them up in the library, which must be there.
            fn load() -> Result<Self, CudaError> {
                // SAFETY: loading a library runs its initialisers; the driver's may run at any
                // time and on any thread. That it is there, so that this does not panic, the
                // caller has asked.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($field: {
                        // SAFETY: the signature is the one `cuda.h` gives this symbol, and the
                        // library is never unloaded.
                        let found = unsafe { library.get($symbol) };
                        *found.map_err(|_| CudaError::NotADriver { symbol: $symbol })?
                    },)*
                })
            }
        }
    };
}

functions! {
    driver_version = "cuDriverGetVersion"(*mut c_int);
    init = "cuInit"(c_uint);
    error_name = "cuGetErrorName"(c_int, *mut *const c_char);
    error_text = "cuGetErrorString"(c_int, *mut *const c_char);
    device_count = "cuDeviceGetCount"(*mut c_int);
    device = "cuDeviceGet"(*mut CUdevice, c_int);
    device_name = "cuDeviceGetName"(*mut c_char, c_int, CUdevice);
    device_uuid = "cuDeviceGetUuid_v2"(*mut CUuuid, CUdevice);
    device_attribute = "cuDeviceGetAttribute"(*mut c_int, CUdevice_attribute, CUdevice);
    device_bus = "cuDeviceGetPCIBusId"(*mut c_char, c_int, CUdevice);
    device_memory = "cuDeviceTotalMem_v2"(*mut usize, CUdevice);
    context_retain = "cuDevicePrimaryCtxRetain"(*mut CUcontext, CUdevice);
    context_release = "cuDevicePrimaryCtxRelease_v2"(CUdevice);
    context_set_current = "cuCtxSetCurrent"(CUcontext);
    memory_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
    memory_allocate = "cuMemAlloc_v2"(*mut DeviceAddress, usize);
    memory_free = "cuMemFree_v2"(DeviceAddress);
    host_allocate = "cuMemHostAlloc"(*mut *mut c_void, usize, c_uint);
    host_free = "cuMemFreeHost"(*mut c_void);
    stream_create = "cuStreamCreate"(*mut CUstream, c_uint);
    stream_destroy = "cuStreamDestroy_v2"(CUstream);
    stream_synchronize = "cuStreamSynchronize"(CUstream);
    stream_wait = "cuStreamWaitEvent"(CUstream, CUevent, c_uint);
    copy_to_device_now = "cuMemcpyHtoD_v2"(DeviceAddress, *const c_void, usize);
    copy_to_host_now = "cuMemcpyDtoH_v2"(*mut c_void, DeviceAddress, usize);
    copy_on_device_now = "cuMemcpyDtoD_v2"(DeviceAddress, DeviceAddress, usize);
    copy_to_device = "cuMemcpyHtoDAsync_v2"(DeviceAddress, *const c_void, usize, CUstream);
    copy_to_host = "cuMemcpyDtoHAsync_v2"(*mut c_void, DeviceAddress, usize, CUstream);
    copy_on_device = "cuMemcpyDtoDAsync_v2"(DeviceAddress, DeviceAddress, usize, CUstream);
    fill = "cuMemsetD8Async"(DeviceAddress, u8, usize, CUstream);
    capture_begin = "cuStreamBeginCapture_v2"(CUstream, c_uint);
    capture_end = "cuStreamEndCapture"(CUstream, *mut CUgraph);
    graph_nodes = "cuGraphGetNodes"(CUgraph, *mut CUgraphNode, *mut usize);
    graph_instantiate = "cuGraphInstantiateWithFlags"(*mut CUgraphExec, CUgraph, c_ulonglong);
    graph_upload = "cuGraphUpload"(CUgraphExec, CUstream);
    graph_launch = "cuGraphLaunch"(CUgraphExec, CUstream);
    graph_destroy = "cuGraphDestroy"(CUgraph);
    graph_exec_destroy = "cuGraphExecDestroy"(CUgraphExec);
    module_load = "cuModuleLoadData"(*mut CUmodule, *const c_void);
    module_function = "cuModuleGetFunction"(*mut CUfunction, CUmodule, *const c_char);
    kernel_launch = "cuLaunchKernel"(
        CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream,
        *mut *mut c_void, *mut *mut c_void
    );
    event_create = "cuEventCreate"(*mut CUevent, c_uint);
    event_destroy = "cuEventDestroy_v2"(CUevent);
    event_record = "cuEventRecord"(CUevent, CUstream);
    event_query = "cuEventQuery"(CUevent);
    event_synchronize = "cuEventSynchronize"(CUevent);
    event_elapsed = "cuEventElapsedTime"(*mut f32, CUevent, CUevent);
}

impl Functions {
    /// An error where the code is one.
    fn check(&self, operation: &'static str, code: c_int) -> Result<(), CudaError> {
        if code == SUCCESS {
            return Ok(());
        }
        let name = text_of(self.error_name, code);
        let text = text_of(self.error_text, code);
        Err(CudaError::Call {
            operation,
            code,
            name: name.unwrap_or_else(|| format!("CUDA error {code}")),
            text: text.unwrap_or_else(|| "the driver has no words for it".to_owned()),
        })
    }
}

/// The driver's text for a code, or `None` where it does not know the code.
fn text_of(
    function: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
    code: c_int,
) -> Option<String> {
    let mut text = std::ptr::null();
    // SAFETY: any code may be asked for; the driver writes one pointer to where it is told.
    let result = unsafe { function(code, &raw mut text) };
    if result != SUCCESS || text.is_null() {
        return None;
    }
    // SAFETY: on success it is a string of the driver's that ends in NUL and is never freed.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// The CUDA driver, loaded and started.
pub struct Driver {
    pub(super) functions: Functions,
    version: CudaVersion,
    gpus: Vec<Gpu>,
    failed_releases: AtomicU64,
}

impl Driver {
    /// The driver of this machine. Loads and starts it the first time, and gives the same answer
    /// ever after.
    pub fn get() -> Result<&'static Self, CudaError> {
        static DRIVER: OnceLock<Result<Driver, CudaError>> = OnceLock::new();
        DRIVER.get_or_init(Self::load).as_ref().map_err(Clone::clone)
    }

    fn load() -> Result<Self, CudaError> {
        // SAFETY: as in `Functions::load`.
        let present = unsafe { sys::is_culib_present() };
        if !present {
            let mut searched = cudarc::get_lib_name_candidates("cuda");
            // The other names are those of other systems.
            searched.retain(|name| name.starts_with("libcuda.so"));
            searched.dedup();
            return Err(CudaError::NoLibrary { searched });
        }
        let functions = Functions::load()?;
        let mut number = 0;
        // SAFETY: needs no initialisation; the driver writes one integer to where it is told.
        let code = unsafe { (functions.driver_version)(&raw mut number) };
        functions.check("ask the CUDA driver for its version", code)?;
        let version = CudaVersion::from_number(number);
        if version < MINIMUM {
            return Err(CudaError::TooOld { found: version });
        }
        // SAFETY: takes no pointer; 0 is the one value allowed.
        let code = unsafe { (functions.init)(0) };
        if code == NO_DEVICE {
            return Err(CudaError::NoDevice { driver: version });
        }
        functions.check("start the CUDA driver", code)?;
        let mut count = 0;
        // SAFETY: the driver is started; it writes one integer to where it is told.
        let code = unsafe { (functions.device_count)(&raw mut count) };
        functions.check("count the GPUs", code)?;
        let device_count = count.cast_unsigned();
        if device_count == 0 {
            return Err(CudaError::NoDevice { driver: version });
        }
        let mut faults = Fault::ordered(device_count)?;
        let gpu = |ordinal| {
            let fault = faults.iter().position(|fault| fault.device() == ordinal);
            Gpu::new(ordinal, fault.map(|at| faults.swap_remove(at)))
        };
        let gpus = (0..device_count).map(gpu).collect();
        Ok(Self { functions, version, gpus, failed_releases: AtomicU64::new(0) })
    }

    /// The newest CUDA that the driver supports.
    pub fn version(&self) -> CudaVersion {
        self.version
    }

    /// How many objects the driver refused to release, each of which was logged.
    pub fn failed_releases(&self) -> u64 {
        self.failed_releases.load(Ordering::Relaxed)
    }

    /// How many devices there are; at least one.
    pub fn device_count(&self) -> u32 {
        u32::try_from(self.gpus.len()).unwrap_or(u32::MAX)
    }

    /// What is known of a device.
    pub(super) fn gpu(&self, ordinal: u32) -> Result<&Gpu, CudaError> {
        let known = usize::try_from(ordinal).ok().and_then(|at| self.gpus.get(at));
        known.ok_or(CudaError::UnknownDevice { ordinal, count: self.device_count() })
    }

    /// An error where a device is lost, or there is none of this number.
    pub fn hold(&self, ordinal: u32) -> Result<(), CudaError> {
        self.gpu(ordinal)?.hold()
    }

    /// An error where the code of a call is one.
    pub(super) fn check(&self, operation: &'static str, code: c_int) -> Result<(), CudaError> {
        self.functions.check(operation, code)
    }

    /// Logs and counts where the release of an object failed: no destructor can return it.
    pub(super) fn released(&self, outcome: Result<(), CudaError>) {
        if let Err(error) = outcome {
            self.failed_releases.fetch_add(1, Ordering::Relaxed);
            tracing::error!("{error}");
        }
    }

    /// The driver's handle of a device.
    pub(super) fn device(&self, ordinal: u32) -> Result<CUdevice, CudaError> {
        self.gpu(ordinal)?;
        let mut device = 0;
        // SAFETY: the driver is started; it writes one handle to where it is told.
        let code = unsafe { (self.functions.device)(&raw mut device, ordinal.cast_signed()) };
        self.check("open a GPU", code)?;
        Ok(device)
    }

    /// One of a device's numbers.
    pub(super) fn device_attribute(
        &self,
        device: CUdevice,
        attribute: CUdevice_attribute,
    ) -> Result<u32, CudaError> {
        let mut value = 0;
        // SAFETY: the driver checks both arguments and writes one integer to where it is told.
        let code = unsafe { (self.functions.device_attribute)(&raw mut value, attribute, device) };
        self.check("ask a GPU for an attribute", code)?;
        Ok(value.cast_unsigned())
    }

    /// A device's name.
    pub(super) fn device_name(&self, device: CUdevice) -> Result<String, CudaError> {
        let mut name = [0_u8; 256];
        let start = name.as_mut_ptr().cast();
        // SAFETY: the driver writes at most the given number of bytes, which are there.
        let code = unsafe { (self.functions.device_name)(start, 256, device) };
        self.check("ask a GPU for its name", code)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }

    /// A device's place on the PCI bus, such as `0000:3B:00.0`.
    pub(super) fn device_bus(&self, device: CUdevice) -> Result<String, CudaError> {
        let mut place = [0_u8; 32];
        let start = place.as_mut_ptr().cast();
        // SAFETY: the driver writes at most the given number of bytes, which are there.
        let code = unsafe { (self.functions.device_bus)(start, 32, device) };
        self.check("ask a GPU for its place on the bus", code)?;
        let end = place.iter().position(|&byte| byte == 0).unwrap_or(place.len());
        Ok(String::from_utf8_lossy(&place[..end]).into_owned())
    }

    /// The 16 bytes that tell a device from all others.
    pub(super) fn device_uuid(&self, device: CUdevice) -> Result<[u8; 16], CudaError> {
        let mut uuid = CUuuid { bytes: [0; 16] };
        // SAFETY: the driver writes 16 bytes to where it is told.
        let code = unsafe { (self.functions.device_uuid)(&raw mut uuid, device) };
        self.check("ask a GPU for its UUID", code)?;
        Ok(uuid.bytes.map(c_char::cast_unsigned))
    }

    /// Bytes of a device's memory.
    pub(super) fn device_memory(&self, device: CUdevice) -> Result<u64, CudaError> {
        let mut bytes = 0;
        // SAFETY: the driver writes one size to where it is told.
        let code = unsafe { (self.functions.device_memory)(&raw mut bytes, device) };
        self.check("ask a GPU for its memory", code)?;
        Ok(bytes as u64)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Driver(CUDA {}, {} devices)", self.version, self.gpus.len())
    }
}
