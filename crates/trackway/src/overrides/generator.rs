//! What the metrics-generator does for a tenant: the tenant's settings over the process' over the defaults.
//!
//! What must stay true: the result is complete, so that the generator looks at no configuration. A zero that means "the
//! process' setting" or "the default" does not get through.

use std::time::Duration;

use serde_json::{Value, json};
use trackway_config::sections::{
    DimensionMapping, FilterPolicy as Policy, GeneratorLimits, HistogramForm, HostInfoLimits,
    PolicyMatch as Match, ProcessorLimits, ServiceGraphsLimits, SpanMetrics as SpanMetricsSection,
    SpanMetricsLimits,
};
use trackway_config::{Config, GoDuration, OwnGenerator, PolicyScalar, processor_json};
use trackway_overrides::{
    FilterPolicy, Generator, GeneratorChange, HistogramMode, HostInfo, HostInfoChange, Intrinsic,
    IntrinsicChange, Mapping, PolicyAttribute, PolicyMatch, PolicyValue, Processors, ServiceGraphs,
    ServiceGraphsChange, SpanMetrics, SpanMetricsChange, SpanNames,
};

/// Tempo's label of exemplars.
const TRACE_ID_LABEL: &str = "traceID";
/// Tempo's growth of a native histogram's buckets.
const NATIVE_FACTOR: f64 = 1.1;
/// Tempo's most buckets of a native histogram.
const NATIVE_BUCKETS: u32 = 100;
/// Tempo's least time between resets of a native histogram.
const NATIVE_RESET: Duration = Duration::from_secs(15 * 60);

/// What counts for a tenant for which this is configured.
pub(super) fn of_tenant(config: &Config, limits: &GeneratorLimits) -> Generator {
    let mut generator = of_process(config);
    let change = GeneratorChange {
        processors: Some(processors(&limits.processors, &config.metrics_generator.processor.span_metrics)),
        collection_interval: limits.collection_interval.positive(),
        slack: limits.ingestion_time_range_slack.positive(),
        ..of_processors(&limits.processor)
    };
    change.apply(&mut generator);
    let positive = |factor: &f64| *factor > 0.0;
    Generator {
        max_active_series: limits.max_active_series,
        max_active_entities: limits.max_active_entities,
        max_cardinality_per_label: limits.max_cardinality_per_label,
        disable_collection: limits.disable_collection,
        histograms: mode(limits.generate_native_histograms),
        native_bucket_factor: Some(limits.native_histogram_bucket_factor)
            .filter(positive)
            .unwrap_or(NATIVE_FACTOR),
        native_max_buckets: buckets(limits.native_histogram_max_bucket_number),
        native_min_reset: limits.native_histogram_min_reset_duration.positive().unwrap_or(NATIVE_RESET),
        trace_id_label: trace_id_label(&limits.trace_id_label_name),
        span_names: span_names(&limits.span_name_sanitization),
        remote_write_headers: limits.remote_write_headers.clone(),
        ..generator
    }
}

/// What a tenant set for itself; `adds` as in [`GeneratorChange::adds_processors`].
pub(super) fn of_own(config: &Config, own: &OwnGenerator, adds: bool) -> GeneratorChange {
    let parts = &config.metrics_generator.processor.span_metrics;
    GeneratorChange {
        processors: own.processors.as_ref().map(|names| processors(names, parts)),
        adds_processors: adds,
        collection_interval: own.collection_interval.and_then(GoDuration::positive),
        disable_collection: own.disable_collection,
        histograms: own.generate_native_histograms.map(mode),
        native_bucket_factor: own.native_histogram_bucket_factor.filter(|factor| *factor > 0.0),
        native_max_buckets: own.native_histogram_max_bucket_number.map(buckets),
        native_min_reset: own.native_histogram_min_reset_duration.and_then(GoDuration::positive),
        trace_id_label: own.trace_id_label_name.as_deref().map(trace_id_label),
        slack: own.ingestion_time_range_slack.and_then(GoDuration::positive),
        span_names: own.span_name_sanitization.as_deref().map(span_names),
        ..of_processors(&own.processor)
    }
}

