//! `ingester:` (Tempo 2.x) and `live_store:` (Tempo 3.x), which both say how blocks are cut.
//!
//! Tempo 3 cuts tiny local blocks that it never uploads, so `live_store` has no defaults of its own here: only what a
//! file says counts. [`crate::Config::flushing`] joins both.

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::{mins, secs};
use crate::table::Shape::{Block, Bool, Dur, Int, Num, Str};

section! {
    /// `ingester:`.
    Ingester {
        max_block_duration: GoDuration = mins(30), "Oldest data that is not yet in a block.";
        max_block_bytes: ByteSize = ByteSize::mib(500), "Most data that is not yet in a block.";
        trace_idle_period: GoDuration = secs(5), "When a trace without new spans counts as complete.";
        trace_live_period: GoDuration = secs(30), "When a trace counts as complete in any case.";
        flush_check_period: GoDuration = secs(10), "How often to look for blocks to be cut.";
        complete_block_timeout: GoDuration = mins(15), "How long flushed data stays with the ingester.";
        flush_all_on_shutdown: Option<bool> = None, "Write blocks of everything at shutdown. Trackway's default is true.";
        flush_object_storage: bool = true, "Write blocks to the object store at all.";
    }
    ignored &[
        ("lifecycler", Block(ignored::LIFECYCLER)),
        ("partition_ring", Block(ignored::PARTITION_RING)),
        ("concurrent_flushes", Int),
        ("flush_op_timeout", Dur),
        ("override_ring_key", Str),
        ("autocomplete_filtering_enabled", Bool),
        ("ingest_storage_config", crate::table::Shape::Any),
    ]
}

section! {
    /// `live_store:`.
    LiveStore {
        max_block_duration: Option<GoDuration> = None, "As `ingester.max_block_duration`.";
        max_block_bytes: Option<ByteSize> = None, "As `ingester.max_block_bytes`.";
        max_trace_idle: Option<GoDuration> = None, "As `ingester.trace_idle_period`.";
        max_trace_live: Option<GoDuration> = None, "As `ingester.trace_live_period`.";
        flush_check_period: Option<GoDuration> = None, "As `ingester.flush_check_period`.";
        complete_block_timeout: Option<GoDuration> = None, "As `ingester.complete_block_timeout`.";
    }
    ignored &[
        ("ring", Block(ignored::RING)),
        ("partition_ring", Block(ignored::PARTITION_RING)),
        ("metrics", Block(&[("time_overlap_cutoff", Num), ("concurrent_blocks", Int)])),
        ("commit_interval", Dur),
        ("wal", Block(ignored::WAL)),
        ("query_block_concurrency", Int),
        ("complete_block_concurrency", Int),
        ("block_reclaim_grace", Dur),
        ("shutdown_marker_dir", Str),
        ("flush_op_timeout", Dur),
        ("max_live_traces_bytes", Int),
        ("block_config", Block(ignored::BLOCK)),
        ("readiness_target_lag", Dur),
        ("readiness_max_wait", Dur),
        ("fail_on_high_lag", Bool),
        ("remove_owner_on_shutdown", Bool),
    ]
}
