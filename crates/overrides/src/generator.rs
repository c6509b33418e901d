//! What the metrics-generator does for a tenant: `metrics_generator:` of the process with the tenant's own over it.
//!
//! What must stay true: this is complete. Whoever resolves it (the binary) has put the process' settings wherever the
//! tenant says nothing, so that the generator asks nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use trackway_common::Secret;

/// Everything that the generator has to know of a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generator {
    /// What is made (`processors`).
    pub processors: Processors,
    /// `processor.service_graphs`.
    pub service_graphs: ServiceGraphs,
    /// `processor.span_metrics`.
    pub span_metrics: SpanMetrics,
    /// `processor.host_info`.
    pub host_info: HostInfo,
    /// Most series; 0 is no limit (`max_active_series`).
    pub max_active_series: u32,
    /// Most label sets; 0 is no limit (`max_active_entities`).
    pub max_active_entities: u32,
    /// Most values of a label; 0 is no limit (`max_cardinality_per_label`).
    pub max_cardinality_per_label: u32,
    /// How often metrics are collected (`collection_interval`, else `registry.collection_interval`).
    pub collection_interval: Duration,
    /// Count, but collect nothing (`disable_collection`).
    pub disable_collection: bool,
    /// Which histograms are made (`generate_native_histograms`), where a processor has no `histogram_override`.
    pub histograms: HistogramMode,
    /// Growth of a native histogram's buckets (`native_histogram_bucket_factor`).
    pub native_bucket_factor: f64,
    /// Most buckets of a native histogram (`native_histogram_max_bucket_number`).
    pub native_max_buckets: u32,
    /// Least time between resets of a native histogram (`native_histogram_min_reset_duration`).
    pub native_min_reset: Duration,
    /// Label of exemplars (`trace_id_label_name`); never empty.
    pub trace_id_label: String,
    /// Spans that end further off the time at which they came in are left out (`ingestion_time_range_slack`, else
    /// `metrics_ingestion_time_range_slack`).
    pub slack: Duration,
    /// Whether names of spans are shortened (`span_name_sanitization`).
    pub span_names: SpanNames,
    /// Headers of remote write, over the endpoint's (`remote_write_headers`).
    pub remote_write_headers: BTreeMap<String, Secret>,
}

/// What is made of spans. `local-blocks` is no part of it: what it answered in Tempo the ingester answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// `service-graphs`.
    pub service_graphs: bool,
    /// `span-metrics` or `span-metrics-count`.
    pub calls: bool,
    /// `span-metrics` or `span-metrics-latency`.
    pub latency: bool,
    /// `span-metrics` or `span-metrics-size`.
    pub size: bool,
    /// `host-info`.
    pub host_info: bool,
}

impl Processors {
    /// Whether anything of span metrics is made.
    pub fn span_metrics(self) -> bool {
        self.calls || self.latency || self.size
    }

    /// What is in one of them.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            service_graphs: self.service_graphs || other.service_graphs,
            calls: self.calls || other.calls,
            latency: self.latency || other.latency,
            size: self.size || other.size,
            host_info: self.host_info || other.host_info,
        }
    }

    /// Whether anything is made.
    pub fn any(self) -> bool {
        self.service_graphs || self.host_info || self.span_metrics()
    }
}

/// Which form histograms have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramMode {
    /// `_bucket`, `_sum` and `_count`.
    #[default]
    Classic,
    /// Prometheus's native histograms.
    Native,
    /// Both of them.
    Both,
}

impl HistogramMode {
    /// Whether there are classic ones.
    pub fn classic(self) -> bool {
        self != Self::Native
    }

    /// Whether there are native ones.
    pub fn native(self) -> bool {
        self != Self::Classic
    }
}

/// Whether names of spans are shortened to patterns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanNames {
    /// They stay.
    #[default]
    AsSent,
    /// They stay, and it is counted what shortening would do.
    DryRun,
    /// They are shortened.
    Shortened,
}

/// `processor.service_graphs`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceGraphs {
    /// How long half an edge waits for its other half (`wait`).
    pub wait: Duration,
    /// Most halves that wait (`max_items`).
    pub max_items: usize,
    /// Upper bounds of latencies in seconds, ascending (`histogram_buckets`).
    pub buckets: Vec<f64>,
    /// Form of the histograms (`histogram_override`), or that of the tenant.
    pub histograms: Option<HistogramMode>,
    /// Attributes that become labels (`dimensions`).
    pub dimensions: Vec<String>,
    /// Dimensions of each side for itself (`enable_client_server_prefix`).
    pub prefixes: bool,
    /// Attributes that name the other side when it sends no spans (`peer_attributes`).
    pub peer_attributes: Vec<String>,
    /// Attributes that tell a database (`database_name_attributes`).
    pub database_name_attributes: Vec<String>,
    /// Attribute with the share of spans that was kept (`span_multiplier_key`); empty is none.
    pub multiplier_key: String,
    /// Whether the share is taken from the W3C trace state (`enable_tracestate_span_multiplier`).
    pub tracestate_multiplier: bool,
    /// Label `virtual_node` (`enable_virtual_node_label`).
    pub virtual_node_label: bool,
    /// Time between producer and consumer (`enable_messaging_system_latency_histogram`).
    pub messaging_latency: bool,
    /// Which spans count (`filter_policies`).
    pub filter_policies: Vec<FilterPolicy>,
}

