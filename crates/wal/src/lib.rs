//! The write-ahead log of an ingester: every accepted OTLP request, in order, on disk before its sender has its OK.
//!
//! What must stay true:
//! - [`Log::append`] returns `Ok` only when the record survives `kill -9`, and with [`SyncMode::Always`] a power loss.
//! - Sequences grow in the order of the file, and senders are answered in that order. They grow over restarts too;
//!   some numbers are left out (those of groups that failed).
//! - Whatever is damaged, every whole record is read back, with exactly the bytes that were written.
//! - A request that was refused because the disk failed may come back at replay, if its bytes got to the disk all the
//!   same. Its sender tries again, so both may be in the log: pass replayed records through [`RecentHashes`] too.
//!
//! The format is described in `format.rs`. The folder also holds two small files, `epoch` and `low-water`, and
//! `quarantine/` with the ranges that could not be read. Keeping two processes out of one folder is the caller's job.

mod error;
mod format;
mod local;
mod names;
mod quarantine;
mod queue;
mod read;
mod recent;
mod recent_file;
mod simulated;
mod storage;
mod walk;
mod writer;

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::watch;
use trackway_common::{TenantId, UnixNanos};

pub use error::LogError;
pub use format::{FORMAT_VERSION, request_hash};
pub use local::{LocalLog, LogConfig, SyncMode};
pub use quarantine::QUARANTINE_BYTES;
pub use read::{Cursor, Replayed, replay};
pub use recent::{Admission, DEFAULT_CAPACITY, DEFAULT_WINDOW, FirstFailed, InFlight, Pending, RecentHashes};
pub use simulated::{Counts, Faults, SimulatedStorage};
pub use storage::{LocalStorage, Storage, StoredFile};

/// The largest record, its header included. Replay holds one record in memory at a time.
pub const MAX_RECORD_BYTES: u64 = 256 << 20;
/// How many records may wait for the writer; more senders wait outside.
pub const QUEUE_RECORDS: usize = 4096;
/// How many bytes may wait for the writer; more senders wait outside.
pub const QUEUE_BYTES: u64 = 64 << 20;
/// The size at which a file of the log is followed by the next, unless configured.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// The size of the whole log, unless configured.
pub const DEFAULT_MAX_BYTES: u64 = 4 << 30;

/// The place of a record in its log. The first is 1; 0 stands before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One opening of a log; each is one higher than the one before, none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A request to be stored.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// When it came in.
    pub received: UnixNanos,
    /// See [`request_hash`].
    pub hash: u128,
    /// Which of its spans (counted from 0 over the request) were refused and are to be left out again at replay.
    pub refused: Vec<u32>,
    /// The OTLP bytes.
    pub body: Bytes,
}

/// A record as it is read back.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Its place.
    pub sequence: Sequence,
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// When it came in.
    pub received: UnixNanos,
    /// See [`request_hash`].
    pub hash: u128,
    /// Which of its spans were refused.
    pub refused: &'a [u32],
    /// The OTLP bytes.
    pub body: &'a [u8],
}

/// The answer to an append that is under way.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<Sequence, LogError>> + Send + 'a>>;

/// What is called with each record that is read; `Break` stops the reading after it.
pub type Visitor<'a> = dyn FnMut(RecordRef<'_>) -> ControlFlow<()> + 'a;

/// The log as the ingester sees it: in a local folder now, in a bucket later.
pub trait Log: Send + Sync + fmt::Debug {
    /// Stores a record; ready when it is durable. A future that is dropped may or may not have stored it.
    ///
    /// # Errors
    /// [`LogError`]; the record must then not be acknowledged.
    fn append(&self, record: NewRecord) -> Appending<'_>;

    /// This opening of the log.
    fn epoch(&self) -> Epoch;

    /// The last sequence that was [released](Log::release), in this opening or before.
    fn low_water(&self) -> Sequence;

    /// The last durable sequence, and news of it: what a reader that follows the log waits for.
    fn durable(&self) -> watch::Receiver<Sequence>;

    /// The bytes that the log takes, with what is on its way in.
    fn bytes(&self) -> u64;

    /// Says that no record up to and including this one will be needed again: the least of what all tenants' heads
    /// and all readers still need, less one. What is wholly below is deleted. Blocks on I/O.
    ///
    /// # Errors
    /// [`LogError`]; the mark may not be durable then, and files may be left over: call it again later.
    fn release(&self, up_to: Sequence) -> Result<(), LogError>;

    /// Reads the durable records behind the cursor, in order, and moves it. Called again after news from
    /// [`Log::durable`], it follows the log. Blocks on I/O.
    ///
    /// # Errors
    /// [`LogError::NewerFormat`], or an I/O error before anything was read; damage is not an error.
    fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError>;
}
