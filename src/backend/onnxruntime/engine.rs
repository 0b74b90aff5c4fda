//! [`OrtEngine`]: a session that its contexts share.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use ort::session::Session;
use ort::value::{Outlet, ValueType};

use crate::backend::fault::Fault;
use crate::backend::{BackendError, Engine, ExecutionContext, Profile};
use crate::tensor::TensorSpec;

use super::context::OrtContext;
use super::session;

/// A loaded model.
pub(super) struct OrtEngine {
    session: Session,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    profiles: Vec<Profile>,
    /// Names of inputs and outputs as the library takes them.
    names: (Vec<CString>, Vec<CString>),
}

impl OrtEngine {
    /// Wraps a session, which must have inputs and outputs of these names and types.
    pub(super) fn new(
        session: Session,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        profiles: Vec<Profile>,
    ) -> Result<Self, Fault> {
        for (role, specs, found) in
            [("input", &inputs, session.inputs()), ("output", &outputs, session.outputs())]
        {
            let found: HashMap<&str, &Outlet> =
                found.iter().map(|outlet| (outlet.name(), outlet)).collect();
            for spec in specs {
                agree(role, spec, found.get(spec.name.as_str()).copied())?;
            }
        }
        if inputs.len() != session.inputs().len() {
            let (listed, taken) = (inputs.len(), session.inputs().len());
            return Err(Fault::Model(format!("{listed} inputs are listed and it takes {taken}")));
        }
        let names = (names(&inputs)?, names(&outputs)?);
        Ok(Self { session, inputs, outputs, profiles, names })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn input_names(&self) -> &[CString] {
        &self.names.0
    }

    pub(super) fn output_names(&self) -> &[CString] {
        &self.names.1
    }
}

/// Fails where the session has no such tensor.
fn agree(role: &str, spec: &TensorSpec, outlet: Option<&Outlet>) -> Result<(), Fault> {
    match outlet.map(Outlet::dtype) {
        Some(ValueType::Tensor { ty, .. }) if session::dtype(*ty) == Some(spec.dtype) => Ok(()),
        found => {
            let found = found.map_or_else(|| "there is none".to_owned(), |t| format!("it is {t}"));
            let (name, dtype) = (&spec.name, spec.dtype);
            Err(Fault::Model(format!("{role} `{name}` should be a tensor of {dtype}; {found}")))
        }
    }
}

fn names(specs: &[TensorSpec]) -> Result<Vec<CString>, Fault> {
    let name = |spec: &TensorSpec| {
        CString::new(spec.name.as_bytes())
            .map_err(|_| Fault::Model(format!("the name {:?} has a zero byte", spec.name)))
    };
    specs.iter().map(name).collect()
}

impl Engine for OrtEngine {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    fn is_on_host(&self) -> bool {
        true
    }

    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        Ok(Box::new(OrtContext::new(self)))
    }
}
