//! The log when nothing goes wrong: order, grouping, files, release, restarts, its bounds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use support::{append, as_read, config, follow, log_files, open, open_with, record, replay_all, sized};
use tokio::task::JoinSet;
use trackway_common::{ErrorKind, Kinded, SystemRandom};
use trackway_wal::{
    Cursor, Epoch, LocalLog, LocalStorage, Log, LogConfig, LogError, MAX_RECORD_BYTES, NewRecord, Sequence,
    SimulatedStorage, SyncMode, replay,
};

#[tokio::test]
async fn what_was_appended_is_replayed() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let mut stored = append(&log, 0..50).await;
    let large = sized(50, 3 << 20); // larger than what is read at once
    stored.push(as_read(log.append(large.clone()).await.unwrap(), &large));
    stored.extend(append(&log, 51..60).await);
    assert_eq!(stored.iter().map(|read| read.sequence).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    assert_eq!(follow(&log, &mut Cursor::default()), stored);
    drop(log);
    let (found, seen) = replay_all(&disk, 0);
    assert_eq!(found, stored);
    assert_eq!((seen.records, seen.damaged, seen.torn_bytes), (60, 0, 0));
    assert_eq!(replay_all(&disk, 55).0, stored[55..]);
}

#[tokio::test]
async fn a_visitor_can_stop_and_a_cursor_goes_on() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let stored = append(&log, 0..10).await;
    let mut cursor = Cursor::default();
    let mut seen = 0;
    let mut visit = |_: trackway_wal::RecordRef<'_>| {
        seen += 1;
        if seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert!(log.read(&mut cursor, &mut visit).unwrap().stopped);
    assert_eq!(cursor.sequence(), Sequence(4));
    assert_eq!(follow(&log, &mut cursor), stored[4..]);
    assert_eq!(follow(&log, &mut cursor), []);
    let mut durable = log.durable();
    durable.mark_unchanged();
    let more = append(&log, 10..12).await;
    assert!(durable.has_changed().unwrap());
    assert_eq!(follow(&log, &mut cursor), more);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_at_once_are_all_stored_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/wal");
    let config = LogConfig { segment_bytes: 64 << 10, ..LogConfig::new(&path) };
    let log = Arc::new(LocalLog::open(config.clone(), Arc::new(LocalStorage), &SystemRandom).unwrap());
    let mut senders = JoinSet::new();
    for sender in 0..20 {
        let log = Arc::clone(&log);
        senders.spawn(async move {
            let mut stored = Vec::new();
            for n in 0..50 {
                let record = sized(sender * 1000 + n, 100 + usize::try_from(n).unwrap() * 200);
                stored.push(as_read(log.append(record.clone()).await.unwrap(), &record));
            }
            assert!(stored.is_sorted_by_key(|read| read.sequence));
            stored
        });
    }
    let mut stored: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    stored.sort_by_key(|read| read.sequence);
    drop(log);
    let mut found = Vec::new();
    replay(&LocalStorage, &path, Sequence(0), support::collect(&mut found)).unwrap();
    assert_eq!(found, stored);
    let log = LocalLog::open(config, Arc::new(LocalStorage), &SystemRandom).unwrap();
    assert_eq!(log.epoch(), Epoch(2));
    assert!(std::fs::read_dir(&path).unwrap().count() > 50);
    log.release(Sequence(1000)).unwrap();
    assert_eq!(log.bytes(), 0);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
    assert_eq!(log.append(record(1)).await.unwrap(), Sequence(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_stores_all_that_came_while_the_last_one_ran() {
    let disk = SimulatedStorage::new();
    let log = Arc::new(open(&disk));
    append(&log, 0..1).await;
    let before = disk.counts();
    disk.faults(|faults| faults.hold_syncs = true);
    let first = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.append(record(1)).await }
    });
    disk.wait_for_syncs(before.syncs + 1); // the writer has the first one, and hangs in its sync
    let others: Vec<_> = (2..102).map(|n| log.append(record(n))).collect();
    let mut others = Box::pin(futures_join(others));
    // Everybody is in the queue after one poll.
    assert!(poll_once(&mut others).await.is_none());
    disk.faults(|faults| faults.hold_syncs = false);
    assert_eq!(first.await.unwrap().unwrap(), Sequence(2));
    let sequences: Vec<_> = others.await.into_iter().map(|sequence| sequence.unwrap().0).collect();
    assert_eq!(sequences, (3..103).collect::<Vec<_>>());
    let after = disk.counts();
    assert_eq!(after.syncs - before.syncs, 2);
    assert_eq!(after.writes - before.writes, 2);
    assert_eq!(after.folder_syncs, before.folder_syncs);
}

#[tokio::test]
async fn without_sync_nothing_is_synced() {
    let disk = SimulatedStorage::new();
    let log = open_with(&disk, LogConfig { sync: SyncMode::Os, ..config() }).unwrap();
    let before = disk.counts();
    let stored = append(&log, 0..20).await;
    assert_eq!((disk.counts().syncs, disk.counts().folder_syncs), (before.syncs, before.folder_syncs));
    drop(log);
    assert_eq!(replay_all(&disk, 0).0, stored);
}

