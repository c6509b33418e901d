//! Which attributes get a column of their own, chosen by the bytes that they take: a query for one of them then reads its
//! column and not all attributes, and what takes the most bytes is what a query for another would read in vain.
//!
//! What must stay true: the choice depends on nothing but the sizes, what was chosen before and the format, and stands in
//! one order, so that blocks of equal choices can be merged, by Tempo too; and it changes only where it is worth it.
//! Whether a column has a dictionary is decided when it is written, so that nothing is chosen to be a `blob`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trackway_spans::{Level, SpanBatch, TypedAttrs};

use crate::layout::{ColumnType, Layout};
use crate::meta::{DedicatedColumn, Format, default_dedicated_columns, is_fixed};

/// Attributes whose sizes are known at the most, of a level and type. Beyond that those that take the least are forgotten.
pub const ATTRIBUTES_MAX: usize = 1_000;

/// Longer keys are not counted: they get no column.
pub const KEY_BYTES_MAX: usize = 256;

/// About what an attribute takes beside its value when it has no column: the id of its key, and levels in seven leaves.
const ENTRY_BYTES: u64 = 4;

/// An attribute that has no column gets one only if it takes more than one of so many bytes of all attributes: a column
/// has levels for every span, which is more than it saves for one that few spans have. (Measured on 57,000 spans in
/// vParquet5: 61.3 bytes a span with all that there is room for, 60.5 with these.)
const SHARE_MIN: u64 = 100;

/// How much more the bytes of an attribute count that Tempo gives a column by default: those are the ones that people ask
/// for. (A search for `span.http.route` takes a third of the time with its column.)
const ASKED_FOR_WEIGHT: u64 = 8;

/// The levels that a format may have columns for.
const LEVELS: [Level; 3] = [Level::Resource, Level::Span, Level::Event];

/// The bytes that attributes take, by level, type and key. Small enough to be kept a tenant and sent around.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeByAttribute {
    resource: Sizes,
    span: Sizes,
    event: Sizes,
}

/// Bytes by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Sizes {
    string: BTreeMap<String, u64>,
    int: BTreeMap<String, u64>,
}

impl Sizes {
    fn of(&self, kind: ColumnType) -> &BTreeMap<String, u64> {
        match kind {
            ColumnType::Text => &self.string,
            ColumnType::Int => &self.int,
        }
    }
}

impl SizeByAttribute {
    /// The sizes of a batch's attributes, as a block would store them: those of a resource once in each of its traces.
    pub fn of(batch: &SpanBatch) -> Self {
        let mut sizes = Self::default();
        let uses = uses_of_resources(batch);
        for level in LEVELS {
            let weight = |owner: u32| match level {
                Level::Resource => uses.get(owner as usize).copied().unwrap_or(0),
                _ => 1,
            };
            let table = batch.attrs(level);
            let text = |id: &u32| batch.strings.get(*id).len() as u64;
            let int = |_: &i64| size_of::<i64>() as u64;
            let of = sizes.level_mut(level);
            of.string = by_key(batch, &table.strings, weight, text);
            of.int = by_key(batch, &table.ints, weight, int);
        }
        sizes
    }

    /// Adds the sizes of others.
    pub fn merge(&mut self, other: &Self) {
        for level in LEVELS {
            let (into, from) = (self.level_mut(level), other.level(level));
            for (into, from) in [(&mut into.string, &from.string), (&mut into.int, &from.int)] {
                for (key, bytes) in from {
                    let sum = into.entry(key.clone()).or_default();
                    *sum = sum.saturating_add(*bytes);
                }
                keep_largest(into);
            }
        }
    }

    /// Makes them count half, so that what is added now counts more. What comes to nothing is forgotten.
    pub fn halve(&mut self) {
        for level in LEVELS {
            let sizes = self.level_mut(level);
            for of in [&mut sizes.string, &mut sizes.int] {
                of.values_mut().for_each(|bytes| *bytes /= 2);
                of.retain(|_, bytes| *bytes > 0);
            }
        }
    }

