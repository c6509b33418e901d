//! From an entity to Prometheus's series: one label set and its numbers become `_bucket`, `_sum`, `_count` and all the
//! others.
//!
//! What must stay true: the labels of every series are sorted and have no name twice; a label of the series goes before
//! an external one; `le` is written as Go writes it, so that it equals Tempo's.

use std::collections::BTreeMap;

use trackway_common::{TenantId, TraceId};

use crate::config::RegistryConfig;
use crate::labels::{self, NAME};
use crate::registry::{Kind, Metric, Shape};

const LE: &str = "le";
/// The bound of the last bucket.
const INFINITE: &str = "+Inf";

/// Labels that all series of a tenant have.
pub(crate) fn external_labels(registry: &RegistryConfig, tenant: &TenantId) -> BTreeMap<String, String> {
    let mut external = registry.external_labels.clone();
    if !registry.inject_tenant_id_as.is_empty() {
        external.insert(registry.inject_tenant_id_as.clone(), tenant.as_str().to_owned());
    }
    external
}

/// The names of the series that a table's metrics have, made once for all entities.
#[derive(Debug)]
pub(crate) struct Names(Vec<OfMetric>);

#[derive(Debug)]
struct OfMetric {
    name: String,
    bucket: String,
    sum: String,
    count: String,
    bounds: Vec<String>,
}

impl Names {
    pub(crate) fn new(shape: &Shape) -> Self {
        let of = |metric: &Metric| {
            let bounds = match &metric.kind {
                Kind::Histogram(form) => form.bounds.iter().flat_map(|bounds| bounds.iter()).collect(),
                _ => Vec::new(),
            };
            let bounds =
                bounds.into_iter().map(|bound| bound.to_string()).chain([INFINITE.to_owned()]).collect();
            let suffixed = |suffix| format!("{}_{suffix}", metric.name);
            OfMetric {
                name: metric.name.clone(),
                bucket: suffixed("bucket"),
                sum: suffixed("sum"),
                count: suffixed("count"),
                bounds,
            }
        };
        Self(shape.iter().map(of).collect())
    }
}

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A counter or gauge.
    Whole,
    /// A bucket of a classic histogram, by its number.
    Bucket(usize),
    /// The sum of a classic histogram.
    Sum,
    /// The count of a classic histogram.
    Count,
    /// A native histogram, by its number in the entity.
    Native(usize),
}

/// A series of an entity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneSeries<'s> {
    /// Which metric of the table.
    pub(crate) metric: usize,
    pub(crate) part: Part,
    /// Sorted.
    pub(crate) labels: &'s [(&'s str, &'s str)],
    /// Its value, but of native histograms.
    pub(crate) value: f64,
}

/// Calls `each` for all series of an entity: of the metrics that it has, in order.
pub(crate) fn series<'a>(
    shape: &'a Shape,
    names: &'a Names,
    (set, external): (&'a [u8], &'a BTreeMap<String, String>),
    (present, values): (u8, &[f64]),
    mut each: impl FnMut(OneSeries<'_>),
) {
    let mut plain: Vec<(&str, &str)> = vec![(NAME, "")];
    plain.extend(labels::texts(set));
    for (name, value) in external {
        if !plain.iter().any(|(known, _)| known == name) {
            plain.push((name, value));
        }
    }
    plain.sort_unstable_by_key(|(name, _)| *name);
    let mut with_le = plain.clone();
    let place = with_le.partition_point(|(name, _)| *name < LE);
    // Where there is such a label already, the bound takes its place.
    match with_le.get_mut(place) {
        Some(known) if known.0 == LE => {}
        _ => with_le.insert(place, (LE, "")),
    }
    let name_at = |labels: &[(&str, &str)]| labels.iter().position(|(name, _)| *name == NAME).unwrap_or(0);
    let (plain_name, le_name) = (name_at(&plain), name_at(&with_le));

    let (mut at, mut native) = (0, 0);
    for (metric, (of, names)) in shape.iter().zip(&names.0).enumerate() {
        let numbers = values.get(at..at + of.width()).unwrap_or_default();
        at += of.width();
        let is_native = of.native().is_some();
        native += usize::from(is_native);
        if present & 1 << metric == 0 {
            continue;
        }
        let mut emit = |name: &'a str, part, value| {
            plain[plain_name].1 = name;
            each(OneSeries { metric, part, labels: &plain, value });
        };
        match &of.kind {
            Kind::Counter | Kind::Gauge => {
                emit(&names.name, Part::Whole, numbers.first().copied().unwrap_or(0.0));
            }
            Kind::Histogram(form) => {
                if is_native {
                    emit(&names.name, Part::Native(native - 1), 0.0);
                }
                if form.bounds.is_some()
                    && let Some((sum, buckets)) = numbers.split_last()
                {
                    let mut count = 0.0;
                    emit(&names.sum, Part::Sum, *sum);
                    emit(&names.count, Part::Count, buckets.iter().sum());
                    with_le[le_name].1 = &names.bucket;
                    for (bucket, (bound, number)) in names.bounds.iter().zip(buckets).enumerate() {
                        count += number;
                        with_le[place].1 = bound;
                        each(OneSeries {
                            metric,
                            part: Part::Bucket(bucket),
                            labels: &with_le,
                            value: count,
                        });
                    }
                }
            }
        }
    }
}

/// A trace id as exemplars have it.
pub(crate) fn trace_hex(trace: TraceId) -> String {
    format!("{:032x}", trace.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Form;

    #[test]
    fn an_entity_becomes_all_its_series() {
        let histogram = Kind::Histogram(Form { bounds: Some([0.002, 16.384].into()), native: None });
        let shape = vec![
            Metric { name: "calls_total".to_owned(), kind: Kind::Counter, is_rare: false },
            Metric { name: "failed".to_owned(), kind: Kind::Counter, is_rare: true },
            Metric { name: "latency".to_owned(), kind: histogram, is_rare: false },
        ];
        let set = labels::set_of([("service", "a"), ("zone", "own")]);
        let external = [("zone", "external"), ("__metrics_gen_instance", "host"), ("kind", "k")];
        let external = external.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut found = Vec::new();
        let values = [7.0, 0.0, 1.0, 2.0, 3.0, 12.5];
        series(&shape, &Names::new(&shape), (&set, &external), (0b101, &values), |one| {
            let labels: Vec<String> =
                one.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            found.push(format!("{} {}", labels.join(","), one.value));
        });
        let rest = "kind=k,service=a,zone=own";
        let with = |le: &str| format!("kind=k,le={le},service=a,zone=own");
        let line = |name: &str, rest: &str, value: &str| {
            format!("__metrics_gen_instance=host,__name__={name},{rest} {value}")
        };
        assert_eq!(
            found,
            [
                line("calls_total", rest, "7"),
                line("latency_sum", rest, "12.5"),
                line("latency_count", rest, "6"),
                line("latency_bucket", &with("0.002"), "1"),
                line("latency_bucket", &with("16.384"), "3"),
                line("latency_bucket", &with("+Inf"), "6"),
            ]
        );
    }
}
