//! The log in a folder of the local disk.
//!
//! What must stay true: the epoch is raised durably before anything is written; the low-water mark never passes what
//! is durable; and a file is deleted only when everything in it lies below the mark.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::watch;
use trackway_common::Random;

use crate::format::{Draft, FILE_HEADER, FileHeader};
use crate::names::{self, FileName};
use crate::queue::{Queue, Space};
use crate::read::{self, Readable, Reader};
use crate::writer::{Files, Shared, Writer};
use crate::{
    Appending, Cursor, DEFAULT_MAX_BYTES, DEFAULT_SEGMENT_BYTES, Epoch, FORMAT_VERSION, Log, LogError,
    NewRecord, Replayed, Sequence, Storage, Visitor,
};

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Where. It is made if it is not there.
    pub folder: PathBuf,
    /// The size at which a file is followed by the next (trackway.wal.segment_bytes).
    pub segment_bytes: u64,
    /// The size of all files together, above which nothing is taken in (trackway.wal.max_bytes).
    pub max_bytes: u64,
    /// What an acknowledged record survives.
    pub sync: SyncMode,
}

impl LogConfig {
    /// The defaults.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_bytes: DEFAULT_MAX_BYTES,
            sync: SyncMode::Always,
        }
    }
}

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// `kill -9` and power loss: one fdatasync for each group.
    #[default]
    Always,
    /// `kill -9` only: the operating system writes when it likes.
    Os,
}

/// The log in a folder. Dropping it writes what is queued, and waits for that.
#[derive(Debug)]
pub struct LocalLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// One release at a time.
    releasing: Mutex<()>,
}

impl LocalLog {
    /// Opens a log, or makes a new one, and starts its writer. Blocks on I/O: it reads the newest file. On a full disk
    /// it opens too, for reading; what is appended is refused until there is room.
    ///
    /// # Errors
    /// [`LogError::NewerFormat`] if a newer version wrote any of it, before anything is changed; and I/O errors.
    pub fn open(config: LogConfig, storage: Arc<dyn Storage>, random: &dyn Random) -> Result<Self, LogError> {
        let folder = &config.folder;
        let store = &*storage;
        let files = names::list(store, folder)?;
        for (name, _) in &files {
            refuse_newer(store, &config, *name)?;
        }
        let written = match files.last() {
            Some((name, bytes)) => read::end_of(store, folder, Readable { name: *name, bytes: *bytes })?,
            None => Sequence(1),
        };
        store.create_folder(folder).map_err(|error| LogError::io("create", folder, error))?;
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            store.sync_folder(above).map_err(|error| LogError::io("sync", above, error))?;
        }
        let low_water = "nothing counts as released, so some spans may be replayed that blocks hold already";
        let low_water =
            Sequence(names::read_number(store, folder, names::LOW_WATER, low_water)?.unwrap_or(0));
        let epoch = names::read_number(store, folder, names::EPOCH, "the newest file's epoch is used")?;
        let newest = files.last().map_or(0, |(name, _)| name.epoch.0);
        let epoch = Epoch(epoch.unwrap_or(0).max(newest).saturating_add(1));
        let epoch_stored = match names::write_number(store, folder, names::EPOCH, epoch.0) {
            Ok(()) => true,
            // What is there can be read all the same. The writer stores the epoch before it writes anything.
            Err(error @ LogError::NoSpace { .. }) => {
                tracing::warn!(%error, "the write-ahead log refuses requests");
                false
            }
            Err(error) => return Err(error),
        };

