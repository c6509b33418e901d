//! `metrics_generator:` of a tenant, in the overrides' defaults and in the file of tenants.
//!
//! What must stay true: of `processor` every key is optional, and what is not set is the setting of the process
//! ([`crate::sections::MetricsGenerator`]). The same block is what a tenant may set through the API.

use std::collections::BTreeMap;

use trackway_common::Secret;

use crate::duration::GoDuration;
use crate::ignored::LOCAL_BLOCKS;
use crate::name_set::NameSet;
use crate::sections::{DimensionMapping, FilterPolicy, HistogramForm, mins};
use crate::table::Shape::{Block, Map};

section! {
    /// `metrics_generator:` of a tenant.
    GeneratorLimits {
        processors: NameSet = NameSet::default(), "What is made: `service-graphs`, `span-metrics` (or `span-metrics-latency`, `span-metrics-count`, `span-metrics-size`), `host-info`.";
        ring_size: u32 = 0, "On how many generators the tenant lives; 0 is all.";
        max_active_series: u32 = 0, "Most series; 0 is no limit.";
        max_active_entities: u32 = 0, "Most sets of labels; 0 is no limit.";
        max_cardinality_per_label: u32 = 0, "Most values of a label; 0 is no limit.";
        collection_interval: GoDuration = GoDuration::ZERO, "How often metrics are sent; 0 is the process' setting.";
        disable_collection: bool = false, "Make metrics but send none.";
        generate_native_histograms: HistogramForm = HistogramForm::Classic, "Which form histograms have.";
        native_histogram_bucket_factor: f64 = 1.1, "Growth of a native histogram's buckets; 0 is 1.1.";
        native_histogram_max_bucket_number: u32 = 100, "Most buckets of a native histogram; 0 is 100.";
        native_histogram_min_reset_duration: GoDuration = mins(15), "Least time between resets of a native histogram; 0 is 15m.";
        trace_id_label_name: String = String::new(), "Exemplars' label; empty is `traceID`.";
        ingestion_time_range_slack: GoDuration = GoDuration::ZERO, "Spans further off the present are left out; 0 is the process' setting.";
        span_name_sanitization: String = String::new(), "Shorten span names: empty, `dry_run` or `enabled`.";
        remote_write_headers: BTreeMap<String, Secret> = BTreeMap::new(), "Headers sent along.";
        forwarder: GeneratorForwarder = GeneratorForwarder::default(), "Queue towards the generators.";
        processor: ProcessorLimits = ProcessorLimits::default(), "How it is made; what is not set is the process' setting.";
    }
    ignored &[("remote_write", Map)]
}

section! {
    /// `metrics_generator.forwarder:` of a tenant.
    GeneratorForwarder {
        queue_size: u32 = 0, "Most waiting batches; 0 chooses.";
        workers: u32 = 0, "Senders; 0 chooses.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.processor:` of a tenant.
    ProcessorLimits {
        service_graphs: ServiceGraphsLimits = ServiceGraphsLimits::default(), "Who calls whom.";
        span_metrics: SpanMetricsLimits = SpanMetricsLimits::default(), "Calls, latencies and sizes.";
        host_info: HostInfoLimits = HostInfoLimits::default(), "Which hosts send.";
    }
    ignored &[("local_blocks", Block(LOCAL_BLOCKS))]
}

section! {
    /// `metrics_generator.processor.service_graphs:` of a tenant.
    ServiceGraphsLimits {
        histogram_buckets: Option<Vec<f64>> = None, "Upper bounds of latencies in seconds.";
        dimensions: Option<Vec<String>> = None, "Attributes that become labels.";
        peer_attributes: Option<Vec<String>> = None, "Attributes that name the other side when it sends no spans.";
        filter_policies: Option<Vec<FilterPolicy>> = None, "Which spans count.";
        enable_client_server_prefix: Option<bool> = None, "Dimensions of each side for itself.";
        enable_messaging_system_latency_histogram: Option<bool> = None, "Time between producer and consumer.";
        enable_virtual_node_label: Option<bool> = None, "Label `virtual_node`.";
        span_multiplier_key: Option<String> = None, "Attribute with the share of spans that was kept.";
        enable_tracestate_span_multiplier: Option<bool> = None, "Take that share from the W3C trace state.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.processor.span_metrics:` of a tenant.
    SpanMetricsLimits {
        histogram_buckets: Option<Vec<f64>> = None, "Upper bounds of latencies in seconds.";
        dimensions: Option<Vec<String>> = None, "Attributes that become labels.";
        intrinsic_dimensions: IntrinsicLimits = IntrinsicLimits::default(), "Labels that need no attribute.";
        filter_policies: Option<Vec<FilterPolicy>> = None, "Which spans count.";
        dimension_mappings: Option<Vec<DimensionMapping>> = None, "Labels put together from attributes.";
        enable_target_info: Option<bool> = None, "Series with the resource's attributes.";
        target_info_excluded_dimensions: Option<Vec<String>> = None, "Attributes that it leaves out.";
        enable_instance_label: Option<bool> = None, "The label `instance`.";
        span_multiplier_key: Option<String> = None, "Attribute with the share of spans that was kept.";
        enable_tracestate_span_multiplier: Option<bool> = None, "Take that share from the W3C trace state.";
    }
    ignored &[]
}

section! {
    /// `intrinsic_dimensions:` of a tenant's span metrics.
    IntrinsicLimits {
        service: Option<bool> = None, "The service.";
        span_name: Option<bool> = None, "The span's name.";
        span_kind: Option<bool> = None, "Its kind.";
        status_code: Option<bool> = None, "Its status.";
        status_message: Option<bool> = None, "The text of its status.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.processor.host_info:` of a tenant.
    HostInfoLimits {
        host_identifiers: Option<Vec<String>> = None, "Attributes of the resource that name a host, the best first.";
        metric_name: Option<String> = None, "Name of the metric.";
    }
    ignored &[]
}
