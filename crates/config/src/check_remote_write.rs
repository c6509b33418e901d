//! What is wrong with `metrics_generator.storage.remote_write`, by Prometheus's rules.
//!
//! A message never shows a URL's login or a secret.

use crate::check::Findings;
use crate::check_generator::is_label_name;
use crate::duration::GoDuration;
use crate::sections::{
    QueueConfig, REMOTE_WRITE_V1, REMOTE_WRITE_V2, RelabelConfig, RemoteWrite, RemoteWriteTls,
};

/// Headers that are made here.
const RESERVED: [&str; 11] = [
    "host",
    "connection",
    "keep-alive",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
    "proxy-authorization",
    "www-authenticate",
];
/// The way out for logins that are not there.
const PROXY: &str = "is not supported; send to a proxy or sidecar that adds the login, and name that in url";
/// The way out for a profile of AWS' tools.
const KEYS: &str = "is not supported; set access_key and secret_key";
/// What `write_relabel_configs` can do; the first six write or compare a label.
const RELABEL_ACTIONS: [&str; 11] = [
    "replace",
    "hashmod",
    "lowercase",
    "uppercase",
    "keepequal",
    "dropequal",
    "keep",
    "drop",
    "labelmap",
    "labeldrop",
    "labelkeep",
];
/// Most requests at a time to one endpoint.
const MAX_SHARDS: u32 = 1000;

