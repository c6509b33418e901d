//! The series of a tenant: label sets, and what was counted for each.
//!
//! A *table* holds the metrics that share their label sets (calls, latency and size of spans, say), so that a span looks
//! up one label set and not one for each of its 18 series. An *entity* is one label set in a table.
//!
//! What must stay true: limits hold whatever is sent: over them, what is new is counted in the one entity of the table
//! that is labelled `metric_overflow="true"`, and nothing is lost from the sums. Entities keep their number for as long
//! as they live, and numbers are not used twice.

mod carry;
mod metric;
mod table;

use std::sync::Arc;

use trackway_common::TraceId;
use xxhash_rust::xxh3::xxh3_64;

use crate::budget::Budget;
use crate::cardinality::Cardinality;
use crate::demand::Demand;
use crate::labels;
use crate::native::NativeHistogram;
pub(crate) use metric::{Form, Kind, Metric, NativeForm, Shape, series_of};
use table::ENTITY_BYTES;
pub(crate) use table::{Entity, Exemplar, Gone, Native, Place, Table, TableId};

/// Exemplars of an entity between two collections; there is one a bucket.
const EXEMPLARS_MAX: usize = 64;
/// For so many more there is made room at a time.
const EXEMPLARS_STEP: usize = 4;

/// What a tenant's registry may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Most series; 0 is no limit. Not in force when `by_entity`.
    pub(crate) max_series: usize,
    /// Most label sets; 0 is no limit. In force when `by_entity`.
    pub(crate) max_entities: usize,
    /// Whether label sets are limited, and not series (`limiter_type: entity`).
    pub(crate) by_entity: bool,
    /// Most values of a label; 0 is no limit.
    pub(crate) max_cardinality: usize,
    /// Longest name of a label, bytes; 0 is no limit.
    pub(crate) max_name: usize,
    /// Longest value of a label, bytes; 0 is no limit.
    pub(crate) max_value: usize,
    /// Series that were not counted for so long end, milliseconds.
    pub(crate) stale_ms: i64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) series_added: u64,
    pub(crate) series_removed: u64,
    pub(crate) series_limited: u64,
    pub(crate) entities_added: u64,
    pub(crate) entities_removed: u64,
    pub(crate) entities_limited: u64,
}

/// The series of a tenant.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) tables: Vec<Table>,
    pub(crate) bounds: Bounds,
    pub(crate) cardinality: Cardinality,
    /// Label sets that were asked for, kept or not.
    pub(crate) demand: Demand,
    series: usize,
    entities: usize,
    pub(crate) next_id: u32,
    pub(crate) tally: Tally,
    /// Whether something did not fit since that was last asked.
    pub(crate) overflowed: bool,
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

impl Registry {
    pub(crate) fn new(bounds: Bounds, budget: Arc<Budget>) -> Self {
        Self {
            tables: Vec::new(),
            cardinality: Cardinality::default(),
            demand: Demand::new(),
            series: 0,
            entities: 0,
            next_id: 1,
            tally: Tally::default(),
            overflowed: false,
            budget,
            bytes: 0,
            bounds,
        }
    }

    /// Begins or ends counting the values of labels.
    pub(crate) fn count_cardinality(&mut self, on: bool) {
        self.cardinality.count(on);
        for entity in self.tables.iter().flat_map(Table::entities) {
            self.cardinality.added(&entity.labels);
        }
    }

    /// The table of metrics with this shape: the one that is there, or a new one, in the place of one that is over.
    pub(crate) fn table(&mut self, shape: Shape) -> TableId {
        if let Some(known) = self.tables.iter().position(|table| table.shape == shape) {
            self.tables[known].is_retired = false;
            return known;
        }
        let is_over = |table: &Table| table.is_retired && table.index.is_empty() && table.gone.is_empty();
        if let Some(place) = self.tables.iter().position(is_over) {
            self.tables[place] = Table::new(shape);
            return place;
        }
        self.tables.push(Table::new(shape));
        self.tables.len() - 1
    }

