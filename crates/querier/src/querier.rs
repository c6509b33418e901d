//! The query service over one ingester and one store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trackway_common::{Clock, ErrorKind, RequestCtx, TenantId, TraceId};
use trackway_engine::metrics::Partial;
use trackway_engine::{PlanError, SearchPlan, TraceResult};
use trackway_ingester::Ingester;
use trackway_overrides::Limits;
use trackway_storage::BlockReader;
use trackway_traceql::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Scope, Static, Status};

use crate::answers::Answers;
use crate::fragments::Source;
use crate::guards::Guards;
use crate::metrics::MetricsQuery;
use crate::overlap::OverlapCache;
use crate::question::Question;
use crate::search::Search;
use crate::service::{
    MetricsAnswer, MetricsRequest, QueryError, QueryService, SearchFilter, SearchRequest, SearchUpdate,
    TagScope, TagValuesAnswer, TagValuesRequest, TagsAnswer, TagsRequest, TimeRange, TraceAnswer,
    TraceRequest,
};
use crate::tags::{Ask, TagQuestion};
use crate::tally::Tally;

/// Settings of the querier.
#[derive(Clone, Debug)]
pub struct QuerierConfig {
    /// Bytes of blocks that one question may read; 0 for no limit (`trackway.query.max_bytes`).
    pub max_bytes: u64,
    /// Questions of a tenant that are worked on at once (`trackway.query.max_concurrent_per_tenant`); 0 for no limit.
    pub concurrent_per_tenant: usize,
    /// Questions of a tenant that wait (`query_frontend.max_outstanding_per_tenant`); 0 for no limit.
    pub waiting_per_tenant: usize,
    /// How far back a question about tags looks that names no time (`query_frontend.search.query_backend_after`).
    pub recent: Duration,
}

/// Answers questions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Querier {
    ingester: Arc<Ingester>,
    pub(crate) reader: BlockReader,
    pub(crate) config: Arc<QuerierConfig>,
    clock: Arc<dyn Clock>,
    overlaps: OverlapCache,
    answers: Answers,
    pub(crate) guards: Guards,
}

/// The order in which scopes are listed, until the limit is reached.
const LISTED: [TagScope; 5] =
    [TagScope::Instrumentation, TagScope::Resource, TagScope::Span, TagScope::Event, TagScope::Link];

pub(crate) fn range_nanos(range: Option<TimeRange>) -> Option<(u64, u64)> {
    let nanos = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    range.map(|range| (nanos(range.start), nanos(range.end.saturating_add(1)).saturating_sub(1)))
}

impl Querier {
    /// Answers from an ingester and the blocks that it knows of.
    pub fn new(
        ingester: Arc<Ingester>,
        reader: BlockReader,
        clock: Arc<dyn Clock>,
        config: QuerierConfig,
    ) -> Self {
        let guards = Guards::new(config.concurrent_per_tenant, config.waiting_per_tenant);
        let overlaps = OverlapCache::new(reader.memory().clone());
        let answers = Answers::new(reader.memory().clone());
        Self { ingester, reader, config: Arc::new(config), clock, overlaps, answers, guards }
    }

    pub(crate) fn limits(&self, tenant: &TenantId) -> Arc<Limits> {
        self.ingester.overrides().for_tenant(tenant)
    }

    /// Whether a limit refused spans of a trace when they came in.
    pub(crate) fn is_cut(&self, tenant: &TenantId, trace: TraceId) -> bool {
        self.ingester.is_cut(tenant, trace)
    }

    /// What it reads blocks through.
    pub fn reader(&self) -> &BlockReader {
        &self.reader
    }

    /// The time that a question about tags is about. Without one it is about what came in lately, as in Tempo.
    fn tag_range(&self, range: Option<TimeRange>) -> Option<(u64, u64)> {
        let now = self.clock.now_seconds();
        let recent = TimeRange { start: now.saturating_sub(self.config.recent.as_secs()), end: now };
        range_nanos(range.or(Some(recent)))
    }

    /// A tenant's data, for a question about a time. What of it cannot be read is told at once.
    pub(crate) fn source(&self, tenant: &TenantId, range: Option<(u64, u64)>, tally: &Tally) -> Source {
        let view = self.ingester.view(tenant);
        for block in view.unreadable.iter().filter(|block| block.may_overlap(range)) {
            tally.miss(&block.problem);
        }
        tally.holds(&view.chunks);
        Source { tenant: tenant.clone(), view, reader: self.reader.clone() }
    }

