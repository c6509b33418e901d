//! Codecs that hand over a gRPC message as the bytes it came in, or send bytes as a message, and treat the answer as usual.
//!
//! What must stay true: no copy is made, and an empty message is a message.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Decodes to [`Bytes`], encodes a `T`.
#[derive(Clone, Copy, Debug)]
pub struct RawCodec<T>(PhantomData<T>);

impl<T> Default for RawCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The decoding half of [`RawCodec`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RawDecoder;

impl<T> Codec for RawCodec<T>
where
    T: prost::Message + Send + 'static,
{
    type Encode = T;
    type Decode = Bytes;
    type Encoder = ProstEncoder<T>;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        RawDecoder
    }
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length)))
    }
}

/// Sends [`Bytes`], decodes a `T`: the other side of [`RawCodec`].
#[derive(Clone, Copy, Debug)]
pub struct RawSendCodec<T>(PhantomData<T>);

impl<T> Default for RawSendCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The encoding half of [`RawSendCodec`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RawEncoder;

impl<T> Codec for RawSendCodec<T>
where
    T: prost::Message + Default + Send + 'static,
{
    type Encode = Bytes;
    type Decode = T;
    type Encoder = RawEncoder;
    type Decoder = ProstDecoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        RawEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}