    /// Series of the overflow entities and all others.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// Label sets.
    pub(crate) fn entities(&self) -> usize {
        self.entities
    }

    /// Series that there would be without limits, about.
    pub(crate) fn series_demand(&self) -> u64 {
        let usual = if self.entities == 0 { 1 } else { self.series.div_ceil(self.entities) };
        self.demand.estimate().saturating_mul(usual as u64)
    }

    /// The entity with these labels, made if need be; `None` when they are no UTF-8.
    #[inline]
    pub(crate) fn entity(&mut self, table: TableId, labels: &[u8], now_ms: i64) -> Option<Place> {
        let hash = xxh3_64(labels);
        let found = self.tables[table].find(hash, labels);
        let place = match found {
            Some(place) => place,
            None => self.admit(table, labels, hash)?,
        };
        if let Some(entity) = self.tables[table].get_mut(place) {
            entity.updated_ms = now_ms;
        }
        Some(place)
    }

    #[cold]
    fn admit(&mut self, table: TableId, labels: &[u8], hash: u64) -> Option<Place> {
        let mended = if labels::is_utf8(labels) { None } else { Some(labels::mended(labels)?) };
        let wanted = mended.as_deref().unwrap_or(labels);
        self.demand.insert(hash);
        self.cardinality.asked(wanted);
        let bounds = &self.bounds;
        let kept = self
            .cardinality
            .limited(wanted, bounds.max_cardinality, (bounds.max_name, bounds.max_value))
            .or(mended);
        let (labels, hash) = match &kept {
            None => (labels, hash),
            Some(kept) => {
                let hash = xxh3_64(kept);
                if let Some(place) = self.tables[table].find(hash, kept) {
                    return Some(place);
                }
                (&**kept, hash)
            }
        };
        let usual = self.tables[table].usual_series;
        if self.has_room(usual, labels.len() + ENTITY_BYTES + self.tables[table].width * 8) {
            return Some(self.add(table, labels, hash));
        }
        self.overflowed = true;
        self.tally.series_limited += usual as u64;
        self.tally.entities_limited += 1;
        if let Some(place) = self.tables[table].overflow {
            return Some(place);
        }
        let labels = labels::set_of([labels::OVERFLOW]);
        let place = self.add(table, &labels, xxh3_64(&labels));
        self.tables[table].overflow = Some(place);
        Some(place)
    }

    fn has_room(&self, series: usize, bytes: usize) -> bool {
        let fits = |most: usize, now: usize| most == 0 || now <= most;
        let bounds = &self.bounds;
        let counted = if bounds.by_entity {
            fits(bounds.max_entities, self.entities + 1)
        } else {
            fits(bounds.max_series, self.series + series)
        };
        counted && self.budget.has_room(self.bytes, bytes)
    }

    fn add(&mut self, table: TableId, labels: &[u8], hash: u64) -> Place {
        let shape = &self.tables[table].shape;
        let native = |form: NativeForm| Native { histogram: NativeHistogram::new(form.factor), since_ms: 0 };
        let entity = Entity {
            id: self.next_id,
            hash,
            labels: labels.into(),
            updated_ms: 0,
            present: 0,
            fresh: 0,
            segment: 0,
            values: vec![0.0; self.tables[table].width].into(),
            natives: shape.iter().filter_map(Metric::native).map(native).collect(),
            exemplars: Vec::new(),
            exemplified: 0,
        };
        self.next_id += 1;
        self.put(table, entity)
    }

    fn put(&mut self, table: TableId, entity: Entity) -> Place {
        self.entities += 1;
        self.tally.entities_added += 1;
        self.cardinality.added(&entity.labels);
        self.charge(entity.bytes());
        self.tables[table].insert(entity)
    }

    fn charge(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.take(bytes);
    }

