//! What somebody set of a tenant's [`Generator`]: the operator for the tenant, or the tenant for itself.
//!
//! What must stay true: what is not set stays as it is below.

use std::sync::Arc;
use std::time::Duration;

use crate::generator::{
    FilterPolicy, Generator, HistogramMode, HostInfo, Intrinsic, Mapping, Processors, ServiceGraphs,
    SpanMetrics, SpanNames,
};

/// Settings over others; `None` where nothing is set. The fields are named as in [`Generator`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // those of `Generator`
pub struct GeneratorChange {
    pub processors: Option<Processors>,
    /// Whether processors are added to those below instead of taking their place, as in Tempo 2.x.
    pub adds_processors: bool,
    pub collection_interval: Option<Duration>,
    pub disable_collection: Option<bool>,
    pub histograms: Option<HistogramMode>,
    pub native_bucket_factor: Option<f64>,
    pub native_max_buckets: Option<u32>,
    pub native_min_reset: Option<Duration>,
    pub trace_id_label: Option<String>,
    pub slack: Option<Duration>,
    pub span_names: Option<SpanNames>,
    pub service_graphs: ServiceGraphsChange,
    pub span_metrics: SpanMetricsChange,
    pub host_info: HostInfoChange,
}

/// `processor.service_graphs`. The fields are named as in [`ServiceGraphs`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // those of `ServiceGraphs`
pub struct ServiceGraphsChange {
    pub buckets: Option<Vec<f64>>,
    pub dimensions: Option<Vec<String>>,
    pub prefixes: Option<bool>,
    pub peer_attributes: Option<Vec<String>>,
    pub multiplier_key: Option<String>,
    pub tracestate_multiplier: Option<bool>,
    pub virtual_node_label: Option<bool>,
    pub messaging_latency: Option<bool>,
    pub filter_policies: Option<Vec<FilterPolicy>>,
}

/// `processor.span_metrics`. The fields are named as in [`SpanMetrics`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // those of `SpanMetrics`
pub struct SpanMetricsChange {
    pub buckets: Option<Vec<f64>>,
    pub intrinsic: IntrinsicChange,
    pub dimensions: Option<Vec<String>>,
    pub mappings: Option<Vec<Mapping>>,
    pub target_info: Option<bool>,
    pub target_info_excluded: Option<Vec<String>>,
    pub instance_label: Option<bool>,
    pub multiplier_key: Option<String>,
    pub tracestate_multiplier: Option<bool>,
    pub filter_policies: Option<Vec<FilterPolicy>>,
}

/// `intrinsic_dimensions`. The fields are named as in [`Intrinsic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // those of `Intrinsic`
pub struct IntrinsicChange {
    pub service: Option<bool>,
    pub span_name: Option<bool>,
    pub span_kind: Option<bool>,
    pub status_code: Option<bool>,
    pub status_message: Option<bool>,
}

/// `processor.host_info`. The fields are named as in [`HostInfo`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // those of `HostInfo`
pub struct HostInfoChange {
    pub identifiers: Option<Vec<String>>,
    pub metric_name: Option<String>,
}

impl GeneratorChange {
    /// These over others, which are shared where nothing changes.
    pub fn over(&self, others: &Arc<Generator>) -> Arc<Generator> {
        let mut generator = Generator::clone(others);
        self.apply(&mut generator);
        if generator == **others { Arc::clone(others) } else { Arc::new(generator) }
    }

    /// Puts what is set into it.
    pub fn apply(&self, to: &mut Generator) {
        if let Some(processors) = self.processors {
            to.processors = if self.adds_processors { to.processors.and(processors) } else { processors };
        }
        set(&mut to.collection_interval, self.collection_interval.as_ref());
        set(&mut to.disable_collection, self.disable_collection.as_ref());
        set(&mut to.histograms, self.histograms.as_ref());
        set(&mut to.native_bucket_factor, self.native_bucket_factor.as_ref());
        set(&mut to.native_max_buckets, self.native_max_buckets.as_ref());
        set(&mut to.native_min_reset, self.native_min_reset.as_ref());
        set(&mut to.trace_id_label, self.trace_id_label.as_ref());
        set(&mut to.slack, self.slack.as_ref());
        set(&mut to.span_names, self.span_names.as_ref());
        self.service_graphs.apply(&mut to.service_graphs);
        self.span_metrics.apply(&mut to.span_metrics);
        self.host_info.apply(&mut to.host_info);
    }
}

impl ServiceGraphsChange {
    fn apply(&self, to: &mut ServiceGraphs) {
        set(&mut to.buckets, self.buckets.as_ref());
        set(&mut to.dimensions, self.dimensions.as_ref());
        set(&mut to.prefixes, self.prefixes.as_ref());
        set(&mut to.peer_attributes, self.peer_attributes.as_ref());
        set(&mut to.multiplier_key, self.multiplier_key.as_ref());
        set(&mut to.tracestate_multiplier, self.tracestate_multiplier.as_ref());
        set(&mut to.virtual_node_label, self.virtual_node_label.as_ref());
        set(&mut to.messaging_latency, self.messaging_latency.as_ref());
        set(&mut to.filter_policies, self.filter_policies.as_ref());
    }
}

impl SpanMetricsChange {
    fn apply(&self, to: &mut SpanMetrics) {
        set(&mut to.buckets, self.buckets.as_ref());
        self.intrinsic.apply(&mut to.intrinsic);
        set(&mut to.dimensions, self.dimensions.as_ref());
        set(&mut to.mappings, self.mappings.as_ref());
        set(&mut to.target_info, self.target_info.as_ref());
        set(&mut to.target_info_excluded, self.target_info_excluded.as_ref());
        set(&mut to.instance_label, self.instance_label.as_ref());
        set(&mut to.multiplier_key, self.multiplier_key.as_ref());
        set(&mut to.tracestate_multiplier, self.tracestate_multiplier.as_ref());
        set(&mut to.filter_policies, self.filter_policies.as_ref());
    }
}

impl IntrinsicChange {
    fn apply(self, to: &mut Intrinsic) {
        set(&mut to.service, self.service.as_ref());
        set(&mut to.span_name, self.span_name.as_ref());
        set(&mut to.span_kind, self.span_kind.as_ref());
        set(&mut to.status_code, self.status_code.as_ref());
        set(&mut to.status_message, self.status_message.as_ref());
    }
}

impl HostInfoChange {
    fn apply(&self, to: &mut HostInfo) {
        set(&mut to.identifiers, self.identifiers.as_ref());
        set(&mut to.metric_name, self.metric_name.as_ref());
    }
}

fn set<T: Clone>(to: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        to.clone_from(value);
    }
}