    /// The bytes that an attribute takes, 0 when it is not known.
    pub fn bytes(&self, level: Level, kind: ColumnType, key: &str) -> u64 {
        let known = LEVELS.contains(&level).then(|| self.level(level).of(kind).get(key).copied());
        known.flatten().unwrap_or(0)
    }

    /// The bytes of all attributes.
    pub fn total(&self) -> u64 {
        let levels = LEVELS.iter().map(|level| self.level(*level));
        let sizes = levels.flat_map(|sizes| sizes.string.values().chain(sizes.int.values()));
        sizes.fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn level(&self, level: Level) -> &Sizes {
        match level {
            Level::Resource => &self.resource,
            Level::Event => &self.event,
            _ => &self.span,
        }
    }

    fn level_mut(&mut self, level: Level) -> &mut Sizes {
        match level {
            Level::Resource => &mut self.resource,
            Level::Event => &mut self.event,
            _ => &mut self.span,
        }
    }
}

/// In how many traces each resource is.
fn uses_of_resources(batch: &SpanBatch) -> Vec<u64> {
    let mut pairs: Vec<(u32, u32)> =
        (0..batch.len()).map(|span| (batch.resource_of(span) as u32, batch.spans.trace[span])).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut uses = vec![0; batch.resources.service.len()];
    pairs.iter().for_each(|(resource, _)| uses[*resource as usize] += 1);
    uses
}

fn by_key<T: arrow_buffer::ArrowNativeType>(
    batch: &SpanBatch,
    attrs: &TypedAttrs<T>,
    weight: impl Fn(u32) -> u64,
    size: impl Fn(&T) -> u64,
) -> BTreeMap<String, u64> {
    let mut sizes = vec![0_u64; batch.strings.len()];
    for ((owner, key), value) in attrs.owner.iter().zip(attrs.key.iter()).zip(attrs.value.iter()) {
        let sum = &mut sizes[*key as usize];
        *sum = sum.saturating_add(weight(*owner).saturating_mul(ENTRY_BYTES + size(value)));
    }
    let mut named = BTreeMap::new();
    for (key, bytes) in batch.strings.iter().zip(sizes).filter(|(_, bytes)| *bytes > 0) {
        // The name of a column is a text of the configuration: other keys cannot have one.
        let key = str::from_utf8(key).ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
        if let Some(key) = key {
            named.insert(key.to_owned(), bytes);
        }
    }
    keep_largest(&mut named);
    named
}

fn keep_largest(sizes: &mut BTreeMap<String, u64>) {
    if sizes.len() <= ATTRIBUTES_MAX {
        return;
    }
    let mut all: Vec<(String, u64)> = std::mem::take(sizes).into_iter().collect();
    all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes)); // stable: of equal sizes those whose names come first
    all.truncate(ATTRIBUTES_MAX);
    sizes.extend(all);
}

/// A column that may be chosen.
struct Candidate {
    level: Level,
    kind: ColumnType,
    name: String,
    /// Whether it has a column now.
    incumbent: bool,
    /// Its bytes; those of an incumbent and a fifth more.
    score: u64,
}

