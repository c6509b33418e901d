//! From the configuration to how the connections of each port are served: TLS, keep-alive, limits.
//!
//! What must stay true: certificates that cannot be used are found out before a port is bound.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use trackway_config::sections::{Connections, ReceiverTls, ServerTls as ServerSection};
use trackway_config::{Config, GoDuration};
use trackway_receivers::{Listen, PingPolicy, listen};
use trackway_tls::{ClientAuth, Pem, ServerTls, ServerTlsConfig, Version};

/// Ports of the API: HTTP and gRPC.
pub(crate) fn of_api(config: &Config) -> anyhow::Result<[Listen; 2]> {
    let server = &config.server;
    let one = |key: &str, tls: &Option<ServerSection>| -> anyhow::Result<Listen> {
        let tls = tls.as_ref().filter(|tls| tls.is_enabled()).map(|tls| of_server(config, key, tls));
        let tls = tls.map(ServerTls::open).transpose()?.map(Arc::new);
        Ok(Listen { key: key.to_owned(), tls, ..Listen::default() })
    };
    Ok([
        one("server.http_tls_config", &server.http_tls_config)?,
        one("server.grpc_tls_config", &server.grpc_tls_config)?,
    ])
}

/// A receiver's port.
pub(crate) fn of_receiver(of: &Connections) -> anyhow::Result<Listen> {
    let key = of.key;
    let tls = of.tls.as_ref().map(|tls| ServerTls::open(of_receiver_tls(key, tls))).transpose()?;
    let look = of.tls.as_ref().and_then(|tls| tls.reload_interval.positive()).unwrap_or(listen::LOOK);
    let mut built = Listen { key: format!("{key}.tls"), tls: tls.map(Arc::new), look, ..Listen::default() };
    if of.max_concurrent_streams > 0 {
        built.max_streams = of.max_concurrent_streams;
    }
    built.headers = of.read_header_timeout.positive().unwrap_or(built.headers);
    built.max_idle = of.idle_timeout.positive();
    if let Some(warning) = of.cut_idle_timeout() {
        tracing::warn!("{warning}");
    }
    built.single_request = of.single_request;
    if let Some(keepalive) = &of.keepalive {
        let server = &keepalive.server_parameters;
        built.keep_alive = server.time.positive().unwrap_or(built.keep_alive);
        built.keep_alive_answer = server.timeout.positive().unwrap_or(built.keep_alive_answer);
        built.max_idle = server.max_connection_idle.positive();
        built.max_age = server.max_connection_age.positive();
        built.max_age_grace = server.max_connection_age_grace.positive();
        let policy = &keepalive.enforcement_policy;
        built.pings = policy
            .min_time
            .positive()
            .map(|min_time| PingPolicy { min_time, permit_without_stream: policy.permit_without_stream });
    }
    for (name, value) in &of.response_headers {
        let setting = || format!("{key}.response_headers: {name} is no header");
        let name: http::HeaderName = name.parse().with_context(setting)?;
        built.response_headers.insert(name, value.expose().parse().with_context(setting)?);
    }
    Ok(built)
}

/// How long a body may take.
pub(crate) fn body_time(read_timeout: GoDuration) -> Duration {
    read_timeout.positive().unwrap_or(trackway_receivers::BODY_TIME)
}

/// `http`, or with TLS `https`.
pub(crate) fn scheme(listen: &Listen) -> &'static str {
    if listen.tls.is_some() { "https" } else { "http" }
}

/// A port that is bound, and how it is served.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) listen: Listen,
}

impl Port {
    /// The address as one would type it.
    pub(crate) fn address(&self) -> String {
        match self.listener.local_addr() {
            Ok(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
            Ok(address) => address.to_string(),
            Err(_) => String::new(),
        }
    }

    /// The same with its scheme.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", scheme(&self.listen), self.address())
    }
}

/// A file, or else the text itself.
fn pem(file: &str, text: &str) -> Pem {
    if file.is_empty() { Pem::Text(text.to_owned()) } else { Pem::File(file.to_owned()) }
}

fn of_server(config: &Config, section: &str, tls: &ServerSection) -> ServerTlsConfig {
    let server = &config.server;
    let has_authorities = !tls.client_ca_file.is_empty() || !tls.client_ca.is_empty();
    let suites = server.tls_cipher_suites.split(',').map(str::trim).filter(|name| !name.is_empty());
    ServerTlsConfig {
        section: section.to_owned(),
        cipher_suites_key: "server.tls_cipher_suites".to_owned(),
        cert: pem(&tls.cert_file, &tls.cert),
        key: pem(&tls.key_file, tls.key.expose()),
        client_ca: has_authorities.then(|| pem(&tls.client_ca_file, &tls.client_ca)),
        client_auth: ClientAuth::parse(&tls.client_auth_type).unwrap_or(ClientAuth::RequireAndVerify),
        system_authorities: false,
        min_version: Version::oldest(&server.tls_min_version).unwrap_or(Version::Tls12),
        max_version: Version::Tls13,
        cipher_suites: suites.map(str::to_owned).collect(),
        curves: Vec::new(),
    }
}

fn of_receiver_tls(key: &str, tls: &ReceiverTls) -> ServerTlsConfig {
    let has_authorities = !tls.client_ca_file.is_empty();
    ServerTlsConfig {
        section: format!("{key}.tls"),
        cipher_suites_key: format!("{key}.tls.cipher_suites"),
        cert: pem(&tls.cert_file, tls.cert_pem.expose()),
        key: pem(&tls.key_file, tls.key_pem.expose()),
        client_ca: has_authorities.then(|| Pem::File(tls.client_ca_file.clone())),
        client_auth: if has_authorities { ClientAuth::RequireAndVerify } else { ClientAuth::None },
        system_authorities: tls.include_system_ca_certs_pool,
        min_version: Version::oldest(&tls.min_version).unwrap_or(Version::Tls12),
        max_version: Version::newest(&tls.max_version).unwrap_or(Version::Tls13),
        cipher_suites: tls.cipher_suites.clone(),
        curves: tls.curve_preferences.clone(),
    }
}
