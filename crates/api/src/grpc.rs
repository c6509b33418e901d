//! `tempopb.StreamingQuerier`, which Grafana asks when streaming is on.
//!
//! What must stay true: every message has metrics, and there is at least one; none is larger than [`MAX_MESSAGE`];
//! when the stream is dropped, the work is cancelled.

use std::collections::VecDeque;
use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt};
use prost::Message;
use tokio_util::sync::DropGuard;
use tonic::{Request, Response, Status};
use trackway_common::RequestCtx;
use trackway_proto::tempopb::{
    self, QueryInstantRequest, QueryInstantResponse, QueryRangeRequest, QueryRangeResponse, SearchRequest,
    SearchResponse, SearchTagValuesRequest, SearchTagValuesResponse, SearchTagValuesV2Response,
    SearchTagsRequest, SearchTagsResponse, SearchTagsV2Response, TraceSearchMetadata,
};
use trackway_querier::service::{
    MetricsAnswer, SearchUpdate, TagValuesAnswer, TagValuesRequest, TagsAnswer, TagsRequest,
};

use crate::context::{ApiState, timed_out};
use crate::error::ApiError;
use crate::params::{self, SearchInput};
use crate::series_params::SeriesInput;
use crate::{convert, series_params, tags, ts_metrics};

/// Largest message; Tempo's limit. Clients refuse 4 MiB.
pub(crate) const MAX_MESSAGE: usize = 2 << 20;
/// Left free in a message for the metrics and the framing.
pub(crate) const MARGIN: usize = 1 << 10;
const NANOS_PER_MS: u64 = 1_000_000;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Clone)]
pub(crate) struct Streaming(pub(crate) ApiState);

/// What a request over gRPC asks of a search.
pub(crate) fn search_input(request: SearchRequest) -> SearchInput {
    SearchInput {
        query: request.query,
        tags: request.tags.into_iter().collect(),
        min_duration: u64::from(request.min_duration_ms) * NANOS_PER_MS,
        max_duration: u64::from(request.max_duration_ms) * NANOS_PER_MS,
        limit: request.limit,
        spss: request.spans_per_span_set,
        start: u64::from(request.start),
        end: u64::from(request.end),
    }
}

/// What a request over gRPC asks of names.
pub(crate) fn tags_request(state: &ApiState, request: SearchTagsRequest) -> Result<TagsRequest, ApiError> {
    params::query_size(&request.query, &state.config)?;
    Ok(TagsRequest {
        scope: params::scope(&request.scope)?,
        query: request.query,
        range: params::range(u64::from(request.start), u64::from(request.end))?,
        limit: request.max_tags_per_scope as usize,
    })
}

/// What a request over gRPC asks of values.
pub(crate) fn tag_values_request(
    state: &ApiState,
    request: SearchTagValuesRequest,
    legacy: bool,
) -> Result<TagValuesRequest, ApiError> {
    params::query_size(&request.query, &state.config)?;
    if request.tag_name.is_empty() {
        return Err(ApiError::bad("please provide a non-empty tagName"));
    }
    Ok(TagValuesRequest {
        name: request.tag_name,
        legacy,
        query: request.query,
        range: params::range(u64::from(request.start), u64::from(request.end))?,
        limit: request.max_tag_values as usize,
    })
}

/// The context of a question over gRPC.
pub(crate) fn begin<T>(
    state: &ApiState,
    request: Request<T>,
) -> Result<(RequestCtx, DropGuard, T), ApiError> {
    let (metadata, _, message) = request.into_parts();
    let (ctx, guard) = state.begin(&metadata.into_headers())?;
    Ok((ctx, guard, message))
}

impl Streaming {
    async fn tags(&self, request: Request<SearchTagsRequest>) -> Result<(TagsAnswer, TagsRequest), ApiError> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tags_request(&self.0, message)?;
        let answer = self.0.within(self.0.query.tags(ctx, asked.clone())).await?;
        Ok((answer, asked))
    }

    async fn tag_values(
        &self,
        request: Request<SearchTagValuesRequest>,
        legacy: bool,
    ) -> Result<TagValuesAnswer, ApiError> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tag_values_request(&self.0, message, legacy)?;
        self.0.within(self.0.query.tag_values(ctx, asked)).await
    }

    async fn series<T>(
        &self,
        request: Request<T>,
        read: fn(T) -> SeriesInput,
    ) -> Result<MetricsAnswer, ApiError> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = read(message).judge(self.0.clock.now(), &self.0.config.of(&ctx.tenants))?;
        self.0.within(self.0.query.metrics(ctx, asked)).await
    }
}

