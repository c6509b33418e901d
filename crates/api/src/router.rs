//! Which path leads where, for HTTP and gRPC on one port, and the counting of requests on the way.
//!
//! What must stay true: any method is taken where Tempo takes any; the label `route` comes from the table of paths,
//! never from the request.

use std::io;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, Method, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codec::CompressionEncoding::Gzip;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use trackway_proto::health::health_server::HealthServer;
use trackway_proto::tempopb::querier_server::QuerierServer;
use trackway_proto::tempopb::streaming_querier_server::StreamingQuerierServer;
use trackway_receivers::Listen;

use crate::context::{ApiState, tenants};
use crate::grpc::{MAX_MESSAGE, Streaming};
use crate::health::Health;
use crate::metrics::route_name;
use crate::querier_grpc::Querier;
use crate::{ops, overrides, own_overrides, redactions, search, tags, tail, trace, ts_metrics};

/// Paths behind the prefix, as they are shown.
const PREFIXED: [&str; 16] = [
    "/api/echo",
    "/api/metrics/query",
    "/api/metrics/query_range",
    "/api/overrides",
    "/api/search",
    "/api/search/tag/{name}/values",
    "/api/search/tags",
    "/api/status/buildinfo",
    "/api/trackway/v1/redactions",
    "/api/trackway/v1/redactions/{id}",
    "/api/trackway/v1/tail",
    "/api/trackway/v1/traces/{id}",
    "/api/traces/{id}",
    "/api/v2/search/tag/{name}/values",
    "/api/v2/search/tags",
    "/api/v2/traces/{id}",
];
/// The other paths, with their methods.
const PLAIN: [(&str, &str); 18] = [
    ("/", "GET"),
    ("/flush", "GET,POST"),
    ("/metrics", "GET"),
    ("/metrics/generated", "GET"),
    ("/ready", "GET"),
    ("/shutdown", "GET,POST"),
    ("/status", "GET"),
    ("/status/blocks", "GET"),
    ("/status/config", "GET"),
    ("/status/endpoints", "GET"),
    ("/status/memory", "GET"),
    ("/status/overrides", "GET"),
    ("/status/overrides/{tenant}", "GET"),
    ("/status/runtime_config", "GET"),
    ("/status/services", "GET"),
    ("/status/version", "GET"),
    ("/tempopb.StreamingQuerier/{method}", "gRPC"),
    ("/usage_metrics", "GET"),
];

/// Every path with its methods, for `/status/endpoints`.
pub(crate) fn endpoints(prefix: &str) -> Vec<(String, &'static str)> {
    let prefixed = PREFIXED.iter().map(|path| (format!("{}{path}", clean(prefix)), "any"));
    prefixed.chain(PLAIN.iter().map(|(path, methods)| ((*path).to_owned(), *methods))).collect()
}

/// A prefix begins with a slash and does not end with one.
pub(crate) fn clean(prefix: &str) -> String {
    let inner = prefix.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
}

