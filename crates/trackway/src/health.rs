//! The one request that a container's health check makes.

use std::time::Duration;

use trackway_common::SystemClock;
use trackway_config::Flags;
use trackway_loadgen::{Endpoint, HttpClient};
use trackway_tls::TlsConfig;

/// How long a health check waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where it asks unless said otherwise.
const URL: &str = "http://127.0.0.1:3200/ready";

/// Asks a running server whether it is ready.
///
/// # Errors
/// When it is not, or does not answer; the message says which.
pub(crate) fn check(flags: &Flags) -> anyhow::Result<()> {
    let url = flags.health_url.as_deref().unwrap_or(URL);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async { tokio::time::timeout(TIMEOUT, ask(url, flags)).await });
    match status.map_err(|_| anyhow::anyhow!("{url}: no answer within {TIMEOUT:?}"))?? {
        200 => Ok(()),
        status => anyhow::bail!("{url} answered {status}"),
    }
}

async fn ask(url: &str, flags: &Flags) -> anyhow::Result<u16> {
    let port = if url.starts_with("https://") { 443 } else { 80 };
    let endpoint = Endpoint::parse(url, port)?;
    let path = if endpoint.base().is_empty() { "/".to_owned() } else { endpoint.base().to_owned() };
    let [ca_path, cert_path, key_path] = flags.health_files.clone();
    let insecure_skip_verify = flags.health_insecure_skip_verify;
    let tls = TlsConfig { ca_path, cert_path, key_path, insecure_skip_verify, ..TlsConfig::default() };
    let mut client = HttpClient::connect_with(endpoint, &tls).await.map_err(|error| explain(url, error))?;
    let answer = client.get(&SystemClock::default(), &path, "*/*").await;
    Ok(answer.map_err(|error| explain(url, error))?.status)
}

fn explain(url: &str, error: trackway_loadgen::HttpError) -> anyhow::Error {
    use trackway_loadgen::HttpError;
    match error {
        HttpError::Tls(..) => {
            anyhow::anyhow!("{error} (-health.ca-file, -health.cert-file, -health.insecure-skip-verify)")
        }
        HttpError::TlsSetting(error) => {
            let flag = match error.key {
                "tls_ca_path" => "-health.ca-file",
                "tls_cert_path" => "-health.cert-file",
                "tls_key_path" => "-health.key-file",
                other => other,
            };
            anyhow::anyhow!("{flag} {}", error.problem)
        }
        HttpError::NobodyThere(_) => anyhow::anyhow!("{url}: nothing listens there"),
        other => anyhow::anyhow!("{url}: {other}"),
    }
}
