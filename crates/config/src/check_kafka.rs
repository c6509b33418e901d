//! What can be wrong with the settings of Kafka beyond each single key.

use crate::check::Findings;
use crate::config::Config;
use crate::sections::{ENCODINGS, IngestKafka, Kafka, KafkaSasl, KafkaTls};

const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const STRATEGIES: &[&str] = &["", "range", "roundrobin", "cooperative-sticky"];
const RECEIVER: &str = "distributor.receivers.kafka";
const INGEST: &str = "ingest.kafka";
const ALL_SAFE: &str = "all that are safe are offered, and no others";
/// What the protocol can say.
const FETCH_MAX: u64 = i32::MAX as u64;

impl Config {
    pub(crate) fn check_kafka(&self, found: &mut Findings<'_>) {
        if let Some(kafka) = &self.distributor.receivers.kafka {
            topics(kafka, found);
            numbers(kafka, found);
            security(kafka, found);
        }
        if let Some(kafka) = self.ingest.to_read() {
            ingest(kafka, found);
        }
    }
}

fn topics(kafka: &Kafka, found: &mut Findings<'_>) {
    if kafka.brokers.iter().all(|broker| broker.trim().is_empty()) {
        let key = format!("{RECEIVER}.brokers");
        found.add(&key, format!("{key} is empty; name a broker, such as [\"localhost:9092\"]"));
    }
    let place = if kafka.traces.encoding.is_empty() { "encoding" } else { "traces.encoding" };
    found.one_of(&format!("{RECEIVER}.{place}"), kafka.the_encoding(), ENCODINGS);
    let place = if kafka.traces.topics.is_empty() { "topic" } else { "traces.topics" };
    for topic in kafka.all_topics() {
        let key = format!("{RECEIVER}.{place}");
        if topic.is_empty() {
            found.add(&key, format!("{key} has an empty name; name a topic"));
        } else if topic.starts_with('^') {
            found.add(
                &key,
                format!("{key} is \"{topic}\"; regular expressions are not supported, name the topics"),
            );
        }
    }
    if !kafka.traces.exclude_topics.is_empty() || !kafka.traces.exclude_topic.is_empty() {
        let key = format!("{RECEIVER}.traces.exclude_topics");
        found.add(&key, format!("{key} is not supported; name the topics that are to be read"));
    }
    found.one_of(&format!("{RECEIVER}.initial_offset"), &kafka.initial_offset, &["latest", "earliest"]);
    if kafka.group_rebalance_strategy == "sticky" {
        let key = format!("{RECEIVER}.group_rebalance_strategy");
        found.add(&key, format!("{key} is \"sticky\", which is not supported; use cooperative-sticky"));
    } else {
        let key = format!("{RECEIVER}.group_rebalance_strategy");
        found.one_of(&key, &kafka.group_rebalance_strategy, STRATEGIES);
    }
    if kafka.group_id.is_empty() {
        let key = format!("{RECEIVER}.group_id");
        found.add(&key, format!("{key} is empty; name a group, such as otel-collector"));
    }
}

fn numbers(kafka: &Kafka, found: &mut Findings<'_>) {
    let (session, heartbeat) = (kafka.session_timeout, kafka.heartbeat_interval);
    if heartbeat >= session || heartbeat.is_zero() {
        let key = format!("{RECEIVER}.heartbeat_interval");
        found.add(
            &key,
            format!(
                "{key} is {heartbeat}; make it shorter than session_timeout ({session}), such as a third"
            ),
        );
    }
    for (name, value) in [
        ("min_fetch_size", kafka.min_fetch_size),
        ("max_fetch_size", kafka.max_fetch_size),
        ("default_fetch_size", kafka.default_fetch_size),
        ("max_partition_fetch_size", kafka.max_partition_fetch_size),
    ] {
        if value > FETCH_MAX {
            let key = format!("{RECEIVER}.{name}");
            found.add(&key, format!("{key} is {value}; at most {FETCH_MAX} can be asked for"));
        }
    }
    if kafka.max_fetch_size != 0 && kafka.min_fetch_size > kafka.max_fetch_size {
        let key = format!("{RECEIVER}.min_fetch_size");
        let (least, most) = (kafka.min_fetch_size, kafka.max_fetch_size);
        found.add(&key, format!("{key} is {least}; make it no larger than max_fetch_size ({most})"));
    }
    if kafka.resolve_canonical_bootstrap_servers_only {
        let key = format!("{RECEIVER}.resolve_canonical_bootstrap_servers_only");
        found.add(
            &key,
            format!("{key} is not supported; remove it, and name brokers by their canonical names"),
        );
    }
}

