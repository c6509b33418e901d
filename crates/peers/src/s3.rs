//! S3 in this process, over a folder, that fails, waits or forgets conditions on demand, and counts what it is asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The key that the server knows.
pub const ACCESS_KEY: &str = "tempo";
/// Its secret.
pub const SECRET_KEY: &str = "supersecret";

/// What happens to requests.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Of this method.
    pub method: Method,
    /// Whose path and query have this text.
    pub at: String,
    /// How often.
    pub times: u32,
    /// How long they wait first.
    pub delay: Duration,
    /// What they are answered, with S3's code; `None` lets them through.
    pub answer: Option<(u16, &'static str)>,
    /// Whether they are done first, so that only the answer is lost.
    pub lost: bool,
}

impl Fault {
    /// Answers every request of a method with this status and code.
    pub fn always(method: Method, status: u16, code: &'static str) -> Self {
        let answer = Some((status, code));
        Self { method, at: String::new(), times: u32::MAX, delay: Duration::ZERO, answer, lost: false }
    }

    /// Only the next ones.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Only those whose path and query have this text.
    #[must_use]
    pub fn at(self, at: &str) -> Self {
        Self { at: at.to_owned(), ..self }
    }

    /// Lets the next request of a method through, late.
    pub fn late(method: Method, delay: Duration) -> Self {
        Self { method, at: String::new(), times: 1, delay, answer: None, lost: false }
    }

    /// Does the next request of a method and loses the answer.
    pub fn lost(method: Method) -> Self {
        Self { lost: true, ..Self::always(method, 500, "InternalError").times(1) }
    }
}

/// How the server speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificate and key, PEM files.
    pub own: (String, String),
    /// The authority that clients must show a certificate of.
    pub clients: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    ignore_conditions: bool,
    seen: Vec<(Method, String, http::HeaderMap)>,
}

/// A running server; it ends with the value.
#[derive(Debug)]
pub struct S3Server {
    /// Host and port.
    pub endpoint: String,
    folder: TempDir,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl S3Server {
    /// Starts a server with these buckets on a free loopback port.
    pub fn start(buckets: &[&str]) -> Self {
        Self::start_with(buckets, None)
    }

    /// The same, with TLS.
    pub fn start_with(buckets: &[&str], tls: Option<Tls>) -> Self {
        Self::begin(buckets, tls, Speech::S3)
    }

    /// The same as Google's XML API, which is S3's but for the keys and the condition of a creation. Anybody may ask.
    pub fn start_like_google(buckets: &[&str]) -> Self {
        Self::begin(buckets, None, Speech::Google)
    }

    fn begin(buckets: &[&str], tls: Option<Tls>, speech: Speech) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("a folder"));
        if speech == Speech::S3 {
            builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        }
        let state = Arc::new(Mutex::new(State::default()));
        let service = Faulty {
            inner: builder.build(),
            state: Arc::clone(&state),
            folder: folder.path().to_owned(),
            creation: Arc::default(),
            speech,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let endpoint = listener.local_addr().expect("an address").to_string();
        runtime.spawn(serve(listener, service, tls.map(|tls| acceptor(&tls))));
        Self { endpoint, folder, state, runtime: Some(runtime) }
    }

    /// Lets something happen to requests; of several that fit, the first does.
    pub fn fault(&self, fault: Fault) {
        self.state.lock().expect("no panic").faults.push(fault);
    }

    /// Nothing happens to requests any more.
    pub fn heal(&self) {
        self.state.lock().expect("no panic").faults.clear();
    }

    /// Creates what is there already, as MinIO did before May 2024.
    pub fn ignore_conditions(&self) {
        self.state.lock().expect("no panic").ignore_conditions = true;
    }

    /// The requests since the last call: method, path and query, headers.
    pub fn seen(&self) -> Vec<(Method, String, http::HeaderMap)> {
        std::mem::take(&mut self.state.lock().expect("no panic").seen)
    }

    /// The folder that a bucket is.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Not waiting: it may be dropped where blocking is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn acceptor(tls: &Tls) -> TlsAcceptor {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = |path: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(path).expect("a PEM file").map(|c| c.expect("a certificate")).collect()
    };
    let builder = match &tls.clients {
        None => rustls::ServerConfig::builder().with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            certificates(authority).into_iter().for_each(|c| roots.add(c).expect("an authority"));
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
            rustls::ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&tls.own.1).expect("a key");
    let config = builder.with_single_cert(certificates(&tls.own.0), key).expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: std::net::TcpListener, service: Faulty, tls: Option<TlsAcceptor>) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    while let Ok((socket, _)) = listener.accept().await {
        let (service, tls) = (service.clone(), tls.clone());
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            // What a client does wrong is the client's to report.
            match tls {
                None => drop(server.serve_connection(TokioIo::new(socket), service).await),
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        drop(server.serve_connection(TokioIo::new(socket), service).await);
                    }
                }
            }
        });
    }
}

#[derive(Clone)]
struct Faulty {
    inner: S3Service,
    state: Arc<Mutex<State>>,
    folder: PathBuf,
    /// s3s-fs looks first and writes then; between the two, others wait.
    creation: Arc<tokio::sync::Mutex<()>>,
    speech: Speech,
}

/// Whose dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    S3,
    Google,
}

impl Faulty {
    async fn ask(self, mut request: Request<Incoming>, forget: bool) -> Result<HttpResponse, HttpError> {
        if self.speech == Speech::Google {
            request.headers_mut().remove(http::header::AUTHORIZATION);
        }
        if self.speech == Speech::Google
            && request.headers().get("x-goog-if-generation-match").is_some_and(|generation| generation == "0")
        {
            request.headers_mut().insert(http::header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
        }
        let conditional = request.headers().contains_key(http::header::IF_NONE_MATCH);
        let _turn = if conditional { Some(self.creation.lock().await) } else { None };
        if conditional && forget {
            // The header is signed and must stay: what it asks about goes instead.
            let _ = std::fs::remove_file(self.folder.join(request.uri().path().trim_start_matches('/')));
        }
        hyper::service::Service::call(&self.inner, request).await
    }
}

impl hyper::service::Service<Request<Incoming>> for Faulty {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<HttpResponse, HttpError>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let (fault, forget) = {
            let mut state = self.state.lock().expect("no panic");
            state.seen.push((request.method().clone(), target.clone(), request.headers().clone()));
            let fits = |fault: &&mut Fault| {
                fault.times > 0 && fault.method == *request.method() && target.contains(&fault.at)
            };
            let fault = state.faults.iter_mut().find(fits).map(|fault| {
                fault.times -= 1;
                fault.clone()
            });
            (fault, state.ignore_conditions)
        };
        let inner = self.clone();
        Box::pin(async move {
            let Some(fault) = fault else { return inner.ask(request, forget).await };
            tokio::time::sleep(fault.delay).await;
            match fault.answer {
                None => inner.ask(request, forget).await,
                Some((status, code)) => {
                    if fault.lost {
                        drop(inner.ask(request, forget).await);
                    }
                    Ok(refusal(status, code))
                }
            }
        })
    }
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on demand</Message></Error>");
    let mut response = HttpResponse::new(Body::from(bytes::Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}
