//! One forwarder's endpoints: OTLP over gRPC, tried again while that can help.
//!
//! What must stay true: no request is tried for longer than [`GIVE_UP`], no attempt takes longer than [`ATTEMPT`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use trackway_common::{Random, TenantId};
use trackway_proto::collector::ExportTraceServiceResponse;
use trackway_proto::{RawSendCodec, rpc};
use trackway_tls::{TlsConfig, client_config};

use crate::numbers::{Numbers, add};
use crate::{ForwardError, OtlpGrpc};

/// How long one attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a request is tried altogether.
pub const GIVE_UP: Duration = Duration::from_secs(300);
/// The first pause between two attempts; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What gRPC is spoken over.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) place: String,
    channel: Channel,
}

/// Why a request did not arrive.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) place: String,
    pub(crate) status: Status,
}

/// The clients of a forwarder; connections are made when they are needed, and again when they break.
pub(crate) fn clients(name: &str, settings: &OtlpGrpc) -> Result<Vec<Client>, ForwardError> {
    let tls = if settings.insecure {
        None
    } else {
        let config = TlsConfig { ca_path: settings.cert_file.clone(), ..TlsConfig::default() };
        let mut config = client_config(&config)
            .map_err(|error| ForwardError::new(name, format!("otlpgrpc.tls.cert_file {}", error.problem)))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(TlsConnector::from(Arc::new(config)))
    };
    settings.endpoints.iter().map(|place| client(name, place, tls.clone())).collect()
}

fn client(name: &str, place: &str, tls: Option<TlsConnector>) -> Result<Client, ForwardError> {
    let wrong = || {
        ForwardError::new(
            name,
            format!("otlpgrpc.endpoints has \"{place}\"; write host:port, such as tempo:4317"),
        )
    };
    let bare = place.trim_start_matches("dns:").trim_start_matches('/');
    let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let origin = |scheme: &str| format!("{scheme}://{bare}").parse::<Uri>().map_err(|_| wrong());
    let server = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
    // TLS is the connector's matter: the address itself is always `http`.
    let endpoint = Endpoint::from(origin("http")?)
        .origin(origin(if tls.is_some() { "https" } else { "http" })?)
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .user_agent(concat!("trackway/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| wrong())?;
    let connect = move |_: Uri| {
        let (host, server, tls) = (host.clone(), server.clone(), tls.clone());
        async move {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Wire> = match tls {
                None => Box::new(stream),
                Some(tls) => Box::new(tls.connect(server, stream).await?),
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    };
    let channel = endpoint.connect_with_connector_lazy(tower::service_fn(connect));
    Ok(Client { place: place.to_owned(), channel })
}

impl Client {
    /// Sends a request until it arrives, cannot arrive, or has been tried for long enough.
    pub(crate) async fn send(
        &self,
        tenant: &TenantId,
        body: &Bytes,
        numbers: &Numbers,
        random: &dyn Random,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let status = match tokio::time::timeout(ATTEMPT, self.export(tenant, body.clone())).await {
                Ok(Ok(answer)) => {
                    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
                    add(&numbers.rejected_spans, u64::try_from(rejected).unwrap_or(0));
                    return Ok(());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {ATTEMPT:?}")),
            };
            add(&numbers.attempts_failed, 1);
            let wait = wished(&status).unwrap_or_default().max(jittered(pause, random));
            if !may_help(&status) || began.elapsed() + wait > GIVE_UP {
                return Err(Failed { place: self.place.clone(), status });
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn export(&self, tenant: &TenantId, body: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(body);
        if *tenant != TenantId::single() {
            let name = MetadataValue::try_from(tenant.as_str())
                .map_err(|_| Status::invalid_argument("the tenant's name cannot be sent"))?;
            request.metadata_mut().insert("x-scope-orgid", name);
        }
        let codec = RawSendCodec::<ExportTraceServiceResponse>::default();
        let answer = grpc.unary(request, PathAndQuery::from_static(EXPORT), codec).await?;
        Ok(answer.into_inner())
    }
}

/// Whether the same request may be taken later: OTLP's list, and what breaks on the way.
fn may_help(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unknown
    ) || (status.code() == Code::ResourceExhausted && wished(status).is_some())
}

/// How long the server asks to wait, as far as that is granted.
fn wished(status: &Status) -> Option<Duration> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let info = details.into_iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = rpc::RetryInfo::decode(info.value).ok()?.retry_delay.unwrap_or_default();
    let delay = Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(delay.min(GIVE_UP))
}

/// Between three quarters and all of a pause, so that many do not come back at once.
fn jittered(pause: Duration, random: &dyn Random) -> Duration {
    let [first, ..] = *random.uuid().as_bytes();
    pause.mul_f64(0.75 + f64::from(first) / 1024.0)
}