/// What a tenant might set for itself of `metrics_generator`, as the operator set it: the shape is that of
/// `/api/overrides`.
pub(super) fn user_json(limits: &GeneratorLimits) -> Value {
    json!({
        "processors": limits.processors.to_vec(),
        "disable_collection": limits.disable_collection,
        "collection_interval": limits.collection_interval.to_string(),
        "trace_id_label_name": limits.trace_id_label_name,
        "ingestion_time_range_slack": limits.ingestion_time_range_slack.to_string(),
        "generate_native_histograms": limits.generate_native_histograms.as_str(),
        "native_histogram_max_bucket_number": limits.native_histogram_max_bucket_number,
        "native_histogram_bucket_factor": limits.native_histogram_bucket_factor,
        "native_histogram_min_reset_duration": limits.native_histogram_min_reset_duration.to_string(),
        "span_name_sanitization": limits.span_name_sanitization,
        "processor": processor_json(&limits.processor),
    })
}

/// The settings of the process, with nothing being made.
fn of_process(config: &Config) -> Generator {
    let process = &config.metrics_generator;
    let (graphs, spans) = (&process.processor.service_graphs, &process.processor.span_metrics);
    Generator {
        collection_interval: process.registry.collection_interval.as_std(),
        slack: process.metrics_ingestion_time_range_slack.as_std(),
        service_graphs: ServiceGraphs {
            wait: graphs.wait.as_std(),
            max_items: usize::try_from(graphs.max_items).unwrap_or(usize::MAX),
            buckets: graphs.histogram_buckets.clone(),
            histograms: graphs.histogram_override.map(mode),
            dimensions: graphs.dimensions.clone(),
            prefixes: graphs.enable_client_server_prefix,
            peer_attributes: graphs.peer_attributes.clone(),
            database_name_attributes: graphs.database_name_attributes.clone(),
            multiplier_key: graphs.span_multiplier_key.clone(),
            tracestate_multiplier: graphs.enable_tracestate_span_multiplier,
            virtual_node_label: graphs.enable_virtual_node_label,
            messaging_latency: graphs.enable_messaging_system_latency_histogram,
            filter_policies: policies(&graphs.filter_policies),
        },
        span_metrics: SpanMetrics {
            buckets: spans.histogram_buckets.clone(),
            histograms: spans.histogram_override.map(mode),
            intrinsic: Intrinsic {
                service: spans.intrinsic_dimensions.service,
                span_name: spans.intrinsic_dimensions.span_name,
                span_kind: spans.intrinsic_dimensions.span_kind,
                status_code: spans.intrinsic_dimensions.status_code,
                status_message: spans.intrinsic_dimensions.status_message,
            },
            dimensions: spans.dimensions.clone(),
            mappings: mappings(&spans.dimension_mappings),
            target_info: spans.enable_target_info,
            target_info_excluded: spans.target_info_excluded_dimensions.clone(),
            instance_label: spans.enable_instance_label,
            multiplier_key: spans.span_multiplier_key.clone(),
            tracestate_multiplier: spans.enable_tracestate_span_multiplier,
            filter_policies: policies(&spans.filter_policies),
        },
        host_info: HostInfo {
            identifiers: process.processor.host_info.host_identifiers.clone(),
            metric_name: process.processor.host_info.metric_name.clone(),
        },
        ..Generator::default()
    }
}

/// What is made. `local-blocks` makes nothing: what it answered in Tempo the ingester answers.
fn processors(names: &[String], parts: &SpanMetricsSection) -> Processors {
    let has = |name: &str| names.iter().any(|named| named == name);
    let part = |alone: &str, part: &str| has(alone) || (has("span-metrics") && parts.makes(part));
    Processors {
        service_graphs: has("service-graphs"),
        calls: part("span-metrics-count", "count"),
        latency: part("span-metrics-latency", "latency"),
        size: part("span-metrics-size", "size"),
        host_info: has("host-info"),
    }
}

fn of_processors(limits: &ProcessorLimits) -> GeneratorChange {
    GeneratorChange {
        service_graphs: of_service_graphs(&limits.service_graphs),
        span_metrics: of_span_metrics(&limits.span_metrics),
        host_info: of_host_info(&limits.host_info),
        ..GeneratorChange::default()
    }
}

