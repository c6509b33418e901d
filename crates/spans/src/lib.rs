//! The one representation of spans between the wire and the answer: the [`SpanBatch`], its builder, the cursor that
//! fills it from OTLP bytes, and the ways out of it (OTLP bytes, Arrow IPC).
//!
//! Live data, segments and stored blocks are all searched as `SpanBatch`es, so an attribute means the same thing
//! wherever it lies. Nothing here does I/O.

pub mod anyvalue;
mod batch;
mod builder;
mod cursor;
mod encode;
mod facts;
mod ipc;
mod merge;
mod narrow;
mod needs;
mod peek;
mod strings;
mod tree;
mod visit;
pub mod wire;
mod without;

pub use batch::{
    AttrTable, Column, Events, Level, Links, Resources, Scopes, ServiceStats, SpanBatch, Spans, Traces,
    TypedAttrs, Value, effective_duration,
};
pub use builder::BatchBuilder;
pub use cursor::{AppendError, Appended, Limits, Refusal, Refused, append_request, peek_request};
pub use encode::{encode_trace, encode_traces_by_id, put_resource, put_scope};
pub use facts::TraceFacts;
pub use ipc::{IPC_VERSION, IpcError, read_ipc, write_ipc};
pub use merge::{copied_among, fingerprints, keep_spans, merge_places, merge_traces};
pub use narrow::narrowed;
pub use needs::{AttrNeed, Columns, Needs, OneOf, Prune, PruneOn, TextTest, trace_ids_of};
pub use peek::{PeekedSpan, peek_spans};
pub use strings::{Interner, StrId, Strings};
pub use tree::{NestedSet, TraceShape, TreeSpan, nested_sets, nested_sets_of, root_span, shapes_of};
pub use visit::{Attribute, SpanVisitor, VisitedSpan, attributes, visit_spans};
pub use without::without_spans;
