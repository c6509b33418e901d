//! What one collection writes into the log of samples: every series of a tenant, and up to which record of the ingester's
//! log they count.
//!
//! ```text
//! version u8 · time ms · log id u128 · sequence · flags
//! tables: count, then of each
//!     metrics: count, then name, kind, bounds and settings of each
//!     entities: count, then of each
//!         id · flags · [labels] · present · fresh · numbers · native histograms · exemplars
//!     gone: count, then id, present and labels of each; the latter are empty if the segment has them
//! open edges, see `edges.rs`, and halves that filters left out; neither without service graphs
//! ```
//!
//! What must stay true: a record alone says what every series was at that moment, and with the records before it in its
//! segment how each is labelled. So the last whole record is all that a restart needs, and a sample that was sent and the
//! state that a restart takes up cannot differ.

use std::sync::Arc;

use trackway_common::TraceId;
use trackway_spans::wire::put_varint;

use crate::bytes::{Bytes, put_number, put_text};
use crate::native::NativeHistogram;
use crate::registry::{
    Entity, Exemplar, Form, Gone, Kind, Metric, Native, NativeForm, Registry, Shape, Table,
};
use crate::service_graphs::ServiceGraphsProcessor;

const VERSION: u8 = 1;
const IS_SENT: u64 = 1;
const HAS_LABELS: u64 = 1;
const HAS_EXEMPLARS: u64 = 2;

/// What a collection is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Of the samples, Unix milliseconds.
    pub(crate) time_ms: i64,
    /// When the one before was, or the generator began.
    pub(crate) before_ms: i64,
    /// Identity of the ingester's log.
    pub(crate) log: u128,
    /// Its last record that is counted.
    pub(crate) sequence: u64,
    /// Whether these samples are for receivers (`disable_collection` is not set).
    pub(crate) is_sent: bool,
}

/// Writes a record. Entities whose labels the segment does not have yet bring them.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    moment: Moment,
    registry: &Registry,
    graphs: Option<&ServiceGraphsProcessor>,
    segment: u64,
) {
    out.push(VERSION);
    put_varint(out, moment.time_ms.cast_unsigned());
    put_varint(out, moment.before_ms.cast_unsigned());
    out.extend_from_slice(&moment.log.to_le_bytes());
    put_varint(out, moment.sequence);
    put_varint(out, if moment.is_sent { IS_SENT } else { 0 });
    let used =
        || registry.tables.iter().filter(|table| table.entities().next().is_some() || !table.gone.is_empty());
    put_varint(out, used().count() as u64);
    for table in used() {
        put_table(out, table, segment);
    }
    if let Some(graphs) = graphs {
        graphs.put_state(out);
    }
}

fn put_table(out: &mut Vec<u8>, table: &Table, segment: u64) {
    put_varint(out, table.shape.len() as u64);
    for metric in &table.shape {
        put_metric(out, metric);
    }
    put_varint(out, table.entities().count() as u64);
    for entity in table.entities() {
        put_entity(out, entity, segment);
    }
    put_varint(out, table.gone.len() as u64);
    for gone in &table.gone {
        put_varint(out, u64::from(gone.id));
        out.push(gone.present);
        put_text(out, if gone.segment == segment { &[] } else { &gone.labels });
    }
}

fn put_metric(out: &mut Vec<u8>, metric: &Metric) {
    put_text(out, metric.name.as_bytes());
    let (kind, form) = match &metric.kind {
        Kind::Counter => (0, None),
        Kind::Gauge => (1, None),
        Kind::Histogram(form) => (2, Some(form)),
    };
    out.push(kind | u8::from(metric.is_rare) << 2);
    let Some(form) = form else { return };
    // One more than there are; none means that there is no classic form.
    put_varint(out, form.bounds.as_ref().map_or(0, |bounds| bounds.len() as u64 + 1));
    for bound in form.bounds.iter().flat_map(|bounds| bounds.iter()) {
        put_number(out, *bound);
    }
    put_varint(out, u64::from(form.native.is_some()));
    if let Some(native) = form.native {
        put_number(out, native.factor);
        put_varint(out, u64::from(native.max_buckets));
        put_varint(out, native.min_reset_ms.cast_unsigned());
    }
}

fn put_entity(out: &mut Vec<u8>, entity: &Entity, segment: u64) {
    let has_labels = entity.segment != segment;
    put_varint(out, u64::from(entity.id));
    let flags = if has_labels { HAS_LABELS } else { 0 };
    put_varint(out, flags | if entity.exemplars.is_empty() { 0 } else { HAS_EXEMPLARS });
    if has_labels {
        put_text(out, &entity.labels);
    }
    out.push(entity.present);
    out.push(entity.fresh);
    for value in &entity.values {
        put_number(out, *value);
    }
    for native in &entity.natives {
        put_native(out, native);
    }
    if !entity.exemplars.is_empty() {
        put_varint(out, entity.exemplars.len() as u64);
        for exemplar in &entity.exemplars {
            out.extend_from_slice(&[exemplar.metric, exemplar.bucket]);
            out.extend_from_slice(&exemplar.trace.0.to_le_bytes());
            put_number(out, exemplar.value);
            put_varint(out, exemplar.time_ms.cast_unsigned());
        }
    }
}

