//! Real configuration files load as they are: what the Helm charts write for Tempo 2.7, 2.9 and 3.0.

use trackway_config::{Config, Flags, YamlMode, tenant_limits};

/// What chart 1.32.7 (Tempo 2.7) writes.
const CHART_1_32: &str = r#"multitenancy_enabled: false
usage_report: {reporting_enabled: true}
compactor:
  compaction: {block_retention: 48h, compacted_block_retention: 1h, compaction_window: 1h, v2_in_buffer_bytes: 5242880, v2_out_buffer_bytes: 20971520,
    max_compaction_objects: 6000000, max_block_bytes: 107374182400, retention_concurrency: 10, v2_prefetch_traces_count: 1000, max_time_per_tenant: 5m, compaction_cycle: 30s}
  ring: {kvstore: {store: memberlist}}
metrics_generator:
  ring: {kvstore: {store: memberlist}}
  processor: {service_graphs: {dimensions: [], histogram_buckets: [0.1,0.2,0.4,0.8,1.6,3.2,6.4,12.8], max_items: 10000, wait: 10s, workers: 10}, span_metrics: {dimensions: [], histogram_buckets: [0.002,0.004,0.008,0.016,0.032,0.064,0.128,0.256,0.512,1.02,2.05,4.10]}}
  storage: {path: /var/tempo/wal, wal: null, remote_write_flush_deadline: 1m, remote_write_add_org_id_header: true, remote_write: [{url: 'http://prometheus:9090/api/v1/write', send_exemplars: true}]}
  traces_storage: {path: /var/tempo/traces}
  registry: {collection_interval: 15s, external_labels: {}, stale_duration: 15m}
  metrics_ingestion_time_range_slack: 30s
distributor:
  ring: {kvstore: {store: memberlist}}
  receivers: {otlp: {protocols: {http: {endpoint: 0.0.0.0:4318}, grpc: {endpoint: 0.0.0.0:4317}}}}
  log_discarded_spans: {enabled: true, include_all_attributes: false, filter_by_status_error: false}
  log_received_spans: {enabled: true, include_all_attributes: false, filter_by_status_error: false}
querier:
  frontend_worker: {frontend_address: "tempo-query-frontend-discovery:9095"}
  trace_by_id: {query_timeout: 10s}
  search: {query_timeout: 30s}
  max_concurrent_queries: 20
query_frontend:
  max_outstanding_per_tenant: 2000
  max_retries: 2
  search: {target_bytes_per_job: 104857600, concurrent_jobs: 1000}
  trace_by_id: {query_shards: 50}
  metrics: {concurrent_jobs: 1000, target_bytes_per_job: 104857600, max_duration: 3h, query_backend_after: 30m, interval: 5m, duration_slo: 0s, throughput_bytes_slo: 0}
ingester:
  lifecycler: {ring: {replication_factor: 3, kvstore: {store: memberlist}}, tokens_file_path: /var/tempo/tokens.json}
memberlist: {node_name: "", cluster_label: tempo.<ns>, randomize_node_name: true, stream_timeout: 10s, retransmit_factor: 2, pull_push_interval: 30s, gossip_interval: 1s,
  gossip_nodes: 2, gossip_to_dead_nodes_time: 30s, min_join_backoff: 1s, max_join_backoff: 1m, max_join_retries: 10, abort_if_cluster_join_fails: false, rejoin_interval: 0s,
  left_ingesters_timeout: 5m, leave_timeout: 5s, bind_addr: [], bind_port: 7946, packet_dial_timeout: 5s, packet_write_timeout: 5s, join_members: ["dns+tempo-gossip-ring:7946"]}
overrides: {metrics_generator_processors: [service-graphs, span-metrics], per_tenant_override_config: /runtime-config/overrides.yaml}
server: {http_listen_port: 3100, log_level: info, log_format: logfmt, grpc_server_max_recv_msg_size: 4194304, grpc_server_max_send_msg_size: 4194304, http_server_read_timeout: 30s, http_server_write_timeout: 30s}
cache: {caches: [{memcached: {host: tempo-memcached, service: memcached-client, consistent_hash: true, timeout: 500ms}, roles: [parquet-footer, bloom, frontend-search]}]}
storage:
  trace: {pool: {max_workers: 400, queue_depth: 20000}, backend: s3, s3: {access_key: .., secret_key: .., bucket: tempo-traces, endpoint: tempo-minio:9000, insecure: true},
    blocklist_poll: 5m, local: {path: /var/tempo/traces}, wal: {path: /var/tempo/wal}}
