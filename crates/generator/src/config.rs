//! Settings of the generator, as the binary fills them in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trackway_common::MemoryPool;
use trackway_overrides::Overrides;
use trackway_remote_write::Endpoint;

pub use crate::samples::Codec;

/// `metrics_generator:`, as far as it is not each tenant's own, which [`Overrides`] resolves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the logs of samples (`storage.path`).
    pub path: PathBuf,
    /// `storage.wal`.
    pub wal: WalConfig,
    /// Where samples are sent (`storage.remote_write`).
    pub remote_write: Vec<Endpoint>,
    /// Whether the tenant is named in a header (`storage.remote_write_add_org_id_header`).
    pub add_org_id_header: bool,
    /// Whether there is more than one tenant.
    pub has_tenants: bool,
    /// How long what waits may take at a shutdown (`storage.remote_write_flush_deadline`).
    pub flush_deadline: Duration,
    /// `registry`.
    pub registry: RegistryConfig,
    /// Whether label sets are limited, and not series (`limiter_type: entity`).
    pub by_entity: bool,
    /// Memory of series and open edges of all tenants (`trackway.generator.max_bytes`).
    pub max_bytes: usize,
    /// What each tenant may do, and what is made for it.
    pub overrides: Arc<Overrides>,
    /// The process' memory.
    pub memory: MemoryPool,
}

/// The logs of samples.
#[derive(Clone, Copy, Debug)]
pub struct WalConfig {
    /// Bytes of a segment (`wal_segment_size`).
    pub segment_bytes: u64,
    /// `wal_compression`.
    pub codec: Codec,
    /// Samples that are older are given up (`max_wal_time`).
    pub max_age: Duration,
    /// Bytes on disk of all tenants; beyond, the oldest of who has most are given up (`trackway.generator.wal_max_bytes`).
    pub max_bytes: u64,
}

/// Series of every tenant.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Series that were not counted for so long end (`stale_duration`).
    pub stale_duration: Duration,
    /// Labels of all series (`external_labels`), with `__metrics_gen_instance`.
    pub external_labels: BTreeMap<String, String>,
    /// Label with the tenant (`inject_tenant_id_as`); empty is none.
    pub inject_tenant_id_as: String,
    /// Bytes of the longest name of a label (`max_label_name_length`); 0 is no limit.
    pub max_label_name_length: usize,
    /// Bytes of the longest value of a label (`max_label_value_length`); 0 is no limit.
    pub max_label_value_length: usize,
}
