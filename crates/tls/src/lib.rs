//! TLS to a server that Trackway calls: private authorities, client certificates, another name, and what may be relaxed.
//! `server` has the other side.
//!
//! What must stay true: without settings the system's authorities decide, and with a CA file it alone does.

mod server;

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedCipherSuite};

pub use server::{ClientAuth, Look, Pem, ServerTls, ServerTlsConfig, ServerTlsError, Version};

/// What TLS to a server needs beyond the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Client certificate, a PEM file.
    pub cert_path: String,
    /// Its key, a PEM file.
    pub key_path: String,
    /// Authorities instead of the system's, a PEM file.
    pub ca_path: String,
    /// Name expected in the server's certificate.
    pub server_name: String,
    /// Take any certificate.
    pub insecure_skip_verify: bool,
    /// Names of cipher suites of TLS 1.2, with commas between them; empty is all that are safe.
    pub cipher_suites: String,
    /// `VersionTLS12` or `VersionTLS13`; older ones mean the former.
    pub min_version: String,
}

/// A setting of TLS that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct TlsError {
    /// Name of the setting in its section, such as `tls_ca_path`.
    pub key: &'static str,
    /// What is wrong, and the way out.
    pub problem: String,
}

impl TlsError {
    fn new(key: &'static str, problem: impl Into<String>) -> Self {
        Self { key, problem: problem.into() }
    }
}

/// The client's side of TLS, for stores and caches alike.
///
/// # Errors
/// [`TlsError`], which names the setting.
pub fn client_config(tls: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = cipher_suites(&tls.cipher_suites, &provider.cipher_suites)?;
    let provider = Arc::new(provider);
    let versions: &[&rustls::SupportedProtocolVersion] = match only_tls13(&tls.min_version)? {
        Some(true) => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS12, &rustls::version::TLS13],
    };
    let failed = |key: &'static str, error: String| TlsError::new(key, error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| failed("tls_min_version", error.to_string()))?;
    let verifier = verifier(tls, &provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (tls.cert_path.as_str(), tls.key_path.as_str()) {
        ("", "") => Ok(builder.with_no_client_auth()),
        ("", _) => Err(failed("tls_cert_path", "is empty; name the certificate of tls_key_path".to_owned())),
        (_, "") => Err(failed("tls_key_path", "is empty; name the key of tls_cert_path".to_owned())),
        (cert, key) => {
            let chain = certificates("tls_cert_path", cert)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| failed("tls_key_path", format!("{key}: {error}; use a PEM file")))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| failed("tls_cert_path", format!("{cert} and {key}: {error}")))
        }
    }
}

/// Whether versions before 1.3 are refused.
///
/// # Errors
/// [`TlsError`] when there is no such version.
pub fn only_tls13(min_version: &str) -> Result<Option<bool>, TlsError> {
    match min_version {
        // Older versions are never spoken; asking for no less than them is met.
        "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => Ok(Some(false)),
        "VersionTLS13" => Ok(Some(true)),
        other => {
            let problem = format!("is \"{other}\"; use VersionTLS12 or VersionTLS13");
            Err(TlsError::new("tls_min_version", problem))
        }
    }
}

/// Those that are named, and always those of TLS 1.3, as in Go.
fn cipher_suites(named: &str, all: &[SupportedCipherSuite]) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
    let (new, old): (Vec<_>, Vec<_>) = all.iter().partition(|suite| name(suite).starts_with("TLS13_"));
    let names: Vec<&str> = named.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let mut chosen: Vec<SupportedCipherSuite> = new;
    for wanted in names {
        // Go names those of TLS 1.3 without the 13.
        if chosen.iter().any(|suite| name(suite).replace("TLS13_", "TLS_") == wanted) {
            continue;
        }
        match old.iter().find(|suite| name(suite) == wanted) {
            Some(suite) => chosen.push(*suite),
            None => {
                let known: Vec<String> = old.iter().map(name).collect();
                let problem = format!("{wanted} is not supported; use some of {}", known.join(", "));
                return Err(TlsError::new("tls_cipher_suites", problem));
            }
        }
    }
    Ok(chosen)
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error: String| TlsError::new(key, format!("{path}: {error}; use a PEM file"));
    let read = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn verifier(
    tls: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if tls.insecure_skip_verify {
        return Ok(Arc::new(Anybody(Arc::clone(provider))));
    }
    let failed = |error: String| TlsError::new("tls_ca_path", error);
    let inner: Arc<dyn ServerCertVerifier> = if tls.ca_path.is_empty() {
        let system = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
        Arc::new(system.map_err(|error| failed(error.to_string()))?)
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("tls_ca_path", &tls.ca_path)? {
            roots.add(certificate).map_err(|error| failed(format!("{}: {error}", tls.ca_path)))?;
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| failed(format!("{}: {error}", tls.ca_path)))?
    };
    if tls.server_name.is_empty() {
        return Ok(inner);
    }
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|error| TlsError::new("tls_server_name", format!("is \"{}\": {error}", tls.server_name)))?;
    Ok(Arc::new(Renamed { name, inner }))
}

/// Expects another name in the certificate than the one that was called.
#[derive(Debug)]
struct Renamed {
    name: ServerName<'static>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate, because the operator said so; whoever shows it must have its key still.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
