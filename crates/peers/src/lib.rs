//! Servers that tests speak with: an S3 in this process that fails on demand, and real ones (MinIO, Azurite, HDFS,
//! memcached, Redis, Kafka, Prometheus) that are started on loopback where they are installed. And programs that send with real
//! client libraries.
//!
//! For tests only: nothing that is shipped depends on this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests
#![allow(clippy::disallowed_methods)] // a test measures real time and reads the environment

mod authority;
mod azure;
mod caches;
mod kafka;
mod process;
mod programs;
mod prometheus;
mod real;
mod s3;

pub use authority::Authority;
pub use caches::{CacheServer, RedisCluster};
pub use kafka::Kafka;
pub use process::{Peer, free_port};
pub use programs::{chromium, programs};
pub use prometheus::{Exemplar, Labels, Prometheus};
pub use real::{Azurite, Hdfs, Minio, skipped};
pub use s3::{ACCESS_KEY, Fault, S3Server, SECRET_KEY, Tls};
