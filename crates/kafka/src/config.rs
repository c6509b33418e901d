//! How a consumer is set up, in Trackway's own words; the binary maps both configurations (`distributor.receivers.kafka`,
//! `ingest.kafka`) to this.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};
use trackway_common::{Clock, MemoryPool};
use trackway_foreign::RecordEncoding;
use trackway_receivers::Counts;

use crate::metrics::KafkaMetrics;

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

/// Whom to log in as.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).field("username", &self.username).finish()
    }
}

/// TLS to the brokers. Files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Authorities instead of the system's; empty for those.
    pub ca_file: String,
    /// Client certificate; empty for none.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// Take any certificate.
    pub insecure_skip_verify: bool,
    /// Name expected in the brokers' certificates; empty for the one that is called.
    pub server_name: String,
    /// How often files are read again; zero for never.
    pub reload_interval: Duration,
}

/// How partitions are shared out among the members of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Whatever the others of the group do: `cooperative-sticky` or `range`.
    Any,
    /// `range`.
    Range,
    /// `roundrobin`.
    RoundRobin,
    /// `cooperative-sticky`.
    CooperativeSticky,
}

/// Which tenant the spans of a record belong to, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantOf {
    /// The one of the header `X-Scope-OrgID`.
    Header,
    /// The record's key.
    Key,
}

/// How often what could not be kept is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
    /// How much longer each is than the one before.
    pub multiplier: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(10), multiplier: 2.0 }
    }
}

impl Backoff {
    /// The wait after `wait`.
    pub(crate) fn after(&self, wait: Duration) -> Duration {
        let next = wait.as_secs_f64() * self.multiplier.max(1.0);
        Duration::try_from_secs_f64(next).unwrap_or(self.max).min(self.max)
    }
}

/// What is fetched at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// A broker answers when it has so many bytes,
    pub min_bytes: i32,
    /// or after this time.
    pub max_wait: Duration,
    /// It answers with no more than this, but for a batch that is larger itself,
    pub max_bytes: i32,
    /// and no more than this of a partition.
    pub max_partition_bytes: i32,
}

/// One consumer: topics that are written alike, read as a member of a group.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// The block of its settings, for the log.
    pub setting: &'static str,
    /// Brokers to begin with, `host:port`.
    pub brokers: Vec<String>,
    /// What is read.
    pub topics: Vec<String>,
    /// How the records are written.
    pub encoding: RecordEncoding,
    /// Whose the spans are, if there are several tenants.
    pub tenant: TenantOf,
    /// Whether there are.
    pub multitenancy: bool,
    /// The group, whose committed offsets say where to go on.
    pub group_id: String,
    /// The name of a member that keeps its partitions over a restart; empty for none.
    pub group_instance_id: String,
    /// What the brokers know this client by.
    pub client_id: String,
    /// Where this client stands, for reading from the nearest replica; empty for anywhere.
    pub rack_id: String,
    /// Where nothing is committed: from the beginning of a partition, or from its end.
    pub from_beginning: bool,
    /// When a member that is silent counts as gone.
    pub session_timeout: Duration,
    /// How often it says that it is there.
    pub heartbeat_interval: Duration,
    /// How partitions are shared out.
    pub sharing: Sharing,
    /// What is fetched at a time.
    pub fetching: Fetching,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How often the brokers are asked which partitions there are.
    pub metadata_interval: Duration,
    /// How often what could not be kept is tried again.
    pub backoff: Backoff,
    /// Headers that become attributes of the resource.
    pub headers: Vec<String>,
    /// Whom to log in as.
    pub sasl: Option<Sasl>,
    /// TLS; none means a plain connection.
    pub tls: Option<KafkaTls>,
    /// The budget for what is being received.
    pub memory: MemoryPool,
    /// For spans that come without a time.
    pub clock: Arc<dyn Clock>,
    /// Where spans are counted.
    pub counts: Arc<Counts>,
    /// Where records are counted.
    pub metrics: Arc<KafkaMetrics>,
}

impl KafkaConfig {
    /// TLS and login, as the client takes them.
    pub(crate) fn security(&self) -> AuthConfig {
        let tls = self.tls.as_ref().map(KafkaTls::client);
        let Some(Sasl { mechanism, username, password }) = &self.sasl else {
            return tls.map_or_else(AuthConfig::plaintext, AuthConfig::ssl);
        };
        let login = match mechanism {
            Mechanism::Plain => AuthConfig::sasl_plain(username, password),
            Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(username, password),
            Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(username, password),
        };
        match tls {
            Some(tls) => login.with_tls(tls),
            None => login,
        }
    }
}

impl KafkaTls {
    fn client(&self) -> TlsConfig {
        let mut tls = if self.insecure_skip_verify { TlsConfig::insecure() } else { TlsConfig::new() };
        tls = if self.ca_file.is_empty() { tls.with_native_roots() } else { tls.with_ca_cert(&self.ca_file) };
        if !self.cert_file.is_empty() {
            tls = tls.with_client_cert(&self.cert_file, &self.key_file);
        }
        if !self.server_name.is_empty() {
            tls = tls.with_sni_hostname(&self.server_name);
        }
        tls
    }
}
