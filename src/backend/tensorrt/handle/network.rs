//! [`Network`]: what a builder builds, and its [`Layer`]s.

use std::sync::Arc;

use super::super::error::TrtError;
use super::super::sys::{DataType, ILayer, INetworkDefinition, ITensor, LayerType};
use super::builder::Builder;
use super::callback::text;
use super::owned::Owned;

/// A network being defined; the ONNX parser fills it.
#[derive(Debug)]
pub(in super::super) struct Network {
    object: Owned<INetworkDefinition>,
    builder: Arc<Builder>,
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct NetworkTensor {
    pub(in super::super) name: String,
    pub(in super::super) dtype: Option<DataType>,
    /// -1 where open.
    pub(in super::super) extents: Vec<i64>,
    /// Whether its values are shapes, which profiles must give ranges of.
    pub(in super::super) is_shape: bool,
}

impl Network {
    /// # Safety
    /// The network is alive and nobody else deletes it; the builder made it.
    pub(super) unsafe fn new(object: INetworkDefinition, builder: &Arc<Builder>) -> Self {
        // SAFETY: of the caller; its builder outlives it.
        Self { object: unsafe { Owned::new(object) }, builder: Arc::clone(builder) }
    }

    pub(super) fn object(&self) -> INetworkDefinition {
        self.object.get()
    }

    pub(super) fn builder(&self) -> &Arc<Builder> {
        &self.builder
    }

    pub(in super::super) fn inputs(&self) -> Vec<NetworkTensor> {
        let network = self.object.get();
        // SAFETY: the network is alive.
        let count = unsafe { network.get_nb_inputs() };
        // SAFETY: as above; the numbers are those of its inputs.
        (0..count).filter_map(|at| unsafe { network.get_input(at) }).map(describe).collect()
    }

    /// Every layer, in the order in which it was added.
    pub(in super::super) fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let network = self.object.get();
        // SAFETY: the network is alive.
        let count = unsafe { network.get_nb_layers() };
        // SAFETY: as above; the numbers are those of its layers.
        (0..count)
            .filter_map(move |at| unsafe { network.get_layer(at) })
            .map(|object| Layer { object, network: self })
    }
}

fn describe(tensor: ITensor) -> NetworkTensor {
    // SAFETY: tensors live as long as their network, which the caller borrows.
    let name = unsafe { tensor.get_name() };
    // SAFETY: as above; the text is a C string.
    let name = unsafe { text(name) };
    // SAFETY: as above.
    let dims = unsafe { tensor.get_dimensions() };
    NetworkTensor {
        name,
        // SAFETY: as above.
        dtype: unsafe { tensor.get_type() },
        extents: dims.extents().unwrap_or(&[]).to_vec(),
        // SAFETY: as above.
        is_shape: unsafe { tensor.is_shape_tensor() },
    }
}

/// A layer of a network.
#[derive(Debug)]
pub(in super::super) struct Layer<'a> {
    object: ILayer,
    network: &'a Network,
}

impl Layer<'_> {
    pub(in super::super) fn name(&self) -> String {
        // SAFETY: layers live as long as their network, which is borrowed.
        let name = unsafe { self.object.get_name() };
        // SAFETY: as above; the text is a C string.
        unsafe { text(name) }
    }

    pub(in super::super) fn kind(&self) -> Option<LayerType> {
        // SAFETY: as above.
        unsafe { self.object.get_type() }
    }

    /// The types of its outputs as they follow from its inputs.
    pub(in super::super) fn output_types(&self) -> Vec<Option<DataType>> {
        // SAFETY: as above.
        let count = unsafe { self.object.get_nb_outputs() };
        // SAFETY: as above; the numbers are those of its outputs.
        let outputs = (0..count).map(|at| unsafe { self.object.get_output(at) });
        // SAFETY: tensors live as long as their network.
        outputs.map(|tensor| tensor.and_then(|tensor| unsafe { tensor.get_type() })).collect()
    }

    /// Whether an output is one of the network's, whose type is not the layer's to choose.
    pub(in super::super) fn gives_network_output(&self, output: usize) -> bool {
        let output = i32::try_from(output).unwrap_or(i32::MAX);
        // SAFETY: as above.
        let tensor = unsafe { self.object.get_output(output) };
        // SAFETY: tensors live as long as their network.
        tensor.is_some_and(|tensor| unsafe { tensor.is_network_output() })
    }

    /// Asks for a type to compute in (libraries that type weakly).
    pub(in super::super) fn set_precision(&self, dtype: DataType) -> Result<(), TrtError> {
        // SAFETY: as above; the network is not being built: that would borrow it too, on the
        // thread that this runs on.
        Ok(unsafe { self.object.set_precision(dtype) }?)
    }

    /// Asks for a type of an output (libraries that type weakly).
    pub(in super::super) fn set_output_type(
        &self,
        output: usize,
        dtype: DataType,
    ) -> Result<(), TrtError> {
        let output = i32::try_from(output).unwrap_or(i32::MAX);
        // SAFETY: as above.
        unsafe { self.object.set_output_type(output, dtype) }?;
        let recorder = self.network.builder.recorder();
        match recorder.take() {
            reported if reported.is_empty() => Ok(()),
            reported => Err(TrtError::Failed { call: "setOutputType", reported }),
        }
    }
}
