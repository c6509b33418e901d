//! Redis as a cache: one server, a master that Sentinel names, or a cluster. Everything that goes wrong is "not there".
//!
//! What must stay true: which of the three it is follows Tempo's rule (a master's name means Sentinel, several endpoints
//! without one a cluster); a connection over which a request failed is not used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, RedisConnectionInfo, RedisError,
    TlsMode,
};
use tokio::sync::Mutex as AsyncMutex;
use trackway_common::Clock;

use crate::breaker::{Breaker, BreakerConfig};
use crate::config::CacheError;
use crate::metrics::{Method, Outcome, RemoteMetrics};

/// Connections when the setting says zero. Many requests share one.
const POOL_DEFAULT: usize = 2;
/// Most connections that are made, whatever the setting says.
const POOL_MAX: usize = 64;
/// When Redis is left alone; Tempo has no settings for that.
const BREAKER: BreakerConfig =
    BreakerConfig { failures: 5, open: Duration::from_secs(5), interval: Duration::from_secs(10) };
/// Keys in one request.
const KEYS_A_REQUEST: usize = 64;

/// Redis. Names and defaults are Tempo's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Name of the section, for messages.
    pub section: String,
    /// Host and port, or several with commas between them.
    pub endpoint: String,
    /// Sentinel's name of the master; then the endpoints are Sentinels.
    pub master_name: String,
    /// Longest time for an answer, connecting included.
    pub timeout: Duration,
    /// How long items live; zero is for ever.
    pub expiration: Duration,
    /// Number of the database.
    pub db: u32,
    /// Connections; 0 chooses.
    pub pool_size: usize,
    /// User and password.
    pub login: RedisLogin,
    /// Sentinel's user and password.
    pub sentinel_login: RedisLogin,
    /// Use TLS, with the system's authorities.
    pub tls: bool,
    /// Do not check the server's certificate.
    pub tls_insecure_skip_verify: bool,
    /// Idle connections are closed after this; zero is never.
    pub idle_timeout: Duration,
    /// Connections are closed at this age; zero is never.
    pub max_connection_age: Duration,
}

/// A user and a password, either of which may be empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisLogin {
    /// User.
    pub username: String,
    /// Password. Never shown.
    pub password: String,
}

impl std::fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How connections are made.
enum Maker {
    Single(Client),
    Sentinel(AsyncMutex<SentinelClient>),
    Cluster(ClusterClient),
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Made>>,
    /// Held while a connection is made, so that many questions do not make one each.
    making: AsyncMutex<()>,
}

struct Made {
    connection: Connection,
    number: usize,
    at: Duration,
    used: Duration,
}

/// The client.
pub(crate) struct Redis {
    config: RedisConfig,
    maker: Maker,
    slots: Vec<Slot>,
    next: AtomicUsize,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
    metrics: Arc<RemoteMetrics>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("Redis failed several times and is left alone for a while")]
    LeftAlone,
}

impl Redis {
    pub(crate) fn new(
        config: RedisConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<RemoteMetrics>,
    ) -> Result<Self, CacheError> {
        let maker = maker(&config)?;
        let pool = match (&maker, config.pool_size) {
            // A connection to a cluster is one to each of its servers.
            (Maker::Cluster(_), _) => 1,
            (_, 0) => POOL_DEFAULT,
            (_, size) => size.min(POOL_MAX),
        };
        let breaker = Breaker::new(BREAKER, Arc::clone(&clock));
        let slots = (0..pool).map(|_| Slot::default()).collect();
        Ok(Self { config, maker, slots, next: AtomicUsize::new(0), breaker, clock, metrics })
    }