    /// Takes up an entity as it was when the process ended.
    pub(crate) fn restore(&mut self, table: TableId, id: u32, labels: &[u8], found: Restored) {
        let hash = xxh3_64(labels);
        if self.tables[table].find(hash, labels).is_some() || found.values.len() != self.tables[table].width {
            return;
        }
        let place = self.add(table, labels, hash);
        if texts_overflow(labels) {
            self.tables[table].overflow = Some(place);
        }
        self.next_id = self.next_id.max(id.saturating_add(1));
        let table = &mut self.tables[table];
        let (mut series, mut bytes) = (0, 0);
        if let Some(entity) = table.entities.get_mut(place as usize).and_then(Option::as_mut) {
            let before = entity.bytes();
            entity.id = id;
            entity.present = found.present;
            entity.updated_ms = found.updated_ms;
            entity.values.copy_from_slice(&found.values);
            if found.natives.len() == entity.natives.len() {
                entity.natives = found.natives.into();
            }
            bytes = entity.bytes() - before;
            series = series_of(&table.shape, entity.present);
        }
        self.series += series;
        self.charge(bytes);
    }

    /// Counts a metric of an entity up.
    #[inline]
    pub(crate) fn count(&mut self, table: TableId, place: Place, metric: usize, by: f64) {
        self.has(table, place, metric);
        let table = &mut self.tables[table];
        let at = table.offsets[metric];
        if let Some(value) = table.get_mut(place).and_then(|entity| entity.values.get_mut(at)) {
            *value += by;
        }
    }

    /// Sets a metric of an entity.
    pub(crate) fn set(&mut self, table: TableId, place: Place, metric: usize, to: f64) {
        self.has(table, place, metric);
        let table = &mut self.tables[table];
        let at = table.offsets[metric];
        if let Some(value) = table.get_mut(place).and_then(|entity| entity.values.get_mut(at)) {
            *value = to;
        }
    }

    /// Counts `seconds` in a histogram of an entity, `weight` times.
    #[inline]
    pub(crate) fn observe(&mut self, table: TableId, place: Place, metric: usize, seen: Observation) {
        self.has(table, place, metric);
        let table = &mut self.tables[table];
        let at = table.offsets[metric];
        let Kind::Histogram(form) = &table.shape[metric].kind else { return };
        let Some(entity) = table.entities.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let bucket = match &form.bounds {
            None => 0,
            Some(bounds) => {
                let bucket = bounds.partition_point(|bound| *bound < seen.value);
                entity.values[at + bucket] += seen.weight;
                entity.values[at + bounds.len() + 1] += seen.value * seen.weight;
                bucket
            }
        };
        if let Some(native) = form.native {
            let before = table.shape[..metric].iter().filter(|metric| metric.native().is_some()).count();
            if let Some(of) = entity.natives.get_mut(before) {
                observe_native(of, native, seen);
            }
        }
        // Metric and bucket tell exemplars apart; those that are far up share a bit, and so one of them is shown.
        let bit = 1_u64 << ((metric * 17 + bucket) % 64);
        if entity.exemplified & bit == 0 && entity.exemplars.len() < EXEMPLARS_MAX {
            entity.exemplified |= bit;
            if entity.exemplars.len() == entity.exemplars.capacity() {
                let bytes = EXEMPLARS_STEP * size_of::<Exemplar>();
                // Without room nothing is shown, and everything counted.
                if !self.budget.has_room(self.bytes, bytes) {
                    return;
                }
                entity.exemplars.reserve_exact(EXEMPLARS_STEP);
                self.bytes += bytes;
                self.budget.take(bytes);
            }
            entity.exemplars.push(Exemplar {
                metric: u8::try_from(metric).unwrap_or(u8::MAX),
                bucket: u8::try_from(bucket).unwrap_or(u8::MAX),
                trace: seen.trace,
                value: seen.value,
                time_ms: seen.time_ms,
            });
        }
    }

