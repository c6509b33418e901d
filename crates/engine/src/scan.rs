//! The first step of a search: which traces of a source may be part of the answer.

use trackway_common::TraceId;
use trackway_spans::{SpanBatch, effective_duration};

use crate::filter::{EvalError, Filter};
use crate::plan::SearchPlan;
use crate::program::Program;
use crate::spansets::{Run, rows_by_trace};

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
#[derive(Clone, Copy, Debug)]
pub enum Wholeness<'a> {
    /// All spans of its traces are here, but of those rows for which this says true, if it is there.
    Whole(Option<&'a [bool]>),
    /// Any trace may have spans elsewhere, and trace-level columns are missing.
    Fragments,
}

impl Wholeness<'_> {
    /// Whether all spans of the trace in this row are here.
    pub(crate) fn is_whole(&self, row: usize) -> bool {
        match self {
            Self::Whole(shared) => shared.is_none_or(|shared| !shared[row]),
            Self::Fragments => false,
        }
    }
}

/// The findings of every filter. Of traces that are not whole here, what depends on the whole trace counts as found.
pub(crate) fn filter_masks(
    program: &Program,
    batch: &SpanBatch,
    wholeness: Wholeness<'_>,
) -> Result<Vec<Vec<bool>>, EvalError> {
    let mask = |filter: &Filter| match wholeness {
        Wholeness::Fragments => filter.possible(batch),
        Wholeness::Whole(Some(shared)) if filter.needs_whole_traces() => {
            let (mut mask, possible) = (filter.mask(batch)?, filter.possible(batch)?);
            for (span, trace) in batch.spans.trace.iter().enumerate() {
                if shared[*trace as usize] {
                    mask[span] = possible[span];
                }
            }
            Ok(mask)
        }
        Wholeness::Whole(_) => filter.mask(batch),
    };
    program.filters.iter().map(mask).collect()
}

/// For each trace of a batch one bit for each filter that found a span of it.
pub(crate) fn found_bits(batch: &SpanBatch, masks: &[Vec<bool>]) -> Vec<u64> {
    let mut found = vec![0_u64; batch.traces.len()];
    for (index, mask) in masks.iter().enumerate() {
        for (trace, hit) in batch.spans.trace.iter().zip(mask) {
            found[*trace as usize] |= u64::from(*hit) << index;
        }
    }
    found
}

impl SearchPlan {
    /// Finds the traces of a batch that may be part of the answer: all that are, as far as their spans are here, and
    /// of those that are not whole here perhaps others.
    ///
    /// # Errors
    /// [`EvalError`] when a filter cannot be computed.
    pub fn scan(&self, batch: &SpanBatch, wholeness: Wholeness<'_>) -> Result<Vec<Candidate>, EvalError> {
        let masks = filter_masks(&self.program, batch, wholeness)?;
        let found = found_bits(batch, &masks);
        let starts = starts(batch);
        let runs = !self.program.is_decided_by_filters() && !matches!(wholeness, Wholeness::Fragments);
        let rows = if runs { rows_by_trace(batch) } else { Vec::new() };
        let run = runs.then(|| Run::new(&self.program, batch, masks));
        let mut candidates = Vec::new();
        for (row, found) in found.iter().copied().enumerate() {
            if found == 0 {
                continue;
            }
            if wholeness.is_whole(row) {
                if !self.accepts(found) || !self.overlaps(batch, row) {
                    continue;
                }
                if let Some(run) = &run
                    && run.trace(rows[row].clone())?.is_empty()
                {
                    continue;
                }
            }
            candidates.push(Candidate {
                id: batch.traces.id(row),
                row: row as u32,
                start: starts.get(row).copied().unwrap_or(0),
                found,
            });
        }
        Ok(candidates)
    }

    /// Whether a trace in which these filters found spans, wherever they lie, may be part of the answer.
    pub fn accepts(&self, found: u64) -> bool {
        self.program.accepts(found)
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