    pub(crate) async fn get_many(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_A_REQUEST) {
            let got: Option<Vec<Option<Vec<u8>>>> = self.ask(Method::Get, redis::cmd("MGET").arg(keys)).await;
            // A reply with another number of values than keys is nonsense.
            match got.filter(|got| got.len() == keys.len()) {
                Some(got) => values.extend(got.into_iter().map(|value| value.map(Bytes::from))),
                None => values.extend(keys.iter().map(|_| None)),
            }
        }
        values
    }

    /// Whether the value was stored.
    pub(crate) async fn set(&self, key: &str, value: &Bytes) -> bool {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value.as_ref());
        let milliseconds = u64::try_from(self.config.expiration.as_millis()).unwrap_or(u64::MAX);
        if milliseconds > 0 {
            command.arg("PX").arg(milliseconds);
        }
        self.ask::<()>(Method::Put, &command).await.is_some()
    }

    pub(crate) async fn remove(&self, keys: &[String]) {
        for keys in keys.chunks(KEYS_A_REQUEST) {
            let _: Option<u64> = self.ask(Method::Delete, redis::cmd("DEL").arg(keys)).await;
        }
    }

    /// Whether it is left alone.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.breaker.is_open()
    }

    async fn ask<T: FromRedisValue>(&self, method: Method, command: &Cmd) -> Option<T> {
        let began = self.clock.monotonic();
        let result = self.try_ask(command).await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(Failure::LeftAlone) => Outcome::LeftAlone,
            Err(_) => Outcome::Failed,
        };
        self.metrics.record(method, outcome, self.clock.monotonic().saturating_sub(began));
        result.inspect_err(|error| tracing::debug!(%error, "redis")).ok()
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        if !self.breaker.admits() {
            return Err(Failure::LeftAlone);
        }
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = &self.slots[place % self.slots.len()];
        let mut used = None;
        let talk = async {
            let (mut connection, number) = self.connection(slot, place).await?;
            used = Some(number);
            let value = match &mut connection {
                Connection::One(one) => one.req_packed_command(command).await?,
                Connection::Cluster(cluster) => cluster.req_packed_command(command).await?,
            };
            Ok(T::from_redis_value(value.extract_error()?).map_err(RedisError::from)?)
        };
        let result = match tokio::time::timeout(self.config.timeout, talk).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout(self.config.timeout)),
        };
        match &result {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                let mut made = slot.connection.lock();
                if made.as_ref().is_some_and(|made| Some(made.number) == used) {
                    *made = None;
                }
                drop(made);
                if self.breaker.failed() {
                    let endpoint = &self.config.endpoint;
                    tracing::warn!(endpoint, %error, "Redis is left alone for a while");
                }
            }
        }
        result
    }

    /// The connection of a slot, made when there is none that can be used.
    async fn connection(&self, slot: &Slot, number: usize) -> Result<(Connection, usize), RedisError> {
        if let Some(known) = self.usable(slot) {
            return Ok(known);
        }
        let _making = slot.making.lock().await;
        if let Some(known) = self.usable(slot) {
            return Ok(known);
        }
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.timeout))
            .set_response_timeout(Some(self.config.timeout));
        let connection = match &self.maker {
            Maker::Single(client) => {
                Connection::One(client.get_multiplexed_async_connection_with_config(&settings).await?)
            }
            Maker::Sentinel(client) => {
                Connection::One(client.lock().await.get_async_connection_with_config(&settings).await?)
            }
            Maker::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        let now = self.clock.monotonic();
        *slot.connection.lock() = Some(Made { connection: connection.clone(), number, at: now, used: now });
        Ok((connection, number))
    }

    fn usable(&self, slot: &Slot) -> Option<(Connection, usize)> {
        let now = self.clock.monotonic();
        let mut place = slot.connection.lock();
        let is_over =
            |since: Duration, limit: Duration| !limit.is_zero() && now.saturating_sub(since) > limit;
        let (idle, age) = (self.config.idle_timeout, self.config.max_connection_age);
        if place.as_ref().is_some_and(|made| is_over(made.at, age) || is_over(made.used, idle)) {
            *place = None;
        }
        let made = place.as_mut()?;
        made.used = now;
        Some((made.connection.clone(), made.number))
    }
}

