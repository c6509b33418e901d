//! Which blocks are merged with which: those that end in the same window of time, by Tempo's rules but for two. Blocks of
//! different formats, or with different dedicated columns, are merged too, since none of both is of any matter once they
//! are read. And no window is passed over between active and old ones: two compactors that choose the same block do no
//! harm, since one of their commits fails.
//!
//! Trace ids are random, so every merge decodes and encodes all that it merges. Few, large merges are therefore better than
//! many small ones: while more blocks of a window may still come, only full sets of equals are merged.

use std::collections::BTreeMap;

use jiff::Timestamp;
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

use crate::config::Config;

/// Windows that end within this time count as active: their blocks are merged with those of their own level.
const ACTIVE_SECONDS: i64 = 24 * 3600;
/// A window gets no more blocks when it ended so many windows ago.
const CLOSED_AFTER: i64 = 2;

/// Blocks to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Two or more.
    pub inputs: Vec<Uuid>,
}

/// What blocks must have in common to be merged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    /// Newest windows first.
    age: i64,
    /// In active windows only.
    level: u32,
    replication_factor: u32,
}

/// The work that there is, the most urgent first. What is `set_aside` is left out.
pub fn jobs(
    blocks: &[&BlockMeta],
    set_aside: impl Fn(Uuid) -> bool,
    now: Timestamp,
    config: &Config,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (group, mut blocks) in groups(blocks, set_aside, now, config) {
        blocks.sort_by_key(|meta| (meta.total_objects, meta.block_id));
        let may_wait = group.age < CLOSED_AFTER;
        let mut rest = &blocks[..];
        while !rest.is_empty() {
            let (job, after) = rest.split_at(fitting(rest, config));
            let fewest = if may_wait { config.max_inputs } else { config.min_inputs };
            if job.len() >= fewest.max(2) {
                jobs.push(Job { inputs: job.iter().map(|meta| meta.block_id).collect() });
            }
            rest = after;
        }
    }
    jobs
}

/// Blocks that are merged away when all is done, and their bytes.
pub fn debt(
    blocks: &[&BlockMeta],
    set_aside: impl Fn(Uuid) -> bool,
    now: Timestamp,
    config: &Config,
) -> (usize, u64) {
    let known: BTreeMap<Uuid, u64> = blocks.iter().map(|meta| (meta.block_id, meta.size)).collect();
    let inputs: Vec<Uuid> =
        jobs(blocks, set_aside, now, config).into_iter().flat_map(|job| job.inputs).collect();
    (inputs.len(), inputs.iter().filter_map(|block| known.get(block)).sum())
}

fn groups<'b>(
    blocks: &[&'b BlockMeta],
    set_aside: impl Fn(Uuid) -> bool,
    now: Timestamp,
    config: &Config,
) -> BTreeMap<Group, Vec<&'b BlockMeta>> {
    let window = i64::try_from(config.window.as_secs()).unwrap_or(i64::MAX).max(1);
    let active = ACTIVE_SECONDS / window;
    let mut groups: BTreeMap<Group, Vec<&BlockMeta>> = BTreeMap::new();
    for meta in blocks.iter().copied().filter(|meta| !set_aside(meta.block_id)) {
        let age = now.as_second().div_euclid(window) - meta.end_time.as_second().div_euclid(window);
        if config.max_level > 0 && meta.compaction_level >= config.max_level {
            continue;
        }
        let group = Group {
            age,
            level: if age <= active { meta.compaction_level } else { 0 },
            replication_factor: meta.replication_factor,
        };
        groups.entry(group).or_default().push(meta);
    }
    groups
}

