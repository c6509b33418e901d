//! Tempo 2.x's local blocks, which Trackway has no use for: what they answered the ingester answers.

use super::{BLOCK, SEARCH};
use crate::table::Ignored;
use crate::table::Shape::{Block, Bool, Dur, Int, Num};

/// `local_blocks:` of the metrics-generator.
pub(crate) const LOCAL_BLOCKS: &[Ignored] = &[
    ("block", Block(BLOCK)),
    ("search", Block(SEARCH)),
    ("flush_check_period", Dur),
    ("trace_idle_period", Dur),
    ("trace_live_period", Dur),
    ("max_block_duration", Dur),
    ("max_block_bytes", Int),
    ("complete_block_timeout", Dur),
    ("max_live_traces", Int),
    ("max_live_traces_bytes", Int),
    ("concurrency", Int),
    ("filter_server_spans", Bool),
    ("flush_to_storage", Bool),
    ("concurrent_blocks", Int),
    ("time_overlap_cutoff", Num),
    ("adjust_time_range_for_slack", Bool),
    ("metrics", Block(&[("concurrent_blocks", Int), ("time_overlap_cutoff", Num)])),
];
