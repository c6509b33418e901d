//! Every kind of error ends the matter: file, line, key, value, and what to write instead.

use trackway_config::{Config, reference_markdown};

fn errors(text: &str) -> Vec<String> {
    match Config::from_yaml("tempo.yaml", text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn unknown_keys_are_all_reported() {
    let text = "server:\n  http_lisen_port: 1\nsever: {}\nquerier:\n  block_retention: 1h\n  xyzzy: 1\nmemberlist:\n  join_member: [a]\ntrackway: {wal: {synk: os}}\nmax_outstanding_per_tenant: 1\n";
    assert_eq!(
        errors(text),
        [
            "tempo.yaml:2: unknown key \"http_lisen_port\" in server; did you mean http_listen_port?",
            "tempo.yaml:3: unknown key \"sever\" at the top level; did you mean server?",
            "tempo.yaml:5: unknown key \"block_retention\" in querier",
            "tempo.yaml:6: unknown key \"xyzzy\" in querier",
            "tempo.yaml:8: unknown key \"join_member\" in memberlist; did you mean join_members?",
            "tempo.yaml:9: unknown key \"synk\" in trackway.wal; did you mean sync?",
            "tempo.yaml:10: unknown key \"max_outstanding_per_tenant\" at the top level; it belongs in query_frontend",
        ]
    );
}

#[test]
fn wrong_types_name_key_value_and_expectation() {
    let text = "server:\n  http_listen_port: 99999\n  graceful_shutdown_timeout: 30\n  grpc_server_max_recv_msg_size: big\nmultitenancy_enabled: maybe\nstorage:\n  trace:\n    backend: s4\n    local: x\n    block:\n      parquet_dedicated_columns:\n        - {scope: [span]}\ncompactor:\n  ring: {heartbeat_period: soon}\ntarget: {}\nquery_frontend:\n  url_deny_list: x\noverrides:\n  max_bytes_per_trace: lots\ntrackway: {wal: {sync: never}}\n";
    assert_eq!(
        errors(text),
        [
            "tempo.yaml:2: server.http_listen_port is \"99999\"; expected a port number from 0 to 65535",
            "tempo.yaml:3: server.graceful_shutdown_timeout is \"30\"; expected a duration with a unit, such as 300ms, 30s, 1h30m or 14d",
            "tempo.yaml:4: server.grpc_server_max_recv_msg_size is \"big\"; expected a number of bytes, such as 16777216, 256MB or 1GiB",
            "tempo.yaml:5: multitenancy_enabled is \"maybe\"; expected true or false",
            "tempo.yaml:8: storage.trace.backend is \"s4\"; expected one of local, s3, gcs, azure, hdfs",
            "tempo.yaml:9: storage.trace.local is \"x\"; expected a block of settings",
            "tempo.yaml:12: storage.trace.block.parquet_dedicated_columns[0].scope is a list; expected text",
            "tempo.yaml:14: compactor.ring.heartbeat_period is \"soon\"; expected a duration such as 30s or 1h30m",
            "tempo.yaml:15: target is a block of settings; expected text",
            "tempo.yaml:17: query_frontend.url_deny_list is \"x\"; expected a list",
            "tempo.yaml:19: overrides.max_bytes_per_trace is \"lots\"; expected a number of bytes, such as 16777216, 256MB or 1GiB",
            "tempo.yaml:20: trackway.wal.sync is \"never\"; expected one of always, os",
        ]
    );
    assert_eq!(
        errors("just text"),
        ["tempo.yaml:1: the file is \"just text\"; expected a block of settings"]
    );
}

#[test]
fn duplicates_and_bad_yaml_are_errors() {
    assert_eq!(
        errors("server: {}\nserver: {}\n"),
        ["tempo.yaml:2: duplicate key \"server\"; it already stands on line 1"]
    );
    assert!(errors("server: {\n")[0].contains("not valid YAML"));
    assert_eq!(
        errors("overrides:\n  max_bytes_per_trace: 1\n  defaults: {global: {max_bytes_per_trace: 2}}\n"),
        [
            "tempo.yaml:2: overrides.max_bytes_per_trace and overrides.defaults.global.max_bytes_per_trace are the same setting; keep one"
        ]
    );
}

#[test]
fn leniency_of_go() {
    let text = "---\nserver:\n  http_listen_port: 0x50\n  log_level: ~\n  grpc_server_max_recv_msg_size: 1.6e7\n  http_server_read_timeout: 30000000000\ndistributor:\nmultitenancy_enabled: yes\nhttp_api_prefix: 12\nauth_enabled: false\n";
    let config = Config::from_yaml("f", text).unwrap();
    assert_eq!(config.server.http_listen_port, 80);
    assert_eq!(config.server.log_level, "info");
    assert_eq!(config.server.grpc_server_max_recv_msg_size.bytes(), 16_000_000);
    assert_eq!(config.server.http_server_read_timeout.to_string(), "30s");
    assert!(config.multitenancy_enabled);
    assert_eq!(config.http_api_prefix, "12");
    assert!(Config::from_yaml("f", "").unwrap() != Config::default());
}

#[test]
fn receivers_that_are_not_served_are_listed() {
    let text = "distributor:\n  receivers:\n    otlp/2: {protocols: {grpc: }}\n    jaeger: {protocols: {thrift_http: {endpoint: 0.0.0.0:14268}}}\n    zipkin:\n    kafka: {brokers: [a]}\n    otlp: {protocols: {http: {tls: {cert_file: a, key_file: b}, cors: {allowed_origins: ['*'], max_age: 7200}}}}\n";
    let config = Config::from_yaml("f", text).unwrap();
    assert_eq!(config.unsupported_receivers, ["otlp/2"]);
    let foreign = config.distributor.receivers.foreign();
    let shown: Vec<_> = foreign.iter().map(|receiver| (receiver.key, receiver.endpoint.as_str())).collect();
    let jaeger = ("distributor.receivers.jaeger.protocols.thrift_http", "0.0.0.0:14268");
    assert_eq!(shown, [jaeger, ("distributor.receivers.zipkin", "localhost:9411")]);
    let http = config.distributor.receivers.otlp_http().unwrap();
    assert_eq!(http.tls.unwrap().cert_file, "a");
    assert_eq!(http.cors.unwrap().allowed_origins, ["*"]);
    assert!(config.distributor.receivers.otlp_grpc().is_none());
}

#[test]
fn contradictions_name_the_way_out() {
    let text = "target: ingster\nhttp_api_prefix: tempo\nserver: {log_level: loud, grpc_listen_port: 3200}\nstorage: {trace: {backend: s3, block: {version: vParquet9, bloom_filter_false_positive: 2, parquet_dedicated_columns: [{scope: scope, name: ''}]}}}\nquery_frontend: {search: {default_result_limit: 10, max_result_limit: 5}}\ntrackway: {memory: {limit: 1MB}, segments: {max_count: 0}, listen: '1::2::3'}\ndistributor: {receivers: {otlp: {protocols: {grpc: {endpoint: 'host:port'}}}}}\n";
    let config = Config::from_yaml("f", text).unwrap();
    let found: Vec<String> = config.validate().iter().map(ToString::to_string).collect();
    for want in [
        "f:1: target is \"ingster\"; did you mean ingester?",
        "f:2: http_api_prefix is \"tempo\"; begin it with a slash: \"/tempo\"",
        "f:3: server.log_level is \"loud\"; use one of debug, info, warn, error",
        "configuration: storage.trace.s3.bucket is empty; name the bucket (storage.trace.backend is s3)",
        "f:4: storage.trace.block.version is \"vParquet9\"; use vParquet4 or vParquet5",
        "f:4: storage.trace.block.bloom_filter_false_positive is 2; use a number between 0 and 1, such as 0.01",
        "f:6: trackway.memory.limit is 1000000; use at least 64MiB, or leave it out",
        "f:6: trackway.segments.max_count is 0; use more, or leave it out",
        "f:6: trackway.listen is \"1::2::3\"; give an address without a port, such as 0.0.0.0",
        "f:7: distributor.receivers.otlp.protocols.grpc.endpoint is \"host:port\"; write host:port, such as 0.0.0.0:4317",
    ] {
        assert!(found.iter().any(|found| found == want), "{want}\nnot in {found:#?}");
    }
    assert!(found.iter().any(|found| found.contains("both want")), "{found:#?}");
    assert_eq!(Config::default().validate(), []);
    assert_eq!(Config::default().warnings(), []);
}

#[test]
fn what_a_store_cannot_do_is_refused() {
    for (text, want) in [
        (
            "backend: s3, s3: {bucket: b, endpoint: e, signature_v2: true}",
            "storage.trace.s3.signature_v2 is true; this version signs the new way only",
        ),
        (
            "backend: s3, s3: {bucket: b, endpoint: e, sse: {type: SSE-KMS, kms_encryption_context: '{}'}}",
            "storage.trace.s3.sse.kms_encryption_context is set; this version cannot send a context",
        ),
        (
            "backend: s3, s3: {bucket: b, endpoint: e, bucket_lookup_type: 3}",
            "storage.trace.s3.bucket_lookup_type is 3; use 0, 1 or 2",
        ),
        (
            "backend: azure, azure: {container_name: c, storage_account_name: a, use_managed_identity: true, use_federated_token: true}",
            "storage.trace.azure.use_managed_identity and storage.trace.azure.use_federated_token are both true",
        ),
        ("backend: hdfs, hdfs: {prefix: p}", "storage.trace.hdfs.endpoint is empty; name the name node"),
        (
            "backend: hdfs, hdfs: {endpoint: 'hdfs://n', prefix: /}",
            "storage.trace.hdfs.prefix is empty; name a folder; every folder at the top would count as a tenant",
        ),
    ] {
        let config = Config::from_yaml("f", &format!("storage: {{trace: {{{text}}}}}")).unwrap();
        let found: Vec<String> = config.validate().iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(want), "{want}\nnot in {found:#?}");
    }
}

#[test]
fn warnings_for_verify() {
    let text = "target: querier\ncompactor: {compaction: {block_retention: 0s, retention_concurrency: 0}}\ningester: {complete_block_timeout: 1m}\nquery_frontend: {trace_by_id: {concurrent_shards: 99}, mcp_server: {enabled: true}}\ndistributor: {log_received_traces: true}\nauth_enabled: true\nstorage: {trace: {blocklist_poll_concurrency: 0, cache: redis, block: {version: vParquet3}}}\n";
    let config = Config::from_yaml("f", text).unwrap();
    let found: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 13, "{found:#?}");
    assert!(config.multitenancy_enabled);
}