#[tonic::async_trait]
impl tempopb::streaming_querier_server::StreamingQuerier for Streaming {
    type SearchStream = Answers<SearchResponse>;
    type SearchTagsStream = Answers<SearchTagsResponse>;
    type SearchTagsV2Stream = Answers<SearchTagsV2Response>;
    type SearchTagValuesStream = Answers<SearchTagValuesResponse>;
    type SearchTagValuesV2Stream = Answers<SearchTagValuesV2Response>;
    type MetricsQueryRangeStream = Answers<QueryRangeResponse>;
    type MetricsQueryInstantStream = Answers<QueryInstantResponse>;

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<Self::SearchStream>, Status> {
        let (ctx, guard, message) = begin(&self.0, request)?;
        let asked = search_input(message).judge(&self.0.config.of(&ctx.tenants))?;
        let messages = Messages {
            updates: self.0.query.search(ctx, asked),
            ready: VecDeque::new(),
            until: self.0.config.query_timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
            sent: false,
            over: false,
            _guard: guard,
        };
        let messages = stream::unfold(messages, |mut messages| async {
            let message = messages.next().await?;
            Some((message, messages))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn search_tags(
        &self,
        request: Request<SearchTagsRequest>,
    ) -> Result<Response<Self::SearchTagsStream>, Status> {
        let (answer, asked) = self.tags(request).await?;
        let metrics = convert::metadata_metrics(&answer.metrics);
        let names = tags::flat_names(answer, asked.scope, asked.limit);
        let parts = pack(names, String::len).into_iter();
        let parts = parts.map(move |tag_names| Ok(SearchTagsResponse { tag_names, metrics: Some(metrics) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn search_tags_v2(
        &self,
        request: Request<SearchTagsRequest>,
    ) -> Result<Response<Self::SearchTagsV2Stream>, Status> {
        let (answer, _) = self.tags(request).await?;
        let metrics = convert::metadata_metrics(&answer.metrics);
        let scopes = tags::named_scopes(answer).into_iter().flat_map(|(name, tags)| {
            pack(tags, String::len).into_iter().map(move |tags| tags::scope_message((name, tags)))
        });
        let parts = pack(scopes.collect(), Message::encoded_len).into_iter();
        let parts = parts.map(move |scopes| Ok(SearchTagsV2Response { scopes, metrics: Some(metrics) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn search_tag_values(
        &self,
        request: Request<SearchTagValuesRequest>,
    ) -> Result<Response<Self::SearchTagValuesStream>, Status> {
        let answer = self.tag_values(request, true).await?;
        let metrics = convert::metadata_metrics(&answer.metrics);
        let parts = pack(tags::flat_values(answer), String::len).into_iter();
        let parts =
            parts.map(move |tag_values| Ok(SearchTagValuesResponse { tag_values, metrics: Some(metrics) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn search_tag_values_v2(
        &self,
        request: Request<SearchTagValuesRequest>,
    ) -> Result<Response<Self::SearchTagValuesV2Stream>, Status> {
        let answer = self.tag_values(request, false).await?;
        let metrics = convert::metadata_metrics(&answer.metrics);
        let parts = pack(convert::tag_values(answer.values), Message::encoded_len).into_iter();
        let parts =
            parts.map(move |tag_values| Ok(SearchTagValuesV2Response { tag_values, metrics: Some(metrics) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn metrics_query_range(
        &self,
        request: Request<QueryRangeRequest>,
    ) -> Result<Response<Self::MetricsQueryRangeStream>, Status> {
        let answer = self.series(request, series_params::from_range).await?;
        Ok(Response::new(Box::pin(stream::iter(ts_metrics::range_messages(answer).map(Ok)))))
    }

    async fn metrics_query_instant(
        &self,
        request: Request<QueryInstantRequest>,
    ) -> Result<Response<Self::MetricsQueryInstantStream>, Status> {
        let answer = self.series(request, series_params::from_instant).await?;
        Ok(Response::new(Box::pin(stream::iter([Ok(ts_metrics::instant_message(answer))]))))
    }
}

/// The messages of a search.
struct Messages {
    updates: stream::BoxStream<'static, Result<SearchUpdate, trackway_querier::service::QueryError>>,
    ready: VecDeque<SearchResponse>,
    until: Option<Pin<Box<tokio::time::Sleep>>>,
    sent: bool,
    over: bool,
    _guard: DropGuard,
}

impl Messages {
    async fn next(&mut self) -> Option<Result<SearchResponse, Status>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.sent = true;
                return Some(Ok(message));
            }
            if self.over {
                return None;
            }
            let update = match &mut self.until {
                None => self.updates.next().await,
                Some(until) => tokio::select! {
                    biased;
                    update = self.updates.next() => update,
                    () = until => Some(Err(timed_out())),
                },
            };
            match update {
                Some(Ok(update)) => {
                    self.over = update.done;
                    self.ready = split(update);
                }
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(ApiError::from(error).into()));
                }
                // Clients want metrics even of nothing.
                None => {
                    self.over = true;
                    if !self.sent {
                        self.ready = split(SearchUpdate::default());
                    }
                }
            }
        }
    }
}

/// One update as messages that are small enough; at least one.
pub(crate) fn split(update: SearchUpdate) -> VecDeque<SearchResponse> {
    let metrics = convert::search_metrics(&update.metrics);
    let traces = update.traces.into_iter().map(|trace| fit(convert::trace(trace))).collect();
    pack(traces, Message::encoded_len)
        .into_iter()
        .map(|traces| SearchResponse { traces, metrics: Some(metrics) })
        .collect()
}

/// Cuts a trace that alone is too large for a message. `matched` still says how many spans there are.
fn fit(mut trace: TraceSearchMetadata) -> TraceSearchMetadata {
    while trace.encoded_len() > MAX_MESSAGE - MARGIN {
        if trace.span_sets.len() > 1 {
            trace.span_sets.truncate(trace.span_sets.len() / 2);
            continue;
        }
        let Some(set) = trace.span_sets.first_mut() else { break };
        if set.spans.is_empty() {
            trace.span_sets.clear();
            trace.span_set = None;
            break;
        }
        set.spans.truncate(set.spans.len() / 2);
        trace.span_set = Some(set.clone());
    }
    trace
}

/// Groups items so that each group fits into a message; one empty group of nothing.
pub(crate) fn pack<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    // A tag, and a length of up to five bytes.
    const FRAME: usize = 6;
    let mut groups = vec![Vec::new()];
    let mut used = 0;
    for item in items {
        let bytes = size(&item) + FRAME;
        if used > 0 && used + bytes > MAX_MESSAGE - MARGIN {
            groups.push(Vec::new());
            used = 0;
        }
        used += bytes;
        if let Some(group) = groups.last_mut() {
            group.push(item);
        }
    }
    groups
}
