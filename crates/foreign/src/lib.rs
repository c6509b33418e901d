//! What senders write that do not speak OTLP, turned into OTLP at the door: Jaeger (Thrift, protobuf and its JSON), Zipkin
//! (v1 and v2; JSON, Thrift and protobuf), and what records of Kafka hold.
//!
//! The rules of the translation are those of the OpenTelemetry Collector, which Tempo uses, so that a span has the same
//! name, kind, status and attributes whichever way it came. No I/O here: bytes in, the bytes of an
//! `ExportTraceServiceRequest` out.
//!
//! What must stay true:
//! - one bad span never costs its neighbours: it is refused with a reason, the rest is kept; only what cannot be taken
//!   apart at all is an error of the whole;
//! - no input makes this crate panic, recurse without bound, or write more than [`Options::max_output`];
//! - nothing that a sender said is dropped because another span of the same request said it differently.

mod attributes;
pub mod jaeger;
mod otlp;
mod record;
mod room;
mod thrift;
pub mod zipkin;

use trackway_spans::wire::WireError;

pub use record::{HEADER_PREFIX, RecordEncoding, with_headers};
pub use thrift::Protocol;

/// How deep objects and arrays may stand in each other in a JSON body.
pub const MAX_JSON_DEPTH: usize = 64;
/// How deep structs, lists and maps may stand in each other in Thrift.
pub const MAX_THRIFT_DEPTH: usize = 32;
/// How many refused spans are described one by one; the others are only counted.
pub const MAX_REASONS: usize = 100;
/// Links of one Zipkin span, which are numbered tags.
pub const MAX_LINKS: usize = 128;

/// What the bytes alone do not say.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of OTLP that may come of one request.
    pub max_output: usize,
    /// Zipkin: tags that look like numbers, `true` or `false` become such (`parse_string_tags`).
    pub parse_string_tags: bool,
    /// Unix time in nanoseconds, for Zipkin v1 spans that have no time at all.
    pub now: u64,
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// An `ExportTraceServiceRequest` in protobuf.
    pub protobuf: Vec<u8>,
    /// Spans in it.
    pub spans: usize,
    /// Spans that could not be used.
    pub refused: usize,
    /// The first of those, by their place in the request, with the reason.
    pub reasons: Vec<(usize, String)>,
}

/// Why nothing of a request can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that is not JSON, or not a list of spans.
    #[error("{0}")]
    Json(String),
    /// Broken protobuf.
    #[error("the body is not the expected protobuf: {0}")]
    Protobuf(#[from] WireError),
    /// Broken Thrift.
    #[error("the body is not the expected Thrift: {0}")]
    Thrift(#[from] thrift::ThriftError),
    /// A call that is not one of the agent's.
    #[error("unknown call {0:?}; a Jaeger agent knows emitBatch and emitZipkinBatch")]
    UnknownCall(String),
    /// None of the spans can be used; the reason of the first.
    #[error("{0}")]
    NoUsableSpan(String),
    /// The request would become larger than it may.
    #[error("the request becomes larger than {0} bytes as OTLP; send fewer spans at a time")]
    TooLarge(usize),
}