#[test]
fn what_tenants_set_needs_a_place_of_its_own() {
    let of = |own: &str| {
        let text = format!(
            "storage: {{trace: {{backend: s3, s3: {{bucket: b, endpoint: e}}}}}}\n\
             overrides: {{user_configurable_overrides: {{enabled: true, {own}}}}}\n"
        );
        let config = Config::from_yaml("f", &text).unwrap();
        let said = [config.validate(), config.warnings()].map(|problems| {
            problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n")
        });
        (said[0].clone(), said[1].contains("Tempo takes its folder \"overrides\" for a tenant"))
    };
    let client = "overrides.user_configurable_overrides.client";
    for (own, wrong, warned) in [
        ("client: {}", String::new(), true),
        ("client: {backend: s3, s3: {bucket: b, endpoint: e}}", String::new(), true),
        ("client: {backend: s3, s3: {bucket: b, prefix: own, endpoint: e}}", String::new(), false),
        (
            "client: {backend: s3, s3: {endpoint: e}}",
            format!("{client}.s3.bucket is empty; {client}.backend is s3 and needs it"),
            false,
        ),
        (
            "client: {backend: local}",
            format!("{client}.local.path is empty; {client}.backend is local and needs it"),
            false,
        ),
        (
            "client: {backend: s4, local: {path: x}}",
            format!("{client}.backend is \"s4\"; did you mean s3?"),
            false,
        ),
        (
            "poll_interval: 0s, client: {backend: local, local: {path: x}}",
            "overrides.user_configurable_overrides.poll_interval is 0s; use a time such as 1m".to_owned(),
            false,
        ),
    ] {
        assert_eq!(of(own), (wrong, warned), "{own}");
    }
}