        let next = written.max(Sequence(low_water.0.saturating_add(1)));
        let used = files.iter().map(|(_, bytes)| bytes).sum();
        let (high, low) = random.uuid().as_u64_pair();
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            space: Space::new(config.folder.clone(), used, config.max_bytes),
            files: Mutex::new(Files { all: files, current: None, low_water }),
            durable: watch::Sender::new(Sequence(next.0 - 1)),
            nonce: high ^ low,
            epoch,
            config,
            storage,
        });
        let writer = Writer::new(Arc::clone(&shared), next, epoch_stored);
        let writer = std::thread::Builder::new()
            .name("trackway-wal".into())
            .spawn(move || writer.run())
            .map_err(|error| LogError::io("start the writer of", &shared.config.folder, error))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)), releasing: Mutex::new(()) })
    }

    /// Stores a record; returns when it is durable. Waits while the queue is full. If the future is dropped, the
    /// record may or may not be stored: run it in a task of its own if the caller can go away.
    ///
    /// # Errors
    /// [`LogError`]; the record must then not be acknowledged.
    pub async fn append(&self, record: NewRecord) -> Result<Sequence, LogError> {
        let draft = Draft::new(record, self.shared.nonce)?;
        let space = self.shared.space.reserve(draft.len())?;
        let answer = self.shared.queue.push(draft, space).await?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    /// Takes nothing in any more, writes what is queued, and waits for that. Blocks on I/O.
    pub fn close(&self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the write-ahead log panicked: please report it");
        }
    }

    /// Takes what is wholly below the mark out of the list, but for the file that is being written. `all`: also
    /// the newest, whose name is what is left of the sequence if the mark cannot be stored.
    fn delete_released(&self, up_to: Sequence, all: bool) -> Result<(), LogError> {
        let mut files = self.shared.files.lock();
        let durable = *self.shared.durable.borrow();
        let Files { all: list, current, .. } = &*files;
        let mut done: Vec<(FileName, u64)> = Vec::new();
        for (index, file) in list.iter().enumerate() {
            let end = list.get(index + 1).map_or(durable.0 + 1, |next| next.0.first.0);
            let newest = index + 1 == list.len();
            if end > up_to.0 + 1 || *current == Some(file.0) || (newest && !all) {
                break;
            }
            done.push(*file);
        }
        files.all.drain(..done.len());
        drop(files);
        // Not under the lock: deleting a large file takes milliseconds.
        for (index, (name, bytes)) in done.iter().enumerate() {
            let path = name.path(&self.shared.config.folder);
            match self.shared.storage.remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.shared.files.lock().all.splice(0..0, done[index..].iter().copied());
                    return Err(LogError::io("delete", &path, error));
                }
                _ => self.shared.space.give_back(*bytes),
            }
        }
        Ok(())
    }

    fn store_mark(&self, mark: Sequence) -> Result<(), LogError> {
        names::write_number(&*self.shared.storage, &self.shared.config.folder, names::LOW_WATER, mark.0)
    }
}

impl Log for LocalLog {
    fn append(&self, record: NewRecord) -> Appending<'_> {
        Box::pin(Self::append(self, record))
    }

    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn low_water(&self) -> Sequence {
        self.shared.files.lock().low_water
    }

    fn durable(&self) -> watch::Receiver<Sequence> {
        self.shared.durable.subscribe()
    }

    fn bytes(&self) -> u64 {
        self.shared.space.used()
    }

    fn release(&self, up_to: Sequence) -> Result<(), LogError> {
        let _one = self.releasing.lock();
        let mark = up_to.min(*self.shared.durable.borrow()).max(self.low_water());
        if self.store_mark(mark).is_err() {
            // On a full disk the mark finds no room, and only deleting makes some. The newest file stays: its name
            // keeps the sequence from starting again. What it holds may be replayed twice if we die right here.
            self.delete_released(mark, false)?;
            self.store_mark(mark)?;
        }
        self.shared.files.lock().low_water = mark;
        self.delete_released(mark, true)?;
        if mark == *self.shared.durable.borrow() {
            self.shared.queue.retire();
        }
        Ok(())
    }

    fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError> {
        let files = self.shared.files.lock();
        let list: Vec<_> =
            files.all.iter().map(|(name, bytes)| Readable { name: *name, bytes: *bytes }).collect();
        let live = files.current;
        drop(files);
        let folder = &self.shared.config.folder;
        Reader { storage: &*self.shared.storage, folder, files: &list, live }.read(cursor, visit)
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn refuse_newer(storage: &dyn Storage, config: &LogConfig, name: FileName) -> Result<(), LogError> {
    let path = name.path(&config.folder);
    let mut header = [0; FILE_HEADER];
    let read = storage.open(&path).and_then(|file| file.read_at(&mut header, 0));
    read.map_err(|error| LogError::io("read", &path, error))?;
    match FileHeader::decode(&header) {
        FileHeader::Newer(found) => Err(LogError::NewerFormat { path, found, known: FORMAT_VERSION }),
        // Damage is for the replay to tell.
        FileHeader::Valid { .. } | FileHeader::Damaged => Ok(()),
    }
}
