//! From a record of the log of samples to requests for a receiver.
//!
//! What must stay true: samples of one series go in the same shard, in order of time; a series that begins does so with a
//! zero, so that its first count is an increase, and one that ends says so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use trackway_remote_write::{
    Counts, Encoder, Endpoint, Exemplar, MetricKind, NativeHistogram, Protocol, Relabel, Request, ResetHint,
    Sample, Series,
};

use crate::expand::{Names, OneSeries, Part, series, trace_hex};
use crate::native::ZERO_THRESHOLD;
use crate::record::{EntityRecord, NativeRecord, TableRecord, decode};
use crate::registry::{self, Kind};

/// What Prometheus takes for the end of a series.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
/// How much older than the minute a series' first zero may be, as in Tempo.
const MINUTE_MS: i64 = 60_000;

/// Labels of the entities of a segment, as records told them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    labels: HashMap<u32, Arc<[u8]>>,
}

impl Known {
    /// A segment begins.
    pub(crate) fn clear(&mut self) {
        self.labels.clear();
    }

    fn learn(&mut self, table: &TableRecord<'_>) {
        for entity in &table.entities {
            if let Some(labels) = entity.labels {
                self.labels.insert(entity.id, labels.into());
            }
        }
        for gone in table.gone.iter().filter(|gone| !gone.labels.is_empty()) {
            self.labels.insert(gone.id, (*gone.labels).into());
        }
    }

    /// Takes in what a record tells that is not to be sent.
    pub(crate) fn pass(&mut self, payload: &[u8]) {
        for table in decode(payload).iter().flat_map(|record| &record.tables) {
            self.learn(table);
            self.forget(table.gone.iter().map(|gone| gone.id));
        }
    }

    /// These are gone, and everybody knows.
    pub(crate) fn forget(&mut self, gone: impl IntoIterator<Item = u32>) {
        for id in gone {
            self.labels.remove(&id);
        }
    }
}

/// How samples are to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style<'s> {
    pub(crate) endpoint: &'s Endpoint,
    pub(crate) relabel: &'s Relabel,
    pub(crate) protocol: Protocol,
    pub(crate) external: &'s BTreeMap<String, String>,
    /// Label of exemplars.
    pub(crate) trace_label: &'s str,
}

/// What a record becomes.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By shard; those of one shard go one after the other.
    pub(crate) shards: Vec<Vec<Request>>,
    /// Entities that are gone, to be [forgotten](Known::forget) when all is sent.
    pub(crate) gone: Vec<u32>,
    /// When the samples were taken, Unix milliseconds.
    pub(crate) time_ms: i64,
}

/// The requests of a record; none when it is not for receivers. `None` when it cannot be read.
pub(crate) fn requests(
    payload: &[u8],
    samples: u64,
    known: &mut Known,
    style: Style<'_>,
) -> Option<Requests> {
    let record = decode(payload)?;
    let queue = &style.endpoint.queue;
    let wanted = usize::try_from(samples).unwrap_or(usize::MAX).div_ceil(queue.max_samples_per_send.max(1));
    let shards = wanted.min(queue.max_shards).max(queue.min_shards).max(1);
    let mut batch = Batch {
        style,
        moment: (record.moment.time_ms, first_zero(record.moment.before_ms, record.moment.time_ms)),
        shards: (0..shards).map(|_| (Encoder::new(style.protocol), Vec::new())).collect(),
    };
    record.tables.iter().for_each(|table| known.learn(table));
    if record.moment.is_sent {
        for table in &record.tables {
            batch.table(table, known);
            batch.end(table, &record.tables, known);
        }
    }
    let gone = record.tables.iter().flat_map(|table| table.gone.iter().map(|gone| gone.id)).collect();
    Some(Requests { shards: batch.finish(), gone, time_ms: record.moment.time_ms })
}

/// When a new series is zero: as Tempo has it, a second before the minute, but after whatever was sent of a series with
/// these labels before.
fn first_zero(before_ms: i64, time_ms: i64) -> i64 {
    let of_tempo = time_ms - time_ms.rem_euclid(MINUTE_MS) - 1000;
    of_tempo.max(before_ms.saturating_add(1)).min(time_ms - 1)
}

struct Batch<'s> {
    style: Style<'s>,
    /// Of the samples, and of the zeros of new series.
    moment: (i64, i64),
    shards: Vec<(Encoder, Vec<Request>)>,
}

