//! Keys that Tempo has and Trackway accepts without using them.
//!
//! Rings, gossip, Kafka and connection pools have no counterpart here. Each key keeps its loose type, so that a typing
//! error in an ignored block is still found.

use crate::table::Ignored;
use crate::table::Shape::{Any, Block, Bool, Dur, Inline, Int, List, Map, Num, Str};

/// dskit's TLS client and server settings.
pub(crate) const TLS: &[Ignored] = &[
    ("tls_enabled", Bool),
    ("tls_cert_path", Str),
    ("tls_key_path", Str),
    ("tls_ca_path", Str),
    ("tls_server_name", Str),
    ("tls_insecure_skip_verify", Bool),
    ("tls_cipher_suites", Str),
    ("tls_min_version", Str),
];

const KVSTORE: &[Ignored] = &[
    ("store", Str),
    ("prefix", Str),
    (
        "consul",
        Block(&[
            ("host", Str),
            ("acl_token", Str),
            ("http_client_timeout", Dur),
            ("consistent_reads", Bool),
            ("watch_rate_limit", Num),
            ("watch_burst_size", Int),
            ("cas_retry_delay", Dur),
        ]),
    ),
    (
        "etcd",
        Block(&[
            ("endpoints", List),
            ("dial_timeout", Dur),
            ("max_retries", Int),
            ("username", Str),
            ("password", Str),
            ("", Inline(TLS)),
        ]),
    ),
    (
        "multi",
        Block(&[
            ("primary", Str),
            ("secondary", Str),
            ("mirror_enabled", Bool),
            ("mirror_timeout", Dur),
        ]),
    ),
];

/// A ring of any component.
pub(crate) const RING: &[Ignored] = &[
    ("kvstore", Block(KVSTORE)),
    ("heartbeat_period", Dur),
    ("heartbeat_timeout", Dur),
    ("replication_factor", Int),
    ("zone_awareness_enabled", Bool),
    ("excluded_zones", Str),
    ("instance_id", Str),
    ("instance_interface_names", List),
    ("instance_port", Int),
    ("instance_addr", Str),
    ("instance_availability_zone", Str),
    ("instance_zone", Str),
    ("instance_enable_ipv6", Bool),
    ("enable_inet6", Bool),
    ("wait_stability_min_duration", Dur),
    ("wait_stability_max_duration", Dur),
    ("wait_active_instance_timeout", Dur),
];

/// The ring of Kafka partitions.
pub(crate) const PARTITION_RING: &[Ignored] = &[
    ("kvstore", Block(KVSTORE)),
    ("min_partition_owners_count", Int),
    ("min_partition_owners_duration", Dur),
    ("delete_inactive_partition_after", Dur),
];

/// How a 2.x ingester joins its ring.
pub(crate) const LIFECYCLER: &[Ignored] = &[
    ("ring", Block(RING)),
    ("num_tokens", Int),
    ("heartbeat_period", Dur),
    ("heartbeat_timeout", Dur),
    ("observe_period", Dur),
    ("join_after", Dur),
    ("min_ready_duration", Dur),
    ("interface_names", List),
    ("enable_inet6", Bool),
    ("final_sleep", Dur),
    ("tokens_file_path", Str),
    ("availability_zone", Str),
    ("unregister_on_shutdown", Bool),
    ("readiness_check_ring_health", Bool),
    ("address", Str),
    ("port", Int),
    ("id", Str),
];

/// Retries of a client.
pub(crate) const BACKOFF: &[Ignored] = &[
    ("min_period", Dur),
    ("max_period", Dur),
    ("max_retries", Int),
];

/// A gRPC client between Tempo's processes.
pub(crate) const GRPC_CLIENT: &[Ignored] = &[
    ("max_recv_msg_size", Int),
    ("max_send_msg_size", Int),
    ("grpc_compression", Str),
    ("rate_limit", Num),
    ("rate_limit_burst", Int),
    ("backoff_on_ratelimits", Bool),
    ("backoff_config", Block(BACKOFF)),
    ("initial_stream_window_size", Str),
    ("initial_connection_window_size", Str),
    ("connect_timeout", Dur),
    ("connect_backoff_base_delay", Dur),
    ("connect_backoff_max_delay", Dur),
    ("cluster_validation", Block(&[("label", Str)])),
    ("", Inline(TLS)),
];

const CLIENT: &[Ignored] = &[
    (
        "pool_config",
        Block(&[
            ("checkinterval", Dur),
            ("healthcheckenabled", Bool),
            ("healthchecktimeout", Dur),
            ("healthcheckgraceperiod", Dur),
            ("maxconcurrenthealthchecks", Int),
        ]),
    ),
    ("remote_timeout", Dur),
    ("grpc_client_config", Block(GRPC_CLIENT)),
];

