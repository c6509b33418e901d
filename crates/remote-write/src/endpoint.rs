//! How an endpoint is set: plain values, one entry of `metrics_generator.storage.remote_write`, with Prometheus'
//! meaning of each.

use std::collections::BTreeMap;
use std::time::Duration;

use trackway_common::Secret;
use trackway_tls::TlsConfig;

use crate::relabel::RelabelConfig;
use crate::series::Protocol;

/// An endpoint that cannot be used as it is set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct OpenError {
    /// The setting, within the endpoint's entry, such as `basic_auth.password`.
    pub key: String,
    /// What is wrong, and the way out.
    pub problem: String,
}

impl OpenError {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

/// One receiver of remote write.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// What metrics and log lines call it.
    pub name: String,
    /// Where requests go, `http` or `https`.
    pub url: String,
    /// How long one request may take, its answer included.
    pub remote_timeout: Duration,
    /// Headers of every request.
    pub headers: BTreeMap<String, Secret>,
    /// `basic_auth`.
    pub basic_auth: Option<BasicAuth>,
    /// `authorization`.
    pub authorization: Option<Authorization>,
    /// `bearer_token`, Prometheus' older name for `authorization.credentials`.
    pub bearer_token: Secret,
    /// `bearer_token_file`, likewise.
    pub bearer_token_file: String,
    /// `tls_config`.
    pub tls: TlsConfig,
    /// `sigv4`.
    pub sigv4: Option<SigV4>,
    /// The protocol (`protobuf_message`); without one the receiver is asked.
    pub protobuf_message: Option<Protocol>,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// Whether native histograms are sent.
    pub send_native_histograms: bool,
    /// Whether it is followed when the receiver says that it is elsewhere.
    pub follow_redirects: bool,
    /// What is made of labels before they are sent (`write_relabel_configs`).
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// `queue_config`.
    pub queue: QueueConfig,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            remote_timeout: Duration::from_secs(30),
            headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            tls: TlsConfig::default(),
            sigv4: None,
            protobuf_message: None,
            send_exemplars: false,
            send_native_histograms: false,
            follow_redirects: true,
            write_relabel_configs: Vec::new(),
            queue: QueueConfig::default(),
        }
    }
}

/// A name and a password; files are read for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// A file with it instead.
    pub username_file: String,
    /// The password.
    pub password: Secret,
    /// A file with it instead.
    pub password_file: String,
}

/// What stands in the header `Authorization`; the file is read for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// Its first word (`type`); empty is `Bearer`.
    pub kind: String,
    /// What stands behind it.
    pub credentials: Secret,
    /// A file with that instead.
    pub credentials_file: String,
}

/// A signature of AWS, version 4, for Amazon Managed Service for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigV4 {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Whose key it is.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Not supported; refused.
    pub profile: String,
    /// Not supported; refused.
    pub role_arn: String,
}

/// How many samples wait, how many requests are under way, and when they are tried again. The caller heeds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Most requests at a time.
    pub max_shards: usize,
    /// Fewest.
    pub min_shards: usize,
    /// Most samples of one request.
    pub max_samples_per_send: usize,
    /// The first pause between two attempts.
    pub min_backoff: Duration,
    /// The longest.
    pub max_backoff: Duration,
    /// Samples older than this are dropped; zero keeps them.
    pub sample_age_limit: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            sample_age_limit: Duration::ZERO,
        }
    }
}
