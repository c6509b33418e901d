//! A failing disk: what was acknowledged stays, what failed is refused, and it goes on when the disk does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{Read, append, as_read, config, follow, log_files, open, open_with, record, replay_all};
use trackway_common::{ErrorKind, Kinded};
use trackway_wal::{Cursor, Faults, Log, LogConfig, LogError, Sequence, SimulatedStorage};

#[tokio::test]
async fn short_writes_are_finished() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    disk.faults(|faults| faults.short_writes = Some(7));
    let stored = append(&log, 0..30).await;
    drop(log);
    assert_eq!(replay_all(&disk.power_loss(0), 0).0, stored);
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_more_when_there_is_room() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let mut stored = append(&log, 0..5).await;
    let good = disk.contents(&log_files(&disk)[0]).unwrap();
    let used = disk.used();
    let held = log.bytes();
    for room in 0..80 {
        disk.faults(|faults| faults.capacity = Some(used + room));
        let error = log.append(record(6)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().starts_with("no space left on /data/wal/wal-"), "{error}");
        assert!(error.to_string().ends_with(": free some, senders are told to retry"), "{error}");
        assert_eq!(disk.contents(&log_files(&disk)[0]).unwrap(), good);
        assert_eq!(log.bytes(), held);
    }
    disk.faults(|faults| faults.capacity = None);
    stored.extend(append(&log, 7..9).await);
    assert_eq!(follow(&log, &mut Cursor::default()), stored);
    drop(log);
    let (found, seen) = replay_all(&disk.power_loss(0), 0);
    assert_eq!((found, seen.damaged, seen.torn_bytes), (stored, 0, 0));
}

#[tokio::test]
async fn a_full_disk_can_be_released() {
    let disk = SimulatedStorage::new();
    let log = open_with(&disk, LogConfig { segment_bytes: 500, ..config() }).unwrap();
    append(&log, 0..20).await;
    disk.faults(|faults| faults.capacity = Some(0)); // not even room for the mark
    log.release(Sequence(20)).unwrap_err();
    assert!(log_files(&disk).len() <= 1);
    let used = disk.used();
    disk.faults(|faults| faults.capacity = Some(used + 100));
    log.release(Sequence(20)).unwrap();
    assert_eq!(log.low_water(), Sequence(20));
}

