//! Kafka: one consumer for `distributor.receivers.kafka`, one for what Tempo 3's distributors left (`ingest.kafka`).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trackway_config::sections::{IngestKafka, Kafka, KafkaSasl};
use trackway_distributor::Push;
use trackway_kafka::{
    Backoff, Fetching, KafkaConfig, KafkaTls, Mechanism, RecordEncoding, Sasl, Sharing, TEMPO_GROUP, TenantOf,
};

use crate::admin::Process;

/// Most bytes of one answer of a broker, unless told otherwise.
const FETCH_BYTES: i32 = 16 << 20;
/// Tempo's distributors write records of up to 16 MB; of one partition no more than that is fetched at a time.
const TEMPO_PARTITION_BYTES: i32 = 4 << 20;
/// The Collector has no setting for it.
const CONNECT: Duration = Duration::from_secs(10);

/// Starts reading. No broker has to be there.
pub(crate) fn serve(
    process: &Process,
    push: &Arc<dyn Push>,
    tasks: &mut JoinSet<std::io::Result<()>>,
    stop: &CancellationToken,
) {
    let config = &process.config;
    let receiver = config.distributor.receivers.kafka.as_ref().map(|kafka| receiver(kafka, process));
    let ingest = config.ingest.to_read().map(|kafka| ingest(kafka, process));
    for consumer in receiver.into_iter().chain(ingest) {
        tasks.spawn(trackway_kafka::serve_kafka(consumer, Arc::clone(push), stop.clone()));
    }
}

/// What both have in common; the rest is set by whoever calls.
fn common(setting: &'static str, process: &Process) -> KafkaConfig {
    KafkaConfig {
        setting,
        brokers: Vec::new(),
        topics: Vec::new(),
        encoding: RecordEncoding::OtlpProto,
        tenant: TenantOf::Header,
        multitenancy: process.config.multitenancy_enabled,
        group_id: String::new(),
        group_instance_id: String::new(),
        client_id: String::new(),
        rack_id: String::new(),
        from_beginning: false,
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_secs(3),
        sharing: Sharing::Any,
        fetching: Fetching {
            min_bytes: 1,
            max_wait: Duration::from_millis(250),
            max_bytes: FETCH_BYTES,
            max_partition_bytes: TEMPO_PARTITION_BYTES,
        },
        commit_interval: Duration::from_secs(1),
        connect_timeout: CONNECT,
        metadata_interval: Duration::from_mins(5),
        backoff: Backoff::default(),
        headers: Vec::new(),
        sasl: None,
        tls: None,
        memory: process.memory.clone(),
        clock: Arc::clone(&process.clock),
        counts: Arc::clone(&process.received),
        metrics: Arc::clone(&process.kafka),
    }
}

fn receiver(kafka: &Kafka, process: &Process) -> KafkaConfig {
    let brokers = kafka.brokers.iter().map(|broker| broker.trim().to_owned());
    let header_extraction = &kafka.header_extraction;
    KafkaConfig {
        brokers: brokers.filter(|broker| !broker.is_empty()).collect(),
        topics: kafka.all_topics(),
        // The configuration was checked: there is no other.
        encoding: RecordEncoding::parse(kafka.the_encoding()).unwrap_or(RecordEncoding::OtlpProto),
        group_id: kafka.group_id.clone(),
        group_instance_id: kafka.group_instance_id.clone(),
        client_id: kafka.client_id.clone(),
        rack_id: kafka.rack_id.clone(),
        from_beginning: kafka.initial_offset == "earliest",
        session_timeout: kafka.session_timeout.as_std(),
        heartbeat_interval: kafka.heartbeat_interval.as_std(),
        sharing: match kafka.group_rebalance_strategy.as_str() {
            "range" => Sharing::Range,
            "roundrobin" => Sharing::RoundRobin,
            "cooperative-sticky" => Sharing::CooperativeSticky,
            _ => Sharing::Any,
        },
        fetching: Fetching {
            min_bytes: size(kafka.min_fetch_size, 1),
            max_wait: kafka.max_fetch_wait.as_std(),
            max_bytes: size(kafka.max_fetch_size, FETCH_BYTES),
            max_partition_bytes: size(
                kafka.max_partition_fetch_size,
                size(kafka.default_fetch_size, FETCH_BYTES),
            ),
        },
        commit_interval: if kafka.autocommit.enable {
            kafka.autocommit.interval.as_std()
        } else {
            Duration::ZERO
        },
        metadata_interval: kafka.metadata.refresh_interval.as_std().max(Duration::from_secs(1)),
        backoff: Backoff {
            initial: kafka.error_backoff.initial_interval.as_std().max(Duration::from_millis(1)),
            max: kafka.error_backoff.max_interval.as_std().max(Duration::from_millis(1)),
            multiplier: kafka.error_backoff.multiplier,
        },
        headers: match header_extraction.extract_headers {
            true => header_extraction.headers.clone(),
            false => Vec::new(),
        },
        sasl: kafka.the_sasl().map(|sasl| login(&sasl)),
        tls: kafka.the_tls().map(|tls| KafkaTls {
            ca_file: tls.ca_file.clone(),
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            insecure_skip_verify: tls.insecure_skip_verify,
            server_name: tls.server_name_override.clone(),
            reload_interval: tls.reload_interval.as_std(),
        }),
        ..common("distributor.receivers.kafka", process)
    }
}

/// A size in bytes, of which 0 means the default. Larger ones than the protocol knows were refused.
fn size(bytes: u64, default: i32) -> i32 {
    if bytes == 0 { default } else { i32::try_from(bytes).unwrap_or(i32::MAX) }
}

fn login(sasl: &KafkaSasl) -> Sasl {
    Sasl {
        mechanism: match sasl.mechanism.as_str() {
            "SCRAM-SHA-256" => Mechanism::ScramSha256,
            "SCRAM-SHA-512" => Mechanism::ScramSha512,
            _ => Mechanism::Plain,
        },
        username: sasl.username.clone(),
        password: sasl.password.expose().to_owned(),
    }
}

/// Everything that Tempo's block builders have not made blocks of.
fn ingest(kafka: &IngestKafka, process: &Process) -> KafkaConfig {
    let sasl = (!kafka.sasl_username.is_empty()).then(|| KafkaSasl {
        username: kafka.sasl_username.clone(),
        password: kafka.sasl_password.clone(),
        mechanism: kafka.sasl_mechanism.clone(),
    });
    let brokers = kafka.address.split(',').map(|broker| broker.trim().to_owned());
    KafkaConfig {
        brokers: brokers.filter(|broker| !broker.is_empty()).collect(),
        topics: vec![kafka.topic.clone()],
        encoding: RecordEncoding::TempoPushBytes,
        tenant: TenantOf::Key,
        group_id: TEMPO_GROUP.to_owned(),
        client_id: if kafka.client_id.is_empty() { "trackway" } else { &kafka.client_id }.to_owned(),
        from_beginning: true,
        connect_timeout: kafka.dial_timeout.as_std().max(Duration::from_millis(100)),
        commit_interval: kafka.consumer_group_offset_commit_interval.as_std(),
        sasl: sasl.map(|sasl| login(&sasl)),
        tls: kafka.tls_enabled.then(|| KafkaTls {
            ca_file: kafka.tls_ca_path.clone(),
            cert_file: kafka.tls_cert_path.clone(),
            key_file: kafka.tls_key_path.clone(),
            insecure_skip_verify: kafka.tls_insecure_skip_verify,
            server_name: kafka.tls_server_name.clone(),
            reload_interval: Duration::ZERO,
        }),
        ..common("ingest.kafka", process)
    }
}
