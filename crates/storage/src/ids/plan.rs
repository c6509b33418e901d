//! Which index is written next, over which blocks and in the place of which others.
//!
//! Sizes grow by factors, so that the number of indexes and how often an entry is written anew grow with the logarithm of
//! the number of traces.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::format::{BLOCKS_MAX, ENTRIES_MAX};

/// Blocks that no index covers until one is written.
pub(super) const BLOCKS_MIN: usize = 4;
/// A new index takes in one that is up to so many times as large.
const GROWTH: usize = 4;
/// An index that covers unknown blocks may be of somebody who knows more: until it is so old, it is left alone.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// An index that is there.
#[derive(Clone, Debug)]
pub(super) struct There {
    pub(super) id: Uuid,
    pub(super) blocks: Vec<Uuid>,
    pub(super) entries: usize,
    pub(super) written: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Blocks whose traces go into a new index.
    pub(super) blocks: Vec<Uuid>,
    /// Indexes whose entries go there, and which are deleted then.
    pub(super) merged: Vec<Uuid>,
    /// Indexes that nobody needs.
    pub(super) deleted: Vec<Uuid>,
}

/// The next step, if there is anything to do. `live` are the blocks that are there, with the number of their traces.
pub(super) fn plan(live: &[(Uuid, usize)], there: &[There], now: Timestamp) -> Option<Step> {
    let traces: HashMap<Uuid, usize> = live.iter().copied().collect();
    let count = |index: &There| index.blocks.iter().filter(|block| traces.contains_key(block)).count();
    let is_open = |index: &There| {
        count(index) == index.blocks.len() || now.duration_since(index.written) >= SETTLED_AFTER
    };
    let mut order: Vec<&There> = there.iter().collect();
    order.sort_by_cached_key(|index| (Reverse(count(index)), index.id));
    let mut covered: HashSet<Uuid> = HashSet::new();
    let mut step = Step::default();
    let (mut stale, mut sound) = (Vec::new(), Vec::new());
    for index in order {
        let before = covered.len();
        covered.extend(index.blocks.iter().filter(|block| traces.contains_key(block)));
        if !is_open(index) {
            continue;
        }
        // Of an index of which another one has all, the larger is kept, and of equal ones the first.
        if covered.len() == before {
            step.deleted.push(index.id);
            continue;
        }
        let is_stale = count(index) * 2 < index.blocks.len();
        if is_stale { &mut stale } else { &mut sound }.push(index);
    }
    let uncovered: Vec<(Uuid, usize)> = live
        .iter()
        .filter(|(block, traces)| *traces <= ENTRIES_MAX && !covered.contains(block))
        .copied()
        .collect();
    if !stale.is_empty() || uncovered.len() >= BLOCKS_MIN {
        let mut room = Room::default();
        for index in stale {
            if room.takes(index.entries, count(index)) {
                step.merged.push(index.id);
            }
        }
        for (block, size) in uncovered {
            if room.takes(size, 1) {
                step.blocks.push(block);
            }
        }
        sound.sort_unstable_by_key(|index| (index.entries, index.id));
        for index in sound {
            let is_near = index.entries <= room.entries.saturating_mul(GROWTH);
            if is_near && room.takes(index.entries, count(index)) {
                step.merged.push(index.id);
            }
        }
    }
    (step != Step::default()).then_some(step)
}

/// What an index takes.
#[derive(Default)]
struct Room {
    entries: usize,
    blocks: usize,
}

