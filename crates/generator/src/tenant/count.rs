//! Goes through the spans of one request and shows each to the tenant's processors.
//!
//! What must stay true: a span outside of the slack is seen by no processor; a resource is noted once a request, when a
//! span of it counts.

use trackway_spans::anyvalue::AnyValue;
use trackway_spans::wire::WireError;
use trackway_spans::{Attribute, Limits, SpanVisitor, VisitedSpan, attributes};

use super::Numbers;
use crate::facts::{Facts, ResourceFacts};
use crate::host_info::HostInfoProcessor;
use crate::patterns::Patterns;
use crate::registry::Registry;
use crate::service_graphs::ServiceGraphsProcessor;
use crate::span_metrics::SpanMetricsProcessor;
use crate::wanted::{Wanted, put_text};

/// Goes through a request.
pub(super) struct Counting<'t, 'r> {
    pub(super) wanted: &'t Wanted,
    pub(super) registry: &'t mut Registry,
    pub(super) span_metrics: Option<&'t mut SpanMetricsProcessor>,
    pub(super) service_graphs: Option<&'t mut ServiceGraphsProcessor>,
    pub(super) host_info: Option<&'t HostInfoProcessor>,
    pub(super) patterns: Option<(&'t mut Patterns, bool)>,
    pub(super) numbers: &'t mut Numbers,
    pub(super) limits: Limits,
    /// When a span may end that is counted, Unix nanoseconds.
    pub(super) good_ends: std::ops::RangeInclusive<u64>,
    pub(super) received_ms: i64,
    pub(super) resource: ResourceFacts<'r>,
    pub(super) attributes: Vec<Attribute<'r>>,
    pub(super) slots: Vec<Option<AnyValue<'r>>>,
    /// Whether the resource is noted in `traces_target_info` already.
    pub(super) is_noted: bool,
    /// The same of the metric of hosts.
    pub(super) is_host_noted: bool,
}

/// The slots of the keys that [`Tenant::build`] asks for first.
const SERVICE: usize = 0;

const NAMESPACE: usize = 1;

const INSTANCE: usize = 2;

impl<'r> SpanVisitor<'r> for Counting<'_, 'r> {
    fn resource(&mut self, message: &'r [u8]) -> Result<(), WireError> {
        attributes(message, self.limits, &mut self.attributes)?;
        let facts = &mut self.resource;
        self.wanted.pick(&self.attributes, &mut facts.slots);
        let text = |slot: usize| {
            let mut out = Vec::new();
            if let Some(value) = facts.slots.get(slot).copied().flatten() {
                put_text(&mut out, value);
            }
            out
        };
        let (service, namespace) = (text(SERVICE), text(NAMESPACE));
        facts.instance = text(INSTANCE);
        facts.job = match (service.is_empty(), namespace.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => service.clone(),
            (false, false) => [&namespace[..], b"/", &service[..]].concat(),
        };
        let has_service = facts.slots.get(SERVICE).copied().flatten().is_some();
        // Most requests bring the service that the one before had.
        if !has_service {
            facts.service = None;
        } else if facts.service.as_deref() != Some(&service[..]) {
            facts.service = Some(service.into());
        }
        (self.is_noted, self.is_host_noted) = (false, false);
        Ok(())
    }

    #[inline]
    fn span(&mut self, span: &VisitedSpan<'r>, attributes: &[Attribute<'r>]) {
        self.numbers.spans_received += 1;
        self.numbers.bytes_received += span.size as u64;
        if !self.good_ends.contains(&span.end) {
            self.numbers.outside_slack += 1;
            return;
        }
        self.wanted.pick(attributes, &mut self.slots);
        let facts =
            Facts { resource: &self.resource, span, slots: &self.slots, received_ms: self.received_ms };
        let mut is_utf8 = true;
        if let Some(metrics) = &mut self.span_metrics {
            if metrics.lets_in(&facts) {
                let patterns = self.patterns.as_mut().map(|(patterns, is_used)| (&mut **patterns, *is_used));
                let counted = metrics.span(&facts, self.registry, patterns);
                is_utf8 &= counted.is_utf8;
                self.numbers.spans_sanitized += u64::from(counted.is_shortened);
                if !self.is_noted {
                    self.is_noted = true;
                    is_utf8 &=
                        metrics.resource(&self.resource, &self.attributes, self.registry, self.received_ms);
                }
            } else {
                self.numbers.span_metrics_filtered += 1;
            }
        }
        if !self.is_host_noted {
            self.is_host_noted = true;
            if let Some(hosts) = self.host_info {
                is_utf8 &= hosts.resource(&self.resource, self.registry, self.received_ms);
            }
        }
        if let Some(graphs) = &mut self.service_graphs
            && !graphs.span(&facts, self.registry)
        {
            self.numbers.service_graphs_filtered += 1;
        }
        self.numbers.invalid_utf8 += u64::from(!is_utf8);
    }
}
