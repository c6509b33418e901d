//! `/api/trackway/v1/tail?q={ … }`: spans as they arrive, one JSON object a line (NDJSON), or as Server-Sent Events for those
//! who accept `text/event-stream`.
//!
//! What must stay true: an asker sees its own tenants' spans; the stream begins when the watching has begun, and ends with a
//! line that says why; one that reads slowly holds nobody up.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use trackway_common::ErrorKind;
use trackway_querier::service::QueryError;
use trackway_tail::{Seen, Tail, TailError};

use crate::context::ApiState;
use crate::error::ApiError;
use crate::query_string::QueryString;

/// Where it is, behind the prefix.
pub(crate) const PATH: &str = "/api/trackway/v1/tail";
/// How often something is sent when there is nothing to show, so that both ends and all between see that it lives.
const ALIVE: Duration = Duration::from_secs(15);

impl From<TailError> for ApiError {
    fn from(error: TailError) -> Self {
        let kind = match error {
            TailError::Query(_) => ErrorKind::Invalid,
            TailError::TooMany(..) => ErrorKind::Exhausted,
            TailError::Stopping => ErrorKind::Unavailable,
            TailError::ReadOnly => ErrorKind::Unsupported,
        };
        QueryError::new(kind, error.to_string()).into()
    }
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Events,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let events = accept.is_some_and(|accept| accept.contains("text/event-stream"));
        if events { Self::Events } else { Self::Lines }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn put(self, out: &mut String, event: &str, json: &str) {
        match self {
            Self::Lines => out.extend([json, "\n"]),
            Self::Events => out.extend(["event: ", event, "\ndata: ", json, "\n\n"]),
        }
    }

    fn put_not_shown(self, out: &mut String, spans: u64) {
        if spans > 0 {
            self.put(out, "notShown", &json!({ "notShown": spans }).to_string());
        }
    }

    fn seen(self, seen: &Seen) -> String {
        let mut out = String::new();
        for span in &seen.spans {
            self.put(&mut out, "span", &span.json);
        }
        self.put_not_shown(&mut out, seen.not_shown);
        out
    }

    /// What is sent when there is nothing to show.
    fn alive(self, passed_over: u64) -> String {
        let mut out = String::new();
        self.put_not_shown(&mut out, passed_over);
        if out.is_empty() {
            out.push_str(if self == Self::Lines { "\n" } else { ":\n\n" });
        }
        out
    }

    fn end(self) -> String {
        let mut out = String::new();
        self.put(&mut out, "end", &json!({ "end": "the server stops" }).to_string());
        out
    }
}

/// Answers `/api/trackway/v1/tail`.
pub(crate) async fn answer(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let form = Form::of(request.headers());
    let query = QueryString::parse(request.uri().query());
    let text = query.get("q");
    if text.len() > state.config.max_query_bytes && state.config.max_query_bytes > 0 {
        let text = format!("the query has more than {} bytes", state.config.max_query_bytes);
        return Err(ApiError::bad(text));
    }
    let tail = state.admin.tail(&ctx.tenants, text)?;
    let mut response = Response::new(Body::from_stream(stream(tail, form)));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies like nginx gather answers unless they are told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn stream(tail: Tail, form: Form) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send {
    let mut alive = tokio::time::interval_at(Instant::now() + ALIVE, ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    futures::stream::unfold(Some((tail, alive)), move |open| async move {
        let (tail, alive): (Tail, Interval) = open?;
        let (text, open) = next(tail, alive, form).await;
        Some((Ok(Bytes::from(text)), open))
    })
}

/// What is sent next, and what remains.
async fn next(mut tail: Tail, mut alive: Interval, form: Form) -> (String, Option<(Tail, Interval)>) {
    loop {
        let arrived = tokio::select! {
            arrived = tail.arrival() => arrived,
            _ = alive.tick() => return (form.alive(tail.take_passed_over()), Some((tail, alive))),
        };
        let Some(batch) = arrived else {
            let mut out = String::new();
            form.put_not_shown(&mut out, tail.take_passed_over());
            return (out + &form.end(), None);
        };
        let seen = form.seen(&tail.look(batch).await);
        if !seen.is_empty() {
            return (seen, Some((tail, alive)));
        }
    }
}
