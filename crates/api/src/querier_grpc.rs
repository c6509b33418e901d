//! `tempopb.Querier`, which tools of Tempo ask. Between Tempo's own processes it is internal; so SearchBlock, which
//! names a part of a block by page numbers, is not served.

use tonic::{Request, Response, Status};
use trackway_common::TraceId;
use trackway_proto::tempopb::{
    self, SearchBlockRequest, SearchRequest, SearchResponse, SearchTagValuesRequest, SearchTagValuesResponse,
    SearchTagValuesV2Response, SearchTagsRequest, SearchTagsResponse, SearchTagsV2Response, TraceByIdRequest,
    TraceByIdResponse,
};
use trackway_querier::service::TraceRequest;

use crate::context::ApiState;
use crate::error::ApiError;
use crate::grpc::{begin, search_input, tag_values_request, tags_request};
use crate::search::collect;
use crate::{convert, tags};

/// The service.
#[derive(Clone)]
pub(crate) struct Querier(pub(crate) ApiState);

#[tonic::async_trait]
impl tempopb::querier_server::Querier for Querier {
    async fn find_trace_by_id(
        &self,
        request: Request<TraceByIdRequest>,
    ) -> Result<Response<TraceByIdResponse>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let id = TraceId::from_bytes(&message.trace_id)
            .ok_or_else(|| ApiError::bad("trace IDs can't be larger than 128 bits"))?;
        let answer = self.0.within(self.0.query.trace(ctx, TraceRequest { id, range: None })).await?;
        if let Some(limit) = answer.too_large.filter(|_| !message.allow_partial_trace) {
            return Err(Status::resource_exhausted(format!("trace exceeds max size (max bytes: {limit})")));
        }
        Ok(Response::new(convert::trace_by_id(answer)))
    }

    async fn search_recent(
        &self,
        request: Request<SearchRequest>,
    ) -> Result<Response<SearchResponse>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = search_input(message).judge(&self.0.config.of(&ctx.tenants))?;
        let limit = asked.limit;
        let found = self.0.within(collect(self.0.query.search(ctx, asked), limit)).await?;
        Ok(Response::new(SearchResponse {
            traces: found.traces.into_iter().map(convert::trace).collect(),
            metrics: Some(convert::search_metrics(&found.metrics)),
        }))
    }

    async fn search_block(&self, _: Request<SearchBlockRequest>) -> Result<Response<SearchResponse>, Status> {
        Err(Status::unimplemented(
            "SearchBlock is internal to Tempo; ask SearchRecent or StreamingQuerier/Search",
        ))
    }

    async fn search_tags(
        &self,
        request: Request<SearchTagsRequest>,
    ) -> Result<Response<SearchTagsResponse>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tags_request(&self.0, message)?;
        let (scope, limit) = (asked.scope, asked.limit);
        let answer = self.0.within(self.0.query.tags(ctx, asked)).await?;
        let metrics = Some(convert::metadata_metrics(&answer.metrics));
        Ok(Response::new(SearchTagsResponse { tag_names: tags::flat_names(answer, scope, limit), metrics }))
    }

    async fn search_tags_v2(
        &self,
        request: Request<SearchTagsRequest>,
    ) -> Result<Response<SearchTagsV2Response>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tags_request(&self.0, message)?;
        let answer = self.0.within(self.0.query.tags(ctx, asked)).await?;
        let metrics = Some(convert::metadata_metrics(&answer.metrics));
        let scopes = tags::named_scopes(answer).into_iter().map(tags::scope_message).collect();
        Ok(Response::new(SearchTagsV2Response { scopes, metrics }))
    }

    async fn search_tag_values(
        &self,
        request: Request<SearchTagValuesRequest>,
    ) -> Result<Response<SearchTagValuesResponse>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tag_values_request(&self.0, message, true)?;
        let answer = self.0.within(self.0.query.tag_values(ctx, asked)).await?;
        let metrics = Some(convert::metadata_metrics(&answer.metrics));
        Ok(Response::new(SearchTagValuesResponse { tag_values: tags::flat_values(answer), metrics }))
    }

    async fn search_tag_values_v2(
        &self,
        request: Request<SearchTagValuesRequest>,
    ) -> Result<Response<SearchTagValuesV2Response>, Status> {
        let (ctx, _guard, message) = begin(&self.0, request)?;
        let asked = tag_values_request(&self.0, message, false)?;
        let answer = self.0.within(self.0.query.tag_values(ctx, asked)).await?;
        let metrics = Some(convert::metadata_metrics(&answer.metrics));
        let tag_values = convert::tag_values(answer.values);
        Ok(Response::new(SearchTagValuesV2Response { tag_values, metrics }))
    }
}
