//! Settings that are known and do nothing in this version.
//!
//! What must stay true: a setting that does nothing stands here, and one that is made to work is taken out. Left out on
//! purpose are settings that ask for what happens anyway: `usage_report` (nothing is ever reported),
//! `stream_over_http_enabled` (gRPC is served on both ports), `include_metadata` (the tenant's header is always read),
//! `query_backend_after` (recent and stored data are always both looked at).

use std::collections::BTreeSet;

use crate::config::Config;

/// Keys without effect, with what is below them; and the keys below that do work.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "overrides",
        &[
            "overrides.per_tenant_override_config",
            "overrides.per_tenant_override_period",
            "overrides.enable_legacy_overrides", // asks for what happens anyway
            "overrides.user_configurable_overrides",
            "overrides.defaults.ingestion.rate_strategy",
            "overrides.defaults.ingestion.rate_limit_bytes",
            "overrides.defaults.ingestion.burst_size_bytes",
            "overrides.defaults.ingestion.max_traces_per_user",
            "overrides.defaults.ingestion.max_global_traces_per_user",
            "overrides.defaults.ingestion.max_attribute_bytes",
            "overrides.defaults.ingestion.retry_info_enabled",
            "overrides.defaults.forwarders",
            "overrides.defaults.metrics_generator.forwarder",
            "overrides.defaults.metrics_generator.processors",
            "overrides.defaults.metrics_generator.max_active_series",
            "overrides.defaults.metrics_generator.max_active_entities",
            "overrides.defaults.metrics_generator.max_cardinality_per_label",
            "overrides.defaults.metrics_generator.collection_interval",
            "overrides.defaults.metrics_generator.disable_collection",
            "overrides.defaults.metrics_generator.generate_native_histograms",
            "overrides.defaults.metrics_generator.native_histogram_bucket_factor",
            "overrides.defaults.metrics_generator.native_histogram_max_bucket_number",
            "overrides.defaults.metrics_generator.native_histogram_min_reset_duration",
            "overrides.defaults.metrics_generator.trace_id_label_name",
            "overrides.defaults.metrics_generator.ingestion_time_range_slack",
            "overrides.defaults.metrics_generator.span_name_sanitization",
            "overrides.defaults.metrics_generator.remote_write_headers",
            "overrides.defaults.metrics_generator.processor",
            "overrides.defaults.read.max_search_duration",
            "overrides.defaults.read.max_metrics_duration",
            "overrides.defaults.global.max_bytes_per_trace",
            "overrides.defaults.compaction.block_retention",
            "overrides.defaults.compaction.compaction_window",
            "overrides.defaults.compaction.compaction_disabled",
            "overrides.defaults.storage.parquet_dedicated_columns",
            "overrides.defaults.cost_attribution",
        ],
    ),
    ("compactor.compaction.retention_concurrency", &[]),
    ("backend_scheduler.work", &[]),
    ("backend_scheduler.provider.compaction.compaction.retention_concurrency", &[]),
    ("backend_worker.backend_scheduler_addr", &[]),
    ("backend_worker.finish_on_shutdown_timeout", &[]),
    ("backend_worker.compaction.retention_concurrency", &[]),
    ("querier", &[]),
    (
        "query_frontend",
        &[
            "query_frontend.max_query_expression_size_bytes",
            "query_frontend.multi_tenant_queries_enabled",
            "query_frontend.api_timeout",
            "query_frontend.query_end_cutoff",
            "query_frontend.max_outstanding_per_tenant",
            "query_frontend.search.default_result_limit",
            "query_frontend.search.max_result_limit",
            "query_frontend.search.default_spans_per_span_set",
            "query_frontend.search.max_spans_per_span_set",
            "query_frontend.search.max_duration",
            "query_frontend.search.query_backend_after",
            "query_frontend.metrics.query_backend_after",
            "query_frontend.metrics.max_duration",
            "query_frontend.metrics.max_intervals",
            "query_frontend.metrics.max_exemplars",
            "query_frontend.metrics.max_response_series",
        ],
    ),
    (
        "ingester",
        &[
            "ingester.max_block_duration",
            "ingester.trace_idle_period",
            "ingester.max_block_bytes",
            "ingester.flush_check_period",
            "ingester.flush_all_on_shutdown",
        ],
    ),
    (
        "live_store",
        &[
            "live_store.max_block_duration",
            "live_store.max_trace_idle",
            "live_store.max_block_bytes",
            "live_store.flush_check_period",
        ],
    ),
    (
        "storage.trace.block",
        &["storage.trace.block.parquet_dedicated_columns", "storage.trace.block.version"],
    ),
    ("storage.trace.s3.list_blocks_concurrency", &[]),
    ("storage.trace.gcs.list_blocks_concurrency", &[]),
    ("storage.trace.blocklist_poll_fallback", &[]),
    ("storage.trace.blocklist_poll_tenant_index_builders", &[]),
    ("storage.trace.blocklist_poll_stale_tenant_index", &[]),
    ("storage.trace.blocklist_poll_jitter_ms", &[]),
    ("storage.trace.blocklist_poll_tolerate_consecutive_errors", &[]),
    ("storage.trace.blocklist_poll_tolerate_tenant_failures", &[]),
    (
        "server",
        &[
            "server.http_listen_address",
            "server.http_listen_port",
            "server.grpc_listen_address",
            "server.grpc_listen_port",
            "server.log_level",
            "server.log_format",
            "server.http_tls_config",
            "server.grpc_tls_config",
            "server.tls_cipher_suites",
            "server.tls_min_version",
        ],
    ),
    ("distributor.artificial_delay", &[]),
    ("distributor.receivers.jaeger.protocols.thrift_compact.socket_buffer_size", &[]),
    ("distributor.receivers.jaeger.protocols.thrift_binary.socket_buffer_size", &[]),
    ("distributor.receivers.kafka.message_marking.on_error", &[]),
    ("distributor.receivers.kafka.error_backoff.max_elapsed_time", &[]),
];

impl Config {
    /// Keys that the file or a flag sets and that do nothing in this version, sorted. Lists are named as a whole.
    pub fn without_effect(&self) -> Vec<String> {
        keys_without_effect(&self.origins().map(|key| key.split('[').next().unwrap_or(key)).collect())
    }
}

/// Those of the keys that were set that do nothing, sorted.
pub(crate) fn keys_without_effect(set: &BTreeSet<&str>) -> Vec<String> {
    let has_more_below = |key: &str| set.iter().any(|other| is_below(other, key));
    let does_nothing = |key: &str| {
        WITHOUT_EFFECT.iter().any(|(above, works)| {
            let below = key == *above || is_below(key, above);
            below && !works.iter().any(|works| key == *works || is_below(key, works))
        })
    };
    // An empty block asks for nothing.
    let is_block = |key: &str| WITHOUT_EFFECT.iter().any(|(above, _)| key == *above && !key.contains('.'));
    let named = set.iter().filter(|key| !has_more_below(key) && !is_block(key) && does_nothing(key));
    named.map(|key| (*key).to_owned()).collect()
}

fn is_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}
