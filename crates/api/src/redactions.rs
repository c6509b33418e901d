//! `/api/trackway/v1/redactions`: traces and spans that are to be hidden at once and removed from storage.
//!
//! What must stay true: a web page cannot remove anything through its visitor's browser; a key that is not known is
//! refused, since a condition that is not understood would remove too much.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value};
use tokio_util::sync::DropGuard;
use trackway_common::{RequestCtx, TraceId};
use trackway_querier::RedactionRequest;
use trackway_querier::service::TimeRange;

use crate::answer::json;
use crate::context::ApiState;
use crate::error::ApiError;
use crate::ops::only_from_here;

/// Where redactions are, behind the prefix.
pub(crate) const PATH: &str = "/api/trackway/v1/redactions";
/// Bytes of a request at the most: as many ids as one redaction takes.
const BODY_MAX: usize = 8 << 20;
const KEYS: [&str; 5] = ["traceIds", "query", "start", "end", "dryRun"];

/// The context of a request about one tenant.
fn begin(state: &ApiState, request: &Request) -> Result<(RequestCtx, DropGuard), ApiError> {
    let (ctx, guard) = state.begin(request.headers())?;
    if ctx.tenants.len() > 1 {
        return Err(ApiError::bad("redactions are of one tenant each; name one in X-Scope-OrgID"));
    }
    Ok((ctx, guard))
}

/// Answers `POST` with the new redaction, 202, and `GET` with all of them.
pub(crate) async fn all(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    only_from_here(request.headers())?;
    let (ctx, _guard) = begin(&state, &request)?;
    match request.method().as_str() {
        "GET" | "HEAD" => {
            let tenant = ctx.tenants.first().ok_or_else(|| ApiError::bad("no tenant is named"))?;
            Ok(json(state.admin.redactions(tenant, None)?.to_string().into_bytes()))
        }
        "POST" => {
            let body = axum::body::to_bytes(request.into_body(), BODY_MAX).await;
            let body = body.map_err(|_| {
                ApiError::bad(format!("the request cannot be read, or has more than {BODY_MAX} bytes"))
            })?;
            let (asked, dry_run) = parse(&body)?;
            let answer = state.within(state.admin.redact(ctx, asked, dry_run)).await?;
            let mut response = json(answer.to_string().into_bytes());
            if !dry_run {
                *response.status_mut() = StatusCode::ACCEPTED;
            }
            Ok(response)
        }
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let error = ApiError { status, ..ApiError::bad("POST makes a redaction, GET shows all of them") };
            Ok(error.into_response())
        }
    }
}

/// Answers with one redaction and its report.
pub(crate) async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (ctx, _guard) = begin(&state, &request)?;
    let tenant = ctx.tenants.first().ok_or_else(|| ApiError::bad("no tenant is named"))?;
    Ok(json(state.admin.redactions(tenant, Some(&id))?.to_string().into_bytes()))
}

fn parse(body: &[u8]) -> Result<(RedactionRequest, bool), ApiError> {
    let shape = "{\"traceIds\": [\"…\"], \"query\": \"{ … }\", \"start\": seconds, \"end\": seconds, \"dryRun\": false}";
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("the body is no JSON object such as {shape}: {error}")))?;
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(ApiError::bad(format!("unknown key {key:?}; known are {}", KEYS.join(", "))));
    }
    let wrong = |key: &str, what: &str| ApiError::bad(format!("{key} must be {what}, as in {shape}"));
    let mut asked = RedactionRequest::default();
    for id in object.get("traceIds").map_or(Ok(&[][..]), |ids| {
        ids.as_array().map(Vec::as_slice).ok_or_else(|| wrong("traceIds", "a list of texts"))
    })? {
        let id = id.as_str().ok_or_else(|| wrong("traceIds", "a list of texts"))?;
        let parsed: TraceId =
            id.parse().map_err(|error| ApiError::bad(format!("traceIds: {id:?}: {error}")))?;
        if parsed == TraceId(0) {
            return Err(ApiError::bad(format!("traceIds: {id:?} is no trace id")));
        }
        asked.traces.push(parsed);
    }
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| wrong(key, "a text")),
    };
    let seconds = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(key, "Unix seconds")),
    };
    asked.query = text("query")?.filter(|query| !query.trim().is_empty());
    asked.range = match (seconds("start")?, seconds("end")?) {
        (None, None) => None,
        (Some(start), Some(end)) if start < end => Some(TimeRange { start, end }),
        (Some(start), Some(end)) => {
            return Err(ApiError::bad(format!("end {end} must be after start {start}")));
        }
        _ => return Err(ApiError::bad("give both start and end, or neither")),
    };
    if asked.range.is_some() && asked.query.is_none() {
        return Err(ApiError::bad(
            "start and end are about a query; traces that are named are removed whole",
        ));
    }
    if asked.traces.is_empty() && asked.query.is_none() {
        return Err(ApiError::bad(format!("nothing is named: give traceIds, or a query, as in {shape}")));
    }
    let dry_run = match object.get("dryRun") {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().ok_or_else(|| wrong("dryRun", "true or false"))?,
    };
    Ok((asked, dry_run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood_or_refused() {
        let (asked, dry_run) =
            parse(br#"{"traceIds":["1F"],"query":"{ name = \"x\" }","start":1,"end":2,"dryRun":true}"#)
                .unwrap();
        assert_eq!((asked.traces, dry_run), (vec![TraceId(31)], true));
        assert_eq!(asked.query.as_deref(), Some("{ name = \"x\" }"));
        assert_eq!(asked.range, Some(TimeRange { start: 1, end: 2 }));
        for (body, says) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("{}", "nothing is named"),
            (r#"{"query":" "}"#, "nothing is named"),
            (r#"{"traceID":["1"]}"#, "unknown key \"traceID\"; known are traceIds"),
            (r#"{"traceIds":"1"}"#, "traceIds must be a list of texts"),
            (r#"{"traceIds":[1]}"#, "traceIds must be a list of texts"),
            (r#"{"traceIds":["xyz"]}"#, "traceIds: \"xyz\""),
            (r#"{"traceIds":["0"]}"#, "is no trace id"),
            (r#"{"query":1}"#, "query must be a text"),
            (r#"{"query":"{}","start":"1"}"#, "start must be Unix seconds"),
            (r#"{"query":"{}","start":1}"#, "give both start and end"),
            (r#"{"query":"{}","start":2,"end":2}"#, "end 2 must be after start 2"),
            (r#"{"traceIds":["1"],"start":1,"end":2}"#, "start and end are about a query"),
            (r#"{"query":"{}","dryRun":"yes"}"#, "dryRun must be true or false"),
        ] {
            let text = parse(body.as_bytes()).unwrap_err().text;
            assert!(text.contains(says), "{body}: {text}");
        }
    }
}
