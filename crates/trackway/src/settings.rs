//! From the configuration to the settings of the parts.

use std::path::PathBuf;
use std::time::Duration;

use trackway_api::ApiConfig;
use trackway_compactor::Config as CompactorConfig;
use trackway_config::Config;
use trackway_config::sections::WalSync;
use trackway_distributor::{DistributorConfig, LogSpans};
use trackway_ingester::Config as IngesterConfig;
use trackway_querier::QuerierConfig;
use trackway_receivers::{CorsConfig, OtlpConfig};
use trackway_spans::Limits;
use trackway_vparquet::meta::{DedicatedColumn, Format, default_dedicated_columns, usable};

use crate::help::TEMPO_VERSION;

/// The format of new blocks. What is configured has been checked: a name that is not written here is one of those that
/// the configuration replaces, with a warning.
pub(crate) fn format(config: &Config) -> Format {
    Format::writable(&config.storage.trace.block.version).unwrap_or_default()
}

/// The attributes that get columns of their own in new blocks: as configured, or Tempo's default list.
pub(crate) fn dedicated(config: &Config) -> Vec<DedicatedColumn> {
    let format = format(config);
    match &config.storage.trace.block.parquet_dedicated_columns {
        None => default_dedicated_columns(format),
        Some(columns) => {
            let columns: Vec<DedicatedColumn> = columns
                .iter()
                .map(|column| DedicatedColumn {
                    scope: column.scope.to_string(),
                    name: column.name.clone(),
                    kind: column.r#type.to_string(),
                    options: column.options.clone(),
                })
                .collect();
            usable(&columns, format)
        }
    }
}

/// Settings of the ingester.
pub(crate) fn ingester(config: &Config, folder: PathBuf) -> IngesterConfig {
    let flushing = config.flushing();
    IngesterConfig {
        folder,
        read_only: config.trackway.read_only,
        sync: config.trackway.wal.sync == WalSync::Always,
        wal_bytes_max: config.trackway.wal.max_bytes.bytes(),
        head_bytes_max: config.trackway.head.max_bytes.as_usize(),
        segment_bytes_max: config.trackway.segments.max_bytes.bytes(),
        segments_max: config.trackway.segments.max_count as usize,
        block_spans_max: usize::try_from(config.trackway.block.max_spans).unwrap_or(usize::MAX),
        block_bytes_max: flushing.max_block_bytes.as_usize(),
        block_age_max: flushing.max_block_duration.as_std(),
        check_period: flushing.flush_check_period.as_std().max(Duration::from_millis(100)),
        time_slack: config.storage.trace.wal.ingestion_time_range_slack.as_std(),
        flush_on_shutdown: flushing.flush_all_on_shutdown,
        limits: Limits { max_attribute_bytes: config.distributor.max_attribute_bytes as usize },
        format: format(config),
        dedicated: dedicated(config),
        replication_factor: u32::from(!config.is_2x()),
    }
}

/// Settings of the compactor.
pub(crate) fn compactor(config: &Config) -> CompactorConfig {
    let compaction = config.compaction();
    let provider = &config.backend_scheduler.provider.compaction;
    CompactorConfig {
        merges: !config.compactor.disabled && !config.overrides.defaults.compaction.compaction_disabled,
        format: format(config),
        dedicated: dedicated(config),
        folder: config.wal_path().join("compacting"),
        window: compaction.compaction_window.as_std(),
        max_objects: compaction.max_compaction_objects,
        max_bytes: compaction.max_block_bytes.bytes(),
        min_inputs: provider.min_input_blocks as usize,
        max_inputs: provider.max_input_blocks as usize,
        max_level: provider.max_compaction_level,
        retention: block_retention(config),
        compacted_retention: compaction.compacted_block_retention.as_std(),
        cycle: compaction.compaction_cycle.as_std().max(Duration::from_millis(100)),
        max_time_per_tenant: compaction.max_time_per_tenant.as_std(),
        deletes_empty_tenants: config.storage.trace.empty_tenant_deletion_enabled,
        empty_tenant_age: config.storage.trace.empty_tenant_deletion_age.as_std(),
        start_after: config.trackway.compaction.start_after.as_std(),
    }
}

/// How long data is kept: what the overrides' defaults say, else the compactor's setting; zero is for ever.
pub(crate) fn block_retention(config: &Config) -> Duration {
    let of_tenants = config.overrides.defaults.compaction.block_retention;
    let retention = if of_tenants.is_zero() { config.compaction().block_retention } else { of_tenants };
    retention.as_std()
}

/// Settings of the querier.
pub(crate) fn querier(config: &Config) -> QuerierConfig {
    QuerierConfig {
        dedicated: dedicated(config),
        hide_dedicated: true,
        recent: config.query_frontend.search.query_backend_after.as_std(),
        max_bytes: config.trackway.query.max_bytes.as_usize() as u64,
        concurrent_per_tenant: config.trackway.query.max_concurrent_per_tenant as usize,
        waiting_per_tenant: config.query_frontend.max_outstanding_per_tenant as usize,
        max_bytes_per_trace: config.overrides.defaults.global.max_bytes_per_trace.as_usize(),
    }
}

/// Settings of the distributor.
pub(crate) fn distributor(config: &Config) -> DistributorConfig {
    let received = &config.distributor.log_received_spans;
    let discarded = &config.distributor.log_discarded_spans;
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
        retry_after: config.distributor.retry_after_on_resource_exhausted.positive(),
    }
}

/// Settings of the OTLP receivers.
pub(crate) fn otlp(config: &Config) -> OtlpConfig {
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
        cors: cors.map_or_else(CorsConfig::default, |cors| CorsConfig {
            allowed_origins: cors.allowed_origins,
            allowed_headers: cors.allowed_headers,
            max_age: Duration::from_secs(cors.max_age),
        }),
        multitenancy: config.multitenancy_enabled,
    }
}

/// Settings of the API.
pub(crate) fn api(config: &Config) -> ApiConfig {
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
        tempo_version: TEMPO_VERSION.to_owned(),
        revision: String::new(),
    }
}
