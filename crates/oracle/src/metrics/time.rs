//! The intervals of a metrics query.

use crate::error::EvalError;

/// The time that a metrics query is about, in Unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// A value for each step.
    Range {
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
        /// How long an interval is.
        step: u64,
    },
    /// One value for all of the time.
    Instant {
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
}

impl Time {
    /// With start and end of a range on whole steps, so that the range does not get smaller.
    pub(crate) fn aligned(self) -> Result<Self, EvalError> {
        match self {
            Self::Range { step: 0, .. } => Err(EvalError::NotMetrics("step required")),
            Self::Range { start, end, .. } | Self::Instant { start, end } if end <= start => {
                Err(EvalError::NotMetrics("end must be greater than start"))
            }
            Self::Range { start, end, step } => {
                Ok(Self::Range { start: start - start % step, end: end.next_multiple_of(step), step })
            }
            instant @ Self::Instant { .. } => Ok(instant),
        }
    }

    /// The interval that a span's start falls into; nothing outside of the range. Intervals are open at their start and
    /// belong to the time at which they end. The first one ends at the start of the range, so that it stays empty.
    pub(crate) fn slot(&self, at: u64) -> Option<usize> {
        match *self {
            Self::Range { start, end, .. } | Self::Instant { start, end } if at <= start || at > end => None,
            Self::Range { start, step, .. } => Some((at - start).div_ceil(step) as usize),
            Self::Instant { .. } => Some(0),
        }
    }

    /// An empty list for each interval.
    pub(crate) fn slots<T: Clone>(&self) -> Vec<Vec<T>> {
        let count = match *self {
            Self::Range { start, end, step } => (end - start) / step + 1,
            Self::Instant { .. } => 1,
        };
        vec![Vec::new(); count as usize]
    }

    /// Values of the intervals with the times at which they end, in milliseconds. Those without a value are left out.
    pub(crate) fn samples(&self, values: impl Iterator<Item = Option<f64>>) -> Vec<(u64, f64)> {
        let end_of = |slot: u64| match *self {
            Self::Range { start, step, .. } => start + slot * step,
            Self::Instant { end, .. } => end,
        };
        (0..).zip(values).filter_map(|(slot, value)| Some((end_of(slot) / 1_000_000, value?))).collect()
    }

    /// How long an interval is.
    pub(crate) fn step_seconds(&self) -> f64 {
        match *self {
            Self::Range { step, .. } => step as f64 / 1e9,
            Self::Instant { start, end } => (end - start) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn intervals_are_open_at_their_start() {
        let time = Time::Range { start: 12, end: 38, step: 10 }.aligned().unwrap();
        assert_eq!(time, Time::Range { start: 10, end: 40, step: 10 });
        let slots: Vec<_> = [9, 10, 11, 20, 21, 40, 41].iter().map(|at| time.slot(*at)).collect();
        assert_eq!(slots, [None, None, Some(1), Some(1), Some(2), Some(3), None]);
        assert_eq!(time.slots::<u8>().len(), 4);
        assert!(Time::Instant { start: 5, end: 5 }.aligned().is_err());
    }
}
