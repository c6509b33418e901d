//! What looking at the store costs and finds, and how it stands with the tenants' indexes, by Tempo's names.
//!
//! What must stay true: an index that says what it should has the age 0, however long ago it was written: alerts on old
//! indexes are about those that nobody writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use trackway_common::{Histogram, TenantId};
use trackway_storage::{BlockStore, Polled};

/// Upper bounds of the durations' buckets, in seconds.
static BOUNDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Counts since the process started.
#[derive(Debug)]
pub(crate) struct PollMetrics {
    store: BlockStore,
    /// Whether this process writes the indexes of the tenants.
    builds: bool,
    durations: Histogram,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Looks that failed, by tenant; where not even the tenants could be listed, by none.
    errors: BTreeMap<String, u64>,
    /// When the index of each tenant was written, as the last look found it.
    indexes: BTreeMap<TenantId, Option<Timestamp>>,
}

impl PollMetrics {
    pub(crate) fn new(store: BlockStore, builds: bool) -> Self {
        Self { store, builds, durations: Histogram::new(&BOUNDS), state: Mutex::default() }
    }

    /// Counts a look at the store; `None` is one that failed.
    pub(crate) fn looked(&self, took: Duration, polled: Option<&Polled>) {
        let mut state = self.state.lock();
        let Some(polled) = polled else {
            *state.errors.entry(String::new()).or_default() += 1;
            return;
        };
        self.durations.record(took);
        for (tenant, _) in &polled.failed {
            *state.errors.entry(tenant.to_string()).or_default() += 1;
        }
        let failed: BTreeSet<&TenantId> = polled.failed.iter().map(|(tenant, _)| tenant).collect();
        state.indexes.retain(|tenant, _| failed.contains(tenant));
        let looked = polled.looked.iter().map(|(tenant, looked)| (tenant.clone(), looked.listing.index));
        state.indexes.extend(looked);
    }

    /// Appends the counts in Prometheus's text format.
    pub(crate) fn write(&self, out: &mut String, now: Timestamp) {
        // Writing to a string cannot fail.
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let state = self.state.lock();
        let name = "tempodb_blocklist_poll_duration_seconds";
        head(out, name, "histogram", "Time that a look at the store for blocks took.");
        self.durations.write(out, name, "");
        let name = "tempodb_blocklist_poll_errors_total";
        head(
            out,
            name,
            "counter",
            "Looks at a tenant's blocks that failed; without a tenant, at all of them.",
        );
        for (tenant, errors) in &state.errors {
            let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {errors}");
        }
        let writes = self.store.index_writes().by_tenant();
        let tenants: BTreeSet<&TenantId> = state.indexes.keys().chain(writes.keys()).collect();
        let write_of = |tenant: &TenantId| writes.get(tenant).copied().unwrap_or_default();
        let age = |tenant: &TenantId| {
            let found = state.indexes.get(tenant).copied().flatten();
            let since = if self.builds { write_of(tenant).behind_since } else { found };
            since.map_or(0, |since| now.duration_since(since).as_secs().max(0))
        };
        type Value<'a> = &'a dyn Fn(&TenantId) -> String;
        let by_tenant: [(&str, &str, &str, Value<'_>); 3] = [
            (
                "tempodb_blocklist_tenant_index_errors_total",
                "counter",
                "Indexes that could not be written.",
                &|tenant| write_of(tenant).errors.to_string(),
            ),
            (
                "tempodb_blocklist_tenant_index_builder",
                "gauge",
                "Whether this process writes the tenant's index.",
                &|_| u8::from(self.builds).to_string(),
            ),
            (
                "tempodb_blocklist_tenant_index_age_seconds",
                "gauge",
                "Since when the tenant's index does not say what it should; where this process does not write it, its age.",
                &|tenant| age(tenant).to_string(),
            ),
        ];
        for (name, kind, help, value) in by_tenant {
            head(out, name, kind, help);
            for tenant in &tenants {
                let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {}", value(tenant));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trackway_storage::{Listing, Looked};

    use super::*;

    fn text(metrics: &PollMetrics, now: Timestamp) -> Vec<String> {
        let mut text = String::new();
        metrics.write(&mut text, now);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn looks_and_indexes_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::local(folder.path()).unwrap();
        let (tenant, other) = (TenantId::single(), TenantId::new("other").unwrap());
        let second = |second: i64| Timestamp::from_second(second).unwrap();
        let listing = Listing { index: Some(second(900)), ..Listing::default() };
        let polled = Polled {
            looked: vec![(tenant.clone(), Looked { listing, ..Looked::default() })],
            failed: vec![(other.clone(), "no".to_owned())],
            ..Polled::default()
        };
        let [builder, reader] = [true, false].map(|builds| PollMetrics::new(store.clone(), builds));
        for metrics in [&builder, &reader] {
            metrics.looked(Duration::from_millis(200), Some(&polled));
            metrics.looked(Duration::from_secs(1000), Some(&polled));
            metrics.looked(Duration::from_secs(1), None);
        }
        let has = |metrics: &PollMetrics, now: i64, line: &str| {
            let text = text(metrics, second(now));
            assert!(text.iter().any(|other| other == line), "{line} is not in {text:#?}");
        };
        for line in [
            "tempodb_blocklist_poll_duration_seconds_bucket{le=\"0.1\"} 0",
            "tempodb_blocklist_poll_duration_seconds_bucket{le=\"0.25\"} 1",
            "tempodb_blocklist_poll_duration_seconds_bucket{le=\"300\"} 1",
            "tempodb_blocklist_poll_duration_seconds_bucket{le=\"+Inf\"} 2",
            "tempodb_blocklist_poll_duration_seconds_sum 1000.2",
            "tempodb_blocklist_poll_duration_seconds_count 2",
            "tempodb_blocklist_poll_errors_total{tenant=\"\"} 1",
            "tempodb_blocklist_poll_errors_total{tenant=\"other\"} 2",
            "tempodb_blocklist_tenant_index_builder{tenant=\"single-tenant\"} 1",
            "tempodb_blocklist_tenant_index_age_seconds{tenant=\"single-tenant\"} 0",
        ] {
            has(&builder, 1000, line);
        }
        has(&reader, 1000, "tempodb_blocklist_tenant_index_builder{tenant=\"single-tenant\"} 0");
        has(&reader, 1000, "tempodb_blocklist_tenant_index_age_seconds{tenant=\"single-tenant\"} 100");
        // Where a tenant's folder cannot be, its index cannot be written.
        let blocked = folder.path().join("single-tenant");
        std::fs::write(&blocked, "a file").unwrap();
        assert!(store.put_tenant_index(&tenant, second(1000), &[]).await.is_err());
        assert!(store.put_tenant_index(&tenant, second(1010), &[]).await.is_err());
        has(&builder, 1070, "tempodb_blocklist_tenant_index_errors_total{tenant=\"single-tenant\"} 2");
        has(&builder, 1070, "tempodb_blocklist_tenant_index_age_seconds{tenant=\"single-tenant\"} 70");
        std::fs::remove_file(&blocked).unwrap();
        store.put_tenant_index(&tenant, second(1080), &[]).await.unwrap();
        has(&builder, 1100, "tempodb_blocklist_tenant_index_errors_total{tenant=\"single-tenant\"} 2");
        has(&builder, 1100, "tempodb_blocklist_tenant_index_age_seconds{tenant=\"single-tenant\"} 0");
    }
}
