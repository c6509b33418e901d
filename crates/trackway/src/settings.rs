//! From the configuration to the settings of the parts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trackway_api::ApiConfig;
use trackway_common::{MemoryPool, Secret};
use trackway_compactor::Config as CompactorConfig;
use trackway_config::sections::{Azure, Backend, Gcs, S3, WalSync};
use trackway_config::{Config, GoDuration, sections};
use trackway_distributor::usage::UsageConfig;
use trackway_distributor::{DistributorConfig, LogSpans, MetricSpans};
use trackway_forward::{ForwarderConfig, OtlpGrpc};
use trackway_ingester::Config as IngesterConfig;
use trackway_overrides::Overrides;
use trackway_querier::QuerierConfig;
use trackway_receivers::{CorsConfig, Counts, OtlpConfig};
use trackway_storage::stores::{
    AzureConfig, AzureLogin, BucketLookup, GcsConfig, HdfsConfig, Hedge, Retry, S3Config, Sse, StoreConfig,
    TlsConfig,
};
use trackway_vparquet::meta::{DedicatedColumn, Format, usable};

use crate::help::TEMPO_VERSION;
use crate::listen;

/// The format of new blocks. What is configured has been checked: a name that is not written here is one of those that
/// the configuration replaces, with a warning.
pub(crate) fn format(config: &Config) -> Format {
    Format::writable(&config.storage.trace.block.version).unwrap_or_default()
}

/// The attributes that get columns of their own in new blocks, as far as they are configured: what is configured for the
/// tenant, else the block's setting. `None` lets them choose themselves.
pub(crate) fn dedicated(
    config: &Config,
    of_tenant: &[sections::DedicatedColumn],
) -> Option<Vec<DedicatedColumn>> {
    let of_blocks = config.storage.trace.block.parquet_dedicated_columns.as_deref();
    let columns = if of_tenant.is_empty() { of_blocks? } else { of_tenant };
    let columns: Vec<DedicatedColumn> = columns
        .iter()
        .map(|column| DedicatedColumn {
            scope: column.scope.to_string(),
            name: column.name.clone(),
            kind: column.r#type.to_string(),
            options: column.options.clone(),
        })
        .collect();
    Some(usable(&columns, format(config)))
}

/// Spans in memory take so many of the budget's parts at the most; while a block is being written, half as much again.
const HEAD_SHARE: usize = 5;

/// Settings of the ingester.
pub(crate) fn ingester(
    config: &Config,
    folder: PathBuf,
    memory: &MemoryPool,
    overrides: &Arc<Overrides>,
) -> IngesterConfig {
    let flushing = config.flushing();
    IngesterConfig {
        memory: memory.clone(),
        folder,
        read_only: config.trackway.read_only,
        sync: config.trackway.wal.sync == WalSync::Always,
        wal_bytes_max: config.trackway.wal.max_bytes.bytes(),
        head_bytes_max: config.trackway.head.max_bytes.as_usize().min(memory.limit() / HEAD_SHARE),
        segment_bytes_max: config.trackway.segments.max_bytes.bytes(),
        segments_max: config.trackway.segments.max_count as usize,
        block_spans_max: usize::try_from(config.trackway.block.max_spans).unwrap_or(usize::MAX),
        block_bytes_max: flushing.max_block_bytes.as_usize(),
        block_age_max: flushing.max_block_duration.as_std(),
        check_period: flushing.flush_check_period.as_std().max(Duration::from_millis(100)),
        time_slack: config.storage.trace.wal.ingestion_time_range_slack.as_std(),
        flush_on_shutdown: flushing.flush_all_on_shutdown,
        trace_idle: flushing.trace_idle_period.as_std(),
        overrides: Arc::clone(overrides),
        format: format(config),
        replication_factor: u32::from(!config.is_2x()),
    }
}

/// Settings of the compactor, for tenants whose limits say nothing else.
pub(crate) fn compactor(config: &Config) -> CompactorConfig {
    let compaction = config.compaction();
    let provider = &config.backend_scheduler.provider.compaction;
    CompactorConfig {
        merges: true,
        format: format(config),
        folder: config.wal_path().join("compacting"),
        window: compaction.compaction_window.as_std(),
        max_objects: compaction.max_compaction_objects,
        max_bytes: compaction.max_block_bytes.bytes(),
        min_inputs: provider.min_input_blocks as usize,
        max_inputs: provider.max_input_blocks as usize,
        max_level: provider.max_compaction_level,
        retention: compaction.block_retention.as_std(),
        compacted_retention: compaction.compacted_block_retention.as_std(),
        cycle: compaction.compaction_cycle.as_std().max(Duration::from_millis(100)),
        max_time_per_tenant: compaction.max_time_per_tenant.as_std(),
        deletes_empty_tenants: config.storage.trace.empty_tenant_deletion_enabled,
        empty_tenant_age: config.storage.trace.empty_tenant_deletion_age.as_std(),
        start_after: config.trackway.compaction.start_after.as_std(),
    }
}

