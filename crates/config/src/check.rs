//! What single keys cannot know: settings that contradict each other or the world.
//!
//! Each message names key, value and the way out; nothing here touches disk or network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addresses::split;
use crate::bytesize::ByteSize;
use crate::config::Config;
use crate::problem::{Origin, Problem, nearest};
use crate::sections::{Backend, DedicatedColumn, ForeignKind, Limits, MetricsGenerator};

/// The values of `target`.
pub(crate) const TARGETS: &[&str] = &[
    "all",
    "scalable-single-binary",
    "distributor",
    "ingester",
    "querier",
    "query-frontend",
    "compactor",
    "metrics-generator",
    "metrics-generator-no-local-blocks",
    "block-builder",
    "live-store",
    "backend-scheduler",
    "backend-worker",
    "gateway",
];

/// What `cache.caches[].roles` may name.
const CACHE_ROLES: &[&str] = &[
    "bloom",
    "trace-id-index",
    "parquet-footer",
    "parquet-column-idx",
    "parquet-offset-idx",
    "parquet-page",
    "frontend-search",
];

/// What `metrics_generator.processors` may name.
pub(crate) const PROCESSORS: &[&str] = &[
    "service-graphs",
    "span-metrics",
    "span-metrics-latency",
    "span-metrics-count",
    "span-metrics-size",
    "host-info",
    "local-blocks",
];

/// Most tasks that `workers` may ask for, of a receiver's port or of a tenant's queue.
const MAX_WORKERS: u32 = 256;

/// The processors of the metrics-generator that Tempo has.
pub fn processors() -> &'static [&'static str] {
    PROCESSORS
}

/// Collects problems with the places their keys were set.
pub(crate) struct Findings<'a> {
    origin: Box<dyn Fn(&str) -> Origin + 'a>,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        Self::of(|key| config.origin(key))
    }

    /// Of keys whose places somebody else knows.
    pub(crate) fn of(origin: impl Fn(&str) -> Origin + 'a) -> Self {
        Self { origin: Box::new(origin), problems: Vec::new() }
    }

    pub(crate) fn add(&mut self, key: &str, message: String) {
        self.problems.push(Problem { origin: (self.origin)(key), key: key.to_owned(), message });
    }

    /// What is wrong with limits, be it the defaults or a tenant's own. `generator` is what they go over.
    pub(crate) fn limits(&mut self, above: &str, limits: &Limits, generator: &MetricsGenerator) {
        self.generator_limits(&format!("{above}.metrics_generator"), &limits.metrics_generator, generator);
        self.workers(
            &format!("{above}.metrics_generator.forwarder.workers"),
            limits.metrics_generator.forwarder.workers,
        );
        let key = format!("{above}.storage.parquet_dedicated_columns");
        check_columns(&key, &limits.storage.parquet_dedicated_columns, self);
    }

    fn workers(&mut self, key: &str, workers: u32) {
        if workers > MAX_WORKERS {
            self.add(key, format!("{key} is {workers}; use {MAX_WORKERS} at the most"));
        }
    }

    pub(crate) fn one_of(&mut self, key: &str, value: &str, choices: &[&str]) {
        if choices.contains(&value) {
            return;
        }
        let hint = match nearest(value, choices.iter().copied()) {
            Some(choice) => format!("did you mean {choice}?"),
            None => format!("use one of {}", choices.join(", ")),
        };
        self.add(key, format!("{key} is \"{value}\"; {hint}"));
    }

    fn required(&mut self, key: &str, value: &str, why: &str) {
        if value.is_empty() {
            self.add(key, format!("{key} is empty; {why}"));
        }
    }
}

impl Config {
    /// What makes this configuration unusable; empty if nothing does.
    pub fn validate(&self) -> Vec<Problem> {
        let mut found = Findings::new(self);
        self.check_process(&mut found);
        self.check_addresses(&mut found);
        self.check_tls(&mut found);
        self.check_forwarders(&mut found);
        self.check_storage(&mut found);
        self.check_caches(&mut found);
        self.check_user_overrides(&mut found);
        self.check_queries(&mut found);
        self.check_kafka(&mut found);
        self.check_trackway(&mut found);
        self.check_generator(&mut found);
        found.limits("overrides.defaults", &self.overrides.defaults, &self.metrics_generator);
        found.problems
    }