fn security(kafka: &Kafka, found: &mut Findings<'_>) {
    if kafka.auth.kerberos.is_some() {
        let key = format!("{RECEIVER}.auth.kerberos");
        found.add(&key, format!("{key} is not supported; use auth.sasl with {}", MECHANISMS.join(", ")));
    }
    if kafka.auth.sasl.is_some() && kafka.auth.plain_text.is_some() {
        let key = format!("{RECEIVER}.auth.plain_text");
        found.add(&key, format!("{key} is set beside auth.sasl; leave one of them"));
    }
    if let Some(sasl) = kafka.the_sasl() {
        let block = if kafka.auth.sasl.is_some() { "auth.sasl" } else { "auth.plain_text" };
        login(&sasl, &format!("{RECEIVER}.{block}"), ("mechanism", "username", "password"), found);
    }
    if let Some(tls) = kafka.the_tls() {
        let block = if kafka.tls.is_some() { "tls" } else { "auth.tls" };
        tls_of(tls, &format!("{RECEIVER}.{block}"), found);
    }
}

fn login(
    sasl: &KafkaSasl,
    block: &str,
    (mechanism, user, password): (&str, &str, &str),
    found: &mut Findings<'_>,
) {
    let key = format!("{block}.{mechanism}");
    match sasl.mechanism.as_str() {
        unknown @ ("AWS_MSK_IAM" | "AWS_MSK_IAM_OAUTHBEARER" | "OAUTHBEARER") => {
            let others = MECHANISMS.join(", ");
            found.add(&key, format!("{key} is \"{unknown}\", which is not supported; use one of {others}"));
        }
        other => found.one_of(&key, other, MECHANISMS),
    }
    for (name, is_empty) in [(user, sasl.username.is_empty()), (password, sasl.password.is_empty())] {
        if is_empty {
            let key = format!("{block}.{name}");
            found.add(&key, format!("{key} is empty; the login needs a user and a password"));
        }
    }
}

fn tls_of(tls: &KafkaTls, block: &str, found: &mut Findings<'_>) {
    for (name, pem, file) in [
        ("ca_pem", &tls.ca_pem, "ca_file"),
        ("cert_pem", &tls.cert_pem, "cert_file"),
        ("key_pem", &tls.key_pem, "key_file"),
    ] {
        if !pem.is_empty() {
            let key = format!("{block}.{name}");
            found.add(&key, format!("{key} is not supported; write it to a file and name that in {file}"));
        }
    }
    pair(block, ("cert_file", &tls.cert_file), ("key_file", &tls.key_file), found);
    if !["", "1.0", "1.1", "1.2"].contains(&tls.min_version.as_str()) {
        let key = format!("{block}.min_version");
        let text = format!("{key} is \"{}\"; only 1.2 is supported, which allows 1.3, too", tls.min_version);
        found.add(&key, text);
    }
    let lists = [("cipher_suites", &tls.cipher_suites), ("curve_preferences", &tls.curve_preferences)];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let key = format!("{block}.{name}");
        let set = list.join(", ");
        found.add(&key, format!("{key} is {set}, which is not supported; remove it: {ALL_SAFE}"));
    }
    if !["", "1.3"].contains(&tls.max_version.as_str()) {
        let key = format!("{block}.max_version");
        found.add(&key, format!("{key} is \"{}\", which is not supported; remove it", tls.max_version));
    }
}