/// How long data of tenants without their own limits is kept: what the overrides' defaults say, else the compactor's setting; zero is for ever.
pub(crate) fn block_retention(config: &Config) -> GoDuration {
    let of_tenants = config.overrides.defaults.compaction.block_retention;
    if of_tenants.is_zero() { config.compaction().block_retention } else { of_tenants }
}

/// Settings of the querier.
pub(crate) fn querier(config: &Config) -> QuerierConfig {
    QuerierConfig {
        recent: config.query_frontend.search.query_backend_after.as_std(),
        max_bytes: config.trackway.query.max_bytes.as_usize() as u64,
        concurrent_per_tenant: config.trackway.query.max_concurrent_per_tenant as usize,
        waiting_per_tenant: config.query_frontend.max_outstanding_per_tenant as usize,
    }
}

/// How blocks are stored.
pub(crate) fn store(config: &Config) -> StoreConfig {
    let trace = &config.storage.trace;
    match trace.backend {
        Backend::Local => StoreConfig::Local { folder: config.blocks_path() },
        Backend::S3 => StoreConfig::S3(Box::new(s3(&trace.s3, "storage.trace"))),
        Backend::Gcs => StoreConfig::Gcs(gcs(&trace.gcs, "storage.trace")),
        Backend::Azure => StoreConfig::Azure(azure(&trace.azure, "storage.trace")),
        Backend::Hdfs => StoreConfig::Hdfs(HdfsConfig {
            section: "storage.trace.hdfs".to_owned(),
            endpoint: trace.hdfs.endpoint.clone(),
            prefix: trace.hdfs.prefix.clone(),
            user: trace.hdfs.user.clone(),
            kerberos_principal: trace.hdfs.kerberos_principal.clone(),
            kerberos_keytab: trace.hdfs.kerberos_keytab.clone(),
            options: trace.hdfs.options.clone(),
        }),
    }
}

/// Where tenants' own settings are stored. What is configured has been checked.
pub(crate) fn user_overrides_store(config: &Config) -> StoreConfig {
    let client = &config.overrides.user_configurable_overrides.client;
    let section = "overrides.user_configurable_overrides.client";
    match client.backend.as_str() {
        "s3" => StoreConfig::S3(Box::new(s3(&client.s3, section))),
        "gcs" => StoreConfig::Gcs(gcs(&client.gcs, section)),
        "azure" => StoreConfig::Azure(azure(&client.azure, section)),
        "local" => StoreConfig::Local { folder: PathBuf::from(&client.local.path) },
        // Not among the blocks: Tempo would take the folder for a tenant's.
        _ if config.storage.trace.backend == Backend::Local => {
            StoreConfig::Local { folder: PathBuf::from(&config.trackway.data_path) }
        }
        _ => store(config),
    }
}

fn s3(s3: &S3, section: &str) -> S3Config {
    S3Config {
        section: format!("{section}.s3"),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        access_key: s3.access_key.clone(),
        secret_key: Secret::new(s3.secret_key.expose()),
        session_token: Secret::new(s3.session_token.expose()),
        insecure: s3.insecure,
        dual_stack: s3.enable_dual_stack,
        lookup: match (s3.forcepathstyle, s3.bucket_lookup_type) {
            (true, _) | (_, 2) => BucketLookup::Path,
            (_, 1) => BucketLookup::Dns,
            _ => BucketLookup::Auto,
        },
        part_bytes: s3.part_size.bytes(),
        one_piece: s3.disable_multipart_upload,
        hedge: Hedge { at: s3.hedge_requests_at.as_std(), up_to: s3.hedge_requests_up_to },
        retry: Retry {
            attempts: s3.retry_max_attempts,
            backoff_initial: s3.retry_backoff_initial.as_std(),
            backoff_max: s3.retry_backoff_max.as_std(),
        },
        tags: s3.tags.clone(),
        metadata: s3.metadata.clone(),
        storage_class: s3.storage_class.clone(),
        sse: match s3.sse.r#type.as_str() {
            "SSE-S3" => Sse::S3,
            "SSE-KMS" => Sse::Kms(s3.sse.kms_key_id.clone()),
            "SSE-C" => Sse::Customer(Secret::new(s3.sse.encryption_key.expose())),
            _ => Sse::Default,
        },
        tls: TlsConfig {
            cert_path: s3.tls_cert_path.clone(),
            key_path: s3.tls_key_path.clone(),
            ca_path: s3.tls_ca_path.clone(),
            server_name: s3.tls_server_name.clone(),
            insecure_skip_verify: s3.tls_insecure_skip_verify,
            cipher_suites: s3.tls_cipher_suites.clone(),
            min_version: s3.tls_min_version.clone(),
        },
    }
}