    fn check_process(&self, found: &mut Findings<'_>) {
        found.one_of("target", &self.target, TARGETS);
        let level = self.server.log_level.to_ascii_lowercase();
        let levels = ["debug", "info", "warn", "error"];
        found.one_of("server.log_level", &level, &levels);
        found.one_of("server.log_format", &self.server.log_format, &["logfmt", "json"]);
        for (key, value) in [
            ("http_api_prefix", &self.http_api_prefix),
            ("server.http_path_prefix", &self.server.http_path_prefix),
        ] {
            if !value.is_empty() && !value.starts_with('/') {
                found.add(key, format!("{key} is \"{value}\"; begin it with a slash: \"/{value}\""));
            }
        }
        if self.server.grpc_server_max_recv_msg_size.bytes() == 0 {
            let key = "server.grpc_server_max_recv_msg_size";
            found.add(key, format!("{key} is 0; nothing could be received, use 16777216"));
        }
    }

    fn check_caches(&self, found: &mut Findings<'_>) {
        let mut claimed: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, entry) in self.cache.caches.iter().enumerate() {
            let key = format!("cache.caches[{index}].roles");
            if entry.roles.is_empty() {
                found.add(
                    &key,
                    format!("{key} is empty; name what the cache is for, such as [bloom, parquet-footer]"),
                );
            }
            for role in &entry.roles {
                found.one_of(&key, role, CACHE_ROLES);
                if let Some(other) = claimed.insert(role, index) {
                    let message = format!(
                        "{key} has {role}, which cache.caches[{other}].roles has already; leave it in one"
                    );
                    found.add(&key, message);
                }
            }
            let kinds = usize::from(entry.memcached.is_some()) + usize::from(entry.redis.is_some());
            if kinds != 1 {
                let key = format!("cache.caches[{index}]");
                let how_many = if kinds == 0 { "neither memcached nor redis" } else { "memcached and redis" };
                found.add(&key, format!("{key} has {how_many}; write one of them"));
            }
        }
        let legacy = &self.storage.trace.cache;
        if !legacy.is_empty() {
            found.one_of("storage.trace.cache", legacy, &["memcached", "redis"]);
            let of_legacy = |role: &&str| matches!(*role, "bloom" | "trace-id-index");
            if let Some(role) = claimed.keys().find(|role| of_legacy(role)) {
                let key = "storage.trace.cache";
                found.add(key, format!("{key} is for {role}, which cache.caches has already; remove {key}"));
            }
        }
    }

    fn check_addresses(&self, found: &mut Findings<'_>) {
        let protocols = self.distributor.receivers.otlp.as_ref().map(|otlp| &otlp.protocols);
        let prefix = "distributor.receivers.otlp.protocols";
        let grpc = protocols.and_then(|p| p.grpc.as_ref()).map(|grpc| &grpc.endpoint);
        let http = protocols.and_then(|p| p.http.as_ref()).map(|http| &http.endpoint);
        for (name, endpoint, port) in [("grpc", grpc, 4317), ("http", http, 4318)] {
            let Some(endpoint) = endpoint else { continue };
            if split(endpoint, port).is_none() {
                let key = format!("{prefix}.{name}.endpoint");
                let message = format!("{key} is \"{endpoint}\"; write host:port, such as 0.0.0.0:{port}");
                found.add(&key, message);
            }
        }
        for receiver in self.distributor.receivers.foreign() {
            let (endpoint, port) = (&receiver.endpoint, receiver.default_port);
            if split(endpoint, port).is_none() {
                let key = format!("{}.endpoint", receiver.key);
                let message = format!("{key} is \"{endpoint}\"; write host:port, such as 0.0.0.0:{port}");
                found.add(&key, message);
            }
            if let ForeignKind::JaegerThriftCompact(of) | ForeignKind::JaegerThriftBinary(of) = receiver.kind
            {
                found.workers(&format!("{}.workers", receiver.key), of.workers);
            }
        }
        if let Some(listen) = &self.trackway.listen {
            let bare = listen.trim_start_matches('[').trim_end_matches(']');
            if bare.is_empty() || (bare.contains(':') && bare.parse::<IpAddr>().is_err()) {
                let message = format!(
                    "trackway.listen is \"{listen}\"; give an address without a port, such as 0.0.0.0"
                );
                found.add("trackway.listen", message);
            }
        }
        let addresses = self.resolve_addresses();
        let mut taken: Vec<(String, String)> = Vec::new();
        let foreign = addresses.foreign.into_iter().filter(|(receiver, _)| !receiver.is_udp());
        let foreign =
            foreign.map(|(receiver, address)| (format!("{}.endpoint", receiver.key), Some(address)));
        let own = [
            ("server.http_listen_port".to_owned(), Some(addresses.http)),
            ("server.grpc_listen_port".to_owned(), Some(addresses.grpc)),
            (format!("{prefix}.grpc.endpoint"), addresses.otlp_grpc),
            (format!("{prefix}.http.endpoint"), addresses.otlp_http),
        ];
        for (key, address) in own.into_iter().chain(foreign) {
            let Some(address) = address else { continue };
            if let Some((other, _)) = taken.iter().find(|(_, used)| clash(used, &address)) {
                let message = format!("{key} and {other} both want {address}; change one of the ports");
                found.add(&key, message);
            }
            taken.push((key, address));
        }
    }

    fn check_forwarders(&self, found: &mut Findings<'_>) {
        let all = &self.distributor.forwarders;
        let mut names: Vec<&str> = Vec::new();
        for (place, forwarder) in all.iter().enumerate() {
            let key = |name: &str| format!("distributor.forwarders[{place}].{name}");
            let name = forwarder.name.as_str();
            found.required(&key("name"), name, "give it one, for overrides.defaults.forwarders");
            if let Some(other) = names.iter().position(|other| !name.is_empty() && *other == name) {
                let key = key("name");
                let message =
                    format!("{key} is \"{name}\", as distributor.forwarders[{other}].name is; rename one");
                found.add(&key, message);
            }
            names.push(name);
            if forwarder.backend != "otlpgrpc" {
                let key = key("backend");
                found.add(&key, format!("{key} is \"{}\"; use otlpgrpc", forwarder.backend));
            } else if forwarder.otlpgrpc.endpoints.is_empty() {
                let key = key("otlpgrpc.endpoints");
                found.add(&key, format!("{key} is empty; write host:port, such as tempo:4317"));
            } else if !forwarder.otlpgrpc.tls.insecure {
                let why = "name the authority of the endpoints, or set insecure: true";
                found.required(&key("otlpgrpc.tls.cert_file"), &forwarder.otlpgrpc.tls.cert_file, why);
            }
        }
        for wanted in &self.overrides.defaults.forwarders {
            if !names.contains(&wanted.as_str()) {
                let key = "overrides.defaults.forwarders";
                let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                found.add(key, format!("{key} has {wanted}; distributor.forwarders has {there}"));
            }
        }
    }

    fn check_storage(&self, found: &mut Findings<'_>) {
        let trace = &self.storage.trace;
        match trace.backend {
            Backend::Local => {}
            Backend::S3 => {
                let why = "name the bucket (storage.trace.backend is s3)";
                found.required("storage.trace.s3.bucket", &trace.s3.bucket, why);
                let why = "name the server, such as s3.eu-central-1.amazonaws.com or minio:9000";
                found.required("storage.trace.s3.endpoint", &trace.s3.endpoint, why);
                let sse = &trace.s3.sse.r#type;
                found.one_of("storage.trace.s3.sse.type", sse, &["", "SSE-S3", "SSE-KMS", "SSE-C"]);
                let key = "storage.trace.s3.bucket_lookup_type";
                if trace.s3.bucket_lookup_type > 2 {
                    let message = format!("{key} is {}; use 0, 1 or 2", trace.s3.bucket_lookup_type);
                    found.add(key, message);
                }
                if trace.s3.signature_v2 {
                    let key = "storage.trace.s3.signature_v2";
                    let way =
                        "this version signs the new way only; remove it, or use a store that knows version 4";
                    found.add(key, format!("{key} is true; {way}"));
                }
                if !trace.s3.sse.kms_encryption_context.is_empty() {
                    let key = "storage.trace.s3.sse.kms_encryption_context";
                    let way = "this version cannot send a context; remove it, or make encryption the bucket's default";
                    found.add(key, format!("{key} is set; {way}"));
                }
            }
            Backend::Gcs => {
                let why = "name the bucket (storage.trace.backend is gcs)";
                found.required("storage.trace.gcs.bucket_name", &trace.gcs.bucket_name, why);
            }
            Backend::Azure => {
                let (container, account) = (&trace.azure.container_name, &trace.azure.storage_account_name);
                let why = "name the container (storage.trace.backend is azure)";
                found.required("storage.trace.azure.container_name", container, why);
                let why = "name the storage account (storage.trace.backend is azure)";
                found.required("storage.trace.azure.storage_account_name", account, why);
                if trace.azure.use_managed_identity && trace.azure.use_federated_token {
                    let key = "storage.trace.azure.use_managed_identity";
                    let message =
                        format!("{key} and storage.trace.azure.use_federated_token are both true; keep one");
                    found.add(key, message);
                }
            }
            Backend::Hdfs => {
                let why = "name the name node, such as hdfs://namenode:9000 (storage.trace.backend is hdfs)";
                found.required("storage.trace.hdfs.endpoint", &trace.hdfs.endpoint, why);
                let why = "name a folder; every folder at the top would count as a tenant";
                found.required("storage.trace.hdfs.prefix", trace.hdfs.prefix.trim_matches('/'), why);
            }
        }
        let block = &trace.block;
        // Older formats are replaced by the default, with a warning.
        let versions = ["", "v2", "vParquet2", "vParquet3", "vParquet4", "vParquet5"];
        if !versions.contains(&block.version.as_str()) {
            let key = "storage.trace.block.version";
            let message = format!("{key} is \"{}\"; use vParquet4 or vParquet5", block.version);
            found.add(key, message);
        }
        let share = block.bloom_filter_false_positive;
        if !(share > 0.0 && share < 1.0) {
            let key = "storage.trace.block.bloom_filter_false_positive";
            found.add(key, format!("{key} is {share}; use a number between 0 and 1, such as 0.01"));
        }
        for (name, value, default) in [
            ("bloom_filter_shard_size_bytes", block.bloom_filter_shard_size_bytes, 102_400),
            ("parquet_row_group_size_bytes", block.parquet_row_group_size_bytes, 100_000_000),
        ] {
            if value.bytes() == 0 {
                let key = format!("storage.trace.block.{name}");
                let message = format!("{key} is 0; use more, such as {default}");
                found.add(&key, message);
            }
        }
        let key = "storage.trace.block.parquet_dedicated_columns";
        check_columns(key, block.parquet_dedicated_columns.as_deref().unwrap_or(&[]), found);
    }

    fn check_user_overrides(&self, found: &mut Findings<'_>) {
        let own = &self.overrides.user_configurable_overrides;
        if !own.enabled {
            return;
        }
        let (section, client) = ("overrides.user_configurable_overrides.client", &own.client);
        found.one_of(&format!("{section}.backend"), &client.backend, &["", "local", "s3", "gcs", "azure"]);
        let needed: &[(&str, &String)] = match client.backend.as_str() {
            "local" => &[("local.path", &client.local.path)],
            "s3" => &[("s3.bucket", &client.s3.bucket), ("s3.endpoint", &client.s3.endpoint)],
            "gcs" => &[("gcs.bucket_name", &client.gcs.bucket_name)],
            "azure" => &[
                ("azure.container_name", &client.azure.container_name),
                ("azure.storage_account_name", &client.azure.storage_account_name),
            ],
            _ => &[],
        };
        for (key, value) in needed {
            let why = format!("{section}.backend is {} and needs it", client.backend);
            found.required(&format!("{section}.{key}"), value, &why);
        }
        if client.backend.is_empty() && self.storage.trace.backend == Backend::Hdfs {
            let key = format!("{section}.backend");
            let message =
                format!("{key} is empty and storage.trace.backend is hdfs; use local, s3, gcs or azure");
            found.add(&key, message);
        }
        let key = "overrides.user_configurable_overrides.poll_interval";
        if own.poll_interval.positive().is_none() {
            found.add(key, format!("{key} is {}; use a time such as 1m", own.poll_interval));
        }
    }

    fn check_queries(&self, found: &mut Findings<'_>) {
        let search = &self.query_frontend.search;
        let (default, max) = (search.default_result_limit, search.max_result_limit);
        if max != 0 && default > max {
            let key = "query_frontend.search.default_result_limit";
            let message = format!(
                "{key} is {default}, more than query_frontend.search.max_result_limit ({max}); \
                 lower the first or raise the second"
            );
            found.add(key, message);
        }
        if self.querier.max_concurrent_queries == 0 {
            let key = "querier.max_concurrent_queries";
            found.add(key, format!("{key} is 0; nothing could be answered, use 20"));
        }
    }

    fn check_trackway(&self, found: &mut Findings<'_>) {
        let own = &self.trackway;
        let least = [
            ("trackway.wal.max_bytes", own.wal.max_bytes, ByteSize::mib(16)),
            ("trackway.head.max_bytes", own.head.max_bytes, ByteSize::mib(1)),
            ("trackway.segments.max_bytes", own.segments.max_bytes, ByteSize::mib(16)),
        ];
        for (key, value, least) in least {
            if value < least {
                found.add(key, format!("{key} is {value}; use at least {least}"));
            }
        }
        if let Some(limit) = own.memory.limit.filter(|limit| *limit < ByteSize::mib(64)) {
            let key = "trackway.memory.limit";
            found.add(key, format!("{key} is {limit}; use at least 64MiB, or leave it out"));
        }
        for (key, value) in [
            ("trackway.segments.max_count", u64::from(own.segments.max_count)),
            ("trackway.block.max_spans", own.block.max_spans),
        ] {
            if value == 0 {
                found.add(key, format!("{key} is 0; use more, or leave it out"));
            }
        }
        if own.data_path.is_empty() {
            found.add("trackway.data_path", "trackway.data_path is empty; name a folder".to_owned());
        }
    }
}