/// The whole surface: HTTP and gRPC.
pub fn router(state: ApiState) -> Router {
    let prefix = clean(&state.config.http_api_prefix);
    let at = |path: &str| format!("{prefix}{path}");
    let http = Router::new()
        .route(&at("/api/echo"), any(ops::echo))
        .route(&at("/api/search"), any(search::search))
        .route(&at("/api/traces/{id}"), any(trace::v1))
        .route(&at("/api/v2/traces/{id}"), any(trace::v2))
        .route(&at(&format!("{}/{{id}}", trace::WHOLE)), any(trace::whole))
        .route(&at(own_overrides::PATH), any(own_overrides::answer))
        .route(&at(redactions::PATH), any(redactions::all))
        .route(&at(&format!("{}/{{id}}", redactions::PATH)), any(redactions::one))
        .route(&at("/api/search/tags"), any(tags::names_v1))
        .route(&at("/api/v2/search/tags"), any(tags::names_v2))
        .route(&at("/api/search/tag/{*rest}"), any(tags::values_v1))
        .route(&at("/api/v2/search/tag/{*rest}"), any(tags::values_v2))
        .route(&at("/api/metrics/query_range"), any(ts_metrics::range))
        .route(&at("/api/metrics/query"), any(ts_metrics::instant))
        .route(&at("/api/status/buildinfo"), any(ops::build_info))
        .route("/", get(ops::home))
        .route("/ready", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .route("/metrics/generated", get(ops::generated_metrics))
        .route("/usage_metrics", get(ops::usage_metrics))
        .route("/status", get(ops::status))
        .route("/status/overrides", get(overrides::all))
        .route("/status/overrides/{tenant}", get(overrides::one))
        .route("/status/{page}", get(ops::status))
        .route("/flush", get(ops::flush).post(ops::flush))
        .route("/shutdown", get(ops::shutdown).post(ops::shutdown))
        .layer(CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest))
        .with_state(state.clone());
    // Not compressed: what is compressed waits until there is more of it.
    let http = http.merge(Router::new().route(&at(tail::PATH), get(tail::answer)).with_state(state.clone()));
    // A panic is one asker's misfortune: others on the same connection go on.
    let all = http.merge(grpc(&state)).fallback(nothing).layer(CatchPanicLayer::new());
    all.layer(from_fn_with_state(state, count))
}

fn grpc(state: &ApiState) -> Router {
    let streaming = StreamingQuerierServer::new(Streaming(state.clone()))
        .accept_compressed(Gzip)
        .send_compressed(Gzip)
        .max_decoding_message_size(MAX_MESSAGE);
    let querier = QuerierServer::new(Querier(state.clone()))
        .accept_compressed(Gzip)
        .send_compressed(Gzip)
        .max_decoding_message_size(MAX_MESSAGE);
    Router::new()
        .route_service("/tempopb.StreamingQuerier/{method}", streaming)
        .route_service("/tempopb.Querier/{method}", querier)
        .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(Health(state.clone())))
}

async fn nothing(request: Request) -> Response {
    if is_grpc(request.headers()) {
        return Status::unimplemented(format!("unknown method {}", request.uri().path())).into_http();
    }
    ops::not_found().await.into_response()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|name| name.as_bytes().starts_with(b"application/grpc"))
}

/// Counts a request and how long its answer took to begin.
async fn count(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let began = state.clock.monotonic();
    let grpc = is_grpc(request.headers());
    let method = if grpc { "gRPC" } else { method_name(request.method()) };
    let route = match request.extensions().get::<MatchedPath>() {
        None => "notfound".to_owned(),
        Some(path) if grpc && path.as_str().ends_with("/{method}") => request.uri().path().to_owned(),
        Some(path) => route_name(path.as_str()),
    };
    let tenants = tenants(request.headers(), &state.config).unwrap_or_default();
    let response = next.run(request).await;
    let status = if grpc { grpc_outcome(&response) } else { response.status().as_str().to_owned() };
    // A method that does not exist is a name that the asker made up.
    let route = if status == "unimplemented" { "unknown".to_owned() } else { route };
    let took = state.clock.monotonic().saturating_sub(began);
    state.metrics.observe(method, &route, &status, took.as_secs_f64());
    for tenant in &tenants {
        state.metrics.asked(&route, tenant.as_str(), &status);
    }
    response
}

fn grpc_outcome(response: &Response) -> String {
    match Status::from_header_map(response.headers()).map(|status| status.code()) {
        None | Some(tonic::Code::Ok) => "success".to_owned(),
        Some(tonic::Code::Unimplemented) => "unimplemented".to_owned(),
        Some(tonic::Code::Cancelled) => "cancel".to_owned(),
        Some(_) => "error".to_owned(),
    }
}

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Serves HTTP/1.1 and HTTP/2 on one port until `shutdown`, then finishes what has begun.
///
/// # Errors
/// If the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    listen: Listen,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    trackway_receivers::listen::run(listener, listen, router, shutdown).await
}
