//! The cache in the process: memory, and a folder on disk behind it.
//!
//! What must stay true: a folder that cannot be used is a warning and no tier on disk, never a failed start; an entry that
//! comes from disk was checked (foyer keeps a checksum and the whole key with each).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
    PsyncIoEngineConfig, RecoverMode, S3FifoConfig,
};
use futures::future::join_all;

use crate::config::{DiskConfig, LocalConfig};

/// Longest time that the disk is waited for. A store across the network takes about as long.
const DISK_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest time that opening the folder, or writing what is in memory at the end, may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Least memory that it can be shrunk to.
const MEMORY_MIN: usize = 1 << 20;
/// Memory of a shard, of which there are at most so many. Each has a lock of its own.
const SHARD_BYTES: usize = 32 << 20;
const SHARDS_MAX: usize = 8;
/// Largest entry, as a share of a shard, and in any case.
const ENTRY_SHARE: usize = 4;
const ENTRY_BYTES_MAX: usize = 8 << 20;
/// The unit in which disk is reused.
const DISK_BLOCK_BYTES: u64 = 16 << 20;
/// Least disk: a block that is written, one that is free, and some to read.
const DISK_BYTES_MIN: u64 = 4 * DISK_BLOCK_BYTES;
/// Bytes that wait to be written to disk. What comes beyond is not written.
const DISK_WAITING_BYTES: usize = 16 << 20;
/// What the names of foyer's files begin with.
const FILES: &str = "foyer-storage-";
/// What an entry takes beyond its bytes, about.
const ENTRY_OVERHEAD: usize = 128;

/// The cache.
#[derive(Debug)]
pub(crate) struct Local {
    cache: HybridCache<String, Bytes>,
    memory_bytes: usize,
    /// What it is limited to now.
    limit: AtomicUsize,
    entry_bytes_max: usize,
    /// The folder, where there is one.
    folder: Option<PathBuf>,
}

impl Local {
    pub(crate) async fn open(config: &LocalConfig) -> Option<Self> {
        let memory_bytes = config.memory_bytes.max(MEMORY_MIN);
        if let Some(disk) = &config.disk {
            match with_disk(memory_bytes, disk).await {
                Ok(cache) => return Some(Self::new(cache, memory_bytes, Some(disk.folder.clone()))),
                Err(problem) => {
                    let folder = disk.folder.display();
                    tracing::warn!(%folder, problem, "the folder for the cache cannot be used; there is none on disk");
                }
            }
        }
        match builder(memory_bytes).storage().build().await {
            Ok(cache) => Some(Self::new(cache, memory_bytes, None)),
            Err(error) => {
                tracing::warn!(%error, "there is no cache in memory");
                None
            }
        }
    }

    fn new(cache: HybridCache<String, Bytes>, memory_bytes: usize, folder: Option<PathBuf>) -> Self {
        let entry_bytes_max = (memory_bytes / shards(memory_bytes) / ENTRY_SHARE).min(ENTRY_BYTES_MAX);
        Self { cache, memory_bytes, limit: AtomicUsize::new(memory_bytes), entry_bytes_max, folder }
    }

    pub(crate) async fn get_many(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        join_all(keys.iter().map(|key| self.get(key))).await
    }

    async fn get(&self, key: &String) -> Option<Bytes> {
        if let Some(entry) = self.cache.memory().get(key) {
            return Some(entry.value().clone());
        }
        if !self.is_on_disk() {
            return None;
        }
        // Slow and damaged are as good as not there.
        let found = tokio::time::timeout(DISK_TIMEOUT, self.cache.get(key)).await.ok()?;
        let found = found.inspect_err(|error| tracing::debug!(%error, "cache on disk")).ok()??;
        Some(found.value().clone())
    }

    pub(crate) fn put(&self, key: &str, value: &Bytes) {
        if value.len() <= self.entry_bytes_max {
            self.cache.insert(key.to_owned(), value.clone());
        }
    }

    pub(crate) fn remove(&self, keys: &[String]) {
        keys.iter().for_each(|key| self.cache.remove(key));
    }

