//! The metrics-generator's keys, until Trackway has one.

use super::{BLOCK, RING, SEARCH, WAL};
use crate::table::Ignored;
use crate::table::Shape::{Any, Block, Bool, Dur, Int, List, Map, Num, Str};

const SERVICE_GRAPHS: &[Ignored] = &[
    ("wait", Dur),
    ("max_items", Int),
    ("workers", Int),
    ("histogram_buckets", List),
    ("dimensions", List),
    ("peer_attributes", List),
    ("database_name_attributes", List),
    ("filter_policies", List),
    ("enable_client_server_prefix", Bool),
    ("enable_messaging_system_latency_histogram", Bool),
    ("enable_virtual_node_label", Bool),
    ("span_multiplier_key", Str),
    ("enable_tracestate_span_multiplier", Bool),
];

const SPAN_METRICS: &[Ignored] = &[
    ("histogram_buckets", List),
    ("histogram_override", Str),
    (
        "intrinsic_dimensions",
        Block(&[
            ("service", Bool),
            ("span_name", Bool),
            ("span_kind", Bool),
            ("status_code", Bool),
            ("status_message", Bool),
        ]),
    ),
    ("dimensions", List),
    ("dimension_mappings", List),
    ("enable_target_info", Bool),
    ("target_info_excluded_dimensions", List),
    ("enable_instance_label", Bool),
    ("filter_policies", List),
    ("span_multiplier_key", Str),
    ("enable_tracestate_span_multiplier", Bool),
    ("subprocessors", Map),
];

const LOCAL_BLOCKS: &[Ignored] = &[
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

/// The processors of the metrics-generator.
pub(crate) const PROCESSORS: &[Ignored] = &[
    ("service_graphs", Block(SERVICE_GRAPHS)),
    ("span_metrics", Block(SPAN_METRICS)),
    ("local_blocks", Block(LOCAL_BLOCKS)),
    ("host_info", Block(&[("host_identifiers", List), ("metric_name", Str)])),
];

pub(crate) const GENERATOR: &[Ignored] = &[
    ("ring", Block(RING)),
    ("processor", Block(PROCESSORS)),
    (
        "registry",
        Block(&[
            ("collection_interval", Dur),
            ("stale_duration", Dur),
            ("external_labels", Map),
            ("inject_tenant_id_as", Str),
            ("max_label_name_length", Int),
            ("max_label_value_length", Int),
        ]),
    ),
    (
        "storage",
        Block(&[
            ("path", Str),
            (
                "wal",
                Block(&[
                    ("wal_segment_size", Int),
                    ("wal_compression", Str),
                    ("stripe_size", Int),
                    ("truncate_frequency", Dur),
                    ("min_wal_time", Int),
                    ("max_wal_time", Int),
                    ("no_lockfile", Bool),
                    // Tempo knows this one only a level higher, but values files have it here.
                    ("remote_write_flush_deadline", Dur),
                ]),
            ),
            ("remote_write_flush_deadline", Dur),
            ("remote_write_add_org_id_header", Bool),
            ("remote_write", List),
            // No key of Tempo's, but found in values files.
            ("local_blocks", Block(LOCAL_BLOCKS)),
        ]),
    ),
    ("traces_storage", Block(WAL)),
    ("traces_query_storage", Block(WAL)),
    ("metrics_ingestion_time_range_slack", Dur),
    ("query_timeout", Dur),
    ("override_ring_key", Str),
    ("codec", Str),
    ("disable_local_blocks", Bool),
    ("disable_grpc", Bool),
    ("limiter_type", Str),
    ("ingest_concurrency", Int),
    ("instance_id", Str),
    ("ring_mode", Str),
    ("leave_consumer_group_on_shutdown", Bool),
    ("assigned_partitions", Map),
    ("kafka", Any),
];
