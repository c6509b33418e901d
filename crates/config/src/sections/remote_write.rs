//! `metrics_generator.storage.remote_write:`, in Prometheus's words.
//!
//! Logins that Trackway cannot do have their keys here so that they are refused by name, with the way out.

use std::collections::BTreeMap;

use trackway_common::Secret;

use crate::duration::GoDuration;
use crate::sections::{mins, secs};
use crate::table::Shape::Bool;
use crate::values::Raw;

/// The protocol of remote write 1.0.
pub const REMOTE_WRITE_V1: &str = "prometheus.WriteRequest";
/// The protocol of remote write 2.0.
pub const REMOTE_WRITE_V2: &str = "io.prometheus.write.v2.Request";

section! {
    /// An entry of `metrics_generator.storage.remote_write:`.
    RemoteWrite {
        url: String = String::new(), "Where to, such as `http://prometheus:9090/api/v1/write`.";
        name: String = String::new(), "Its name in logs and metrics; no two have the same.";
        remote_timeout: GoDuration = secs(30), "How long an answer may take.";
        headers: BTreeMap<String, Secret> = BTreeMap::new(), "Headers sent along.";
        basic_auth: Option<BasicAuth> = None, "Login by name and password.";
        authorization: Option<Authorization> = None, "Login by a token.";
        bearer_token: Secret = Secret::default(), "Older spelling of `authorization.credentials`.";
        bearer_token_file: String = String::new(), "Older spelling of `authorization.credentials_file`.";
        sigv4: Option<SigV4> = None, "Login at Amazon Managed Prometheus.";
        tls_config: RemoteWriteTls = RemoteWriteTls::default(), "TLS, where the URL is `https://`.";
        protobuf_message: Option<String> = None, "`prometheus.WriteRequest` (1.0) or `io.prometheus.write.v2.Request` (2.0); not set asks the receiver.";
        send_exemplars: bool = true, "Accepted; exemplars are always sent, as in Tempo.";
        send_native_histograms: bool = false, "Accepted; `generate_native_histograms` of the overrides decides, as in Tempo.";
        follow_redirects: bool = true, "Go where the receiver says.";
        enable_http2: bool = true, "Accepted; the receiver chooses.";
        queue_config: QueueConfig = QueueConfig::default(), "What waits in memory, and how it is sent.";
        metadata_config: MetadataConfig = MetadataConfig::default(), "Accepted; protocol 2.0 has the type with each series, 1.0 gets none.";
        write_relabel_configs: Vec<RelabelConfig> = Vec::new(), "Changes of series before they are sent.";
        oauth2: Option<Raw> = None, "Not supported: let a proxy add the login.";
        azuread: Option<Raw> = None, "Not supported: let a proxy add the login.";
        google_iam: Option<Raw> = None, "Not supported: let a proxy add the login.";
        http_headers: Option<Raw> = None, "Not supported: write them to `headers`.";
        proxy_url: String = String::new(), "Not supported: name the proxy as the receiver.";
        no_proxy: String = String::new(), "Not supported, as there is no proxy.";
        proxy_from_environment: bool = false, "Not supported: name the proxy as the receiver.";
        proxy_connect_header: Option<Raw> = None, "Not supported, as there is no proxy.";
    }
    ignored &[("round_robin_dns", Bool)]
}

section! {
    /// `basic_auth:` of an endpoint.
    BasicAuth {
        username: String = String::new(), "The user.";
        username_file: String = String::new(), "File with it.";
        password: Secret = Secret::default(), "Its password.";
        password_file: String = String::new(), "File with it; read again when it changes.";
        username_ref: Option<Raw> = None, "Not supported: use `username_file`.";
        password_ref: Option<Raw> = None, "Not supported: use `password_file`.";
    }
    ignored &[]
}