#[test]
fn caches_that_cannot_be_meant_name_their_key() {
    let redis = "redis: {endpoint: 'a:1'}";
    for (caches, said) in [
        (format!("[{{roles: [blom], {redis}}}]"), "cache.caches[0].roles is \"blom\"; did you mean bloom?"),
        (format!("[{{roles: [], {redis}}}]"), "cache.caches[0].roles is empty"),
        (
            format!("[{{roles: [bloom], {redis}}}, {{roles: [parquet-page, bloom], {redis}}}]"),
            "cache.caches[1].roles has bloom, which cache.caches[0].roles has already",
        ),
        ("[{roles: [bloom]}]".to_owned(), "cache.caches[0] has neither memcached nor redis"),
        (
            format!("[{{roles: [bloom], memcached: {{host: m}}, {redis}}}]"),
            "cache.caches[0] has memcached and redis",
        ),
    ] {
        let config = Config::from_yaml("f", &format!("cache: {{caches: {caches}}}\n")).unwrap();
        let problems: Vec<String> = config.validate().iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:?}");
    }
    let text = "storage: {trace: {cache: memcached}}\ncache: {caches: [{roles: [bloom], redis: {endpoint: 'a:1'}}]}\n";
    let problems = Config::from_yaml("f", text).unwrap().validate();
    assert!(problems.iter().any(|problem| problem.to_string().contains("storage.trace.cache is for bloom")));
    // What a chart writes is taken, and nothing of it is without effect.
    let text = "cache: {caches: [{memcached: {host: tempo-memcached, service: memcached-client, consistent_hash: true, timeout: 500ms}, roles: [parquet-footer, bloom, frontend-search]}]}\n";
    let config = Config::from_yaml("f", text).unwrap();
    assert!(config.validate().is_empty() && config.without_effect().is_empty());
}