/// The Kafka client.
pub(crate) const KAFKA: &[Ignored] = &[
    ("address", Str),
    ("topic", Str),
    ("client_id", Str),
    ("dial_timeout", Dur),
    ("write_timeout", Dur),
    ("sasl_username", Str),
    ("sasl_password", Str),
    ("consumer_group", Str),
    ("consumer_group_offset_commit_interval", Dur),
    ("last_produced_offset_retry_timeout", Dur),
    ("auto_create_topic_enabled", Bool),
    ("auto_create_topic_default_partitions", Int),
    ("producer_max_record_size_bytes", Int),
    ("producer_max_buffered_bytes", Int),
    ("target_consumer_lag_at_startup", Dur),
    ("max_consumer_lag_at_startup", Dur),
    ("disable_kafka_telemetry", Bool),
    ("consumer_group_lag_metric_update_interval", Dur),
];

/// A block's format, where it is not the storage's own.
pub(crate) const BLOCK: &[Ignored] = &[
    ("max_block_bytes", Int),
    ("bloom_filter_false_positive", Num),
    ("bloom_filter_shard_size_bytes", Int),
    ("version", Str),
    ("search_encoding", Str),
    ("search_page_size_bytes", Int),
    ("parquet_row_group_size_bytes", Int),
    ("parquet_dedicated_columns", List),
    ("create_with_no_compact_flag", Bool),
    ("", Inline(V2_BLOCK)),
];

/// Settings of the block format v2, which nothing writes any more.
pub(crate) const V2_BLOCK: &[Ignored] = &[
    ("v2_index_downsample_bytes", Int),
    ("v2_index_page_size_bytes", Int),
    ("v2_encoding", Str),
    ("row_group_size_bytes", Int),
];

/// A log of a component, where it is not the storage's own.
pub(crate) const WAL: &[Ignored] = &[
    ("path", Str),
    ("completedfilepath", Str),
    ("blocksfilepath", Str),
    ("v2_encoding", Str),
    ("search_encoding", Str),
    ("ingestion_time_range_slack", Dur),
    ("version", Str),
];

/// How 2.x reads blocks in a search.
pub(crate) const SEARCH: &[Ignored] = &[
    ("chunk_size_bytes", Int),
    ("prefetch_trace_count", Int),
    ("read_buffer_count", Int),
    ("read_buffer_size_bytes", Int),
    (
        "cache_control",
        Block(&[
            ("footer", Bool),
            ("column_index", Bool),
            ("offset_index", Bool),
        ]),
    ),
];

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
    (
        "metrics",
        Block(&[("concurrent_blocks", Int), ("time_overlap_cutoff", Num)]),
    ),
];

/// The processors of the metrics-generator.
pub(crate) const PROCESSORS: &[Ignored] = &[
    ("service_graphs", Block(SERVICE_GRAPHS)),
    ("span_metrics", Block(SPAN_METRICS)),
    ("local_blocks", Block(LOCAL_BLOCKS)),
    (
        "host_info",
        Block(&[("host_identifiers", List), ("metric_name", Str)]),
    ),
];

