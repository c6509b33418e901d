//! Clients of a store with a TLS configuration of their own.

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};
use rustls::ClientConfig;
use trackway_tls::{TlsError, client_config, only_tls13};

use super::{CONNECT_TIMEOUT, OpenError, READ_TIMEOUT, REQUEST_TIMEOUT, TlsConfig};

/// Makes clients with a TLS configuration of its own.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tls: ClientConfig,
}

impl Connector {
    /// A connector, when the settings ask for more than the default one does.
    pub(super) fn new(section: &str, tls: &TlsConfig) -> Result<Option<Self>, OpenError> {
        let named = |error: TlsError| OpenError::new(section, error.key, error.problem);
        let plain = TlsConfig { min_version: tls.min_version.clone(), ..TlsConfig::default() };
        if *tls == plain && only_tls13(&tls.min_version).map_err(named)? == Some(false) {
            return Ok(None);
        }
        Ok(Some(Self { tls: client_config(tls).map_err(named)? }))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::ClientBuilder::new()
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(concat!("trackway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .http1_only()
            // The length of an answer is the length of the object.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build();
        let client = client
            .map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}
