//! A block as the catalogue knows it: what its `meta.json` says, with the records of logs that it was made of; or why it
//! cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

/// Records of an ingester's log whose spans are in a block: `trackwayLog` in `meta.json`, which Tempo ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRanges {
    /// Which log.
    pub log: Uuid,
    /// First and last sequence of each run, ascending.
    pub ranges: Vec<(u64, u64)>,
}

impl LogRanges {
    /// From any sequences.
    pub fn new(log: Uuid, mut sequences: Vec<u64>) -> Self {
        sequences.sort_unstable();
        sequences.dedup();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for sequence in sequences {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == sequence => *last = sequence,
                _ => ranges.push((sequence, sequence)),
            }
        }
        Self { log, ranges }
    }

    /// The records of several blocks together, by log, without those up to which `released` says that nobody will read
    /// them again.
    pub fn joined<'r>(
        lists: impl IntoIterator<Item = &'r Self>,
        released: impl Fn(Uuid) -> Option<u64>,
    ) -> Vec<Self> {
        let mut by_log: BTreeMap<Uuid, Vec<(u64, u64)>> = BTreeMap::new();
        for list in lists {
            let of_use = |range: &&(u64, u64)| released(list.log).is_none_or(|released| range.1 > released);
            by_log.entry(list.log).or_default().extend(list.ranges.iter().filter(of_use));
        }
        let joined = by_log.into_iter().map(|(log, mut ranges)| {
            ranges.sort_unstable();
            ranges.dedup_by(|next, range| {
                let touches = next.0 <= range.1.saturating_add(1);
                range.1 = if touches { range.1.max(next.1) } else { range.1 };
                touches
            });
            Self { log, ranges }
        });
        joined.filter(|list| !list.ranges.is_empty()).collect()
    }

    /// Whether a record of the log is among them.
    pub fn contains(&self, sequence: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < sequence);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= sequence)
    }
}

/// A block that exists. Serialised, it is its `meta.json`, with what Trackway adds to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockEntry {
    /// What it says about itself.
    #[serde(flatten, with = "shared")]
    pub meta: Arc<BlockMeta>,
    /// The records of logs that it was made of, as far as it is known and still of use.
    #[serde(
        rename = "trackwayLog",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub log: Vec<LogRanges>,
}

impl BlockEntry {
    /// `meta.json` of the block, with what Trackway adds to it.
    pub fn meta_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A value that is shared, as the value.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        T::serialize(value, to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

/// A list, or the one entry that stood there before there could be several.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<LogRanges>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(LogRanges),
        Many(Vec<LogRanges>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(ranges) => vec![ranges],
        OneOrMany::Many(ranges) => ranges,
    })
}

/// A block that lies in the store and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableBlock {
    /// Which one.
    pub id: Uuid,
    /// What is wrong with it, and where it lies.
    pub problem: String,
    /// Its format, when that is what is wrong.
    pub format: Option<String>,
    /// Its first and last second, when it says so.
    pub range: Option<(Timestamp, Timestamp)>,
}

impl UnreadableBlock {
    /// Whether something between two times (Unix nanoseconds, `None` for all time) may be in it.
    pub fn may_overlap(&self, range: Option<(u64, u64)>) -> bool {
        let (Some((first, last)), Some((start, end))) = (self.range, range) else { return true };
        // Times in `meta.json` may be cut to whole seconds.
        first.as_nanosecond() <= i128::from(end) && last.as_nanosecond() + 1_000_000_000 >= i128::from(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_runs() {
        let log = LogRanges::new(Uuid::nil(), vec![7, 3, 4, 5, 9, 4]);
        assert_eq!(log.ranges, [(3, 5), (7, 7), (9, 9)]);
        let held: Vec<u64> = (0..12).filter(|sequence| log.contains(*sequence)).collect();
        assert_eq!(held, [3, 4, 5, 7, 9]);
    }
}
