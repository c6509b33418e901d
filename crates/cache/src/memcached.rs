//! A client for a cluster of memcached servers: finds them, knows which one a key lies on, and answers "not there" for
//! everything that goes wrong.

mod placement;
mod protocol;
mod server;
mod servers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::RwLock;
use tokio_rustls::TlsConnector;
use trackway_common::Clock;
use trackway_tls::{TlsConfig, client_config};

use self::server::{Reach, Server, ServerError};
use self::servers::{Discovery, Source};
use crate::breaker::{Breaker, BreakerConfig};
use crate::config::CacheError;
use crate::metrics::{Method, Outcome, RemoteMetrics};

/// Least time between two looks for servers.
const UPDATE_MIN: Duration = Duration::from_secs(1);
/// Longest time that a look for servers may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A memcached cluster. Names and defaults are Tempo's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemcachedConfig {
    /// Name of the section, for messages.
    pub section: String,
    /// Name whose SRV record lists the servers.
    pub host: String,
    /// Service in that record; empty is `memcached`.
    pub service: String,
    /// The servers, with commas between them; they go before `host`.
    pub addresses: String,
    /// Longest time for an answer, connecting included.
    pub timeout: Duration,
    /// Idle connections kept for each server.
    pub max_idle_conns: usize,
    /// Largest value that is stored, in bytes; 0 is no limit.
    pub max_item_size: usize,
    /// How often servers are looked up.
    pub update_interval: Duration,
    /// Place keys so that a new server moves few of them.
    pub consistent_hash: bool,
    /// When a server is left alone.
    pub breaker: BreakerConfig,
    /// How long items live; zero is for ever.
    pub ttl: Duration,
    /// TLS, when it is used.
    pub tls: Option<TlsConfig>,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Memcached {
    config: MemcachedConfig,
    sources: Vec<Source>,
    /// In the order of placement.
    servers: RwLock<Vec<Arc<Server>>>,
    reach: Reach,
    clock: Arc<dyn Clock>,
    metrics: Arc<RemoteMetrics>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Memcached {
    pub(crate) fn new(
        config: MemcachedConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<RemoteMetrics>,
    ) -> Result<Self, CacheError> {
        let sources =
            servers::sources(&config.host, &config.service, &config.addresses).map_err(|problem| {
                let key = if config.addresses.is_empty() { "host" } else { "addresses" };
                CacheError::new(&config.section, key, problem)
            })?;
        let tls = match &config.tls {
            None => None,
            Some(tls) => {
                let tls = client_config(tls)
                    .map_err(|error| CacheError::new(&config.section, error.key, error.problem))?;
                Some(TlsConnector::from(Arc::new(tls)))
            }
        };
        let reach = Reach { timeout: config.timeout, idle_max: config.max_idle_conns, tls };
        Ok(Self { config, sources, servers: RwLock::default(), reach, clock, metrics })
    }

    /// Looks for servers now and then, for as long as it is polled.
    pub(crate) async fn discover(self: Arc<Self>) {
        let mut discovery = Discovery::new(self.sources.clone(), None);
        let mut had_problems = false;
        loop {
            match tokio::time::timeout(LOOK_TIMEOUT, discovery.look()).await {
                Ok((found, problems)) => {
                    self.set_servers(found);
                    if !problems.is_empty() && !had_problems {
                        let problems = problems.join("; ");
                        tracing::warn!(
                            section = self.config.section,
                            problems,
                            "memcached servers cannot be looked up; tried again and again"
                        );
                    }
                    had_problems = !problems.is_empty();
                }
                Err(_) if !had_problems => {
                    had_problems = true;
                    tracing::warn!(
                        section = self.config.section,
                        "looking up memcached servers takes too long; tried again and again"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(self.config.update_interval.max(UPDATE_MIN)).await;
        }
    }

    fn set_servers(&self, mut found: Vec<String>) {
        placement::sort(&mut found, self.config.consistent_hash);
        let mut servers = self.servers.write();
        let mut known: BTreeMap<String, Arc<Server>> =
            servers.drain(..).map(|server| (server.address.clone(), server)).collect();
        servers.extend(found.into_iter().map(|address| {
            known.remove(&address).unwrap_or_else(|| {
                let breaker = Breaker::new(self.config.breaker, Arc::clone(&self.clock));
                Server::new(address, breaker, self.reach.clone())
            })
        }));
    }

    fn server_of(&self, key: &str) -> Option<Arc<Server>> {
        if !protocol::is_key(key) {
            return None;
        }
        let servers = self.servers.read();
        let place = placement::place(key, servers.len(), self.config.consistent_hash)?;
        servers.get(place).map(Arc::clone)
    }

    /// Keys by server; those that no server takes are left out.
    fn by_server(&self, keys: &[String]) -> Vec<(Arc<Server>, Vec<usize>)> {
        let mut groups: BTreeMap<String, (Arc<Server>, Vec<usize>)> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            if let Some(server) = self.server_of(key) {
                let group = groups.entry(server.address.clone());
                group.or_insert_with(|| (server, Vec::new())).1.push(index);
            }
        }
        groups.into_values().collect()
    }

    pub(crate) async fn get_many(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let mut values = vec![None; keys.len()];
        let asked = self.by_server(keys).into_iter().map(async |(server, indexes)| {
            let keys: Vec<&str> = indexes.iter().map(|index| keys[*index].as_str()).collect();
            let got = self.measured(Method::Get, server.get(&keys)).await;
            (indexes, got)
        });
        for (indexes, got) in join_all(asked).await {
            for (index, value) in indexes.into_iter().zip(got.unwrap_or_default()) {
                values[index] = value;
            }
        }
        values
    }

    /// Whether the value was stored.
    pub(crate) async fn set(&self, key: &str, value: &Bytes) -> bool {
        let max = self.config.max_item_size;
        if max > 0 && value.len() > max {
            self.metrics.count_too_large();
            return false;
        }
        let Some(server) = self.server_of(key) else { return false };
        let head = protocol::set(key, value.len(), self.config.ttl.as_secs(), self.clock.now_seconds());
        match self.measured(Method::Put, server.set(&head, value)).await {
            Some(true) => true,
            Some(false) => {
                self.metrics.count_too_large();
                false
            }
            None => false,
        }
    }

    pub(crate) async fn remove(&self, keys: &[String]) {
        let asked = self.by_server(keys).into_iter().map(async |(server, indexes)| {
            let keys: Vec<&str> = indexes.iter().map(|index| keys[*index].as_str()).collect();
            self.measured(Method::Delete, server.delete(&keys)).await;
        });
        join_all(asked).await;
    }

    async fn measured<T>(
        &self,
        method: Method,
        work: impl Future<Output = Result<T, ServerError>>,
    ) -> Option<T> {
        let began = self.clock.monotonic();
        let result = work.await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(ServerError::LeftAlone) => Outcome::LeftAlone,
            Err(_) => Outcome::Failed,
        };
        self.metrics.record(method, outcome, self.clock.monotonic().saturating_sub(began));
        result.inspect_err(|error| tracing::debug!(%error, "memcached")).ok()
    }

    /// The servers and whether each is left alone.
    pub(crate) fn servers(&self) -> Vec<(String, bool)> {
        let servers = self.servers.read();
        servers.iter().map(|server| (server.address.clone(), server.breaker.is_open())).collect()
    }
}
