//! What was seen lately of traces, in bounded memory and without a list by age: entries stand in the present generation or
//! in the one before it, and move to the present one whenever they are seen. When a generation is over, by its age or
//! because it is full, what was not seen in it is forgotten.

use std::time::Duration;

use hashbrown::HashMap;
use trackway_common::TraceId;

/// A trace of a tenant, which has a number here.
pub(crate) type Key = (u32, TraceId);

/// Values by trace, forgotten between one and two periods after they were last seen.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    current: HashMap<Key, V>,
    old: HashMap<Key, V>,
    /// How many of a tenant are in each of the two.
    of_tenants: HashMap<u32, [u64; 2]>,
    began: Duration,
    period: Duration,
    /// Entries of a generation.
    max: usize,
}

impl<V: Default> Generations<V> {
    pub(crate) fn new(period: Duration, max: usize) -> Self {
        let (current, old, of_tenants) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { current, old, of_tenants, began: Duration::ZERO, period, max }
    }

    /// Begins a new generation if it is time; says whether any was forgotten.
    pub(crate) fn tick(&mut self, now: Duration) -> bool {
        let age = now.saturating_sub(self.began);
        if age < self.period && self.current.len() < self.max {
            return false;
        }
        self.old = std::mem::take(&mut self.current);
        // Nothing was seen for so long that the generation before is over, too.
        if age >= self.period.saturating_mul(2) {
            self.old.clear();
            self.of_tenants.clear();
        }
        self.began = now;
        self.of_tenants.retain(|_, [current, old]| {
            *old = std::mem::take(current);
            *old > 0
        });
        true
    }

    /// How many traces of a tenant there are.
    pub(crate) fn count(&self, tenant: u32) -> u64 {
        self.of_tenants.get(&tenant).map_or(0, |[current, old]| current + old)
    }

    /// Whether a tenant has any.
    pub(crate) fn has(&self, tenant: u32) -> bool {
        self.of_tenants.contains_key(&tenant)
    }

    /// The value of a trace that is there: it was seen just now.
    pub(crate) fn see(&mut self, key: Key) -> Option<&mut V> {
        if let Some(value) = self.old.remove(&key) {
            let [current, old] = self.of_tenants.entry(key.0).or_default();
            (*current, *old) = (*current + 1, old.saturating_sub(1));
            self.current.insert(key, value);
        }
        self.current.get_mut(&key)
    }

    /// The value of a trace, which is there from now on.
    pub(crate) fn see_or_add(&mut self, key: Key) -> &mut V {
        if self.see(key).is_none() {
            self.of_tenants.entry(key.0).or_default()[0] += 1;
        }
        self.current.entry(key).or_default()
    }

    /// Forgets a trace.
    pub(crate) fn remove(&mut self, key: Key) {
        let places = [self.current.remove(&key).is_some(), self.old.remove(&key).is_some()];
        if let Some(counts) = self.of_tenants.get_mut(&key.0) {
            for (count, was_there) in counts.iter_mut().zip(places) {
                *count = count.saturating_sub(u64::from(was_there));
            }
        }
    }

    /// The value of a trace, if it is there, which is not seen by that.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        match self.current.get_mut(&key) {
            Some(value) => Some(value),
            None => self.old.get_mut(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_stays_and_the_rest_is_forgotten() {
        let second = Duration::from_secs;
        let key = |number| (7, TraceId(number));
        let mut seen: Generations<u64> = Generations::new(second(10), 100);
        seen.tick(second(1000));
        *seen.see_or_add(key(1)) = 5;
        *seen.see_or_add(key(2)) = 6;
        assert!(!seen.tick(second(1009)) && seen.tick(second(1010)));
        assert_eq!((seen.count(7), seen.see(key(1)).copied()), (2, Some(5)));
        // The second one was not seen for a whole generation.
        assert!(seen.tick(second(1020)));
        assert_eq!((seen.count(7), seen.see(key(2)).copied(), seen.see(key(1)).copied()), (1, None, Some(5)));
        // After a long time nothing is left, of the tenant neither.
        assert!(seen.tick(second(1040)));
        assert!(!seen.has(7) && seen.count(7) == 0 && seen.get_mut(key(1)).is_none());
        // What is full begins anew before its time.
        for number in 0..1000 {
            seen.tick(second(1041));
            seen.see_or_add(key(number));
        }
        assert!((100..=200).contains(&seen.count(7)), "{}", seen.count(7));
    }
}
