//! Keeps a bucket small: merges blocks, expires old ones, and deletes what is not needed any more.
//!
//! What it decides takes effect by one commit ([`trackway_storage::Commit`]); everything else can be done again, by this
//! process or another one, after whatever interrupted it.

mod config;
mod cursor;
mod ids;
mod merge;
mod metrics;
mod redact;
mod select;
mod service;
mod tidy;

pub use config::Config;
pub use merge::{INPUT_SPANS_MAX, MergeError, Merged, merge};
pub use metrics::Metrics;
pub use redact::LiveData;
pub use select::{Job, debt, jobs};
pub use service::{ColumnsOfTenant, Compactor, ReleasedLog};
