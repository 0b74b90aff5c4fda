//! [`Samples`]: the tensors of request after request, from a data file or made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bench::feed::{arrays, rows};
use crate::bench::shapes::Choice;
use crate::bench::{BenchError, InputReport};
use crate::data::{self, Dataset};
use crate::tensor::{Shape, Tensor, TensorSpec};

/// Most bytes of the inputs that are made once and sent again and again.
const MOST_POOLED: usize = 64 << 20;
/// Most requests that are made once and sent again and again.
const MOST_REQUESTS: usize = 64;

/// Which requests to make.
#[derive(Debug, Clone)]
pub struct SampleChoice<'a> {
    /// Shapes by input; the others are those of the data, or the smallest.
    pub shapes: &'a BTreeMap<String, Shape>,
    /// Samples of each request, for inputs whose shape is not given.
    pub batch: Option<usize>,
    /// Samples; without them, inputs are random.
    pub data: Option<Arc<Dataset>>,
    /// Whether no two requests are the same.
    pub distinct: bool,
}

/// The tensors of request after request.
#[derive(Debug)]
pub struct Samples {
    inputs: Vec<TensorSpec>,
    shapes: Vec<Shape>,
    assumed: Vec<String>,
    data: Option<Arc<Dataset>>,
    pool: Option<usize>,
}

impl Samples {
    /// Those of a model with these inputs.
    pub fn new(inputs: &[TensorSpec], choice: SampleChoice<'_>) -> Result<Self, BenchError> {
        let data = choice.data.as_deref().map(|data| arrays(data, inputs)).transpose()?;
        let chosen = Choice {
            inputs,
            profiles: &[],
            asked: choice.shapes,
            profile: None,
            batch: choice.batch,
            arrays: data.as_ref().map(|(_, arrays)| arrays.as_slice()),
        }
        .resolve()?;
        let mut bytes = 0_usize;
        for (input, shape) in inputs.iter().zip(&chosen.shapes) {
            bytes += Tensor::zeros(input.dtype, shape.clone())?.bytes().len();
        }
        let rows = |shape: &Shape| shape.0.first().copied().unwrap_or(1);
        let batches = data.as_ref().and_then(|(_, arrays)| {
            let samples = arrays.first()?.samples();
            samples.checked_div(chosen.shapes.first().map_or(1, rows))
        });
        let most = batches.unwrap_or(MOST_REQUESTS).min(MOST_REQUESTS);
        let pool = most.min(MOST_POOLED / bytes.max(1)).max(1);
        Ok(Self {
            inputs: inputs.to_vec(),
            shapes: chosen.shapes,
            assumed: chosen.assumed,
            pool: (!choice.distinct).then_some(pool),
            data: choice.data,
        })
    }

    /// How many different requests there are; `None` for as many as are made.
    pub fn pool(&self) -> Option<usize> {
        self.pool
    }

    /// The tensors of a request.
    pub(super) fn tensors(&self, request: u64) -> Result<Vec<Tensor>, BenchError> {
        let each = self.inputs.iter().zip(&self.shapes);
        each.map(|(input, shape)| {
            let Some(data) = &self.data else {
                let name = format!("{} {request}", input.name);
                return Ok(data::random(&name, input.dtype, shape.clone())?);
            };
            let rows_each = shape.0.first().copied().unwrap_or(0);
            let start = usize::try_from(request).unwrap_or(0).saturating_mul(rows_each);
            rows(data, data.column_for(input)?, start, shape)
        })
        .collect()
    }

    /// Samples of a request, where axis 0 of every input counts the same.
    pub fn per_request(&self) -> Option<usize> {
        let mut counts = self.shapes.iter().map(|shape| shape.0.first().copied());
        let first = counts.next()??;
        counts.all(|count| count == Some(first)).then_some(first)
    }

    /// The shape of every input.
    pub fn shapes(&self) -> BTreeMap<String, Shape> {
        let names = self.inputs.iter().map(|input| input.name.clone());
        names.zip(self.shapes.iter().cloned()).collect()
    }

    /// Open axes that were taken as 1.
    pub fn assumed(&self) -> &[String] {
        &self.assumed
    }

    /// What goes in, for the report.
    pub fn describe(&self) -> Vec<InputReport> {
        let each = self.inputs.iter().zip(&self.shapes);
        each.map(|(input, shape)| InputReport {
            name: input.name.clone(),
            dtype: input.dtype,
            shape: shape.clone(),
            values: None,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Dim};

    fn samples(distinct: bool, batch: Option<usize>) -> Samples {
        let dims = Some(vec![Dim::Any, Dim::Fixed(4)]);
        let input = TensorSpec { name: "x".into(), dtype: DType::Float32, dims };
        let shapes = BTreeMap::new();
        Samples::new(&[input], SampleChoice { shapes: &shapes, batch, data: None, distinct })
            .unwrap()
    }

    #[test]
    fn requests_differ_and_each_is_always_the_same() {
        let samples = samples(true, Some(3));
        assert_eq!((samples.pool(), samples.per_request()), (None, Some(3)));
        let bytes = |request| samples.tensors(request).unwrap()[0].bytes().to_vec();
        let mut seen: Vec<Vec<u8>> = (0..1000).map(bytes).collect();
        assert_eq!(seen[7], bytes(7));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn what_is_made_once_is_bounded_in_number_and_bytes() {
        assert_eq!(samples(false, None).pool(), Some(MOST_REQUESTS));
        assert_eq!(samples(false, Some(MOST_POOLED / 32)).pool(), Some(2));
        assert_eq!(samples(false, Some(MOST_POOLED)).pool(), Some(1));
    }
}
