//! The begin of a connection over TLS, and those who begin it the wrong way.
//!
//! What must stay true: a handshake takes no longer than [`HANDSHAKE_TIME`], there are never more than
//! [`MAX_HANDSHAKES`] under way on one port, and none of it delays a connection that stands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use trackway_common::Seldom;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use trackway_tls::{Look, ServerTls};

/// What a TLS ClientHello begins with, and no HTTP request does.
pub(super) const HANDSHAKE: u8 = 0x16;
/// How long a handshake may take, from its first byte; also how long it may wait for its turn.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Handshakes at a time on one port; more wait. Each takes some tens of kilobytes.
pub const MAX_HANDSHAKES: usize = 512;
/// How long, and for how many bytes, a client that spoke without TLS is listened to after it was told.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

/// What a client is told that speaks HTTP/1 to a port with TLS; Go's servers say the same.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\nContent-Length: 48\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// What the handshakes of a port share.
#[derive(Debug)]
pub(super) struct Secure {
    slots: Semaphore,
    /// Warnings about clients that speak TLS where there is none, or the other way about.
    mistaken: Seldom,
    /// Warnings about handshakes that failed.
    failed: Seldom,
    /// Warnings about handshakes that were not finished.
    unfinished: Seldom,
}

impl Default for Secure {
    fn default() -> Self {
        Self {
            slots: Semaphore::new(MAX_HANDSHAKES),
            mistaken: Seldom::default(),
            failed: Seldom::default(),
            unfinished: Seldom::default(),
        }
    }
}

impl Secure {
    /// Shakes hands; `None` when nothing came of it.
    pub(super) async fn handshake(
        &self,
        tls: &ServerTls,
        stream: TcpStream,
        peer: &SocketAddr,
        key: &str,
    ) -> Option<TlsStream<TcpStream>> {
        let peer = peer.ip();
        let Ok(Ok(_slot)) = tokio::time::timeout(HANDSHAKE_TIME, self.slots.acquire()).await else {
            if self.unfinished.due() {
                tracing::warn!(
                    "{MAX_HANDSHAKES} TLS handshakes are under way at {key}; one of {peer} was given up"
                );
            }
            return None;
        };
        let accepted = TlsAcceptor::from(tls.current()).accept(stream);
        match tokio::time::timeout(HANDSHAKE_TIME, accepted).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                if self.failed.due() {
                    tracing::warn!("TLS handshake of {peer} at {key} failed: {error}{}", advice(&error));
                }
                None
            }
            Err(_) => {
                if self.unfinished.due() {
                    tracing::warn!(
                        "TLS handshake of {peer} at {key} was not finished within {HANDSHAKE_TIME:?}"
                    );
                }
                None
            }
        }
    }

    /// A client speaks TLS, and there is none.
    pub(super) fn unexpected_tls(&self, peer: &SocketAddr, key: &str) {
        if self.mistaken.due() {
            tracing::warn!(
                "TLS on a plaintext port from {}; set insecure: true in the sender, or configure tls here ({key})",
                peer.ip()
            );
        }
    }

    /// A client speaks without TLS, and there is some.
    pub(super) async fn unexpected_plain(&self, mut stream: TcpStream, peer: &SocketAddr, key: &str) {
        if self.mistaken.due() {
            tracing::warn!(
                "plaintext on a TLS port from {}; use https (insecure: false) in the sender, or remove tls here ({key})",
                peer.ip()
            );
        }
        let answer = async {
            let mut first = [0; 3];
            let length = stream.peek(&mut first).await?;
            // HTTP/2, which every client of gRPC speaks, could not read it.
            let is_http1 = first[0].is_ascii_uppercase() && !first[..length].starts_with(b"PRI");
            if is_http1 {
                stream.write_all(SPEAK_TLS).await?;
            }
            stream.shutdown().await?;
            // Closed with something unread, the connection would be reset, and the answer lost.
            let (mut unread, mut nowhere) = ((&mut stream).take(LINGER_BYTES), tokio::io::sink());
            tokio::io::copy(&mut unread, &mut nowhere).await
        };
        // A client that does not wait for its answer has none.
        let _: Result<io::Result<u64>, _> = tokio::time::timeout(LINGER, answer).await;
    }
}

/// What to do about a handshake that failed.
fn advice(error: &io::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("sent no certificates") {
        "; a certificate of an authority of client_ca_file is demanded: give the sender one"
    } else if text.contains("invalid peer certificate") {
        "; the client's certificate is not of an authority of client_ca_file, or not valid now"
    } else if text.contains("alert") && (text.contains("UnknownCA") || text.contains("BadCertificate")) {
        "; the client does not know the authority of our certificate: give the sender its ca_file"
    } else {
        ""
    }
}

/// Looks at the files again and again.
pub(super) async fn keep_fresh(tls: Arc<ServerTls>, every: Duration) {
    let mut turns = tokio::time::interval(every.max(Duration::from_millis(10)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.tick().await;
    loop {
        turns.tick().await;
        let looked = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || looked.look()).await {
            Ok(Look::Renewed) => tracing::info!("new certificates are used: {}", tls.section()),
            Ok(Look::Broken(error)) => {
                tracing::warn!("new certificates cannot be used, the old ones are: {error}");
            }
            Ok(Look::Same) | Err(_) => {}
        }
    }
}
