//! What is known of each interval of a group: sorted lists that grow by being merged.

use serde::{Deserialize, Serialize};

/// Something that is known of some spans, and that two sets of spans know together.
pub(crate) trait Merge {
    fn merge(&mut self, other: Self);
}

impl Merge for u64 {
    fn merge(&mut self, other: Self) {
        *self += other;
    }
}

/// The greatest number. `from` and `into` bits, since not every format can write all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub(crate) struct Most(pub(crate) f64);

impl From<u64> for Most {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl From<Most> for u64 {
    fn from(most: Most) -> Self {
        most.0.to_bits()
    }
}

impl Merge for Most {
    fn merge(&mut self, other: Self) {
        self.0 = self.0.max(other.0); // of a number and NaN the number
    }
}

/// A sum, and of how many numbers. Whole numbers are added exactly. Of floating-point numbers what rounding loses is kept,
/// so that the sum does not depend on the order in which they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    whole: i128,
    high: Most,
    low: Most,
}

impl Default for Most {
    fn default() -> Self {
        Self(0.0)
    }
}

impl Sum {
    #[inline]
    pub(crate) fn add_whole(&mut self, number: i64) {
        self.count += 1;
        self.whole += i128::from(number);
    }

    pub(crate) fn add_float(&mut self, number: f64) {
        self.count += 1;
        self.add(number);
    }

    fn add(&mut self, number: f64) {
        let (a, b) = (self.high.0, number);
        let sum = a + b;
        // What is lost of a + b (Knuth's two-sum); of infinite numbers there is none.
        let kept = sum - a;
        let lost = (a - (sum - kept)) + (b - kept);
        self.high = Most(sum);
        self.low = Most(if sum.is_finite() { self.low.0 + lost } else { 0.0 });
    }

    pub(crate) fn total(&self) -> f64 {
        self.whole as f64 + (self.high.0 + self.low.0)
    }
}

impl Merge for Sum {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.whole += other.whole;
        self.add(other.high.0);
        self.low.0 += other.low.0;
    }
}

/// Values by lane, ascending: a lane is an interval, or one bucket of an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lanes<T>(pub(crate) Vec<(u32, T)>);

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Lanes<T> {
    /// Moves all of them; `None` when one would lie before the first or behind what can be numbered.
    pub(crate) fn shift(&mut self, by: i64) -> Option<()> {
        self.0.iter_mut().try_for_each(|(lane, _)| {
            *lane = u32::try_from(i64::from(*lane) + by).ok()?;
            Some(())
        })
    }
}

impl<T: Merge> Merge for Lanes<T> {
    fn merge(&mut self, other: Self) {
        const NEAR: usize = 8;
        let mut new = Vec::new();
        let mut at = 0;
        for (lane, value) in other.0 {
            // Most often it is one of the next; otherwise it is searched for in the rest.
            let rest = &self.0[at..];
            let near = rest.iter().take(NEAR).take_while(|known| known.0 < lane).count();
            at += if near < NEAR { near } else { rest.partition_point(|known| known.0 < lane) };
            match self.0.get_mut(at) {
                Some(known) if known.0 == lane => {
                    known.1.merge(value);
                    at += 1;
                }
                _ => new.push((lane, value)),
            }
        }
        if self.0.is_empty() {
            self.0 = new;
        } else if !new.is_empty() {
            // Two sorted runs: the standard sort sees them and merges them.
            self.0.extend(new);
            self.0.sort_by_key(|entry| entry.0);
        }
    }
}

/// Something that starts as nothing.
pub(crate) trait Blank: Clone {
    const BLANK: Self;
    fn is_blank(&self) -> bool;
}

impl Blank for u64 {
    const BLANK: Self = 0;

    fn is_blank(&self) -> bool {
        *self == 0
    }
}

impl Blank for Most {
    const BLANK: Self = Self(f64::NEG_INFINITY);

    fn is_blank(&self) -> bool {
        self.0 == f64::NEG_INFINITY
    }
}

impl Blank for Sum {
    const BLANK: Self = Self { count: 0, whole: 0, high: Most(0.0), low: Most(0.0) };

    fn is_blank(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_stay_sorted() {
        let mut lanes = Lanes(vec![(2, 1_u64), (5, 1), (9, 1)]);
        lanes.merge(Lanes(vec![(1, 1), (5, 2), (7, 1), (9, 1), (10, 1)]));
        assert_eq!(lanes.0, [(1, 1), (2, 1), (5, 3), (7, 1), (9, 2), (10, 1)]);
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let numbers = [1e17, 0.5, -1e17, 0.25, 1.0];
        let mut forwards = Sum::default();
        numbers.iter().for_each(|number| forwards.add_float(*number));
        let (mut a, mut b) = (Sum::default(), Sum::default());
        numbers[2..].iter().rev().for_each(|number| a.add_float(*number));
        numbers[..2].iter().rev().for_each(|number| b.add_float(*number));
        a.merge(b);
        assert_eq!((forwards.total(), forwards.count), (1.75, 5));
        assert_eq!((a.total(), a.count), (1.75, 5));
        a.add_float(f64::INFINITY);
        a.add_float(1.0);
        assert_eq!(a.total(), f64::INFINITY);
    }
}