    /// Notes that an entity has a metric.
    #[inline]
    fn has(&mut self, table: TableId, place: Place, metric: usize) {
        let bit = 1_u8 << metric;
        let table = &mut self.tables[table];
        if let Some(entity) = table.entities.get_mut(place as usize).and_then(Option::as_mut)
            && entity.present & bit == 0
        {
            entity.present |= bit;
            entity.fresh |= bit;
            let series = table.shape[metric].series();
            self.series += series;
            self.tally.series_added += series as u64;
        }
    }

    /// Ends the entities that were not counted for too long.
    pub(crate) fn end_stale(&mut self, now_ms: i64) {
        let before = now_ms.saturating_sub(self.bounds.stale_ms);
        self.end(|_, entity| entity.updated_ms < before);
    }

    /// Ends all entities of tables that are not among these. Those go on with the series that both have.
    pub(crate) fn end_others(&mut self, kept: &[TableId]) {
        for from in (0..self.tables.len()).filter(|id| !kept.contains(id)) {
            for to in kept {
                self.carry_over(from, *to);
            }
        }
        self.end(|table, _| !kept.contains(&table));
        for (id, table) in self.tables.iter_mut().enumerate() {
            table.is_retired = !kept.contains(&id);
        }
    }

    fn end(&mut self, is_over: impl Fn(TableId, &Entity) -> bool) {
        for id in 0..self.tables.len() {
            let table = &mut self.tables[id];
            let over = table.entities.iter().zip(0..).filter_map(|(entity, place): (_, Place)| {
                entity.as_ref().filter(|entity| is_over(id, entity)).map(|_| place)
            });
            for place in over.collect::<Vec<_>>() {
                let Some(entity) = table.remove(place) else { continue };
                let series = series_of(&table.shape, entity.present);
                self.series -= series;
                self.entities -= 1;
                self.tally.series_removed += series as u64;
                self.tally.entities_removed += 1;
                self.cardinality.removed(&entity.labels);
                let bytes = entity.bytes().min(self.bytes);
                self.bytes -= bytes;
                self.budget.give(bytes);
                let present = entity.present & !entity.fresh;
                if present != 0 {
                    let Entity { id, labels, segment, .. } = entity;
                    table.gone.push(Gone { id, present, labels, segment });
                }
            }
        }
    }

    /// What is done when a collection is safe in the log of samples' `segment`.
    /// `besides` are bytes that the tenant holds besides.
    pub(crate) fn collected(&mut self, segment: u64, besides: usize) {
        let mut bytes = besides;
        for table in &mut self.tables {
            table.gone.clear();
            for entity in table.entities.iter_mut().flatten() {
                entity.segment = segment;
                entity.fresh = 0;
                entity.exemplars = Vec::new();
                entity.exemplified = 0;
                self.demand.insert(entity.hash);
                bytes += entity.bytes();
            }
        }
        // What has changed since it was charged: exemplars, native histograms.
        self.budget.give(self.bytes);
        self.bytes = 0;
        self.charge(bytes);
    }
}

/// What an entity had when the process ended.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) present: u8,
    pub(crate) updated_ms: i64,
    pub(crate) values: Vec<f64>,
    pub(crate) natives: Vec<Native>,
}

/// Something to count in a histogram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    pub(crate) value: f64,
    pub(crate) weight: f64,
    pub(crate) trace: TraceId,
    pub(crate) time_ms: i64,
}

fn observe_native(native: &mut Native, form: NativeForm, seen: Observation) {
    if native.since_ms == 0 {
        native.since_ms = seen.time_ms;
    }
    let may_reset =
        form.min_reset_ms > 0 && seen.time_ms.saturating_sub(native.since_ms) >= form.min_reset_ms;
    native.histogram.observe(seen.value, seen.weight, if may_reset { 0 } else { form.max_buckets });
    if may_reset && native.histogram.is_over(form.max_buckets) {
        native.histogram.reset();
        native.since_ms = seen.time_ms;
        native.histogram.observe(seen.value, seen.weight, form.max_buckets);
    }
}

fn texts_overflow(labels: &[u8]) -> bool {
    labels::texts(labels).eq([labels::OVERFLOW])
}
