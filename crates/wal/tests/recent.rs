//! Retries: a request that comes twice is stored once, and answered as its first copy was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use support::{open, record};
use trackway_common::{ErrorKind, Kinded, TenantId};
use trackway_wal::{
    Admission, FirstFailed, InFlight, Pending, RecentHashes, Sequence, SimulatedStorage, request_hash,
};

fn new(admission: Admission) -> Pending {
    match admission {
        Admission::New(pending) => pending,
        other => panic!("{other:?}"),
    }
}

fn in_flight(admission: Admission) -> InFlight {
    match admission {
        Admission::InFlight(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hash_is_of_tenant_and_body() {
    let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
    assert_eq!(request_hash(&a, b"x"), request_hash(&a, b"x"));
    assert_ne!(request_hash(&a, b"x"), request_hash(&b, b"x"));
    assert_ne!(request_hash(&a, b"x"), request_hash(&a, b"y"));
}

#[tokio::test]
async fn a_copy_is_acknowledged_when_the_first_is_stored() {
    let recent = RecentHashes::default();
    let first = new(recent.check_or_insert(7, 100));
    let waiting = in_flight(recent.check_or_insert(7, 101));
    let too = in_flight(recent.check_or_insert(7, 102));
    let waiting = tokio::spawn(waiting.outcome());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    first.stored(Sequence(9));
    assert_eq!(waiting.await.unwrap(), Ok(Sequence(9)));
    assert_eq!(too.outcome().await, Ok(Sequence(9))); // also who waits only now
    assert!(matches!(recent.check_or_insert(7, 103), Admission::Seen(Sequence(9))));
}

#[tokio::test]
async fn a_copy_fails_when_the_first_does() {
    let recent = RecentHashes::default();
    let first = new(recent.check_or_insert(7, 100));
    let waiting = tokio::spawn(in_flight(recent.check_or_insert(7, 101)).outcome());
    drop(first);
    assert_eq!(waiting.await.unwrap(), Err(FirstFailed));
    assert_eq!(FirstFailed.kind(), ErrorKind::Unavailable);
    new(recent.check_or_insert(7, 102)).stored(Sequence(1)); // the third try is new
    assert_eq!(recent.len(), 1);
}

#[test]
fn it_is_bounded_in_number_and_time() {
    let recent = RecentHashes::new(10, Duration::from_nanos(100));
    for n in 0..50 {
        new(recent.check_or_insert(n, 1000)).stored(Sequence(1));
    }
    assert_eq!(recent.len(), 10);
    assert!(matches!(recent.check_or_insert(49, 1100), Admission::Seen(_)));
    let pending = new(recent.check_or_insert(49, 1101));
    assert_eq!(recent.len(), 1);
    drop(pending);
    assert!(recent.is_empty());
    // Times that go back are no harm.
    new(recent.check_or_insert(1, 2000)).stored(Sequence(1));
    assert!(matches!(recent.check_or_insert(1, 5), Admission::Seen(_)));
}

#[test]
fn time_away_does_not_count() {
    let recent = RecentHashes::new(10, Duration::from_nanos(100));
    for n in 0..3 {
        assert!(recent.remember(n, 1000 + n as u64, Sequence(1)));
    }
    recent.renew(5000);
    assert!((0..3).all(|n| matches!(recent.check_or_insert(n, 5100), Admission::Seen(_))));
    let _ = new(recent.check_or_insert(0, 5101));
    assert_eq!(recent.len(), 0);
}

#[tokio::test]
async fn replay_fills_it_and_leaves_duplicates_out() {
    let disk = SimulatedStorage::new();
    let log = open(&disk);
    for n in [1, 2, 1, 3] {
        log.append(record(n)).await.unwrap();
    }
    drop(log);
    let recent = RecentHashes::default();
    let (found, _) = support::replay_all(&disk, 0);
    let kept: Vec<_> =
        found.iter().map(|read| recent.remember(read.hash, read.received, Sequence(read.sequence))).collect();
    assert_eq!(kept, [true, true, false, true]);
    assert!(matches!(recent.check_or_insert(record(1).hash, 2000), Admission::Seen(Sequence(1))));
}
