//! A listener that speaks HTTP/1.1 and HTTP/2 without TLS on one port, for any service. The query API uses it too.
//!
//! What must stay true: a connection that says nothing, or says it slowly, is closed in time; there are never more
//! connections than [`MAX_CONNECTIONS`], or than half of the files that the process may open; on shutdown requests that have begun are finished, within [`DRAIN`].

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::seldom::Seldom;

/// Most connections at a time on one listener; more wait to be accepted. An idle one costs some 10 kB.
pub const MAX_CONNECTIONS: usize = 16_384;
/// How long a new connection may say nothing.
pub const FIRST_BYTE: Duration = Duration::from_secs(30);
/// How long the headers of an HTTP/1.1 request may take, and how long a connection may idle before them. As long as
/// Tempo's `http_server_idle_timeout`: clients that keep connections must not see them closed sooner.
pub const HEADERS: Duration = Duration::from_secs(120);
/// How often a quiet HTTP/2 connection is asked whether it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long it may take to answer that.
pub const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
/// How long requests that have begun may take after the shutdown.
pub const DRAIN: Duration = Duration::from_secs(30);
/// Requests at a time on one HTTP/2 connection.
pub const MAX_STREAMS: u32 = 256;
/// How much of one HTTP/2 request may be under way unread.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Largest headers of an HTTP/2 request.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// How long to wait when the system has no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What a TLS ClientHello begins with, and no HTTP request does.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves connections until `shutdown`, then lets those that are busy finish.
///
/// # Errors
/// None at present: errors of single connections are not errors of the listener.
pub async fn run<S, B>(listener: TcpListener, service: S, shutdown: CancellationToken) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(most_connections()));
    let tls_seen = Arc::new(Seldom::default());
    // Dropped last: when this function is left, or its future dropped, the connections go with it.
    let cut = CancellationToken::new();
    let _cut_at_end = cut.clone().drop_guard();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept_failed(&error, &shutdown).await;
                continue;
            }
        };
        let connection = Connection {
            peer,
            service: service.clone(),
            watcher: graceful.watcher(),
            shutdown: shutdown.clone(),
            tls_seen: Arc::clone(&tls_seen),
        };
        let cut = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection.serve(stream) => {}
                () = cut.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests took longer than {DRAIN:?} after the shutdown and were cut off");
    }
    Ok(())
}

/// The other half is for what is stored, and for the other listeners.
fn most_connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    MAX_CONNECTIONS.min(files / 2)
}

async fn accept_failed(error: &io::Error, shutdown: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return; // the peer's matter
    }
    tracing::warn!("no connection can be accepted: {error}");
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_AGAIN) => {}
    }
}

struct Connection<S> {
    peer: SocketAddr,
    service: S,
    watcher: Watcher,
    shutdown: CancellationToken,
    tls_seen: Arc<Seldom>,
}

impl<S, B> Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn serve(self, stream: TcpStream) {
        // Answers are small and awaited; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        let first = tokio::select! {
            first = first_byte(&stream) => first,
            () = self.shutdown.cancelled() => None,
        };
        match first {
            None => return,
            Some(TLS_HANDSHAKE) => {
                if self.tls_seen.due() {
                    tracing::warn!(
                        "TLS on a plaintext port from {}; set insecure: true in the sender, or configure tls here",
                        self.peer.ip()
                    );
                }
                return;
            }
            Some(_) => {}
        }
        let builder = builder();
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.service));
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!("connection from {}: {error}", self.peer);
        }
    }
}

async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    match tokio::time::timeout(FIRST_BYTE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first[0]),
        _ => None,
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