fn of_service_graphs(limits: &ServiceGraphsLimits) -> ServiceGraphsChange {
    ServiceGraphsChange {
        buckets: limits.histogram_buckets.clone(),
        dimensions: limits.dimensions.clone(),
        prefixes: limits.enable_client_server_prefix,
        peer_attributes: limits.peer_attributes.clone(),
        multiplier_key: limits.span_multiplier_key.clone(),
        tracestate_multiplier: limits.enable_tracestate_span_multiplier,
        virtual_node_label: limits.enable_virtual_node_label,
        messaging_latency: limits.enable_messaging_system_latency_histogram,
        filter_policies: limits.filter_policies.as_deref().map(policies),
    }
}

fn of_span_metrics(limits: &SpanMetricsLimits) -> SpanMetricsChange {
    let intrinsic = &limits.intrinsic_dimensions;
    SpanMetricsChange {
        buckets: limits.histogram_buckets.clone(),
        intrinsic: IntrinsicChange {
            service: intrinsic.service,
            span_name: intrinsic.span_name,
            span_kind: intrinsic.span_kind,
            status_code: intrinsic.status_code,
            status_message: intrinsic.status_message,
        },
        dimensions: limits.dimensions.clone(),
        mappings: limits.dimension_mappings.as_deref().map(mappings),
        target_info: limits.enable_target_info,
        target_info_excluded: limits.target_info_excluded_dimensions.clone(),
        instance_label: limits.enable_instance_label,
        multiplier_key: limits.span_multiplier_key.clone(),
        tracestate_multiplier: limits.enable_tracestate_span_multiplier,
        filter_policies: limits.filter_policies.as_deref().map(policies),
    }
}

fn of_host_info(limits: &HostInfoLimits) -> HostInfoChange {
    HostInfoChange { identifiers: limits.host_identifiers.clone(), metric_name: limits.metric_name.clone() }
}

fn mode(form: HistogramForm) -> HistogramMode {
    match form {
        HistogramForm::Classic => HistogramMode::Classic,
        HistogramForm::Native => HistogramMode::Native,
        HistogramForm::Both => HistogramMode::Both,
    }
}

fn buckets(most: u32) -> u32 {
    if most == 0 { NATIVE_BUCKETS } else { most }
}

fn trace_id_label(name: &str) -> String {
    if name.is_empty() { TRACE_ID_LABEL.to_owned() } else { name.to_owned() }
}

/// The names have been checked.
fn span_names(name: &str) -> SpanNames {
    match name {
        "dry_run" => SpanNames::DryRun,
        "enabled" => SpanNames::Shortened,
        _ => SpanNames::AsSent,
    }
}

fn mappings(mappings: &[DimensionMapping]) -> Vec<Mapping> {
    let mapping = |mapping: &DimensionMapping| Mapping {
        name: mapping.name.clone(),
        source_labels: mapping.source_labels.clone(),
        join: mapping.join.clone(),
    };
    mappings.iter().map(mapping).collect()
}

fn policies(policies: &[Policy]) -> Vec<FilterPolicy> {
    let policy = |policy: &Policy| FilterPolicy {
        include: policy.include.as_ref().map(policy_match),
        include_any: policy.include_any.as_ref().map(policy_match),
        exclude: policy.exclude.as_ref().map(policy_match),
    };
    policies.iter().map(policy).collect()
}

