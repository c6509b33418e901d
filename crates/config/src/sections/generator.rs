//! `metrics_generator:`, what is made of spans and for how long, for tenants that say nothing else.
//!
//! A tenant's own settings stand in [`crate::sections::GeneratorLimits`] and go over these, key by key.

use std::collections::BTreeMap;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored::{LOCAL_BLOCKS, RING, WAL};
use crate::policy_scalar::PolicyScalar;
use crate::sections::{RemoteWrite, mins, secs};
use crate::table::Shape::{Any, Block, Bool, Dur, Int, Map, Str};

section! {
    /// `metrics_generator:`.
    MetricsGenerator {
        processor: GeneratorProcessors = GeneratorProcessors::default(), "What is made of spans; which of it runs is `metrics_generator.processors` of the overrides.";
        registry: GeneratorRegistry = GeneratorRegistry::default(), "The series.";
        storage: GeneratorStorage = GeneratorStorage::default(), "Where samples wait and where they are sent.";
        metrics_ingestion_time_range_slack: GoDuration = secs(30), "Spans that end further off the present are left out.";
        limiter_type: LimiterType = LimiterType::Series, "What is limited of a tenant: series (`max_active_series`) or sets of labels (`max_active_entities`).";
        instance_id: String = String::new(), "Value of the label `__metrics_gen_instance`; empty is the host's name.";
    }
    ignored &[
        ("ring", Block(RING)),
        ("traces_storage", Block(WAL)),
        ("traces_query_storage", Block(WAL)),
        ("query_timeout", Dur),
        ("override_ring_key", Str),
        ("codec", Str),
        ("disable_local_blocks", Bool),
        ("disable_grpc", Bool),
        ("ingest_concurrency", Int),
        ("ring_mode", Str),
        ("leave_consumer_group_on_shutdown", Bool),
        ("assigned_partitions", Map),
        ("kafka", Any),
    ]
}

choice! {
    /// What a tenant's limit counts.
    LimiterType {
        Series = "series", "Series.";
        Entity = "entity", "Sets of labels, whatever number of series each has.";
    }
}

choice! {
    /// Which form histograms have.
    HistogramForm {
        Classic = "classic", "`_bucket`, `_sum` and `_count`.";
        Native = "native", "Prometheus's native histograms.";
        Both = "both", "Both of them.";
    }
}

section! {
    /// `metrics_generator.processor:`.
    GeneratorProcessors {
        service_graphs: ServiceGraphs = ServiceGraphs::default(), "Who calls whom.";
        span_metrics: SpanMetrics = SpanMetrics::default(), "Calls, latencies and sizes.";
        host_info: HostInfo = HostInfo::default(), "Which hosts send.";
    }
    // What local blocks answered in Tempo is answered by the ingester.
    ignored &[("local_blocks", Block(LOCAL_BLOCKS))]
}

section! {
    /// `metrics_generator.processor.service_graphs:`.
    ServiceGraphs {
        wait: GoDuration = secs(10), "How long one side of a call waits for the other.";
        max_items: u64 = 10_000, "Most sides of calls that wait.";
        histogram_buckets: Vec<f64> = vec![0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8], "Upper bounds of latencies in seconds.";
        histogram_override: Option<HistogramForm> = None, "Form of these histograms; not set is the tenant's `generate_native_histograms`.";
        dimensions: Vec<String> = Vec::new(), "Attributes that become labels.";
        peer_attributes: Vec<String> = texts(&["peer.service", "db.name", "db.system"]), "Attributes that name the other side when it sends no spans.";
        database_name_attributes: Vec<String> = texts(&["db.namespace", "db.name", "db.system"]), "Attributes that tell a database.";
        filter_policies: Vec<FilterPolicy> = Vec::new(), "Which spans count; none is all.";
        enable_client_server_prefix: bool = false, "Dimensions of each side for itself: `client_…` and `server_…`.";
        enable_messaging_system_latency_histogram: bool = false, "Time between producer and consumer.";
        enable_virtual_node_label: bool = false, "Label `virtual_node`.";
        span_multiplier_key: String = String::new(), "Attribute with the share of spans that was kept; empty is none.";
        enable_tracestate_span_multiplier: bool = false, "Take that share from the W3C trace state.";
    }
    ignored &[("workers", Int)]
}

section! {
    /// `metrics_generator.processor.span_metrics:`.
    SpanMetrics {
        histogram_buckets: Vec<f64> = (0..14).map(|power| 0.002 * f64::from(1_u32 << power)).collect(), "Upper bounds of latencies in seconds.";
        histogram_override: Option<HistogramForm> = None, "Form of these histograms; not set is the tenant's `generate_native_histograms`.";
        intrinsic_dimensions: IntrinsicDimensions = IntrinsicDimensions::default(), "Labels that need no attribute.";
        dimensions: Vec<String> = Vec::new(), "Attributes that become labels.";
        dimension_mappings: Vec<DimensionMapping> = Vec::new(), "Labels put together from attributes.";
        enable_target_info: bool = false, "Series with the resource's attributes, and the labels `job` and `instance`.";
        target_info_excluded_dimensions: Vec<String> = Vec::new(), "Attributes that it leaves out.";
        enable_instance_label: bool = true, "The label `instance`.";
        filter_policies: Vec<FilterPolicy> = Vec::new(), "Which spans count; none is all.";
        span_multiplier_key: String = String::new(), "Attribute with the share of spans that was kept; empty is none.";
        enable_tracestate_span_multiplier: bool = false, "Take that share from the W3C trace state.";
        subprocessors: BTreeMap<String, bool> = BTreeMap::new(), "Parts of `span-metrics` that are left out, set to false: `latency`, `count`, `size` (or Tempo's 0, 1, 2).";
    }
    ignored &[]
}

