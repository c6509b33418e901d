//! A table: entities that have the same metrics, found by their labels.
//!
//! What must stay true: an entity keeps its place as long as it is there, and every one is in the index once.

use hashbrown::HashTable;
use trackway_common::TraceId;

use super::metric::{Metric, Shape};
use crate::native::NativeHistogram;

/// Bytes of an entity besides its labels and values, about.
pub(super) const ENTITY_BYTES: usize = 224;

/// An observation worth showing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// Which metric of the table.
    pub(crate) metric: u8,
    /// Which of its buckets; the last is the one without bound.
    pub(crate) bucket: u8,
    pub(crate) trace: TraceId,
    pub(crate) value: f64,
    /// When it was seen, Unix milliseconds.
    pub(crate) time_ms: i64,
}

/// A native histogram, and since when it counts.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) histogram: NativeHistogram,
    pub(crate) since_ms: i64,
}

/// A label set and what was counted for it.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) id: u32,
    pub(super) hash: u64,
    pub(crate) labels: Box<[u8]>,
    /// When it was last counted, Unix milliseconds.
    pub(crate) updated_ms: i64,
    /// A bit for each metric that it has.
    pub(crate) present: u8,
    /// A bit for each metric that it did not have at the last collection.
    pub(crate) fresh: u8,
    /// Segment of the log of samples that has its labels; 0 for none.
    pub(crate) segment: u64,
    pub(crate) values: Box<[f64]>,
    pub(crate) natives: Box<[Native]>,
    pub(crate) exemplars: Vec<Exemplar>,
    /// A bit for each bucket that has an exemplar.
    pub(super) exemplified: u64,
}

impl Entity {
    pub(super) fn bytes(&self) -> usize {
        ENTITY_BYTES
            + self.labels.len()
            + self.values.len() * 8
            + self.natives.len() * size_of::<Native>()
            + self.natives.iter().map(|native| native.histogram.bytes()).sum::<usize>()
            + self.exemplars.capacity() * size_of::<Exemplar>()
    }
}

/// An entity that is gone: its series end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gone {
    pub(crate) id: u32,
    /// A bit for each metric that was collected.
    pub(crate) present: u8,
    pub(crate) labels: Box<[u8]>,
    /// Segment of the log of samples that has its labels; 0 for none.
    pub(crate) segment: u64,
}

/// Which table.
pub(crate) type TableId = usize;
/// Which entity of a table. Good until the next collection.
pub(crate) type Place = u32;

/// The label sets of metrics that share them.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) shape: Shape,
    /// Where each metric's numbers begin.
    pub(super) offsets: Vec<usize>,
    pub(super) width: usize,
    pub(super) usual_series: usize,
    pub(super) index: HashTable<Place>,
    pub(super) entities: Vec<Option<Entity>>,
    free: Vec<Place>,
    pub(super) overflow: Option<Place>,
    /// Whether nobody counts in it any more.
    pub(super) is_retired: bool,
    /// Entities that are gone and of which the log of samples does not know yet.
    pub(crate) gone: Vec<Gone>,
}

impl Table {
    pub(super) fn new(shape: Shape) -> Self {
        let mut width = 0;
        let offsets = shape.iter().map(|metric| (width, width += metric.width()).0).collect();
        let usual = shape.iter().filter(|metric| !metric.is_rare).map(Metric::series).sum();
        Self {
            shape,
            offsets,
            width,
            usual_series: usual,
            index: HashTable::new(),
            entities: Vec::new(),
            free: Vec::new(),
            overflow: None,
            is_retired: false,
            gone: Vec::new(),
        }
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.iter().flatten()
    }

    pub(super) fn find(&self, hash: u64, labels: &[u8]) -> Option<Place> {
        let same = |place: &Place| {
            self.entities
                .get(*place as usize)
                .and_then(Option::as_ref)
                .is_some_and(|entity| entity.hash == hash && *entity.labels == *labels)
        };
        self.index.find(hash, same).copied()
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Entity> {
        self.entities.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, entity: Entity) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entities.push(None);
            // Entities are bounded in bytes, far below 2^32 of them.
            u32::try_from(self.entities.len() - 1).unwrap_or(u32::MAX)
        });
        let hash = entity.hash;
        if let Some(slot) = self.entities.get_mut(place as usize) {
            *slot = Some(entity);
        }
        let entities = &self.entities;
        let rehash = |place: &Place| {
            entities.get(*place as usize).and_then(Option::as_ref).map_or(0, |entity| entity.hash)
        };
        self.index.insert_unique(hash, place, rehash);
        place
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Entity> {
        let entity = self.entities.get_mut(place as usize)?.take()?;
        if let Ok(found) = self.index.find_entry(entity.hash, |candidate| *candidate == place) {
            found.remove();
        }
        self.free.push(place);
        if self.overflow == Some(place) {
            self.overflow = None;
        }
        Some(entity)
    }
}
