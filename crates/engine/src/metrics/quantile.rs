//! Quantiles over buckets, each of which reaches from one power of two to the next.

/// Bits of a lane that say which bucket of the interval it is.
pub(crate) const BUCKET_BITS: u32 = 11;

/// The bucket of a number: the exponent of the power of two that is not smaller. Numbers below 2 (zero, and durations of a
/// nanosecond) are in no bucket and count nowhere.
#[inline]
pub(crate) fn bucket_of(number: f64) -> Option<u32> {
    if !(2.0..=f64::MAX).contains(&number) {
        return None;
    }
    // Adding one less than a whole power to the fraction carries over into the exponent unless the fraction is zero.
    let exponent = (number.to_bits() + ((1 << 52) - 1)) >> 52;
    Some(exponent as u32 - 1023)
}

/// The upper end of a bucket.
pub(crate) fn upper_end(bucket: u32) -> f64 {
    f64::from(bucket).exp2()
}

/// The `p` quantile of numbers of which only the buckets are known, ascending with their counts: of `n` numbers the one at
/// place `p * n`, rounded up, but the first one at least. Inside a bucket numbers are taken to grow by a constant factor.
/// Zero when there is none.
pub(crate) fn quantile(p: f64, buckets: &[(u32, u64)]) -> f64 {
    let total: u64 = buckets.iter().map(|bucket| bucket.1).sum();
    let place = ((p * total as f64).ceil() as u64).max(1);
    let mut before = 0;
    for (bucket, inside) in buckets {
        if place <= before + inside {
            let part = (place - before) as f64 / *inside as f64;
            return upper_end(*bucket) / 2.0 * part.exp2();
        }
        before += inside;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        let buckets = [1.9, 2.0, 2.1, 4.0, 5.0, 1024.0, 1025.0, f64::INFINITY, f64::NAN, -4.0].map(bucket_of);
        let expected = [None, Some(1), Some(2), Some(2), Some(3), Some(10), Some(11), None, None, None];
        assert_eq!(buckets, expected);
        assert_eq!(bucket_of(f64::MAX), Some(1024));
        assert_eq!(upper_end(33), 8_589_934_592.0);
    }

    #[test]
    fn quantiles_grow_inside_a_bucket() {
        assert_eq!(quantile(0.5, &[]), 0.0);
        assert_eq!(quantile(1.0, &[(1, 1), (3, 1)]), 8.0);
        assert_eq!(quantile(0.0, &[(3, 2)]), 4.0 * 0.5_f64.exp2());
    }
}
