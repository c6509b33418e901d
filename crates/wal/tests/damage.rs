//! Damaged logs: cut anywhere, any bit flipped, zeros, foreign bytes, newer versions. Whole records are always read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::path::{Path, PathBuf};

use support::{FOLDER, Read, append, follow, log_files, open, open_with, replay_all};
use trackway_common::{ErrorKind, Kinded};
use trackway_wal::{Cursor, Log, LogError, NewRecord, Sequence, SimulatedStorage, replay};

const RECORDS: u64 = 20;

/// A log of some small records: its file, and where each record ends.
struct Written {
    path: PathBuf,
    bytes: Vec<u8>,
    stored: Vec<Read>,
    ends: Vec<usize>,
}

async fn written() -> Written {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let path = |disk| log_files(disk)[0].clone();
    let (mut stored, mut ends) = (Vec::new(), Vec::new());
    for n in 0..RECORDS {
        stored.extend(append(&log, n..n + 1).await);
        ends.push(disk.contents(&path(&disk)).unwrap().len());
    }
    let path = path(&disk);
    Written { bytes: disk.contents(&path).unwrap(), path, stored, ends }
}

impl Written {
    /// A disk that holds these bytes in place of the log.
    fn disk(&self, bytes: Vec<u8>) -> SimulatedStorage {
        let disk = SimulatedStorage::new();
        disk.put(&self.path, bytes);
        disk
    }

    /// The record that a byte belongs to, none for the file's header.
    fn record_of(&self, byte: usize) -> Option<usize> {
        (byte >= 32).then(|| self.ends.iter().position(|end| byte < *end).unwrap())
    }
}

#[tokio::test]
async fn cut_at_every_byte_all_whole_records_before_are_read() {
    let written = written().await;
    for cut in 0..=written.bytes.len() {
        let disk = written.disk(written.bytes[..cut].to_vec());
        let whole = written.ends.iter().filter(|end| **end <= cut).count();
        let (found, seen) = replay_all(&disk, 0);
        assert_eq!(found, written.stored[..whole], "cut at {cut}");
        let good = if whole == 0 { if cut >= 32 { 32 } else { 0 } } else { written.ends[whole - 1] };
        assert_eq!((seen.damaged, seen.torn_bytes), (0, (cut - good) as u64), "cut at {cut}");
        if cut % 16 == 0 {
            // And it goes on from there, with sequences that were never used.
            let log = open(&disk);
            let more = append(&log, 90..92).await;
            assert!(more[0].sequence > whole as u64);
            assert_eq!(follow(&log, &mut Cursor::default()), [&written.stored[..whole], &more].concat());
        }
    }
}

#[tokio::test]
async fn any_flipped_bit_costs_no_other_record() {
    let written = written().await;
    for bit in 0..written.bytes.len() * 8 {
        let mut bytes = written.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (found, seen) = replay_all(&written.disk(bytes), 0);
        let mut expected = written.stored.clone();
        if let Some(hit) = written.record_of(bit / 8) {
            expected.remove(hit);
        }
        assert_eq!(found, expected, "bit {bit}");
        assert_eq!((seen.damaged, seen.torn_bytes), (1, 0), "bit {bit}");
    }
}

#[tokio::test]
async fn damage_is_set_aside_once_and_sequences_are_not_used_again() {
    let written = written().await;
    let mut bytes = written.bytes.clone();
    let (from, to) = (written.ends[17], written.ends[19]);
    bytes[from..to].fill(b'x'); // the last two records
    let disk = written.disk(bytes.clone());
    for _ in 0..2 {
        let (found, seen) = replay_all(&disk, 0);
        assert_eq!(found, written.stored[..18]);
        assert_eq!((seen.damaged, seen.damaged_bytes), (1, (to - from) as u64));
        let aside: Vec<_> = disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with(Path::new(FOLDER).join("quarantine")))
            .collect();
        assert_eq!(aside.len(), 1);
        assert_eq!(disk.contents(&aside[0]).unwrap(), &bytes[from..to]);
    }
    let log = open(&disk);
    assert!(append(&log, 50..51).await[0].sequence > RECORDS);
}

