//! Answers questions over live and stored spans.
//!
//! Every question runs on one view of a tenant ([`trackway_ingester::View`]): each span that was acknowledged before
//! stands in it exactly once. Spans of one trace that lie in several places are joined before anything that looks at the
//! whole trace is judged.

mod answers;
mod fragments;
mod guards;
mod live;
mod metrics;
mod overlap;
mod querier;
mod question;
mod redact;
mod search;
pub mod service;
mod shared_ids;
mod tags;
mod tally;
mod trace;

pub use querier::{Querier, QuerierConfig};
pub use redact::{Redactable, RedactionRequest};
