//! `/api/metrics/query_range` and `/api/metrics/query`: questions for series over HTTP, and their answers as messages
//! for gRPC.
//!
//! What must stay true: every message has metrics, and says so when the answer is partial; the answer to an instant
//! query is one message, because clients keep only the last one.

use axum::extract::{Request, State};
use axum::response::Response;
use prost::Message;
use trackway_proto::tempopb::{
    PartialStatus, QueryInstantResponse, QueryRangeResponse, SearchMetrics, TimeSeries,
};
use trackway_querier::service::{Completeness, MetricsAnswer};

use crate::answer::{Form, form, json, mark, protobuf};
use crate::context::ApiState;
use crate::error::ApiError;
use crate::grpc::{MARGIN, MAX_MESSAGE, pack};
use crate::query_string::QueryString;
use crate::{convert, series_json, series_params};

/// Why the series at the end of an answer to an instant query are missing.
const TOO_LARGE: &str = "the series that do not fit into one message are left out; group by fewer values";

/// Answers `/api/metrics/query_range`.
pub(crate) async fn range(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let parameters = QueryString::parse(request.uri().query());
    let now = state.clock.now();
    let asked = series_params::range(&parameters)?.judge(now, &state.config.of(&ctx.tenants))?;
    let answer = state.within(state.query.metrics(ctx, asked)).await?;
    let completeness = answer.completeness.clone();
    let response = match form(request.headers()) {
        Form::Protobuf => {
            let (metrics, status, message) = about(&answer);
            let series = answer.series.into_iter().map(convert::time_series).collect();
            protobuf(&QueryRangeResponse { series, metrics, status, message })
        }
        Form::Json | Form::Llm => json(series_json::range(&answer)),
    };
    Ok(mark(response, &completeness))
}

/// Answers `/api/metrics/query`.
pub(crate) async fn instant(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let parameters = QueryString::parse(request.uri().query());
    let now = state.clock.now();
    let asked = series_params::instant(&parameters)?.judge(now, &state.config.of(&ctx.tenants))?;
    let answer = state.within(state.query.metrics(ctx, asked)).await?;
    let completeness = answer.completeness.clone();
    let response = match form(request.headers()) {
        Form::Protobuf => {
            let (metrics, status, message) = about(&answer);
            let series = answer.series.into_iter().filter_map(convert::instant_series).collect();
            protobuf(&QueryInstantResponse { series, metrics, status, message })
        }
        Form::Json | Form::Llm => json(series_json::instant(&answer)),
    };
    Ok(mark(response, &completeness))
}

/// What every message of an answer says about it.
fn about(answer: &MetricsAnswer) -> (Option<SearchMetrics>, i32, String) {
    let (status, message) = match &answer.completeness {
        Completeness::Complete => (PartialStatus::Complete, String::new()),
        Completeness::Partial(why) => (PartialStatus::Partial, why.clone()),
    };
    (Some(convert::search_metrics(&answer.metrics)), status.into(), message)
}

/// The answer to a range query as messages that are small enough; at least one.
pub(crate) fn range_messages(answer: MetricsAnswer) -> impl Iterator<Item = QueryRangeResponse> + Send {
    let (metrics, status, message) = about(&answer);
    let series = answer.series.into_iter().flat_map(|series| fit(convert::time_series(series)));
    let groups = pack(series.collect(), Message::encoded_len).into_iter();
    groups.map(move |series| QueryRangeResponse { series, metrics, status, message: message.clone() })
}

/// The answer to an instant query as the one message that it must be.
pub(crate) fn instant_message(answer: MetricsAnswer) -> QueryInstantResponse {
    let (metrics, mut status, mut message) = about(&answer);
    let series = answer.series.into_iter().filter_map(convert::instant_series);
    let mut groups = pack(series.collect(), Message::encoded_len).into_iter();
    let series = groups.next().unwrap_or_default();
    if groups.next().is_some() {
        status = PartialStatus::Partial.into();
        message = if message.is_empty() { TOO_LARGE.to_owned() } else { format!("{message}; {TOO_LARGE}") };
    }
    QueryInstantResponse { series, metrics, status, message }
}

/// Cuts a series that alone is too large for a message into several with the same labels; clients put them together.
fn fit(mut series: TimeSeries) -> Vec<TimeSeries> {
    let is_small = series.encoded_len() <= MAX_MESSAGE - MARGIN;
    if is_small || (series.samples.len() < 2 && series.exemplars.len() < 2) {
        return vec![series];
    }
    let later = TimeSeries {
        labels: series.labels.clone(),
        samples: series.samples.split_off(series.samples.len().div_ceil(2)),
        exemplars: series.exemplars.split_off(series.exemplars.len().div_ceil(2)),
    };
    let mut parts = fit(series);
    parts.extend(fit(later));
    parts
}
