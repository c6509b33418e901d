//! The one thread that writes: takes everything that is queued, writes it at once, syncs once, answers all.
//!
//! What must stay true: an answer `Ok` goes out only after the sync, in the order of the file; after a failure the
//! file ends where the last acknowledged record does, or is not written any more; a sequence is never used twice.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::format::{FILE_HEADER, FileHeader};
use crate::names::{self, FileName};
use crate::queue::{Entry, Next, Queue, Space};
use crate::storage::append_all;
use crate::{Epoch, LogConfig, LogError, Sequence, Storage, StoredFile, SyncMode};

/// What the writer and everybody else both look at.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: LogConfig,
    pub(crate) epoch: Epoch,
    pub(crate) nonce: u64,
    pub(crate) queue: Queue,
    pub(crate) space: Arc<Space>,
    pub(crate) files: Mutex<Files>,
    pub(crate) durable: watch::Sender<Sequence>,
}

/// The files of the log.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// In order, with the bytes in them that may be read.
    pub(crate) all: Vec<(FileName, u64)>,
    /// The one that is being written: the last.
    pub(crate) current: Option<FileName>,
    pub(crate) low_water: Sequence,
}

impl Files {
    fn set_bytes(&mut self, name: FileName, bytes: u64) {
        if let Some(file) = self.all.iter_mut().rev().find(|file| file.0 == name) {
            file.1 = bytes;
        }
    }

    fn forget(&mut self, name: FileName) {
        self.all.retain(|file| file.0 != name);
    }
}

/// The thread's own.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    current: Option<Current>,
    next: Sequence,
    group: Vec<Entry>,
    /// The last group failed: said once, not for every group while a disk is full.
    failing: bool,
    /// The epoch is durable, so that no other opening has the same: nothing is written before.
    epoch_stored: bool,
}

#[derive(Debug)]
struct Current {
    file: Box<dyn StoredFile>,
    name: FileName,
    path: PathBuf,
    /// The file is good up to here; a failure goes back to it.
    good: u64,
    /// The last record in it that was acknowledged.
    last: Sequence,
    /// Its name survives a power loss.
    named: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Also when the thread panicked: nobody may wait for an answer that cannot come.
        self.shared.queue.abort();
    }
}

impl Writer {
    /// An epoch that is not stored has been complained of already.
    pub(crate) fn new(shared: Arc<Shared>, next: Sequence, epoch_stored: bool) -> Self {
        Self { shared, current: None, next, group: Vec::new(), failing: !epoch_stored, epoch_stored }
    }

    /// Works until the log is closed.
    pub(crate) fn run(mut self) {
        let fresh = self.shared.config.segment_bytes.saturating_sub(FILE_HEADER as u64);
        loop {
            let good = self.current.as_ref().map_or(0, |current| current.good).max(FILE_HEADER as u64);
            let room = self.shared.config.segment_bytes.saturating_sub(good);
            // A file without a record takes any: its size is no reason for yet another one.
            let room = if good == FILE_HEADER as u64 { u64::MAX } else { room };
            match self.shared.queue.next(&mut self.group, room, fresh) {
                Next::Stop => return,
                Next::Retire => self.retire(),
                Next::Group { roll } => {
                    if roll {
                        // Whole and synced. It may be released from here on, whether or not a new one can be made.
                        self.current = None;
                        self.shared.files.lock().current = None;
                    }
                    self.commit();
                }
            }
        }
    }