fn gcs(gcs: &Gcs, section: &str) -> GcsConfig {
    GcsConfig {
        section: format!("{section}.gcs"),
        bucket: gcs.bucket_name.clone(),
        prefix: gcs.prefix.clone(),
        endpoint: gcs.endpoint.clone(),
        insecure: gcs.insecure,
        part_bytes: gcs.chunk_buffer_size.bytes(),
        hedge: Hedge { at: gcs.hedge_requests_at.as_std(), up_to: gcs.hedge_requests_up_to },
        max_retries: gcs.max_retries,
        cache_control: gcs.object_cache_control.clone(),
        metadata: gcs.object_metadata.clone(),
    }
}

fn azure(azure: &Azure, section: &str) -> AzureConfig {
    let login = if azure.use_federated_token {
        AzureLogin::FederatedToken
    } else if azure.use_managed_identity {
        AzureLogin::ManagedIdentity(azure.user_assigned_id.clone())
    } else if azure.storage_account_key.is_empty() {
        AzureLogin::Environment
    } else {
        AzureLogin::Key(Secret::new(azure.storage_account_key.expose()))
    };
    AzureConfig {
        section: format!("{section}.azure"),
        account: azure.storage_account_name.clone(),
        container: azure.container_name.clone(),
        prefix: azure.prefix.clone(),
        login,
        endpoint_suffix: azure.endpoint_suffix.clone(),
        part_bytes: azure.buffer_size.as_usize(),
        parts_at_once: azure.max_buffers as usize,
        hedge: Hedge { at: azure.hedge_requests_at.as_std(), up_to: azure.hedge_requests_up_to },
    }
}

/// Settings of the distributor.
pub(crate) fn distributor(config: &Config) -> DistributorConfig {
    let received = &config.distributor.log_received_spans;
    let discarded = &config.distributor.log_discarded_spans;
    let usage = &config.distributor.usage.cost_attribution;
    DistributorConfig {
        log_received_spans: LogSpans {
            enabled: received.enabled,
            include_all_attributes: received.include_all_attributes,
            filter_by_status_error: received.filter_by_status_error,
        },
        log_discarded_spans: LogSpans {
            enabled: discarded.enabled,
            include_all_attributes: discarded.include_all_attributes,
            filter_by_status_error: discarded.filter_by_status_error,
        },
        metric_received_spans: MetricSpans {
            enabled: config.distributor.metric_received_spans.enabled,
            root_only: config.distributor.metric_received_spans.root_only,
        },
        usage: usage.enabled.then(|| UsageConfig {
            max_cardinality: usage.max_cardinality,
            stale: usage.stale_duration.as_std(),
        }),
        retry_after: config.distributor.retry_after_on_resource_exhausted.positive(),
    }
}

/// The forwarders.
pub(crate) fn forwarders(config: &Config) -> Vec<ForwarderConfig> {
    let all = config.distributor.forwarders.iter().map(|forwarder| ForwarderConfig {
        name: forwarder.name.clone(),
        otlpgrpc: OtlpGrpc {
            endpoints: forwarder.otlpgrpc.endpoints.clone(),
            insecure: forwarder.otlpgrpc.tls.insecure,
            cert_file: forwarder.otlpgrpc.tls.cert_file.clone(),
        },
        span: forwarder.filter.traces.span.clone(),
        spanevent: forwarder.filter.traces.spanevent.clone(),
    });
    all.collect()
}

