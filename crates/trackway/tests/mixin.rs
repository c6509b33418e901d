//! The metrics that the dashboards, alerts and rules of Tempo's mixin ask for (those of 3.0, and what 2.10's has besides):
//! each is served under its name, or belongs to something that does not exist in this process, which is said here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use support::Server;
use support::requests::{own_trace, request};

/// Served by one process with a local folder and no caches outside.
const SERVED: [&str; 41] = [
    "tempo_build_info",
    "tempo_request_duration_seconds",
    "tempo_query_frontend_queries_total",
    "tempo_receiver_accepted_spans",
    "tempo_receiver_refused_spans",
    "tempo_discarded_spans_total",
    "tempo_distributor_bytes_received_total",
    "tempo_distributor_spans_received_total",
    "tempo_distributor_push_duration_seconds",
    "tempo_distributor_ingester_append_failures_total",
    "tempo_distributor_attributes_truncated_total",
    "tempo_live_store_blocks_completed_total",
    "tempo_live_store_live_traces",
    "tempo_live_store_bytes_received_total",
    "tempo_limits_defaults",
    "tempo_limits_overrides",
    "tempo_runtime_config_last_reload_successful",
    "tempodb_blocklist_length",
    "tempodb_blocklist_poll_duration_seconds",
    "tempodb_blocklist_poll_errors_total",
    "tempodb_blocklist_tenant_index_age_seconds",
    "tempodb_blocklist_tenant_index_builder",
    "tempodb_blocklist_tenant_index_errors_total",
    "tempodb_compaction_blocks_total",
    "tempodb_compaction_bytes_written_total",
    "tempodb_compaction_errors_total",
    "tempodb_compaction_objects_combined_total",
    "tempodb_compaction_objects_written_total",
    "tempodb_compaction_outstanding_blocks",
    "tempodb_compaction_spans_deduped_total",
    "tempodb_retention_deleted_total",
    "tempodb_retention_duration_seconds",
    "tempodb_retention_errors_total",
    "tempodb_retention_marked_for_deletion_total",
    "tempo_ingester_blocks_flushed_total",
    "tempo_ingester_bytes_received_total",
    "tempo_ingester_failed_flushes_total",
    "tempo_ingester_flush_duration_seconds",
    "tempo_ingester_flush_failed_retries_total",
    "tempo_ingester_live_traces",
    "tempo_ingester_traces_created_total",
];

#[test]
fn tempos_dashboards_find_their_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.yaml");
    std::fs::write(&file, "overrides: {}").unwrap();
    let more = format!("overrides: {{per_tenant_override_config: '{}'}}", file.display());
    let server = Server::start(folder.path(), &more);
    assert_eq!(server.push("application/x-protobuf", &request(1)).status, 200);
    server.flush();
    assert!(server.trace(own_trace(1)).is_some());
    assert_eq!(server.search("{ }").len(), 2);
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let named: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let is_served = |name: &str| named.contains(name) || named.contains(name.trim_end_matches("_total"));
    let missing: Vec<&str> = SERVED.into_iter().filter(|name| !is_served(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in\n{text}");
    for line in [
        "tempo_query_frontend_queries_total{tenant=\"single-tenant\",op=\"traces\",result=\"completed\"} 1",
        "tempo_query_frontend_queries_total{tenant=\"single-tenant\",op=\"search\",result=\"completed\"} 1",
        "tempo_live_store_blocks_completed_total 1",
        "tempo_distributor_push_duration_seconds_count 1",
        "tempo_ingester_flush_duration_seconds_count 1",
        "tempo_ingester_traces_created_total 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    // No name is there twice.
    assert_eq!(named.len(), text.lines().filter(|line| line.starts_with("# TYPE ")).count());
    server.stop();
}