impl SpanMetrics {
    /// Whether `span-metrics` makes a part: `latency`, `count` or `size`.
    pub fn makes(&self, part: &str) -> bool {
        let off = |(name, on): (&String, &bool)| subprocessor(name) == Some(part) && !on;
        !self.subprocessors.iter().any(off)
    }
}

/// The part of span metrics that a key of `subprocessors` means.
pub(crate) fn subprocessor(name: &str) -> Option<&'static str> {
    let named = [["latency", "Latency", "0"], ["count", "Count", "1"], ["size", "Size", "2"]];
    named.into_iter().find(|names| names.contains(&name)).map(|names| names[0])
}

section! {
    /// `intrinsic_dimensions:` of span metrics.
    IntrinsicDimensions {
        service: bool = true, "The service.";
        span_name: bool = true, "The span's name.";
        span_kind: bool = true, "Its kind, such as `SPAN_KIND_SERVER`.";
        status_code: bool = true, "Its status, such as `STATUS_CODE_ERROR`.";
        status_message: bool = false, "The text of its status.";
    }
    ignored &[]
}

section! {
    /// An entry of `dimension_mappings:`.
    DimensionMapping {
        name: String = String::new(), "The label.";
        source_labels: Vec<String> = Vec::new(), "Attributes, in order.";
        join: String = String::new(), "What stands between their values.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.processor.host_info:`.
    HostInfo {
        host_identifiers: Vec<String> = texts(&["k8s.node.name", "host.id"]), "Attributes of the resource that name a host, the best first.";
        metric_name: String = "traces_host_info".to_owned(), "Name of the metric.";
    }
    ignored &[]
}

section! {
    /// An entry of `filter_policies:`; at least one of its keys.
    FilterPolicy {
        include: Option<PolicyMatch> = None, "Spans that match all of this are let in.";
        include_any: Option<PolicyMatch> = None, "Spans that match something of this are let in.";
        exclude: Option<PolicyMatch> = None, "Spans that match all of this are left out.";
    }
    ignored &[]
}

section! {
    /// What a span is held against.
    PolicyMatch {
        match_type: String = String::new(), "`strict` or `regex`.";
        attributes: Vec<PolicyAttribute> = Vec::new(), "Attributes and what they must be.";
    }
    ignored &[]
}

section! {
    /// An entry of `attributes:` of a policy.
    PolicyAttribute {
        key: String = String::new(), "`resource.…`, `span.…`, `kind`, `name` or `status`.";
        value: PolicyScalar = PolicyScalar::Text(String::new()), "What it must be, or a regular expression.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.registry:`.
    GeneratorRegistry {
        collection_interval: GoDuration = secs(15), "How often metrics are collected and sent.";
        stale_duration: GoDuration = mins(15), "When a series that gets nothing ends.";
        external_labels: BTreeMap<String, String> = BTreeMap::new(), "Labels that every series gets.";
        inject_tenant_id_as: String = String::new(), "Label with the tenant's name; empty is none.";
        max_label_name_length: u64 = 1024, "Longest name of a label in bytes; what is longer is cut.";
        max_label_value_length: u64 = 2048, "Longest value of a label in bytes; what is longer is cut.";
    }
    ignored &[]
}

section! {
    /// `metrics_generator.storage:`.
    GeneratorStorage {
        path: String = String::new(), "Folder for samples that wait to be sent; empty is `generator` in `storage.trace.wal.path`.";
        wal: GeneratorWal = GeneratorWal::default(), "What waits there.";
        remote_write_flush_deadline: GoDuration = mins(1), "How long stopping may wait for what has not been sent.";
        remote_write_add_org_id_header: bool = true, "Send the tenant as `X-Scope-OrgID`, when there are several.";
        remote_write: Vec<RemoteWrite> = Vec::new(), "Where samples are sent; all of them get everything.";
    }
    // No key of Tempo's, but found in values files.
    ignored &[("local_blocks", Block(LOCAL_BLOCKS))]
}

section! {
    /// `metrics_generator.storage.wal:`.
    GeneratorWal {
        wal_segment_size: ByteSize = ByteSize::mib(128), "Largest file; those of few series are smaller.";
        wal_compression: String = "none".to_owned(), "`none`, `snappy` or `zstd`.";
        max_wal_time: u64 = 14_400_000, "Oldest sample that is still sent, in milliseconds.";
        remote_write_flush_deadline: Option<GoDuration> = None, "Misplaced; counts where `metrics_generator.storage.remote_write_flush_deadline` is not set.";
    }
    ignored &[
        ("stripe_size", Int),
        ("truncate_frequency", Dur),
        ("min_wal_time", Int),
        ("no_lockfile", Bool),
    ]
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
