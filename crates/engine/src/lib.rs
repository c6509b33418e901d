//! Runs TraceQL over [`trackway_spans::SpanBatch`]es: plans, filters as bit masks, results that can be merged.
//!
//! No I/O, no async. The same code judges live data, segments and stored blocks.
//!
//! A search has two steps. [`SearchPlan::scan`] looks only at the columns that decide and says which traces may match and
//! when they start. [`SearchPlan::judge`] looks at whole traces, joined from wherever their spans lie, and makes the
//! answer. What the first step cannot know of a fragment (root, duration, structure) it takes for possible.

mod asked;
mod column;
mod computed;
mod filter;
pub mod metrics;
mod needle;
mod plan;
mod program;
mod result;
mod scan;
mod select;
mod show;
mod spansets;
mod structure;
mod tags;
mod value;
mod whole;

pub use filter::{EvalError, Filter, Reach};
pub use plan::{PlanError, SearchPlan, whole_trace_needs};
pub use result::{AttributeValue, SpanResult, SpansetResult, TraceResult};
pub use scan::{Candidate, Wholeness};
pub use select::Selection;
pub use tags::{TagNames, TagScope, TagValues, ValueKind, tag_needs, value_needs};
pub use whole::complete_traces;
