//! Settings of the ingester.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trackway_common::MemoryPool;
use trackway_overrides::Overrides;
use trackway_vparquet::meta::Format;

/// Settings of the ingester.
#[derive(Clone, Debug)]
pub struct Config {
    /// The budget for what it holds (`trackway.memory.limit`).
    pub memory: MemoryPool,
    /// Folder for the log, the segments and blocks under construction.
    pub folder: PathBuf,
    /// Whether nothing is taken in and nothing written (`trackway.read_only`).
    pub read_only: bool,
    /// Whether an acknowledged request is synced to the disk (`trackway.wal.sync`).
    pub sync: bool,
    /// Bytes of log at the most (`trackway.wal.max_bytes`).
    pub wal_bytes_max: u64,
    /// Bytes of spans in memory above which they go to a segment (`trackway.head.max_bytes`).
    pub head_bytes_max: usize,
    /// Bytes of segments at the most (`trackway.segments.max_bytes`).
    pub segment_bytes_max: u64,
    /// Segments at the most (`trackway.segments.max_count`).
    pub segments_max: usize,
    /// Spans in one block at the most (`trackway.block.max_spans`).
    pub block_spans_max: usize,
    /// Bytes of spans in one block at the most (`ingester.max_block_bytes`).
    pub block_bytes_max: usize,
    /// Age at which spans go to a block (`ingester.max_block_duration`).
    pub block_age_max: Duration,
    /// How often ages are looked at (`ingester.flush_check_period`).
    pub check_period: Duration,
    /// How far off the present spans may be and not be put into a block apart; 0 is any
    /// (`storage.trace.wal.ingestion_time_range_slack`).
    pub time_slack: Duration,
    /// Whether everything goes to blocks when the process stops (`ingester.flush_all_on_shutdown`).
    pub flush_on_shutdown: bool,
    /// How long a trace without new spans counts as live (`ingester.trace_idle_period`).
    pub trace_idle: Duration,
    /// What each tenant may do: what is cut and refused, and which attributes have columns of their own.
    pub overrides: Arc<Overrides>,
    /// Of new blocks.
    pub format: Format,
    /// `replicationFactor` of new blocks.
    pub replication_factor: u32,
}