/// An entity of which nothing was counted.
struct Zeros {
    names: Names,
    values: Vec<f64>,
}

impl Zeros {
    fn of(shape: &registry::Shape) -> Self {
        Self { names: Names::new(shape), values: vec![0.0; shape.iter().map(registry::Metric::width).sum()] }
    }
}

impl Batch<'_> {
    fn table(&mut self, table: &TableRecord<'_>, known: &Known) {
        let names = Names::new(&table.shape);
        let width: usize = table.shape.iter().map(registry::Metric::width).sum();
        let natives = table.shape.iter().filter(|metric| metric.native().is_some()).count();
        for (place, entity) in table.entities.iter().enumerate() {
            let Some(labels) = known.labels.get(&entity.id) else { continue };
            let values = table.values.get(place * width..(place + 1) * width).unwrap_or_default();
            let natives = table.natives.get(place * natives..(place + 1) * natives).unwrap_or_default();
            let of = (labels.as_ref(), self.style.external);
            series(&table.shape, &names, of, (entity.present, values), |one| {
                self.one(table, entity, natives, one);
            });
        }
    }

    /// Says that the series of entities that are gone have ended, but for those that another entity goes on with: a series
    /// has one sample at a time.
    fn end(&mut self, table: &TableRecord<'_>, all: &[TableRecord<'_>], known: &Known) {
        if table.gone.is_empty() {
            return;
        }
        let external = self.style.external;
        let is_like = |other: &&TableRecord<'_>| {
            other.shape.iter().any(|metric| table.shape.iter().any(|own| own.name == metric.name))
        };
        let like: Vec<_> = all.iter().filter(is_like).map(|other| (other, Zeros::of(&other.shape))).collect();
        let mut living: HashMap<&[u8], Vec<(usize, u8)>> = HashMap::new();
        for (at, (other, _)) in like.iter().enumerate() {
            for entity in &other.entities {
                if let Some(labels) = known.labels.get(&entity.id) {
                    living.entry(labels).or_default().push((at, entity.present));
                }
            }
        }
        let owned = |one: &OneSeries<'_>| -> Vec<(String, String)> {
            one.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let ended = Zeros::of(&table.shape);
        for gone in &table.gone {
            let Some(labels) = known.labels.get(&gone.id) else { continue };
            let mut alive = HashSet::new();
            for (at, present) in living.get(&**labels).into_iter().flatten() {
                let (other, zeros) = &like[*at];
                let of = (labels.as_ref(), external);
                series(&other.shape, &zeros.names, of, (*present, &zeros.values), |one| {
                    alive.insert(owned(&one));
                });
            }
            let of = (labels.as_ref(), external);
            series(&table.shape, &ended.names, of, (gone.present, &ended.values), |one| {
                if alive.is_empty() || !alive.contains(&owned(&one)) {
                    let end = [Sample { timestamp_ms: self.moment.0, value: STALE }];
                    self.add(gone.id, one, (&end, &[], &[]), kind_of(&table.shape[one.metric].kind));
                }
            });
        }
    }

    fn one(
        &mut self,
        table: &TableRecord<'_>,
        entity: &EntityRecord<'_>,
        natives: &[NativeRecord],
        one: OneSeries<'_>,
    ) {
        let (now, zero) = self.moment;
        let kind = kind_of(&table.shape[one.metric].kind);
        let is_new = entity.fresh & 1 << one.metric != 0 && kind != MetricKind::Gauge;
        let of_entity = table.exemplars.get(entity.exemplars.clone()).unwrap_or_default();
        let is_ours = |exemplar: &&registry::Exemplar| {
            usize::from(exemplar.metric) == one.metric
                && match one.part {
                    Part::Bucket(bucket) => usize::from(exemplar.bucket) == bucket,
                    Part::Native(_) => true,
                    _ => false,
                }
        };
        let mut exemplars: Vec<&registry::Exemplar> = if self.style.endpoint.send_exemplars {
            of_entity.iter().filter(is_ours).collect()
        } else {
            Vec::new()
        };
        // Receivers take those of a series in the order of their times.
        exemplars.sort_by_key(|exemplar| exemplar.time_ms);
        if let Part::Native(native) = one.part {
            let Some(native) = natives.get(native).filter(|_| self.style.endpoint.send_native_histograms)
            else {
                return;
            };
            let last = native_histogram(native, now);
            let first = NativeHistogram {
                timestamp_ms: zero,
                sum: 0.0,
                counts: Counts::Integers { count: 0, zero: 0, deltas: Vec::new() },
                positive_spans: Vec::new(),
                ..last.clone()
            };
            let both = [first, last];
            let histograms = if is_new { &both[..] } else { &both[1..] };
            self.with_exemplars(entity.id, one, (&[], histograms), kind, &exemplars);
            return;
        }
        let both =
            [Sample { timestamp_ms: zero, value: 0.0 }, Sample { timestamp_ms: now, value: one.value }];
        let samples = if is_new { &both[..] } else { &both[1..] };
        self.with_exemplars(entity.id, one, (samples, &[]), kind, &exemplars);
    }

    fn with_exemplars(
        &mut self,
        id: u32,
        one: OneSeries<'_>,
        (samples, histograms): (&[Sample], &[NativeHistogram]),
        kind: MetricKind,
        seen: &[&registry::Exemplar],
    ) {
        let ids: Vec<String> = seen.iter().map(|exemplar| trace_hex(exemplar.trace)).collect();
        let labels: Vec<[(&str, &str); 1]> =
            ids.iter().map(|id| [(self.style.trace_label, id.as_str())]).collect();
        let exemplars: Vec<Exemplar<'_>> = seen
            .iter()
            .zip(&labels)
            .map(|(exemplar, labels)| Exemplar {
                labels,
                value: exemplar.value,
                timestamp_ms: exemplar.time_ms,
            })
            .collect();
        self.add(id, one, (samples, histograms, &exemplars), kind);
    }

    fn add(
        &mut self,
        id: u32,
        one: OneSeries<'_>,
        (samples, histograms, exemplars): (&[Sample], &[NativeHistogram], &[Exemplar<'_>]),
        kind: MetricKind,
    ) {
        let shards = self.shards.len();
        let Some((encoder, requests)) = self.shards.get_mut(id as usize % shards) else { return };
        let most = self.style.endpoint.queue.max_samples_per_send;
        if encoder.samples() + encoder.histograms() >= most {
            requests.push(encoder.finish());
        }
        let mut add = |labels: &[(&str, &str)]| {
            let series = Series { labels, kind, samples, exemplars, histograms };
            if encoder.add(&series).is_err() {
                requests.push(encoder.finish());
                // Alone it fits: labels are short, and there are two samples at the most.
                let _ = encoder.add(&series);
            }
        };
        if self.style.relabel.is_empty() {
            return add(one.labels);
        }
        let mut labels = one.labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if self.style.relabel.apply(&mut labels) {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            add(&labels);
        }
    }

    fn finish(self) -> Vec<Vec<Request>> {
        let finish = |(mut encoder, mut requests): (Encoder, Vec<Request>)| {
            if !encoder.is_empty() {
                requests.push(encoder.finish());
            }
            requests
        };
        self.shards.into_iter().map(finish).filter(|requests| !requests.is_empty()).collect()
    }
}

fn kind_of(kind: &Kind) -> MetricKind {
    match kind {
        Kind::Counter => MetricKind::Counter,
        Kind::Gauge => MetricKind::Gauge,
        Kind::Histogram(_) => MetricKind::Histogram,
    }
}

/// As remote write has it: whole numbers where all counts are whole.
fn native_histogram(native: &NativeRecord, time_ms: i64) -> NativeHistogram {
    NativeHistogram {
        timestamp_ms: time_ms,
        sum: native.sum,
        schema: native.schema,
        zero_threshold: ZERO_THRESHOLD,
        counts: whole(native).unwrap_or_else(|| Counts::Floats {
            count: native.count,
            zero: native.zero_count,
            counts: native.counts.clone(),
        }),
        positive_spans: native.spans.clone(),
        reset_hint: ResetHint::Unknown,
    }
}

fn whole(native: &NativeRecord) -> Option<Counts> {
    let number = |count: f64| {
        // Below 2^53 and without a fraction: nothing is lost.
        (count.fract() == 0.0 && (0.0..9e15).contains(&count)).then_some(count as i64)
    };
    let mut before = 0;
    let deltas = native.counts.iter().map(|count| {
        let count = number(*count)?;
        Some(count - std::mem::replace(&mut before, count))
    });
    let deltas = deltas.collect::<Option<Vec<i64>>>()?;
    let (count, zero) = (number(native.count)?, number(native.zero_count)?);
    Some(Counts::Integers { count: count.cast_unsigned(), zero: zero.cast_unsigned(), deltas })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_series_is_zero_before_its_first_sample_and_after_all_others() {
        let minute = 1_700_000_040_000;
        for (before, now, expected) in [
            (0, minute + 10_000, minute - 1000),
            (minute - 5000, minute + 10_000, minute - 1000),
            (minute + 5000, minute + 20_000, minute + 5001),
            (minute, minute + 2, minute + 1),
        ] {
            assert_eq!(first_zero(before, now), expected);
        }
    }

    #[test]
    fn counts_are_whole_where_they_can_be() {
        let mut native = NativeRecord {
            since_ms: 0,
            schema: 3,
            count: 6.0,
            zero_count: 1.0,
            sum: 2.5,
            spans: vec![(-3, 2), (4, 1)],
            counts: vec![2.0, 1.0, 2.0],
        };
        let whole = Counts::Integers { count: 6, zero: 1, deltas: vec![2, -1, 1] };
        assert_eq!(native_histogram(&native, 1).counts, whole);
        native.counts[1] = 1.5;
        assert!(matches!(native_histogram(&native, 1).counts, Counts::Floats { .. }));
    }

    /// Samples that receivers get of a registry, the newest segment being all that they have read.
    fn samples(registry: &registry::Registry, segment: u64) -> usize {
        let mut payload = Vec::new();
        let moment =
            crate::record::Moment { time_ms: 60_000, before_ms: 45_000, is_sent: true, ..Default::default() };
        crate::record::encode(&mut payload, moment, registry, None, segment);
        let (endpoint, relabel) = (Endpoint::default(), Relabel::open(&[]).unwrap());
        let style = Style {
            endpoint: &endpoint,
            relabel: &relabel,
            protocol: Protocol::V1,
            external: &BTreeMap::new(),
            trace_label: "traceID",
        };
        let sent = requests(&payload, 1, &mut Known::default(), style).unwrap();
        sent.shards.iter().flatten().map(|request| request.samples).sum()
    }

    #[test]
    fn series_end_once_and_not_those_that_go_on() {
        use crate::registry::{Bounds, Form, Metric, Registry};
        let shape = |bounds: &[f64]| {
            let histogram = Kind::Histogram(Form { bounds: Some(bounds.into()), native: None });
            let metric = |name: &str, kind| Metric { name: name.to_owned(), kind, is_rare: false };
            vec![metric("calls_total", Kind::Counter), metric("latency", histogram)]
        };
        let budget = Arc::new(crate::budget::Budget::new(1 << 20, trackway_common::MemoryPool::unlimited()));
        let mut registry = Registry::new(Bounds { stale_ms: 1000, ..Bounds::default() }, budget);
        let count = |registry: &mut Registry, table, service: &str, now_ms| {
            let set = crate::labels::set_of([("service", service)]);
            let place = registry.entity(table, &set, now_ms).unwrap();
            registry.count(table, place, 0, 1.0);
            let trace = trackway_common::TraceId(1);
            registry.observe(
                table,
                place,
                1,
                registry::Observation { value: 0.5, weight: 1.0, trace, time_ms: now_ms },
            );
        };
        let first = registry.table(shape(&[1.0, 2.0]));
        for service in ["a", "b"] {
            count(&mut registry, first, service, 1);
        }
        // Calls, two buckets and the one without bound, sum and count; each is new.
        assert_eq!(samples(&registry, 1), 2 * 6 * 2);
        registry.collected(1, 0);
        assert_eq!(samples(&registry, 2), 2 * 6);
        // Also when the segment with their labels has ended.
        registry.collected(2, 0);
        count(&mut registry, first, "b", 5000);
        registry.end_stale(5000);
        assert_eq!(samples(&registry, 3), 6 + 6);
        registry.collected(3, 0);
        // Other buckets: calls go on; of the histogram the sum, the count and one bucket end, and all its buckets.
        let second = registry.table(shape(&[1.0, 4.0]));
        registry.end_others(&[second]);
        assert_eq!(registry.series(), 1);
        assert_eq!(samples(&registry, 4), 1 + 5);
        // When it is observed at once, what has the same name goes on, with a zero before it.
        count(&mut registry, second, "b", 6000);
        assert_eq!(samples(&registry, 4), 1 + 5 * 2 + 1);
        registry.collected(4, 0);
        assert_eq!(registry.table(shape(&[8.0])), first, "what is over makes room");
    }
}
