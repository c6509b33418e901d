//! `span-metrics`: calls, latency and size of spans by service, name, kind, status and whatever attributes are asked for;
//! and `traces_target_info` with the attributes of resources.
//!
//! What must stay true: a span that its filter lets in is counted once, whatever the limits of the registry do to its
//! labels; one whose labels are no UTF-8 is not, and that is counted.

use trackway_overrides::{Generator, SpanMetrics};
use trackway_spans::Attribute;
use xxhash_rust::xxh3::xxh3_64;

use crate::demand::Demand;
use crate::facts::{Facts, ResourceFacts, kind_name, status_name};
use crate::filter::{Filter, PolicyError};
use crate::labels::{self, INTRINSIC, OF_TARGET, sanitize_beside};
use crate::patterns::Patterns;
use crate::registry::{Kind, Metric, Observation, Registry, TableId};
use crate::shape::histogram;
use crate::wanted::{Slot, Wanted, by_share, by_trace_state, put_text};

/// Name of the gauge with the attributes of resources.
const TARGET_INFO: &str = "traces_target_info";

/// Where the value of a label comes from.
#[derive(Clone, Debug)]
enum Source {
    Service,
    SpanName,
    Kind,
    Status,
    StatusMessage,
    Dimension(Slot),
    Mapping(Vec<Slot>, String),
    Job,
    Instance,
}

/// The processor.
#[derive(Debug)]
pub(crate) struct SpanMetricsProcessor {
    table: TableId,
    /// Which metrics of the table are calls, latency and size.
    calls: Option<usize>,
    latency: Option<usize>,
    size: Option<usize>,
    target: Option<Target>,
    /// In the order of their names.
    labels: Vec<(String, Source)>,
    multiplier: Multiplier,
    filter: Filter,
    scratch: Vec<u8>,
    /// Label sets with shortened names, where names are or would be shortened.
    pub(crate) shortened: Demand,
}

#[derive(Debug)]
struct Target {
    table: TableId,
    excluded: Vec<String>,
    with_instance: bool,
}

/// How many spans one stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multiplier {
    key: Option<Slot>,
    trace_state: bool,
}

impl Multiplier {
    pub(crate) fn new(key: &str, trace_state: bool, wanted: &mut Wanted) -> Self {
        Self { key: (!key.is_empty()).then(|| wanted.add(key)), trace_state }
    }

    #[inline]
    pub(crate) fn of(self, facts: &Facts<'_, '_>) -> f64 {
        let by_state = || self.trace_state.then(|| by_trace_state(facts.span.trace_state)).flatten();
        let by_key = || {
            let slot = self.key?;
            by_share(facts.of_span(slot)).or_else(|| by_share(facts.of_resource(slot)))
        };
        by_state().or_else(by_key).unwrap_or(1.0)
    }
}

impl SpanMetricsProcessor {
    /// # Errors
    /// [`PolicyError`] for filters that cannot be used.
    pub(crate) fn new(
        generator: &Generator,
        registry: &mut Registry,
        wanted: &mut Wanted,
    ) -> Result<Self, PolicyError> {
        let (settings, parts) = (&generator.span_metrics, generator.processors);
        let mut shape = Vec::new();
        let mut metric = |on: bool, name: &str, kind: Kind| {
            on.then(|| {
                shape.push(Metric { name: name.to_owned(), kind, is_rare: false });
                shape.len() - 1
            })
        };
        let mode = settings.histograms.unwrap_or(generator.histograms);
        let latency = histogram(&settings.buckets, mode, generator);
        let calls = metric(parts.calls, "traces_spanmetrics_calls_total", Kind::Counter);
        let latency = metric(parts.latency, "traces_spanmetrics_latency", latency);
        let size = metric(parts.size, "traces_spanmetrics_size_total", Kind::Counter);
        let info = || vec![Metric { name: TARGET_INFO.to_owned(), kind: Kind::Gauge, is_rare: false }];
        let target = settings.target_info.then(|| Target {
            table: registry.table(info()),
            excluded: settings.target_info_excluded.clone(),
            with_instance: settings.instance_label,
        });
        Ok(Self {
            table: registry.table(shape),
            calls,
            latency,
            size,
            target,
            labels: sources(settings, wanted),
            multiplier: Multiplier::new(&settings.multiplier_key, settings.tracestate_multiplier, wanted),
            filter: Filter::new(&settings.filter_policies, wanted)?,
            scratch: Vec::new(),
            shortened: Demand::new(),
        })
    }

    /// The tables that it counts in.
    pub(crate) fn tables(&self) -> impl Iterator<Item = TableId> {
        std::iter::once(self.table).chain(self.target.as_ref().map(|target| target.table))
    }

    /// Whether a span counts.
    #[inline]
    pub(crate) fn lets_in(&self, facts: &Facts<'_, '_>) -> bool {
        self.filter.lets_in(facts)
    }

