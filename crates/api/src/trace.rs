//! `GET /api/traces/{id}` and its second version. They differ in what they say when there is no such trace, and in
//! where they can say that something is missing.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use trackway_common::{ErrorKind, TraceId};
use trackway_otlpjson::json::{Object, write_string, write_u64_string};
use trackway_otlpjson::{LlmAnswer, Style, write_llm_json, write_trace_json};
use trackway_querier::service::{Completeness, QueryError, TraceAnswer, TraceRequest};

use crate::answer::{Form, form, json, llm, mark, protobuf, protobuf_bytes};
use crate::context::ApiState;
use crate::error::{ApiError, TEXT, text};
use crate::query_string::{QueryString, decode};
use crate::{convert, params};

const PARTIAL: &str = "PARTIAL";

/// Answers `/api/traces/{id}`.
pub(crate) async fn v1(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let answer = find(&state, request.headers(), request.uri()).await?;
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
    let completeness = answer.completeness.clone();
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&convert::trace_by_id(answer)),
        Form::Json => json(v2_json(&answer)?),
        Form::Llm => llm(llm_json(&answer)?),
    };
    Ok(mark(response, &completeness))
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
