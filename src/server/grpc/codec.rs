//! [`Codec`]: how messages are read and written. Reads no message that would take much more memory
//! than it has bytes.
//!
//! Two bytes of a message make one more of a repeated field, in memory a hundred or more: what is
//! made is counted before anything is.

use std::any::TypeId;
use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::kserve::ModelInferRequest;

/// Most tensors, parameters, extents and texts in one request.
const MOST_PIECES: usize = 16 << 10;

/// Most bytes of a request that carries no tensors.
const MOST_BYTES: usize = 1 << 20;

/// What one call's buffers hold at first; larger messages make them grow.
const BUFFER_BYTES: usize = 1 << 10;

/// Messages of a stream that are ready leave together, up to about so many bytes.
const YIELD_BYTES: usize = 32 << 10;

/// Reads messages `U` and writes messages `T`.
pub(super) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        Reader(PhantomData)
    }
}

/// Reads messages `U`.
pub(super) struct Reader<U>(PhantomData<U>);

impl<U: Message + Default + 'static> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Takes the bytes as they are; tensors stay parts of them.
        let message = message.copy_to_bytes(message.remaining());
        if TypeId::of::<U>() == TypeId::of::<ModelInferRequest>() {
            check(&message)?;
        } else if message.len() > MOST_BYTES {
            return Err(Status::resource_exhausted(format!(
                "a request without tensors has at most {MOST_BYTES} bytes, this one has {}",
                message.len()
            )));
        }
        U::decode(message).map(Some).map_err(|error| unreadable(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

fn unreadable(reason: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("the request cannot be read: {reason}"))
}

/// Refuses a [`ModelInferRequest`] of too many pieces.
pub(super) fn check(message: &[u8]) -> Result<(), Status> {
    count(message, REQUEST, &mut { MOST_PIECES })
}

/// A field that is counted, and those to be counted inside of it.
struct Field {
    number: usize,
    inside: Inside,
}

enum Inside {
    /// Nothing that takes more than its bytes.
    Nothing,
    /// A message.
    Message(&'static [Field]),
    /// Numbers without a space between; each takes a byte at least.
    Numbers,
}

const fn field(number: usize, inside: Inside) -> Field {
    Field { number, inside }
}

/// What is counted in a [`ModelInferRequest`]. Elements of tensors are not: they are what the
/// message is for.
const REQUEST: &[Field] = &[
    field(4, Inside::Nothing),
    field(
        5,
        Inside::Message(&[
            field(3, Inside::Numbers),
            field(4, Inside::Nothing),
            field(5, Inside::Message(&[field(8, Inside::Nothing)])),
        ]),
    ),
    field(6, Inside::Message(&[field(2, Inside::Nothing)])),
    field(7, Inside::Nothing),
];

/// Takes the pieces of a message off `left`.
fn count(mut message: &[u8], fields: &[Field], left: &mut usize) -> Result<(), Status> {
    while !message.is_empty() {
        let key = number(&mut message)?;
        let body = match key & 7 {
            0 => {
                number(&mut message)?;
                &[]
            }
            1 => take(&mut message, 8)?,
            2 => {
                let len = number(&mut message)?;
                take(&mut message, len)?
            }
            5 => take(&mut message, 4)?,
            // Groups were given up before there was this format.
            kind => return Err(unreadable(&format_args!("there are no fields of kind {kind}"))),
        };
        let Some(field) = fields.iter().find(|field| field.number == key >> 3) else { continue };
        let pieces = match field.inside {
            Inside::Numbers => body.len().max(1),
            Inside::Nothing | Inside::Message(_) => 1,
        };
        *left = left.checked_sub(pieces).ok_or_else(|| {
            Status::invalid_argument(format!(
                "the request has more than {MOST_PIECES} tensors, parameters, extents and texts"
            ))
        })?;
        if let Inside::Message(inside) = field.inside {
            count(body, inside, left)?;
        }
    }
    Ok(())
}

/// A number of the length it says itself.
fn number(message: &mut &[u8]) -> Result<usize, Status> {
    prost::decode_length_delimiter(message).map_err(|error| unreadable(&error))
}

fn take<'m>(message: &mut &'m [u8], len: usize) -> Result<&'m [u8], Status> {
    message.split_off(..len).ok_or_else(|| unreadable(&"it ends early"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kserve::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
    use crate::kserve::{InferParameter, InferTensorContents};

    fn with(change: impl FnOnce(&mut ModelInferRequest, &mut InferInputTensor)) -> Vec<u8> {
        let mut request = ModelInferRequest { model_name: "m".into(), ..Default::default() };
        let mut input = InferInputTensor { name: "x".into(), ..Default::default() };
        change(&mut request, &mut input);
        request.inputs.insert(0, input);
        request.encode_to_vec()
    }

    fn parameters(count: usize) -> std::collections::BTreeMap<String, InferParameter> {
        (0..count).map(|index| (index.to_string(), InferParameter::default())).collect()
    }

    #[test]
    fn elements_of_tensors_are_not_counted() {
        check(&with(|request, _| request.raw_input_contents.push(vec![0; 1 << 20].into())))
            .unwrap();
        let contents = InferTensorContents {
            int64_contents: vec![1; 1 << 20],
            fp32_contents: vec![1.0; 1 << 20],
            bool_contents: vec![true; 1 << 20],
            ..Default::default()
        };
        check(&with(|_, input| input.contents = Some(contents))).unwrap();
        check(&with(|_, input| input.shape = vec![-1; 64])).unwrap();
    }

    #[test]
    fn too_many_pieces_are_refused_wherever_they_are() {
        let most = MOST_PIECES;
        let output =
            InferRequestedOutputTensor { parameters: parameters(most), ..Default::default() };
        let texts =
            InferTensorContents { bytes_contents: vec![Vec::new(); most], ..Default::default() };
        let requests = [
            with(|request, _| request.inputs = vec![InferInputTensor::default(); most]),
            with(|request, _| request.outputs = vec![InferRequestedOutputTensor::default(); most]),
            with(|request, _| request.raw_input_contents = vec![bytes::Bytes::new(); most]),
            with(|request, _| request.parameters = parameters(most)),
            with(|request, _| request.outputs = vec![output]),
            with(|_, input| input.parameters = parameters(most)),
            with(|_, input| input.shape = vec![1; most]),
            with(|_, input| input.contents = Some(texts)),
        ];
        for request in requests {
            let status = check(&request).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        }
    }

    #[test]
    fn extents_are_counted_without_being_packed_too() {
        // Field 5, an input; in it field 3, numbers one by one.
        let mut input = vec![];
        for _ in 0..MOST_PIECES {
            input.extend([3 << 3, 1]);
        }
        let mut request = vec![5 << 3 | 2];
        prost::encode_length_delimiter(input.len(), &mut request).unwrap();
        request.extend(input);
        assert_eq!(check(&request).unwrap_err().code(), tonic::Code::InvalidArgument);
        assert_eq!(
            ModelInferRequest::decode(&request[..]).unwrap().inputs[0].shape.len(),
            MOST_PIECES
        );
    }

    #[test]
    fn what_is_no_message_is_refused_without_a_panic() {
        let huge = [5 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let endless = [0xff; 16];
        let group = [5 << 3 | 3, 5 << 3 | 4];
        for bytes in [&huge[..], &endless, &group, &[1], &[5 << 3 | 2, 2, 0], &[5 << 3 | 5, 1]] {
            assert_eq!(check(bytes).unwrap_err().code(), tonic::Code::Internal, "{bytes:?}");
        }
    }
}
