//! The first step of a search: which traces of a source may be part of the answer.

use trackway_common::TraceId;
use trackway_spans::{SpanBatch, effective_duration};

use crate::filter::EvalError;
use crate::plan::SearchPlan;

/// A trace in which filters found spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: TraceId,
    /// Row of the trace in the batch.
    pub row: u32,
    /// Earliest start of its spans here, Unix nanoseconds. The trace as a whole starts no later.
    pub start: u64,
    /// One bit for each filter of the plan that found a span here.
    pub found: u64,
}

/// What a source knows of its traces.
pub enum Wholeness<'a> {
    /// All spans of its traces are here.
    Whole,
    /// Any trace may have spans elsewhere, and trace-level columns are missing.
    Fragments,
    /// Those for which this says true have spans elsewhere.
    Some(&'a dyn Fn(TraceId) -> bool),
}

impl std::fmt::Debug for Wholeness<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole => "Whole",
            Self::Fragments => "Fragments",
            Self::Some(_) => "Some",
        })
    }
}

impl SearchPlan {
    /// Finds the traces of a batch that may be part of the answer: all that are, as far as their spans are here, and
    /// perhaps others.
    ///
    /// # Errors
    /// [`EvalError`] when a filter cannot be computed.
    pub fn scan(&self, batch: &SpanBatch, wholeness: &Wholeness<'_>) -> Result<Vec<Candidate>, EvalError> {
        let mut found = vec![0_u64; batch.traces.len()];
        for (index, filter) in self.filters.iter().enumerate() {
            let mask = match wholeness {
                Wholeness::Whole => filter.mask(batch)?,
                Wholeness::Fragments => filter.possible(batch)?,
                Wholeness::Some(elsewhere) if filter.needs_whole_traces() => {
                    let fragment: Vec<bool> = batch.traces.ids().map(elsewhere).collect();
                    let mut mask = filter.mask(batch)?;
                    if fragment.contains(&true) {
                        let possible = filter.possible(batch)?;
                        for (span, trace) in batch.spans.trace.iter().enumerate() {
                            mask[span] |= possible[span] && fragment[*trace as usize];
                        }
                    }
                    mask
                }
                Wholeness::Some(_) => filter.mask(batch)?,
            };
            for (trace, hit) in batch.spans.trace.iter().zip(mask) {
                found[*trace as usize] |= u64::from(hit) << index;
            }
        }
        let starts = starts(batch);
        let candidate = |(row, found): (usize, u64)| {
            let inside = || self.combine.accepts(found) && self.overlaps(batch, row);
            // What lies elsewhere is asked last: it costs the most to know.
            let may = found != 0
                && match wholeness {
                    Wholeness::Whole => inside(),
                    Wholeness::Fragments => true,
                    Wholeness::Some(elsewhere) => inside() || elsewhere(batch.traces.id(row)),
                };
            may.then(|| Candidate {
                id: batch.traces.id(row),
                row: row as u32,
                start: starts.get(row).copied().unwrap_or(0),
                found,
            })
        };
        Ok(found.into_iter().enumerate().filter_map(candidate).collect())
    }

    /// Whether a trace in which these filters found spans, wherever they lie, may be part of the answer.
    pub fn accepts(&self, found: u64) -> bool {
        self.combine.accepts(found)
    }

    /// Whether a trace with these extents is in the range of the search.
    pub(crate) fn overlaps(&self, batch: &SpanBatch, row: usize) -> bool {
        let Some((low, high)) = self.range else { return true };
        let (Some(start), Some(end)) = (batch.traces.start.get(row), batch.traces.end.get(row)) else {
            return true;
        };
        *start <= high && *end >= low
    }
}

/// The start of every trace: as stored, or computed from its spans.
fn starts(batch: &SpanBatch) -> Vec<u64> {
    if batch.traces.start.len() == batch.traces.len() {
        return batch.traces.start.to_vec();
    }
    let mut starts = vec![u64::MAX; batch.traces.len()];
    for (trace, start) in batch.spans.trace.iter().zip(batch.spans.start.iter()) {
        starts[*trace as usize] = starts[*trace as usize].min(*start);
    }
    starts
}

/// Earliest start and latest end of the spans of every trace of a batch.
pub(crate) fn extents(batch: &SpanBatch) -> Vec<(u64, u64)> {
    if batch.traces.start.len() == batch.traces.len() {
        return batch.traces.start.iter().copied().zip(batch.traces.end.iter().copied()).collect();
    }
    let mut extents = vec![(u64::MAX, 0); batch.traces.len()];
    for (span, trace) in batch.spans.trace.iter().enumerate() {
        let start = batch.spans.start[span];
        let end = start.saturating_add(effective_duration(batch.spans.duration[span]));
        let extent = &mut extents[*trace as usize];
        *extent = (extent.0.min(start), extent.1.max(end));
    }
    extents
}
