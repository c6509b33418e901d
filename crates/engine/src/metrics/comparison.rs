//! What is known of the values of all attributes, and the series that `compare()` makes of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::key::{Key, value_text};
use super::lanes::{Lanes, Merge};
use super::partial::{GROUP_BYTES, pairs};
use super::series::{Intervals, Series};
use crate::result::AttributeValue;

/// Values of an attribute at the most. Of an attribute with more only the total is known: its values hardly tell a
/// selection from a baseline.
pub const VALUES_MAX: usize = 4_000;
/// Attributes at the most; those whose names come first are kept.
pub const ATTRIBUTES_MAX: usize = 2_000;

/// Attributes that count as nil for a span that lacks them: those that vParquet4 blocks have a column for, by the schema
/// and by the default settings of Tempo. All others are only counted where they are.
const COLUMNS: [&str; 16] = [
    "resource.cluster",
    "resource.namespace",
    "resource.pod",
    "resource.container",
    "resource.k8s.cluster.name",
    "resource.k8s.namespace.name",
    "resource.k8s.pod.name",
    "resource.k8s.container.name",
    "span.http.method",
    "span.http.url",
    "span.http.status_code",
    "span.http.request.method",
    "span.http.route",
    "span.server.address",
    "span.url.path",
    "span.url.route",
];

/// Counts by attribute, value and lane. A lane is an interval of a side: twice the interval, plus one for the selection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Of all spans.
    pub(crate) all: Lanes<u64>,
    /// By name, as labels have it.
    attributes: BTreeMap<String, Values>,
    is_cut: bool,
}

/// What is known of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Values {
    #[serde(with = "pairs")]
    counts: HashMap<Key, Lanes<u64>>,
    /// Where there are too many values: how many spans have one.
    too_many: Option<Lanes<u64>>,
    /// Spans whose value is an array; those are not compared.
    arrays: Lanes<u64>,
}

impl Values {
    fn add(&mut self, key: Key, lanes: Lanes<u64>) {
        match (key, &mut self.too_many) {
            (Key::Nil, _) => self.arrays.merge(lanes),
            (_, Some(total)) => total.merge(lanes),
            (key, None) => {
                match self.counts.get_mut(&key) {
                    Some(known) => known.merge(lanes),
                    None => drop(self.counts.insert(key, lanes)),
                }
                if self.counts.len() > VALUES_MAX {
                    self.forget();
                }
            }
        }
    }

    fn merge(&mut self, mut other: Self) {
        if let Some(total) = other.too_many.take() {
            self.forget().merge(total);
        }
        if self.too_many.is_none() && self.counts.len() < other.counts.len() {
            std::mem::swap(&mut self.counts, &mut other.counts);
        }
        for (key, lanes) in other.counts {
            self.add(key, lanes);
        }
        self.arrays.merge(other.arrays);
    }

    /// Keeps only how many spans have a value.
    fn forget(&mut self) -> &mut Lanes<u64> {
        let counts = std::mem::take(&mut self.counts);
        self.too_many.get_or_insert_with(|| {
            let mut total = Lanes::default();
            counts.into_values().for_each(|lanes| total.merge(lanes));
            total
        })
    }
}

impl Comparison {
    /// Whether only the total of an attribute is still of interest.
    pub(crate) fn has_too_many(&self, name: &str) -> bool {
        self.attributes.get(name).is_some_and(|values| values.too_many.is_some())
    }