fn put_native(out: &mut Vec<u8>, native: &Native) {
    let (spans, counts) = native.histogram.spans_and_counts();
    put_varint(out, native.since_ms.cast_unsigned());
    put_varint(out, zigzag(native.histogram.schema()));
    put_number(out, native.histogram.count());
    put_number(out, native.histogram.zero_count());
    put_number(out, native.histogram.sum());
    put_varint(out, spans.len() as u64);
    for (offset, length) in spans {
        put_varint(out, zigzag(offset));
        put_varint(out, u64::from(length));
    }
    put_varint(out, counts.len() as u64);
    for count in counts {
        put_number(out, count);
    }
}

fn zigzag(number: i32) -> u64 {
    u64::from((number.cast_unsigned() << 1) ^ (number >> 31).cast_unsigned())
}

fn unzigzag(number: u64) -> Option<i32> {
    let number = u32::try_from(number).ok()?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// A record, taken apart.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) moment: Moment,
    pub(crate) tables: Vec<TableRecord<'a>>,
    /// What [`ServiceGraphsProcessor::restore`] reads.
    pub(crate) edges: Bytes<'a>,
}

/// A table of a record.
#[derive(Debug)]
pub(crate) struct TableRecord<'a> {
    pub(crate) shape: Shape,
    pub(crate) entities: Vec<EntityRecord<'a>>,
    /// Numbers of the entities, one after another.
    pub(crate) values: Vec<f64>,
    pub(crate) natives: Vec<NativeRecord>,
    pub(crate) exemplars: Vec<Exemplar>,
    pub(crate) gone: Vec<Gone>,
}

/// An entity of a record.
#[derive(Debug)]
pub(crate) struct EntityRecord<'a> {
    pub(crate) id: u32,
    /// Its labels, if no record before has them.
    pub(crate) labels: Option<&'a [u8]>,
    pub(crate) present: u8,
    pub(crate) fresh: u8,
    /// Its exemplars in the table's.
    pub(crate) exemplars: std::ops::Range<usize>,
}

/// A native histogram of a record.
#[derive(Clone, Debug)]
pub(crate) struct NativeRecord {
    pub(crate) since_ms: i64,
    pub(crate) schema: i32,
    pub(crate) count: f64,
    pub(crate) zero_count: f64,
    pub(crate) sum: f64,
    pub(crate) spans: Vec<(i32, u32)>,
    pub(crate) counts: Vec<f64>,
}

impl NativeRecord {
    /// What goes on counting.
    pub(crate) fn restore(&self, form: NativeForm) -> Native {
        let histogram = NativeHistogram::restore(
            form.factor,
            self.schema,
            (self.count, self.zero_count, self.sum),
            &self.spans,
            &self.counts,
        );
        Native { histogram, since_ms: self.since_ms }
    }
}

/// Takes a record apart; `None` for what this version did not write.
pub(crate) fn decode(payload: &[u8]) -> Option<Record<'_>> {
    let mut bytes = Bytes::new(payload);
    if bytes.byte()? != VERSION {
        return None;
    }
    let moment = Moment {
        time_ms: bytes.varint()?.cast_signed(),
        before_ms: bytes.varint()?.cast_signed(),
        log: u128::from_le_bytes(bytes.array()?),
        sequence: bytes.varint()?,
        is_sent: bytes.varint()? & IS_SENT != 0,
    };
    let mut tables = Vec::new();
    for _ in 0..bytes.length()? {
        tables.push(table(&mut bytes)?);
    }
    Some(Record { moment, tables, edges: bytes })
}

fn table<'a>(bytes: &mut Bytes<'a>) -> Option<TableRecord<'a>> {
    let mut shape = Shape::new();
    for _ in 0..bytes.length()? {
        shape.push(metric(bytes)?);
    }
    let width = shape.iter().map(Metric::width).sum::<usize>();
    let natives = shape.iter().filter(|metric| metric.native().is_some()).count();
    let mut table = TableRecord {
        shape,
        entities: Vec::new(),
        values: Vec::new(),
        natives: Vec::new(),
        exemplars: Vec::new(),
        gone: Vec::new(),
    };
    for _ in 0..bytes.length()? {
        entity(bytes, &mut table, width, natives)?;
    }
    for _ in 0..bytes.length()? {
        let (id, present) = (u32::try_from(bytes.varint()?).ok()?, bytes.byte()?);
        table.gone.push(Gone { id, present, labels: bytes.text()?.into(), segment: 0 });
    }
    Some(table)
}