    /// Stores the group, and answers everybody in it.
    fn commit(&mut self) {
        let first = self.next;
        // Whatever comes of it, these are used up: a record that failed may still be on the disk.
        self.next.0 += self.group.len() as u64;
        let stored = self.store(first);
        match stored {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the write-ahead log takes requests in again");
                }
                self.shared.durable.send_replace(Sequence(self.next.0 - 1));
                for (sequence, entry) in (first.0..).zip(self.group.drain(..)) {
                    entry.space.keep();
                    let _gone = entry.answer.send(Ok(Sequence(sequence)));
                }
            }
            Err(error) => {
                self.say_failed(&error);
                for entry in self.group.drain(..) {
                    drop(entry.space);
                    let _gone = entry.answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn say_failed(&mut self, error: &LogError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(records = self.group.len(), %error, "the write-ahead log refuses requests");
        }
    }

    fn store(&mut self, first: Sequence) -> Result<(), LogError> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.create(first)?,
        };
        let end = match self.write(&mut current, first) {
            Ok(end) => end,
            Err(error) => {
                let error = LogError::io("write", &current.path, error);
                match current.file.truncate(current.good) {
                    Ok(()) => self.current = Some(current), // there may be room again for the next group
                    Err(_) => self.abandon(current),
                }
                return Err(error);
            }
        };
        if let Err(error) = self.sync(&mut current) {
            // What the system still holds of the file, and what it will write, is not known from here on.
            self.abandon(current);
            return Err(error);
        }
        let mut files = self.shared.files.lock();
        if current.good == 0 {
            self.shared.space.add(FILE_HEADER as u64);
        }
        current.good = end;
        current.last = Sequence(self.next.0 - 1);
        files.set_bytes(current.name, end);
        drop(files);
        self.current = Some(current);
        Ok(())
    }

    /// Starts a file. Its header is written with its first group.
    fn create(&mut self, first: Sequence) -> Result<Current, LogError> {
        if !self.epoch_stored {
            let Shared { storage, config, epoch, .. } = &*self.shared;
            names::write_number(&**storage, &config.folder, names::EPOCH, epoch.0)?;
            self.epoch_stored = true;
        }
        let name = FileName { epoch: self.shared.epoch, first };
        let path = name.path(&self.shared.config.folder);
        let file = self.shared.storage.create(&path).map_err(|error| LogError::io("create", &path, error))?;
        let mut files = self.shared.files.lock();
        files.all.push((name, 0));
        files.current = Some(name);
        drop(files);
        Ok(Current { file, name, path, good: 0, last: Sequence(0), named: false })
    }

    /// Appends the group, and says where the file ends then.
    fn write(&mut self, current: &mut Current, first: Sequence) -> std::io::Result<u64> {
        let header = FileHeader::encode(self.shared.epoch, self.shared.nonce);
        let header: &[u8] = if current.good == 0 { &header } else { &[] };
        let mut end = current.good + header.len() as u64;
        for (sequence, entry) in (first.0..).zip(&mut self.group) {
            entry.draft.seal(Sequence(sequence), end);
            end += entry.draft.len();
        }
        let mut parts = Vec::with_capacity(1 + 2 * self.group.len());
        parts.push(IoSlice::new(header));
        for entry in &self.group {
            parts
                .extend(entry.draft.pieces().into_iter().filter(|piece| !piece.is_empty()).map(IoSlice::new));
        }
        append_all(&mut *current.file, &mut parts)?;
        Ok(end)
    }

    fn sync(&self, current: &mut Current) -> Result<(), LogError> {
        if self.shared.config.sync == SyncMode::Os {
            return Ok(());
        }
        current.file.sync().map_err(|error| LogError::io("sync", &current.path, error))?;
        if !current.named {
            let folder = &self.shared.config.folder;
            self.shared.storage.sync_folder(folder).map_err(|error| LogError::io("sync", folder, error))?;
            current.named = true;
        }
        Ok(())
    }

    /// Never writes to the file again. What was acknowledged from it stays readable.
    fn abandon(&self, mut current: Current) {
        let shared = &*self.shared;
        // Best effort: what is left over is found damaged, or comes back as records whose senders tried again.
        let cut = current.file.truncate(current.good).and_then(|()| current.file.sync());
        let mut files = shared.files.lock();
        files.current = None;
        if current.good == 0 {
            // Nobody was told that anything is in it.
            files.forget(current.name);
            drop(files);
            drop(current.file);
            let _left = shared.storage.remove(&current.path);
            return;
        }
        drop(files);
        if let Err(error) = cut {
            // The rest takes room until the file is released.
            tracing::debug!(path = %current.path.display(), %error, "a file of the write-ahead log keeps its tail");
        }
    }

    /// Deletes the current file if everything in it was released.
    fn retire(&mut self) {
        let shared = &*self.shared;
        let low_water = shared.files.lock().low_water;
        let done = self.current.take_if(|current| current.good > 0 && current.last <= low_water);
        let Some(current) = done else { return };
        drop(current.file);
        let removed = shared.storage.remove(&current.path);
        let mut files = shared.files.lock();
        files.current = None;
        // If it could not be deleted, it stays in the list, and the next release tries again.
        if removed.is_ok() {
            files.forget(current.name);
            shared.space.give_back(current.good);
        }
    }
}
