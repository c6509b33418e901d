//! A native (exponential) histogram of durations, counted as Prometheus's client library for Go does it.
//!
//! What must stay true: bucket `i` of schema `s` holds the values above 2^((i-1)·2^-s) and up to 2^(i·2^-s), that bound
//! among them, whether they were observed at this schema or at a finer one that was widened since. That is so because
//! every index is made of the finest schema's, by the step with which buckets are widened. Bounds that are no power of
//! two are rounded as `exp2` rounds them, a last digit or so off those of other libraries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The schema with the widest buckets: each reaches to 65536 times its lower bound.
const WIDEST: i32 = -4;

/// The schema with the narrowest buckets: 256 between a power of two and the next.
const FINEST: i32 = 8;

/// Buckets of the finest schema between a power of two and the next.
const FINEST_BUCKETS: i32 = 1 << FINEST;

/// Values up to this are counted as zero: 2^-128, the default of Prometheus's client library.
pub(crate) const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// A run of empty buckets that is not longer than this is sent as zeros, not as a new span.
const FILLED_GAP: i32 = 2;

/// The bits of a number's fraction.
const FRACTION: u64 = (1 << 52) - 1;

/// The finest schema's lower bounds of the buckets in [0.5, 1), rising.
static BOUNDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let buckets = f64::from(FINEST_BUCKETS);
    (0..FINEST_BUCKETS).map(|index| (f64::from(index) / buckets - 1.0).exp2()).collect()
});

/// A native histogram. Counts are numbers with a fraction, as one span may stand for several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NativeHistogram {
    /// The schema that it begins with, also after a reset.
    first_schema: i32,
    schema: i32,
    count: f64,
    sum: f64,
    zero_count: f64,
    buckets: BTreeMap<i32, f64>,
}

impl NativeHistogram {
    /// An empty histogram whose buckets grow by `factor` at the most, as far as there is a schema so fine. A factor
    /// that is not above 1, which the configuration refuses, takes the finest.
    pub(crate) fn new(factor: f64) -> Self {
        let schema = schema_for(factor);
        Self { first_schema: schema, schema, count: 0.0, sum: 0.0, zero_count: 0.0, buckets: BTreeMap::new() }
    }

    /// Counts `value` `weight` times. While there are more buckets than `max_buckets` (0: no limit), they are widened as
    /// far as that goes; who would rather reset gives 0 and asks [`Self::is_over`].
    ///
    /// NaN is in the count and makes the sum NaN, but is in no bucket; infinity has the bucket after the greatest
    /// number's; what is negative counts as zero. A weight that is not a positive number counts nothing.
    pub(crate) fn observe(&mut self, value: f64, weight: f64, max_buckets: u32) {
        if !(weight > 0.0 && weight.is_finite()) {
            return;
        }
        self.count += weight;
        self.sum += value * weight;
        if value > ZERO_THRESHOLD {
            *self.buckets.entry(index(value, self.schema)).or_default() += weight;
        } else if !value.is_nan() {
            self.zero_count += weight;
        }
        while self.is_over(max_buckets) && self.widen() {}
    }

    /// Whether there are more buckets than `max_buckets`; 0 is no limit.
    pub(crate) fn is_over(&self, max_buckets: u32) -> bool {
        max_buckets > 0 && u32::try_from(self.buckets.len()).is_ok_and(|buckets| buckets > max_buckets)
    }

    /// Empties the histogram, which has its first schema again.
    pub(crate) fn reset(&mut self) {
        self.schema = self.first_schema;
        (self.count, self.sum, self.zero_count) = (0.0, 0.0, 0.0);
        self.buckets.clear();
    }

    /// Makes one bucket of every two, and says whether it did: the widest schema stays as it is.
    pub(crate) fn widen(&mut self) -> bool {
        if self.schema <= WIDEST {
            return false;
        }
        self.schema -= 1;
        for (index, count) in std::mem::take(&mut self.buckets) {
            *self.buckets.entry(widened(index, 1)).or_default() += count;
        }
        true
    }

    /// What [`Self::spans_and_counts`] and the rest told, to go on counting; a schema that is none is the widest.
    pub(crate) fn restore(
        factor: f64,
        schema: i32,
        (count, zero_count, sum): (f64, f64, f64),
        spans: &[(i32, u32)],
        counts: &[f64],
    ) -> Self {
        let (first_schema, schema) = (schema_for(factor), schema.clamp(WIDEST, FINEST));
        let mut buckets = BTreeMap::new();
        let (mut next, mut left) = (0_i32, counts.iter());
        for (offset, length) in spans {
            next = next.saturating_add(*offset);
            for (_, count) in (0..*length).zip(left.by_ref()) {
                if *count > 0.0 {
                    buckets.insert(next, *count);
                }
                next = next.saturating_add(1);
            }
        }
        Self { first_schema, schema, count, sum, zero_count, buckets }
    }

