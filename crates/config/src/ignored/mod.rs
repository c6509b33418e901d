//! Keys that Tempo has and Trackway accepts without using them.
//!
//! Rings, gossip, Kafka and connection pools have no counterpart here. Each key keeps its loose type, so that a typing
//! error in an ignored block is still found.

mod local_blocks;
mod root;

pub(crate) use local_blocks::LOCAL_BLOCKS;
pub(crate) use root::{ROOT, SERVER};

use crate::table::Ignored;
use crate::table::Shape::{Block, Bool, Dur, Inline, Int, List, Num, Str};

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
        Block(&[("primary", Str), ("secondary", Str), ("mirror_enabled", Bool), ("mirror_timeout", Dur)]),
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
pub(crate) const BACKOFF: &[Ignored] = &[("min_period", Dur), ("max_period", Dur), ("max_retries", Int)];

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

/// A client of another component, with its pool.
pub(crate) const CLIENT: &[Ignored] = &[
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
];
