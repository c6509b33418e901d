//! A listener that speaks HTTP/1.1 and HTTP/2 on one port, over TLS or without, for any service. The query API uses it
//! too.
//!
//! What must stay true: a connection that says nothing, or says it slowly, is closed in time; there are never more
//! connections than [`MAX_CONNECTIONS`], or than half of the files that the process may open; accepting waits for nobody's
//! handshake; on shutdown requests that have begun are finished, within [`DRAIN`].

mod begin;
mod life;
mod pings;
mod secure;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use trackway_tls::ServerTls;

use begin::begin;
use life::{Activity, end_of_life};
use pings::PingGuard;
pub use pings::PingPolicy;
use secure::Secure;
pub use secure::{HANDSHAKE_TIME, MAX_HANDSHAKES};

/// Most connections at a time on one listener; more wait to be accepted. An idle one costs some 10 kB.
pub const MAX_CONNECTIONS: usize = 16_384;
/// How long a new connection may say nothing, and how long it may take to say which protocol it speaks.
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
/// How often files of certificates are looked at.
pub const LOOK: Duration = Duration::from_secs(5);
/// How much of one HTTP/2 request may be under way unread.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Largest headers of an HTTP/2 request.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// How long to wait when the system has no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How the connections of a port are served.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The setting of the port, for messages.
    pub key: String,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<ServerTls>>,
    /// How often its files are looked at.
    pub look: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long the headers of an HTTP/1.1 request may take.
    pub headers: Duration,
    /// How often a quiet HTTP/2 connection is asked whether it lives.
    pub keep_alive: Duration,
    /// How long it may take to answer that.
    pub keep_alive_answer: Duration,
    /// When a connection without requests is closed.
    pub max_idle: Option<Duration>,
    /// When a connection is closed in any case.
    pub max_age: Option<Duration>,
    /// How long its requests may take after that.
    pub max_age_grace: Option<Duration>,
    /// How often clients may ask whether we live.
    pub pings: Option<PingPolicy>,
    /// Whether an HTTP/1.1 connection has one request only.
    pub single_request: bool,
    /// Headers of every answer.
    pub response_headers: HeaderMap,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            key: "its receiver".to_owned(),
            tls: None,
            look: LOOK,
            max_streams: MAX_STREAMS,
            headers: HEADERS,
            keep_alive: KEEP_ALIVE,
            keep_alive_answer: KEEP_ALIVE_ANSWER,
            max_idle: None,
            max_age: None,
            max_age_grace: None,
            pings: None,
            single_request: false,
            response_headers: HeaderMap::new(),
        }
    }
}

/// Serves connections until `shutdown`, then lets those that are busy finish.
///
/// # Errors
/// None at present: errors of single connections are not errors of the listener.
pub async fn run<S, B>(
    listener: TcpListener,
    listen: Listen,
    service: S,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(most_connections()));
    let shared = Arc::new(Shared { secure: Secure::default(), listen, shutdown: shutdown.clone() });
    // Dropped last: when this function is left, or its future dropped, the connections go with it.
    let cut = CancellationToken::new();
    let _cut_at_end = cut.clone().drop_guard();
    if let Some(tls) = shared.listen.tls.clone().filter(|tls| tls.has_files()) {
        let (look, cut) = (shared.listen.look, cut.clone());
        tokio::spawn(async move { cut.run_until_cancelled(secure::keep_fresh(tls, look)).await });
    }
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
        let connection = Connection { peer, service: service.clone(), shared: Arc::clone(&shared) };
        let cut = cut.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection.serve(stream) => {}
                () = cut.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
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

/// What the connections of a port share.
struct Shared {
    listen: Listen,
    secure: Secure,
    shutdown: CancellationToken,
}

struct Connection<S> {
    peer: SocketAddr,
    service: S,
    shared: Arc<Shared>,
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
        let shared = Arc::clone(&self.shared);
        let begin = async {
            let first = first_byte(&stream).await?;
            let secure = &shared.secure;
            match (&shared.listen.tls, first) {
                (None, secure::HANDSHAKE) => secure.unexpected_tls(&self.peer, &shared.listen.key),
                (None, _) => return Some(None),
                (Some(_), secure::HANDSHAKE) => return Some(shared.listen.tls.as_ref()),
                (Some(_), _) => {}
            }
            None
        };
        let begun = tokio::select! {
            begun = begin => begun,
            () = self.shared.shutdown.cancelled() => return,
        };
        match begun {
            // In boxes: a connection takes as much as it needs, not as much as TLS would.
            Some(None) => Box::pin(self.speak(stream)).await,
            Some(Some(tls)) => {
                let handshake =
                    self.shared.secure.handshake(tls, stream, &self.peer, &self.shared.listen.key);
                let secured = tokio::select! {
                    secured = handshake => secured,
                    () = self.shared.shutdown.cancelled() => return,
                };
                if let Some(secured) = secured {
                    Box::pin(self.speak(secured)).await;
                }
            }
            None if self.shared.listen.tls.is_some() => {
                self.shared.secure.unexpected_plain(stream, &self.peer, &self.shared.listen.key).await;
            }
            None => {}
        }
    }

    /// Speaks HTTP.
    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let begun = tokio::select! {
            begun = begin(stream, FIRST_BYTE) => begun,
            () = self.shared.shutdown.cancelled() => return,
        };
        let Some(stream) = begun else { return };
        let activity = Arc::new(Activity::default());
        match self.shared.listen.pings {
            None => Box::pin(self.converse(stream, &activity)).await,
            Some(policy) => {
                let guarded = PingGuard::new(stream, policy, Arc::clone(&activity));
                Box::pin(self.converse(guarded, &activity)).await;
            }
        }
    }

    async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        activity: &Arc<Activity>,
    ) {
        let Self { peer, service: inner, shared } = self;
        let Shared { listen, shutdown, .. } = &*shared;
        let service = {
            let (activity, shared) = (Arc::clone(activity), Arc::clone(&shared));
            hyper::service::service_fn(move |request| {
                let (busy, shared) = (activity.begin(), Arc::clone(&shared));
                let answer = inner.clone().oneshot(request);
                // In a box: an idle HTTP/1.1 connection has room for one.
                Box::pin(async move {
                    let mut answer = answer.await?;
                    for (name, value) in &shared.listen.response_headers {
                        answer.headers_mut().insert(name, value.clone());
                    }
                    drop(busy);
                    Ok::<_, Infallible>(answer)
                })
            })
        };
        let builder = builder(listen);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let grace = tokio::select! {
            done = connection.as_mut() => return ended(peer, done),
            grace = end_of_life(listen, activity, shutdown) => grace,
        };
        connection.as_mut().graceful_shutdown();
        match grace {
            None => ended(peer, connection.await),
            Some(grace) => match tokio::time::timeout(grace, connection).await {
                Ok(done) => ended(peer, done),
                Err(_) => tracing::debug!("connection from {}: over its age and grace", peer),
            },
        }
    }
}

fn ended(peer: SocketAddr, done: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = done {
        tracing::debug!("connection from {peer}: {error}");
    }
}

async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    match tokio::time::timeout(FIRST_BYTE, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first[0]),
        _ => None,
    }
}

fn builder(listen: &Listen) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(listen.headers)
        .keep_alive(!listen.single_request);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(listen.keep_alive)
        .keep_alive_timeout(listen.keep_alive_answer)
        .max_concurrent_streams(listen.max_streams)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