#[tokio::test]
async fn zeros_at_the_end_are_what_a_crash_leaves() {
    let written = written().await;
    for zeros in [1, 63, 64, 5000] {
        let mut bytes = written.bytes.clone();
        bytes.extend(vec![0; zeros]);
        let (found, seen) = replay_all(&written.disk(bytes), 0);
        assert_eq!(found, written.stored);
        assert_eq!((seen.damaged, seen.torn_bytes), (0, zeros as u64));
    }
    let (found, seen) = replay_all(&written.disk(vec![0; 700]), 0);
    assert_eq!((found.len(), seen.damaged, seen.torn_bytes), (0, 0, 700));
}

#[tokio::test]
async fn a_lost_page_costs_what_lay_in_it() {
    let written = written().await;
    for at in (0..written.bytes.len() - 512).step_by(64) {
        let mut bytes = written.bytes.clone();
        bytes[at..at + 512].fill(0);
        let (found, _) = replay_all(&written.disk(bytes), 0);
        let lost = written.record_of(at).unwrap_or(0)..=written.record_of(at + 511).unwrap();
        let kept = written.stored.iter().enumerate().filter(|(index, _)| !lost.contains(index));
        assert_eq!(found, kept.map(|(_, read)| read.clone()).collect::<Vec<_>>(), "at {at}");
    }
}

#[tokio::test]
async fn records_inside_a_body_are_not_records() {
    let inner = written().await;
    // A sender logs the bytes of another log, and of this one, in a span.
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    append(&log, 0..1).await;
    let own = disk.contents(&log_files(&disk)[0]).unwrap();
    let body = [inner.bytes.as_slice(), &own].concat().into();
    log.append(NewRecord { body, ..support::record(1) }).await.unwrap();
    let after = append(&log, 2..4).await;
    drop(log);
    let path = log_files(&disk)[0].clone();
    for hit in [own.len() + 3, own.len() + 200] {
        let mut bytes = disk.contents(&path).unwrap();
        bytes[hit] ^= 4; // in its header, in its body
        let disk = SimulatedStorage::new();
        disk.put(&path, bytes);
        let (found, seen) = replay_all(&disk, 1);
        assert_eq!(found, after);
        assert_eq!(seen.damaged, 1);
    }
}

#[tokio::test]
async fn a_newer_version_is_named_and_nothing_is_changed() {
    let written = written().await;
    let mut file = written.bytes.clone();
    file[8] = 2;
    let crc = crc32fast::hash(&file[..28]).to_le_bytes();
    file[28..32].copy_from_slice(&crc);
    let mut inside = written.bytes.clone();
    let at = written.ends[4];
    inside[at + 4] = 9;
    let crc = crc32fast::hash(&[&inside[at..at + 60], &(at as u64).to_le_bytes()].concat()).to_le_bytes();
    inside[at + 60..at + 64].copy_from_slice(&crc);
    for (bytes, version) in [(file, 2), (inside, 9)] {
        let disk = written.disk(bytes.clone());
        let error = open_with(&disk, support::config()).unwrap_err();
        assert!(
            matches!(error, LogError::NewerFormat { found, known: 1, .. } if found == version),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = replay(&disk, Path::new(FOLDER), Sequence(0), |_| std::ops::ControlFlow::Continue(()));
        assert!(matches!(error, Err(LogError::NewerFormat { .. })));
        assert_eq!(disk.paths(), vec![written.path.clone()]);
        assert_eq!(disk.contents(&written.path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn the_small_files_may_be_damaged() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    append(&log, 0..5).await;
    log.release(Sequence(3)).unwrap();
    drop(log);
    disk.put(&Path::new(FOLDER).join("epoch"), b"garbage".to_vec());
    disk.put(&Path::new(FOLDER).join("low-water"), vec![0; 40]);
    let log = open(&disk);
    assert_eq!((log.epoch().0, log.low_water()), (2, Sequence(0)));
    assert_eq!(append(&log, 0..1).await[0].sequence, 6);
}
