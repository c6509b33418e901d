//! The metrics-generator: service graphs, span metrics and host info out of spans, for Prometheus.
//!
//! ```text
//! ingester's log ──► service ──► tenant ──► registry ──► samples (log on disk) ──► sender ──► remote write
//!                    reads       processors  series       collections               requests
//! ```
//!
//! It reads the ingester's log by itself, so that a restart goes on where it was and a request that was sent twice counts
//! once. Spans are shown by [`trackway_spans::visit_spans`], which builds nothing: only what labels and edges need is
//! looked at. A collection writes every series, and up to which record of the ingester's log they count, as one record;
//! that is what receivers get and what a restart takes up.
//!
//! What must stay true: taking spans in never waits for this; every set, queue and file has a limit with a name.

mod batch;
mod budget;
mod bytes;
mod cardinality;
mod config;
mod demand;
mod edges;
mod expand;
mod expose;
mod facts;
mod filter;
mod host_info;
mod labels;
mod native;
mod numbers;
mod patterns;
mod record;
mod registry;
mod samples;
mod sender;
mod service;
mod service_graphs;
mod shape;
mod span_metrics;
mod tenant;
mod wanted;

pub use config::{Codec, Config, RegistryConfig, WalConfig};
pub use expose::Format;
pub use filter::PolicyError;
pub use service::{Generator, MAX_TENANTS, OpenError, Source};