const GENERATOR: &[Ignored] = &[
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

const MEMBERLIST: &[Ignored] = &[
    ("node_name", Str),
    ("randomize_node_name", Bool),
    ("stream_timeout", Dur),
    ("retransmit_factor", Int),
    ("pull_push_interval", Dur),
    ("gossip_interval", Dur),
    ("gossip_nodes", Int),
    ("gossip_to_dead_nodes_time", Dur),
    ("dead_node_reclaim_time", Dur),
    ("compression_enabled", Bool),
    ("notify_interval", Dur),
    ("advertise_addr", Str),
    ("advertise_port", Int),
    ("cluster_label", Str),
    ("cluster_label_verification_disabled", Bool),
    ("join_members", List),
    ("min_join_backoff", Dur),
    ("max_join_backoff", Dur),
    ("max_join_retries", Int),
    ("abort_if_cluster_fast_join_fails", Bool),
    ("abort_if_cluster_fast_join_fails_min_nodes", Int),
    ("abort_if_cluster_join_fails", Bool),
    ("rejoin_interval", Dur),
    ("rejoin_seed_nodes", List),
    ("left_ingesters_timeout", Dur),
    ("obsolete_entries_timeout", Dur),
    ("leave_timeout", Dur),
    ("broadcast_timeout_for_local_updates_on_shutdown", Dur),
    ("message_history_buffer_bytes", Int),
    ("watch_prefix_buffer_size", Int),
    ("bind_addr", List),
    ("bind_port", Int),
    ("packet_dial_timeout", Dur),
    ("packet_write_timeout", Dur),
    ("max_concurrent_writes", Int),
    ("acquire_writer_timeout", Dur),
    ("propagation_delay_tracker", Any),
    (
        "zone_aware_routing",
        Block(&[
            ("enabled", Bool),
            ("instance_availability_zone", Str),
            ("role", Str),
        ]),
    ),
    ("", Inline(TLS)),
];

/// A server's keys that Trackway does not use.
pub(crate) const SERVER: &[Ignored] = &[
    ("http_listen_network", Str),
    ("http_listen_conn_limit", Int),
    ("grpc_listen_network", Str),
    ("grpc_listen_conn_limit", Int),
    ("grpc_collect_max_streams_by_conn", Bool),
    ("proxy_protocol_enabled", Bool),
    ("tls_cipher_suites", Str),
    ("tls_min_version", Str),
    ("register_instrumentation", Bool),
    ("report_grpc_codes_in_instrumentation_label_enabled", Bool),
    ("http_server_read_header_timeout", Dur),
    ("http_log_closed_connections_without_response_enabled", Bool),
    ("grpc_server_max_connection_idle", Dur),
    ("grpc_server_max_connection_age", Dur),
    ("grpc_server_max_connection_age_grace", Dur),
    ("grpc_server_keepalive_time", Dur),
    ("grpc_server_keepalive_timeout", Dur),
    ("grpc_server_min_time_between_pings", Dur),
    ("grpc_server_ping_without_stream_allowed", Bool),
    ("grpc_server_num_workers", Int),
    ("grpc_server_stats_tracking_enabled", Bool),
    ("grpc_server_recv_buffer_pools_enabled", Bool),
    ("log_source_ips_enabled", Bool),
    ("log_source_ips_full", Bool),
    ("log_source_ips_header", Str),
    ("log_source_ips_regex", Str),
    ("log_request_headers", Bool),
    ("log_request_at_info_level_enabled", Bool),
    ("log_request_exclude_headers_list", Str),
    ("trace_request_headers", Bool),
    ("trace_request_exclude_headers_list", Str),
    ("throughput", Any),
    (
        "cluster_validation",
        Block(&[
            ("label", Str),
            ("additional_labels", Str),
            (
                "grpc",
                Block(&[("enabled", Bool), ("soft_validation", Bool)]),
            ),
            (
                "http",
                Block(&[
                    ("enabled", Bool),
                    ("soft_validation", Bool),
                    ("excluded_paths", Str),
                    ("excluded_user_agents", Str),
                ]),
            ),
        ]),
    ),
];

const INTERNAL_SERVER: &[Ignored] = &[
    ("enable", Bool),
    ("http_listen_address", Str),
    ("http_listen_port", Int),
    ("grpc_listen_address", Str),
    ("grpc_listen_port", Int),
    ("http_tls_config", Map),
    ("grpc_tls_config", Map),
    ("graceful_shutdown_timeout", Dur),
    ("http_server_read_timeout", Dur),
    ("http_server_write_timeout", Dur),
    ("http_server_idle_timeout", Dur),
    ("grpc_server_max_recv_msg_size", Int),
    ("grpc_server_max_send_msg_size", Int),
    ("grpc_server_max_concurrent_streams", Int),
    ("log_format", Str),
    ("log_level", Str),
    ("http_path_prefix", Str),
    ("", Inline(SERVER)),
];

/// Top-level blocks and keys.
pub(crate) const ROOT: &[Ignored] = &[
    ("enable_go_runtime_metrics", Bool),
    ("span_profiling", Any),
    (
        "memory",
        Block(&[("automemlimit_enabled", Bool), ("automemlimit_ratio", Num)]),
    ),
    ("internal_server", Block(INTERNAL_SERVER)),
    ("ingester_client", Block(CLIENT)),
    ("metrics_generator_client", Block(CLIENT)),
    ("live_store_client", Block(CLIENT)),
    (
        "backend_scheduler_client",
        Block(&[("grpc_client_config", Block(GRPC_CLIENT))]),
    ),
    ("metrics_generator", Block(GENERATOR)),
    (
        "ingest",
        Block(&[("enabled", Bool), ("kafka", Block(KAFKA))]),
    ),
    (
        "block_builder",
        Block(&[
            ("instance_id", Str),
            ("assigned_partitions", Map),
            ("partitions_per_instance", Int),
            ("consume_cycle_duration", Dur),
            ("max_consuming_bytes", Int),
            ("block", Block(BLOCK)),
            ("wal", Block(WAL)),
        ]),
    ),
    ("partition_ring_live_store", Any),
    ("memberlist", Block(MEMBERLIST)),
];
