//! Quantiles and histograms over buckets, each of which reaches from one power of two to the next.

/// The bucket of a number, which is its upper end: the power of two that is not smaller. Numbers below 2 (zero, and
/// durations of a nanosecond) are in no bucket and count nowhere.
///
/// CHOICE: of floating-point numbers the same holds.
pub(crate) fn bucket_of(number: f64) -> Option<f64> {
    if number < 2.0 || !number.is_finite() {
        return None;
    }
    let mut bucket = 2.0;
    while bucket < number {
        bucket *= 2.0;
    }
    Some(bucket)
}

/// The `p` quantile of numbers of which only the buckets are known: of `n` numbers the one at place `p * n`, rounded up,
/// but the first one at least. Inside a bucket numbers are taken to grow by a constant factor. Zero when there is none.
///
/// CHOICE: a bucket starts at half of its upper end even if the bucket before it is empty.
pub(crate) fn quantile(p: f64, buckets: &[f64]) -> f64 {
    let mut sorted = buckets.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((p * sorted.len() as f64).ceil() as usize).max(1);
    let Some(bucket) = sorted.get(place - 1).copied() else { return 0.0 };
    let before = sorted.iter().filter(|other| **other < bucket).count();
    let inside = sorted.iter().filter(|other| **other == bucket).count();
    let part = (place - before) as f64 / inside as f64;
    bucket / 2.0 * part.exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        assert_eq!(
            [1.9, 2.0, 2.1, 4.0, 5.0].map(bucket_of),
            [None, Some(2.0), Some(4.0), Some(4.0), Some(8.0)]
        );
        assert_eq!(quantile(0.5, &[]), 0.0);
        assert_eq!(quantile(1.0, &[2.0, 8.0]), 8.0);
        assert_eq!(quantile(0.0, &[8.0, 8.0]), 4.0 * 0.5_f64.exp2());
    }
}
