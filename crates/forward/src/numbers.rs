//! What is counted, by the names that Tempo has where it counts it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_common::TenantId;

/// Counts of one forwarder and tenant.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Requests that were to be queued.
    pub(crate) pushes: AtomicU64,
    /// Of those, requests that were not.
    pub(crate) failures: AtomicU64,
    /// Requests that are queued.
    pub(crate) length: AtomicU64,
    /// Requests that arrived at every endpoint.
    pub(crate) sent: AtomicU64,
    /// Requests of which the filter left nothing.
    pub(crate) empty: AtomicU64,
    /// Requests that were given up.
    pub(crate) given_up: AtomicU64,
    /// Sendings that failed, those that were tried again too.
    pub(crate) attempts_failed: AtomicU64,
    /// Spans that an endpoint refused of requests that it took.
    pub(crate) rejected_spans: AtomicU64,
}

pub(crate) fn add(number: &AtomicU64, by: u64) {
    number.fetch_add(by, Ordering::Relaxed);
}

/// A forwarder's name and a tenant.
type Of = (Arc<str>, TenantId);

/// Most forwarders and tenants that are counted one by one; those beyond are counted together.
pub const MAX_SERIES: usize = 20_000;
/// The name and the tenant that they are counted by.
const OTHER: &str = "__overflow__";

/// All of them, [`MAX_SERIES`] and one at the most; they stay when their queue goes.
#[derive(Debug, Default)]
pub(crate) struct AllNumbers(Mutex<BTreeMap<Of, Arc<Numbers>>>);

impl AllNumbers {
    pub(crate) fn of(&self, name: &Arc<str>, tenant: &TenantId) -> Arc<Numbers> {
        let (mut all, of) = (self.0.lock(), (Arc::clone(name), tenant.clone()));
        if let Some(numbers) = all.get(&of) {
            return Arc::clone(numbers);
        }
        let other = || TenantId::new(OTHER).map(|tenant| (Arc::from(OTHER), tenant));
        let of = if all.len() < MAX_SERIES { of } else { other().unwrap_or(of) };
        Arc::clone(all.entry(of).or_default())
    }

    /// Appends them in Prometheus's text format.
    pub(crate) fn write(&self, out: &mut String) {
        let all = self.0.lock();
        if all.is_empty() {
            return;
        }
        type Pick = fn(&Numbers) -> &AtomicU64;
        let series: [(&str, &str, &str, Pick); 8] = [
            (
                "tempo_distributor_queue_pushes_total",
                "counter",
                "Requests to be queued for a forwarder.",
                |of| &of.pushes,
            ),
            (
                "tempo_distributor_queue_pushes_failures_total",
                "counter",
                "Requests that could not be queued for a forwarder.",
                |of| &of.failures,
            ),
            ("tempo_distributor_queue_length", "gauge", "Requests that are queued for a forwarder.", |of| {
                &of.length
            }),
            (
                "trackway_forwarder_sent_total",
                "counter",
                "Requests that arrived at every endpoint of a forwarder.",
                |of| &of.sent,
            ),
            (
                "trackway_forwarder_empty_total",
                "counter",
                "Requests of which a forwarder's filter left nothing.",
                |of| &of.empty,
            ),
            ("trackway_forwarder_given_up_total", "counter", "Requests that a forwarder gave up.", |of| {
                &of.given_up
            }),
            (
                "trackway_forwarder_attempts_failed_total",
                "counter",
                "Sendings of a forwarder that failed.",
                |of| &of.attempts_failed,
            ),
            (
                "trackway_forwarder_rejected_spans_total",
                "counter",
                "Spans that a forwarder's endpoint refused.",
                |of| &of.rejected_spans,
            ),
        ];
        for (name, kind, help, pick) in series {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for ((forwarder, tenant), numbers) in &*all {
                let value = pick(numbers).load(Ordering::Relaxed);
                let _ = writeln!(out, "{name}{{name={forwarder:?},tenant=\"{tenant}\"}} {value}");
            }
        }
        sums(&all, out);
    }
}

/// What Tempo counts by tenant alone.
fn sums(all: &BTreeMap<Of, Arc<Numbers>>, out: &mut String) {
    let mut tenants: BTreeMap<&TenantId, (u64, u64)> = BTreeMap::new();
    for ((_, tenant), numbers) in all {
        let of_tenant = tenants.entry(tenant).or_default();
        of_tenant.0 += numbers.pushes.load(Ordering::Relaxed);
        of_tenant.1 += numbers.failures.load(Ordering::Relaxed);
    }
    type PickSum = fn(&(u64, u64)) -> u64;
    let sums: [(&str, &str, PickSum); 2] = [
        ("tempo_distributor_forwarder_pushes_total", "Requests to be queued for all forwarders.", |sum| {
            sum.0
        }),
        (
            "tempo_distributor_forwarder_pushes_failures_total",
            "Requests that could not be queued for a forwarder.",
            |sum| sum.1,
        ),
    ];
    for (name, help, pick) in sums {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (tenant, sum) in &tenants {
            let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {}", pick(sum));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn those_beyond_the_limit_are_counted_together() {
        let (all, name) = (AllNumbers::default(), Arc::from("f"));
        let tenant = |number: usize| TenantId::new(&format!("t{number}")).unwrap();
        for number in 0..MAX_SERIES + 100 {
            add(&all.of(&name, &tenant(number)).pushes, 1);
        }
        assert_eq!(all.0.lock().len(), MAX_SERIES + 1);
        add(&all.of(&name, &tenant(0)).pushes, 1);
        let mut out = String::new();
        all.write(&mut out);
        for line in [
            "tempo_distributor_queue_pushes_total{name=\"f\",tenant=\"t0\"} 2",
            "tempo_distributor_queue_pushes_total{name=\"__overflow__\",tenant=\"__overflow__\"} 100",
            "tempo_distributor_forwarder_pushes_total{tenant=\"__overflow__\"} 100",
        ] {
            assert!(out.lines().any(|found| found == line), "{line}");
        }
    }
}
