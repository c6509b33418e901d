//! The server's side of TLS: certificates of files that may change while they are used.
//!
//! What must stay true: a new connection gets the newest files that fit together; files that do not change nothing, and
//! that is told once. A key is never shown.

use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion, client::danger::HandshakeSignatureValid,
};

use crate::cipher_suites;

/// What a server may speak over TLS; clients of gRPC insist on the first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Something in PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In this file, which may change.
    File(String),
    /// Itself.
    Text(String),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{path:?}"),
            Self::Text(_) => f.write_str("<text>"),
        }
    }
}

/// What is demanded of clients, by Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`: they are not asked for a certificate.
    #[default]
    None,
    /// `RequestClientCert`: they are asked; nothing follows from the answer.
    Request,
    /// `RequireAnyClientCert`: they must show one, of whomever.
    RequireAny,
    /// `VerifyClientCertIfGiven`: one that is shown must be of the authorities.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`: they must show one of the authorities.
    RequireAndVerify,
}

impl ClientAuth {
    /// By its name; empty is none.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" | "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            "RequireAnyClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => return None,
        })
    }

    fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// A version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl Version {
    /// The oldest version that is meant by `1.2`, `VersionTLS12` and the like; older ones are never spoken.
    pub fn oldest(name: &str) -> Option<Self> {
        match name.trim_start_matches("VersionTLS").replace('.', "").as_str() {
            "" | "10" | "11" | "12" => Some(Self::Tls12),
            "13" => Some(Self::Tls13),
            _ => None,
        }
    }

    /// The newest version that is meant; `None` too for those that are too old.
    pub fn newest(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Tls13),
            "1.0" | "1.1" => None,
            other => Self::oldest(other),
        }
    }
}

/// TLS of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsConfig {
    /// The block of the settings in full, such as `server.http_tls_config`, for messages.
    pub section: String,
    /// Name of the setting of `cipher_suites` in full.
    pub cipher_suites_key: String,
    /// The certificate and those between it and its authority (`cert_file`).
    pub cert: Pem,
    /// Its key (`key_file`).
    pub key: Pem,
    /// Authorities of clients (`client_ca_file`).
    pub client_ca: Option<Pem>,
    /// What is demanded of clients.
    pub client_auth: ClientAuth,
    /// Whether the system's authorities may vouch for clients, too.
    pub system_authorities: bool,
    /// Oldest version.
    pub min_version: Version,
    /// Newest version.
    pub max_version: Version,
    /// Names of cipher suites of TLS 1.2; none is all that are safe.
    pub cipher_suites: Vec<String>,
    /// Names of groups for the exchange of keys, as `X25519`; none is all.
    pub curves: Vec<String>,
}

/// TLS that cannot be served as it is set; the message names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerTlsError(String);

/// What was found when the files were looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// New certificates are used from now on.
    Renewed,
    /// What is new cannot be used, and was not told before.
    Broken(ServerTlsError),
}

/// The bytes of certificate, key and authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What was read last.
#[derive(Debug)]
struct Seen {
    used: Read,
    /// What could not be used, and how often it was met.
    bad: Option<(Result<Read, ServerTlsError>, u32)>,
}

/// TLS of one port, with certificates that are read again.
pub struct ServerTls {
    config: ServerTlsConfig,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads certificates and settings.
    ///
    /// # Errors
    /// [`ServerTlsError`] when they cannot be used.
    pub fn open(config: ServerTlsConfig) -> Result<Self, ServerTlsError> {
        let mut provider = ring::default_provider();
        let suites = cipher_suites(&config.cipher_suites.join(","), &provider.cipher_suites);
        provider.cipher_suites = suites
            .map_err(|error| ServerTlsError(format!("{} {}", config.cipher_suites_key, error.problem)))?;
        limit_groups(&config, &mut provider)?;
        let provider = Arc::new(provider);
        let used = read(&config)?;
        let current = RwLock::new(Arc::new(build(&config, &provider, &used)?));
        Ok(Self { config, provider, seen: Mutex::new(Seen { used, bad: None }), current })
    }

