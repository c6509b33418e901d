//! What single keys of TLS, and of the connections of receivers, cannot know. No file is looked at here.

use crate::check::Findings;
use crate::config::Config;
use crate::sections::{Connections, ReceiverTls, ServerTls};

/// What `client_auth_type` may say.
const CLIENT_AUTH: &[&str] = &[
    "",
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
];
/// What `tls_min_version` may say.
const GO_VERSIONS: &[&str] = &["", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];
/// What `min_version` and `max_version` may say.
const VERSIONS: &[&str] = &["", "1.0", "1.1", "1.2", "1.3"];

impl Config {
    /// What the connections of all receivers may do that take connections.
    pub fn connections(&self) -> Vec<Connections> {
        let receivers = &self.distributor.receivers;
        let grpc = receivers.otlp_grpc().map(|grpc| grpc.connections(OTLP_GRPC));
        let http = receivers.otlp_http().map(|http| http.connections(OTLP_HTTP));
        let foreign = receivers.foreign().into_iter().filter(|receiver| !receiver.is_udp());
        grpc.into_iter().chain(http).chain(foreign.map(|receiver| receiver.connections)).collect()
    }

    pub(crate) fn check_tls(&self, found: &mut Findings<'_>) {
        let server = &self.server;
        for (key, tls) in [
            ("server.http_tls_config", &server.http_tls_config),
            ("server.grpc_tls_config", &server.grpc_tls_config),
        ] {
            if let Some(tls) = tls.as_ref().filter(|tls| tls.is_enabled()) {
                check_server(key, tls, found);
            }
        }
        found.one_of("server.tls_min_version", &server.tls_min_version, GO_VERSIONS);
        for connections in self.connections() {
            let key = connections.key;
            for name in &connections.refused {
                let key = format!("{key}.{name}");
                let why = "is an extension of a collector, and there are none here; remove it, and let a proxy check who sends";
                found.add(&key, format!("{key} {why}"));
            }
            if let Some(tls) = &connections.tls {
                check_receiver(&format!("{key}.tls"), tls, found);
            }
        }
    }
}

/// Where OTLP over gRPC is set.
pub(crate) const OTLP_GRPC: &str = "distributor.receivers.otlp.protocols.grpc";
/// Where OTLP over HTTP is set.
pub(crate) const OTLP_HTTP: &str = "distributor.receivers.otlp.protocols.http";

fn check_server(section: &str, tls: &ServerTls, found: &mut Findings<'_>) {
    let key = |name: &str| format!("{section}.{name}");
    let pairs = [
        ("cert_file", !tls.cert_file.is_empty(), "cert", !tls.cert.is_empty()),
        ("key_file", !tls.key_file.is_empty(), "key", !tls.key.is_empty()),
        ("client_ca_file", !tls.client_ca_file.is_empty(), "client_ca", !tls.client_ca.is_empty()),
    ];
    check_pairs(section, &pairs, found);
    let auth_key = key("client_auth_type");
    let auth = tls.client_auth_type.as_str();
    if !CLIENT_AUTH.contains(&auth) {
        return found.one_of(&auth_key, auth, &CLIENT_AUTH[1..]);
    }
    let has_authorities = pairs[2].1 || pairs[2].3;
    if has_authorities && matches!(auth, "" | "NoClientCert") {
        let message = format!(
            "{auth_key} is \"{auth}\" though {section} names authorities of clients; \
             use RequireAndVerifyClientCert, or remove client_ca_file"
        );
        found.add(&auth_key, message);
    }
    if !has_authorities && matches!(auth, "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert") {
        let key = key("client_ca_file");
        let message = format!("{key} is empty; name the authorities of clients ({auth_key} is {auth})");
        found.add(&key, message);
    }
}

fn check_receiver(section: &str, tls: &ReceiverTls, found: &mut Findings<'_>) {
    let pairs = [
        ("cert_file", !tls.cert_file.is_empty(), "cert_pem", !tls.cert_pem.is_empty()),
        ("key_file", !tls.key_file.is_empty(), "key_pem", !tls.key_pem.is_empty()),
    ];
    check_pairs(section, &pairs, found);
    for (name, value) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
        let key = format!("{section}.{name}");
        if !VERSIONS.contains(&value.as_str()) {
            found.one_of(&key, value, &VERSIONS[1..]);
        }
    }
    let (key, newest) = (format!("{section}.max_version"), tls.max_version.as_str());
    if matches!(newest, "1.0" | "1.1") {
        found.add(&key, format!("{key} is {newest}; this version speaks 1.2 and 1.3"));
    } else if newest == "1.2" && tls.min_version == "1.3" {
        found.add(&key, format!("{key} is {newest}, less than {section}.min_version (1.3); raise it"));
    }
}

/// Certificate and key must be there, each in one way.
fn check_pairs(section: &str, pairs: &[(&str, bool, &str, bool)], found: &mut Findings<'_>) {
    for (place, (file, in_file, text, as_text)) in pairs.iter().enumerate() {
        let (file_key, text_key) = (format!("{section}.{file}"), format!("{section}.{text}"));
        match (in_file, as_text) {
            (true, true) => {
                found.add(&text_key, format!("{text_key} and {file_key} are both set; keep one"));
            }
            // Authorities, the third, may be missing.
            (false, false) if place < 2 => {
                let what = if place == 0 { "the certificate" } else { "the private key" };
                found.add(
                    &file_key,
                    format!("{file_key} is empty; name {what}, a PEM file, or remove {section}"),
                );
            }
            _ => {}
        }
    }
}
