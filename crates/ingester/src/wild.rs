//! Spans whose times are far off the present: they would stretch the time range of the block that they are in, and every
//! question about that time would have to look into it.
//!
//! What must stay true: every span is in exactly one of the two parts, and all spans that one trace has here are in the
//! same one.

use std::borrow::Cow;
use std::collections::HashSet;

use trackway_common::TraceId;
use trackway_spans::{SpanBatch, effective_duration, merge_traces};

/// More than one trace in so many is no stray: somebody brings old data in, and a second block would not spare anybody
/// the reading.
const STRAYS: usize = 4;

/// Splits batches into those with traces that are between two times (Unix nanoseconds), and those with traces that have
/// a span outside. When many traces do, nothing is split.
pub(crate) fn split(
    batches: Vec<Cow<'_, SpanBatch>>,
    window: (u64, u64),
) -> (Vec<Cow<'_, SpanBatch>>, Vec<Cow<'_, SpanBatch>>) {
    let wild = wild_traces(&batches, window);
    if wild.is_empty() {
        return (batches, Vec::new());
    }
    let traces: HashSet<TraceId> = batches.iter().flat_map(|batch| batch.traces.ids()).collect();
    if wild.len() > traces.len() / STRAYS {
        return (batches, Vec::new());
    }
    let (mut main, mut apart) = (Vec::new(), Vec::new());
    for batch in batches {
        let (of_wild, others): (Vec<TraceId>, Vec<TraceId>) =
            batch.traces.ids().partition(|id| wild.contains(id));
        if of_wild.is_empty() {
            main.push(batch);
        } else if others.is_empty() {
            apart.push(batch);
        } else {
            main.push(Cow::Owned(merge_traces(&[&batch], &others)));
            apart.push(Cow::Owned(merge_traces(&[&batch], &of_wild)));
        }
    }
    if main.is_empty() { (apart, main) } else { (main, apart) }
}

/// Traces that have a span of which any part is outside.
fn wild_traces(batches: &[Cow<'_, SpanBatch>], (first, last): (u64, u64)) -> HashSet<TraceId> {
    let mut wild = HashSet::new();
    for batch in batches {
        if batch.time_range().is_none_or(|(start, end)| start >= first && end <= last) {
            continue;
        }
        let ids: Vec<TraceId> = batch.traces.ids().collect();
        let spans = &batch.spans;
        for ((start, duration), trace) in
            spans.start.iter().zip(spans.duration.iter()).zip(spans.trace.iter())
        {
            if *start < first || start.saturating_add(effective_duration(*duration)) > last {
                wild.extend(ids.get(*trace as usize));
            }
        }
    }
    wild
}
