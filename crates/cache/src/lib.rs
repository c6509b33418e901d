//! Caches by role, as Tempo's `cache:` block names them: in memory and on disk, in memcached, and in Redis.
//!
//! What must stay true: a cache that is slow, gone or full of nonsense costs speed, never an answer. So nothing here
//! returns an error once it is open, every wait has a timeout, every queue and reply a limit, and who reads an entry
//! checks it and says so when it was wrong ([`Caches::reject`]).

mod breaker;
mod caches;
mod config;
pub mod keys;
mod local;
mod memcached;
mod metrics;
mod redis;
mod role;

pub use breaker::BreakerConfig;
pub use caches::Caches;
pub use config::{CacheError, CachesConfig, DiskConfig, LocalConfig, RemoteConfig, RemoteKind};
pub use memcached::MemcachedConfig;
pub use redis::{RedisConfig, RedisLogin};
pub use role::{Role, UnknownRole};
pub use trackway_tls::TlsConfig;
