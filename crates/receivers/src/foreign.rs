//! Jaeger over gRPC and HTTP, and Zipkin: received as OTLP is, turned into OTLP, and handed on the same way.
//!
//! What must stay true: statuses are those of a Collector's receivers where those say what a sender must do, and the
//! ones of OTLP over HTTP where they would say "internal error" to everything; 202 is said after the push.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::BoxFuture;
use tonic::server::UnaryService;
use trackway_common::{Clock, ErrorKind, MemoryPool, Seldom, TenantId};
use trackway_distributor::{Push, PushError, PushRequest};
use trackway_foreign::{Error, Options, Protocol, Translated, jaeger, zipkin};

use crate::answer::{grpc_status, http_text, respond};
use crate::body::{Encoding, decompress, too_large};
use crate::counts::Counts;
use crate::meter::Meter;
use crate::tenant::tenant;
use crate::{CorsConfig, Listen, cors, grpc, http, listen};

/// The one method of Jaeger's collector.
const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";
/// Where Jaeger's clients post to.
const API_TRACES: &str = "/api/traces";
/// From here on, translation is moved off the threads that serve connections: some milliseconds.
const LARGE: usize = 64 << 10;
/// Jaeger's protobuf is about as large as OTLP, Zipkin's forms are larger: nobody who sends what may be sent becomes
/// larger than this many times the limit.
const GROWTH: usize = 2;
/// What is added to that for those whose limit is small.
const GROWTH_LEAST: usize = 64 << 10;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// `jaeger.api_v2.CollectorService`.
    JaegerGrpc,
    /// Jaeger's Thrift over HTTP.
    JaegerThriftHttp,
    /// Zipkin v1 and v2 over HTTP.
    Zipkin,
}

/// How one of them is received.
#[derive(Clone, Debug)]
pub struct ForeignConfig {
    /// What is spoken.
    pub protocol: ForeignProtocol,
    /// Largest body or message, decompressed (`max_request_body_size`, `max_recv_msg_size_mib`).
    pub max_bytes: usize,
    /// How long an HTTP body may take to arrive (`read_timeout`).
    pub body_time: Duration,
    /// Which web pages may send.
    pub cors: CorsConfig,
    /// Zipkin: tags that look like numbers, `true` or `false` become such.
    pub parse_string_tags: bool,
    /// Whether senders must name their tenant in `X-Scope-OrgID`.
    pub multitenancy: bool,
    /// The budget for what is being received.
    pub memory: MemoryPool,
    /// For spans that come without a time.
    pub clock: Arc<dyn Clock>,
    /// Where spans are counted.
    pub counts: Arc<Counts>,
}

/// Receives on one port until `shutdown`; then finishes what has begun.
///
/// # Errors
/// If the listener cannot be used at all. What goes wrong with one connection is that sender's matter.
pub async fn serve_foreign(
    listener: TcpListener,
    listen: Listen,
    mut config: ForeignConfig,
    push: Arc<dyn Push>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    config.cors = config.cors.on(&listener);
    let door = Arc::new(Door { config, push, refused: Seldom::default(), origins: Seldom::default() });
    let service = tower::service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(answer(door, request).await) }
    });
    listen::run(listener, listen, service, shutdown).await
}

/// What every request on a port shares.
struct Door {
    config: ForeignConfig,
    push: Arc<dyn Push>,
    /// Warnings about spans that were refused without the sender being told.
    refused: Seldom,
    /// Warnings about refused pages.
    origins: Seldom,
}

/// How a body is written, and what it is called where it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    PostSpans,
    JaegerThrift,
    V1Json,
    V1Thrift,
    V2Json,
    V2Proto,
}

