//! Traces to send, and what sends them: the benchmark's workload, the demo's web shop, and a small OTLP/HTTP client.
//!
//! What must stay true: everything generated is a function of its seed and the times it is given (the same call makes
//! the same bytes on every machine), so a benchmark can ask the server for exactly what it sent without keeping it.

pub mod client;
pub mod demo;
mod dice;
mod http;
mod otlp;
mod stream;
pub mod workload;

pub use client::{Endpoint, EndpointError, OtlpHttpClient, SendError, SendOutcome};
pub use demo::{Demo, DemoTrace};
pub use http::{Answer, HttpClient, HttpError, percent_encode};
pub use otlp::{count_spans, hex_id, trace_span_ids};
pub use stream::{Lines, Streamed};
pub use workload::{Request, SpanFacts, TraceFacts, Workload};