/// Settings of the OTLP receivers.
pub(crate) fn otlp(config: &Config, memory: &MemoryPool, counts: &Arc<Counts>) -> OtlpConfig {
    let addresses = config.resolve_addresses();
    let defaults = OtlpConfig::default();
    let receivers = &config.distributor.receivers;
    let cors = receivers.otlp_http().and_then(|http| http.cors.clone());
    OtlpConfig {
        grpc: addresses.otlp_grpc,
        http: addresses.otlp_http,
        max_recv_bytes: receivers
            .otlp_grpc()
            .map_or(defaults.max_recv_bytes, |grpc| grpc.max_message().as_usize()),
        max_body_bytes: receivers
            .otlp_http()
            .map_or(defaults.max_body_bytes, |http| http.max_body().as_usize()),
        body_time: receivers
            .otlp_http()
            .map_or(defaults.body_time, |http| listen::body_time(http.read_timeout)),
        path: receivers.otlp_http().map_or(defaults.path, |http| http.traces_path()),
        cors: cors.map(self::cors).unwrap_or_default(),
        multitenancy: config.multitenancy_enabled,
        memory: memory.clone(),
        counts: Arc::clone(counts),
    }
}

/// Which web pages may send to a receiver.
pub(crate) fn cors(cors: sections::Cors) -> CorsConfig {
    CorsConfig {
        allowed_origins: cors.allowed_origins,
        allowed_headers: cors.allowed_headers,
        exposed_headers: cors.exposed_headers,
        max_age: Duration::from_secs(cors.max_age),
        loopback: false,
    }
}

