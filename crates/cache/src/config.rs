//! What caches there are, and what may be wrong with that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::memcached::MemcachedConfig;
use crate::redis::RedisConfig;
use crate::role::Role;

/// All caches of a process.
#[derive(Clone, Debug, Default)]
pub struct CachesConfig {
    /// The cache in memory and on disk, when there is one.
    pub local: Option<LocalConfig>,
    /// Caches outside the process.
    pub remotes: Vec<RemoteConfig>,
    /// Tasks that write to each of them (`cache.background.writeback_goroutines`).
    pub writers: usize,
    /// Entries that wait to be written to each of them (`cache.background.writeback_buffer`).
    pub writes_waiting: usize,
}

/// The cache in the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// Bytes in memory.
    pub memory_bytes: usize,
    /// The tier on disk, when there is one.
    pub disk: Option<DiskConfig>,
}

/// The part of it on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// A folder that no other process uses.
    pub folder: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
}

/// A cache outside the process.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Name of the setting that lists the roles, for messages.
    pub setting: String,
    /// What it holds.
    pub roles: Vec<Role>,
    /// What it is.
    pub kind: RemoteKind,
}

/// What a cache outside the process is.
#[derive(Clone, Debug)]
pub enum RemoteKind {
    /// memcached servers.
    Memcached(Box<MemcachedConfig>),
    /// Redis.
    Redis(Box<RedisConfig>),
}

impl RemoteConfig {
    /// Its roles, as Tempo names a cache in metrics.
    pub fn name(&self) -> String {
        self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join("|")
    }
}

impl CachesConfig {
    /// Checks that no role is in two caches.
    pub(crate) fn check(&self) -> Result<(), CacheError> {
        let mut claimed: BTreeMap<Role, &str> = BTreeMap::new();
        for remote in &self.remotes {
            if remote.roles.is_empty() {
                let problem =
                    "is empty; name what the cache is for, such as [parquet-footer, bloom]".to_owned();
                return Err(CacheError { setting: remote.setting.clone(), problem });
            }
            for role in &remote.roles {
                if let Some(other) = claimed.insert(*role, &remote.setting) {
                    let problem =
                        format!("has the role {role}, which {other} has already; leave it in one of them");
                    return Err(CacheError { setting: remote.setting.clone(), problem });
                }
            }
        }
        Ok(())
    }
}

/// A setting that no cache can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct CacheError {
    /// Full name of the setting to change.
    pub setting: String,
    /// What is wrong, and the way out.
    pub problem: String,
}

impl CacheError {
    pub(crate) fn new(section: &str, key: &str, problem: impl Into<String>) -> Self {
        Self { setting: format!("{section}.{key}"), problem: problem.into() }
    }
}