impl Default for ServiceGraphs {
    /// Tempo's.
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            wait: Duration::from_secs(10),
            max_items: 10_000,
            buckets: vec![0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8],
            histograms: None,
            dimensions: Vec::new(),
            prefixes: false,
            peer_attributes: texts(&["peer.service", "db.name", "db.system"]),
            database_name_attributes: texts(&["db.namespace", "db.name", "db.system"]),
            multiplier_key: String::new(),
            tracestate_multiplier: false,
            virtual_node_label: false,
            messaging_latency: false,
            filter_policies: Vec::new(),
        }
    }
}

/// `processor.span_metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanMetrics {
    /// Upper bounds of latencies in seconds, ascending (`histogram_buckets`).
    pub buckets: Vec<f64>,
    /// Form of the histograms (`histogram_override`), or that of the tenant.
    pub histograms: Option<HistogramMode>,
    /// Which of the built-in labels there are (`intrinsic_dimensions`).
    pub intrinsic: Intrinsic,
    /// Attributes that become labels (`dimensions`).
    pub dimensions: Vec<String>,
    /// Labels put together from attributes (`dimension_mappings`).
    pub mappings: Vec<Mapping>,
    /// Series with the resource's attributes (`enable_target_info`).
    pub target_info: bool,
    /// Attributes that it leaves out (`target_info_excluded_dimensions`).
    pub target_info_excluded: Vec<String>,
    /// Label `instance`, with `target_info` (`enable_instance_label`).
    pub instance_label: bool,
    /// Attribute with the share of spans that was kept (`span_multiplier_key`); empty is none.
    pub multiplier_key: String,
    /// Whether the share is taken from the W3C trace state (`enable_tracestate_span_multiplier`).
    pub tracestate_multiplier: bool,
    /// Which spans count (`filter_policies`).
    pub filter_policies: Vec<FilterPolicy>,
}

impl Default for SpanMetrics {
    /// Tempo's.
    fn default() -> Self {
        let buckets = (0..14).map(|power| 0.002 * f64::from(1_u32 << power)).collect();
        Self {
            buckets,
            histograms: None,
            intrinsic: Intrinsic::default(),
            dimensions: Vec::new(),
            mappings: Vec::new(),
            target_info: false,
            target_info_excluded: Vec::new(),
            instance_label: true,
            multiplier_key: String::new(),
            tracestate_multiplier: false,
            filter_policies: Vec::new(),
        }
    }
}

/// Built-in labels of span metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intrinsic {
    /// `service`.
    pub service: bool,
    /// `span_name`.
    pub span_name: bool,
    /// `span_kind`.
    pub span_kind: bool,
    /// `status_code`.
    pub status_code: bool,
    /// `status_message`.
    pub status_message: bool,
}

impl Default for Intrinsic {
    fn default() -> Self {
        Self { service: true, span_name: true, span_kind: true, status_code: true, status_message: false }
    }
}

/// A label put together from attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The label.
    pub name: String,
    /// Attributes, in order (`source_labels`).
    pub source_labels: Vec<String>,
    /// What stands between their values.
    pub join: String,
}

/// `processor.host_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// Attributes of the resource that name a host, the best first (`host_identifiers`).
    pub identifiers: Vec<String>,
    /// Name of the metric (`metric_name`).
    pub metric_name: String,
}

impl Default for HostInfo {
    fn default() -> Self {
        let identifiers = vec!["k8s.node.name".to_owned(), "host.id".to_owned()];
        Self { identifiers, metric_name: "traces_host_info".to_owned() }
    }
}

/// An entry of `filter_policies`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterPolicy {
    /// Spans that match all of these are let in.
    pub include: Option<PolicyMatch>,
    /// Spans that match one of these are let in.
    pub include_any: Option<PolicyMatch>,
    /// Spans that match all of these are left out.
    pub exclude: Option<PolicyMatch>,
}

/// What a span is held against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyMatch {
    /// Whether values are regular expressions (`match_type: regex`), found anywhere in the text.
    pub regex: bool,
    /// Attributes and what they must be; at least one.
    pub attributes: Vec<PolicyAttribute>,
}

/// An attribute of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyAttribute {
    /// `resource.x`, `span.x`, `kind`, `name`, `status`, as in TraceQL.
    pub key: String,
    /// What it must be.
    pub value: PolicyValue,
}

/// The value of a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyValue {
    /// A text, or a regular expression.
    Text(String),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A boolean.
    Bool(bool),
}