"#;

/// What chart 1.61.3 (Tempo 2.9) changes.
const CHART_1_61: &str = r#"
stream_over_http_enabled: true
server: {http_listen_port: 3200}
query_frontend:
  mcp_server: {enabled: false}
  search: {max_spans_per_span_set: 100}
distributor:
  usage: {cost_attribution: {enabled: false, max_cardinality: 10000, stale_duration: 15m0s}}
  max_attribute_bytes: 2048
  receivers:
    otlp:
      protocols:
        grpc:
ingester:
overrides: {defaults: {}, per_tenant_override_config: /runtime-config/overrides.yaml}
storage:
  trace:
    search: {prefetch_trace_count: 1000}
    blocklist_poll_concurrency: 50
    blocklist_poll_fallback: true
    blocklist_poll_tenant_index_builders: 2
    blocklist_poll_stale_tenant_index: 0s
    empty_tenant_deletion_age: 12h
    empty_tenant_deletion_enabled: false
"#;

/// What chart 3.3.0 (Tempo 3.0) has instead.
const CHART_3_3: &str = r#"
backend_scheduler:
  work: {prune_age: 1h, dead_job_timeout: 24h}
  maintenance_interval: 1m
  backend_flush_interval: 1m
  provider:
    retention: {interval: 1h}
    compaction:
      compaction: {block_retention: 48h, compacted_block_retention: 1h}
      max_jobs_per_tenant: 1000
      min_input_blocks: 2
      max_input_blocks: 4
      max_compaction_level: 0
      min_cycle_interval: 30s
  job_timeout: 15s
  local_work_path: /var/tempo
backend_worker:
  backend_scheduler_addr: tempo-backend-scheduler:9095
  backoff: {min_period: 100ms, max_period: 1m, max_retries: 0}
  compaction: {block_retention: 72h, compaction_window: 2h}
  finish_on_shutdown_timeout: 30s
  ring: {kvstore: {store: memberlist}}
backend_scheduler_client: {grpc_client_config: {max_recv_msg_size: 104857600}}
block_builder: {partitions_per_instance: 1}
live_store: {ring: {kvstore: {store: memberlist}}, max_trace_idle: 7s}
ingest: {kafka: {address: kafka:9092, topic: tempo-traces, auto_create_topic_enabled: true, auto_create_topic_default_partitions: 3}}
query_frontend: {metrics: {query_backend_after: 15m}}
memory: {automemlimit_enabled: true, automemlimit_ratio: 0.8}
"#;

#[test]
fn chart_1_32_loads() {
    let config = Config::from_yaml("tempo.yaml", CHART_1_32).unwrap();
    assert!(config.is_2x());
    assert_eq!(config.server.http_listen_port, 3100);
    assert_eq!(config.compaction().block_retention.to_string(), "48h0m0s");
    assert_eq!(*config.overrides.defaults.metrics_generator.processors, ["service-graphs", "span-metrics"]);
    assert_eq!(config.storage.trace.s3.bucket, "tempo-traces");
    let cache = &config.cache.caches[0];
    assert_eq!(cache.roles, ["parquet-footer", "bloom", "frontend-search"]);
    assert_eq!(cache.memcached.as_ref().unwrap().max_idle_conns, 16);
    assert_eq!(config.validate(), []);
    assert_eq!(
        config.ignored,
        [
            "compactor.compaction.v2_in_buffer_bytes",
            "compactor.compaction.v2_out_buffer_bytes",
            "compactor.compaction.v2_prefetch_traces_count",
            "compactor.ring",
            "metrics_generator.ring",
            "metrics_generator.processor.service_graphs.workers",
            "metrics_generator.traces_storage",
            "distributor.ring",
            "ingester.lifecycler",
            "memberlist",
            "storage.trace.pool",
        ]
    );
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    let said = |text: &str| warnings.iter().any(|line| line.contains(text));
    assert!(said("overrides.metrics_generator_processors"), "{warnings:?}");
    // What is made of spans has an effect, and exemplars are sent anyway.
    assert_eq!(config.without_effect().iter().find(|key| key.contains("metrics_generator")), None);
    assert!(!said("send_exemplars"), "{warnings:?}");
    assert_eq!(config.metrics_generator.processor.span_metrics.histogram_buckets.len(), 12);
    assert_eq!(config.generator_wal_path(), std::path::Path::new("/var/tempo/wal"));
    // It works.
    assert!(!said("compactor.compaction.block_retention,"), "{warnings:?}");
    let addresses = config.resolve_addresses();
    assert_eq!(addresses.otlp_http.as_deref(), Some("0.0.0.0:4318"));
}