#[tokio::test]
async fn a_failed_sync_costs_its_group_and_a_new_file_is_started() {
    for untruncated in [0, 1] {
        let disk = SimulatedStorage::new();
        let log = open(&disk);
        let mut stored = append(&log, 0..5).await;
        disk.faults(|faults| (faults.failing_syncs, faults.failing_truncates) = (1, untruncated));
        let error = log.append(record(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(matches!(error, LogError::Io { what: "sync", .. }), "{error}");
        stored.extend(append(&log, 6..9).await);
        assert_eq!(log_files(&disk).len(), 2);
        assert_eq!(follow(&log, &mut Cursor::default()), stored);
        drop(log);
        for kept in [0, 50, 1000] {
            let (found, _) = replay_all(&disk.power_loss(kept), 0);
            assert_eq!(found, stored);
        }
    }
}

#[tokio::test]
async fn a_new_file_counts_when_its_folder_is_synced() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    disk.faults(|faults| faults.failing_folder_syncs = 1);
    assert_eq!(log.append(record(0)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(log_files(&disk).len(), 0);
    let stored = append(&log, 1..2).await;
    assert_eq!(replay_all(&disk.power_loss(0), 0).0, stored);
}

#[tokio::test]
async fn a_failed_write_that_cannot_be_cut_off_ends_the_file() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let mut stored = append(&log, 0..3).await;
    disk.faults(|faults| (faults.failing_writes, faults.failing_truncates) = (1, 2));
    log.append(record(3)).await.unwrap_err();
    stored.extend(append(&log, 4..6).await);
    assert_eq!(follow(&log, &mut Cursor::default()), stored);
    assert_eq!(replay_all(&disk, 0).0, stored);
}

#[tokio::test]
async fn an_epoch_that_cannot_be_stored_is_not_used() {
    let disk = SimulatedStorage::new();
    drop(open(&disk));
    disk.faults(|faults| faults.failing_syncs = 1);
    assert_eq!(open_with(&disk, config()).unwrap_err().kind(), ErrorKind::Unavailable);
    let disk = disk.power_loss(0);
    assert_eq!(open(&disk).epoch().0, 2);
}

#[tokio::test]
async fn a_log_on_a_full_disk_is_read_and_takes_more_when_there_is_room() {
    let disk = SimulatedStorage::new();
    let mut stored = append(&open(&disk), 0..5).await;
    let used = disk.used();
    for room in 0..20 {
        disk.faults(|faults| faults.capacity = Some(used + room));
        let log = open(&disk);
        assert_eq!(follow(&log, &mut Cursor::default()), stored);
        for _again in 0..2 {
            let error = log.append(record(6)).await.unwrap_err();
            assert!(matches!(error, LogError::NoSpace { .. }), "{error}");
        }
        assert_eq!(log_files(&disk).len(), 1);
    }
    let log = open(&disk);
    disk.faults(|faults| faults.capacity = None);
    stored.extend(append(&log, 7..9).await);
    drop(log);
    let disk = disk.power_loss(0);
    assert_eq!(replay_all(&disk, 0).0, stored);
    // What was written under the second epoch is not written over.
    let log = open(&disk);
    assert_eq!(log.epoch().0, 3);
    stored.extend(append(&log, 9..11).await);
    assert_eq!(follow(&log, &mut Cursor::default()), stored);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    ShortWrites(Option<usize>),
    FailWrite { truncate_too: bool },
    FailSync { truncate_too: bool },
    FailFolderSync,
    Full(usize),
    Room,
    Release(u64),
    Restart,
    PowerLoss(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_usize..6).prop_map(Step::Append),
        1 => proptest::option::of(1_usize..100).prop_map(Step::ShortWrites),
        1 => any::<bool>().prop_map(|truncate_too| Step::FailWrite { truncate_too }),
        1 => any::<bool>().prop_map(|truncate_too| Step::FailSync { truncate_too }),
        1 => Just(Step::FailFolderSync),
        1 => (0_usize..400).prop_map(Step::Full),
        2 => Just(Step::Room),
        1 => (0_u64..20).prop_map(Step::Release),
        1 => Just(Step::Restart),
        2 => (0_usize..600).prop_map(Step::PowerLoss),
    ]
}

/// What must be there, and what may be.
#[derive(Debug, Default)]
struct Model {
    sent: u64,
    acknowledged: BTreeMap<u64, Read>,
    failed: Vec<Vec<u8>>,
    released: u64,
}

impl Model {
    fn check(&self, found: &[Read], after: Sequence) {
        assert!(found.is_sorted_by(|a, b| a.sequence < b.sequence));
        for read in found {
            let known =
                self.acknowledged.get(&read.sequence) == Some(read) || self.failed.contains(&read.body);
            assert!(known, "not sent like this: {read:?}");
        }
        // A release that could not store its mark may have deleted files all the same.
        for (sequence, read) in self.acknowledged.range(after.0.max(self.released) + 1..) {
            assert!(found.contains(read), "{sequence} is missing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails and whenever the power goes: what was acknowledged and not released is read, in order, and
    /// nothing that was not sent.
    #[test]
    fn acknowledged_is_kept(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}

async fn run(steps: Vec<Step>) {
    let small = || LogConfig { segment_bytes: 600, ..config() };
    let mut disk = SimulatedStorage::new();
    let mut log = open_with(&disk, small()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(count) => {
                for n in model.sent..model.sent + count as u64 {
                    match log.append(record(n)).await {
                        Ok(sequence) => {
                            let before = model.acknowledged.insert(sequence.0, as_read(sequence, &record(n)));
                            assert_eq!(before, None);
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable);
                            model.failed.push(record(n).body.to_vec());
                        }
                    }
                }
                model.sent += count as u64;
            }
            Step::ShortWrites(bytes) => disk.faults(|faults| faults.short_writes = bytes),
            Step::FailWrite { truncate_too } => disk.faults(|faults| {
                (faults.failing_writes, faults.failing_truncates) = (1, u32::from(truncate_too));
            }),
            Step::FailSync { truncate_too } => disk.faults(|faults| {
                (faults.failing_syncs, faults.failing_truncates) = (1, u32::from(truncate_too));
            }),
            Step::FailFolderSync => disk.faults(|faults| faults.failing_folder_syncs = 1),
            Step::Full(room) => {
                let used = disk.used();
                disk.faults(|faults| faults.capacity = Some(used + room));
            }
            Step::Room => disk.faults(|faults| faults.capacity = None),
            Step::Release(back) => {
                let last = *log.durable().borrow();
                let up_to = last.0.saturating_sub(back);
                model.released = model.released.max(up_to);
                let _full = log.release(Sequence(up_to));
            }
            Step::Restart | Step::PowerLoss(_) => {
                drop(log);
                if let Step::PowerLoss(kept) = step {
                    disk = disk.power_loss(kept);
                }
                // A disk that is full stays full.
                disk.faults(|faults| *faults = Faults { capacity: faults.capacity, ..Faults::default() });
                log = open_with(&disk, small()).unwrap();
                let low_water = log.low_water();
                model.check(&replay_all(&disk, low_water.0).0, low_water);
            }
        }
        let low_water = log.low_water();
        model.check(&follow(&log, &mut Cursor::after(low_water)), low_water);
    }
}
