//! The metrics-generator of this process: its settings, and the ingester's log that it reads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trackway_common::{Clock, MemoryPool, Random};
use trackway_config::Config;
use trackway_config::sections::{LimiterType, REMOTE_WRITE_V1, REMOTE_WRITE_V2, RemoteWrite};
use trackway_generator::{
    Codec, Config as GeneratorConfig, Generator, OpenError, RegistryConfig, Source, WalConfig,
};
use trackway_ingester::Ingester;
use trackway_overrides::Overrides;
use trackway_remote_write::{
    Authorization, BasicAuth, Endpoint, Protocol, QueueConfig, RelabelConfig, SigV4,
};
use trackway_tls::TlsConfig;
use trackway_wal::{Cursor, LogError, Replayed, Sequence, Visitor};

/// The folder in `metrics_generator.storage.path` that is the generator's alone.
const FOLDER: &str = "trackway-metrics";
/// The label with which Tempo marks the series of each process.
const INSTANCE: &str = "__metrics_gen_instance";

/// Opens it; `None` in a process that takes no spans.
pub(crate) async fn open(
    config: &Config,
    ingester: &Arc<Ingester>,
    overrides: &Arc<Overrides>,
    memory: &MemoryPool,
    (clock, random): (&Arc<dyn Clock>, &Arc<dyn Random>),
) -> anyhow::Result<Option<Arc<Generator>>> {
    if config.trackway.read_only {
        return Ok(None);
    }
    let settings = settings(config, overrides, memory);
    let source: Arc<dyn Source> = Arc::new(LogOf(Arc::clone(ingester)));
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let open = move || -> Result<_, OpenError> { Generator::open(settings, source, clock, random) };
    Ok(Some(tokio::task::spawn_blocking(open).await??))
}

/// The log of the ingester in this process.
#[derive(Debug)]
struct LogOf(Arc<Ingester>);

impl Source for LogOf {
    fn id(&self) -> u128 {
        self.0.log_id().as_u128()
    }

    fn low_water(&self) -> Sequence {
        self.0.log_low_water()
    }

    fn durable(&self) -> watch::Receiver<Sequence> {
        self.0.durable()
    }

    fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError> {
        self.0.read_log(cursor, visit)
    }

    fn keep_behind(&self, sequence: Sequence) {
        self.0.keep_log_behind(sequence);
    }
}

fn settings(config: &Config, overrides: &Arc<Overrides>, memory: &MemoryPool) -> GeneratorConfig {
    let generator = &config.metrics_generator;
    let (registry, storage) = (&generator.registry, &generator.storage);
    let mut external_labels = registry.external_labels.clone();
    external_labels.insert(INSTANCE.to_owned(), instance(&generator.instance_id));
    let bytes = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
    GeneratorConfig {
        // Never a folder that somebody else writes to: values files name Tempo's log here, and tenants name folders.
        path: config.generator_wal_path().join(FOLDER),
        wal: WalConfig {
            segment_bytes: storage.wal.wal_segment_size.bytes(),
            codec: match storage.wal.wal_compression.as_str() {
                "snappy" => Codec::Snappy,
                "zstd" => Codec::Zstd,
                _ => Codec::None, // others were refused
            },
            max_age: Duration::from_millis(storage.wal.max_wal_time),
            max_bytes: config.trackway.generator.wal_max_bytes.bytes(),
        },
        remote_write: storage.remote_write.iter().enumerate().map(endpoint).collect(),
        add_org_id_header: storage.remote_write_add_org_id_header,
        has_tenants: config.multitenancy_enabled,
        flush_deadline: config.remote_write_flush_deadline().as_std(),
        registry: RegistryConfig {
            stale_duration: registry.stale_duration.as_std(),
            external_labels,
            inject_tenant_id_as: registry.inject_tenant_id_as.clone(),
            max_label_name_length: bytes(registry.max_label_name_length),
            max_label_value_length: bytes(registry.max_label_value_length),
        },
        by_entity: generator.limiter_type == LimiterType::Entity,
        max_bytes: config.trackway.generator.max_bytes.as_usize(),
        overrides: Arc::clone(overrides),
        memory: memory.clone(),
    }
}

/// What is configured, else the name of the host, as in Tempo.
fn instance(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// An entry of `remote_write`. What Tempo forces is forced: exemplars go along, and native histograms where they are made.
fn endpoint((index, entry): (usize, &RemoteWrite)) -> Endpoint {
    let login = entry.basic_auth.as_ref().map(|login| BasicAuth {
        username: login.username.clone(),
        username_file: login.username_file.clone(),
        password: login.password.clone(),
        password_file: login.password_file.clone(),
    });
    let authorization = entry.authorization.as_ref().map(|token| Authorization {
        kind: token.r#type.clone(),
        credentials: token.credentials.clone(),
        credentials_file: token.credentials_file.clone(),
    });
    let sigv4 = entry.sigv4.as_ref().map(|key| SigV4 {
        region: key.region.clone(),
        access_key: key.access_key.clone(),
        secret_key: key.secret_key.clone(),
        profile: key.profile.clone(),
        role_arn: key.role_arn.clone(),
    });
    let tls = &entry.tls_config;
    Endpoint {
        name: if entry.name.is_empty() { index.to_string() } else { entry.name.clone() },
        url: entry.url.clone(),
        remote_timeout: entry.remote_timeout.as_std(),
        headers: entry.headers.clone(),
        basic_auth: login,
        authorization,
        bearer_token: entry.bearer_token.clone(),
        bearer_token_file: entry.bearer_token_file.clone(),
        tls: TlsConfig {
            cert_path: tls.cert_file.clone(),
            key_path: tls.key_file.clone(),
            ca_path: tls.ca_file.clone(),
            server_name: tls.server_name.clone(),
            insecure_skip_verify: tls.insecure_skip_verify,
            cipher_suites: String::new(),
            min_version: tls.min_version_of_dskit().to_owned(),
        },
        sigv4,
        protobuf_message: match entry.protobuf_message.as_deref() {
            Some(REMOTE_WRITE_V1) => Some(Protocol::V1),
            Some(REMOTE_WRITE_V2) => Some(Protocol::V2),
            _ => None, // others were refused
        },
        send_exemplars: true,
        send_native_histograms: true,
        follow_redirects: entry.follow_redirects,
        write_relabel_configs: entry.write_relabel_configs.iter().map(relabel).collect(),
        queue: queue(&entry.queue_config),
    }
}

fn relabel(entry: &trackway_config::sections::RelabelConfig) -> RelabelConfig {
    RelabelConfig {
        source_labels: entry.source_labels.clone(),
        separator: entry.separator.clone(),
        target_label: entry.target_label.clone(),
        regex: entry.regex.clone(),
        modulus: entry.modulus,
        replacement: entry.replacement.clone(),
        action: entry.action.clone(),
    }
}

fn queue(queue: &trackway_config::sections::QueueConfig) -> QueueConfig {
    QueueConfig {
        max_shards: queue.max_shards as usize,
        min_shards: queue.min_shards as usize,
        max_samples_per_send: queue.max_samples_per_send as usize,
        min_backoff: queue.min_backoff.as_std(),
        max_backoff: queue.max_backoff.as_std(),
        sample_age_limit: queue.sample_age_limit.as_std(),
    }
}