/// How many of the first blocks fit into one; at least one.
fn fitting(blocks: &[&BlockMeta], config: &Config) -> usize {
    let (mut objects, mut bytes) = (0_u64, 0_u64);
    let fits = |meta: &&&BlockMeta| {
        objects = objects.saturating_add(meta.total_objects);
        bytes = bytes.saturating_add(meta.size);
        objects <= config.max_objects && bytes <= config.max_bytes
    };
    blocks.iter().take(config.max_inputs.max(2)).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config() -> Config {
        Config {
            merges: true,
            format: trackway_vparquet::meta::Format::VParquet4,
            folder: std::path::PathBuf::new(),
            window: Duration::from_secs(3600),
            max_objects: 100,
            max_bytes: 1_000,
            min_inputs: 2,
            max_inputs: 4,
            max_level: 0,
            retention: Duration::ZERO,
            compacted_retention: Duration::ZERO,
            cycle: Duration::ZERO,
            max_time_per_tenant: Duration::ZERO,
            deletes_empty_tenants: false,
            empty_tenant_age: Duration::ZERO,
            start_after: Duration::ZERO,
        }
    }

    /// A block by its number, hours before now at which it ends, level and traces.
    fn block(id: u128, hours: i64, level: u32, objects: u64) -> BlockMeta {
        BlockMeta {
            format: "vParquet4".to_owned(),
            block_id: Uuid::from_u128(id),
            tenant_id: "t".to_owned(),
            start_time: Timestamp::UNIX_EPOCH,
            end_time: Timestamp::from_second(NOW - hours * 3600).unwrap(),
            total_objects: objects,
            size: objects,
            compaction_level: level,
            index_page_size: 0,
            total_records: 1,
            bloom_shards: 1,
            footer_size: 0,
            filter_bytes: 0,
            dedicated_columns: Vec::new(),
            replication_factor: 1,
            covers: Vec::new(),
            compacted_time: None,
        }
    }

    /// In the middle of an hour.
    const NOW: i64 = 500_000 * 3600 + 1800;

    fn selected(blocks: &[BlockMeta], config: &Config) -> Vec<Vec<u128>> {
        let blocks: Vec<&BlockMeta> = blocks.iter().collect();
        let jobs = jobs(&blocks, |id| id.as_u128() == 99, Timestamp::from_second(NOW).unwrap(), config);
        jobs.into_iter().map(|job| job.inputs.iter().map(|id| id.as_u128()).collect()).collect()
    }

    #[test]
    fn blocks_of_one_window_and_level_are_merged() {
        type Case = (&'static str, Vec<BlockMeta>, Vec<Vec<u128>>);
        let other_format = BlockMeta { format: "vParquet3".to_owned(), ..block(2, 5, 0, 1) };
        let copy = BlockMeta { replication_factor: 0, ..block(2, 5, 0, 1) };
        let of_level = |level| (1..=4).map(|id| block(id, 0, level, 1)).collect::<Vec<_>>();
        let cases: [Case; 11] = [
            ("nothing", vec![], vec![]),
            ("one", vec![block(1, 5, 0, 1)], vec![]),
            ("two of a closed window", vec![block(1, 5, 0, 1), block(2, 5, 0, 1)], vec![vec![1, 2]]),
            ("two of an open one wait", vec![block(1, 0, 0, 1), block(2, 0, 0, 1)], vec![]),
            ("four of an open one do not", of_level(0), vec![vec![1, 2, 3, 4]]),
            ("two windows", vec![block(1, 5, 0, 1), block(2, 6, 0, 1)], vec![]),
            ("two levels", vec![block(1, 5, 0, 1), block(2, 5, 1, 1)], vec![]),
            ("two levels of an old window", vec![block(1, 30, 0, 1), block(2, 30, 1, 1)], vec![vec![1, 2]]),
            ("two formats", vec![block(1, 5, 0, 1), other_format], vec![vec![1, 2]]),
            ("another replication factor", vec![block(1, 5, 0, 1), copy], vec![]),
            ("set aside", vec![block(1, 5, 0, 1), block(99, 5, 0, 1)], vec![]),
        ];
        for (what, blocks, expected) in cases {
            assert_eq!(selected(&blocks, &config()), expected, "{what}");
        }
    }

    #[test]
    fn merged_blocks_stay_within_their_limits() {
        let blocks = |objects: &[u64]| -> Vec<BlockMeta> {
            (1..).zip(objects).map(|(id, objects)| block(id, 5, 0, *objects)).collect()
        };
        assert_eq!(selected(&blocks(&[60, 50, 30]), &config()), [vec![3, 2]], "smallest first");
        assert_eq!(selected(&blocks(&[200, 10, 20]), &config()), [vec![2, 3]]);
        assert_eq!(selected(&blocks(&[1; 6]), &config()), [vec![1, 2, 3, 4], vec![5, 6]]);
        let small = Config { max_bytes: 25, ..config() };
        assert_eq!(selected(&blocks(&[10, 10, 10]), &small), [vec![1, 2]]);
        let leveled = Config { max_level: 1, ..config() };
        assert!(selected(&[block(1, 30, 1, 1), block(2, 30, 1, 1)], &leveled).is_empty());
    }
}
