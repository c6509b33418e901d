//! Whose bytes come in: counts by the values of attributes (`cost_attribution`), for `/usage_metrics`.
//!
//! What must stay true: the bytes of all series of a tenant add up to what was received of it while it had dimensions; what
//! belongs to no span is shared among the spans of its resource. Series are bounded, by tenant and in all, and what would
//! be more goes into one series of overflow.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use trackway_common::TenantId;

use crate::walk::{self, ResourceSpans};

/// Series of all tenants together; of more, each goes into its tenant's series of overflow.
const SERIES_MAX: usize = 1_000_000;
/// Tenants that are counted.
const TENANTS_MAX: usize = 100_000;
/// Attributes by which a tenant's bytes are told apart; of more, the first by name.
pub const DIMENSIONS_MAX: usize = 32;
/// Bytes of the labels of all series; beyond it all bytes of a tenant count together.
const SERIES_BYTES_MAX: usize = 64 << 20;
/// Bytes of a label's value; longer ones are cut.
const VALUE_BYTES_MAX: usize = 2048;
/// How often series are looked through for those that are stale.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// The metric.
const NAME: &str = "tempo_usage_tracker_bytes_received_total";
const TRACKER: &str = "cost-attribution";
/// The value where a span has no such attribute.
const MISSING: &[u8] = b"__missing__";
/// The value of every label of what is too much.
const OVERFLOW: &[u8] = b"__overflow__";
/// Stands between the parts of a key; no text has it.
const SEPARATOR: u8 = 0xff;

/// Settings of the counts.
#[derive(Clone, Copy, Debug)]
pub struct UsageConfig {
    /// Most series of a tenant that says nothing else.
    pub max_cardinality: u64,
    /// When a series that does not grow is forgotten.
    pub stale: Duration,
}

/// The label that an attribute becomes: what is configured for it, else its own name, as Prometheus takes it.
pub fn label_of(attribute: &str, configured: &str) -> String {
    let name = if configured.is_empty() { scope_of(attribute).1 } else { configured };
    if name.is_empty() {
        return "_".to_owned();
    }
    let valid = |(at, c): (usize, char)| {
        if c.is_ascii_alphabetic() || c == '_' || (c.is_ascii_digit() && at > 0) { c } else { '_' }
    };
    name.char_indices().map(valid).collect()
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Resource,
    Span,
}

fn scope_of(attribute: &str) -> (Scope, &str) {
    if let Some(name) = attribute.strip_prefix("resource.") {
        (Scope::Resource, name)
    } else if let Some(name) = attribute.strip_prefix("span.") {
        (Scope::Span, name)
    } else {
        (Scope::All, attribute)
    }
}

/// An attribute, and which of the labels it becomes.
#[derive(Debug)]
struct Mapping {
    attribute: String,
    scope: Scope,
    label: usize,
}

/// What a tenant's dimensions come to.
#[derive(Debug)]
struct Dimensions {
    configured: Arc<BTreeMap<String, String>>,
    /// Sorted.
    labels: Arc<[String]>,
    mappings: Vec<Mapping>,
}

impl Dimensions {
    fn new(configured: &Arc<BTreeMap<String, String>>) -> Self {
        let label = |from: &String, to: &String| match label_of(from, to) {
            // These say whose series it is.
            name if name == "tenant" || name == "tracker" => format!("exported_{name}"),
            name => name,
        };
        let counted = || configured.iter().take(DIMENSIONS_MAX);
        let mut labels: Vec<String> = counted().map(|(from, to)| label(from, to)).collect();
        labels.sort();
        labels.dedup();
        let mappings = counted().filter_map(|(from, to)| {
            let (scope, attribute) = scope_of(from);
            let label = labels.binary_search(&label(from, to)).ok()?;
            Some(Mapping { attribute: attribute.to_owned(), scope, label })
        });
        let mappings = mappings.collect();
        Self { configured: Arc::clone(configured), labels: labels.into(), mappings }
    }

    /// Puts the values that attributes have into their places.
    fn fill<'r>(
        &self,
        values: &mut [&'r [u8]],
        not: Scope,
        attributes: impl Fn() -> Box<dyn Iterator<Item = (&'r [u8], &'r [u8])> + 'r>,
    ) {
        for mapping in self.mappings.iter().filter(|mapping| mapping.scope != not) {
            let named = attributes().filter(|(key, _)| *key == mapping.attribute.as_bytes());
            let value = named.filter_map(|(_, value)| walk::text(value)).find(|text| !text.is_empty());
            if let (Some(value), Some(place)) = (value, values.get_mut(mapping.label)) {
                *place = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
            }
        }
    }

