//! Request bodies of OTLP over HTTP: read, decompressed, turned into protobuf, never larger than the limit.
//!
//! What must stay true: the limit holds for what comes out of the decompression, and is checked while it runs.

use std::io::Read;

use ::http::HeaderMap;
use ::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use trackway_common::ErrorKind;
use trackway_distributor::PushError;
use trackway_otlpjson::{Error as JsonError, Limits, to_protobuf};

use crate::export::Batch;
use crate::meter::Meter;

/// Largest window that a zstd frame may ask for, as a power of two: what level 19 uses, and twice as much.
const ZSTD_WINDOW: u32 = 24;
/// How much larger a body is expected to become.
const GROWTH: usize = 5;
/// Least that is decompressed in one step.
const STEP: usize = 16 << 10;
/// Fewest bytes that gzip can have.
const GZIP_HEADER: usize = 10;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Protobuf, named `application/x-protobuf` or, the second, `application/protobuf`.
    Protobuf(&'static str),
    /// JSON.
    Json,
}

impl Format {
    /// From a `Content-Type`.
    pub(crate) fn parse(content_type: &[u8]) -> Option<Self> {
        let name = content_type.split(|byte| *byte == b';').next()?.trim_ascii().to_ascii_lowercase();
        match name.as_slice() {
            b"application/json" => Some(Self::Json),
            b"application/x-protobuf" => Some(Self::Protobuf("application/x-protobuf")),
            b"application/protobuf" => Some(Self::Protobuf("application/protobuf")),
            _ => None,
        }
    }

    /// The `Content-Type` of answers.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf(name) => name,
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zlib,
    Zstd,
}

impl Encoding {
    /// From the headers.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, PushError> {
        let Some(name) = headers.get(CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match name.as_bytes().trim_ascii() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" => Ok(Self::Gzip),
            b"deflate" | b"zlib" => Ok(Self::Zlib),
            b"zstd" => Ok(Self::Zstd),
            other => {
                let name = String::from_utf8_lossy(other);
                Err(PushError::new(ErrorKind::Invalid, format!("unsupported Content-Encoding: {name}")))
            }
        }
    }
}

/// The error for a body over the limit.
pub(crate) fn too_large(limit: usize) -> PushError {
    let message = format!("the body is larger than {limit} bytes (max_request_body_size)");
    PushError::new(ErrorKind::TooLarge, message)
}

/// Makes a batch of a body. Takes time in proportion to the size; not for an async thread when that is large.
pub(crate) fn decode(
    body: Bytes,
    encoding: Encoding,
    format: Format,
    limit: usize,
    meter: &Meter,
) -> Result<Batch, PushError> {
    let body = decompress(body, encoding, limit, meter)?;
    match format {
        Format::Protobuf(_) => Ok(Batch::protobuf(body)),
        Format::Json => {
            meter.cover(body.len().saturating_mul(2))?;
            let limits = Limits { max_bytes: limit, ..Limits::default() };
            let converted = to_protobuf(&body, &limits).map_err(|error| match error {
                JsonError::TooLarge { .. } => too_large(limit),
                other => PushError::new(ErrorKind::Invalid, other.to_string()),
            })?;
            Ok(Batch::json(converted))
        }
    }
}

/// Decompresses a body to at most `limit` bytes, and to no more than there is memory for.
pub(crate) fn decompress(
    whole: Bytes,
    encoding: Encoding,
    limit: usize,
    meter: &Meter,
) -> Result<Bytes, PushError> {
    let body = &whole[..];
    let sizes = Sizes { compressed: body.len(), limit };
    match encoding {
        Encoding::Identity => Ok(whole),
        Encoding::Gzip if body.len() < GZIP_HEADER => Err(bad("unexpected EOF".to_owned())),
        Encoding::Gzip => read(flate2::bufread::MultiGzDecoder::new(body), sizes, meter),
        Encoding::Zlib => read(flate2::bufread::ZlibDecoder::new(body), sizes, meter),
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                Ok(decoder)
            });
            read(decoder.map_err(|error| bad(error.to_string()))?, sizes, meter)
        }
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    compressed: usize,
    limit: usize,
}

fn read(mut decoder: impl Read, sizes: Sizes, meter: &Meter) -> Result<Bytes, PushError> {
    let Sizes { compressed, limit } = sizes;
    // OTLP shrinks to a fifth or less; what shrinks further is read in steps, each of which must find memory.
    let mut room = compressed.saturating_mul(GROWTH).clamp(STEP, limit.max(STEP));
    let mut out = Vec::new();
    loop {
        // While it grows, a vector and its copy are there.
        meter.cover(compressed + out.len() + room)?;
        out.reserve_exact(room - out.len());
        // One byte over the limit tells too large from just fitting.
        let stop = room.min(limit.saturating_add(1)) - out.len();
        let stop = u64::try_from(stop).unwrap_or(u64::MAX);
        let read = decoder.by_ref().take(stop).read_to_end(&mut out).map_err(|error| {
            bad(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
                _ => format!("the body cannot be decompressed: {error}"),
            })
        })?;
        if out.len() > limit {
            return Err(too_large(limit));
        }
        if u64::try_from(read).unwrap_or(u64::MAX) < stop {
            return Ok(out.into());
        }
        room = room.saturating_mul(2).min(limit.saturating_add(1));
    }
}

fn bad(message: String) -> PushError {
    PushError::new(ErrorKind::Invalid, message)
}
