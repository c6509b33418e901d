//! `GET /api/traces/{id}` and its second version. They differ in what they say when there is no such trace, and in
//! where they can say that something is missing.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use trackway_common::{ErrorKind, TraceId};
use trackway_otlpjson::json::{Object, write_string, write_u64_string};
use trackway_otlpjson::{LlmAnswer, Style, write_llm_json, write_trace_json};
use trackway_querier::service::{Completeness, QueryError, TraceAnswer, TraceRequest};

use crate::answer::{Form, PROTOBUF, form, json, llm, mark, protobuf, protobuf_bytes};
use crate::context::ApiState;
use crate::error::{ApiError, TEXT, text};
use crate::query_string::{QueryString, decode};
use crate::router::clean;
use crate::{convert, params};

const PARTIAL: &str = "PARTIAL";

/// Where traces of any size can be had.
pub(crate) const WHOLE: &str = "/api/trackway/v1/traces";
/// Says so in an answer that a limit cut.
const WHOLE_TRACE: HeaderName = HeaderName::from_static("x-trackway-whole-trace");

/// Answers `/api/traces/{id}`.
pub(crate) async fn v1(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let answer = find(&state, request.headers(), request.uri()).await?;
    if let Some(limit) = answer.too_large {
        let text = format!("trace exceeds max size (max bytes: {limit})");
        let error = ApiError::from(QueryError::new(ErrorKind::TooLarge, text));
        return Ok(with_rest(error.into_response(), &state, request.uri()));
    }
    let Some(trace) = answer.trace else {
        return Ok(mark(text(StatusCode::NOT_FOUND, TEXT, ""), &answer.completeness));
    };
    let response = if form(request.headers()) == Form::Protobuf {
        protobuf_bytes(trace)
    } else {
        let mut out = Vec::with_capacity(trace.len() * 2);
        write_trace_json(&trace, Style::V1Batches, &mut out).map_err(|error| damaged(&error))?;
        json(out)
    };
    Ok(mark(response, &answer.completeness))
}

/// Answers `/api/v2/traces/{id}`.
pub(crate) async fn v2(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let answer = find(&state, request.headers(), request.uri()).await?;
    let (completeness, too_large) = (answer.completeness.clone(), answer.too_large);
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&convert::trace_by_id(answer)),
        Form::Json => json(v2_json(&answer)?),
        Form::Llm => llm(llm_json(&answer)?),
    };
    let response = mark(response, &completeness);
    Ok(if too_large.is_some() { with_rest(response, &state, request.uri()) } else { response })
}

/// Says where all of the trace can be had.
fn with_rest(mut response: Response, state: &ApiState, uri: &Uri) -> Response {
    let path = format!("{}{WHOLE}/{}", clean(&state.config.http_api_prefix), last_segment(uri));
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(WHOLE_TRACE, path);
    }
    response
}

/// Answers `/api/trackway/v1/traces/{id}`: all of a trace, however large, as it is read. In protobuf it is one `Trace`
/// message; in JSON it has a line for each piece, as OpenTelemetry's file exporters write them. An answer that breaks off
/// is not whole.
pub(crate) async fn whole(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, guard) = state.begin(request.headers())?;
    let id: TraceId =
        last_segment(request.uri()).parse().map_err(|error| ApiError::bad(format!("{error}")))?;
    let range = params::trace_range(&QueryString::parse(request.uri().query()))?;
    let mut pieces = state.query.trace_pieces(ctx, TraceRequest { id, range });
    // What is known before the first piece still has a status of its own.
    let first = match pieces.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(error.into()),
        None => return Err(QueryError::new(ErrorKind::Cancelled, "the request was cancelled").into()),
    };
    let is_protobuf = form(request.headers()) == Form::Protobuf;
    let line = move |piece: Bytes| -> Result<Bytes, QueryError> {
        if is_protobuf {
            return Ok(piece);
        }
        let mut out = Vec::with_capacity(piece.len() * 2);
        write_trace_json(&piece, Style::V2ResourceSpans, &mut out)
            .map_err(|error| QueryError::new(ErrorKind::Internal, error.to_string()))?;
        out.push(b'\n');
        Ok(out.into())
    };
    let pieces = futures::stream::iter([Ok(first)]).chain(pieces);
    let body = pieces.map(move |piece| {
        let _until_the_end = &guard;
        piece.and_then(&line)
    });
    let kind = if is_protobuf { PROTOBUF } else { "application/x-ndjson" };
    Ok(text(StatusCode::OK, kind, Body::from_stream(body)))
}

async fn find(state: &ApiState, headers: &HeaderMap, uri: &Uri) -> Result<TraceAnswer, ApiError> {
    let (ctx, _guard) = state.begin(headers)?;
    let id: TraceId = last_segment(uri).parse().map_err(|error| ApiError::bad(format!("{error}")))?;
    let query = QueryString::parse(uri.query());
    params::trace_mode(&query)?;
    let range = params::trace_range(&query)?;
    state.within(state.query.trace(ctx, TraceRequest { id, range })).await
}

fn last_segment(uri: &Uri) -> String {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    decode(segment, false).unwrap_or_else(|| segment.to_owned())
}

fn v2_json(answer: &TraceAnswer) -> Result<Vec<u8>, ApiError> {
    let trace = answer.trace.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(128 + trace.len() * 2);
    let mut object = Object::begin(&mut out);
    write_trace_json(trace, Style::V2ResourceSpans, object.key("trace")).map_err(|error| damaged(&error))?;
    let mut metrics = Object::begin(object.key("metrics"));
    if answer.metrics.inspected_bytes > 0 {
        write_u64_string(metrics.key("inspectedBytes"), answer.metrics.inspected_bytes);
    }
    metrics.end();
    if let Completeness::Partial(why) = &answer.completeness {
        write_string(object.key("status"), PARTIAL);
        write_string(object.key("message"), why);
    }
    object.end();
    Ok(out)
}

fn llm_json(answer: &TraceAnswer) -> Result<Vec<u8>, ApiError> {
    let (status, message) = match &answer.completeness {
        Completeness::Complete => ("", ""),
        Completeness::Partial(why) => (PARTIAL, why.as_str()),
    };
    let about = LlmAnswer { inspected_bytes: answer.metrics.inspected_bytes, status, message };
    let mut out = Vec::new();
    write_llm_json(answer.trace.as_deref().unwrap_or_default(), about, &mut out)
        .map_err(|error| damaged(&error))?;
    Ok(out)
}

fn damaged(error: &trackway_otlpjson::Error) -> ApiError {
    QueryError::new(ErrorKind::Internal, format!("the trace cannot be shown: {error}")).into()
}