/// The generator's block and the overrides of a values file, as a chart copies them: a deadline a level too deep, a key that
/// no Tempo has, an empty block.
const VALUES_GENERATOR: &str = r#"metrics_generator:
  ring: {kvstore: {store: memberlist}}
  processor:
    service_graphs:
      max_items: 10000
      wait: 10s
      workers: 10
    span_metrics:
  registry:
    collection_interval: 15s
    external_labels: {}
    stale_duration: 15m
  storage:
    path: /var/tempo/wal
    wal:
      remote_write_flush_deadline: 2m
    remote_write_add_org_id_header: true
    remote_write:
      - url: http://prometheus-server.monitoring.svc.cluster.local/api/v1/write
        send_exemplars: true
    local_blocks:
      filter_server_spans: false
  traces_storage:
    path: /var/tempo/traces
  metrics_ingestion_time_range_slack: 30s
overrides:
  metrics_generator_processors:
    - service-graphs
    - span-metrics
  per_tenant_override_config: /runtime-config/overrides.yaml
"#;

#[test]
fn the_odd_things_of_a_values_file_are_taken_and_named() {
    let config = Config::from_yaml("tempo.yaml", VALUES_GENERATOR).unwrap();
    assert_eq!(config.validate(), []);
    assert_eq!(config.remote_write_flush_deadline().to_string(), "2m0s");
    let storage = &config.metrics_generator.storage;
    let url = "http://prometheus-server.monitoring.svc.cluster.local/api/v1/write";
    assert_eq!((storage.remote_write[0].url.as_str(), storage.remote_write[0].send_exemplars), (url, true));
    assert_eq!(config.metrics_generator.processor, Config::default().metrics_generator.processor);
    assert_eq!(
        config.ignored,
        [
            "metrics_generator.ring",
            "metrics_generator.processor.service_graphs.workers",
            "metrics_generator.storage.local_blocks",
            "metrics_generator.traces_storage",
        ]
    );
    assert_eq!(config.without_effect(), [""; 0]);
    let warnings: Vec<String> = config.generator_warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "tempo.yaml:16: metrics_generator.storage.wal.remote_write_flush_deadline (2m0s) is a level too deep, use \
             metrics_generator.storage.remote_write_flush_deadline; it is used all the same",
            "configuration: metrics_generator.storage.local_blocks is no key of Tempo's and is ignored; remove it, recent \
             spans are answered for anyway",
            "tempo.yaml:8: metrics_generator.processor.span_metrics is empty, which means its defaults; \
             metrics_generator.processors of the overrides turns it on",
        ]
    );
    let all = config.warnings();
    assert!(config.generator_warnings().iter().all(|warning| all.contains(warning)));
    // The right key goes before the misplaced one.
    let both = VALUES_GENERATOR.replace("    wal:\n", "    remote_write_flush_deadline: 3m\n    wal:\n");
    let config = Config::from_yaml("tempo.yaml", &both).unwrap();
    assert_eq!(config.remote_write_flush_deadline().to_string(), "3m0s");
    assert!(config.generator_warnings()[0].message.ends_with("flush_deadline counts (3m0s)"));
}

#[test]
fn chart_1_61_loads() {
    let config = Config::from_yaml("tempo.yaml", CHART_1_61).unwrap();
    assert!(config.is_2x() && config.stream_over_http_enabled);
    assert!(config.distributor.receivers.otlp_grpc().is_some());
    assert!(config.distributor.receivers.otlp_http().is_none());
    assert_eq!(config.ignored, ["storage.trace.search.prefetch_trace_count"]);
    assert_eq!(config.validate(), []);
}

#[test]
fn chart_3_3_loads() {
    let config = Config::from_yaml("tempo.yaml", CHART_3_3).unwrap();
    assert!(!config.is_2x());
    assert_eq!(config.compaction().block_retention.to_string(), "48h0m0s");
    assert_eq!(config.compaction().compaction_window.to_string(), "2h0m0s");
    let flushing = config.flushing();
    assert_eq!(flushing.trace_idle_period.to_string(), "7s");
    assert_eq!(flushing.max_block_bytes.bytes(), 524_288_000);
    assert!(flushing.flush_all_on_shutdown);
    assert_eq!(config.validate(), []);
}