impl Form {
    fn receiver(self) -> &'static str {
        if matches!(self, Self::PostSpans | Self::JaegerThrift) { "jaeger" } else { "zipkin" }
    }

    /// As the Collector names it.
    fn transport(self) -> &'static str {
        match self {
            Self::PostSpans => "grpc",
            Self::JaegerThrift => "collector_http",
            Self::V1Json => "http_v1_json",
            Self::V1Thrift => "http_v1_thrift",
            Self::V2Json => "http_v2_json",
            Self::V2Proto => "http_v2_proto",
        }
    }

    /// As it is told in the log.
    fn protocol(self) -> &'static str {
        match self {
            Self::PostSpans => "Jaeger gRPC",
            Self::JaegerThrift => "Jaeger Thrift over HTTP",
            Self::V1Json | Self::V1Thrift => "Zipkin v1",
            Self::V2Json | Self::V2Proto => "Zipkin v2",
        }
    }

    fn translate(self, body: &[u8], options: &Options) -> Result<Translated, Error> {
        match self {
            Self::PostSpans => jaeger::post_spans(body, options),
            Self::JaegerThrift => jaeger::http_body(body, Protocol::Binary, options),
            Self::V1Json => zipkin::v1_json(body, options),
            Self::V1Thrift => zipkin::v1_thrift(body, options),
            Self::V2Json => zipkin::v2_json(body, options),
            Self::V2Proto => zipkin::v2_proto(body, options),
        }
    }
}

/// What a limit on bodies means for what comes of them.
pub(crate) fn options(max_bytes: usize, parse_string_tags: bool, clock: &dyn Clock) -> Options {
    Options {
        max_output: max_bytes.saturating_mul(GROWTH).saturating_add(GROWTH_LEAST),
        parse_string_tags,
        now: clock.now(),
    }
}

async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    match door.config.protocol {
        ForeignProtocol::JaegerGrpc => post_spans(door, request).await,
        ForeignProtocol::JaegerThriftHttp => api_traces(&door, request).await,
        ForeignProtocol::Zipkin => api_spans(&door, request).await,
    }
}

async fn post_spans(door: Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != POST_SPANS {
        let text = format!("{} is not served here; spans go to {POST_SPANS}", request.uri().path());
        return Status::unimplemented(text).into_http();
    }
    let (memory, limit) = (door.config.memory.clone(), door.config.max_bytes);
    grpc::unary(|meter| PostSpans(door, meter), request, &memory, limit, true).await
}

struct PostSpans(Arc<Door>, Meter);

impl UnaryService<Bytes> for PostSpans {
    /// `PostSpansResponse` has no fields.
    type Response = ();
    type Future = BoxFuture<tonic::Response<()>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (door, meter) = (Arc::clone(&self.0), self.1.clone());
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let headers = metadata.into_headers();
            let done = door.take(&headers, Form::PostSpans, body, Encoding::Identity, &meter).await;
            done.map(tonic::Response::new).map_err(|error| grpc_status(&error))
        })
    }
}

async fn api_traces(door: &Door, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() != API_TRACES {
        return plain(StatusCode::NOT_FOUND, "404 page not found: the path is /api/traces");
    }
    if cors::is_preflight(&parts.method, &parts.headers) {
        let setting = "distributor.receivers.jaeger.protocols.thrift_http.cors.allowed_origins";
        return cors::preflight(&door.config.cors, &parts.headers, &door.origins, setting);
    }
    if parts.method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]");
    }
    let name = content_type(&parts.headers);
    let mut response = if ["application/x-thrift", "application/vnd.apache.thrift.binary"].contains(&&*name) {
        door.http(&parts.headers, body, Form::JaegerThrift).await
    } else {
        let shown: String = name.chars().filter(|c| !"<>&\"'".contains(*c)).take(100).collect();
        let text = format!("Unsupported content type: {shown}; send application/x-thrift");
        plain(StatusCode::BAD_REQUEST, &text)
    };
    cors::allow(&door.config.cors, &parts.headers, &mut response);
    response
}

/// Whatever path and method: what is no list of spans is refused for what it is, as in the Collector.
async fn api_spans(door: &Door, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if cors::is_preflight(&parts.method, &parts.headers) {
        let setting = "distributor.receivers.zipkin.cors.allowed_origins";
        return cors::preflight(&door.config.cors, &parts.headers, &door.origins, setting);
    }
    let is_v1 = parts.uri.path().contains("api/v1/spans");
    let form = match (is_v1, &*content_type(&parts.headers)) {
        (true, "application/x-thrift") => Form::V1Thrift,
        (true, _) => Form::V1Json,
        (false, "application/x-protobuf") => Form::V2Proto,
        (false, _) => Form::V2Json,
    };
    let mut response = door.http(&parts.headers, body, form).await;
    cors::allow(&door.config.cors, &parts.headers, &mut response);
    response
}

