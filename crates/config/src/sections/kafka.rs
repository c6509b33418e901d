//! `distributor.receivers.kafka:` in the words of the OpenTelemetry Collector, and `ingest:`, where Tempo 3's distributors
//! leave spans for its other parts.

use trackway_common::Secret;

use crate::duration::GoDuration;
use crate::sections::{mins, secs};
use crate::table::Shape::{Any, Bool, Dur, Int, Num, Str};
use crate::values::Raw;

/// What `encoding` may name.
pub(crate) const ENCODINGS: &[&str] = &[
    "otlp_proto",
    "otlp_json",
    "jaeger_proto",
    "jaeger_json",
    "zipkin_proto",
    "zipkin_json",
    "zipkin_thrift",
];

section! {
    /// `distributor.receivers.kafka:`.
    Kafka {
        brokers: Vec<String> = vec!["localhost:9092".to_owned()], "Brokers to begin with, `host:port`.";
        traces: KafkaTopics = KafkaTopics::default(), "What is read, and how it is written.";
        topic: String = String::new(), "Older place of `traces.topics`, for one topic; counts where that is not set.";
        encoding: String = String::new(), "Older place of `traces.encoding`; counts where that is not set.";
        group_id: String = "otel-collector".to_owned(), "The consumer group, whose committed offsets say where to go on.";
        group_instance_id: String = String::new(), "Name of a member that keeps its partitions over a restart; empty for none.";
        group_rebalance_strategy: String = String::new(), "How partitions are shared out: `range`, `roundrobin` or `cooperative-sticky`; empty is whichever of `cooperative-sticky` and `range` the group uses.";
        client_id: String = "otel-collector".to_owned(), "What the brokers know this client by.";
        rack_id: String = String::new(), "Where this client stands, for reading from the nearest replica.";
        initial_offset: String = "latest".to_owned(), "Where to begin in a partition for which the group has committed nothing: `latest` or `earliest`.";
        session_timeout: GoDuration = secs(10), "When a member that is silent counts as gone.";
        heartbeat_interval: GoDuration = secs(3), "How often a member says that it is there.";
        min_fetch_size: u64 = 1, "A broker answers when it has so many bytes, or after `max_fetch_wait`.";
        max_fetch_size: u64 = 0, "Most bytes of one answer of a broker; 0 is 16 MiB.";
        default_fetch_size: u64 = 1_048_576, "Older name of `max_partition_fetch_size`; counts where that is not set.";
        max_partition_fetch_size: u64 = 0, "Most bytes of one partition in it; 0 is `default_fetch_size`. A larger batch is read all the same.";
        max_fetch_wait: GoDuration = GoDuration::from_millis(250), "How long a broker may wait for `min_fetch_size`.";
        autocommit: KafkaAutocommit = KafkaAutocommit::default(), "How often offsets are committed: always only after their spans are durable.";
        message_marking: KafkaMarking = KafkaMarking::default(), "Accepted; records always count as read after they are durable or refused for good.";
        error_backoff: KafkaBackoff = KafkaBackoff::default(), "How often a record that could not be kept is tried again; it is never given up.";
        header_extraction: KafkaHeaders = KafkaHeaders::default(), "Headers of records that become attributes of the resource.";
        auth: KafkaAuth = KafkaAuth::default(), "Whom to log in as.";
        tls: Option<KafkaTls> = None, "TLS to the brokers; an empty block is TLS with the system's authorities.";
        metadata: KafkaMetadata = KafkaMetadata::default(), "What is asked about the brokers.";
        resolve_canonical_bootstrap_servers_only: bool = false, "Not supported: name the brokers as their certificates do.";
    }
    ignored &[
        ("protocol_version", Str),
        ("use_leader_epoch", Bool),
        ("conn_idle_timeout", Dur),
        ("logs", Any),
        ("metrics", Any),
        ("profiles", Any),
        ("telemetry", Any),
    ]
}