impl Findings<'_> {
    pub(crate) fn endpoints(&mut self, endpoints: &[RemoteWrite]) {
        for (place, endpoint) in endpoints.iter().enumerate() {
            let key = format!("metrics_generator.storage.remote_write[{place}]");
            self.endpoint(&key, endpoint);
            let same = |other: &RemoteWrite| !endpoint.name.is_empty() && other.name == endpoint.name;
            if let Some(other) = endpoints[..place].iter().position(same) {
                let (key, name) = (format!("{key}.name"), &endpoint.name);
                let message = format!(
                    "{key} is \"{name}\", as metrics_generator.storage.remote_write[{other}].name is; rename one"
                );
                self.add(&key, message);
            }
        }
    }

    fn endpoint(&mut self, key: &str, endpoint: &RemoteWrite) {
        let at = |name: &str| format!("{key}.{name}");
        if let Err(why) = check_url(&endpoint.url) {
            let key = at("url");
            self.add(&key, format!("{key} {why}"));
        }
        if endpoint.remote_timeout.positive().is_none() {
            let key = at("remote_timeout");
            self.add(&key, format!("{key} is {}; use a time such as 30s", endpoint.remote_timeout));
        }
        for name in endpoint.headers.keys() {
            self.header(&at("headers"), name);
            if name.eq_ignore_ascii_case("authorization") {
                let key = at("headers");
                let message = format!("{key} has {name}; write it to basic_auth or authorization instead");
                self.add(&key, message);
            }
        }
        if let Some(message) = &endpoint.protobuf_message {
            self.one_of(&at("protobuf_message"), message, &[REMOTE_WRITE_V1, REMOTE_WRITE_V2]);
        }
        self.not_supported(key, endpoint);
        self.login(key, endpoint);
        self.tls(&at("tls_config"), &endpoint.tls_config);
        self.queue(&at("queue_config"), &endpoint.queue_config);
        for (place, relabel) in endpoint.write_relabel_configs.iter().enumerate() {
            self.relabel(&format!("{key}.write_relabel_configs[{place}]"), relabel);
        }
    }

    /// The name of a header that somebody wants to send along.
    pub(crate) fn header(&mut self, key: &str, name: &str) {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            self.add(key, format!("{key} has \"{name}\", which is no name of a header"));
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            self.add(key, format!("{key} has {name}, which is set for every request; remove it"));
        }
    }

    fn not_supported(&mut self, key: &str, endpoint: &RemoteWrite) {
        let sigv4 = endpoint.sigv4.as_ref();
        let proxy = "is not supported; name the proxy in url, or use one that needs no setting";
        for (name, is_set, why) in [
            ("oauth2", endpoint.oauth2.is_some(), PROXY),
            ("azuread", endpoint.azuread.is_some(), PROXY),
            ("google_iam", endpoint.google_iam.is_some(), PROXY),
            ("sigv4.profile", sigv4.is_some_and(|sigv4| !sigv4.profile.is_empty()), KEYS),
            ("sigv4.role_arn", sigv4.is_some_and(|sigv4| !sigv4.role_arn.is_empty()), PROXY),
            ("sigv4.external_id", sigv4.is_some_and(|sigv4| !sigv4.external_id.is_empty()), PROXY),
            ("sigv4.use_fips_sts_endpoint", sigv4.is_some_and(|sigv4| sigv4.use_fips_sts_endpoint), PROXY),
            ("http_headers", endpoint.http_headers.is_some(), "is not supported; write them to headers"),
            ("proxy_url", !endpoint.proxy_url.is_empty(), proxy),
            ("no_proxy", !endpoint.no_proxy.is_empty(), proxy),
            ("proxy_from_environment", endpoint.proxy_from_environment, proxy),
            ("proxy_connect_header", endpoint.proxy_connect_header.is_some(), proxy),
        ] {
            if is_set {
                let key = format!("{key}.{name}");
                self.add(&key, format!("{key} {why}"));
            }
        }
    }

    fn login(&mut self, key: &str, endpoint: &RemoteWrite) {
        let at = |name: &str| format!("{key}.{name}");
        let token = !endpoint.bearer_token.is_empty();
        let token_file = !endpoint.bearer_token_file.is_empty();
        let ways = [
            ("basic_auth", endpoint.basic_auth.is_some()),
            ("authorization", endpoint.authorization.is_some()),
            ("bearer_token", token || token_file),
            ("sigv4", endpoint.sigv4.is_some()),
        ];
        let set: Vec<&str> = ways.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        if let [_, second, ..] = set.as_slice() {
            self.add(&at(second), format!("{key} has {}; keep one way to log in", set.join(" and ")));
        }
        self.both(key, ("bearer_token", token), ("bearer_token_file", token_file));
        if let Some(basic) = &endpoint.basic_auth {
            let key = at("basic_auth");
            let (user, file) = (!basic.username.is_empty(), !basic.username_file.is_empty());
            self.both(&key, ("username", user), ("username_file", file));
            let (password, file) = (!basic.password.is_empty(), !basic.password_file.is_empty());
            self.both(&key, ("password", password), ("password_file", file));
            self.reference(&key, "username_ref", basic.username_ref.is_some(), "username_file");
            self.reference(&key, "password_ref", basic.password_ref.is_some(), "password_file");
        }
        if let Some(authorization) = &endpoint.authorization {
            let key = at("authorization");
            let file = !authorization.credentials_file.is_empty();
            let token = !authorization.credentials.is_empty();
            self.both(&key, ("credentials", token), ("credentials_file", file));
            let by_reference = authorization.credentials_ref.is_some();
            self.reference(&key, "credentials_ref", by_reference, "credentials_file");
            if !token && !file && !by_reference {
                self.add(&key, format!("{key} has no credentials; set credentials or credentials_file"));
            }
            if authorization.r#type.trim().eq_ignore_ascii_case("basic") {
                let key = format!("{key}.type");
                self.add(&key, format!("{key} is {}; use basic_auth instead", authorization.r#type));
            }
        }
        if let Some(sigv4) = &endpoint.sigv4 {
            let ways = [
                ("region", sigv4.region.is_empty(), "write the workspace's, such as eu-central-1"),
                ("access_key", sigv4.access_key.is_empty(), "write it, or send to a proxy that signs"),
                ("secret_key", sigv4.secret_key.is_empty(), "write it, or send to a proxy that signs"),
            ];
            for (name, is_empty, way) in ways {
                if is_empty {
                    let key = format!("{key}.sigv4.{name}");
                    self.add(&key, format!("{key} is empty; {way}"));
                }
            }
        }
    }

    fn both(&mut self, key: &str, (one, is_one): (&str, bool), (other, is_other): (&str, bool)) {
        if is_one && is_other {
            let other = format!("{key}.{other}");
            self.add(&other, format!("{key}.{one} and {other} are both set; keep one"));
        }
    }

    fn reference(&mut self, key: &str, name: &str, is_set: bool, instead: &str) {
        if is_set {
            let full = format!("{key}.{name}");
            self.add(&full, format!("{full} is not supported; use {key}.{instead}"));
        }
    }

    fn tls(&mut self, key: &str, tls: &RemoteWriteTls) {
        let at = |name: &str| format!("{key}.{name}");
        for (name, is_set, file) in [
            ("ca", !tls.ca.is_empty() || tls.ca_ref.is_some(), "ca_file"),
            ("cert", !tls.cert.is_empty() || tls.cert_ref.is_some(), "cert_file"),
            ("key", !tls.key.is_empty() || tls.key_ref.is_some(), "key_file"),
        ] {
            if is_set {
                let key = at(name);
                let message =
                    format!("{key} is not supported; write it to a file and name that in {}", at(file));
                self.add(&key, message);
            }
        }
        if tls.cert_file.is_empty() != tls.key_file.is_empty() {
            let missing = at(if tls.cert_file.is_empty() { "cert_file" } else { "key_file" });
            self.add(&missing, format!("{missing} is empty; a client certificate needs its key, set both"));
        }
        for (name, value) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
            // Older ones are never spoken, which is what asking for at least one of them allows.
            let known: &[&str] = if name == "min_version" {
                &["", "TLS10", "TLS11", "TLS12", "TLS13"]
            } else {
                &["", "TLS13"]
            };
            if !known.contains(&value.as_str()) {
                let message = format!("{} is \"{value}\"; use TLS13, or leave it out", at(name));
                self.add(&at(name), message);
            }
        }
    }

    fn queue(&mut self, key: &str, queue: &QueueConfig) {
        let at = |name: &str| format!("{key}.{name}");
        for (name, value, default) in [
            ("capacity", queue.capacity, 10_000),
            ("max_shards", queue.max_shards, 50),
            ("min_shards", queue.min_shards, 1),
            ("max_samples_per_send", queue.max_samples_per_send, 2000),
        ] {
            if value == 0 {
                self.add(&at(name), format!("{} is 0; use more, such as {default}", at(name)));
            }
        }
        if queue.max_shards > MAX_SHARDS {
            let message =
                format!("{} is {}; use {MAX_SHARDS} at the most", at("max_shards"), queue.max_shards);
            self.add(&at("max_shards"), message);
        }
        if queue.min_shards > queue.max_shards {
            let (key, most) = (at("min_shards"), at("max_shards"));
            let message = format!("{key} is {}, more than {most} ({})", queue.min_shards, queue.max_shards);
            self.add(&key, message);
        }
        for (name, value) in [
            ("batch_send_deadline", queue.batch_send_deadline),
            ("min_backoff", queue.min_backoff),
            ("max_backoff", queue.max_backoff),
        ] {
            if value.positive().is_none() {
                self.add(&at(name), format!("{} is {value}; use a time such as 5s", at(name)));
            }
        }
        if queue.min_backoff > queue.max_backoff {
            let (key, most) = (at("min_backoff"), at("max_backoff"));
            let message =
                format!("{key} is {}, longer than {most} ({})", queue.min_backoff, queue.max_backoff);
            self.add(&key, message);
        }
        if queue.sample_age_limit < GoDuration::ZERO {
            let key = at("sample_age_limit");
            self.add(&key, format!("{key} is {}; use 0s or more", queue.sample_age_limit));
        }
    }

    fn relabel(&mut self, key: &str, relabel: &RelabelConfig) {
        let at = |name: &str| format!("{key}.{name}");
        // Prometheus takes it in capitals too.
        let action = relabel.action.to_ascii_lowercase();
        let action = if action.is_empty() { "replace" } else { action.as_str() };
        self.one_of(&at("action"), action, &RELABEL_ACTIONS);
        if let Err(error) = regex::Regex::new(&format!("^(?s:{})$", relabel.regex)) {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message =
                format!("{} is \"{}\", which is no regular expression: {why}", at("regex"), relabel.regex);
            self.add(&at("regex"), message);
        }
        for name in relabel.source_labels.iter().filter(|name| !is_label_name(name)) {
            let key = at("source_labels");
            self.add(&key, format!("{key} has \"{name}\", which is not a valid Prometheus label name"));
        }
        let target = &relabel.target_label;
        let writes = RELABEL_ACTIONS[..6].contains(&action);
        if writes && target.is_empty() {
            let key = at("target_label");
            self.add(&key, format!("{key} is empty; the action {action} needs it"));
        }
        // With `replace`, groups of the expression may stand in it.
        let may_have_groups = action == "replace" && target.contains('$');
        if writes && !target.is_empty() && !may_have_groups && !is_label_name(target) {
            let key = at("target_label");
            self.add(&key, format!("{key} \"{target}\" is not a valid Prometheus label name"));
        }
        if action == "hashmod" && relabel.modulus == 0 {
            let key = at("modulus");
            self.add(&key, format!("{key} is 0; the action hashmod needs a divisor"));
        }
        if matches!(action, "labeldrop" | "labelkeep")
            && (!target.is_empty() || !relabel.source_labels.is_empty())
        {
            let message =
                format!("{key} has source_labels or target_label; the action {action} takes regex only");
            self.add(key, message);
        }
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let example = "such as http://prometheus:9090/api/v1/write";
    if url.is_empty() {
        return Err(format!("is empty; name the receiver, {example}"));
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.contains('@') {
        return Err("has a login in it; write that to basic_auth".to_owned());
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => {
            if port.parse::<u16>().is_ok() {
                host
            } else {
                ""
            }
        }
        _ => authority,
    };
    if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("is \"{url}\"; write http:// or https://, a host and a path, {example}"));
    }
    Ok(())
}
