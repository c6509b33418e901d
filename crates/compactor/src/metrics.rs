//! Counts of the compactor, by Tempo's names where Tempo has them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_common::{Histogram, TenantId};

/// Counts since the process started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Merges that did not come to an end.
    pub errors: AtomicU64,
    /// Bytes of merged blocks.
    pub bytes_written: AtomicU64,
    /// Traces of merged blocks.
    pub objects_written: AtomicU64,
    /// Traces that lay in several inputs.
    pub objects_combined: AtomicU64,
    /// Copies of spans that were left out.
    pub spans_deduped: AtomicU64,
    /// Blocks that somebody else had replaced by the time of the commit.
    pub conflicts: AtomicU64,
    /// Blocks that expired, or were replaced.
    pub marked: AtomicU64,
    /// Blocks whose files were deleted.
    pub deleted: AtomicU64,
    /// Errors of expiring, marking and deleting.
    pub retention_errors: AtomicU64,
    /// Entries of indexes of trace ids that were written.
    pub index_entries: AtomicU64,
    /// Indexes of trace ids that could not be written.
    pub index_errors: AtomicU64,
    /// How long a round of expiring, marking and deleting took, for a tenant.
    pub tidied: Histogram,
    /// Time spent on merges, in microseconds.
    pub busy_micros: AtomicU64,
    /// Bytes of inputs that were merged in that time.
    pub bytes_merged: AtomicU64,
    /// Blocks that were merged, by the level of their result.
    by_level: Mutex<BTreeMap<u32, u64>>,
    tenants: Mutex<BTreeMap<TenantId, State>>,
}

/// How it stands with a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Blocks that exist.
    pub(crate) blocks: usize,
    /// Blocks that are to be merged.
    pub(crate) outstanding: usize,
    /// Their bytes.
    pub(crate) outstanding_bytes: u64,
    /// Blocks that cannot be merged.
    pub(crate) set_aside: usize,
}

impl Metrics {
    pub(crate) fn merged(&self, level: u32, inputs: u64) {
        *self.by_level.lock().entry(level).or_default() += inputs;
    }

    pub(crate) fn set(&self, tenant: &TenantId, state: State) {
        self.tenants.lock().insert(tenant.clone(), state);
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.tenants.lock().remove(tenant);
    }

    /// Appends the counts in Prometheus's text format.
    pub fn write(&self, out: &mut String) {
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        for (name, help, value) in [
            ("tempodb_compaction_errors_total", "Merges that failed.", &self.errors),
            ("tempodb_compaction_bytes_written_total", "Bytes of merged blocks.", &self.bytes_written),
            ("tempodb_compaction_objects_written_total", "Traces of merged blocks.", &self.objects_written),
            (
                "tempodb_compaction_objects_combined_total",
                "Traces that lay in several blocks.",
                &self.objects_combined,
            ),
            ("tempodb_compaction_spans_deduped_total", "Copies of spans left out.", &self.spans_deduped),
            (
                "trackway_compaction_conflicts_total",
                "Merges that somebody else was faster with.",
                &self.conflicts,
            ),
            (
                "tempodb_retention_marked_for_deletion_total",
                "Blocks that expired or were replaced.",
                &self.marked,
            ),
            ("tempodb_retention_deleted_total", "Blocks that were deleted.", &self.deleted),
            ("tempodb_retention_errors_total", "Errors of marking and deleting.", &self.retention_errors),
            ("trackway_trace_index_entries_total", "Entries of indexes of trace ids.", &self.index_entries),
            ("trackway_trace_index_errors_total", "Indexes of trace ids not written.", &self.index_errors),
        ] {
            head(out, name, "counter", help);
            let _ = writeln!(out, "{name} {}", value.load(Ordering::Relaxed));
        }
        head(out, "tempodb_compaction_blocks_total", "counter", "Blocks that were merged.");
        for (level, count) in &*self.by_level.lock() {
            let _ = writeln!(out, "tempodb_compaction_blocks_total{{level=\"{level}\"}} {count}");
        }
        let name = "tempodb_retention_duration_seconds";
        head(out, name, "histogram", "Time that a round of expiring, marking and deleting took.");
        self.tidied.write(out, name, "");
        self.write_tenants(out, head);
    }

    fn write_tenants(&self, out: &mut String, head: impl Fn(&mut String, &str, &str, &str)) {
        let tenants = self.tenants.lock().clone();
        let (busy, merged) =
            (self.busy_micros.load(Ordering::Relaxed), self.bytes_merged.load(Ordering::Relaxed));
        let seconds =
            |bytes: u64| if merged == 0 { 0.0 } else { bytes as f64 * busy as f64 / merged as f64 / 1e6 };
        type Value<'a> = &'a dyn Fn(&State) -> f64;
        let gauges: [(&str, &str, Value<'_>); 5] = [
            ("tempodb_blocklist_length", "Blocks that exist.", &|state| state.blocks as f64),
            ("tempodb_compaction_outstanding_blocks", "Blocks to be merged.", &|state| {
                state.outstanding as f64
            }),
            ("trackway_compaction_outstanding_bytes", "Bytes to be merged.", &|state| {
                state.outstanding_bytes as f64
            }),
            (
                "trackway_compaction_outstanding_seconds",
                "Time that merging them takes, at the speed so far.",
                &|state| seconds(state.outstanding_bytes),
            ),
            ("trackway_compaction_set_aside_blocks", "Blocks that cannot be merged.", &|state| {
                state.set_aside as f64
            }),
        ];
        for (name, help, value) in gauges {
            head(out, name, "gauge", help);
            for (tenant, state) in &tenants {
                let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {}", value(state));
            }
        }
    }
}
