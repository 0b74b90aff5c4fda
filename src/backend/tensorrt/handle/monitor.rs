//! [`Monitor`]: how building goes, and the way to stop it.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::error::TrtError;
use super::super::sys::{Abi, IProgressMonitorFunctions};
use super::callback::{Callback, SharedTable, guarded, state_of, text, type_info};

static TABLE: SharedTable = SharedTable::new();

/// Hears how building goes; called from TensorRT's threads.
pub(in super::super) trait Watcher: Send + Sync {
    /// A phase began, inside another where `parent` is not empty, and will take that many steps.
    fn phase_started(&self, name: &str, parent: &str, steps: u64);
    /// A step of a phase is done. `false` stops the build.
    fn step_done(&self, phase: &str, step: u64) -> bool;
    /// A phase ended.
    fn phase_ended(&self, name: &str);
}

struct State {
    watcher: Box<dyn Watcher>,
    stopped: AtomicBool,
}

/// Passes progress of a build on to a [`Watcher`].
#[derive(Clone)]
pub(in super::super) struct Monitor(Arc<Callback<State>>);

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&self.has_stopped()).finish()
    }
}

impl Monitor {
    pub(in super::super) fn new(abi: Abi, watcher: Box<dyn Watcher>) -> Result<Self, TrtError> {
        let functions = IProgressMonitorFunctions { phase_start, step_complete, phase_finish };
        let table = TABLE.get(abi, || functions.table(abi, type_info))?;
        Ok(Self(Callback::new(table, State { watcher, stopped: AtomicBool::new(false) })))
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Whether the watcher stopped the build.
    pub(super) fn has_stopped(&self) -> bool {
        self.0.state().stopped.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn phase_start(
    object: *mut c_void,
    name: *mut c_void,
    parent: *mut c_void,
    steps: i32,
) {
    // SAFETY: C++ calls the table's functions on the object it belongs to, which is a monitor's.
    let state: &State = unsafe { state_of(object) };
    // SAFETY: TensorRT passes a C string.
    let name = unsafe { text(name.cast()) };
    // SAFETY: TensorRT passes a C string, or null where there is no parent.
    let parent = unsafe { text(parent.cast()) };
    let steps = u64::try_from(steps).unwrap_or(0);
    guarded("phaseStart", (), || state.watcher.phase_started(&name, &parent, steps));
}

unsafe extern "C" fn step_complete(object: *mut c_void, phase: *mut c_void, step: i32) -> bool {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    // SAFETY: TensorRT passes a C string.
    let phase = unsafe { text(phase.cast()) };
    let step = u64::try_from(step).unwrap_or(0);
    let go_on = guarded("stepComplete", true, || state.watcher.step_done(&phase, step));
    if !go_on {
        state.stopped.store(true, Ordering::SeqCst);
    }
    go_on
}

unsafe extern "C" fn phase_finish(object: *mut c_void, name: *mut c_void) {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    // SAFETY: TensorRT passes a C string.
    let name = unsafe { text(name.cast()) };
    guarded("phaseFinish", (), || state.watcher.phase_ended(&name));
}
