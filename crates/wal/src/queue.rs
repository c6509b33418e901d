//! What waits between the senders and the writer: bounded in records and in bytes, first come, first served.
//!
//! What must stay true: a record that entered the queue is answered, whatever happens to the writer; the room that it
//! takes in the queue and in the log is given back when it is answered with a failure.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::format::Draft;
use crate::{LogError, QUEUE_BYTES, QUEUE_RECORDS, Sequence};

/// Bytes are counted in units of this many, so that the count fits a semaphore's 32 bits.
const UNIT: u64 = 1024;

pub(crate) type Answer = oneshot::Receiver<Result<Sequence, LogError>>;

/// A record on its way to the disk.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) draft: Draft,
    pub(crate) answer: oneshot::Sender<Result<Sequence, LogError>>,
    pub(crate) space: Reserved,
    _records: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// What the writer is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write the group; into a new file if it says so.
    Group { roll: bool },
    /// Everything in the current file may be released: let go of it.
    Retire,
    /// Closed, and everything that was queued is written.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    retire: bool,
    closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let units = usize::try_from(QUEUE_BYTES / UNIT).unwrap_or(usize::MAX >> 4);
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            records: Arc::new(Semaphore::new(QUEUE_RECORDS)),
            bytes: Arc::new(Semaphore::new(units)),
        }
    }

    /// Waits for room, and hands the record to the writer.
    pub(crate) async fn push(&self, draft: Draft, space: Reserved) -> Result<Answer, LogError> {
        // A record larger than the whole queue takes all of it, and goes alone.
        let units = u32::try_from(draft.len().min(QUEUE_BYTES) / UNIT).unwrap_or(u32::MAX).max(1);
        let closed = |_| LogError::Closed;
        let records = Arc::clone(&self.records).acquire_owned().await.map_err(closed)?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await.map_err(closed)?;
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(LogError::Closed);
        }
        let wake = waiting.entries.is_empty();
        waiting.entries.push_back(Entry { draft, answer, space, _records: records, _bytes: bytes });
        drop(waiting);
        if wake {
            self.changed.notify_one();
        }
        Ok(answered)
    }

    /// Tells the writer to look whether its file is still needed.
    pub(crate) fn retire(&self) {
        self.waiting.lock().retire = true;
        self.changed.notify_one();
    }

    /// Lets nobody in any more. What is queued is still written.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.records.close();
        self.bytes.close();
        self.changed.notify_one();
    }

    /// Closes, and answers those who wait with a failure: nobody will write them.
    pub(crate) fn abort(&self) {
        self.close();
        let entries = std::mem::take(&mut self.waiting.lock().entries);
        for entry in entries {
            let _gone = entry.answer.send(Err(LogError::Closed));
        }
    }

    /// Waits for something to do, and fills `group` with all that is queued and fits: into `room` bytes of the
    /// current file, or, if not even the first does, into `fresh` bytes of a new one. One record always fits.
    pub(crate) fn next(&self, group: &mut Vec<Entry>, room: u64, fresh: u64) -> Next {
        let mut waiting = self.waiting.lock();
        loop {
            if std::mem::take(&mut waiting.retire) {
                return Next::Retire;
            }
            if let Some(first) = waiting.entries.front() {
                let roll = first.draft.len() > room;
                let mut left = if roll { fresh } else { room };
                while let Some(entry) = waiting.entries.front() {
                    let bytes = entry.draft.len();
                    if bytes > left && !group.is_empty() {
                        break;
                    }
                    left = left.saturating_sub(bytes);
                    group.extend(waiting.entries.pop_front());
                }
                return Next::Group { roll };
            }
            if waiting.closed {
                return Next::Stop;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

/// The bytes that the log may take on disk.
#[derive(Debug)]
pub(crate) struct Space {
    used: AtomicU64,
    max: u64,
    folder: PathBuf,
}

impl Space {
    pub(crate) fn new(folder: PathBuf, used: u64, max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(used), max, folder })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Sets room aside for a record.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved, LogError> {
        let reserve = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve) {
            Ok(_) => Ok(Reserved { space: Arc::clone(self), bytes }),
            Err(held) => Err(LogError::Full { folder: self.folder.clone(), held, max: self.max }),
        }
    }

    /// Counts what was written without asking: a file's header, say.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what was deleted.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Room in the log, given back on drop unless [`Reserved::keep`] says that it is used.
#[derive(Debug)]
pub(crate) struct Reserved {
    space: Arc<Space>,
    bytes: u64,
}

impl Reserved {
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.space.give_back(self.bytes);
    }
}
