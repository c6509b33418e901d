//! The ingester: keeps what was accepted durable and searchable until it lies in a block.
//!
//! ```text
//! push ──► log (durable) ──► head: open builder ──► frozen chunks ──► block
//!                                                      │  pressure
//!                                                      └────────────► segment on disk ──► block
//! ```
//!
//! What must stay true: a request is acknowledged when its record is durable *and* its spans stand in the head; every
//! request lies whole in exactly one chunk; a chunk is in the head, or in a segment, or in a block that the catalogue
//! knows, and a reader sees it in exactly one of them.

mod chunk;
mod columns;
mod config;
mod cut;
mod flush;
mod generations;
mod head;
mod limits;
mod metrics;
mod pair;
mod publish;
mod replay;
mod segment;
mod service;
mod wild;

pub use chunk::{Chunk, ChunkSpans};
pub use columns::CHOICE_STANDS;
pub use config::Config;
pub use metrics::Metrics;
pub use segment::SegmentError;
pub use service::{IngestError, Ingester, OpenError, View};