fn metric(bytes: &mut Bytes<'_>) -> Option<Metric> {
    let name = std::str::from_utf8(bytes.text()?).ok()?.to_owned();
    let flags = bytes.byte()?;
    let kind = match flags & 3 {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        _ => {
            let bounds = bytes.length()?;
            let mut read = Vec::new();
            for _ in 1..bounds {
                read.push(bytes.number()?);
            }
            let native = if bytes.varint()? == 0 {
                None
            } else {
                Some(NativeForm {
                    factor: bytes.number()?,
                    max_buckets: u32::try_from(bytes.varint()?).ok()?,
                    min_reset_ms: bytes.varint()?.cast_signed(),
                })
            };
            Kind::Histogram(Form { bounds: (bounds > 0).then(|| Arc::from(read)), native })
        }
    };
    Some(Metric { name, kind, is_rare: flags & 4 != 0 })
}

fn entity<'a>(
    bytes: &mut Bytes<'a>,
    table: &mut TableRecord<'a>,
    width: usize,
    natives: usize,
) -> Option<()> {
    let id = u32::try_from(bytes.varint()?).ok()?;
    let flags = bytes.varint()?;
    let labels = if flags & HAS_LABELS != 0 { Some(bytes.text()?) } else { None };
    let (present, fresh) = (bytes.byte()?, bytes.byte()?);
    for _ in 0..width {
        table.values.push(bytes.number()?);
    }
    for _ in 0..natives {
        table.natives.push(native(bytes)?);
    }
    let before = table.exemplars.len();
    if flags & HAS_EXEMPLARS != 0 {
        for _ in 0..bytes.length()? {
            table.exemplars.push(Exemplar {
                metric: bytes.byte()?,
                bucket: bytes.byte()?,
                trace: TraceId(u128::from_le_bytes(bytes.array()?)),
                value: bytes.number()?,
                time_ms: bytes.varint()?.cast_signed(),
            });
        }
    }
    let exemplars = before..table.exemplars.len();
    table.entities.push(EntityRecord { id, labels, present, fresh, exemplars });
    Some(())
}

fn native(bytes: &mut Bytes<'_>) -> Option<NativeRecord> {
    let mut record = NativeRecord {
        since_ms: bytes.varint()?.cast_signed(),
        schema: unzigzag(bytes.varint()?)?,
        count: bytes.number()?,
        zero_count: bytes.number()?,
        sum: bytes.number()?,
        spans: Vec::new(),
        counts: Vec::new(),
    };
    for _ in 0..bytes.length()? {
        record.spans.push((unzigzag(bytes.varint()?)?, u32::try_from(bytes.varint()?).ok()?));
    }
    for _ in 0..bytes.length()? {
        record.counts.push(bytes.number()?);
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Bounds, Observation};

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        let form = NativeForm { factor: 1.1, max_buckets: 20, min_reset_ms: 0 };
        let histogram = |bounds: Option<&[f64]>| {
            Kind::Histogram(Form { bounds: bounds.map(Arc::from), native: Some(form) })
        };
        let metric = |name: &str, kind| Metric { name: name.to_owned(), kind, is_rare: name == "both" };
        let shape = vec![
            metric("gauge", Kind::Gauge),
            metric("native", histogram(None)),
            metric("both", histogram(Some(&[0.1, 1.0]))),
        ];
        let budget = Arc::new(crate::budget::Budget::new(1 << 20, trackway_common::MemoryPool::unlimited()));
        let mut registry = Registry::new(Bounds::default(), budget);
        let table = registry.table(shape.clone());
        for number in 0..500_u32 {
            let set = crate::labels::set_of([("number", ["a", "b", "c"][number as usize % 3])]);
            let place = registry.entity(table, &set, 1).unwrap();
            registry.set(table, place, 0, -0.5);
            // Some are no whole numbers, one is zero, and widely spread: buckets are widened.
            let seen = Observation {
                value: f64::from(number) * f64::from(number) / 7.0,
                weight: 1.0 + f64::from(number % 4) / 3.0,
                trace: TraceId(u128::from(number) << 90),
                time_ms: i64::from(number),
            };
            registry.observe(table, place, 1, seen);
            if number % 3 != 2 {
                registry.observe(table, place, 2, seen);
            }
        }
        let moment = Moment { time_ms: 5, before_ms: 3, log: 1 << 100, sequence: 9, is_sent: true };
        let mut payload = Vec::new();
        encode(&mut payload, moment, &registry, None, 1);
        let record = decode(&payload).unwrap();
        assert_eq!((record.moment, record.tables.len(), record.tables[0].entities.len()), (moment, 1, 3));
        let found = &record.tables[0];
        assert_eq!(found.shape, shape);
        for (place, (entity, read)) in registry.tables[0].entities().zip(&found.entities).enumerate() {
            assert_eq!((entity.id, Some(&*entity.labels)), (read.id, read.labels));
            assert_eq!((entity.present, entity.fresh), (read.present, read.fresh));
            assert_eq!(*entity.values, found.values[place * 5..(place + 1) * 5]);
            assert_eq!(entity.exemplars, found.exemplars[read.exemplars.clone()]);
            for (native, read) in entity.natives.iter().zip(&found.natives[place * 2..]) {
                let restored = read.restore(form);
                assert_eq!((&restored.histogram, restored.since_ms), (&native.histogram, native.since_ms));
            }
        }
        for cut in 0..payload.len() {
            assert!(decode(&payload[..cut]).is_none(), "{cut}");
        }
    }
}