section! {
    /// `authorization:` of an endpoint.
    Authorization {
        r#type: String = "Bearer".to_owned(), "What stands before the token.";
        credentials: Secret = Secret::default(), "The token.";
        credentials_file: String = String::new(), "File with it; read again when it changes.";
        credentials_ref: Option<Raw> = None, "Not supported: use `credentials_file`.";
    }
    ignored &[]
}

section! {
    /// `sigv4:` of an endpoint.
    SigV4 {
        region: String = String::new(), "The workspace's region.";
        access_key: String = String::new(), "The key's id.";
        secret_key: Secret = Secret::default(), "The key.";
        profile: String = String::new(), "Not supported: set `access_key` and `secret_key`.";
        role_arn: String = String::new(), "Not supported: let a proxy add the login.";
        external_id: String = String::new(), "Not supported: let a proxy add the login.";
        use_fips_sts_endpoint: bool = false, "Not supported: let a proxy add the login.";
    }
    ignored &[]
}

section! {
    /// `tls_config:` of an endpoint.
    RemoteWriteTls {
        ca_file: String = String::new(), "Authorities instead of the system's, PEM.";
        cert_file: String = String::new(), "Client certificate, PEM.";
        key_file: String = String::new(), "Its key, PEM.";
        server_name: String = String::new(), "Name expected in the certificate.";
        insecure_skip_verify: bool = false, "Take any certificate.";
        min_version: String = String::new(), "Oldest TLS version: `TLS12` or `TLS13`; older ones are never spoken.";
        max_version: String = String::new(), "Newest TLS version: `TLS13`.";
        ca: Secret = Secret::default(), "Not supported: write it to a file.";
        cert: Secret = Secret::default(), "Not supported: write it to a file.";
        key: Secret = Secret::default(), "Not supported: write it to a file.";
        ca_ref: Option<Raw> = None, "Not supported: use `ca_file`.";
        cert_ref: Option<Raw> = None, "Not supported: use `cert_file`.";
        key_ref: Option<Raw> = None, "Not supported: use `key_file`.";
    }
    ignored &[]
}

section! {
    /// `queue_config:` of an endpoint.
    QueueConfig {
        capacity: u32 = 10_000, "Accepted; what waits does so on disk.";
        max_shards: u32 = 50, "Most requests at a time.";
        min_shards: u32 = 1, "Least requests at a time.";
        max_samples_per_send: u32 = 2000, "Most samples of one request.";
        batch_send_deadline: GoDuration = secs(5), "Accepted; what is collected is sent at once.";
        min_backoff: GoDuration = GoDuration::from_millis(30), "First wait after a request that failed.";
        max_backoff: GoDuration = secs(5), "Longest wait.";
        retry_on_http_429: bool = false, "Accepted; what a receiver puts off is always sent again.";
        sample_age_limit: GoDuration = GoDuration::ZERO, "Samples that are older are dropped; 0 keeps them.";
    }
    ignored &[]
}

section! {
    /// `metadata_config:` of an endpoint.
    MetadataConfig {
        send: bool = true, "Accepted.";
        send_interval: GoDuration = mins(1), "Accepted.";
        max_samples_per_send: u32 = 2000, "Accepted.";
    }
    ignored &[]
}

section! {
    /// An entry of `write_relabel_configs:`.
    RelabelConfig {
        source_labels: Vec<String> = Vec::new(), "Labels whose values are looked at.";
        separator: String = ";".to_owned(), "What is put between them.";
        target_label: String = String::new(), "Label that is written.";
        regex: String = "(.*)".to_owned(), "What the values must be, as a whole.";
        modulus: u64 = 0, "Divisor of `hashmod`.";
        replacement: String = "$1".to_owned(), "What is written.";
        action: String = "replace".to_owned(), "What is done: `replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`, `lowercase` or `uppercase`.";
    }
    ignored &[]
}

impl RemoteWriteTls {
    /// The oldest version in dskit's words, as the rest of the configuration has it; empty is 1.2.
    pub fn min_version_of_dskit(&self) -> &'static str {
        if self.min_version == "TLS13" { "VersionTLS13" } else { "" }
    }
}
