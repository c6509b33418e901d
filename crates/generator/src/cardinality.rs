//! How many values each label has, and what is done about too many.
//!
//! What must stay true: a value that the entities have is known and stays; a new one is let in only while there are fewer
//! than the limit. Values are known by their hash, so that what is kept does not grow with their length.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::demand::Demand;
use crate::labels::{self, CARDINALITY_OVERFLOW};

/// Most labels that are told apart; those of `traces_target_info` come with the data.
const LABELS_MAX: usize = 512;

/// The values of the labels of all entities.
#[derive(Debug, Default)]
pub(crate) struct Cardinality {
    /// Only counted when there is a limit.
    is_counted: bool,
    labels: HashMap<Box<[u8]>, Values>,
}

#[derive(Debug)]
struct Values {
    /// Hashes, and how many entities have them.
    known: HashMap<u64, u32>,
    demand: Demand,
    limited: u64,
}

impl Cardinality {
    /// Begins or ends counting; the entities that are there come in by [`Self::added`].
    pub(crate) fn count(&mut self, on: bool) {
        self.is_counted = on;
        self.labels.clear();
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted
    }

    fn values(&mut self, name: &[u8]) -> Option<&mut Values> {
        if !self.labels.contains_key(name) {
            if self.labels.len() >= LABELS_MAX {
                return None;
            }
            let new = Values { known: HashMap::new(), demand: Demand::new(), limited: 0 };
            self.labels.insert(name.into(), new);
        }
        self.labels.get_mut(name)
    }

    /// An entity with these labels is there.
    pub(crate) fn added(&mut self, set: &[u8]) {
        if !self.is_counted {
            return;
        }
        for (name, value) in labels::parse(set) {
            if let Some(values) = self.values(name) {
                *values.known.entry(xxh3_64(value)).or_default() += 1;
            }
        }
    }

    /// It is gone.
    pub(crate) fn removed(&mut self, set: &[u8]) {
        if !self.is_counted {
            return;
        }
        for (name, value) in labels::parse(set) {
            let Some(values) = self.labels.get_mut(name) else { continue };
            if let std::collections::hash_map::Entry::Occupied(mut known) = values.known.entry(xxh3_64(value))
            {
                *known.get_mut() -= 1;
                if *known.get() == 0 {
                    known.remove();
                }
            }
        }
    }

    /// Somebody would like to have these values.
    pub(crate) fn asked(&mut self, set: &[u8]) {
        if self.is_counted {
            for (name, value) in labels::parse(set) {
                if let Some(values) = self.values(name) {
                    values.demand.insert(xxh3_64(value));
                }
            }
        }
    }

    /// The set with values that are one too many replaced, and names and values cut to `longest`; `None` when it may stay as
    /// it is.
    pub(crate) fn limited(&mut self, set: &[u8], most: usize, longest: (usize, usize)) -> Option<Vec<u8>> {
        let is_long = |text: &[u8], longest: usize| longest > 0 && text.len() > longest;
        let mut changed = false;
        let mut kept = Vec::new();
        for (name, value) in labels::texts(set) {
            changed |= is_long(name.as_bytes(), longest.0) || is_long(value.as_bytes(), longest.1);
            let (name, mut value) = (labels::cut(name, longest.0), labels::cut(value, longest.1));
            if self.is_counted
                && most > 0
                && let Some(values) = self.labels.get_mut(name.as_bytes())
                && values.known.len() >= most
                && !values.known.contains_key(&xxh3_64(value.as_bytes()))
            {
                values.limited += 1;
                value = CARDINALITY_OVERFLOW;
                changed = true;
            }
            kept.push((name, value));
        }
        changed.then(|| labels::set_of(kept))
    }

    /// Labels, how often values of theirs were replaced, and how many there would be, about.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.labels.iter().filter_map(|(name, values)| {
            Some((std::str::from_utf8(name).ok()?, values.limited, values.demand.estimate()))
        })
    }

    /// Forgets the older half of what was asked for.
    pub(crate) fn advance(&mut self) {
        for values in self.labels.values_mut() {
            values.demand.advance();
            for hash in values.known.keys() {
                values.demand.insert(*hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_limit_are_replaced_and_those_that_are_there_stay() {
        let mut cardinality = Cardinality::default();
        cardinality.count(true);
        let set = |name: &str, kind: &str| labels::set_of([("name", name), ("kind", kind)]);
        for name in ["a", "b"] {
            assert_eq!(cardinality.limited(&set(name, "k"), 2, (0, 0)), None);
            cardinality.added(&set(name, "k"));
        }
        assert_eq!(cardinality.limited(&set("b", "k"), 2, (0, 0)), None);
        assert_eq!(cardinality.limited(&set("c", "l"), 2, (0, 0)), Some(set(CARDINALITY_OVERFLOW, "l")));
        cardinality.removed(&set("a", "k"));
        assert_eq!(cardinality.limited(&set("c", "k"), 2, (0, 0)), None);
        assert_eq!(cardinality.limited(&set("abc", "k"), 0, (0, 2)), Some(set("ab", "k")));
        let numbers: Vec<_> =
            cardinality.numbers().map(|(name, limited, _)| (name.to_owned(), limited)).collect();
        assert!(numbers.contains(&("name".to_owned(), 1)));
    }
}