    /// What a new connection is served with.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// The block of its settings.
    pub fn section(&self) -> &str {
        &self.config.section
    }

    /// Whether anything of it can change.
    pub fn has_files(&self) -> bool {
        let pems = [Some(&self.config.cert), Some(&self.config.key), self.config.client_ca.as_ref()];
        pems.into_iter().flatten().any(|pem| matches!(pem, Pem::File(_)))
    }

    /// Reads the files again. Blocks for as long as that takes.
    pub fn look(&self) -> Look {
        let found = read(&self.config);
        let mut seen = self.seen.lock();
        if found.as_ref().is_ok_and(|found| *found == seen.used) {
            seen.bad = None;
            return Look::Same;
        }
        let problem = match &found {
            Err(error) => error.clone(),
            Ok(read) => match build(&self.config, &self.provider, read) {
                Ok(config) => {
                    *self.current.write() = Arc::new(config);
                    *seen = Seen { used: read.clone(), bad: None };
                    return Look::Renewed;
                }
                Err(error) => error,
            },
        };
        // Whoever writes certificate and key one after the other shows a pair that does not fit for a moment: told is
        // what was met twice.
        let times = match seen.bad.take() {
            Some((bad, times)) if bad == found => times.saturating_add(1),
            _ => 1,
        };
        seen.bad = Some((found, times));
        if times == 2 { Look::Broken(problem) } else { Look::Same }
    }
}

fn limit_groups(config: &ServerTlsConfig, provider: &mut CryptoProvider) -> Result<(), ServerTlsError> {
    if config.curves.is_empty() {
        return Ok(());
    }
    // Go's names, and those of the standard.
    let go = |name: &str| match name {
        "secp256r1" => "P256".to_owned(),
        "secp384r1" => "P384".to_owned(),
        other => other.to_owned(),
    };
    let all = provider.kx_groups.clone();
    let mut chosen = Vec::new();
    for wanted in &config.curves {
        let found = all.iter().find(|group| go(&format!("{:?}", group.name())) == go(wanted));
        let Some(found) = found else {
            let known: Vec<String> = all.iter().map(|group| go(&format!("{:?}", group.name()))).collect();
            return Err(ServerTlsError(format!(
                "{}.curve_preferences has {wanted}, which is not supported; use some of {}",
                config.section,
                known.join(", ")
            )));
        };
        chosen.push(*found);
    }
    provider.kx_groups = chosen;
    Ok(())
}

fn read(config: &ServerTlsConfig) -> Result<Read, ServerTlsError> {
    let read = |key: &str, pem: &Pem| match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => std::fs::read(path)
            .map_err(|error| ServerTlsError(format!("{}.{key}: {path}: {error}", config.section))),
    };
    Ok(Read {
        cert: read("cert_file", &config.cert)?,
        key: read("key_file", &config.key)?,
        client_ca: config.client_ca.as_ref().map(|pem| read("client_ca_file", pem)).transpose()?,
    })
}

fn build(
    config: &ServerTlsConfig,
    provider: &Arc<CryptoProvider>,
    read: &Read,
) -> Result<ServerConfig, ServerTlsError> {
    let failed = |key: &str, pem: Option<&Pem>, problem: String| {
        let path = match pem {
            Some(Pem::File(path)) => format!("{path}: "),
            _ => String::new(),
        };
        ServerTlsError(format!("{}.{key}: {path}{problem}", config.section))
    };
    let all: [&'static SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
    let wanted = |version: &Version| (config.min_version..=config.max_version).contains(version);
    let versions = [Version::Tls12, Version::Tls13].iter().zip(all);
    let versions: Vec<_> =
        versions.filter(|(version, _)| wanted(version)).map(|(_, spoken)| spoken).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .map_err(|error| failed("min_version", None, error.to_string()))?;
    let verifier = verifier(config, provider, read.client_ca.as_deref())
        .map_err(|problem| failed("client_ca_file", config.client_ca.as_ref(), problem))?;
    let chain =
        certificates(&read.cert).map_err(|problem| failed("cert_file", Some(&config.cert), problem))?;
    let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| {
        failed("key_file", Some(&config.key), format!("{error}; use a private key in PEM"))
    })?;
    let mut built = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).map_err(
        |error| match error {
            rustls::Error::InconsistentKeys(_) => failed(
                "key_file",
                Some(&config.key),
                "is not the key of the certificate in cert_file".to_owned(),
            ),
            other => failed("cert_file", Some(&config.cert), other.to_string()),
        },
    )?;
    built.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(built)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in it; use PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{error}; use PEM")),
    }
}