    /// Bytes of the buckets, about.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.len() * 16
    }

    /// How much was observed, NaN too.
    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    /// How much of it was not above [`ZERO_THRESHOLD`].
    pub(crate) fn zero_count(&self) -> f64 {
        self.zero_count
    }

    /// The sum of what was observed.
    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// The schema that the buckets have now: they grow by 2^(2^-schema).
    pub(crate) fn schema(&self) -> i32 {
        self.schema
    }

    /// The buckets as remote write has them in a histogram of floats: spans of an offset and a length, and the count of
    /// every bucket in the spans. The first offset is an index; those after it are the numbers of buckets left out.
    pub(crate) fn spans_and_counts(&self) -> (Vec<(i32, u32)>, Vec<f64>) {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut counts = Vec::with_capacity(self.buckets.len());
        let mut next = 0;
        for (index, count) in &self.buckets {
            let gap = index - next; // indexes are within ±2^18 and one
            match spans.last_mut() {
                Some((_, length)) if gap <= FILLED_GAP => {
                    counts.extend((0..gap).map(|_| 0.0));
                    *length += gap.unsigned_abs() + 1; // indexes rise: only a first one makes a gap below 0
                }
                _ => spans.push((gap, 1)),
            }
            counts.push(*count);
            next = index + 1;
        }
        (spans, counts)
    }
}

/// The schema with the largest growth that is not above `factor`.
fn schema_for(factor: f64) -> i32 {
    if factor > 1.0 {
        let halvings = factor.log2().log2().floor();
        -(halvings.clamp(f64::from(-FINEST), f64::from(-WIDEST)) as i32) // a whole number from -8 to 4
    } else {
        FINEST
    }
}

/// The bucket of a value above [`ZERO_THRESHOLD`].
fn index(value: f64, schema: i32) -> i32 {
    if value == f64::INFINITY {
        return index(f64::MAX, schema) + 1;
    }
    // The value is a fraction in [0.5, 1) times a power of two: it is above the threshold, thus no subnormal number.
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022; // 11 bits
    let fraction = f64::from_bits((bits & FRACTION) | (1022 << 52));
    let within = BOUNDS.partition_point(|bound| *bound < fraction) as i32; // at most 256
    widened((exponent - 1) * FINEST_BUCKETS + within, FINEST - schema)
}

