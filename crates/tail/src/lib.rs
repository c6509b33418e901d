//! Watching spans as they arrive: who watches, what waits for them, and which spans match.
//!
//! What must stay true: whoever takes spans in never waits for a watcher, and pays one load of a number for a batch while
//! nobody watches. A watcher sees spans of its tenants only, only such as were acknowledged, each once; what it could not be
//! shown is counted and told. Everything that waits has a limit, and counts in the memory budget.

mod query;
mod show;
mod watch;

pub use query::{QueryError, SpanQuery};
pub use show::ShownSpan;
pub use watch::{
    Batch, LOOKED_AT_PER_SECOND_MAX, SPANS_PER_SECOND_MAX, Seen, TAILS_MAX, TAILS_PER_TENANT_MAX, Tail,
    TailError, Tails, WAITING_BYTES_MAX, WAITING_REQUESTS_MAX,
};
