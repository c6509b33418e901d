//! The oracle: what TraceQL means, written as plainly as possible, for tests only.
//!
//! It reads the syntax tree of `trackway-traceql` and whole traces in memory, and judges them span by span. Nothing
//! here is fast and nothing is shared with the engine, so that an error in one of the two shows as a difference. The
//! oracle itself is held against the recordings of a real Tempo (`tests/golden.rs`).
//!
//! - [`model`] is what a query can see of a trace, [`otlp`] leads there and back;
//! - [`search`] answers a search for one trace, [`metrics`] a metrics query for many;
//! - [`json`] writes answers as Tempo's HTTP API does;
//! - [`random`] makes traces and queries for comparing an engine with the oracle.
//!
//! Where the recordings say nothing, a rule had to be chosen. Such places are marked with `CHOICE`.

mod aggregate;
mod error;
mod expr;
mod field;
pub mod json;
mod metrics;
pub mod model;
pub mod otlp;
mod pipeline;
pub mod random;
mod search;
mod shown;
mod structure;
mod tree;
mod value;
mod view;

pub use error::EvalError;
pub use metrics::{Series, Time, metrics};
pub use search::{SpanAnswer, SpansetAnswer, TraceAnswer, search};
pub use value::Val;