    async fn search_all(
        &self,
        ctx: RequestCtx,
        request: SearchRequest,
        updates: mpsc::Sender<Result<SearchUpdate, QueryError>>,
    ) {
        let answer = self.search_once(&ctx, &request).await;
        // Nobody listens any more when the asker went away.
        let _ = updates.send(answer).await;
    }

    pub(crate) async fn search_once(
        &self,
        ctx: &RequestCtx,
        request: &SearchRequest,
    ) -> Result<SearchUpdate, QueryError> {
        let range = range_nanos(request.range);
        let plan = Arc::new(plan(&request.filter, range)?);
        let _admitted = self.guards.admit(ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        let mut traces: Vec<TraceResult> = Vec::new();
        if !plan.is_never() {
            for tenant in &ctx.tenants {
                let source = self.source(tenant, range, &tally);
                let overlap = self.overlaps.of(&source, &tally).await;
                let search = Search {
                    source: &source,
                    overlap: &overlap,
                    plan: &plan,
                    limit: request.limit,
                    spans_per_spanset: request.spans_per_spanset,
                    tally: &tally,
                    ctx,
                    all_scanned: false,
                };
                traces.extend(search.run(range).await?);
            }
        }
        tally.check(ctx)?;
        if let SearchFilter::Tags { min_duration, max_duration, .. } = &request.filter {
            traces.retain(|trace| {
                min_duration.is_none_or(|least| trace.duration >= least)
                    && max_duration.is_none_or(|most| trace.duration <= most)
            });
        }
        traces.sort_unstable_by_key(|trace| std::cmp::Reverse((trace.start, trace.id)));
        traces.truncate(request.limit);
        Ok(SearchUpdate { traces, metrics: tally.metrics(), completeness: tally.completeness(), done: true })
    }

    async fn list_tags(&self, ctx: RequestCtx, request: TagsRequest) -> Result<TagsAnswer, QueryError> {
        let scopes = match request.scope {
            Some(TagScope::Intrinsic) => Vec::new(),
            Some(scope) => vec![scope],
            None => TagScope::OF_ATTRIBUTES.to_vec(),
        };
        let _admitted = self.guards.admit(&ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        let mut answer = TagsAnswer::default();
        if !scopes.is_empty() {
            let question = TagQuestion::new(Ask::Names(scopes), &request.query)?;
            let mut all = crate::tags::Collected::default();
            for tenant in &ctx.tenants {
                let range = self.tag_range(request.range);
                let source = self.source(tenant, range, &tally);
                let found = question.of(&self.limits(tenant)).run(&source, range, &tally, &ctx).await?;
                all.names.merge(found.names);
            }
            let most = if request.limit == 0 { usize::MAX } else { request.limit };
            for scope in LISTED {
                let Some(names) = all.names.names.remove(&scope) else { continue };
                let names: Vec<String> = names.into_iter().take(most).collect();
                let full = names.len() >= most;
                if !names.is_empty() {
                    answer.scopes.push((scope, names));
                }
                // Like Tempo: the limit ends the list, not only the scope that reaches it.
                if full {
                    break;
                }
            }
        }
        if matches!(request.scope, None | Some(TagScope::Intrinsic)) {
            let names = trackway_traceql::INTRINSIC_NAMES.iter().map(|name| (*name).to_owned()).collect();
            answer.scopes.push((TagScope::Intrinsic, names));
        }
        answer.metrics = tally.metrics();
        answer.completeness = tally.completeness();
        Ok(answer)
    }

    async fn list_values(
        &self,
        ctx: RequestCtx,
        request: TagValuesRequest,
    ) -> Result<TagValuesAnswer, QueryError> {
        let Some(field) = field_of(&request)? else { return Ok(TagValuesAnswer::default()) };
        let question = TagQuestion::new(Ask::Values(field), &request.query)?;
        let _admitted = self.guards.admit(&ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        let mut all = crate::tags::Collected::default();
        for tenant in &ctx.tenants {
            let range = self.tag_range(request.range);
            let source = self.source(tenant, range, &tally);
            let found = question.of(&self.limits(tenant)).run(&source, range, &tally, &ctx).await?;
            all.values.merge(found.values);
        }
        let most = if request.limit == 0 { usize::MAX } else { request.limit };
        let values = all.values.into_sorted().into_iter().take(most);
        Ok(TagValuesAnswer {
            values: values.map(|(kind, value)| (kind.name(), value)).collect(),
            metrics: tally.metrics(),
            completeness: tally.completeness(),
        })
    }

    /// Runs what computes a whole answer on the CPU pool.
    async fn on_cpu<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let failed = || QueryError::new(ErrorKind::Internal, "the query failed; the log says how");
        self.reader.cpu().run(work).await.ok_or_else(failed)
    }

    async fn series(&self, ctx: RequestCtx, request: MetricsRequest) -> Result<MetricsAnswer, QueryError> {
        let question = Question::new(&request)?;
        let _admitted = self.guards.admit(&ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        // All queries of a question look at the same data.
        let mut sources = Vec::with_capacity(ctx.tenants.len());
        for tenant in &ctx.tenants {
            let source = self.source(tenant, Some((request.time.start, request.time.end)), &tally);
            let overlap = self.overlaps.of(&source, &tally).await;
            sources.push((source, overlap));
        }
        let mut answers = Vec::with_capacity(question.jobs.len());
        for job in &question.jobs {
            let mut parts = Vec::with_capacity(sources.len());
            for (source, overlap) in &sources {
                let place = (source, &**overlap);
                let query = MetricsQuery::new(place, &self.answers, job, &tally, &ctx).await;
                parts.push(query.run().await?);
                tally.check(&ctx)?;
            }
            let job = Arc::clone(job);
            let finish = move || {
                let mut all = Partial::default();
                parts.into_iter().for_each(|part| job.merge(&mut all, part));
                job.finish(all)
            };
            answers.push(self.on_cpu(finish).await?);
        }
        let finished = self.on_cpu(move || question.finish(answers, &request)).await?;
        if let Some(reason) = &finished.truncated {
            tally.cut(reason);
        }
        Ok(MetricsAnswer {
            series: finished.series,
            metrics: tally.metrics(),
            completeness: tally.completeness(),
        })
    }
}

/// The field whose values are asked for. The old form knows bare names only; `None` for those that list nothing.
fn field_of(request: &TagValuesRequest) -> Result<Option<Field>, QueryError> {
    let intrinsic = |intrinsic| Some(Field::Intrinsic { intrinsic, scoped: false });
    if request.legacy {
        return Ok(match request.name.as_str() {
            "rootName" | "root.name" => intrinsic(Intrinsic::TraceRootName),
            "rootServiceName" | "root.service.name" => intrinsic(Intrinsic::TraceRootService),
            "name" => intrinsic(Intrinsic::Name),
            "statusMessage" => intrinsic(Intrinsic::StatusMessage),
            "span:id" => intrinsic(Intrinsic::SpanId),
            "status.code" => intrinsic(Intrinsic::Status),
            "duration" | "traceDuration" | "kind" | "status" => None,
            name => Some(Field::Attribute { scope: Scope::None, name: name.to_owned() }),
        });
    }
    let field = trackway_traceql::parse_field(&request.name).map_err(|error| {
        QueryError::new(ErrorKind::Invalid, format!("please provide a valid tagName: {error}"))
    })?;
    Ok(match &field {
        Field::Intrinsic { intrinsic: Intrinsic::Duration | Intrinsic::TraceDuration, .. } => None,
        _ => Some(field),
    })
}

pub(crate) fn unplanned(error: PlanError) -> QueryError {
    match error {
        PlanError::Eval(error) => QueryError::new(ErrorKind::Invalid, error.to_string()),
        PlanError::Unsupported(what) => {
            QueryError::new(ErrorKind::Unsupported, format!("not supported yet: {what}"))
        }
    }
}

fn plan(filter: &SearchFilter, range: Option<(u64, u64)>) -> Result<SearchPlan, QueryError> {
    let planned = match filter {
        SearchFilter::TraceQl(text) => {
            let query = trackway_traceql::parse(text).map_err(|error| {
                QueryError::new(ErrorKind::Invalid, format!("invalid TraceQL query: {error}"))
            })?;
            SearchPlan::new(&query, range)
        }
        SearchFilter::Tags { tags, min_duration, max_duration } => {
            SearchPlan::traces_only(tag_condition(tags, *min_duration, *max_duration).as_ref(), range)
        }
    };
    planned.map_err(unplanned)
}

/// The condition of a search by tags, by the rules of `reference/tempo.md` §2.2.
fn tag_condition(
    tags: &[(String, String)],
    min_duration: Option<u64>,
    max_duration: Option<u64>,
) -> Option<FieldExpr> {
    let binary = |op, lhs, rhs| FieldExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) };
    let field = |intrinsic| FieldExpr::Field(Field::Intrinsic { intrinsic, scoped: false });
    let text = |value: &str| FieldExpr::Static(Static::String(value.to_owned()));
    let contains = |lhs, value: &str| {
        let pattern = format!("(?s).*{}.*", regex::escape(value));
        binary(BinaryOp::Regex, lhs, FieldExpr::Static(Static::String(pattern)))
    };
    let duration = |op, nanos: u64| {
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        binary(op, field(Intrinsic::TraceDuration), FieldExpr::Static(Static::Duration(nanos)))
    };
    let attribute =
        |name: &str| FieldExpr::Field(Field::Attribute { scope: Scope::None, name: name.to_owned() });
    let mut conditions: Vec<FieldExpr> = tags
        .iter()
        .map(|(key, value)| match key.as_str() {
            "name" => contains(field(Intrinsic::Name), value),
            "root.name" | "rootName" => contains(field(Intrinsic::TraceRootName), value),
            "root.service.name" | "rootServiceName" => contains(field(Intrinsic::TraceRootService), value),
            "status.code" | "status" => {
                let status = match value.as_str() {
                    "ok" => Status::Ok,
                    "error" => Status::Error,
                    _ => Status::Unset,
                };
                binary(BinaryOp::Eq, field(Intrinsic::Status), FieldExpr::Static(Static::Status(status)))
            }
            "error" if value == "true" => {
                let error = FieldExpr::Static(Static::Status(Status::Error));
                binary(BinaryOp::Eq, field(Intrinsic::Status), error)
            }
            "http.status_code" => match value.parse() {
                Ok(code) => binary(BinaryOp::Eq, attribute(key), FieldExpr::Static(Static::Int(code))),
                Err(_) => binary(BinaryOp::Eq, attribute(key), text(value)),
            },
            "service.name" | "http.method" | "http.url" => contains(attribute(key), value),
            key if key.starts_with("k8s.") => contains(attribute(key), value),
            _ => binary(BinaryOp::Eq, attribute(key), text(value)),
        })
        .collect();
    conditions.extend(min_duration.map(|least| duration(BinaryOp::GreaterEq, least)));
    conditions.extend(max_duration.map(|most| duration(BinaryOp::LessEq, most)));
    conditions.into_iter().reduce(|a, b| binary(BinaryOp::And, a, b))
}

/// What a task sends. Dropping the stream cancels its work.
fn received<T: Send + 'static>(
    receive: mpsc::Receiver<T>,
    cancellation: CancellationToken,
) -> BoxStream<'static, T> {
    let state = (receive, cancellation.drop_guard());
    stream::unfold(state, |(mut receive, guard)| async move {
        receive.recv().await.map(|item| (item, (receive, guard)))
    })
    .boxed()
}