/// The content type without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let name = headers.get(CONTENT_TYPE).map_or(&b""[..], |name| name.as_bytes());
    let name = name.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

impl Door {
    async fn http(&self, headers: &HeaderMap, body: Incoming, form: Form) -> Response<Body> {
        let answer = async {
            let limit = self.config.max_bytes;
            let encoding = Encoding::parse(headers)?;
            let announced =
                headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
            if announced.is_some_and(|length| length > limit) {
                return Err(too_large(limit));
            }
            // Held until the push is done.
            let meter = Meter::new(&self.config.memory, headers, true, limit).await?;
            let body = http::read(meter.body(body, |broken| broken), limit, self.config.body_time).await?;
            self.take(headers, form, body, encoding, &meter).await
        };
        match answer.await {
            Ok(()) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(error) => http_text(&error),
        }
    }

    /// Translates a body and hands it over.
    async fn take(
        &self,
        headers: &HeaderMap,
        form: Form,
        body: Bytes,
        encoding: Encoding,
        meter: &Meter,
    ) -> Result<(), PushError> {
        let tenant = tenant(headers, self.config.multitenancy)?;
        let limit = self.config.max_bytes;
        let options = options(limit, self.config.parse_string_tags, &*self.config.clock);
        let meter = meter.clone();
        let translate = move |body: Bytes| {
            let body = decompress(body, encoding, limit, &meter)?;
            // What comes of it is about as large.
            meter.cover(body.len().saturating_mul(2))?;
            form.translate(&body, &options).map_err(|error| refusal(&error))
        };
        let translated = if body.len() < LARGE {
            translate(body)
        } else {
            let done = tokio::task::spawn_blocking(move || translate(body)).await;
            done.unwrap_or_else(|error| Err(PushError::new(ErrorKind::Internal, error.to_string())))
        };
        let sender = headers.get(::http::header::USER_AGENT);
        let sender = sender.and_then(|name| str::from_utf8(name.as_bytes()).ok()).map(str::to_owned);
        let handed = Handed {
            push: &*self.push,
            counts: &self.config.counts,
            refused: &self.refused,
            receiver: form.receiver(),
            transport: form.transport(),
            protocol: form.protocol(),
        };
        handed.over(translated?, tenant, sender).await
    }
}

/// What a sender is told whose request cannot be translated.
pub(crate) fn refusal(error: &Error) -> PushError {
    let kind = if matches!(error, Error::TooLarge(_)) { ErrorKind::TooLarge } else { ErrorKind::Invalid };
    PushError::new(kind, error.to_string())
}

/// Handing over what was translated, counted; for UDP too.
pub(crate) struct Handed<'a> {
    pub(crate) push: &'a dyn Push,
    pub(crate) counts: &'a Counts,
    pub(crate) refused: &'a Seldom,
    pub(crate) receiver: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) protocol: &'static str,
}

impl Handed<'_> {
    pub(crate) async fn over(
        &self,
        translated: Translated,
        tenant: TenantId,
        sender: Option<String>,
    ) -> Result<(), PushError> {
        let Translated { protobuf, spans, refused, reasons } = translated;
        let (met, lost) = (count(spans + refused), count(refused));
        if spans == 0 && refused == 0 {
            return Ok(()); // an empty list is no mistake
        }
        if lost > 0 {
            Counts::lost(self.push, &tenant, lost, reasons.iter().map(|(_, reason)| reason.as_str()));
        }
        let request = PushRequest { tenant, body: protobuf.into(), protocol: self.protocol, sender };
        let response = match self.push.push(request).await {
            Ok(response) => response,
            Err(error) => {
                self.counts.spans(self.receiver, self.transport, 0, met);
                return Err(error);
            }
        };
        let refused = lost + count(response.refused.len());
        self.counts.spans(self.receiver, self.transport, met.saturating_sub(refused), refused);
        // These protocols have no way to tell a sender that some of it was bad.
        let reason = reasons.first().map(|(_, reason)| reason);
        let reason = reason.or(response.refused.first().map(|(_, reason)| reason));
        if let Some(reason) = reason
            && self.refused.due()
        {
            tracing::warn!("{refused} of {met} spans by {} refused: {reason}", self.protocol);
        }
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
