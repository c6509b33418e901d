//! OTLP trace data between JSON and protobuf bytes, without building an object graph in between.
//!
//! Three doors: [`to_protobuf`] reads what senders post as OTLP/JSON, [`write_trace_json`] writes the JSON that
//! Tempo answers for a trace, [`write_llm_json`] writes its short form for language models. [`json`] holds the
//! small writing helpers they share with the API.
//!
//! What must stay true:
//! - one bad span never costs its neighbours: it is refused with a reason, the rest is kept;
//! - no input makes this crate panic, recurse without bound, or write more than a small multiple of its size;
//! - the protobuf written is canonical proto3 (shortest lengths, zero values left out, `oneof` members kept);
//! - the JSON written is what Go's gogo `jsonpb` and `encoding/json` write for the same message.

mod encoding;
mod error;
pub mod json;
mod llm;
mod number;
mod read;
mod scalar;
pub mod scan;
mod schema;
mod text;
mod wire;
mod write;

pub use error::{Error, Fail, Place};
pub use llm::{LlmAnswer, write_llm_json};
pub use read::{Converted, Limits, Refused, to_protobuf};
pub use write::{Style, write_trace_json};

/// The largest OTLP/JSON body that is read unless the caller says otherwise.
pub const MAX_JSON_BYTES: usize = 64 << 20;

/// How deep objects and arrays may stand in each other in a JSON body, known keys and unknown ones alike.
pub const MAX_JSON_DEPTH: usize = 256;

/// How deep attribute values may stand in each other in a JSON body. Protobuf decoders (prost, Go's, Java's) stop at
/// 100 nested messages, and a level of a key-value list costs three, so that deeper values could not be read again.
pub const MAX_VALUE_DEPTH: usize = 30;

/// How deep attribute values may stand in each other in protobuf that is written as JSON. Wider than on the way in:
/// what is stored already should be shown.
pub const MAX_WRITTEN_VALUE_DEPTH: usize = 100;

/// How many refused spans are described one by one; the others are only counted, so that a body of nothing but bad
/// spans does not become a report many times its size.
pub const MAX_REASONS: usize = 100;
