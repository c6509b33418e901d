//! S3 and everything that speaks it, with the meaning that Tempo's settings have.

use std::sync::Arc;

use base64::Engine;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region};
use object_store::{Attribute, ObjectStore};

use super::dress::{Dress, Dressed};
use super::tls::Connector;
use super::{
    BucketLookup, Environment, OpenError, PART_BYTES, S3Config, Sse, client_options, credentials, innermost,
    retry_config,
};

/// S3 takes no smaller part, except the last.
pub(super) const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Nor a larger one; and parts are held in memory.
const MAX_PART_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of a key of SSE-C.
const CUSTOMER_KEY_BYTES: usize = 32;
/// The region of those who know none.
const ANY_REGION: &str = "us-east-1";

/// Opens the store.
pub(super) async fn open(
    config: &S3Config,
    environment: Environment<'_>,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let failed = |key: &str, problem: String| OpenError::new(&config.section, key, problem);
    let region = region(config, environment).await?;
    let (url, dns) = url(config, &region)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&region)
        .with_endpoint(url)
        .with_virtual_hosted_style_request(dns)
        .with_allow_http(config.insecure)
        .with_client_options(client_options().with_allow_http(config.insecure))
        .with_retry(retry_config(&config.retry))
        .with_credentials(credentials::provider(config, &region, environment)?)
        // Google's imitation has no bulk delete.
        .with_disable_bulk_delete(host(&config.endpoint).ends_with("googleapis.com"));
    if let Some(connector) = Connector::new(&config.section, &config.tls)? {
        builder = builder.with_http_connector(connector);
    }
    builder = encrypt(builder, config)?;
    let store: Arc<dyn ObjectStore> =
        Arc::new(builder.build().map_err(|error| failed("endpoint", innermost(&error)))?);
    let mut dress = Dress { one_piece: config.one_piece, ..Dress::default() };
    if !config.storage_class.is_empty() {
        dress.attribute(Attribute::StorageClass, &config.storage_class);
    }
    for (name, value) in &config.metadata {
        dress.attribute(Attribute::Metadata(name.clone().into()), value);
    }
    for (name, value) in &config.tags {
        dress.tags.push(name, value);
    }
    Ok(Dressed::around(store, dress))
}

/// Bytes of a part of an upload.
pub(super) fn part_bytes(config: &S3Config) -> Result<usize, OpenError> {
    match config.part_bytes {
        0 => Ok(PART_BYTES),
        bytes if (MIN_PART_BYTES..=MAX_PART_BYTES).contains(&bytes) => {
            Ok(usize::try_from(bytes).unwrap_or(PART_BYTES))
        }
        bytes => {
            let problem =
                format!("is {bytes}; use 0 or a size from {MIN_PART_BYTES} to {MAX_PART_BYTES} bytes");
            Err(OpenError::new(&config.section, "part_size", problem))
        }
    }
}

