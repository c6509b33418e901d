//! The distributor: takes batches from the receivers, hands them to the ingester, and says what became of them.

mod log;
mod push;
mod rate;
mod received;
mod seen;
mod service;
pub mod usage;
mod walk;

pub use log::LogSpans;
pub use push::{Push, PushError, PushRequest, PushResponse};
pub use received::MetricSpans;
pub use service::{Distributor, DistributorConfig};