fn pair(block: &str, one: (&str, &str), other: (&str, &str), found: &mut Findings<'_>) {
    let missing = match (one.1.is_empty(), other.1.is_empty()) {
        (true, false) => (one.0, other.0),
        (false, true) => (other.0, one.0),
        _ => return,
    };
    let key = format!("{block}.{}", missing.0);
    found.add(&key, format!("{key} is empty and {} is set; name both or none", missing.1));
}

fn ingest(kafka: &IngestKafka, found: &mut Findings<'_>) {
    if kafka.topic.is_empty() {
        let key = format!("{INGEST}.topic");
        found.add(
            &key,
            format!("{key} is empty and ingest.enabled is true; name the topic, or set it to false"),
        );
    }
    if kafka.address.trim().is_empty() {
        let key = format!("{INGEST}.address");
        found.add(&key, format!("{key} is empty; name a broker, such as localhost:9092"));
    }
    let is_plain = matches!(kafka.sasl_mechanism.as_str(), "" | "PLAIN");
    if !is_plain || !kafka.sasl_username.is_empty() || !kafka.sasl_password.is_empty() {
        let mechanism = if is_plain { "PLAIN" } else { &kafka.sasl_mechanism };
        let sasl = KafkaSasl {
            username: kafka.sasl_username.clone(),
            password: kafka.sasl_password.clone(),
            mechanism: mechanism.to_owned(),
        };
        login(&sasl, INGEST, ("sasl_mechanism", "sasl_username", "sasl_password"), found);
    }
    if kafka.tls_enabled {
        ingest_tls(kafka, found);
    }
    let (cert, key) = (("tls_cert_path", &*kafka.tls_cert_path), ("tls_key_path", &*kafka.tls_key_path));
    pair(INGEST, cert, key, found);
}

/// What would be stricter than what is done.
fn ingest_tls(kafka: &IngestKafka, found: &mut Findings<'_>) {
    let (key, oldest) = (format!("{INGEST}.tls_min_version"), kafka.tls_min_version.as_str());
    if oldest == "VersionTLS13" {
        let way = "which is not supported; use VersionTLS12, which allows 1.3, too";
        found.add(&key, format!("{key} is \"{oldest}\", {way}"));
    } else if !oldest.is_empty() {
        found.one_of(&key, oldest, &["VersionTLS10", "VersionTLS11", "VersionTLS12"]);
    }
    if !kafka.tls_cipher_suites.is_empty() {
        let key = format!("{INGEST}.tls_cipher_suites");
        let set = &kafka.tls_cipher_suites;
        found.add(&key, format!("{key} is \"{set}\", which is not supported; remove it: {ALL_SAFE}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_stricter_than_what_is_done_is_refused() {
        let ingest = |key: &str| format!("ingest: {{kafka: {{topic: t, tls_enabled: true, {key}}}}}");
        let receiver = |key: &str| format!("distributor: {{receivers: {{kafka: {{tls: {{{key}}}}}}}}}");
        for (yaml, refused) in [
            (ingest("tls_min_version: VersionTLS12, tls_cipher_suites: ''"), None),
            (ingest("tls_min_version: VersionTLS13"), Some("ingest.kafka.tls_min_version")),
            (ingest("tls_min_version: '1.2'"), Some("ingest.kafka.tls_min_version")),
            (ingest("tls_cipher_suites: TLS_AES_128_GCM_SHA256"), Some("ingest.kafka.tls_cipher_suites")),
            (receiver("cipher_suites: [], curve_preferences: []"), None),
            (receiver("cipher_suites: [TLS_A]"), Some("distributor.receivers.kafka.tls.cipher_suites")),
            (
                receiver("curve_preferences: [P256]"),
                Some("distributor.receivers.kafka.tls.curve_preferences"),
            ),
        ] {
            let problems = Config::from_yaml("tempo.yaml", &yaml).map(|config| config.validate());
            let keys: Vec<String> = problems
                .unwrap_or_else(|error| error.problems)
                .into_iter()
                .map(|problem| problem.key)
                .collect();
            assert_eq!(keys, refused.into_iter().collect::<Vec<_>>(), "{yaml}");
        }
    }
}