    /// Lets go of everything, so that nothing of it is left on the disk.
    pub(crate) async fn clear(&self) -> Result<(), String> {
        // One by one: foyer's own `clear` goes on counting the bytes of what it let go.
        let mut keys = Vec::new();
        let listed = self.cache.flush_if(|key, _| {
            keys.push(key.clone());
            false
        });
        listed.await;
        self.remove(&keys);
        self.cache.clear().await.map_err(|error| error.to_string())?;
        match self.folder.clone() {
            Some(folder) => {
                let wiped = tokio::task::spawn_blocking(move || wipe(&folder)).await;
                wiped.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.cache.memory().usage()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.folder.is_some()
    }

    /// Keeps no more than `bytes` in memory.
    pub(crate) fn shrink_to(&self, bytes: usize) {
        self.resize(bytes.clamp(MEMORY_MIN, self.memory_bytes));
    }

    pub(crate) fn grow_back(&self) {
        self.resize(self.memory_bytes);
    }

    fn resize(&self, bytes: usize) {
        match self.cache.memory().resize(bytes) {
            Ok(()) => self.limit.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, bytes, "the cache in memory cannot be resized"),
        }
    }

    /// Writes what is in memory to disk.
    pub(crate) async fn close(&self) {
        match tokio::time::timeout(OPEN_TIMEOUT, self.cache.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "closing the cache on disk"),
            Err(_) => tracing::debug!("closing the cache on disk takes too long"),
        }
    }
}

fn shards(memory_bytes: usize) -> usize {
    (memory_bytes / SHARD_BYTES).clamp(1, SHARDS_MAX)
}

fn builder(memory_bytes: usize) -> foyer::HybridCacheBuilderPhaseMemory<String, Bytes, foyer::DefaultHasher> {
    HybridCacheBuilder::new()
        .with_name("trackway")
        // What is asked once and never again does not wear the disk out before memory is full.
        .with_policy(HybridCachePolicy::WriteOnEviction)
        .with_flush_on_close(true)
        .memory(memory_bytes)
        .with_shards(shards(memory_bytes))
        // What a large scan touches once leaves first, and what was asked twice stays.
        .with_eviction_config(S3FifoConfig::default())
        .with_weighter(|key: &String, value: &Bytes| key.len() + value.len() + ENTRY_OVERHEAD)
}

async fn with_disk(memory_bytes: usize, disk: &DiskConfig) -> Result<HybridCache<String, Bytes>, String> {
    let folder = disk.folder.clone();
    let usable = tokio::task::spawn_blocking(move || try_folder(&folder));
    usable.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if disk.bytes < DISK_BYTES_MIN {
        return Err(format!("{} bytes are too few; it takes at least {DISK_BYTES_MIN}", disk.bytes));
    }
    let bytes = usize::try_from(disk.bytes).unwrap_or(usize::MAX);
    let block = usize::try_from(DISK_BLOCK_BYTES).unwrap_or(usize::MAX);
    let device = FsDeviceBuilder::new(&disk.folder).with_capacity(bytes).build();
    let device = device.map_err(|error| error.to_string())?;
    let engine = BlockEngineConfig::new(device)
        .with_block_size(block)
        .with_buffer_pool_size(DISK_WAITING_BYTES)
        .with_submit_queue_size_threshold(DISK_WAITING_BYTES)
        // What was removed does not come back with the next start.
        .with_tombstone_log(true);
    let open = builder(memory_bytes)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(engine)
        .with_recover_mode(RecoverMode::Quiet)
        .build();
    // In a task of its own: whatever damaged files do to the library costs the tier on disk, and not the process.
    let opened = tokio::time::timeout(OPEN_TIMEOUT, tokio::spawn(open)).await;
    match opened {
        Ok(Ok(Ok(cache))) => Ok(cache),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("opening it takes longer than {OPEN_TIMEOUT:?}")),
    }
}

/// Takes what the files of the folder held from them: what the library lets go of, it overwrites later, or never. What it
/// writes meanwhile may be lost, which it notices when it reads it.
fn wipe(folder: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FILES)) {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            let bytes = file.metadata()?.len();
            file.set_len(0)?;
            file.set_len(bytes)?;
        }
    }
    Ok(())
}

/// Makes the folder and writes a file into it.
fn try_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join("probe");
    std::fs::write(&probe, b"trackway")?;
    std::fs::remove_file(&probe)
}
