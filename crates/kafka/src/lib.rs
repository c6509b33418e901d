//! Spans from Kafka: topics in every encoding that the Collector's receiver knows, and the records that Tempo 3's
//! distributors leave.
//!
//! What must stay true: an offset is committed only after everything before it is durable, so that a crash repeats records
//! and loses none; a broker that is away stops nothing but this, and is waited for; what is on its way is bounded.

mod broken;
mod client;
mod config;
mod consume;
mod listener;
mod metrics;
mod progress;
mod record;

pub use client::TEMPO_GROUP;
pub use config::{Backoff, Fetching, KafkaConfig, KafkaTls, Mechanism, Sasl, Sharing, TenantOf};
pub use consume::serve_kafka;
pub use metrics::KafkaMetrics;
pub use record::RECORD_BYTES_MAX;
pub use trackway_foreign::RecordEncoding;