    fn looks_at_spans(&self) -> bool {
        self.mappings.iter().any(|mapping| mapping.scope != Scope::Resource)
    }

    fn key(&self, values: &[&[u8]], key: &mut Vec<u8>) {
        key.clear();
        for (label, value) in self.labels.iter().zip(values) {
            key.extend_from_slice(label.as_bytes());
            key.push(SEPARATOR);
            key.extend_from_slice(value);
            key.push(SEPARATOR);
        }
    }
}

#[derive(Debug)]
struct Series {
    labels: Arc<[String]>,
    values: Vec<String>,
    bytes: u64,
    grew: Duration,
}

#[derive(Debug, Default)]
struct Tenant {
    dimensions: Option<Dimensions>,
    series: HashMap<Box<[u8]>, Series>,
}

/// The counts of all tenants.
#[derive(Debug)]
pub struct Usage {
    config: UsageConfig,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    tenants: HashMap<TenantId, Tenant>,
    series: usize,
    /// Of the keys of all series; their labels take about as much again.
    bytes: usize,
    purged: Duration,
}

/// A request that is being counted.
struct Counting<'c> {
    tenant: &'c mut Tenant,
    series_in_all: &'c mut usize,
    bytes_in_all: &'c mut usize,
    most: u64,
    now: Duration,
    key: Vec<u8>,
}

impl Usage {
    /// Nothing counted yet.
    pub fn new(config: UsageConfig) -> Self {
        Self { config, counts: Mutex::default() }
    }

    /// Counts a request that was received. `now` is of the monotonic clock.
    pub(crate) fn observe(
        &self,
        tenant: &TenantId,
        (dimensions, max_cardinality): (&Arc<BTreeMap<String, String>>, u64),
        request: &[u8],
        now: Duration,
    ) {
        if dimensions.is_empty() {
            return;
        }
        let most = if max_cardinality == 0 { self.config.max_cardinality } else { max_cardinality };
        let mut counts = self.counts.lock();
        if now.saturating_sub(counts.purged) >= PURGE_EVERY {
            counts.purge(now, self.config.stale);
        }
        if !counts.tenants.contains_key(tenant) {
            if counts.tenants.len() >= TENANTS_MAX {
                return;
            }
            counts.tenants.insert(tenant.clone(), Tenant::default());
        }
        let Counts { tenants, series, bytes, .. } = &mut *counts;
        let Some(tenant) = tenants.get_mut(tenant) else { return };
        let is_same = |known: &Dimensions| {
            Arc::ptr_eq(&known.configured, dimensions) || known.configured == *dimensions
        };
        let dimensions = match tenant.dimensions.take().filter(is_same) {
            Some(known) => known,
            None => Dimensions::new(dimensions),
        };
        let mut counting =
            Counting { tenant, series_in_all: series, bytes_in_all: bytes, most, now, key: Vec::new() };
        counting.request(&dimensions, request);
        counting.tenant.dimensions = Some(dimensions);
    }

    /// Appends the counts in Prometheus's text format.
    pub fn write(&self, out: &mut String, now: Duration) {
        let mut counts = self.counts.lock();
        counts.purge(now, self.config.stale);
        // Writing to a string cannot fail.
        let _ =
            writeln!(out, "# HELP {NAME} bytes total received with these attributes\n# TYPE {NAME} counter");
        let mut tenants: Vec<_> = counts.tenants.iter().collect();
        tenants.sort_by_key(|(tenant, _)| *tenant);
        for (tenant, counted) in tenants {
            let mut series: Vec<_> = counted.series.iter().collect();
            series.sort_by_key(|(key, _)| *key);
            for (_, series) in series {
                let own = [("tenant", tenant.as_str()), ("tracker", TRACKER)];
                let named = series.labels.iter().zip(&series.values);
                let mut labels: Vec<(&str, &str)> = named.map(|(name, value)| (&**name, &**value)).collect();
                labels.extend(own);
                labels.sort_unstable();
                out.push_str(NAME);
                for (place, (name, value)) in labels.into_iter().enumerate() {
                    let _ =
                        write!(out, "{}{name}=\"{}\"", if place == 0 { "{" } else { "," }, escaped(value));
                }
                let _ = writeln!(out, "}} {}", series.bytes);
            }
        }
    }
}