    /// Counts a span. `false`: its labels are no UTF-8.
    #[inline]
    pub(crate) fn span(
        &mut self,
        facts: &Facts<'_, '_>,
        registry: &mut Registry,
        patterns: Option<(&mut Patterns, bool)>,
    ) -> Counted {
        let mut counted = Counted { is_utf8: true, is_shortened: false };
        let name = match patterns {
            None => facts.span.name,
            Some((patterns, is_used)) => {
                let pattern = std::str::from_utf8(facts.span.name).ok().and_then(|name| patterns.learn(name));
                let pattern = pattern.map_or(facts.span.name, str::as_bytes);
                counted.is_shortened = pattern != facts.span.name;
                self.put_labels(facts, pattern);
                self.shortened.insert(xxh3_64(&self.scratch));
                if is_used { pattern } else { facts.span.name }
            }
        };
        self.put_labels(facts, name);
        let Some(place) = registry.entity(self.table, &self.scratch, facts.received_ms) else {
            counted.is_utf8 = false;
            return counted;
        };
        let weight = self.multiplier.of(facts);
        if let Some(calls) = self.calls {
            registry.count(self.table, place, calls, weight);
        }
        if let Some(latency) = self.latency {
            let (value, trace, time_ms) = (facts.seconds(), facts.span.trace, facts.received_ms);
            registry.observe(self.table, place, latency, Observation { value, weight, trace, time_ms });
        }
        if let Some(size) = self.size {
            // Tempo does not multiply sizes.
            registry.count(self.table, place, size, facts.span.size as f64);
        }
        counted
    }

    fn put_labels(&mut self, facts: &Facts<'_, '_>, name: &[u8]) {
        self.scratch.clear();
        for (label, source) in &self.labels {
            labels::put(&mut self.scratch, label.as_bytes(), |out| source.put(facts, name, out));
        }
    }

    /// Notes the attributes of a resource of which a span counted. `false`: they are no UTF-8.
    pub(crate) fn resource(
        &mut self,
        resource: &ResourceFacts<'_>,
        attributes: &[Attribute<'_>],
        registry: &mut Registry,
        now_ms: i64,
    ) -> bool {
        let Some(target) = &self.target else { return true };
        let instance: &[u8] = if target.with_instance { &resource.instance } else { b"" };
        if resource.job.is_empty() && instance.is_empty() {
            return true;
        }
        let mut found: Vec<(String, String)> = Vec::new();
        let mut is_utf8 = true;
        let mut text = Vec::new();
        for (key, value) in attributes {
            let Some(key) = labels::whole(key) else {
                is_utf8 = false;
                continue;
            };
            let is_identity = matches!(key, "service.name" | "service.namespace" | "service.instance.id");
            let begins_badly = key.is_empty() || key.starts_with(|first: char| first.is_ascii_digit());
            if is_identity || begins_badly || target.excluded.iter().any(|excluded| excluded == key) {
                continue;
            }
            text.clear();
            put_text(&mut text, *value);
            match labels::whole(&text) {
                Some("") => {}
                Some(text) => found.push((sanitize_beside(key, &OF_TARGET), text.to_owned())),
                None => is_utf8 = false,
            }
        }
        // Without an attribute besides the identity it says nothing.
        if found.is_empty() || !is_utf8 {
            return is_utf8;
        }
        let (Some(job), Some(instance)) = (labels::whole(&resource.job), labels::whole(instance)) else {
            return false;
        };
        let found = found.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let set = labels::set_of(found.chain([("job", job), ("instance", instance)]));
        if let Some(place) = registry.entity(target.table, &set, now_ms) {
            registry.set(target.table, place, 0, 1.0);
        }
        true
    }
}

/// What became of a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) is_utf8: bool,
    /// Whether its name has a pattern that is shorter.
    pub(crate) is_shortened: bool,
}

impl Source {
    #[inline]
    fn put(&self, facts: &Facts<'_, '_>, name: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Service => out.extend_from_slice(facts.resource.service()),
            Self::SpanName => out.extend_from_slice(name),
            Self::Kind => out.extend_from_slice(kind_name(facts.span.kind).as_bytes()),
            Self::Status => out.extend_from_slice(status_name(facts.span.status).as_bytes()),
            Self::StatusMessage => out.extend_from_slice(facts.span.status_message),
            Self::Dimension(slot) => facts.put(*slot, out),
            Self::Mapping(slots, join) => {
                let begin = out.len();
                for slot in slots {
                    let before = out.len();
                    if before > begin {
                        out.extend_from_slice(join.as_bytes());
                    }
                    let joined = out.len();
                    facts.put(*slot, out);
                    if out.len() == joined {
                        out.truncate(before);
                    }
                }
            }
            Self::Job => out.extend_from_slice(&facts.resource.job),
            Self::Instance => out.extend_from_slice(&facts.resource.instance),
        }
    }
}

/// The labels, sorted; of equal names the one that is configured last counts.
fn sources(settings: &SpanMetrics, wanted: &mut Wanted) -> Vec<(String, Source)> {
    let intrinsic = settings.intrinsic;
    let built_in = [
        (intrinsic.service, "service", Source::Service),
        (intrinsic.span_name, "span_name", Source::SpanName),
        (intrinsic.span_kind, "span_kind", Source::Kind),
        (intrinsic.status_code, "status_code", Source::Status),
        (intrinsic.status_message, "status_message", Source::StatusMessage),
        (settings.target_info, "job", Source::Job),
        (settings.target_info && settings.instance_label, "instance", Source::Instance),
    ];
    let mut labels = std::collections::BTreeMap::new();
    for (is_on, name, source) in built_in {
        if is_on {
            labels.insert(name.to_owned(), source);
        }
    }
    for dimension in &settings.dimensions {
        let source = Source::Dimension(wanted.add(dimension));
        labels.insert(sanitize_beside(dimension, &INTRINSIC), source);
    }
    for mapping in &settings.mappings {
        let slots = mapping.source_labels.iter().map(|key| wanted.add(key)).collect();
        let source = Source::Mapping(slots, mapping.join.clone());
        labels.insert(sanitize_beside(&mapping.name, &INTRINSIC), source);
    }
    labels.into_iter().collect()
}