#[tokio::test]
async fn files_roll_and_go_when_they_are_released() {
    let disk = SimulatedStorage::new();
    let config = LogConfig { segment_bytes: 1000, ..config() };
    let log = open_with(&disk, config.clone()).unwrap();
    let stored = append(&log, 0..60).await;
    let files = log_files(&disk);
    assert!(files.len() > 5);
    for file in &files {
        assert!(disk.contents(file).unwrap().len() <= 1000);
    }
    let on_disk = |disk: &SimulatedStorage| -> u64 {
        log_files(disk).iter().map(|file| disk.contents(file).unwrap().len() as u64).sum()
    };
    assert_eq!(log.bytes(), on_disk(&disk));
    log.release(Sequence(30)).unwrap();
    assert_eq!(log.low_water(), Sequence(30));
    assert_eq!(log.bytes(), on_disk(&disk));
    assert!(log_files(&disk).len() < files.len());
    assert_eq!(follow(&log, &mut Cursor::after(log.low_water())), stored[30..]);
    // The mark is kept over a restart, and never goes back or beyond what is there.
    drop(log);
    let log = open_with(&disk, config.clone()).unwrap();
    assert_eq!((log.epoch(), log.low_water()), (Epoch(2), Sequence(30)));
    assert_eq!(follow(&log, &mut Cursor::after(log.low_water())), stored[30..]);
    log.release(Sequence(10)).unwrap();
    assert_eq!(log.low_water(), Sequence(30));
    log.release(Sequence(1_000_000)).unwrap();
    assert_eq!(log.low_water(), Sequence(60));
    assert_eq!(log.bytes(), 0);
    assert_eq!(log_files(&disk), Vec::<std::path::PathBuf>::new());
    // No file is left, and still no sequence is used twice.
    drop(log);
    let log = open_with(&disk, config).unwrap();
    assert_eq!(append(&log, 0..1).await[0].sequence, 61);
}

#[tokio::test]
async fn a_file_that_is_being_written_goes_when_all_of_it_is_released() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    append(&log, 0..5).await;
    log.release(Sequence(5)).unwrap();
    let stored = append(&log, 5..6).await; // the writer looks at the release first
    assert_eq!(log_files(&disk).len(), 1);
    assert!(log_files(&disk)[0].to_str().unwrap().ends_with("00000006.log"));
    assert_eq!(follow(&log, &mut Cursor::default()), stored);
    drop(log);
    assert_eq!(replay_all(&disk, 5).0, stored);
}

#[tokio::test]
async fn a_full_log_says_which_setting_and_takes_more_after_a_release() {
    let disk = SimulatedStorage::new();
    let log = open_with(&disk, LogConfig { max_bytes: 2000, segment_bytes: 700, ..config() }).unwrap();
    let mut last = Sequence(0);
    let error = loop {
        match log.append(record(3)).await {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.to_string().contains("trackway.wal.max_bytes"), "{error}");
    assert!(log.bytes() <= 2000 + 32 * 4, "{}", log.bytes());
    assert!(last.0 > 10);
    log.release(Sequence(last.0 / 2)).unwrap();
    assert_eq!(log.append(record(4)).await.unwrap(), Sequence(last.0 + 1));
    drop(log);
    assert_eq!(replay_all(&disk, last.0 / 2).0.len() as u64, last.0 - last.0 / 2 + 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_by_kind() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let body = vec![0; usize::try_from(MAX_RECORD_BYTES).unwrap()].into();
    let error = log.append(NewRecord { body, ..record(1) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    log.close();
    let error = log.append(record(1)).await.unwrap_err();
    assert!(matches!(error, LogError::Closed));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded_and_everybody_gets_through() {
    let disk = SimulatedStorage::new();
    let log = Arc::new(open(&disk));
    disk.faults(|faults| faults.hold_syncs = true);
    let total = trackway_wal::QUEUE_RECORDS as u64 * 2;
    let mut all = Box::pin(futures_join((0..total).map(|n| log.append(sized(n, 10))).collect()));
    assert!(poll_once(&mut all).await.is_none());
    disk.faults(|faults| faults.hold_syncs = false);
    let stored = all.await;
    assert!(stored.iter().all(Result::is_ok));
    // One 40 MiB record after the other: two do not fit the queue together.
    let large: Vec<_> = (0..3).map(|n| log.append(sized(n, 40 << 20))).collect();
    assert!(futures_join(large).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_stores_what_is_queued() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    let syncs = disk.counts().syncs;
    disk.faults(|faults| faults.hold_syncs = true);
    let mut all = Box::pin(futures_join((0..20).map(|n| log.append(record(n))).collect()));
    assert!(poll_once(&mut all).await.is_none());
    disk.wait_for_syncs(syncs + 1);
    disk.faults(|faults| faults.hold_syncs = false);
    log.close();
    assert!(all.await.iter().all(Result::is_ok));
    assert_eq!(replay_all(&disk, 0).0.len(), 20);
}

#[test]
fn a_folder_that_is_not_there_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let seen = replay(&LocalStorage, &folder.path().join("none"), Sequence(0), |_| ControlFlow::Continue(()));
    assert_eq!(seen.unwrap().records, 0);
}

/// Waits for all of them, polled in order.
async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> =
        futures.into_iter().map(|future| Box::pin(tokio::task::unconstrained(future))).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
