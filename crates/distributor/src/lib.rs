//! The distributor: takes batches from the receivers, checks them against the limits, and hands them to the ingester.

mod push;

pub use push::{Push, PushError, PushRequest, PushResponse};