/// The attributes that get columns in blocks of a format: of each level and type those that take the most bytes, as many
/// as the format has columns for. `before` is what was chosen last: one of those stays while there is room, and gives way
/// only to an attribute that takes a fifth more. Ordered by scope and name.
pub fn choose(sizes: &SizeByAttribute, before: &[DedicatedColumn], format: Format) -> Vec<DedicatedColumn> {
    let layout = Layout::of(format);
    let mut candidates = candidates(sizes, before, format);
    // The best first; what is equal is in the order of levels, types and names.
    candidates.sort_by_key(|candidate| std::cmp::Reverse((candidate.score, candidate.incumbent)));
    let mut taken = [[0; 2]; 5];
    let mut chosen: Vec<DedicatedColumn> = Vec::new();
    for candidate in candidates {
        let Candidate { level, kind, name, .. } = candidate;
        let column = DedicatedColumn::new(level, kind, &name);
        // An attribute has one column, of the type that takes more.
        let known = chosen.iter().any(|other| other.scope == column.scope && other.name == column.name);
        let taken = &mut taken[level as usize][kind as usize];
        if !known && *taken < layout.dedicated_max(level, kind) {
            *taken += 1;
            chosen.push(column);
        }
    }
    chosen.sort_by(|a, b| (&a.scope, &a.name).cmp(&(&b.scope, &b.name)));
    chosen
}

