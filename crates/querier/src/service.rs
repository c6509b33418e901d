//! The questions that can be asked and the shape of their answers. HTTP and gRPC only turn these into bytes.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use trackway_common::{ErrorKind, Kinded, RequestCtx, TraceId};
pub use trackway_engine::metrics::{Exemplar, Intervals, Series};
pub use trackway_engine::{AttributeValue, SpanResult, SpansetResult, TagScope, TraceResult};

/// Seconds since the Unix epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First second.
    pub start: u64,
    /// Last second.
    pub end: u64,
}

/// Asks for one trace.
#[derive(Clone, Debug)]
pub struct TraceRequest {
    /// Which one.
    pub id: TraceId,
    /// Only blocks that overlap are looked at; live data always is.
    pub range: Option<TimeRange>,
}

/// One trace.
#[derive(Clone, Debug, Default)]
pub struct TraceAnswer {
    /// OTLP `Trace` message (`repeated ResourceSpans = 1`), with `resource`, `scope` and `status` always present;
    /// `None` when the trace is unknown.
    pub trace: Option<Bytes>,
    /// How much was read.
    pub metrics: Metrics,
    /// Whether all of it is there, and if not why.
    pub completeness: Completeness,
    /// The limit in bytes that it was cut at; [`QueryService::trace_pieces`] has all of it.
    pub too_large: Option<usize>,
}

/// Asks for the newest traces that match.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What to look for.
    pub filter: SearchFilter,
    /// When the spans' traces must overlap; `None` for all time.
    pub range: Option<TimeRange>,
    /// At most so many traces.
    pub limit: usize,
    /// At most so many spans shown of a spanset.
    pub spans_per_spanset: usize,
}

/// What a search looks for.
#[derive(Clone, Debug)]
pub enum SearchFilter {
    /// A TraceQL query.
    TraceQl(String),
    /// The search of old: `tags=`, `minDuration=`, `maxDuration=` (nanoseconds, of the trace). All empty finds every
    /// trace; its answers have no spansets.
    Tags {
        /// Key and value pairs that must all match.
        tags: Vec<(String, String)>,
        /// Shortest duration of the trace, in nanoseconds.
        min_duration: Option<u64>,
        /// Longest duration of the trace, in nanoseconds.
        max_duration: Option<u64>,
    },
}

/// Part of the answer to a search. A stream of these ends with one that says [`SearchUpdate::done`].
#[derive(Clone, Debug, Default)]
pub struct SearchUpdate {
    /// Traces that were not sent before, newest first. Final: a trace is sent once.
    pub traces: Vec<TraceResult>,
    /// How far it is, and how much was read.
    pub metrics: Metrics,
    /// Whether anything was skipped.
    pub completeness: Completeness,
    /// Whether this is the last one.
    pub done: bool,
}

/// How much was read, in the words of Tempo's `SearchMetrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Traces looked at.
    pub inspected_traces: u64,
    /// Bytes read and decoded.
    pub inspected_bytes: u64,
    /// Spans looked at.
    pub inspected_spans: u64,
    /// Blocks in the snapshot.
    pub total_blocks: u32,
    /// Their bytes.
    pub total_block_bytes: u64,
    /// Jobs that the question was cut into.
    pub total_jobs: u32,
    /// Jobs that are done; fewer than `total_jobs` at the end means that something was skipped.
    pub completed_jobs: u32,
}

/// Whether an answer is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing was left out.
    #[default]
    Complete,
    /// Something was, and this says what.
    Partial(String),
}

/// Asks for the names of attributes.
#[derive(Clone, Debug, Default)]
pub struct TagsRequest {
    /// Only this scope.
    pub scope: Option<TagScope>,
    /// Lenient TraceQL: only names on spans that match.
    pub query: String,
    /// Only blocks that overlap.
    pub range: Option<TimeRange>,
    /// At most so many names; 0 for no limit.
    pub limit: usize,
}

/// Names of attributes by scope, sorted, intrinsics included when asked for or when no scope is named.
#[derive(Clone, Debug, Default)]
pub struct TagsAnswer {
    /// Scope and names.
    pub scopes: Vec<(TagScope, Vec<String>)>,
    /// How much was read.
    pub metrics: Metrics,
    /// Whether anything was skipped.
    pub completeness: Completeness,
}

/// Asks for the values of an attribute or intrinsic.
#[derive(Clone, Debug)]
pub struct TagValuesRequest {
    /// A TraceQL identifier (`span.foo`, `.foo`, `name`), or for the old form a bare tag name.
    pub name: String,
    /// The old form (`/api/search/tag/{name}/values`).
    pub legacy: bool,
    /// Lenient TraceQL: only values on spans that match.
    pub query: String,
    /// Only blocks that overlap.
    pub range: Option<TimeRange>,
    /// At most so many values; 0 for no limit.
    pub limit: usize,
}

/// Values of an attribute, those that occur most first.
#[derive(Clone, Debug, Default)]
pub struct TagValuesAnswer {
    /// Type (`string`, `int`, `float`, `bool`, `duration`, `keyword`) and value as text.
    pub values: Vec<(&'static str, String)>,
    /// How much was read.
    pub metrics: Metrics,
    /// Whether anything was skipped.
    pub completeness: Completeness,
}

/// Asks for series.
#[derive(Clone, Debug)]
pub struct MetricsRequest {
    /// A TraceQL metrics query.
    pub query: String,
    /// The time that it is about.
    pub time: Intervals,
    /// At most so many exemplars in all; 0 for none.
    pub exemplars: usize,
    /// At most so many series; 0 for no limit. More make the answer partial.
    pub max_series: usize,
}

/// Series.
#[derive(Clone, Debug, Default)]
pub struct MetricsAnswer {
    /// In the order of their labels.
    pub series: Vec<Series>,
    /// How much was read.
    pub metrics: Metrics,
    /// Whether anything was skipped or cut.
    pub completeness: Completeness,
}

/// A question that was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What the asker must do.
    pub kind: ErrorKind,
    /// What to tell them, as Tempo words it where clients look for the words.
    pub message: String,
}

impl QueryError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl Kinded for QueryError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Answers questions.
pub trait QueryService: Send + Sync + 'static {
    /// Finds one trace.
    fn trace(&self, ctx: RequestCtx, request: TraceRequest)
    -> BoxFuture<'_, Result<TraceAnswer, QueryError>>;

    /// Gives out a trace of any size in pieces, each of which is an OTLP `Trace` message; one behind the other they are one,
    /// too. An error, if any, is the last item; that the trace is not known is one.
    fn trace_pieces(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> BoxStream<'static, Result<Bytes, QueryError>>;

    /// Finds traces. An error, if any, is the last item.
    fn search(
        &self,
        ctx: RequestCtx,
        request: SearchRequest,
    ) -> BoxStream<'static, Result<SearchUpdate, QueryError>>;

    /// Lists names of attributes.
    fn tags(&self, ctx: RequestCtx, request: TagsRequest) -> BoxFuture<'_, Result<TagsAnswer, QueryError>>;

    /// Lists values of an attribute.
    fn tag_values(
        &self,
        ctx: RequestCtx,
        request: TagValuesRequest,
    ) -> BoxFuture<'_, Result<TagValuesAnswer, QueryError>>;

    /// Computes series.
    fn metrics(
        &self,
        ctx: RequestCtx,
        request: MetricsRequest,
    ) -> BoxFuture<'_, Result<MetricsAnswer, QueryError>>;
}
