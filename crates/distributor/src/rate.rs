//! How fast a tenant may send: a bucket of bytes for each, filled at its rate (`ingestion.rate_limit_bytes`) and as large as
//! its largest burst (`ingestion.burst_size_bytes`).
//!
//! What must stay true: limits may change from one request to the next; a tenant that has been silent until its bucket is
//! full again is as one that was never seen, and is forgotten; at most [`TENANTS_MAX`] are remembered.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use trackway_common::TenantId;
use trackway_overrides::Limits;

/// Tenants whose buckets are remembered: about 100 bytes each. Of more, those that have been silent longest are forgotten,
/// which gives them a full bucket.
const TENANTS_MAX: usize = 100_000;

/// A billionth of a byte: what flows in a nanosecond at one byte a second.
const BYTE: u128 = 1_000_000_000;

/// The buckets of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// What is in it, in billionths of a byte, and when that was so.
    left: u128,
    at: Duration,
    /// When it is full again, if nothing is taken out.
    full: Duration,
}

/// A request that is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverRate {
    /// For now.
    Now,
    /// For ever: it is larger than the largest burst.
    Always,
}

/// Bytes a second that a tenant may send to this one of so many distributors.
pub(crate) fn local_rate(limits: &Limits, distributors: u64) -> u64 {
    if limits.rate_is_global {
        limits.rate_limit_bytes / distributors.max(1)
    } else {
        limits.rate_limit_bytes
    }
}

impl Rates {
    /// Takes the bytes of a request out of its tenant's bucket, if they are there. `now` is of the monotonic clock.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        (rate, burst): (u64, u64),
        bytes: u64,
        now: Duration,
    ) -> Result<(), OverRate> {
        if bytes > burst {
            return Err(OverRate::Always);
        }
        let (rate, size, wanted) = (u128::from(rate), u128::from(burst) * BYTE, u128::from(bytes) * BYTE);
        let mut buckets = self.buckets.lock();
        let left = match buckets.get(tenant) {
            Some(bucket) => {
                let flown = rate.saturating_mul(now.saturating_sub(bucket.at).as_nanos());
                bucket.left.saturating_add(flown).min(size)
            }
            None => {
                make_room(&mut buckets, now);
                size
            }
        };
        let (left, taken) = match left.checked_sub(wanted) {
            Some(rest) => (rest, Ok(())),
            None => (left, Err(OverRate::Now)),
        };
        let missing = (size - left).checked_div(rate).and_then(|nanos| u64::try_from(nanos).ok());
        let full = now.saturating_add(missing.map_or(Duration::MAX, Duration::from_nanos));
        let bucket = Bucket { left, at: now, full };
        match buckets.get_mut(tenant) {
            Some(known) => *known = bucket,
            None => drop(buckets.insert(tenant.clone(), bucket)),
        }
        taken
    }
}

impl Rates {
    /// Puts the bytes of a request back that came to nothing, or was there before.
    pub(crate) fn give_back(&self, tenant: &TenantId, bytes: u64) {
        if let Some(bucket) = self.buckets.lock().get_mut(tenant) {
            // What is above the size is gone when it is looked at next.
            bucket.left = bucket.left.saturating_add(u128::from(bytes) * BYTE);
        }
    }
}

/// Forgets tenants when there are as many as may be.
fn make_room(buckets: &mut HashMap<TenantId, Bucket>, now: Duration) {
    if buckets.len() < TENANTS_MAX {
        return;
    }
    buckets.retain(|_, bucket| bucket.full > now);
    if buckets.len() < TENANTS_MAX {
        return;
    }
    // All of them send: a tenth goes at once, so that not every newcomer has to look at all.
    let mut seen: Vec<Duration> = buckets.values().map(|bucket| bucket.at).collect();
    let (_, oldest, _) = seen.select_nth_unstable(TENANTS_MAX / 10);
    let oldest = *oldest;
    buckets.retain(|_, bucket| bucket.at > oldest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let (rates, tenant) = (Rates::default(), TenantId::single());
        // Rate, burst, then requests: milliseconds, bytes, what becomes of them.
        type Request = (u64, u64, Result<(), OverRate>);
        let cases: [(u64, u64, &[Request]); 3] = [
            (
                100,
                200,
                &[
                    (0, 199, Ok(())),
                    (0, 1, Ok(())),
                    (0, 1, Err(OverRate::Now)),
                    (9, 1, Err(OverRate::Now)),
                    (10, 1, Ok(())),
                    (10, 1, Err(OverRate::Now)),
                    (60_000, 200, Ok(())),
                    (60_000, 201, Err(OverRate::Always)),
                ],
            ),
            // The burst shrinks: what had gathered above it is gone.
            (100, 50, &[(120_000, 50, Ok(())), (120_000, 1, Err(OverRate::Now)), (120_500, 50, Ok(()))]),
            (0, 0, &[(200_000, 1, Err(OverRate::Always)), (200_000, 0, Ok(()))]),
        ];
        for (rate, burst, requests) in cases {
            for (at, bytes, want) in requests {
                let now = Duration::from_millis(*at);
                assert_eq!(
                    rates.take(&tenant, (rate, burst), *bytes, now),
                    *want,
                    "{rate} {burst} {at} {bytes}"
                );
            }
        }
        let limits = Limits { rate_limit_bytes: 90, ..Limits::unlimited() };
        assert_eq!(local_rate(&limits, 3), 90);
        assert_eq!(
            [0, 1, 3].map(|all| local_rate(&Limits { rate_is_global: true, ..limits.clone() }, all)),
            [90, 90, 30]
        );
        assert_eq!(
            rates.take(&TenantId::new("x").unwrap(), (u64::MAX, u64::MAX), u64::MAX, Duration::MAX),
            Ok(())
        );
    }

    #[test]
    fn idle_tenants_are_forgotten_and_others_are_bounded() {
        let rates = Rates::default();
        let take = |number: usize, at: u64| {
            let tenant = TenantId::new(&number.to_string()).unwrap();
            rates.take(&tenant, (10, 10), 10, Duration::from_millis(at)).unwrap();
        };
        (0..TENANTS_MAX).for_each(|number| take(number, 0));
        // All buckets are full again.
        take(TENANTS_MAX, 1000);
        assert_eq!(rates.buckets.lock().len(), 1);
        (0..TENANTS_MAX).for_each(|number| take(number, 2000 + number as u64 / 1000));
        take(TENANTS_MAX + 1, 2200);
        assert!(rates.buckets.lock().len() <= TENANTS_MAX);
        assert!(rates.buckets.lock().contains_key(&TenantId::new(&(TENANTS_MAX - 1).to_string()).unwrap()));
    }
}
