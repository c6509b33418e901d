//! Opens the caches that the configuration asks for.
//!
//! What must stay true: a folder for the cache that another process uses, or that cannot be used at all, is a warning and
//! no cache on disk, never a failed start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trackway_cache::{
    BreakerConfig, Caches, CachesConfig, DiskConfig, LocalConfig, MemcachedConfig, RedisConfig, RedisLogin,
    RemoteConfig, RemoteKind, Role,
};
use trackway_common::{Clock, MemoryPool, MemoryUser};
use trackway_config::sections::{CacheBackground, CacheUse, Memcached, Redis};
use trackway_config::{Config, GoDuration};
use trackway_storage::stores::TlsConfig;

use crate::lock::FolderLock;

/// The share of the memory budget that the cache in memory takes when the configuration does not say, and the most of it.
const MEMORY_SHARE: usize = 8;
const MEMORY_BYTES_MAX: usize = 256 << 20;
/// How often it is counted what the cache in memory holds.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Bytes on disk when the configuration does not say, and the most of the free space.
const DISK_BYTES: u64 = 2 << 30;
const DISK_SHARE: u64 = 10;

/// The caches, and the lock on the folder of the one on disk.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) caches: Caches,
    _lock: Option<FolderLock>,
}

/// Opens the caches. `in_bucket` is whether blocks lie in an object store.
pub(crate) async fn open(
    config: &Config,
    memory: &MemoryPool,
    clock: &Arc<dyn Clock>,
    in_bucket: bool,
) -> anyhow::Result<Opened> {
    let (local, lock) = local(config, memory, in_bucket);
    let settings = CachesConfig { local, ..outside(config)? };
    let caches = Caches::open(&settings, Arc::clone(clock)).await?;
    let giving_way = caches.clone();
    // What it gives back is counted at the next turn.
    memory.add_cache(Box::new(move |_, bytes| {
        giving_way.shrink_to(giving_way.used_bytes().saturating_sub(bytes));
    }));
    Ok(Opened { caches, _lock: lock })
}