fn policy_match(part: &Match) -> PolicyMatch {
    let value = |value: &PolicyScalar| match value {
        PolicyScalar::Text(text) => PolicyValue::Text(text.clone()),
        PolicyScalar::Int(number) => PolicyValue::Int(*number),
        PolicyScalar::Float(number) => PolicyValue::Float(*number),
        PolicyScalar::Bool(is) => PolicyValue::Bool(*is),
    };
    let attributes = part
        .attributes
        .iter()
        .map(|attribute| PolicyAttribute { key: attribute.key.clone(), value: value(&attribute.value) });
    PolicyMatch { regex: part.match_type == "regex", attributes: attributes.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> Generator {
        let config = Config::from_yaml("tempo.yaml", yaml).unwrap();
        assert_eq!(config.validate(), [], "{yaml}");
        of_tenant(&config, &config.overrides.defaults.metrics_generator)
    }

    #[test]
    fn without_settings_it_is_tempos() {
        let generator = of("");
        assert_eq!(generator.service_graphs, ServiceGraphs::default());
        assert_eq!(generator.span_metrics, SpanMetrics::default());
        assert_eq!(generator.host_info, HostInfo::default());
        assert!(!generator.processors.any());
        assert_eq!((generator.collection_interval.as_secs(), generator.slack.as_secs()), (15, 30));
        assert_eq!(generator.trace_id_label, "traceID");
    }

    #[test]
    fn a_zero_of_an_entry_is_the_default() {
        let config = Config::default();
        let of_entry = of_tenant(&config, &trackway_config::unset_limits().metrics_generator);
        assert_eq!(of_entry, of_tenant(&config, &config.overrides.defaults.metrics_generator));
        assert_eq!((of_entry.native_bucket_factor, of_entry.native_max_buckets), (1.1, 100));
        assert_eq!(of_entry.native_min_reset, NATIVE_RESET);
    }

    #[test]
    fn the_flat_and_the_scoped_spelling_mean_the_same() {
        let scoped = "overrides: {defaults: {metrics_generator: {processors: [span-metrics, service-graphs], \
            collection_interval: 1m, generate_native_histograms: both, remote_write_headers: {a: b}, \
            max_active_series: 9, processor: {span_metrics: {dimensions: [team], enable_target_info: true, \
            dimension_mappings: [{name: x, source_labels: [a, b], join: /}]}, service_graphs: {histogram_buckets: [1, 2], \
            enable_client_server_prefix: true}, host_info: {host_identifiers: [host.name]}}}}}";
        let flat = "overrides: {metrics_generator_processors: {span-metrics: , service-graphs: }, \
            metrics_generator_collection_interval: 1m, metrics_generator_generate_native_histograms: both, \
            metrics_generator_remote_write_headers: {a: b}, metrics_generator_max_active_series: 9, \
            metrics_generator_processor_span_metrics_dimensions: [team], \
            metrics_generator_processor_span_metrics_enable_target_info: true, \
            metrics_generator_processor_span_metrics_dimension_mappings: [{name: x, source_labels: [a, b], join: /}], \
            metrics_generator_processor_service_graphs_histogram_buckets: [1, 2], \
            metrics_generator_processor_service_graphs_enable_client_server_prefix: true, \
            metrics_generator_processor_host_info_host_identifiers: [host.name]}";
        let generator = of(scoped);
        assert_eq!(generator, of(flat));
        assert_eq!(generator.collection_interval.as_secs(), 60);
        assert_eq!(generator.histograms, HistogramMode::Both);
        assert_eq!(
            (generator.service_graphs.buckets, generator.service_graphs.prefixes),
            (vec![1.0, 2.0], true)
        );
        assert_eq!(generator.span_metrics.mappings[0].source_labels, ["a", "b"]);
        assert_eq!(generator.host_info.identifiers, ["host.name"]);
        assert_eq!(generator.remote_write_headers["a"].expose(), "b");
    }

    #[test]
    fn a_tenant_goes_over_the_process_key_by_key() {
        let process = "metrics_generator: {processor: {span_metrics: {dimensions: [a], enable_instance_label: false, \
            intrinsic_dimensions: {span_kind: false}, histogram_override: native, filter_policies: [{exclude: {match_type: \
            regex, attributes: [{key: name, value: 'GET .*'}]}}]}}, metrics_ingestion_time_range_slack: 1m}\n";
        let tenant = "overrides: {defaults: {metrics_generator: {processor: {span_metrics: {dimensions: [], \
            intrinsic_dimensions: {service: false}, filter_policies: [{include_any: {match_type: strict, attributes: \
            [{key: span.code, value: 200}, {key: span.code, value: '200'}, {key: span.share, value: 0.5}, {key: \
            resource.hot, value: true}]}}]}}}}}\n";
        let of_process = of(process).span_metrics;
        assert_eq!(
            (of_process.dimensions, of_process.histograms),
            (vec!["a".to_owned()], Some(HistogramMode::Native))
        );
        assert!(of_process.filter_policies[0].exclude.as_ref().unwrap().regex);
        let both = of(&format!("{process}{tenant}"));
        assert_eq!(both.slack.as_secs(), 60);
        let spans = both.span_metrics;
        assert!(spans.dimensions.is_empty() && !spans.instance_label);
        let intrinsic = Intrinsic { service: false, span_kind: false, ..Intrinsic::default() };
        assert_eq!((spans.intrinsic, spans.histograms), (intrinsic, Some(HistogramMode::Native)));
        let [policy] = spans.filter_policies.as_slice() else { panic!("{:?}", spans.filter_policies) };
        let values = &policy.include_any.as_ref().unwrap().attributes;
        let values: Vec<PolicyValue> = values.iter().map(|attribute| attribute.value.clone()).collect();
        let text = PolicyValue::Text("200".to_owned());
        assert_eq!(values, [PolicyValue::Int(200), text, PolicyValue::Float(0.5), PolicyValue::Bool(true)]);
    }

    #[test]
    fn what_a_tenant_sets_itself_goes_over_the_operators() {
        let yaml = "overrides: {defaults: {metrics_generator: {processors: [service-graphs], collection_interval: 20s, \
            ingestion_time_range_slack: 2m, trace_id_label_name: id, processor: {span_metrics: {dimensions: [a], \
            histogram_buckets: [1]}}}}}";
        let config = Config::from_yaml("tempo.yaml", yaml).unwrap();
        let block = json!({
            "processors": ["span-metrics-count", "of another version"], "trace_id_label_name": "",
            "ingestion_time_range_slack": "0s", "generate_native_histograms": "native", "new_key": 1,
            "span_name_sanitization": "dry_run", "native_histogram_bucket_factor": 1.5,
            "processor": {
                "span_metrics": {"dimensions": ["b"], "intrinsic_dimensions": {"status_message": true}},
                "service_graphs": {"filter_policies": [{"include": {"match_type": "strict", "attributes": [
                    {"key": "span.a", "value": "1"}, {"key": "span.b", "value": 1}]}}]},
                "host_info": {"metric_name": "hosts"},
            },
        });
        let own = trackway_config::own_generator(&block, &config.metrics_generator).unwrap();
        let of_operator = of(yaml);
        let merged = |adds| {
            let mut merged = of_operator.clone();
            of_own(&config, &own, adds).apply(&mut merged);
            merged
        };
        let (replaced, added) = (merged(false), merged(true));
        let calls = Processors { calls: true, ..Processors::default() };
        assert_eq!((replaced.processors, added.processors), (calls, calls.and(of_operator.processors)));
        // A zero says nothing, an empty name is the default.
        assert_eq!((replaced.slack.as_secs(), replaced.collection_interval.as_secs()), (120, 20));
        assert_eq!((replaced.trace_id_label.as_str(), replaced.native_bucket_factor), ("traceID", 1.5));
        assert_eq!((replaced.histograms, replaced.span_names), (HistogramMode::Native, SpanNames::DryRun));
        let spans = replaced.span_metrics;
        assert_eq!((spans.dimensions, spans.buckets), (vec!["b".to_owned()], vec![1.0]));
        assert!(spans.intrinsic.status_message && spans.intrinsic.service);
        let attributes = &replaced.service_graphs.filter_policies[0].include.as_ref().unwrap().attributes;
        assert_eq!(attributes[0].value, PolicyValue::Text("1".to_owned()));
        assert_eq!(attributes[1].value, PolicyValue::Int(1));
        assert_eq!(replaced.host_info.metric_name, "hosts");
    }

    #[test]
    fn processors_may_be_parts_of_span_metrics() {
        let none = Processors::default();
        let all = Processors { calls: true, latency: true, size: true, ..none };
        for (names, subprocessors, want) in [
            ("span-metrics", "", all),
            ("span-metrics", "Size: false, 0: false", Processors { calls: true, ..none }),
            ("span-metrics-count", "", Processors { calls: true, ..none }),
            ("span-metrics-latency, span-metrics-size", "", Processors { latency: true, size: true, ..none }),
            // Named alone, it is made whatever is left out.
            ("span-metrics-size", "size: false", Processors { size: true, ..none }),
            ("host-info", "", Processors { host_info: true, ..none }),
            ("service-graphs", "", Processors { service_graphs: true, ..none }),
            ("local-blocks", "", none),
        ] {
            let yaml = format!(
                "{{metrics_generator: {{processor: {{span_metrics: {{subprocessors: {{{subprocessors}}}}}}}}}, overrides: \
                 {{defaults: {{metrics_generator: {{processors: [{names}]}}}}}}}}"
            );
            assert_eq!(of(&yaml).processors, want, "{names} {subprocessors}");
        }
    }
}