/// A label's value as it stands between quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Counts {
    fn purge(&mut self, now: Duration, stale: Duration) {
        self.purged = now;
        self.tenants.retain(|_, tenant| {
            tenant.series.retain(|_, series| now.saturating_sub(series.grew) < stale);
            !tenant.series.is_empty()
        });
        let series = || self.tenants.values().flat_map(|tenant| tenant.series.keys());
        (self.series, self.bytes) = (series().count(), series().map(|key| key.len()).sum());
    }
}

impl Counting<'_> {
    fn request(&mut self, dimensions: &Dimensions, request: &[u8]) {
        // Bytes that belong to no span yet: the framing, and resources without spans.
        let resources: usize = walk::resources(request).map(ResourceSpans::size).sum();
        let mut rest = (request.len() as u64).saturating_sub(resources as u64);
        let mut values = vec![MISSING; dimensions.labels.len()];
        for resource in walk::resources(request) {
            values.fill(MISSING);
            dimensions.fill(&mut values, Scope::Span, || Box::new(resource.attributes()));
            rest = self.resource(dimensions, resource, &values, rest);
        }
        if rest > 0 {
            self.add(dimensions, &values, rest);
        }
    }

    /// Counts a resource's spans, and `rest` with the first of them. What is left when there is none.
    fn resource<'r>(
        &mut self,
        dimensions: &Dimensions,
        resource: ResourceSpans<'r>,
        of_resource: &[&'r [u8]],
        rest: u64,
    ) -> u64 {
        let (spans, bytes) = resource
            .spans()
            .fold((0_u64, 0_u64), |(spans, bytes), span| (spans + 1, bytes + span.len() as u64));
        let shared = (resource.size() as u64).saturating_sub(bytes);
        let Some(share) = shared.checked_div(spans) else { return rest + shared };
        let first = rest + shared - share * spans;
        if !dimensions.looks_at_spans() {
            self.add(dimensions, of_resource, bytes + shared + rest);
            return 0;
        }
        let (mut values, mut run) = (of_resource.to_vec(), 0);
        let mut of_run = values.clone();
        for (place, span) in resource.spans().enumerate() {
            values.copy_from_slice(of_resource);
            dimensions.fill(&mut values, Scope::Resource, || Box::new(walk::attributes(span, 9)));
            // Runs of spans with the same values are looked up once.
            if place == 0 {
                run = first;
            } else if values != of_run {
                self.add(dimensions, &of_run, run);
                run = 0;
            }
            of_run.copy_from_slice(&values);
            run += span.len() as u64 + share;
        }
        self.add(dimensions, &of_run, run);
        0
    }

    fn add(&mut self, dimensions: &Dimensions, values: &[&[u8]], bytes: u64) {
        let mut key = std::mem::take(&mut self.key);
        dimensions.key(values, &mut key);
        let full = self.tenant.series.len() as u64 >= self.most
            || *self.series_in_all >= SERIES_MAX
            || *self.bytes_in_all + key.len() > SERIES_BYTES_MAX / 2;
        let overflow = vec![OVERFLOW; values.len()];
        let values = if full && !self.tenant.series.contains_key(&*key) {
            dimensions.key(&overflow, &mut key);
            &overflow
        } else {
            values
        };
        match self.tenant.series.get_mut(&*key) {
            Some(series) => {
                series.bytes += bytes;
                series.grew = self.now;
            }
            None => {
                *self.series_in_all += 1;
                *self.bytes_in_all += key.len();
                let values = values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
                let labels = Arc::clone(&dimensions.labels);
                let series = Series { labels, values, bytes, grew: self.now };
                self.tenant.series.insert(key.as_slice().into(), series);
            }
        }
        self.key = key;
    }
}

#[cfg(test)]
mod tests {
    use trackway_spans::wire::{put_bytes, put_message};

    use super::*;