/// The index of a bucket after its resolution was halved so many times: the upper bound's exponent, rounded up.
fn widened(index: i32, halvings: i32) -> i32 {
    (index + (1 << halvings) - 1) >> halvings
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Any finite number above the threshold; all exponents are as likely.
        fn value(&mut self) -> f64 {
            let exponent = 1023 - 128 + self.next() % (1023 + 128);
            f64::from_bits((exponent << 52) | (self.next() >> 12) | 1)
        }

        /// A duration between a microsecond and some minutes.
        fn seconds(&mut self) -> f64 {
            ((self.next() % 1_000_000) as f64 / 1e6 * 28.0 - 20.0).exp2()
        }
    }

    /// A histogram at this schema.
    fn at(schema: i32) -> NativeHistogram {
        let histogram = NativeHistogram::new((-f64::from(schema)).exp2().exp2() * (1.0 + 1e-9));
        assert_eq!(histogram.schema(), schema);
        histogram
    }

    /// What the spans say, by index.
    fn unfolded(histogram: &NativeHistogram) -> BTreeMap<i32, f64> {
        let (spans, counts) = histogram.spans_and_counts();
        let mut counts = counts.into_iter();
        let (mut buckets, mut at) = (BTreeMap::new(), 0);
        for (offset, length) in spans {
            at += offset;
            for _ in 0..length {
                buckets.insert(at, counts.next().unwrap());
                at += 1;
            }
        }
        assert_eq!(counts.next(), None);
        buckets
    }

    /// The only bucket's index.
    fn bucket_of(value: f64, schema: i32) -> i32 {
        let mut histogram = at(schema);
        histogram.observe(value, 1.0, 0);
        assert_eq!(histogram.buckets.len(), 1, "{value} at {schema}");
        *histogram.buckets.keys().next().unwrap()
    }

    #[test]
    fn the_schema_comes_from_the_factor() {
        for (factor, schema) in [
            (1.1, 3),
            (1.0906, 3), // 2^(1/8) is 1.09050773
            (1.0905, 4),
            (1.5, 1),
            (1.2, 2),
            (2.0, 0),
            (1.9999, 1),
            (3.9, 0),
            (4.0, -1),
            (16.0, -2),
            (256.0, -3),
            (65_535.0, -3),
            (65_536.0, -4),
            (1e300, -4),
            (f64::INFINITY, -4),
            (1.0028, 8),
            (1.0027, 8), // there is no finer one
            (1.000_000_1, 8),
            (1.0, 8),
            (0.5, 8),
            (-3.0, 8),
            (f64::NAN, 8),
        ] {
            assert_eq!(NativeHistogram::new(factor).schema(), schema, "{factor}");
        }
    }

    #[test]
    fn values_lie_between_the_bounds_of_their_buckets() {
        let mut random = Random(0x1234_5678_9abc_def1);
        for schema in WIDEST..=FINEST {
            let width = (-f64::from(schema)).exp2();
            for _ in 0..20_000 {
                let value = random.value();
                let index = f64::from(bucket_of(value, schema));
                let exponent = value.log2();
                let slack = 1e-12 * exponent.abs().max(1.0);
                assert!(exponent > (index - 1.0) * width - slack, "{value} at {schema} in {index}");
                assert!(exponent <= index * width + slack, "{value} at {schema} in {index}");
            }
        }
    }

    #[test]
    fn powers_of_two_end_their_buckets_and_what_follows_begins_the_next() {
        for schema in WIDEST..=FINEST {
            for power in -127..=1023_i32 {
                let value = f64::from_bits(u64::try_from(power + 1023).unwrap() << 52);
                let scaled = f64::from(power) * f64::from(schema).exp2();
                let index = scaled.ceil() as i32;
                assert_eq!(bucket_of(value, schema), index, "2^{power} at {schema}");
                let above = if scaled == scaled.ceil() { index + 1 } else { index };
                assert_eq!(bucket_of(value.next_up(), schema), above, "above 2^{power} at {schema}");
                if power > -127 {
                    assert_eq!(bucket_of(value.next_down(), schema), index, "below 2^{power} at {schema}");
                }
            }
        }
    }

    #[test]
    fn bounds_are_prometheuss_but_for_the_last_digits() {
        for (bucket, bound) in [
            (0, 0.5),
            (1, 0.5013556375251013),
            (32, 0.5452538663326288),
            (64, 0.5946035575013605),
            (128, 0.7071067811865475),
            (192, 0.8408964152537144),
            (255, 0.9972960560854698),
        ] {
            assert!((BOUNDS[bucket] - bound).abs() < 1e-15, "{bucket}");
        }
        assert_eq!(BOUNDS.len(), 256);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn what_is_no_usual_number_is_counted_as_the_client_library_does() {
        let (zero, none) = (Some(None), None);
        for (value, place, sum) in [
            (0.0, zero, 0.0),
            (-0.0, zero, 0.0),
            (5e-324, zero, 5e-324),
            (ZERO_THRESHOLD, zero, ZERO_THRESHOLD),
            (ZERO_THRESHOLD.next_up(), Some(Some(-1023)), ZERO_THRESHOLD.next_up()),
            (-1.0, zero, -1.0),
            (f64::NEG_INFINITY, zero, f64::NEG_INFINITY),
            (1.0, Some(Some(0)), 1.0),
            (f64::MAX, Some(Some(8192)), f64::MAX),
            (f64::INFINITY, Some(Some(8193)), f64::INFINITY),
            (f64::NAN, none, f64::NAN),
        ] {
            let mut histogram = NativeHistogram::new(1.1);
            histogram.observe(value, 1.0, 0);
            assert_eq!(histogram.count(), 1.0, "{value}");
            assert!(histogram.sum() == sum || sum.is_nan() && histogram.sum().is_nan(), "{value}");
            assert_eq!(histogram.zero_count(), if place == zero { 1.0 } else { 0.0 }, "{value}");
            let buckets: Vec<_> = histogram.buckets.into_iter().collect();
            assert_eq!(
                buckets,
                place.flatten().map(|index| (index, 1.0)).into_iter().collect::<Vec<_>>(),
                "{value}"
            );
        }
        let mut histogram = NativeHistogram::new(1.1);
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            histogram.observe(1.0, weight, 0);
        }
        assert_eq!(histogram, NativeHistogram::new(1.1));
    }

    #[test]
    fn infinity_has_a_bucket_of_its_own_however_wide_they_are() {
        for schema in WIDEST..=FINEST {
            assert_eq!(bucket_of(f64::INFINITY, schema), bucket_of(f64::MAX, schema) + 1, "{schema}");
        }
    }

    #[test]
    fn widening_moves_every_count_to_where_it_would_have_been_observed() {
        let mut random = Random(42);
        let values: Vec<f64> = (0..3000)
            .map(|at| if at % 2 == 0 { random.value() } else { random.seconds() })
            .chain([0.0])
            .collect();
        let mut histogram = at(FINEST);
        values.iter().for_each(|value| histogram.observe(*value, 2.5, 0));
        for schema in (WIDEST..FINEST).rev() {
            assert!(histogram.widen());
            let mut direct = at(schema);
            values.iter().for_each(|value| direct.observe(*value, 2.5, 0));
            assert_eq!(histogram.schema(), schema);
            assert_eq!(histogram.buckets, direct.buckets, "{schema}");
            assert_eq!(histogram.buckets.values().sum::<f64>() + histogram.zero_count(), histogram.count());
        }
        let before = histogram.clone();
        assert!(!histogram.widen());
        assert_eq!(histogram, before);
    }

    #[test]
    fn buckets_are_widened_until_they_are_few_enough() {
        let mut random = Random(7);
        let mut histogram = NativeHistogram::new(1.1);
        for observed in 1..=20_000_u32 {
            histogram.observe(random.seconds(), 1.0, 100);
            assert!(histogram.buckets.len() <= 100);
            assert_eq!(histogram.buckets.values().sum::<f64>(), f64::from(observed));
        }
        assert_eq!(histogram.schema(), 1, "28 powers of two do not fit 100 buckets in quarters");

        let mut one = NativeHistogram::new(1.1);
        for power in -100..100 {
            one.observe(f64::from(power).exp2(), 1.0, 1);
        }
        assert_eq!(one.schema(), WIDEST);
        assert!(one.is_over(1), "nothing is left to widen");
        assert!(!one.is_over(0));
        assert!(!one.is_over(100));

        one.reset();
        assert_eq!(one, NativeHistogram::new(1.1), "as new");
    }

    #[test]
    fn who_asks_for_no_limit_decides_alone() {
        let mut histogram = at(3);
        for power in 0..10 {
            histogram.observe(f64::from(power).exp2(), 1.0, 0);
        }
        assert!(histogram.is_over(9) && !histogram.is_over(10) && !histogram.is_over(0));
        assert_eq!(histogram.schema(), 3);
    }

    #[test]
    fn spans_have_remote_writes_form() {
        type Spans = Vec<(i32, u32)>;
        let cases: Vec<(&[i32], Spans, Vec<f64>)> = vec![
            (&[], vec![], vec![]),
            (&[0], vec![(0, 1)], vec![1.0]),
            (&[-3], vec![(-3, 1)], vec![1.0]),
            (&[5, 6, 7], vec![(5, 3)], vec![1.0, 2.0, 3.0]),
            (&[-1, 1], vec![(-1, 3)], vec![1.0, 0.0, 2.0]),
            (&[2, 5], vec![(2, 4)], vec![1.0, 0.0, 0.0, 2.0]),
            (&[2, 6], vec![(2, 1), (3, 1)], vec![1.0, 2.0]),
            (&[1, 2, 100, 102], vec![(1, 2), (97, 3)], vec![1.0, 2.0, 3.0, 0.0, 4.0]),
        ];
        for (indexes, spans, counts) in cases {
            let mut histogram = at(0);
            for (at, index) in indexes.iter().enumerate() {
                histogram.observe(f64::from(*index).exp2(), (at + 1) as f64, 0);
            }
            assert_eq!(histogram.spans_and_counts(), (spans, counts), "{indexes:?}");
        }
    }

    #[test]
    fn spans_lead_back_to_the_buckets() {
        let mut random = Random(99);
        for schema in WIDEST..=FINEST {
            let mut histogram = at(schema);
            for number in 1..=300_u32 {
                let value = if number % 3 == 0 { random.value() } else { random.seconds() };
                histogram.observe(value, f64::from(number), 0);
            }
            let mut buckets = unfolded(&histogram);
            buckets.retain(|_, count| *count > 0.0);
            assert_eq!(buckets, histogram.buckets, "{schema}");
        }
    }
}
