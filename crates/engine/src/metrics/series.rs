//! What a metrics query answers with, and the time that it is about.

use crate::result::AttributeValue;

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Names and values, in the order of the grouping; what the aggregate adds (`p`, `__bucket`, `__name__`) last.
    pub labels: Vec<(String, AttributeValue)>,
    /// Unix milliseconds, ascending, and the value there. An instant query has one sample, at its end.
    pub samples: Vec<(u64, f64)>,
    /// Spans that stand for many.
    pub exemplars: Vec<Exemplar>,
}

/// A span as an example of what a series counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exemplar {
    /// `trace:id`, and the labels of the series.
    pub labels: Vec<(String, AttributeValue)>,
    /// What the span brought into the series; seconds for durations.
    pub value: f64,
    /// When the span started, Unix milliseconds.
    pub time_ms: u64,
}

/// The intervals of a metrics query, Unix nanoseconds. Each is open at its start and belongs to the time at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Where the range starts. Of a range query a multiple of the step.
    pub start: u64,
    /// Where it ends; after `start`.
    pub end: u64,
    /// How long an interval is; `None` for an instant query, which has one value for all of the time.
    pub step: Option<u64>,
}

impl Intervals {
    /// Intervals of a range query, with start and end moved to whole steps so that the range does not get smaller.
    /// `step` must not be 0.
    #[must_use]
    pub fn range(start: u64, end: u64, step: u64) -> Self {
        let end = end.checked_next_multiple_of(step).unwrap_or(end);
        Self { start: start - start % step, end, step: Some(step) }
    }

    /// The one interval of an instant query.
    #[must_use]
    pub fn instant(start: u64, end: u64) -> Self {
        Self { start, end, step: None }
    }

    /// How many samples a series may have.
    pub fn count(&self) -> usize {
        let steps = self.step.map_or(0, |step| (self.end - self.start) / step);
        usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// The interval that a span's start falls into; nothing outside of the range. That of a range query which ends where
    /// the range starts stays empty.
    #[inline]
    pub fn slot(&self, at: u64) -> Option<usize> {
        if at <= self.start || at > self.end {
            return None;
        }
        Some(self.step.map_or(0, |step| (at - self.start).div_ceil(step) as usize))
    }

    /// The time that a sample has, Unix milliseconds.
    pub fn time_ms(&self, slot: usize) -> u64 {
        self.step.map_or(self.end, |step| self.start + slot as u64 * step) / 1_000_000
    }

    /// How long an interval is, in seconds.
    pub fn seconds(&self) -> f64 {
        self.step.unwrap_or(self.end - self.start) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::Intervals;

    #[test]
    fn intervals_are_open_at_their_start() {
        let time = Intervals::range(12, 38, 10);
        assert_eq!((time.start, time.end, time.count()), (10, 40, 4));
        let slots: Vec<_> = [9, 10, 11, 20, 21, 40, 41].iter().map(|at| time.slot(*at)).collect();
        assert_eq!(slots, [None, None, Some(1), Some(1), Some(2), Some(3), None]);
        assert_eq!(Intervals::instant(5, 9).slot(9), Some(0));
    }
}