    /// Adds counts of values, and for `None` of all values of an attribute that has too many.
    pub(crate) fn add(&mut self, name: &str, counts: impl Iterator<Item = (Option<Key>, Lanes<u64>)>) {
        let values = self.attributes.entry(name.to_owned()).or_default();
        for (key, lanes) in counts {
            match key {
                Some(key) => values.add(key, lanes),
                None => values.forget().merge(lanes),
            }
        }
        self.trim();
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        self.is_cut |= other.is_cut;
        for (name, values) in other.attributes {
            match self.attributes.entry(name) {
                Entry::Occupied(mine) => mine.into_mut().merge(values),
                Entry::Vacant(place) => drop(place.insert(values)),
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.attributes.len() > ATTRIBUTES_MAX {
            self.attributes.pop_last();
            self.is_cut = true;
        }
    }

    /// Whether something was left out.
    /// Moves all lanes; `None` when one would lie before the first.
    pub(super) fn shift(&mut self, by: i64) -> Option<()> {
        self.all.shift(by)?;
        for values in self.attributes.values_mut() {
            let lanes = values.counts.values_mut().chain(&mut values.too_many);
            lanes.chain(std::iter::once(&mut values.arrays)).try_for_each(|lanes| lanes.shift(by))?;
        }
        Some(())
    }

    /// About how many bytes it takes.
    pub(super) fn memory(&self) -> usize {
        let lanes = |lanes: &Lanes<u64>| lanes.0.capacity() * size_of::<(u32, u64)>();
        let of_values = |values: &Values| {
            let counts = values.counts.values().map(|counts| GROUP_BYTES + lanes(counts));
            counts.sum::<usize>() + values.too_many.as_ref().map_or(0, lanes) + lanes(&values.arrays)
        };
        self.attributes.values().map(of_values).sum()
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The series of the baseline, the selection, and their totals.
    pub(crate) fn series(mut self, top_n: usize, time: &Intervals) -> Vec<Series> {
        for column in COLUMNS {
            self.attributes.entry(column.to_owned()).or_default();
        }
        let mut series = Vec::new();
        for (side, name) in [(0, "baseline"), (1, "selection")] {
            let side = Side { side, name, time, all: counts(&self.all, side, time) };
            for (attribute, values) in &self.attributes {
                side.series(attribute, values, top_n, &mut series);
            }
        }
        series
    }
}

/// The counts of one side by interval.
fn counts(lanes: &Lanes<u64>, side: u32, time: &Intervals) -> Vec<u64> {
    let mut counts = vec![0; time.count()];
    add_counts(&mut counts, lanes, side);
    counts
}

fn add_counts(counts: &mut [u64], lanes: &Lanes<u64>, side: u32) {
    for (lane, count) in lanes.0.iter().filter(|(lane, _)| lane & 1 == side) {
        if let Some(place) = counts.get_mut((lane >> 1) as usize) {
            *place += count;
        }
    }
}

/// The selection or the baseline.
struct Side<'a> {
    side: u32,
    name: &'a str,
    time: &'a Intervals,
    /// All of its spans.
    all: Vec<u64>,
}

impl Side<'_> {
    /// The series of an attribute: of the values that are there most often (of equally frequent ones those that come
    /// first as text), and of all of them.
    fn series(&self, attribute: &str, values: &Values, top_n: usize, series: &mut Vec<Series>) {
        let mut total = vec![0; self.time.count()];
        for lanes in values.counts.values().chain(&values.too_many) {
            add_counts(&mut total, lanes, self.side);
        }
        let nil = self.nil(attribute, values, &total);
        total.iter_mut().zip(&nil).for_each(|(total, nil)| *total += nil);
        if total.iter().all(|count| *count == 0) {
            return;
        }
        let text = |text: &str| AttributeValue::String(text.to_owned());
        if values.too_many.is_some() {
            let error = ("__meta_error".to_owned(), text("__too_many_values__"));
            series.push(self.one("", Some(error), (attribute, text("nil")), total.clone()));
        } else {
            for (value, counts) in self.most_frequent(values, nil, top_n) {
                series.push(self.one("", None, (attribute, value), counts));
            }
        }
        series.push(self.one("_total", None, (attribute, text("nil")), total));
    }

    /// The spans that lack an attribute, if they count.
    fn nil(&self, attribute: &str, values: &Values, total: &[u64]) -> Vec<u64> {
        if !COLUMNS.contains(&attribute) {
            return vec![0; total.len()];
        }
        let mut others = total.to_vec();
        add_counts(&mut others, &values.arrays, self.side);
        self.all.iter().zip(others).map(|(all, others)| all.saturating_sub(others)).collect()
    }

    fn most_frequent(&self, values: &Values, nil: Vec<u64>, top_n: usize) -> Vec<(AttributeValue, Vec<u64>)> {
        let nil_key = Key::Text("nil".to_owned());
        let mut ranked: Vec<(u64, &Key)> = Vec::new();
        for (key, lanes) in &values.counts {
            let of_side = lanes.0.iter().filter(|(lane, _)| lane & 1 == self.side);
            let nil = if *key == nil_key { nil.iter().sum() } else { 0 };
            ranked.push((of_side.map(|(_, count)| count).sum::<u64>() + nil, key));
        }
        // A text that says so is not told from nil.
        if !values.counts.contains_key(&nil_key) {
            ranked.push((nil.iter().sum(), &nil_key));
        }
        ranked.retain(|(count, _)| *count > 0);
        ranked.sort_by_cached_key(|(count, key)| (Reverse(*count), value_text(&key.label()), (*key).clone()));
        ranked.truncate(top_n);
        let with_counts = |(_, key): (u64, &Key)| {
            let mut counts = if *key == nil_key { nil.clone() } else { vec![0; nil.len()] };
            if let Some(lanes) = values.counts.get(key) {
                add_counts(&mut counts, lanes, self.side);
            }
            (key.label(), counts)
        };
        ranked.into_iter().map(with_counts).collect()
    }

    fn one(
        &self,
        what: &str,
        error: Option<(String, AttributeValue)>,
        (attribute, value): (&str, AttributeValue),
        counts: Vec<u64>,
    ) -> Series {
        let meta = AttributeValue::String(format!("{}{what}", self.name));
        let mut labels = vec![("__meta_type".to_owned(), meta)];
        labels.extend(error);
        labels.push((attribute.to_owned(), value));
        let sample = |(slot, count)| (self.time.time_ms(slot), count as f64);
        let samples = counts.into_iter().enumerate().map(sample).collect();
        Series { labels, samples, exemplars: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_values_are_too_many_in_any_order() {
        let add = |comparison: &mut Comparison, values: std::ops::Range<i64>| {
            let counts = values.map(|value| (Some(Key::Int(value)), Lanes(vec![(2, 1), (3, 1)])));
            comparison.add("span.n", counts);
        };
        let most = VALUES_MAX as i64;
        let mut whole = Comparison::default();
        add(&mut whole, 0..most);
        assert!(!whole.has_too_many("span.n"));
        add(&mut whole, most - 1..most + 1);
        assert!(whole.has_too_many("span.n"));
        let (mut a, mut b) = (Comparison::default(), Comparison::default());
        add(&mut a, most - 1..most + 1);
        add(&mut b, 0..most);
        a.merge(b);
        assert_eq!(a, whole);
        let series = a.series(10, &Intervals::range(0, 20, 10));
        let of_n: Vec<_> =
            series.iter().filter(|series| series.labels.iter().any(|l| l.0 == "span.n")).collect();
        assert_eq!(of_n.len(), 4, "an error and a total for each side");
        assert_eq!(of_n[0].samples, [(0, 0.0), (0, 0.0 + f64::from(VALUES_MAX as u32 + 2)), (0, 0.0)]);
    }

    #[test]
    fn attributes_are_kept_by_name() {
        let names: Vec<String> = (0..ATTRIBUTES_MAX + 5).map(|n| format!("span.{n:05}")).collect();
        let one = |comparison: &mut Comparison, name: &String| {
            comparison.add(name, std::iter::once((Some(Key::Int(1)), Lanes(vec![(2, 1)]))));
        };
        let (mut forwards, mut backwards) = (Comparison::default(), Comparison::default());
        names.iter().for_each(|name| one(&mut forwards, name));
        names.iter().rev().for_each(|name| one(&mut backwards, name));
        assert_eq!(forwards, backwards);
        assert!(forwards.is_cut());
        assert_eq!(forwards.attributes.len(), ATTRIBUTES_MAX);
    }
}
