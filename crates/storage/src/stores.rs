//! From a configuration to an object store: local folder, S3 and what speaks like it, Google, Azure, HDFS.
//!
//! What must stay true: a setting that is taken here is honoured or refused by name, never dropped; and this crate knows
//! no configuration file: the process maps its settings to [`StoreConfig`].

mod azure;
mod check;
mod config;
mod counted;
mod credentials;
mod dress;
mod explain;
mod gcs;
#[cfg(feature = "hdfs")]
mod hdfs;
mod hedge;
mod s3;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

pub use check::{BucketFacts, CheckError, check};
pub use config::{
    AzureConfig, AzureLogin, BucketLookup, GcsConfig, HdfsConfig, Hedge, Retry, S3Config, Sse, StoreConfig,
};
pub use explain::{Fault, explain};
pub use hedge::Hedged;
pub use trackway_tls::TlsConfig;

/// Looks up an environment variable.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request may take with its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// No attempt begins when this has passed since the first one. A signature is good for 15 minutes.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);
/// Bytes of a part of an upload, when the configuration does not say.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts of one upload that are on their way at once, when the configuration does not say.
pub(crate) const PARTS_AT_ONCE: usize = 2;

/// A configuration that no store can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct OpenError {
    /// Full name of the setting to change.
    pub setting: String,
    /// What is wrong, and the way out.
    pub problem: String,
}

impl OpenError {
    pub(crate) fn new(section: &str, key: &str, problem: impl Into<String>) -> Self {
        Self { setting: format!("{section}.{key}"), problem: problem.into() }
    }
}

/// What a store counts.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Second, third, … requests that were sent because the first took long.
    pub hedged: AtomicU64,
    /// All requests.
    requests: Arc<counted::Requests>,
}

impl StoreMetrics {
    /// Appends the counts in Prometheus's text format.
    pub fn write(&self, out: &mut String) {
        let name = "tempodb_backend_hedged_roundtrips_total";
        let help = "Additional requests sent because the first took long.";
        let count = self.hedged.load(Ordering::Relaxed);
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n"));
        self.requests.write(out);
    }
}

/// A store that is ready to be asked. Nothing was sent to it yet.
#[derive(Clone, Debug)]
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Below which path everything lies; may be empty.
    pub prefix: String,
    /// Bytes of a part of an upload.
    pub part_bytes: usize,
    /// Parts of one upload that are on their way at once.
    pub parts_at_once: usize,
    /// What a person calls it, such as `s3://tempo-traces at http://tempo-minio:9000`.
    pub name: String,
    /// What it counts.
    pub metrics: Arc<StoreMetrics>,
    /// How it was configured, for messages.
    config: StoreConfig,
}

/// Opens the store that a configuration describes.
///
/// # Errors
/// [`OpenError`], which names the setting.
pub async fn open(config: &StoreConfig, environment: Environment<'_>) -> Result<OpenStore, OpenError> {
    install_crypto_provider();
    let metrics = Arc::new(StoreMetrics::default());
    let mut opened = OpenStore {
        store: Arc::new(object_store::memory::InMemory::new()),
        prefix: config.prefix().to_owned(),
        part_bytes: PART_BYTES,
        parts_at_once: PARTS_AT_ONCE,
        name: config.shown(),
        metrics: Arc::clone(&metrics),
        config: config.clone(),
    };
    let hedge = match config {
        StoreConfig::Local { folder } => {
            opened.store = local(folder).map_err(|error| {
                OpenError::new("storage.trace.local", "path", format!("{}: {error}", folder.display()))
            })?;
            Hedge::default()
        }
        StoreConfig::S3(s3) => {
            opened.store = s3::open(s3, environment).await?;
            opened.part_bytes = s3::part_bytes(s3)?;
            s3.hedge
        }
        StoreConfig::Gcs(gcs) => {
            opened.store = gcs::open(gcs, environment)?;
            opened.part_bytes = gcs::part_bytes(gcs)?;
            gcs.hedge
        }
        StoreConfig::Azure(azure) => {
            opened.store = azure::open(azure, environment)?;
            opened.part_bytes = azure.part_bytes.max(1);
            opened.parts_at_once = azure.parts_at_once.max(1);
            azure.hedge
        }
        #[cfg(feature = "hdfs")]
        StoreConfig::Hdfs(hdfs) => {
            opened.store = hdfs::open(hdfs)?;
            Hedge::default()
        }
        #[cfg(not(feature = "hdfs"))]
        StoreConfig::Hdfs(hdfs) => {
            let problem = "this build has no HDFS; build with `--features hdfs`, or use another \
                           storage.trace.backend: local, s3, gcs or azure";
            return Err(OpenError::new(&hdfs.section, "endpoint", problem));
        }
    };
    opened.store = Arc::new(counted::Counted::new(opened.store, Arc::clone(&opened.metrics.requests)));
    if hedge.is_on() {
        opened.store = Arc::new(Hedged::new(opened.store, hedge, metrics));
    }
    Ok(opened)
}

/// A local folder, which is made when it is not there. Files and folders are synced before they count as written.
pub(crate) fn local(folder: &std::path::Path) -> std::io::Result<Arc<dyn ObjectStore>> {
    std::fs::create_dir_all(folder)?;
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder)?;
    // A folder without files would look like a block on its way in, or like a tenant.
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

/// Chooses the implementation of TLS for the process. The first choice counts; call it first thing.
pub fn install_crypto_provider() {
    // That it was chosen before, in this process, is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

fn retry_config(retry: &Retry) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: retry.backoff_initial,
            max_backoff: retry.backoff_max.max(retry.backoff_initial),
            base: 2.,
        },
        max_retries: retry.attempts.saturating_sub(1) as usize,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// Of an error that the builder of a store returns, what it means to say.
fn innermost(error: &object_store::Error) -> String {
    match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
