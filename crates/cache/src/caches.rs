//! All caches of a process behind one door.
//!
//! What must stay true: nothing here fails, and nothing here waits longer than the timeouts of its settings; whoever asks
//! is told what is there, and fetches the rest where it comes from. What it is told is not to be trusted: caches outside
//! the process are written by others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinSet;
use trackway_common::Clock;

use crate::config::{CacheError, CachesConfig, RemoteKind};
use crate::local::Local;
use crate::memcached::Memcached;
use crate::metrics::{Lookups, RemoteMetrics, RemoteView, Tier, head, line, write_remotes};
use crate::redis::Redis;
use crate::role::Role;

/// Bytes that wait to be written to one cache outside the process. What comes beyond is not written.
const WAITING_BYTES_MAX: u64 = 64 << 20;
/// Most tasks that write to one cache.
const WRITERS_MAX: usize = 256;

/// All caches of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    local: Option<Local>,
    remotes: Vec<Remote>,
    by_role: BTreeMap<Role, usize>,
    lookups: Lookups,
    /// Ends with this.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Remote {
    name: String,
    client: RemoteClient,
    metrics: Arc<RemoteMetrics>,
    queue: mpsc::Sender<(String, Bytes)>,
}

#[derive(Clone, Debug)]
enum RemoteClient {
    Memcached(Arc<Memcached>),
    Redis(Arc<Redis>),
}

impl RemoteClient {
    async fn get_many(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        match self {
            Self::Memcached(memcached) => memcached.get_many(keys).await,
            Self::Redis(redis) => redis.get_many(keys).await,
        }
    }

    async fn set(&self, key: &str, value: &Bytes) -> bool {
        match self {
            Self::Memcached(memcached) => memcached.set(key, value).await,
            Self::Redis(redis) => redis.set(key, value).await,
        }
    }

    async fn remove(&self, keys: &[String]) {
        match self {
            Self::Memcached(memcached) => memcached.remove(keys).await,
            Self::Redis(redis) => redis.remove(keys).await,
        }
    }
}

impl Caches {
    /// No cache at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Opens caches. Servers that are not there are looked for again and again; a folder that cannot be used is a warning.
    ///
    /// # Errors
    /// [`CacheError`], which names the setting, when the configuration cannot be meant.
    pub async fn open(config: &CachesConfig, clock: Arc<dyn Clock>) -> Result<Self, CacheError> {
        config.check()?;
        let mut inner = Inner::default();
        let mut tasks = JoinSet::new();
        for (index, remote) in config.remotes.iter().enumerate() {
            let metrics = Arc::new(RemoteMetrics::default());
            let client = match &remote.kind {
                RemoteKind::Memcached(memcached) => {
                    let client =
                        Memcached::new((**memcached).clone(), Arc::clone(&clock), Arc::clone(&metrics))?;
                    let client = Arc::new(client);
                    tasks.spawn(Arc::clone(&client).discover());
                    RemoteClient::Memcached(client)
                }
                RemoteKind::Redis(redis) => RemoteClient::Redis(Arc::new(Redis::new(
                    (**redis).clone(),
                    Arc::clone(&clock),
                    Arc::clone(&metrics),
                )?)),
            };
            let (queue, waiting) = mpsc::channel(config.writes_waiting.max(1));
            let waiting = Arc::new(AsyncMutex::new(waiting));
            for _ in 0..config.writers.clamp(1, WRITERS_MAX) {
                tasks.spawn(write(client.clone(), Arc::clone(&waiting), Arc::clone(&metrics)));
            }
            inner.remotes.push(Remote { name: remote.name(), client, metrics, queue });
            inner.by_role.extend(remote.roles.iter().map(|role| (*role, index)));
        }
        if let Some(local) = &config.local {
            inner.local = Local::open(local).await;
        }
        inner.tasks = Mutex::new(tasks);
        Ok(Self { inner: Arc::new(inner) })
    }

    fn remote(&self, role: Role) -> Option<&Remote> {
        self.inner.by_role.get(&role).and_then(|index| self.inner.remotes.get(*index))
    }

    /// Whether entries of a role are kept anywhere.
    pub fn is_remembered(&self, role: Role) -> bool {
        self.inner.local.is_some() || self.remote(role).is_some()
    }

    /// An entry, if a cache has it.
    pub async fn get(&self, role: Role, key: &str) -> Option<Bytes> {
        self.get_many(role, &[key.to_owned()]).await.pop().flatten()
    }

    /// Entries, in the order of their keys.
    pub async fn get_many(&self, role: Role, keys: &[String]) -> Vec<Option<Bytes>> {
        let lengths = |values: &[Option<Bytes>]| -> Vec<Option<usize>> {
            values.iter().map(|value| value.as_ref().map(Bytes::len)).collect()
        };
        let mut values = match &self.inner.local {
            Some(local) => {
                let values = local.get_many(keys).await;
                self.inner.lookups.count(role, Tier::Local, lengths(&values).into_iter());
                values
            }
            None => vec![None; keys.len()],
        };
        let Some(remote) = self.remote(role) else { return values };
        let missing: Vec<usize> = (0..keys.len()).filter(|index| values[*index].is_none()).collect();
        if missing.is_empty() {
            return values;
        }
        let asked: Vec<String> = missing.iter().map(|index| keys[*index].clone()).collect();
        let found = remote.client.get_many(&asked).await;
        self.inner.lookups.count(role, Tier::Remote, lengths(&found).into_iter());
        for (index, value) in missing.into_iter().zip(found) {
            if let (Some(local), Some(value)) = (&self.inner.local, &value) {
                local.put(&keys[index], value);
            }
            values[index] = value;
        }
        values
    }

