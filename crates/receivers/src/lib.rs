//! Where spans come in: OTLP over gRPC and over HTTP, on any port that is given; Jaeger and Zipkin, turned into OTLP.
//!
//! What must stay true: a sender has its OK only after [`trackway_distributor::Push::push`] returned `Ok`; what it
//! reads after a mistake says what to do about it; no sender can make this process hold more than the limits say.

mod answer;
mod body;
mod cors;
mod counts;
mod export;
mod foreign;
mod grpc;
mod http;
pub mod listen;
mod meter;
mod route;
mod tenant;
mod udp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trackway_common::MemoryPool;
use trackway_distributor::Push;

pub use counts::Counts;
pub use foreign::{ForeignConfig, ForeignProtocol, serve_foreign};
pub use listen::{Listen, PingPolicy};
pub use trackway_foreign::Protocol as ThriftProtocol;
pub use udp::{UdpConfig, serve_udp};

/// How OTLP is received.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// Where OTLP over gRPC is expected, as `host:port`. Whoever binds the listeners reads it; both protocols are
    /// understood on either port.
    pub grpc: Option<String>,
    /// Where OTLP over HTTP is expected, as `host:port`.
    pub http: Option<String>,
    /// Largest gRPC message, decompressed (`max_recv_msg_size_mib`).
    pub max_recv_bytes: usize,
    /// Largest HTTP body, decompressed (`max_request_body_size`).
    pub max_body_bytes: usize,
    /// How long an HTTP body may take to arrive (`read_timeout`).
    pub body_time: Duration,
    /// The path that takes spans over HTTP (`traces_url_path`).
    pub path: String,
    /// Which web pages may send.
    pub cors: CorsConfig,
    /// Whether senders must name their tenant in `X-Scope-OrgID`.
    pub multitenancy: bool,
    /// The budget for what is being received (`trackway.memory.limit`).
    pub memory: MemoryPool,
    /// Where spans are counted.
    pub counts: Arc<Counts>,
}

/// Which web pages may send spans from a browser.
#[derive(Clone, Debug, Default)]
pub struct CorsConfig {
    /// `https://shop.example`, with `*` for any text; `*` alone for every page. Empty for none.
    pub allowed_origins: Vec<String>,
    /// Headers that pages may send besides the harmless ones; `*` for all.
    pub allowed_headers: Vec<String>,
    /// Headers of answers that pages may read.
    pub exposed_headers: Vec<String>,
    /// How long a browser may remember the answer.
    pub max_age: Duration,
    /// Whether pages of this machine (`http://localhost:5173`) may send without being named, with any header. For ports
    /// that only this machine reaches.
    pub loopback: bool,
}

impl CorsConfig {
    /// As they are on this port: without a word about pages, those of this machine may send to a port of this machine.
    fn on(mut self, listener: &TcpListener) -> Self {
        let local = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        self.loopback = local && self.allowed_origins.is_empty();
        self
    }
}

/// How long a body may take to arrive, unless said otherwise.
pub const BODY_TIME: Duration = Duration::from_secs(60);

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            grpc: Some("127.0.0.1:4317".to_owned()),
            http: Some("127.0.0.1:4318".to_owned()),
            max_recv_bytes: 4 << 20,
            max_body_bytes: 20 << 20,
            body_time: BODY_TIME,
            path: "/v1/traces".to_owned(),
            cors: CorsConfig::default(),
            multitenancy: false,
            memory: MemoryPool::unlimited(),
            counts: Arc::default(),
        }
    }
}

/// Receives OTLP on one port, gRPC and HTTP alike, until `shutdown`; then finishes what has begun.
///
/// # Errors
/// If the listener cannot be used at all. What goes wrong with one connection is that sender's matter.
pub async fn serve(
    listener: TcpListener,
    listen: Listen,
    mut config: OtlpConfig,
    push: Arc<dyn Push>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    config.cors = config.cors.on(&listener);
    let door = Arc::new(route::Door::new(config, push));
    let service = tower::service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, std::convert::Infallible>(route::answer(door, request).await) }
    });
    listen::run(listener, listen, service, shutdown).await
}