impl QueryService for Querier {
    fn trace(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> BoxFuture<'_, Result<TraceAnswer, QueryError>> {
        Box::pin(self.find(ctx, request))
    }

    fn trace_pieces(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> BoxStream<'static, Result<Bytes, QueryError>> {
        let querier = self.clone();
        let (send, receive) = mpsc::channel(1);
        let cancellation = ctx.cancellation.clone();
        tokio::spawn(async move { querier.stream(ctx, request, send).await });
        received(receive, cancellation)
    }

    fn search(
        &self,
        ctx: RequestCtx,
        request: SearchRequest,
    ) -> BoxStream<'static, Result<SearchUpdate, QueryError>> {
        let querier = self.clone();
        let (send, receive) = mpsc::channel(4);
        let cancellation = ctx.cancellation.clone();
        tokio::spawn(async move { querier.search_all(ctx, request, send).await });
        received(receive, cancellation)
    }

    fn tags(&self, ctx: RequestCtx, request: TagsRequest) -> BoxFuture<'_, Result<TagsAnswer, QueryError>> {
        Box::pin(self.list_tags(ctx, request))
    }

    fn tag_values(
        &self,
        ctx: RequestCtx,
        request: TagValuesRequest,
    ) -> BoxFuture<'_, Result<TagValuesAnswer, QueryError>> {
        Box::pin(self.list_values(ctx, request))
    }

    fn metrics(
        &self,
        ctx: RequestCtx,
        request: MetricsRequest,
    ) -> BoxFuture<'_, Result<MetricsAnswer, QueryError>> {
        Box::pin(self.series(ctx, request))
    }
}
