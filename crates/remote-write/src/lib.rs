//! Prometheus' remote write, both protocols of it: what encodes series, and a client that brings one encoded request
//! to one endpoint.
//!
//! What must stay true: nothing here waits, queues or tries again by itself, and no task runs; that is the caller's. No
//! error, no log line and no `Debug` shows a secret.

mod answer;
mod auth;
mod client;
mod encode;
mod endpoint;
mod relabel;
mod series;
mod symbols;
mod wire;

pub use answer::{MAX_ANSWER, MAX_RETRY_AFTER, SendError, Sent};
pub use client::{Client, MAX_REDIRECTS};
pub use encode::{Encoder, Full, MAX_BYTES, Request};
pub use endpoint::{Authorization, BasicAuth, Endpoint, OpenError, QueueConfig, SigV4};
pub use relabel::{Relabel, RelabelConfig, RelabelError};
pub use series::{Counts, Exemplar, MetricKind, NativeHistogram, Protocol, ResetHint, Sample, Series};