fn candidates(sizes: &SizeByAttribute, before: &[DedicatedColumn], format: Format) -> Vec<Candidate> {
    let least = sizes.total() / SHARE_MIN;
    let asked_for = default_dedicated_columns(format);
    let layout = Layout::of(format);
    let mut candidates = Vec::new();
    for level in LEVELS {
        for kind in [ColumnType::Text, ColumnType::Int] {
            if layout.dedicated_max(level, kind) == 0 {
                continue;
            }
            let is_it = |column: &&DedicatedColumn| {
                column.level() == Some(level) && column.column_type() == Some(kind)
            };
            let mut names: BTreeMap<&str, bool> =
                sizes.level(level).of(kind).keys().map(|name| (name.as_str(), false)).collect();
            names.extend(before.iter().filter(is_it).map(|column| (column.name.as_str(), true)));
            for (name, incumbent) in names {
                let is_asked_for = asked_for.iter().any(|column| is_it(&column) && column.name == name);
                let weight = if is_asked_for { ASKED_FOR_WEIGHT } else { 1 };
                let bytes = sizes.bytes(level, kind, name).saturating_mul(weight);
                if is_fixed(format, level, name) || (!incumbent && bytes <= least) {
                    continue;
                }
                let score = if incumbent { bytes.saturating_add(bytes / 5) } else { bytes };
                candidates.push(Candidate { level, kind, name: name.to_owned(), incumbent, score });
            }
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::usable;
    use ColumnType::{Int, Text};

    fn sizes(of: &[(Level, ColumnType, &str, u64)]) -> SizeByAttribute {
        let mut sizes = SizeByAttribute::default();
        for (level, kind, key, bytes) in of {
            let level = sizes.level_mut(*level);
            let of = if *kind == Text { &mut level.string } else { &mut level.int };
            of.insert((*key).to_owned(), *bytes);
        }
        sizes
    }

    fn names(columns: &[DedicatedColumn]) -> Vec<String> {
        columns.iter().map(|column| format!("{} {} {}", column.scope, column.kind, column.name)).collect()
    }

    #[test]
    fn the_largest_are_chosen_in_one_order() {
        let sizes = sizes(&[
            (Level::Span, Text, "b", 500),
            (Level::Span, Text, "a", 900),
            (Level::Span, Int, "n", 700),
            (Level::Span, Text, "n", 600), // less than as an integer
            (Level::Span, Text, "http.url", 9_000),
            (Level::Resource, Text, "k8s.pod.name", 8_000),
            (Level::Resource, Text, "z", 300),
            (Level::Event, Text, "exception.stacktrace", 5_000),
            (Level::Span, Text, "tiny", 2),
        ]);
        let cases: [(Format, &[&str]); 2] = [
            (Format::VParquet4, &["resource string z", "span string a", "span string b", "span string n"]),
            (
                Format::VParquet5,
                &[
                    "event string exception.stacktrace",
                    "resource string k8s.pod.name",
                    "resource string z",
                    "span string a",
                    "span string b",
                    "span string http.url",
                    "span int n",
                ],
            ),
        ];
        for (format, expected) in cases {
            let chosen = choose(&sizes, &[], format);
            assert_eq!(names(&chosen), expected, "{}", format.name());
            assert_eq!(usable(&chosen, format), chosen);
        }
    }

    #[test]
    fn no_more_are_chosen_than_a_format_has_columns_for() {
        for (level, kind, v4, v5) in [
            (Level::Resource, Text, 10, 20),
            (Level::Resource, Int, 0, 5),
            (Level::Span, Text, 10, 20),
            (Level::Span, Int, 0, 5),
            (Level::Event, Text, 0, 20),
            (Level::Event, Int, 0, 5),
        ] {
            let keys: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
            let of: Vec<_> =
                keys.iter().zip(1000..).map(|(key, bytes)| (level, kind, &key[..], bytes)).collect();
            let many = sizes(&of);
            for (format, count) in [(Format::VParquet4, v4), (Format::VParquet5, v5)] {
                let chosen = choose(&many, &[], format);
                assert_eq!(chosen.len(), count, "{level:?} {kind:?} {}", format.name());
                assert_eq!(usable(&chosen, format), chosen);
                let first = keys.get(40 - count).map(String::as_str);
                assert_eq!(chosen.first().map(|column| &*column.name), first);
                assert_eq!(choose(&many, &chosen, format), chosen, "it stays");
            }
        }
    }

    /// Ten columns are taken; an eleventh attribute has to take a fifth more than the least of them.
    #[test]
    fn an_incumbent_gives_way_only_to_one_that_is_clearly_larger() {
        let nine: Vec<String> = (0..9).map(|n| format!("k{n}")).collect();
        let mut of: Vec<(Level, ColumnType, &str, u64)> =
            nine.iter().map(|name| (Level::Span, Text, name.as_str(), 5_000)).collect();
        of.push((Level::Span, Text, "old", 1_000));
        let before = choose(&sizes(&of), &[], Format::VParquet4);
        assert_eq!(before.len(), 10);
        for (bytes, gives_way) in [(999, false), (1_001, false), (1_200, false), (1_201, true)] {
            let mut now = of.clone();
            now.push((Level::Span, Text, "new", bytes));
            let after = choose(&sizes(&now), &before, Format::VParquet4);
            assert_eq!(after != before, gives_way, "{bytes}");
            assert_eq!(after.iter().any(|column| column.name == "new"), gives_way, "{bytes}");
        }
        // With room, one that is not seen any more stays too.
        let before = choose(&sizes(&of[9..]), &[], Format::VParquet4);
        assert_eq!(
            names(&choose(&sizes(&of[..1]), &before, Format::VParquet4)),
            ["span string k0", "span string old"]
        );
        // What the format cannot do does not stay.
        let event =
            [DedicatedColumn::text(Level::Event, "e"), DedicatedColumn::text(Level::Span, "http.url")];
        assert_eq!(choose(&SizeByAttribute::default(), &event, Format::VParquet4), []);
    }

    #[test]
    fn few_attributes_are_known_and_the_largest_are_among_them() {
        let mut sum = SizeByAttribute::default();
        for part in 0..5_u64 {
            let mut one = SizeByAttribute::default();
            for n in 0..900 {
                one.span.string.insert(format!("{part} {n}"), 10);
            }
            one.span.string.insert("large".to_owned(), 1_000);
            sum.merge(&one);
            assert!(sum.span.string.len() <= ATTRIBUTES_MAX);
        }
        assert_eq!(sum.bytes(Level::Span, Text, "large"), 5_000);
        assert_eq!(sum.bytes(Level::Scope, Text, "large"), 0);
        let mut half = sum.clone();
        half.halve();
        assert_eq!(half.total(), sum.total() / 2);
        let json = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<SizeByAttribute>(&json).unwrap(), sum);
        assert_eq!(serde_json::from_str::<SizeByAttribute>("{}").unwrap(), SizeByAttribute::default());
    }
}