#[test]
fn what_has_no_effect_is_named() {
    let text = "
overrides:
  unsafe_query_hints: true
  defaults:
    ingestion: {rate_limit_bytes: 1000, tenant_shard_size: 3}
    global: {max_bytes_per_trace: 70000}
    compaction: {block_retention: 1h}
    storage: {parquet_dedicated_columns: [{scope: span, name: a}, {scope: span, name: b}]}
compactor: {compaction: {block_retention: 48h}}
ingester: {}
querier: {}
trackway: {memory: {limit: 1GiB}, head: {max_bytes: 64MiB}}
query_frontend: {query_end_cutoff: 1s, search: {max_duration: 1h, concurrent_jobs: 7}, metrics: {max_duration: 1h, max_intervals: 9, max_exemplars: 9, max_response_series: 9, interval: 1m}}
storage: {trace: {block: {version: vParquet4}, blocklist_poll: 1m}}
usage_report: {reporting_enabled: false}
";
    let config = Config::from_yaml("f", text).unwrap();
    let named = [
        "overrides.defaults.ingestion.tenant_shard_size",
        "overrides.defaults.read.unsafe_query_hints",
        "query_frontend.metrics.interval",
        "query_frontend.search.concurrent_jobs",
    ];
    assert_eq!(config.without_effect(), named);
    let said: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| named.iter().all(|key| line.contains(key))), "{said:#?}");
    // What asks for what happens anyway is not worth a line.
    let config =
        Config::from_yaml("f", "compactor: {disabled: true, compaction: {block_retention: 0}}\n").unwrap();
    assert_eq!(config.without_effect(), [""; 0]);
}

#[test]
fn the_reference_has_every_setting() {
    let text = reference_markdown();
    for want in [
        "| `http_listen_port` | port | `3200` |",
        "## `storage.trace.s3`",
        "| `sync` | `always`, `os` | `always` |",
        "## `cache.caches`",
        "`memberlist` (node_name,",
        "| `max_bytes` | bytes | `50331648` |",
    ] {
        assert!(text.contains(want), "{want}");
    }
    assert!(text.lines().all(|line| !line.ends_with("|  |")), "a setting without a meaning");
}