impl Room {
    fn takes(&mut self, entries: usize, blocks: usize) -> bool {
        let (entries, blocks) = (self.entries.saturating_add(entries), self.blocks + blocks);
        let fits = entries <= ENTRIES_MAX && blocks <= BLOCKS_MAX;
        if fits {
            *self = Self { entries, blocks };
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn block(number: usize) -> Uuid {
        Uuid::from_u128(number as u128 + 1)
    }

    fn blocks(range: std::ops::Range<usize>, traces: usize) -> Vec<(Uuid, usize)> {
        range.map(|number| (block(number), traces)).collect()
    }

    fn index(id: u128, range: std::ops::Range<usize>, hours: i64) -> There {
        let written = NOW - SignedDuration::from_hours(hours);
        There {
            id: Uuid::from_u128(id << 64),
            entries: range.len(),
            blocks: range.map(block).collect(),
            written,
        }
    }

    /// Does all that is to be done; returns the traces that were written.
    fn settle(live: &[(Uuid, usize)], there: &mut Vec<There>) -> usize {
        let mut written = 0;
        for _ in 0..100 {
            let Some(step) = plan(live, there, NOW) else { return written };
            let mut blocks = step.blocks.clone();
            for index in there.iter().filter(|index| step.merged.contains(&index.id)) {
                blocks.extend(index.blocks.iter().filter(|id| live.iter().any(|(live, _)| live == *id)));
            }
            let traces =
                |id: &Uuid| live.iter().find(|(live, _)| live == id).map_or(0, |(_, traces)| *traces);
            let size: usize = blocks.iter().map(traces).sum();
            assert!(size <= ENTRIES_MAX);
            there.retain(|index| !step.merged.contains(&index.id) && !step.deleted.contains(&index.id));
            if !blocks.is_empty() {
                written += size;
                let id = Uuid::from_u128((live.len() as u128) << 64 | written as u128);
                there.push(There { id, blocks, entries: size, written: NOW });
            }
        }
        panic!("it does not come to rest");
    }

    #[test]
    fn few_indexes_cover_many_blocks_and_little_is_written_twice() {
        let (mut there, mut written) = (Vec::new(), 0);
        for count in 1..=200 {
            written += settle(&blocks(0..count, 10_000), &mut there);
            assert!(there.len() <= 4, "{} of {count} blocks", there.len());
            let covered: usize = there.iter().map(|index| index.blocks.len()).sum();
            assert!(covered + BLOCKS_MIN > count);
        }
        assert!(written <= 2_000_000 * 16, "{written}");
    }

    #[test]
    fn there_are_several_when_one_would_be_too_large() {
        let mut there = Vec::new();
        let written = settle(&blocks(0..1_000, 10_000), &mut there);
        assert_eq!(written, 10_000_000);
        assert_eq!(there.len(), 5);
        // One that is too large for any is asked itself, and does not keep the others from being covered.
        let mut live = blocks(0..8, 10);
        live.push((block(8), ENTRIES_MAX + 1));
        let mut there = Vec::new();
        settle(&live, &mut there);
        assert_eq!(there[0].blocks, (0..8).map(block).collect::<Vec<_>>());
    }

    #[test]
    fn what_nobody_needs_goes_and_what_is_half_gone_is_written_anew() {
        let live = blocks(0..10, 100);
        let cases = [
            ("all are gone", vec![index(1, 0..10, 1), index(2, 10..20, 1)], &[(0, 10)][..]),
            ("less than half is there", vec![index(1, 6..20, 1), index(2, 0..6, 1)], &[(0, 10)][..]),
            ("half is there", vec![index(1, 0..20, 1)], &[(0, 20)][..]),
            ("another one has all of it", vec![index(1, 0..10, 1), index(2, 2..7, 1)], &[(0, 10)][..]),
            (
                "somebody may know more",
                vec![index(1, 0..10, 0), index(2, 10..20, 0)],
                &[(0, 10), (10, 20)][..],
            ),
            ("too few are not covered", vec![index(1, 0..7, 1)], &[(0, 7)][..]),
        ];
        for (case, mut there, want) in cases {
            settle(&live, &mut there);
            let mut got: Vec<Vec<Uuid>> = there.into_iter().map(|index| index.blocks).collect();
            got.iter_mut().for_each(|blocks| blocks.sort_unstable());
            got.sort_unstable();
            let want: Vec<Vec<Uuid>> =
                want.iter().map(|(start, end)| (*start..*end).map(block).collect()).collect();
            assert_eq!(got, want, "{case}");
        }
    }
}