    fn attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
        put_message(out, number, |out| {
            put_bytes(out, 1, key.as_bytes());
            put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
        });
    }

    type Named<'n> = &'n [(&'n str, &'n str)];

    fn request(resources: &[(Named<'_>, &[Named<'_>])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (resource, spans) in resources {
            put_message(&mut out, 1, |out| {
                put_message(out, 1, |out| {
                    resource.iter().for_each(|(key, value)| attribute(out, 1, key, value))
                });
                put_message(out, 2, |out| {
                    for span in *spans {
                        put_message(out, 2, |out| {
                            span.iter().for_each(|(key, value)| attribute(out, 9, key, value))
                        });
                    }
                });
            });
        }
        out
    }

    fn dimensions(all: Named<'_>) -> Arc<BTreeMap<String, String>> {
        Arc::new(all.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect())
    }

    fn counted(usage: &Usage, at: u64) -> BTreeMap<String, u64> {
        let mut out = String::new();
        usage.write(&mut out, Duration::from_secs(at));
        let lines = out.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| line.strip_prefix(NAME).unwrap().rsplit_once(' ').unwrap());
        pairs.map(|(labels, bytes)| (labels.to_owned(), bytes.parse().unwrap())).collect()
    }

    fn usage_of(most: u64) -> Usage {
        Usage::new(UsageConfig { max_cardinality: most, stale: Duration::from_secs(900) })
    }

    #[test]
    fn labels_are_as_prometheus_takes_them() {
        for (attribute, configured, label) in [
            ("service.name", "", "service_name"),
            ("service.name", "foo.bar", "foo_bar"),
            ("resource.service.name", "", "service_name"),
            ("span.attr", "", "attr"),
            ("1a", "", "_a"),
            ("a", "ü1", "_1"),
            ("span.", "", "_"),
        ] {
            assert_eq!(label_of(attribute, configured), label, "{attribute} {configured}");
        }
    }

    #[test]
    fn bytes_add_up_and_spans_go_before_resources() {
        let tenant = TenantId::new("t").unwrap();
        let body = request(&[
            (&[("team", "a"), ("other", "x")], &[&[], &[("team", "b")], &[("team", "")], &[("team", "b")]]),
            (&[], &[&[], &[("team", "c")]]),
            (&[("team", "without spans")], &[]),
        ]);
        let usage = usage_of(10);
        let of = dimensions(&[("team", "")]);
        usage.observe(&tenant, (&of, 0), &body, Duration::ZERO);
        let counts = counted(&usage, 0);
        assert_eq!(counts.values().sum::<u64>(), body.len() as u64);
        let of = |team: &str| {
            counts.get(&format!("{{team=\"{team}\",tenant=\"t\",tracker=\"cost-attribution\"}}"))
        };
        assert!(of("a").is_some() && of("c").is_some() && of("__missing__").is_some());
        assert!(of("b") > of("c"), "{counts:?}");
        // Scopes, and two labels of which one is not there.
        for (from, teams) in [
            ("resource.team", vec!["__missing__", "a", "without spans"]),
            ("span.team", vec!["__missing__", "b", "c"]),
        ] {
            let usage = usage_of(10);
            usage.observe(
                &tenant,
                (&dimensions(&[(from, "team"), ("none", "tenant")]), 0),
                &body,
                Duration::ZERO,
            );
            let counts = counted(&usage, 0);
            assert_eq!(counts.values().sum::<u64>(), body.len() as u64, "{from}");
            let want: Vec<String> = teams
                .iter()
                .map(|team| {
                    format!("{{exported_tenant=\"__missing__\",team=\"{team}\",tenant=\"t\",tracker=\"cost-attribution\"}}")
                })
                .collect();
            assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), want, "{from}");
        }
    }

    #[test]
    fn series_are_bounded_and_forgotten() {
        let tenant = TenantId::new("t").unwrap();
        let (usage, of) = (usage_of(2), dimensions(&[("id", "")]));
        let mut sent = 0;
        for id in 0..5 {
            let body = request(&[(&[("id", &id.to_string())], &[&[]])]);
            sent += body.len() as u64;
            usage.observe(&tenant, (&of, 0), &body, Duration::ZERO);
        }
        let counts = counted(&usage, 0);
        let overflow = "{id=\"__overflow__\",tenant=\"t\",tracker=\"cost-attribution\"}";
        assert_eq!((counts.len(), counts.values().sum::<u64>()), (3, sent));
        assert_eq!(counts[overflow], sent / 5 * 3);
        let body = request(&[(&[("id", "0")], &[&[]])]);
        usage.observe(&tenant, (&of, 9), &body, Duration::from_secs(800));
        assert_eq!(counted(&usage, 899).len(), 3);
        assert_eq!(counted(&usage, 901).len(), 1);
        assert_eq!(counted(&usage, 1701).len(), 0);
        assert!(usage.counts.lock().tenants.is_empty());
    }
}
