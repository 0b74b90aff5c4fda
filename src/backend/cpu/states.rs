//! [`States`]: the execution states of a context for the shapes it ran last.

use tract_onnx::prelude::TypedSimpleState;

use crate::tensor::Shape;

/// How many shapes a context is ready for. Each keeps its specialisation in memory, but contexts
/// of one engine share those: batches come in few sizes (see [`super::engine::batch_size`]).
const MOST: usize = 8;

/// States by the shapes of all inputs; the most recently used last.
#[derive(Default)]
pub(super) struct States(Vec<(Vec<Shape>, TypedSimpleState)>);

impl States {
    /// Takes out the state for these shapes, where there is one.
    pub(super) fn take<'a, I: Iterator<Item = &'a Shape>>(
        &mut self,
        shapes: impl Fn() -> I,
    ) -> Option<(Vec<Shape>, TypedSimpleState)> {
        let at = self.0.iter().rposition(|(key, _)| key.iter().eq(shapes()))?;
        Some(self.0.remove(at))
    }

    /// Keeps a state for the next run of its shapes.
    pub(super) fn keep(&mut self, shapes: Vec<Shape>, state: TypedSimpleState) {
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((shapes, state));
    }
}
