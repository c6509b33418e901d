//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{Attribute, ObjectStore, StaticCredentialProvider};

use super::dress::{Dress, Dressed};
use super::s3::MIN_PART_BYTES;
use super::{Environment, GcsConfig, OpenError, PART_BYTES, Retry, client_options, innermost, retry_config};

/// Parts are held in memory.
const MAX_PART_BYTES: u64 = 1024 * 1024 * 1024;

/// Opens the store. Keys come from `GOOGLE_APPLICATION_CREDENTIALS`, from gcloud's own file, or from the machine.
pub(super) fn open(
    config: &GcsConfig,
    environment: Environment<'_>,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let failed = |key: &str, problem: String| OpenError::new(&config.section, key, problem);
    let retry = Retry { attempts: config.max_retries.saturating_add(1), ..Retry::default() };
    let options = client_options()
        .with_allow_http(config.insecure || config.endpoint.starts_with("http://"))
        .with_allow_invalid_certificates(config.insecure);
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&config.bucket)
        .with_retry(retry_config(&retry))
        .with_skip_signature(config.insecure)
        .with_client_options(options);
    let keys = environment("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty());
    if config.insecure {
        // Without a signature, object_store 0.14 still wants a credential when it writes; an empty one is none.
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    } else if let Some(path) = keys {
        builder = builder.with_application_credentials(path);
    }
    if !config.endpoint.is_empty() {
        builder = builder.with_base_url(&base_url(config)?);
    }
    let store = builder.build().map_err(|error| failed("bucket_name", innermost(&error)))?;
    let mut dress = Dress::default();
    if !config.cache_control.is_empty() {
        dress.attribute(Attribute::CacheControl, &config.cache_control);
    }
    for (name, value) in &config.metadata {
        dress.attribute(Attribute::Metadata(name.clone().into()), value);
    }
    Ok(Dressed::around(Arc::new(store), dress))
}

/// The server's address. Tempo's setting is that of the JSON API; the XML API lies beside it.
fn base_url(config: &GcsConfig) -> Result<String, OpenError> {
    let url = config.endpoint.trim_end_matches('/').trim_end_matches("/storage/v1");
    match url.split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() && !host.contains('/') => Ok(url.to_owned()),
        _ => {
            let problem = format!("is \"{}\"; write https://host:port", config.endpoint);
            Err(OpenError::new(&config.section, "endpoint", problem))
        }
    }
}

/// Bytes of a part of an upload.
pub(super) fn part_bytes(config: &GcsConfig) -> Result<usize, OpenError> {
    match config.part_bytes {
        0 => Ok(PART_BYTES),
        // Tempo's chunks may be smaller; parts may not.
        bytes if bytes <= MAX_PART_BYTES => {
            Ok(usize::try_from(bytes.max(MIN_PART_BYTES)).unwrap_or(PART_BYTES))
        }
        bytes => {
            let problem = format!("is {bytes}; use at most {MAX_PART_BYTES} bytes");
            Err(OpenError::new(&config.section, "chunk_buffer_size", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_of_the_xml_api() {
        for (endpoint, want) in [
            ("https://storage.example", Some("https://storage.example")),
            ("http://fake-gcs:4443/storage/v1/", Some("http://fake-gcs:4443")),
            ("fake-gcs:4443", None),
            ("https://storage.example/else/where", None),
        ] {
            let config = GcsConfig { endpoint: endpoint.to_owned(), ..GcsConfig::default() };
            assert_eq!(base_url(&config).ok().as_deref(), want, "{endpoint}");
        }
    }
}