fn maker(config: &RedisConfig) -> Result<Maker, CacheError> {
    let failed = |key: &str, problem: String| CacheError::new(&config.section, key, problem);
    let unusable = |error: RedisError| failed("endpoint", format!("is \"{}\": {error}", config.endpoint));
    let endpoints = config.endpoint.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
    let addresses: Vec<ConnectionAddr> =
        endpoints.map(|endpoint| address(config, endpoint)).collect::<Result<_, _>>()?;
    let Some(first) = addresses.first() else {
        return Err(failed("endpoint", "is empty; name host:port of Redis".to_owned()));
    };
    let tls = match (config.tls, config.tls_insecure_skip_verify) {
        (false, _) => None,
        (true, false) => Some(TlsMode::Secure),
        (true, true) => Some(TlsMode::Insecure),
    };
    if !config.master_name.is_empty() {
        return sentinel(config, &addresses, tls).map_err(unusable);
    }
    if addresses.len() == 1 {
        let info = redis::IntoConnectionInfo::into_connection_info(first.clone()).map_err(unusable)?;
        let info = info.set_redis_settings(login(&config.login).set_db(i64::from(config.db)));
        return Ok(Maker::Single(Client::open(info).map_err(unusable)?));
    }
    if config.db != 0 {
        return Err(failed("db", format!("is {}; a cluster has database 0 only", config.db)));
    }
    let mut builder = ClusterClientBuilder::new(addresses)
        .connection_timeout(config.timeout)
        .response_timeout(config.timeout)
        .retries(1);
    if !config.login.username.is_empty() {
        builder = builder.username(&config.login.username);
    }
    if !config.login.password.is_empty() {
        builder = builder.password(&config.login.password);
    }
    if let Some(tls) = tls {
        builder = builder.tls(tls).danger_accept_invalid_hostnames(config.tls_insecure_skip_verify);
    }
    Ok(Maker::Cluster(builder.build().map_err(unusable)?))
}

fn sentinel(
    config: &RedisConfig,
    addresses: &[ConnectionAddr],
    tls: Option<TlsMode>,
) -> Result<Maker, RedisError> {
    let mut builder =
        SentinelClientBuilder::new(addresses.to_vec(), &config.master_name, SentinelServerType::Master)?
            .set_client_to_redis_db(i64::from(config.db));
    let (login, of_sentinel) = (&config.login, &config.sentinel_login);
    if !login.username.is_empty() {
        builder = builder.set_client_to_redis_username(&login.username);
    }
    if !login.password.is_empty() {
        builder = builder.set_client_to_redis_password(&login.password);
    }
    if !of_sentinel.username.is_empty() {
        builder = builder.set_client_to_sentinel_username(&of_sentinel.username);
    }
    if !of_sentinel.password.is_empty() {
        builder = builder.set_client_to_sentinel_password(&of_sentinel.password);
    }
    if let Some(tls) = tls {
        builder = builder.set_client_to_redis_tls_mode(tls).set_client_to_sentinel_tls_mode(tls);
    }
    Ok(Maker::Sentinel(AsyncMutex::new(builder.build()?)))
}

fn login(login: &RedisLogin) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default();
    if !login.username.is_empty() {
        info = info.set_username(&login.username);
    }
    if !login.password.is_empty() {
        info = info.set_password(&login.password);
    }
    info
}

fn address(config: &RedisConfig, endpoint: &str) -> Result<ConnectionAddr, CacheError> {
    let not_known =
        || CacheError::new(&config.section, "endpoint", format!("has \"{endpoint}\"; use host:port"));
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(not_known)?;
    let port: u16 = port.parse().map_err(|_| not_known())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(not_known());
    }
    Ok(if config.tls {
        let insecure = config.tls_insecure_skip_verify;
        ConnectionAddr::TcpTls { host, port, insecure, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}
