//! Which span stands where in the file: traces by id, and where a row group ends.
//!
//! No span is moved and no long key is sorted: traces are ranked once, and spans are dealt out to them by counting.
//!
//! A row cannot be read in part. So that nobody has to hold a trace of a million spans, one that has more than
//! [`ROW_SPANS_MAX`] becomes several rows, each in a row group of its own: within a row group every id stands once, which
//! is what readers count on.

use std::ops::Range;

use trackway_common::TraceId;

use super::Part;

/// Spans of a row at the most.
pub const ROW_SPANS_MAX: usize = 16 * 1024;

/// Where a span is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanRef {
    pub(crate) chunk: u32,
    pub(crate) row: u32,
}

/// The traces that have spans, by id, with their spans in the order of the chunks.
pub(crate) struct Order {
    /// Ids, ascending; one that takes several rows stands there as often.
    pub(crate) traces: Vec<u128>,
    /// Where the spans of each trace begin; one more than there are traces.
    starts: Vec<u32>,
    spans: Vec<SpanRef>,
}

impl Order {
    pub(crate) fn new(parts: &[Part<'_>]) -> Self {
        let mut ids: Vec<(u128, u32, u32)> = Vec::new();
        let mut spans_of: Vec<Vec<u32>> = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            let chunk = part.batch;
            let mut counts = vec![0; chunk.traces.len()];
            chunk.spans.trace.iter().for_each(|trace| counts[*trace as usize] += 1);
            if let Some(keep) = part.keep {
                let left_out = counts.iter_mut().zip(keep).filter(|(_, keep)| !**keep);
                left_out.for_each(|(count, _)| *count = 0);
            }
            let with_spans = chunk.traces.ids().enumerate().filter(|(row, _)| counts[*row] > 0);
            ids.extend(with_spans.map(|(row, id)| (id.0, number as u32, row as u32)));
            spans_of.push(counts);
        }
        ids.sort_unstable();
        // From here on `spans_of` says where the next span of a chunk's trace goes, instead of how many there are.
        let (mut traces, mut starts, mut at) = (Vec::new(), Vec::new(), 0);
        for (id, chunk, row) in &ids {
            if traces.last() != Some(id) {
                traces.push(*id);
                starts.push(at);
            }
            let count = &mut spans_of[*chunk as usize][*row as usize];
            let first = at;
            at += *count;
            *count = first;
        }
        starts.push(at);
        let (traces, starts) = cut(traces, starts, ROW_SPANS_MAX);
        let mut spans = vec![SpanRef::default(); at as usize];
        for (number, part) in parts.iter().enumerate() {
            let next = &mut spans_of[number];
            for (row, trace) in part.batch.spans.trace.iter().enumerate() {
                if part.keep.is_some_and(|keep| !keep.get(*trace as usize).is_some_and(|keep| *keep)) {
                    continue;
                }
                let place = &mut next[*trace as usize];
                spans[*place as usize] = SpanRef { chunk: number as u32, row: row as u32 };
                *place += 1;
            }
        }
        Self { traces, starts, spans }
    }

    /// The least id.
    pub(crate) fn first(&self) -> Option<TraceId> {
        self.traces.first().map(|id| TraceId(*id))
    }

    /// How many spans there are.
    pub(crate) fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The spans of a trace.
    pub(crate) fn spans_of(&self, trace: usize) -> &[SpanRef] {
        &self.spans[self.starts[trace] as usize..self.starts[trace + 1] as usize]
    }

    /// The rows of each row group, with at most so many spans unless a single one has more.
    pub(crate) fn row_groups(&self, spans_max: usize) -> Vec<Range<usize>> {
        let mut groups = Vec::new();
        let mut first = 0;
        while first < self.traces.len() {
            let limit = self.starts[first] as usize + spans_max.max(1);
            let fits = self.starts[first + 1..].partition_point(|start| *start as usize <= limit);
            let mut end = first + fits.max(1);
            if let Some(again) = self.traces[first..end].windows(2).position(|pair| pair[0] == pair[1]) {
                end = first + again + 1;
            }
            groups.push(first..end);
            first = end;
        }
        groups
    }
}

/// Cuts traces of more spans than a row may have.
fn cut(traces: Vec<u128>, starts: Vec<u32>, spans_max: usize) -> (Vec<u128>, Vec<u32>) {
    let is_long = |pair: &[u32]| (pair[1] - pair[0]) as usize > spans_max;
    if !starts.windows(2).any(is_long) {
        return (traces, starts);
    }
    let (mut rows, mut of_rows) = (Vec::new(), Vec::new());
    for (id, pair) in traces.into_iter().zip(starts.windows(2)) {
        for start in (pair[0]..pair[1]).step_by(spans_max) {
            rows.push(id);
            of_rows.push(start);
        }
    }
    of_rows.extend(starts.last());
    (rows, of_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_is_too_long_takes_several_rows_in_row_groups_of_their_own() {
        let (traces, starts) = cut(vec![1, 2, 3], vec![0, 10, 35, 36], 10);
        assert_eq!((&traces[..], &starts[..]), (&[1, 2, 2, 2, 3][..], &[0, 10, 20, 30, 35, 36][..]));
        let order = Order { traces, starts, spans: Vec::new() };
        assert_eq!(order.row_groups(1000), [0..2, 2..3, 3..5]);
    }

    #[test]
    fn row_groups_are_cut_between_traces() {
        let order = Order { traces: vec![1, 2, 3, 4], starts: vec![0, 2, 5, 105, 106], spans: Vec::new() };
        assert_eq!(order.row_groups(5), [0..2, 2..3, 3..4]);
        assert_eq!(order.row_groups(0), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(order.row_groups(105), [0..3, 3..4]);
        assert!(Order::new(&[]).row_groups(10).is_empty());
    }
}
