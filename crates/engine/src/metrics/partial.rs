//! What is known of the spans seen so far.
//!
//! Partials can be merged in any order and any grouping with the same result. That is why limits do not keep what came
//! first: they keep the groups whose values come first in the order of values, and those completely.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;
use super::exemplar::Candidate;
use super::key::Key;
use super::lanes::{Lanes, Merge, Most, Sum};

/// Groups of a partial at the most.
pub const GROUPS_MAX: usize = 20_000;
/// Numbers (one an interval, or one a bucket of an interval) and exemplars of all groups of a partial at the most; each
/// takes 16 to 80 bytes.
pub const NUMBERS_MAX: usize = 4_000_000;

/// Bytes that a number takes, on the average.
pub(super) const NUMBER_BYTES: usize = 32;
/// Bytes that a group takes beside its numbers.
pub(super) const GROUP_BYTES: usize = 200;

/// What is known of some spans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    #[serde(with = "pairs")]
    pub(crate) groups: BTreeMap<Vec<Key>, Group>,
    /// Numbers and exemplars of all groups together.
    numbers: usize,
    /// Groups from here on were left out.
    left_out_from: Option<Vec<Key>>,
    pub(crate) comparison: Comparison,
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) cells: Cells,
    /// By slice of the range.
    pub(crate) exemplars: Lanes<Candidate>,
}

/// The numbers of a group, by what is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cells {
    Counts(Lanes<u64>),
    Most(Lanes<Most>),
    Sums(Lanes<Sum>),
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Counts(lanes) => lanes.0.len(),
            Self::Most(lanes) => lanes.0.len(),
            Self::Sums(lanes) => lanes.0.len(),
        }
    }
}

impl Group {
    fn len(&self) -> usize {
        self.cells.len() + self.exemplars.0.len()
    }
}

impl Merge for Group {
    fn merge(&mut self, other: Self) {
        match (&mut self.cells, other.cells) {
            (Cells::Counts(mine), Cells::Counts(theirs)) => mine.merge(theirs),
            (Cells::Most(mine), Cells::Most(theirs)) => mine.merge(theirs),
            (Cells::Sums(mine), Cells::Sums(theirs)) => mine.merge(theirs),
            // Partials of different questions are never merged.
            _ => {}
        }
        self.exemplars.merge(other.exemplars);
    }
}

impl Partial {
    /// Adds what is known of a group.
    pub(crate) fn add(&mut self, key: Vec<Key>, group: Group) {
        self.add_within(key, group, GROUPS_MAX, NUMBERS_MAX);
    }

    fn add_within(&mut self, key: Vec<Key>, group: Group, groups_max: usize, numbers_max: usize) {
        if self.left_out_from.as_ref().is_some_and(|from| key >= *from) {
            return;
        }
        match self.groups.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                self.numbers += group.len();
                entry.insert(group);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                let before = known.len();
                known.merge(group);
                self.numbers += known.len() - before;
            }
        }
        // What is left out now would be incomplete if it came again: it stays out, with all behind it.
        while self.groups.len() > groups_max || self.numbers > numbers_max {
            let Some((key, group)) = self.groups.pop_last() else { return };
            self.numbers = self.numbers.saturating_sub(group.len());
            self.left_out_from = Some(key);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.merge_within(other, GROUPS_MAX, NUMBERS_MAX);
    }

    fn merge_within(&mut self, other: Self, groups_max: usize, numbers_max: usize) {
        if let Some(from) = other.left_out_from {
            for group in self.groups.split_off(&from).values() {
                self.numbers = self.numbers.saturating_sub(group.len());
            }
            let nearer = self.left_out_from.as_ref().is_none_or(|mine| from < *mine);
            self.left_out_from = if nearer { Some(from) } else { self.left_out_from.take() };
        }
        for (key, group) in other.groups {
            self.add_within(key, group, groups_max, numbers_max);
        }
        self.comparison.merge(other.comparison);
    }

    /// Moves all lanes of numbers, and those of exemplars; `None` when one would lie before the first.
    pub(super) fn shift(&mut self, by: i64, exemplars: i64) -> Option<()> {
        for group in self.groups.values_mut() {
            match &mut group.cells {
                Cells::Counts(lanes) => lanes.shift(by)?,
                Cells::Most(lanes) => lanes.shift(by)?,
                Cells::Sums(lanes) => lanes.shift(by)?,
            }
            group.exemplars.shift(exemplars)?;
        }
        self.comparison.shift(by)
    }

    /// About how many bytes it takes.
    pub fn memory(&self) -> usize {
        self.numbers * NUMBER_BYTES + self.groups.len() * GROUP_BYTES + self.comparison.memory()
    }

    /// Whether something was left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.left_out_from.is_some() || self.comparison.is_cut()
    }
}

/// A map as a list of pairs, since not every format has keys that are no texts.
pub(crate) mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<'m, S: Serializer, M>(map: &'m M, serializer: S) -> Result<S::Ok, S::Error>
    where
        &'m M: IntoIterator<Item: Serialize>,
    {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, D, K, V, M>(deserializer: D) -> Result<M, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de>,
        V: Deserialize<'de>,
        M: FromIterator<(K, V)> + IntoIterator<Item = (K, V)>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(lanes: &[(u32, u64)]) -> Group {
        Group { cells: Cells::Counts(Lanes(lanes.to_vec())), exemplars: Lanes::default() }
    }

    /// Adds in this order, in partials of so many, which are merged.
    fn limited(order: &[(i64, u32)], size: usize, groups_max: usize, numbers_max: usize) -> Partial {
        let mut all = Partial::default();
        for part in order.chunks(size) {
            let mut partial = Partial::default();
            for (key, lane) in part {
                partial.add_within(vec![Key::Int(*key)], group(&[(*lane, 1)]), groups_max, numbers_max);
            }
            all.merge_within(partial, groups_max, numbers_max);
        }
        all
    }

    #[test]
    fn limits_keep_the_same_groups_whatever_the_order() {
        // Group 3 has ten numbers: with groups 1 and 2 that is too many, at the end only.
        let mut adds: Vec<(i64, u32)> = (0..10).map(|lane| (3, lane)).collect();
        adds.extend([(1, 0), (2, 0), (1, 1), (4, 0), (5, 0), (1, 2), (2, 1), (6, 0)]);
        for rotation in 0..adds.len() {
            adds.rotate_left(rotation);
            for size in [1, 3, 7, 20] {
                let by_number = limited(&adds, size, 100, 12);
                assert_eq!(
                    by_number.groups.keys().cloned().collect::<Vec<_>>(),
                    [[Key::Int(1)], [Key::Int(2)]]
                );
                assert_eq!(by_number.numbers, 5);
                assert!(by_number.is_cut());
                let by_group = limited(&adds, size, 3, 100);
                assert_eq!((by_group.groups.len(), by_group.numbers), (3, 15));
                assert_eq!(by_group.left_out_from, Some(vec![Key::Int(4)]));
            }
        }
        assert!(!limited(&adds, 3, 100, 100).is_cut());
    }
}