fn verifier(
    config: &ServerTlsConfig,
    provider: &Arc<CryptoProvider>,
    authorities: Option<&[u8]>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if !config.client_auth.verifies() {
        return Ok(match config.client_auth {
            ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
            other => Arc::new(AnyClient {
                provider: Arc::clone(provider),
                mandatory: other == ClientAuth::RequireAny,
            }),
        });
    }
    let mut roots = RootCertStore::empty();
    for certificate in authorities.map(certificates).transpose()?.unwrap_or_default() {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if config.system_authorities {
        // As in Go, those of the system's that cannot be read are passed over.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match config.client_auth {
        ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
        _ => builder,
    };
    let built: Arc<dyn ClientCertVerifier> = builder.build().map_err(|error| error.to_string())?;
    Ok(built)
}

/// Asks for a certificate and takes whichever is shown; whoever shows it must have its key still.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(
        folder: &Path,
        cert_of: &rcgen::CertifiedKey<rcgen::KeyPair>,
        key_of: &rcgen::CertifiedKey<rcgen::KeyPair>,
    ) {
        std::fs::write(folder.join("cert"), cert_of.cert.pem()).unwrap();
        std::fs::write(folder.join("key"), key_of.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_pair_that_does_not_fit_is_told_once_and_only_if_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let make = || rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (one, other) = (make(), make());
        write(folder.path(), &one, &one);
        let file = |name: &str| Pem::File(folder.path().join(name).display().to_string());
        let config = ServerTlsConfig {
            section: "x.tls".to_owned(),
            cipher_suites_key: "x.cipher_suites".to_owned(),
            cert: file("cert"),
            key: file("key"),
            client_ca: None,
            client_auth: ClientAuth::None,
            system_authorities: false,
            min_version: Version::Tls12,
            max_version: Version::Tls13,
            cipher_suites: Vec::new(),
            curves: vec!["X25519".to_owned(), "P256".to_owned()],
        };
        let tls = ServerTls::open(config).unwrap();
        let first = tls.current();
        assert_eq!(tls.look(), Look::Same);
        write(folder.path(), &other, &one);
        // It may be in the middle of being written.
        assert_eq!(tls.look(), Look::Same);
        let Look::Broken(error) = tls.look() else { panic!() };
        assert!(error.to_string().contains("x.tls.key_file"), "{error}");
        assert_eq!(tls.look(), Look::Same);
        assert!(Arc::ptr_eq(&first, &tls.current()));
        write(folder.path(), &other, &other);
        assert_eq!(tls.look(), Look::Renewed);
        assert!(!Arc::ptr_eq(&first, &tls.current()));
        std::fs::remove_file(folder.path().join("key")).unwrap();
        assert_eq!(tls.look(), Look::Same);
        assert!(matches!(tls.look(), Look::Broken(_)));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", Pem::Text("secret".to_owned())), "<text>");
    }

    #[test]
    fn versions_by_both_names() {
        for name in ["", "1.0", "1.2", "VersionTLS10", "VersionTLS12"] {
            assert_eq!(Version::oldest(name), Some(Version::Tls12), "{name}");
        }
        assert_eq!(Version::oldest("VersionTLS13"), Some(Version::Tls13));
        assert_eq!((Version::oldest("2"), Version::newest("1.1")), (None, None));
        assert_eq!(
            (Version::newest(""), Version::newest("1.2")),
            (Some(Version::Tls13), Some(Version::Tls12))
        );
    }
}
