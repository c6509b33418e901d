//! Clients over TLS: one HTTP request, and a channel of gRPC.

use std::io::{Error, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use trackway_tls::{TlsConfig, client_config};

/// A client: whom it trusts, and what it shows.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// PEM file of the authority.
    pub ca: String,
    /// PEM files of certificate and key.
    pub shows: Option<(String, String)>,
}

impl Client {
    pub fn of(ca: &str) -> Self {
        Self { ca: ca.to_owned(), shows: None }
    }

    pub fn showing(ca: &str, shows: &(String, String)) -> Self {
        Self { ca: ca.to_owned(), shows: Some(shows.clone()) }
    }

    fn config(&self) -> rustls::ClientConfig {
        let (cert_path, key_path) = self.shows.clone().unwrap_or_default();
        let tls = TlsConfig { ca_path: self.ca.clone(), cert_path, key_path, ..TlsConfig::default() };
        client_config(&tls).expect("files")
    }

    /// A connection, before a byte is sent.
    pub fn connect(
        &self,
        address: &str,
    ) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>, Error> {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connection =
            rustls::ClientConnection::new(Arc::new(self.config()), name).map_err(Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(rustls::StreamOwned::new(connection, stream))
    }

    /// Sends a request: the status and all that came.
    pub fn request(
        &self,
        address: &str,
        line: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(u16, String), Error> {
        let mut stream = self.connect(address)?;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| Error::other(format!("no answer: {text}")))?, text))
    }

    /// A channel of gRPC, which insists on HTTP/2 as Go's clients do.
    pub async fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut config = self.config();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, place) = (TlsConnector::from(Arc::new(config)), address.to_owned());
        let connect = move |_| {
            let (connector, place) = (connector.clone(), place.clone());
            async move {
                let stream = tokio::net::TcpStream::connect(place).await?;
                let name = ServerName::try_from("127.0.0.1").expect("a name");
                let stream = connector.connect(name, stream).await?;
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                Ok::<_, Error>(TokioIo::new(stream))
            }
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint.connect_with_connector(tower::service_fn(connect)).await
    }
}