/// Whether two addresses cannot both be bound; a port of 0 is a free one.
fn clash(a: &str, b: &str) -> bool {
    let (Some((host_a, port_a)), Some((host_b, port_b))) = (a.rsplit_once(':'), b.rsplit_once(':')) else {
        return false;
    };
    let every = |host: &str| matches!(host, "0.0.0.0" | "[::]");
    port_a != "0" && port_a == port_b && (host_a == host_b || every(host_a) || every(host_b))
}

fn check_columns(key: &str, columns: &[DedicatedColumn], found: &mut Findings<'_>) {
    for (index, column) in columns.iter().enumerate() {
        let here = |name: &str| format!("{key}[{index}].{name}");
        if column.name.is_empty() {
            found.add(key, format!("{} is empty; name an attribute", here("name")));
        }
        for (name, value, choices) in [
            ("scope", &column.scope, &["resource", "span", "event"][..]),
            ("type", &column.r#type, &["string", "int"][..]),
        ] {
            if !choices.contains(&value.as_str()) {
                let message = format!("{} is \"{value}\"; use one of {}", here(name), choices.join(", "));
                found.add(key, message);
            }
        }
        let same = |other: &DedicatedColumn| other.scope == column.scope && other.name == column.name;
        if columns[..index].iter().any(same) {
            let message = format!("{key} has {} \"{}\" twice; keep one", column.scope, column.name);
            found.add(key, message);
        }
    }
}