section! {
    /// `traces:` of the Kafka receiver.
    KafkaTopics {
        topics: Vec<String> = Vec::new(), "Topics; none is `otlp_spans`.";
        topic: String = String::new(), "Older spelling of `topics`, for one.";
        encoding: String = String::new(), "How records are written: `otlp_proto`, `otlp_json`, `jaeger_proto`, `jaeger_json`, `zipkin_proto`, `zipkin_json` or `zipkin_thrift`; empty is `otlp_proto`.";
        exclude_topics: Vec<String> = Vec::new(), "Not supported, like regular expressions in `topics`.";
        exclude_topic: String = String::new(), "Older spelling of `exclude_topics`.";
    }
    ignored &[]
}

section! {
    /// `autocommit:` of the Kafka receiver.
    KafkaAutocommit {
        enable: bool = true, "Commit at the interval; false commits whenever something is durable.";
        interval: GoDuration = secs(1), "How often.";
    }
    ignored &[]
}

section! {
    /// `message_marking:` of the Kafka receiver.
    KafkaMarking {
        after: bool = true, "Accepted; this happens anyway.";
        on_error: bool = false, "Accepted; a record that could not be kept is tried again whatever this says.";
        on_permanent_error: bool = true, "Accepted; what can never be kept is passed over, counted and logged.";
    }
    ignored &[]
}

section! {
    /// `error_backoff:` of the Kafka receiver.
    KafkaBackoff {
        enabled: bool = true, "Accepted; it is always tried again.";
        initial_interval: GoDuration = GoDuration::from_millis(100), "The first wait.";
        max_interval: GoDuration = secs(10), "The longest.";
        multiplier: f64 = 2.0, "How much longer each is than the one before.";
        max_elapsed_time: GoDuration = GoDuration::ZERO, "Accepted; a record is never given up.";
    }
    ignored &[("randomization_factor", Num)]
}

section! {
    /// `header_extraction:` of the Kafka receiver.
    KafkaHeaders {
        extract_headers: bool = false, "Whether to do it.";
        headers: Vec<String> = Vec::new(), "Which: the attribute is `kafka.header.` and this name.";
    }
    ignored &[]
}

section! {
    /// `auth:` of the Kafka receiver.
    KafkaAuth {
        plain_text: Option<KafkaPlain> = None, "Older spelling of `sasl` with the mechanism `PLAIN`.";
        sasl: Option<KafkaSasl> = None, "Login by SASL.";
        tls: Option<KafkaTls> = None, "Older place of `tls`; counts where that is not set.";
        kerberos: Option<Raw> = None, "Not supported.";
    }
    ignored &[]
}

section! {
    /// `plain_text:` of the Kafka receiver.
    KafkaPlain {
        username: String = String::new(), "The user.";
        password: Secret = Secret::default(), "Its password.";
    }
    ignored &[]
}

section! {
    /// `sasl:` of the Kafka receiver.
    KafkaSasl {
        username: String = String::new(), "The user.";
        password: Secret = Secret::default(), "Its password.";
        mechanism: String = String::new(), "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.";
    }
    ignored &[("version", Int), ("aws_msk", Any), ("oauthbearer_token_source", Str)]
}

section! {
    /// `tls:` of the Kafka receiver.
    KafkaTls {
        insecure: bool = false, "No TLS at all.";
        insecure_skip_verify: bool = false, "Take any certificate.";
        server_name_override: String = String::new(), "Name expected in the brokers' certificates.";
        ca_file: String = String::new(), "Authorities instead of the system's, PEM.";
        cert_file: String = String::new(), "Client certificate, PEM.";
        key_file: String = String::new(), "Its key, PEM.";
        ca_pem: Secret = Secret::default(), "Not supported: write it to a file.";
        cert_pem: Secret = Secret::default(), "Not supported: write it to a file.";
        key_pem: Secret = Secret::default(), "Not supported: write it to a file.";
        min_version: String = "1.2".to_owned(), "Oldest TLS version: 1.2; older ones are never spoken.";
        max_version: String = String::new(), "Not supported.";
        cipher_suites: Vec<String> = Vec::new(), "Not supported: all that are safe are offered.";
        curve_preferences: Vec<String> = Vec::new(), "Not supported: all that are safe are offered.";
        reload_interval: GoDuration = GoDuration::ZERO, "How often files are read again; 0 is never.";
    }
    ignored &[
        ("include_system_ca_certs_pool", Bool),
        ("tpm", Any),
    ]
}