    /// Keeps an entry. Never waits: it is written in the background, or not at all when too much waits already.
    pub fn put(&self, role: Role, key: &str, value: Bytes) {
        if let Some(local) = &self.inner.local {
            local.put(key, &value);
        }
        let Some(remote) = self.remote(role) else { return };
        let (metrics, length) = (&remote.metrics, value.len() as u64);
        let waiting = metrics.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        metrics.waiting.fetch_add(1, Ordering::Relaxed);
        let fits = waiting + length <= WAITING_BYTES_MAX;
        if fits && remote.queue.try_send((key.to_owned(), value)).is_ok() {
            return;
        }
        metrics.waiting.fetch_sub(1, Ordering::Relaxed);
        metrics.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        metrics.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets entries, everywhere. What is on its way to a cache outside the process is not caught.
    pub async fn remove(&self, role: Role, keys: &[String]) {
        if let Some(local) = &self.inner.local {
            local.remove(keys);
        }
        if let Some(remote) = self.remote(role) {
            remote.client.remove(keys).await;
        }
    }

    /// Counts that something of a role turned out to be wrong.
    pub fn count_rejected(&self, role: Role) {
        self.inner.lookups.reject(role);
    }

    /// Forgets an entry that turned out to be wrong, and counts it.
    pub async fn reject(&self, role: Role, keys: &[String]) {
        keys.iter().for_each(|_| self.count_rejected(role));
        self.remove(role, keys).await;
    }

    /// Forgets everything that is kept in memory and on disk.
    ///
    /// # Errors
    /// What the disk said.
    pub async fn clear_local(&self) -> Result<(), String> {
        match &self.inner.local {
            Some(local) => local.clear().await,
            None => Ok(()),
        }
    }

    /// Bytes that are kept in memory.
    pub fn used_bytes(&self) -> usize {
        self.inner.local.as_ref().map_or(0, Local::used_bytes)
    }

    /// Most bytes that are kept in memory now.
    pub fn memory_bytes(&self) -> usize {
        self.inner.local.as_ref().map_or(0, Local::memory_bytes)
    }

    /// Keeps no more than `bytes` in memory until [`Self::grow_back`]. Blocks for as long as it takes to let go of the rest.
    pub fn shrink_to(&self, bytes: usize) {
        if let Some(local) = &self.inner.local {
            local.shrink_to(bytes);
        }
    }

    /// Lets memory be used as configured.
    pub fn grow_back(&self) {
        if let Some(local) = &self.inner.local {
            local.grow_back();
        }
    }

    /// Entries of a role that were found, in the process and outside it.
    pub fn hits(&self, role: Role) -> (u64, u64) {
        let lookups = &self.inner.lookups;
        (lookups.hits(role, Tier::Local), lookups.hits(role, Tier::Remote))
    }

    /// Entries that wait to be written to caches outside the process.
    pub fn waiting(&self) -> u64 {
        self.inner.remotes.iter().map(|remote| remote.metrics.waiting.load(Ordering::Relaxed)).sum()
    }

    /// Writes to disk what is in memory only, and stops what runs in the background.
    pub async fn close(&self) {
        self.inner.tasks.lock().abort_all();
        if let Some(local) = &self.inner.local {
            local.close().await;
        }
    }

    /// Appends the counts in Prometheus's text format.
    pub fn write_metrics(&self, out: &mut String) {
        let inner = &self.inner;
        if inner.local.is_none() && inner.remotes.is_empty() {
            return;
        }
        inner.lookups.write(out);
        if let Some(local) = &inner.local {
            let on_disk = usize::from(local.is_on_disk());
            for (name, help, value) in [
                ("trackway_cache_memory_bytes", "Bytes that the cache in memory holds.", local.used_bytes()),
                ("trackway_cache_memory_limit_bytes", "Most bytes that it may hold.", local.memory_bytes()),
                ("trackway_cache_on_disk", "Whether there is a tier on disk.", on_disk),
            ] {
                head(out, name, "gauge", help);
                line(out, format_args!("{name} {value}"));
            }
        }
        let views: Vec<RemoteView<'_>> = inner.remotes.iter().map(Remote::view).collect();
        write_remotes(out, &views);
    }
}

impl Remote {
    fn view(&self) -> RemoteView<'_> {
        let (is_redis, servers) = match &self.client {
            RemoteClient::Memcached(memcached) => (false, memcached.servers()),
            RemoteClient::Redis(redis) => (true, vec![(String::new(), redis.is_left_alone())]),
        };
        RemoteView { name: &self.name, is_redis, metrics: &self.metrics, servers }
    }
}

/// Writes entries that wait, one after the other.
async fn write(
    client: RemoteClient,
    waiting: Arc<AsyncMutex<mpsc::Receiver<(String, Bytes)>>>,
    metrics: Arc<RemoteMetrics>,
) {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some((key, value)) = next else { return };
        client.set(&key, &value).await;
        metrics.waiting.fetch_sub(1, Ordering::Relaxed);
        metrics.waiting_bytes.fetch_sub(value.len() as u64, Ordering::Relaxed);
    }
}