/// Counts what the cache in memory holds in the budget, and lets it grow again when there is room. Never ends.
pub(crate) async fn count(caches: Caches, memory: MemoryPool) {
    let mut counted = 0;
    loop {
        let used = caches.used_bytes();
        memory.change(MemoryUser::Caches, counted, used);
        counted = used;
        if memory.used() < memory.limit() / 2 {
            caches.grow_back();
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

fn local(config: &Config, memory: &MemoryPool, in_bucket: bool) -> (Option<LocalConfig>, Option<FolderLock>) {
    let own = &config.trackway.cache;
    let is_on = match own.enabled {
        CacheUse::Auto => in_bucket,
        CacheUse::Yes => true,
        CacheUse::No => false,
    };
    if !is_on {
        return (None, None);
    }
    let share = (memory.limit() / MEMORY_SHARE).min(MEMORY_BYTES_MAX);
    let memory_bytes = own.memory_bytes.map_or(share, |bytes| bytes.as_usize());
    let folder = config.cache_path();
    if own.disk_bytes.is_some_and(|bytes| bytes.bytes() == 0) {
        return (Some(LocalConfig { memory_bytes, disk: None }), None);
    }
    let lock = FolderLock::take(&folder);
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(%error, "there is no cache on disk; choose its folder with trackway.cache.disk_path");
            return (Some(LocalConfig { memory_bytes, disk: None }), None);
        }
    };
    let bytes = own.disk_bytes.map_or_else(|| default_disk_bytes(&folder), |bytes| bytes.bytes());
    // Beside the lock, not around it: what is in there is the cache's.
    let disk = DiskConfig { folder: folder.join("entries"), bytes };
    (Some(LocalConfig { memory_bytes, disk: Some(disk) }), Some(lock))
}

fn default_disk_bytes(folder: &Path) -> u64 {
    let free = rustix::fs::statvfs(folder).map(|space| space.f_bavail.saturating_mul(space.f_frsize));
    free.map_or(DISK_BYTES, |free| (free / DISK_SHARE).min(DISK_BYTES))
}

/// Caches outside the process.
fn outside(config: &Config) -> anyhow::Result<CachesConfig> {
    let mut remotes = Vec::new();
    for (index, entry) in config.cache.caches.iter().enumerate() {
        let section = format!("cache.caches[{index}]");
        let setting = format!("{section}.roles");
        let mut roles: Vec<Role> = Vec::new();
        for name in &entry.roles {
            roles.push(name.parse().map_err(|error| anyhow::anyhow!("{setting}: \"{name}\" {error}"))?);
        }
        let kind = match (&entry.memcached, &entry.redis) {
            (Some(of_memcached), _) => memcached(&format!("{section}.memcached"), of_memcached),
            (None, Some(of_redis)) => redis(&format!("{section}.redis"), of_redis),
            (None, None) => continue,
        };
        remotes.push(RemoteConfig { setting, roles, kind });
    }
    let trace = &config.storage.trace;
    let background = if trace.cache.is_empty() { &config.cache.background } else { &trace.background_cache };
    if let Some(kind) = match trace.cache.as_str() {
        "memcached" => Some(memcached("storage.trace.memcached", &trace.memcached)),
        "redis" => Some(redis("storage.trace.redis", &trace.redis)),
        _ => None,
    } {
        let also = &trace.search.cache_control;
        let wanted = [
            (true, Role::Bloom),
            (true, Role::TraceIdIndex),
            (also.footer, Role::ParquetFooter),
            (also.column_index, Role::ParquetColumnIdx),
            (also.offset_index, Role::ParquetOffsetIdx),
        ];
        let roles = wanted.into_iter().filter_map(|(wanted, role)| wanted.then_some(role)).collect();
        remotes.push(RemoteConfig { setting: "storage.trace.cache".to_owned(), roles, kind });
    }
    let CacheBackground { writeback_goroutines, writeback_buffer } = background;
    Ok(CachesConfig {
        local: None,
        remotes,
        writers: *writeback_goroutines as usize,
        writes_waiting: *writeback_buffer as usize,
    })
}

/// A time, or Tempo's default where it says zero.
fn or(time: GoDuration, default: Duration) -> Duration {
    if time.is_zero() { default } else { time.as_std() }
}

fn memcached(section: &str, from: &Memcached) -> RemoteKind {
    let tls = TlsConfig {
        cert_path: from.tls_cert_path.clone(),
        key_path: from.tls_key_path.clone(),
        ca_path: from.tls_ca_path.clone(),
        server_name: from.tls_server_name.clone(),
        insecure_skip_verify: from.tls_insecure_skip_verify,
        cipher_suites: from.tls_cipher_suites.clone(),
        min_version: from.tls_min_version.clone(),
    };
    RemoteKind::Memcached(Box::new(MemcachedConfig {
        section: section.to_owned(),
        host: from.host.clone(),
        service: from.service.clone(),
        addresses: from.addresses.clone(),
        timeout: or(from.timeout, Duration::from_millis(100)),
        max_idle_conns: from.max_idle_conns as usize,
        max_item_size: usize::try_from(from.max_item_size).unwrap_or(usize::MAX),
        update_interval: or(from.update_interval, Duration::from_secs(60)),
        consistent_hash: from.consistent_hash,
        breaker: BreakerConfig {
            failures: from.circuit_breaker_consecutive_failures,
            open: from.circuit_breaker_timeout.as_std(),
            interval: from.circuit_breaker_interval.as_std(),
        },
        ttl: from.ttl.as_std(),
        tls: from.tls_enabled.then_some(tls),
    }))
}

fn redis(section: &str, from: &Redis) -> RemoteKind {
    let expiration = if from.expiration.is_zero() { from.ttl } else { from.expiration };
    RemoteKind::Redis(Box::new(RedisConfig {
        section: section.to_owned(),
        endpoint: from.endpoint.clone(),
        master_name: from.master_name.clone(),
        timeout: or(from.timeout, Duration::from_millis(500)),
        expiration: expiration.as_std(),
        db: from.db,
        pool_size: from.pool_size as usize,
        login: RedisLogin { username: from.username.clone(), password: from.password.expose().to_owned() },
        sentinel_login: RedisLogin {
            username: from.sentinel_username.clone(),
            password: from.sentinel_password.expose().to_owned(),
        },
        tls: from.tls_enabled,
        tls_insecure_skip_verify: from.tls_insecure_skip_verify,
        idle_timeout: from.idle_timeout.as_std(),
        max_connection_age: from.max_connection_age.as_std(),
    }))
}