section! {
    /// `metadata:` of the Kafka receiver.
    KafkaMetadata {
        refresh_interval: GoDuration = mins(10), "How often the brokers are asked which partitions there are.";
    }
    ignored &[("full", Bool), ("retry", Any)]
}

section! {
    /// `ingest:`.
    Ingest {
        enabled: Option<bool> = None, "Whether what Tempo 3's distributors left in Kafka is read; not set, it is when `kafka.topic` is.";
        kafka: IngestKafka = IngestKafka::default(), "Where it is.";
    }
    ignored &[]
}

section! {
    /// `ingest.kafka:`. Read as a member of the group `block-builder`, from where Tempo's block builders came to.
    IngestKafka {
        address: String = "localhost:9092".to_owned(), "Brokers to begin with, `host:port`, with commas between them.";
        topic: String = String::new(), "The topic; empty reads none.";
        client_id: String = String::new(), "What the brokers know this client by; empty is `trackway`.";
        dial_timeout: GoDuration = secs(2), "How long opening a connection may take.";
        sasl_mechanism: String = "PLAIN".to_owned(), "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; without a user nobody logs in.";
        sasl_username: String = String::new(), "The user.";
        sasl_password: Secret = Secret::default(), "Its password.";
        tls_enabled: bool = false, "TLS to the brokers.";
        tls_ca_path: String = String::new(), "Authorities instead of the system's, PEM.";
        tls_cert_path: String = String::new(), "Client certificate, PEM.";
        tls_key_path: String = String::new(), "Its key, PEM.";
        tls_server_name: String = String::new(), "Name expected in the brokers' certificates.";
        tls_insecure_skip_verify: bool = false, "Take any certificate.";
        tls_cipher_suites: String = String::new(), "Not supported: all that are safe are offered.";
        tls_min_version: String = String::new(), "Oldest TLS version: `VersionTLS12`; older ones are never spoken.";
        consumer_group_offset_commit_interval: GoDuration = secs(1), "How often offsets are committed: always only after their spans are durable.";
    }
    ignored &[
        ("write_timeout", Dur),
        ("consumer_group", Str),
        ("last_produced_offset_retry_timeout", Dur),
        ("auto_create_topic_enabled", Bool),
        ("auto_create_topic_default_partitions", Int),
        ("producer_max_record_size_bytes", Int),
        ("producer_max_buffered_bytes", Int),
        ("target_consumer_lag_at_startup", Dur),
        ("max_consumer_lag_at_startup", Dur),
        ("disable_kafka_telemetry", Bool),
        ("consumer_group_lag_metric_update_interval", Dur),
    ]
}

impl Kafka {
    /// What is read.
    pub fn all_topics(&self) -> Vec<String> {
        let older = [&self.traces.topic, &self.topic].into_iter().find(|topic| !topic.is_empty());
        match (self.traces.topics.is_empty(), older) {
            (false, _) => self.traces.topics.clone(),
            (true, Some(topic)) => vec![topic.clone()],
            (true, None) => vec!["otlp_spans".to_owned()],
        }
    }

    /// How records are written.
    pub fn the_encoding(&self) -> &str {
        let set = [self.traces.encoding.as_str(), self.encoding.as_str()];
        set.into_iter().find(|encoding| !encoding.is_empty()).unwrap_or("otlp_proto")
    }

    /// TLS, if there is to be any.
    pub fn the_tls(&self) -> Option<&KafkaTls> {
        self.tls.as_ref().or(self.auth.tls.as_ref()).filter(|tls| !tls.insecure)
    }

    /// Login, if there is to be any.
    pub fn the_sasl(&self) -> Option<KafkaSasl> {
        let plain = self.auth.plain_text.as_ref().map(|plain| KafkaSasl {
            username: plain.username.clone(),
            password: plain.password.clone(),
            mechanism: "PLAIN".to_owned(),
        });
        self.auth.sasl.clone().or(plain)
    }
}

impl Ingest {
    /// Where Tempo 3's distributors left spans that are to be read.
    pub fn to_read(&self) -> Option<&IngestKafka> {
        let wanted = self.enabled.unwrap_or(!self.kafka.topic.is_empty());
        wanted.then_some(&self.kafka)
    }
}
