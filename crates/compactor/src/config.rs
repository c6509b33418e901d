//! Settings of the compactor.

use std::path::PathBuf;
use std::time::Duration;

use trackway_vparquet::meta::Format;

/// Settings, as `compactor.compaction` names them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether blocks are merged.
    pub merges: bool,
    /// Format of merged blocks.
    pub format: Format,
    /// Where merged blocks are put together.
    pub folder: PathBuf,
    /// Blocks that end in the same window are merged.
    pub window: Duration,
    /// Most traces of a merged block.
    pub max_objects: u64,
    /// Largest merged block.
    pub max_bytes: u64,
    /// Fewest blocks that are merged.
    pub min_inputs: usize,
    /// Most blocks that are merged at once.
    pub max_inputs: usize,
    /// Blocks merged so often are left alone; 0 is no limit.
    pub max_level: u32,
    /// How long data is kept; zero is for ever.
    pub retention: Duration,
    /// How long a merged block's inputs are kept.
    pub compacted_retention: Duration,
    /// Time between rounds.
    pub cycle: Duration,
    /// Longest work on one tenant in a row.
    pub max_time_per_tenant: Duration,
    /// Whether what is left of tenants without blocks is deleted.
    pub deletes_empty_tenants: bool,
    /// How old that must be.
    pub empty_tenant_age: Duration,
    /// How long after the first start on a bucket that has blocks already nothing is merged, expired or deleted.
    pub start_after: Duration,
}
