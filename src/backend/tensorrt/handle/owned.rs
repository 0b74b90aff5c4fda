//! [`Owned`]: one C++ object, deleted once.

use super::super::sys::{
    IBuilder, IBuilderConfig, ICudaEngine, IEngineInspector, IExecutionContext, IHostMemory,
    INetworkDefinition, IParser, IParserRefitter, IRefitter, IRuntime, ITimingCache,
};

/// A class whose objects the caller owns.
pub(super) trait Class: Copy {
    /// # Safety
    /// As the class's `delete`.
    unsafe fn delete(self);
}

macro_rules! classes {
    ($($class:ident)+) => {
        $(impl Class for $class {
            unsafe fn delete(self) {
                // SAFETY: of the caller.
                unsafe { $class::delete(self) }
            }
        })+
    };
}

classes! {
    IBuilder IBuilderConfig ICudaEngine IEngineInspector IExecutionContext IHostMemory
    INetworkDefinition IParser IParserRefitter IRefitter IRuntime ITimingCache
}

/// An object that is deleted with its owner. A struct that holds it beside what the object needs
/// declares it first: fields are dropped in that order.
#[derive(Debug)]
pub(super) struct Owned<C: Class> {
    object: C,
    is_abandoned: bool,
}

impl<C: Class> Owned<C> {
    /// # Safety
    /// The object is alive and nobody else deletes it; whatever it needs outlives this.
    pub(super) unsafe fn new(object: C) -> Self {
        Self { object, is_abandoned: false }
    }

    pub(super) fn get(&self) -> C {
        self.object
    }

    /// It is never deleted.
    pub(super) fn abandon(&mut self) {
        self.is_abandoned = true;
    }
}

impl<C: Class> Drop for Owned<C> {
    fn drop(&mut self) {
        if !self.is_abandoned {
            // SAFETY: of `new`.
            unsafe { self.object.delete() };
        }
    }
}
