//! The spans of a batch that count, and the intervals that they fall into.

use super::series::Intervals;

/// Spans with their intervals.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Rows in the batch, ascending.
    pub(crate) spans: Vec<u32>,
    /// The interval of each of them.
    pub(crate) slots: Vec<u32>,
}

impl Rows {
    /// The selected spans that start in the range.
    pub(crate) fn new(starts: &[u64], selected: &[bool], time: &Intervals) -> Self {
        let count = starts.len().min(selected.len());
        let (mut spans, mut slots) = (vec![0; count], vec![0; count]);
        let intervals = time.count();
        let mut kept = 0;
        // Spans next to each other are often of one trace, hence of one interval: dividing is for the others.
        let (mut first, mut length, mut slot) = (0, 0, 0);
        for (span, (start, selected)) in starts.iter().zip(selected).enumerate() {
            if !selected {
                continue;
            }
            if start.wrapping_sub(first) >= length {
                let Some(found) = time.slot(*start).filter(|slot| *slot < intervals) else { continue };
                slot = found as u32;
                (first, length) = bounds(time, found);
            }
            spans[kept] = span as u32;
            slots[kept] = slot;
            kept += 1;
        }
        spans.truncate(kept);
        slots.truncate(kept);
        Self { spans, slots }
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Keeps the rows for whose place `keep` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        for column in [&mut self.spans, &mut self.slots] {
            let mut row = 0;
            column.retain(|_| {
                row += 1;
                keep(row - 1)
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// The first start that falls into an interval, and how many do.
fn bounds(time: &Intervals, slot: usize) -> (u64, u64) {
    match time.step {
        Some(step) => {
            let end = time.start + slot as u64 * step;
            (end - step + 1, step.min(time.end.saturating_sub(end - step)))
        }
        None => (time.start + 1, time.end - time.start),
    }
}
