//! A receiver on a loopback port: it gives the answers that it was told, else 204, and keeps the requests.

#![allow(clippy::expect_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use trackway_peers::Authority;
use trackway_remote_write::Endpoint;
use trackway_tls::{ClientAuth, Pem, ServerTls, ServerTlsConfig, Version};

/// Largest request that is read.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request that came in.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) method: Method,
    /// With the parameters.
    pub(crate) path: String,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_str().expect("a readable header").to_owned())
    }
}

/// An answer to give.
pub(crate) struct Reply {
    /// `None` never answers.
    status: Option<StatusCode>,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        let status = Some(StatusCode::from_u16(status).expect("a status"));
        Self { status, headers: HeaderMap::new(), body: String::new() }
    }

    pub(crate) fn never() -> Self {
        Self { status: None, ..Self::new(200) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(crate) fn saying(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
}

#[derive(Default)]
struct Kept {
    replies: Mutex<VecDeque<Reply>>,
    got: Mutex<Vec<Got>>,
    connections: AtomicUsize,
}

/// The receiver; it ends with this value.
pub(crate) struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    kept: Arc<Kept>,
    task: AbortHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// With a certificate of this authority, and clients have to show one of it too when it `demands` that.
    pub(crate) async fn with_tls(authority: &Authority, demands: bool) -> Self {
        let (cert, key) = authority.issue("127.0.0.1");
        let config = ServerTlsConfig {
            section: "test".to_owned(),
            cipher_suites_key: "test".to_owned(),
            cert: Pem::File(cert),
            key: Pem::File(key),
            client_ca: demands.then(|| Pem::File(authority.certificate())),
            client_auth: if demands { ClientAuth::RequireAndVerify } else { ClientAuth::None },
            system_authorities: false,
            min_version: Version::Tls12,
            max_version: Version::Tls13,
            cipher_suites: Vec::new(),
            curves: vec!["X25519".to_owned()],
        };
        Self::listen(Some(TlsAcceptor::from(ServerTls::open(config).expect("TLS").current()))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::new(Kept::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let counted = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let (app, tls) = (TowerToHyperService::new(app.clone()), tls.clone());
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // What breaks the connection, the client notices.
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), app).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(server.serve_connection(TokioIo::new(stream), app).await);
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, kept, task: task.abort_handle() }
    }

    /// An endpoint with nothing but the address.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { url: format!("{}://{}/api/v1/push", self.scheme, self.address), ..Endpoint::default() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Gives this answer, after those that were told before.
    pub(crate) fn answer(&self, reply: Reply) {
        self.kept.replies.lock().push_back(reply);
    }

    /// The requests since the last time.
    pub(crate) fn take(&self) -> Vec<Got> {
        std::mem::take(&mut *self.kept.got.lock())
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.kept.connections.load(Ordering::SeqCst)
    }
}

async fn answer(State(kept): State<Arc<Kept>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.expect("a whole request");
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    kept.got.lock().push(Got { method: parts.method, path, headers: parts.headers, body });
    let reply = kept.replies.lock().pop_front().unwrap_or_else(|| Reply::new(204));
    match reply.status {
        Some(status) => (status, reply.headers, reply.body).into_response(),
        None => std::future::pending().await,
    }
}
