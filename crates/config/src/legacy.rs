//! Tempo's flat spelling of overrides (`metrics_generator_processors`), moved to the present keys before reading.
//!
//! Errors keep naming the key as it was written. Where both spellings of a limit are set, the file is refused.

use crate::node::{Entry, Node, NodeValue};
use crate::problem::Problem;

/// Flat key and the path it has today.
const FLAT: &[(&str, &str)] = &[
    ("ingestion_rate_strategy", "ingestion.rate_strategy"),
    ("ingestion_rate_limit_bytes", "ingestion.rate_limit_bytes"),
    ("ingestion_burst_size_bytes", "ingestion.burst_size_bytes"),
    ("ingestion_tenant_shard_size", "ingestion.tenant_shard_size"),
    ("ingestion_max_attribute_bytes", "ingestion.max_attribute_bytes"),
    ("ingestion_artificial_delay", "ingestion.artificial_delay"),
    ("ingestion_retry_info_enabled", "ingestion.retry_info_enabled"),
    ("max_traces_per_user", "ingestion.max_traces_per_user"),
    ("max_global_traces_per_user", "ingestion.max_global_traces_per_user"),
    ("max_bytes_per_tag_values_query", "read.max_bytes_per_tag_values_query"),
    ("max_blocks_per_tag_values_query", "read.max_blocks_per_tag_values_query"),
    ("max_search_duration", "read.max_search_duration"),
    ("max_metrics_duration", "read.max_metrics_duration"),
    ("unsafe_query_hints", "read.unsafe_query_hints"),
    ("block_retention", "compaction.block_retention"),
    ("compaction_disabled", "compaction.compaction_disabled"),
    ("compaction_window", "compaction.compaction_window"),
    ("max_bytes_per_trace", "global.max_bytes_per_trace"),
    ("parquet_dedicated_columns", "storage.parquet_dedicated_columns"),
    ("metrics_generator_forwarder_queue_size", "metrics_generator.forwarder.queue_size"),
    ("metrics_generator_forwarder_workers", "metrics_generator.forwarder.workers"),
    // These stand under the same name in both spellings; listed so that a flat file may hold them.
    ("forwarders", "forwarders"),
    ("cost_attribution", "cost_attribution"),
];

/// `metrics_generator_X` becomes `metrics_generator.X` for these.
const GENERATOR: &[&str] = &[
    "ring_size",
    "processors",
    "max_active_series",
    "max_active_entities",
    "max_cardinality_per_label",
    "collection_interval",
    "disable_collection",
    "generate_native_histograms",
    "native_histogram_bucket_factor",
    "native_histogram_max_bucket_number",
    "native_histogram_min_reset_duration",
    "trace_id_label_name",
    "remote_write_headers",
    "ingestion_time_range_slack",
    "span_name_sanitization",
];

const PROCESSORS: &[(&str, &[&str])] = &[
    (
        "service_graphs",
        &[
            "histogram_buckets",
            "dimensions",
            "peer_attributes",
            "filter_policies",
            "enable_client_server_prefix",
            "enable_messaging_system_latency_histogram",
            "enable_virtual_node_label",
            "span_multiplier_key",
            "enable_tracestate_span_multiplier",
        ],
    ),
    (
        "span_metrics",
        &[
            "histogram_buckets",
            "dimensions",
            "intrinsic_dimensions",
            "filter_policies",
            "dimension_mappings",
            "enable_target_info",
            "target_info_excluded_dimensions",
            "enable_instance_label",
            "span_multiplier_key",
            "enable_tracestate_span_multiplier",
        ],
    ),
    ("host_info", &["host_identifiers", "metric_name"]),
    (
        "local_blocks",
        &[
            "max_live_traces",
            "max_block_duration",
            "max_block_bytes",
            "flush_check_period",
            "trace_idle_period",
            "complete_block_timeout",
        ],
    ),
];

/// Today's path of a flat key.
pub(crate) fn scoped(key: &str) -> Option<String> {
    if let Some((_, path)) = FLAT.iter().find(|(flat, _)| *flat == key) {
        return Some((*path).to_owned());
    }
    let rest = key.strip_prefix("metrics_generator_")?;
    if GENERATOR.contains(&rest) {
        return Some(format!("metrics_generator.{rest}"));
    }
    let rest = rest.strip_prefix("processor_")?;
    PROCESSORS.iter().find_map(|(processor, keys)| {
        let key = rest.strip_prefix(processor)?.strip_prefix('_')?;
        keys.contains(&key).then(|| format!("metrics_generator.processor.{processor}.{key}"))
    })
}

/// Moves the flat keys of a block under `prefix`; returns the keys that were moved.
///
/// `shown` is the block's own path, for messages.
pub(crate) fn move_flat(
    block: &mut Node,
    prefix: &[&str],
    shown: &str,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let NodeValue::Map(entries) = &mut block.value else {
        return Vec::new();
    };
    let flat: Vec<Entry> = entries.extract_if(.., |entry| is_flat(entry, prefix)).collect();
    let mut moved = Vec::new();
    for entry in flat {
        let Some(path) = scoped(&entry.key) else { continue };
        let path: Vec<&str> = prefix.iter().copied().chain(path.split('.')).collect();
        let written = format!("{shown}.{}", entry.key);
        if block.at(&path).is_some() {
            problems.push(Problem {
                origin: entry.origin,
                message: format!("{written} and {shown}.{} are the same setting; keep one", path.join(".")),
                key: written,
            });
            continue;
        }
        let mut node = entry.node;
        // Values that stand below their key are still found by the key's line.
        if node.value == NodeValue::Null {
            node.origin = entry.origin;
        }
        if block.insert(&path, node, Some(written.clone())) {
            moved.push(written);
        }
    }
    moved
}

/// Whether an entry must move. Without a prefix, a key that is the same in both spellings stays where it is.
fn is_flat(entry: &Entry, prefix: &[&str]) -> bool {
    scoped(&entry.key).is_some_and(|path| !prefix.is_empty() || path != entry.key)
}