fn encrypt(builder: AmazonS3Builder, config: &S3Config) -> Result<AmazonS3Builder, OpenError> {
    let algorithm = |builder: AmazonS3Builder, name: &str| {
        // The type of this key has no public name.
        let key: AmazonS3ConfigKey = "aws_server_side_encryption"
            .parse()
            .map_err(|error| OpenError::new(&config.section, "sse.type", innermost(&error)))?;
        Ok(builder.with_config(key, name))
    };
    Ok(match &config.sse {
        Sse::Default => builder,
        Sse::S3 => algorithm(builder, "AES256")?,
        Sse::Kms(key) if key.is_empty() => algorithm(builder, "aws:kms")?,
        Sse::Kms(key) => builder.with_sse_kms_encryption(key),
        Sse::Customer(key) => {
            let bytes = key.expose().as_bytes();
            if bytes.len() != CUSTOMER_KEY_BYTES {
                let problem = format!("has {} bytes; SSE-C takes {CUSTOMER_KEY_BYTES}", bytes.len());
                return Err(OpenError::new(&config.section, "sse.encryption_key", problem));
            }
            builder.with_ssec_encryption(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    })
}

/// The host of an endpoint, without its port.
fn host(endpoint: &str) -> &str {
    endpoint
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(endpoint, |(host, _)| host)
}

/// The region in the name of an address of AWS; empty in the global one, `None` when it is not AWS.
fn aws(endpoint: &str) -> Option<&str> {
    let host = host(endpoint);
    let inner = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let inner = inner.strip_prefix("s3.dualstack").or_else(|| inner.strip_prefix("s3"))?;
    match inner {
        "" => Some(""),
        inner => inner.strip_prefix(['.', '-'])?.split('.').next_back(),
    }
}

/// As configured, in the environment, in the endpoint's name, as AWS says; `us-east-1` elsewhere.
async fn region(config: &S3Config, environment: Environment<'_>) -> Result<String, OpenError> {
    if !config.region.is_empty() {
        return Ok(config.region.clone());
    }
    match aws(&config.endpoint) {
        Some("") => {}
        Some(region) => return Ok(region.to_owned()),
        None => {
            let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(environment);
            return Ok(set.filter(|region| !region.is_empty()).unwrap_or_else(|| ANY_REGION.to_owned()));
        }
    }
    // Here the environment does not count: where a bucket lies is a fact.
    resolve_bucket_region(&config.bucket, &client_options()).await.map_err(|error| {
        let problem = format!("is empty, and AWS does not say where {} is: {error}", config.bucket);
        OpenError::new(&config.section, "region", problem)
    })
}

/// Where the bucket is asked for, and whether its name is in the host.
fn url(config: &S3Config, region: &str) -> Result<(String, bool), OpenError> {
    let S3Config { bucket, endpoint, .. } = config;
    if endpoint.contains('/') {
        let problem = format!(
            "is \"{endpoint}\"; write host and port, such as minio:9000; insecure: true stands for http://"
        );
        return Err(OpenError::new(&config.section, "endpoint", problem));
    }
    let scheme = if config.insecure { "http" } else { "https" };
    let at = aws(endpoint);
    // A certificate of `*.s3.amazonaws.com` does not cover names with dots.
    let dotted = !config.insecure && bucket.contains('.');
    let dns = match config.lookup {
        BucketLookup::Auto => at.is_some() && !dotted,
        BucketLookup::Dns => true,
        BucketLookup::Path => false,
    };
    let host = match at {
        Some(named) if named.is_empty() || config.dual_stack => {
            let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            let dualstack = if config.dual_stack { "dualstack." } else { "" };
            format!("s3.{dualstack}{region}.{suffix}")
        }
        None if config.dual_stack => {
            let problem = format!("is true and the endpoint {endpoint} is not AWS'; set it to false");
            return Err(OpenError::new(&config.section, "enable_dual_stack", problem));
        }
        _ => endpoint.clone(),
    };
    Ok(if dns {
        (format!("{scheme}://{bucket}.{host}"), true)
    } else {
        (format!("{scheme}://{host}"), false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_where_their_store_has_them() {
        use BucketLookup::{Auto, Dns, Path};
        let cases = [
            ("tempo-minio:9000", "tempo-traces", true, Auto, false, "http://tempo-minio:9000", false),
            ("minio:9000", "b", false, Auto, false, "https://minio:9000", false),
            ("minio.example", "b", false, Dns, false, "https://b.minio.example", true),
            ("s3.amazonaws.com", "b", false, Auto, false, "https://b.s3.eu-west-1.amazonaws.com", true),
            (
                "s3.eu-west-1.amazonaws.com",
                "b",
                false,
                Auto,
                false,
                "https://b.s3.eu-west-1.amazonaws.com",
                true,
            ),
            ("s3.amazonaws.com", "b.c", false, Auto, false, "https://s3.eu-west-1.amazonaws.com", false),
            (
                "s3-fips.eu-west-1.amazonaws.com",
                "b",
                false,
                Auto,
                false,
                "https://b.s3-fips.eu-west-1.amazonaws.com",
                true,
            ),
            ("s3.amazonaws.com", "b", false, Path, false, "https://s3.eu-west-1.amazonaws.com", false),
            (
                "s3.amazonaws.com",
                "b",
                false,
                Auto,
                true,
                "https://b.s3.dualstack.eu-west-1.amazonaws.com",
                true,
            ),
        ];
        for (endpoint, bucket, insecure, lookup, dual_stack, want, dns) in cases {
            let config = S3Config {
                endpoint: endpoint.to_owned(),
                bucket: bucket.to_owned(),
                insecure,
                lookup,
                dual_stack,
                ..S3Config::default()
            };
            assert_eq!(url(&config, "eu-west-1"), Ok((want.to_owned(), dns)), "{endpoint}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let config = |endpoint: &str| S3Config {
            section: "storage.trace.s3".to_owned(),
            endpoint: endpoint.to_owned(),
            ..S3Config::default()
        };
        let said = url(&config("http://minio:9000"), "r").unwrap_err().to_string();
        assert!(said.starts_with("storage.trace.s3.endpoint: is \"http://minio:9000\""), "{said}");
        let said = url(&S3Config { dual_stack: true, ..config("minio") }, "r").unwrap_err().to_string();
        assert!(said.starts_with("storage.trace.s3.enable_dual_stack"), "{said}");
        let said = part_bytes(&S3Config { part_bytes: 1, ..config("minio") }).unwrap_err().to_string();
        assert!(said.starts_with("storage.trace.s3.part_size: is 1;"), "{said}");
        let key = Sse::Customer(trackway_common::Secret::new("short"));
        let sse = S3Config { sse: key, ..config("minio") };
        let said = encrypt(AmazonS3Builder::new(), &sse).unwrap_err().to_string();
        assert!(said.contains("sse.encryption_key: has 5 bytes"), "{said}");
    }

    #[test]
    fn the_region_is_in_the_name() {
        for (endpoint, want) in [
            ("s3.amazonaws.com", Some("")),
            ("s3.amazonaws.com:443", Some("")),
            ("s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("s3.dualstack.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("s3-us-west-2.amazonaws.com", Some("us-west-2")),
            ("s3-fips.us-west-2.amazonaws.com", Some("us-west-2")),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("minio:9000", None),
            ("storage.googleapis.com", None),
        ] {
            assert_eq!(aws(endpoint), want, "{endpoint}");
        }
    }
}
