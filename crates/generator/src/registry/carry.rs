//! Settings that change make other tables; what was counted goes on in them as far as series stay the same.
//!
//! What must stay true: a series keeps its count if its name, labels, buckets and growth stay, whatever else of its table
//! changes.

use super::metric::Kind;
use super::table::{Entity, Table, TableId};
use super::{Registry, texts_overflow};

impl Registry {
    /// Gives what was counted in one table to the entities with the same labels in another, as far as metrics are the
    /// same there; histograms may have one form more or less.
    pub(super) fn carry_over(&mut self, from: TableId, to: TableId) {
        let (old, new) = (&self.tables[from], &self.tables[to]);
        let pairs: Vec<Shared> =
            (0..old.shape.len()).filter_map(|metric| Shared::of(old, metric, new)).collect();
        if pairs.is_empty() {
            return;
        }
        for place in 0..self.tables[from].entities.len() {
            let Some(old) = self.tables[from].entities[place].take() else { continue };
            self.carry_over_entity(&old, to, &pairs);
            self.tables[from].entities[place] = Some(old);
        }
    }

    fn carry_over_entity(&mut self, old: &Entity, to: TableId, pairs: &[Shared]) {
        if !pairs.iter().any(|pair| old.present & 1 << pair.from != 0) {
            return;
        }
        let known = self.tables[to].find(old.hash, &old.labels);
        let place = known.unwrap_or_else(|| self.add(to, &old.labels, old.hash));
        let table = &mut self.tables[to];
        if texts_overflow(&old.labels) {
            table.overflow = Some(place);
        }
        let Some(new) = table.entities.get_mut(place as usize).and_then(Option::as_mut) else { return };
        new.updated_ms = new.updated_ms.max(old.updated_ms);
        for pair in pairs {
            let bit = 1 << pair.to;
            if old.present & 1 << pair.from == 0 || new.present & bit != 0 {
                continue;
            }
            new.present |= bit;
            // Known to receivers as what it was: another form that begins does so without a zero.
            new.fresh |= if old.fresh & 1 << pair.from == 0 { 0 } else { bit };
            let series = table.shape[pair.to].series();
            self.series += series;
            self.tally.series_added += series as u64;
            if let Some((old_at, new_at, width)) = pair.values {
                new.values[new_at..new_at + width].copy_from_slice(&old.values[old_at..old_at + width]);
            }
            if let Some((old_at, new_at)) = pair.natives {
                new.natives[new_at].clone_from(&old.natives[old_at]);
            }
        }
    }
}

/// What two tables have in common of a metric.
#[derive(Debug)]
struct Shared {
    /// Which metric of the one, and of the other.
    from: usize,
    to: usize,
    /// Where its numbers are in the one and the other, and how many.
    values: Option<(usize, usize, usize)>,
    /// Which of the native histograms it is.
    natives: Option<(usize, usize)>,
}

impl Shared {
    fn of(old: &Table, from: usize, new: &Table) -> Option<Self> {
        let metric = &old.shape[from];
        let to = new.shape.iter().position(|other| other.name == metric.name)?;
        let (has_values, has_native) = match (&metric.kind, &new.shape[to].kind) {
            (Kind::Histogram(old), Kind::Histogram(new)) => (
                old.bounds.is_some() && old.bounds == new.bounds,
                old.native.is_some() && old.native == new.native,
            ),
            (old, new) => (old == new, false),
        };
        let number = |table: &Table, metric: usize| {
            table.shape[..metric].iter().filter(|metric| metric.native().is_some()).count()
        };
        (has_values || has_native).then(|| Self {
            from,
            to,
            values: has_values.then(|| (old.offsets[from], new.offsets[to], metric.width())),
            natives: has_native.then(|| (number(old, from), number(new, to))),
        })
    }
}
