//! Spans that stand for many: of each group, in each slice of the range, the first one of the trace with the least hash.
//! So it is always the same one, however the spans are cut into parts.

use serde::{Deserialize, Serialize};
use trackway_common::TraceId;
use trackway_spans::SpanBatch;

use super::cells;
use super::groups::Groups;
use super::key::float_bits;
use super::lanes::{Blank, Lanes, Merge};
use super::rows::Rows;
use super::series::Intervals;

/// A span that may become an exemplar. The first field decides which one does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) hash: u64,
    trace_high: u64,
    trace_low: u64,
    /// Unix nanoseconds.
    pub(crate) start: u64,
    /// Bits of the number that the span brings in.
    number: u64,
}

impl Candidate {
    pub(crate) fn trace_id(&self) -> TraceId {
        TraceId(u128::from(self.trace_high) << 64 | u128::from(self.trace_low))
    }

    pub(crate) fn number(&self) -> f64 {
        f64::from_bits(self.number)
    }
}

impl Merge for Candidate {
    fn merge(&mut self, other: Self) {
        if other < *self {
            *self = other;
        }
    }
}

/// How a range is cut: at multiples of so many steps since the Unix epoch, so that a range that moves is cut at the same
/// times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    /// Steps.
    pub(super) width: u64,
    /// The step at which the range begins, and the slice of it.
    first: u64,
    pub(super) base: u64,
}

impl Slices {
    /// About so many of a range.
    pub(super) fn new(slices: usize, time: &Intervals) -> Self {
        // One is lost where the range does not begin with a slice.
        let width = (time.count() as u64).div_ceil((slices as u64).saturating_sub(1).max(1)).max(1);
        let first = time.step.map_or(0, |step| time.start / step);
        Self { width, first, base: first / width }
    }

    /// The slice of an interval.
    fn of(&self, slot: u32) -> u32 {
        // There are no more slices than intervals.
        ((self.first + u64::from(slot)) / self.width - self.base) as u32
    }
}

/// The best span so far: its hash, and its row.
#[derive(Clone, Copy)]
struct Best(u64, u32);

impl Blank for Best {
    const BLANK: Self = Self(u64::MAX, u32::MAX);

    fn is_blank(&self) -> bool {
        self.1 == u32::MAX
    }
}

/// The candidates of each group of a batch, one for each slice at the most. `number` says what a row brings in.
pub(crate) fn candidates(
    batch: &SpanBatch,
    groups: &Groups<'_>,
    rows: &Rows,
    number: impl Fn(usize) -> f64,
    (slices, time): (usize, &Intervals),
) -> Vec<(u32, Lanes<Candidate>)> {
    let slices = Slices::new(slices, time);
    let lanes: Vec<u32> = rows.slots.iter().map(|slot| slices.of(*slot)).collect();
    let slices = slices.of(time.count() as u32) as usize + 1;
    let ids = batch.traces.id_high.iter().zip(batch.traces.id_low.iter());
    let hashes: Vec<u64> = ids.map(|(high, low)| mix(low ^ mix(*high))).collect();
    let candidate = |row: usize| {
        let span = rows.spans[row] as usize;
        let trace = batch.spans.trace[span] as usize;
        let (trace_high, trace_low) = (batch.traces.id_high[trace], batch.traces.id_low[trace]);
        let (hash, start) = (hashes[trace], batch.spans.start[span]);
        Candidate { hash, trace_high, trace_low, start, number: float_bits(number(row)) }
    };
    let best: Vec<(u32, Lanes<Best>)> =
        cells::collect((&groups.of_row, groups.count), (&lanes, slices), |best: &mut Best, row| {
            let hash = hashes[batch.spans.trace[rows.spans[row] as usize] as usize];
            if best.is_blank()
                || hash < best.0
                || (hash == best.0 && candidate(row) < candidate(best.1 as usize))
            {
                *best = Best(hash, row as u32);
            }
        });
    let finish = |lanes: Lanes<Best>| {
        Lanes(lanes.0.into_iter().map(|(slice, best)| (slice, candidate(best.1 as usize))).collect())
    };
    best.into_iter().map(|(group, lanes)| (group, finish(lanes))).collect()
}

/// Spreads all bits over all bits.
#[inline]
fn mix(bits: u64) -> u64 {
    let product = u128::from(bits ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
    (product >> 64) as u64 ^ product as u64
}