/// Settings of the API.
pub(crate) fn api(config: &Config, overrides: &Arc<Overrides>) -> ApiConfig {
    let search = &config.query_frontend.search;
    let metrics = &config.query_frontend.metrics;
    ApiConfig {
        default_result_limit: search.default_result_limit,
        max_result_limit: search.max_result_limit,
        default_spss: search.default_spans_per_span_set,
        max_spss: search.max_spans_per_span_set,
        max_search_duration: search.max_duration.as_std(),
        max_metrics_duration: metrics.max_duration.as_std(),
        max_intervals: u64::from(metrics.max_intervals),
        max_exemplars: metrics.max_exemplars,
        max_response_series: metrics.max_response_series,
        query_end_cutoff: config.query_frontend.query_end_cutoff.as_std(),
        max_query_bytes: config.query_frontend.max_query_expression_size_bytes.as_usize(),
        http_api_prefix: config.http_api_prefix.clone(),
        multitenancy: config.multitenancy_enabled,
        multi_tenant_queries_enabled: config.query_frontend.multi_tenant_queries_enabled,
        query_timeout: config.query_frontend.api_timeout.positive(),
        overrides: Arc::clone(overrides),
        tempo_version: TEMPO_VERSION.to_owned(),
        revision: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_of(yaml: &str) -> StoreConfig {
        let text = format!("storage: {{trace: {{{yaml}}}}}");
        let config = Config::from_yaml("tempo.yaml", &text).unwrap();
        assert_eq!(config.validate(), []);
        assert_eq!(config.without_effect(), Vec::<String>::new());
        store(&config)
    }

    /// Tempo's settings, each with a value that is not its default, and what becomes of them.
    #[test]
    fn every_setting_of_a_store_arrives() {
        let StoreConfig::S3(s3) = store_of(
            "backend: s3, s3: {bucket: b, prefix: p, endpoint: 'minio:9000', region: r, access_key: a, secret_key: s, \
             session_token: t, insecure: true, part_size: 6MiB, hedge_requests_at: 500ms, hedge_requests_up_to: 3, \
             retry_max_attempts: 4, retry_backoff_initial: 1s, retry_backoff_max: 2s, enable_dual_stack: true, \
             bucket_lookup_type: 1, tags: {x: y}, storage_class: c, metadata: {m: n}, disable_multipart_upload: true, \
             sse: {type: SSE-KMS, kms_key_id: k}, tls_cert_path: /c, tls_key_path: /k, tls_ca_path: /ca, \
             tls_server_name: n, tls_insecure_skip_verify: true, tls_cipher_suites: z, tls_min_version: VersionTLS13}",
        ) else {
            panic!()
        };
        assert_eq!((&*s3.bucket, &*s3.prefix, &*s3.endpoint, &*s3.region), ("b", "p", "minio:9000", "r"));
        assert_eq!((&*s3.access_key, s3.secret_key.expose(), s3.session_token.expose()), ("a", "s", "t"));
        assert!(s3.insecure && s3.dual_stack && s3.one_piece);
        assert_eq!((s3.part_bytes, s3.lookup), (6 * 1024 * 1024, BucketLookup::Dns));
        assert_eq!(s3.hedge, Hedge { at: Duration::from_millis(500), up_to: 3 });
        let (backoff_initial, backoff_max) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(s3.retry, Retry { attempts: 4, backoff_initial, backoff_max });
        assert_eq!((&*s3.tags["x"], &*s3.metadata["m"], &*s3.storage_class), ("y", "n", "c"));
        assert_eq!(s3.sse, Sse::Kms("k".to_owned()));
        let tls = TlsConfig {
            cert_path: "/c".to_owned(),
            key_path: "/k".to_owned(),
            ca_path: "/ca".to_owned(),
            server_name: "n".to_owned(),
            insecure_skip_verify: true,
            cipher_suites: "z".to_owned(),
            min_version: "VersionTLS13".to_owned(),
        };
        assert_eq!(s3.tls, tls);

        let StoreConfig::Gcs(gcs) = store_of(
            "backend: gcs, gcs: {bucket_name: b, prefix: p, chunk_buffer_size: 7MiB, endpoint: 'http://e', insecure: true, \
             hedge_requests_at: 1s, object_cache_control: no-cache, object_metadata: {m: n}, max_retries: 5}",
        ) else {
            panic!()
        };
        assert_eq!((&*gcs.bucket, &*gcs.prefix, &*gcs.endpoint), ("b", "p", "http://e"));
        assert_eq!((gcs.insecure, gcs.part_bytes, gcs.max_retries), (true, 7 * 1024 * 1024, 5));
        assert_eq!(gcs.hedge, Hedge { at: Duration::from_secs(1), up_to: 2 });
        assert_eq!((&*gcs.cache_control, &*gcs.metadata["m"]), ("no-cache", "n"));

        let account = "container_name: c, storage_account_name: a, prefix: p";
        let azure = |more: &str| match store_of(&format!("backend: azure, azure: {{{account}, {more}}}")) {
            StoreConfig::Azure(azure) => azure,
            other => panic!("{other:?}"),
        };
        let keyed =
            azure("storage_account_key: k, endpoint_suffix: 'azurite:1', max_buffers: 5, buffer_size: 4MiB");
        assert!(matches!(&keyed.login, AzureLogin::Key(key) if key.expose() == "k"));
        assert_eq!((&*keyed.account, &*keyed.container, &*keyed.prefix), ("a", "c", "p"));
        assert_eq!((&*keyed.endpoint_suffix, keyed.parts_at_once), ("azurite:1", 5));
        assert_eq!(keyed.part_bytes, 4 * 1024 * 1024);
        assert!(matches!(azure("use_federated_token: true").login, AzureLogin::FederatedToken));
        let machine = azure("use_managed_identity: true, user_assigned_id: u").login;
        assert!(matches!(machine, AzureLogin::ManagedIdentity(id) if id == "u"));
        assert!(matches!(azure("max_buffers: 1").login, AzureLogin::Environment));

        let StoreConfig::Hdfs(hdfs) = store_of(
            "backend: hdfs, hdfs: {endpoint: 'hdfs://n:9000', prefix: p, user: u, kerberos_principal: k, \
             kerberos_keytab: /t, options: {o: v}}",
        ) else {
            panic!()
        };
        assert_eq!((&*hdfs.endpoint, &*hdfs.prefix, &*hdfs.user), ("hdfs://n:9000", "p", "u"));
        assert_eq!((&*hdfs.kerberos_principal, &*hdfs.kerberos_keytab), ("k", "/t"));
        assert_eq!(hdfs.options["o"], "v");
    }

    #[test]
    fn the_path_has_the_bucket_when_asked_to() {
        for (more, want) in [
            ("forcepathstyle: true", BucketLookup::Path),
            ("bucket_lookup_type: 2", BucketLookup::Path),
            ("bucket_lookup_type: 0", BucketLookup::Auto),
            ("forcepathstyle: true, bucket_lookup_type: 1", BucketLookup::Path),
        ] {
            let yaml = format!("backend: s3, s3: {{bucket: b, endpoint: e, {more}}}");
            assert!(matches!(store_of(&yaml), StoreConfig::S3(s3) if s3.lookup == want), "{more}");
        }
    }
}
