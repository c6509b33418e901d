//! What the tests of the log share: a log on a simulated disk, records that say which they are, and reading back.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use trackway_common::{SystemRandom, TenantId};
use trackway_wal::{
    Cursor, LocalLog, Log, LogConfig, LogError, NewRecord, Replayed, Sequence, SimulatedStorage, Storage,
    replay, request_hash,
};

pub(crate) const FOLDER: &str = "/data/wal";

/// A record as it was read back, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) sequence: u64,
    pub(crate) tenant: String,
    pub(crate) received: u64,
    pub(crate) hash: u128,
    pub(crate) refused: Vec<u32>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn config() -> LogConfig {
    LogConfig::new(FOLDER)
}

pub(crate) fn open_with(disk: &SimulatedStorage, config: LogConfig) -> Result<LocalLog, LogError> {
    LocalLog::open(config, Arc::new(disk.clone()), &SystemRandom)
}

pub(crate) fn open(disk: &SimulatedStorage) -> LocalLog {
    open_with(disk, config()).unwrap()
}

/// Record `n`: tenants, refused spans and sizes differ; the body follows from `n`.
pub(crate) fn record(n: u64) -> NewRecord {
    sized(n, 20 + usize::try_from(n % 7).unwrap() * 9)
}

pub(crate) fn sized(n: u64, bytes: usize) -> NewRecord {
    let tenant = TenantId::new(["a", "tenant-b", "c.(3)"][usize::try_from(n % 3).unwrap()]).unwrap();
    let mut body = format!("request {n} ").into_bytes();
    body.extend((body.len()..bytes).map(|at| u8::try_from((at as u64 * 31 + n) % 251).unwrap()));
    let refused = (0..u32::try_from(n % 4).unwrap()).map(|index| index * 5).collect();
    let body = Bytes::from(body);
    NewRecord { hash: request_hash(&tenant, &body), tenant, received: 1_000 + n, refused, body }
}

pub(crate) fn as_read(sequence: Sequence, record: &NewRecord) -> Read {
    Read {
        sequence: sequence.0,
        tenant: record.tenant.to_string(),
        received: record.received,
        hash: record.hash,
        refused: record.refused.clone(),
        body: record.body.to_vec(),
    }
}

pub(crate) fn collect(found: &mut Vec<Read>) -> impl FnMut(trackway_wal::RecordRef<'_>) -> ControlFlow<()> {
    |record| {
        found.push(Read {
            sequence: record.sequence.0,
            tenant: record.tenant.to_string(),
            received: record.received,
            hash: record.hash,
            refused: record.refused.to_vec(),
            body: record.body.to_vec(),
        });
        ControlFlow::Continue(())
    }
}

/// Everything after a sequence, read from the files.
pub(crate) fn replay_all(disk: &dyn Storage, after: u64) -> (Vec<Read>, Replayed) {
    let mut found = Vec::new();
    let seen = replay(disk, Path::new(FOLDER), Sequence(after), collect(&mut found)).unwrap();
    (found, seen)
}

/// Everything behind a cursor, read through the log.
pub(crate) fn follow(log: &dyn Log, cursor: &mut Cursor) -> Vec<Read> {
    let mut found = Vec::new();
    log.read(cursor, &mut collect(&mut found)).unwrap();
    found
}

/// Appends records `from..to` one after the other.
pub(crate) async fn append(log: &LocalLog, numbers: std::ops::Range<u64>) -> Vec<Read> {
    let mut stored = Vec::new();
    for n in numbers {
        stored.push(as_read(log.append(record(n)).await.unwrap(), &record(n)));
    }
    stored
}

/// The files of the log, without the small ones beside it.
pub(crate) fn log_files(disk: &SimulatedStorage) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| {
        path.parent() == Some(Path::new(FOLDER)) && path.extension().is_some_and(|name| name == "log")
    };
    disk.paths().into_iter().filter(is_log).collect()
}
