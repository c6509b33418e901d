//! A file system in memory that fails on demand and forgets what was not synced: for tests, here and in the crates
//! above.
//!
//! What must stay true: it is no kinder than a real one. What was not synced is lost on a power loss, names too; what
//! was pending when a sync failed is never written, though it can still be read.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{Storage, StoredFile};

/// A file system in memory. Cloning it is cheap, and gives the same one.
#[derive(Clone, Debug, Default)]
pub struct SimulatedStorage {
    disk: Arc<Disk>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One call writes at most so many bytes.
    pub short_writes: Option<usize>,
    /// The disk holds so many bytes.
    pub capacity: Option<usize>,
    /// So many writes fail, having written half.
    pub failing_writes: u32,
    /// So many syncs of a file fail.
    pub failing_syncs: u32,
    /// So many syncs of a folder fail.
    pub failing_folder_syncs: u32,
    /// So many truncations fail.
    pub failing_truncates: u32,
    /// Syncs of files do not return while this is set.
    pub hold_syncs: bool,
}

/// What was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that appended.
    pub writes: u64,
    /// Syncs of files, those that failed too.
    pub syncs: u64,
    /// Syncs of folders.
    pub folder_syncs: u64,
}

#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    faults: Faults,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// From here on the cache is to be written.
    dirty: usize,
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Arc<Disk>,
    index: usize,
}

impl SimulatedStorage {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.disk.state.lock().faults);
        self.disk.changed.notify_all();
    }

    /// What was asked for so far.
    pub fn counts(&self) -> Counts {
        self.disk.state.lock().counts
    }

    /// Blocks until so many syncs of files were asked for.
    pub fn wait_for_syncs(&self, syncs: u64) {
        let mut state = self.disk.state.lock();
        self.disk.changed.wait_while(&mut state, |state| state.counts.syncs < syncs);
    }

    /// The disk as it is found after a power loss, of which `kept` unsynced bytes of each file got written in time.
    pub fn power_loss(&self, kept: usize) -> Self {
        let state = self.disk.state.lock();
        let lose = |contents: &Contents| {
            let mut left = contents.durable.clone();
            if kept > 0 && contents.cached.len() > contents.dirty {
                left.resize(contents.dirty, 0);
                left.extend_from_slice(
                    &contents.cached[contents.dirty..contents.cached.len().min(contents.dirty + kept)],
                );
            }
            Contents { dirty: left.len(), cached: left.clone(), durable: left }
        };
        let after = State {
            files: state.files.iter().map(lose).collect(),
            names: state.durable_names.clone(),
            durable_names: state.durable_names.clone(),
            ..State::default()
        };
        Self { disk: Arc::new(Disk { state: Mutex::new(after), changed: Condvar::new() }) }
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk.state.lock().names.keys().cloned().collect()
    }

    /// The bytes in all files.
    pub fn used(&self) -> usize {
        self.disk.state.lock().used()
    }

    /// What a file holds, if there is one.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.disk.state.lock();
        state.names.get(path).map(|index| state.files[*index].cached.clone())
    }

    /// Replaces a file, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.disk.state.lock();
        let index = state.files.len();
        state.files.push(Contents { dirty: bytes.len(), cached: bytes.clone(), durable: bytes });
        state.names.insert(path.to_owned(), index);
        state.durable_names.insert(path.to_owned(), index);
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> usize {
        self.names.values().map(|index| self.files[*index].cached.len()).sum()
    }

    fn room(&self) -> usize {
        self.faults.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.used()))
    }
}

fn fails(count: &mut u32) -> bool {
    let fails = *count > 0;
    *count = count.saturating_sub(1);
    fails
}

impl Storage for SimulatedStorage {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(()) // folders are there; only their files' names can be lost
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.disk.state.lock();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let named = inside.filter_map(|(path, index)| Some((path.file_name()?.to_str()?, *index)));
        Ok(named.map(|(name, index)| (name.to_owned(), state.files[index].cached.len() as u64)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.disk.state.lock();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let index = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(path.to_owned(), index);
        Ok(Box::new(SimulatedFile { disk: Arc::clone(&self.disk), index }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let index = self.disk.state.lock().find(path)?;
        Ok(Box::new(SimulatedFile { disk: Arc::clone(&self.disk), index }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let index = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), index);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.find(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.counts.folder_syncs += 1;
        if fails(&mut state.faults.failing_folder_syncs) {
            return Err(io::Error::other("injected"));
        }
        let state = &mut *state;
        state.durable_names.retain(|path, _| path.parent() != Some(folder));
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        state.durable_names.extend(inside.map(|(path, index)| (path.clone(), *index)));
        Ok(())
    }
}

impl SimulatedFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.disk.state.lock()
    }
}

impl StoredFile for SimulatedFile {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        state.counts.writes += 1;
        let bytes = parts.iter().map(|part| &**part).collect::<Vec<_>>().concat();
        if fails(&mut state.faults.failing_writes) {
            state.files[self.index].cached.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::Error::other("injected"));
        }
        let room = state.room();
        let taken = bytes.len().min(state.faults.short_writes.unwrap_or(usize::MAX)).min(room);
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files[self.index].cached.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.counts.syncs += 1;
        self.disk.changed.notify_all();
        // What is appended while a sync runs is not part of it; nobody appends then, so it does not matter here.
        self.disk.changed.wait_while(&mut state, |state| state.faults.hold_syncs);
        let failed = fails(&mut state.faults.failing_syncs);
        let contents = &mut state.files[self.index];
        if failed {
            contents.dirty = contents.cached.len(); // clean, as far as the system knows
            return Err(io::Error::other("injected"));
        }
        contents.durable.resize(contents.dirty, 0);
        contents.durable.extend_from_slice(&contents.cached[contents.dirty..]);
        contents.dirty = contents.cached.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if fails(&mut state.faults.failing_truncates) {
            return Err(io::Error::other("injected"));
        }
        let contents = &mut state.files[self.index];
        contents.cached.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        contents.dirty = contents.dirty.min(contents.cached.len());
        Ok(())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state();
        let cached = &state.files[self.index].cached;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
        let taken = into.len().min(cached.len() - from);
        into[..taken].copy_from_slice(&cached[from..from + taken]);
        Ok(taken)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.state().files[self.index].cached.len() as u64)
    }
}