#[test]
fn both_generations_at_once() {
    let text = format!("ingester: {{trace_idle_period: 3s}}\n{CHART_3_3}");
    let config = Config::from_yaml("tempo.yaml", &text).unwrap();
    assert!(config.is_2x());
    assert_eq!(config.flushing().trace_idle_period.to_string(), "3s");
}

#[test]
fn what_is_printed_loads_again() {
    let config = Config::from_yaml("tempo.yaml", CHART_1_32).unwrap();
    let full = config.to_yaml(YamlMode::Full);
    assert!(full.contains("secret_key: <secret>") && !full.contains("secret_key: .."));
    let again = Config::from_yaml("printed", &full).unwrap();
    assert!(again.to_yaml(YamlMode::Full) == full, "{full}");
    assert!(again.ignored.is_empty());
    let defaults = config.to_yaml(YamlMode::Defaults);
    let fresh = Config::from_yaml("printed", &defaults).unwrap();
    assert_eq!(fresh.settings, Config::default().settings);
    assert_eq!(fresh.to_yaml(YamlMode::Diff), "{}\n");
    let diff = config.to_yaml(YamlMode::Diff);
    assert!(diff.contains("  http_listen_port: 3100\n") && !diff.contains("grpc_listen_port"));
}

#[test]
fn environment_is_expanded_only_when_asked() {
    let text = "server: {http_listen_port: ${PORT:-80}, log_level: \"${LEVEL}\"}\n";
    let env = |name: &str| (name == "LEVEL").then(|| "warn".to_owned());
    let flags = Flags::parse(&["-config.expand-env".to_owned()]).unwrap();
    let config = Config::load(Some(("f", text)), &flags, &env).unwrap();
    assert_eq!(config.server.http_listen_port, 80);
    assert_eq!(config.server.log_level, "warn");
    assert!(Config::load(Some(("f", text)), &Flags::default(), &env).is_err());
}

#[test]
fn tenants_replace_the_defaults() {
    let text = "overrides:\n  a:\n    ingestion: {rate_limit_bytes: 5}\n  '*':\n    max_bytes_per_trace: 7\n    forwarders: [x]\n    ingestion_tenant_shard_size: 2\n  b:\n";
    let file = tenant_limits("o.yaml", text, &Config::default()).unwrap();
    assert_eq!(file.without_effect, ["overrides.*.ingestion.tenant_shard_size"]);
    assert_eq!(file.send_nothing, ["*", "a", "b"]);
    let tenants = file.tenants;
    assert_eq!(tenants["a"].ingestion.rate_limit_bytes.bytes(), 5);
    assert_eq!(tenants["a"].global.max_bytes_per_trace.bytes(), 0);
    assert_eq!(tenants["*"].global.max_bytes_per_trace.bytes(), 7);
    assert_eq!(tenants["*"].forwarders, ["x"]);
    assert!(tenants.contains_key("b"));
    assert!(tenant_limits("o", "overrides:\n  {}\n", &Default::default()).unwrap().tenants.is_empty());
    assert_eq!(
        tenant_limits("o.yaml", "overrides:\n  a:\n    ingest: {}\n", &Default::default())
            .unwrap_err()
            .to_string(),
        "o.yaml:3: unknown key \"ingest\" in overrides.a"
    );
}

#[test]
fn a_file_cut_anywhere_never_panics() {
    for end in (0..CHART_1_32.len()).step_by(5).filter(|end| CHART_1_32.is_char_boundary(*end)) {
        if let Err(error) = Config::from_yaml("f", &CHART_1_32[..end]) {
            assert!(error.to_string().starts_with("f:"), "{error}");
        }
    }
}

#[test]
fn an_empty_value_is_a_component_only_among_receivers() {
    let text = "distributor: {receivers: {otlp: {protocols: {grpc: , http: {tls: , cors: }}}}}\nserver: {http_tls_config: }\ncache: {caches: [{roles: [bloom], redis: }]}\n";
    let config = Config::from_yaml("f", text).unwrap();
    let receivers = &config.distributor.receivers;
    assert!(receivers.otlp_grpc().is_some_and(|grpc| grpc.tls.is_none()));
    assert!(receivers.otlp_http().is_some_and(|http| http.tls.is_none() && http.cors.is_none()));
    assert!(config.server.http_tls_config.is_none());
    assert!(config.cache.caches[0].redis.is_none());
}
