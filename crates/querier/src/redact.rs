//! What a redaction is about: the traces and spans that are named, or that a query matches, at this moment.
//!
//! What must stay true: an answer is complete or an error. Whoever removes what was found believes that it is all there is.

use std::collections::{BTreeMap, BTreeSet};

use trackway_common::{ErrorKind, RequestCtx, TraceId};
use trackway_engine::whole_trace_needs;
use trackway_storage::StoreError;
use trackway_storage::redact::{REDACTED_MAX, Which};

use crate::querier::Querier;
use crate::service::{Completeness, QueryError, SearchFilter, SearchRequest, TimeRange};
use crate::tally::{Tally, over_budget};

/// Traces whose spans are counted together.
const COUNTED_AT_ONCE: usize = 1024;

/// What is to be removed.
#[derive(Clone, Debug, Default)]
pub struct RedactionRequest {
    /// Whole traces.
    pub traces: Vec<TraceId>,
    /// The spans that this TraceQL query matches.
    pub query: Option<String>,
    /// The traces that the query looks at; all, if it is not there.
    pub range: Option<TimeRange>,
}

/// What was found of it.
#[derive(Clone, Debug, Default)]
pub struct Redactable {
    /// What to remove.
    pub targets: BTreeMap<TraceId, Which>,
    /// How many spans that are.
    pub spans: u64,
    /// Traces that were named and are not there.
    pub unknown: Vec<TraceId>,
}

fn invalid(text: impl Into<String>) -> QueryError {
    QueryError::new(ErrorKind::Invalid, text)
}

impl Querier {
    /// Finds what a redaction is to remove of a tenant (the first of the context).
    ///
    /// # Errors
    /// [`QueryError`]: among others when it is more than [`REDACTED_MAX`] traces or spans, or when not everything can be
    /// read.
    pub async fn redactable(
        &self,
        ctx: &RequestCtx,
        request: &RedactionRequest,
    ) -> Result<Redactable, QueryError> {
        let mut found = Redactable::default();
        if let Some(query) = &request.query {
            self.matched(ctx, query, request.range, &mut found).await?;
        }
        let mut ids = request.traces.clone();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > REDACTED_MAX {
            return Err(too_many(&format!("{} traces are named", ids.len()), "name fewer at once"));
        }
        if !ids.is_empty() {
            self.named(ctx, &ids, &mut found).await?;
        }
        Ok(found)
    }

    async fn matched(
        &self,
        ctx: &RequestCtx,
        query: &str,
        range: Option<TimeRange>,
        found: &mut Redactable,
    ) -> Result<(), QueryError> {
        // As a search, the part before its metrics would be taken for all of it.
        if trackway_traceql::parse(query).is_ok_and(|query| query.metrics.is_some()) {
            let text = "a redaction takes a query that selects spans, such as { span.user = \"bob\" }, not one for metrics";
            return Err(invalid(text));
        }
        let filter = SearchFilter::TraceQl(query.to_owned());
        let (limit, spans_per_spanset) = (REDACTED_MAX + 1, REDACTED_MAX + 1);
        let request = SearchRequest { filter, range, limit, spans_per_spanset };
        let answer = self.search_once(ctx, &request).await?;
        complete(&answer.completeness)?;
        let narrow = "narrow the query, or give start and end, and redact in several steps";
        if answer.traces.len() > REDACTED_MAX {
            return Err(too_many("the query matches more traces", narrow));
        }
        for trace in answer.traces {
            let mut spans = BTreeSet::new();
            for set in trace.spansets {
                if (set.matched as usize) > set.spans.len() {
                    return Err(too_many("the query matches more spans of a trace", narrow));
                }
                spans.extend(set.spans.iter().map(|span| span.id));
            }
            found.spans += spans.len() as u64;
            if found.spans > REDACTED_MAX as u64 {
                return Err(too_many("the query matches more spans", narrow));
            }
            if !spans.is_empty() {
                found.targets.insert(trace.id, Which::Spans(spans));
            }
        }
        Ok(())
    }

    async fn named(
        &self,
        ctx: &RequestCtx,
        ids: &[TraceId],
        found: &mut Redactable,
    ) -> Result<(), QueryError> {
        let tenant = ctx.tenants.first().ok_or_else(|| invalid("no tenant is named"))?;
        let _admitted = self.guards.admit(ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        let source = self.source(tenant, None, &tally);
        for ids in ids.chunks(COUNTED_AT_ONCE) {
            let places = source.locate(ids, |_| false, &tally).await;
            let joined = source.join(ids.to_vec(), places, &whole_trace_needs(), &tally).await;
            let batch = joined.map_err(failed)?.batch;
            tally.check(ctx)?;
            complete(&tally.completeness())?;
            let mut counts: BTreeMap<TraceId, u64> = BTreeMap::new();
            batch
                .spans
                .trace
                .iter()
                .for_each(|trace| *counts.entry(batch.traces.id(*trace as usize)).or_default() += 1);
            for id in ids {
                let Some(spans) = counts.get(id) else {
                    found.unknown.push(*id);
                    continue;
                };
                if let Some(Which::Spans(matched)) = found.targets.insert(*id, Which::All) {
                    found.spans -= matched.len() as u64;
                }
                found.spans += spans;
            }
        }
        Ok(())
    }
}

fn failed(error: StoreError) -> QueryError {
    match error {
        StoreError::Memory(over) => over_budget(&over),
        other => QueryError::new(ErrorKind::Internal, other.to_string()),
    }
}

fn too_many(what: &str, way_out: &str) -> QueryError {
    invalid(format!("{what} than one redaction takes (at most {REDACTED_MAX} traces and spans): {way_out}"))
}

/// Refuses what is only a part: the rest would stay.
fn complete(completeness: &Completeness) -> Result<(), QueryError> {
    match completeness {
        Completeness::Complete => Ok(()),
        Completeness::Partial(why) => {
            let text = format!("nothing is redacted, since not everything could be looked through: {why}");
            Err(QueryError::new(ErrorKind::Unavailable, text))
        }
    }
}
