//! `GET /api/search`.

use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use trackway_proto::tempopb;
use trackway_querier::service::{Completeness, Metrics, QueryError, SearchUpdate, TraceResult};

use crate::answer::{Form, form, json, mark, protobuf};
use crate::context::ApiState;
use crate::error::ApiError;
use crate::query_string::QueryString;
use crate::{convert, params};

/// Everything that a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) traces: Vec<TraceResult>,
    pub(crate) metrics: Metrics,
    pub(crate) completeness: Completeness,
}

/// Waits for the end of a search.
pub(crate) async fn collect(
    mut updates: BoxStream<'static, Result<SearchUpdate, QueryError>>,
    limit: usize,
) -> Result<Found, QueryError> {
    let mut found = Found::default();
    while let Some(update) = updates.next().await {
        let SearchUpdate { traces, metrics, completeness, done } = update?;
        found.traces.extend(traces);
        found.metrics = metrics;
        if completeness != Completeness::Complete {
            found.completeness = completeness;
        }
        if done {
            break;
        }
    }
    found.traces.sort_by_key(|trace| std::cmp::Reverse(trace.start));
    found.traces.truncate(limit);
    Ok(found)
}

/// Answers it.
pub(crate) async fn search(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let query = QueryString::parse(request.uri().query());
    let asked =
        params::search(&query, request.method(), state.clock.now_seconds(), &state.config.of(&ctx.tenants))?;
    let limit = asked.limit;
    let found = state.within(collect(state.query.search(ctx, asked), limit)).await?;
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&tempopb::SearchResponse {
            traces: found.traces.into_iter().map(convert::trace).collect(),
            metrics: Some(convert::search_metrics(&found.metrics)),
        }),
        Form::Json | Form::Llm => {
            let response = json(crate::json::search(&found.traces, &found.metrics));
            // Giving back the memory of thousands of traces takes longer than the asker should wait.
            tokio::task::spawn_blocking(move || drop(found.traces));
            response
        }
    };
    Ok(mark(response, &found.completeness))
}
