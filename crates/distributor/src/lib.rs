//! The distributor: takes batches from the receivers, hands them to the ingester, and says what became of them.

mod push;
mod rate;
mod seen;
mod service;

pub use push::{Push, PushError, PushRequest, PushResponse};
pub use service::{Distributor, DistributorConfig, LogSpans};
