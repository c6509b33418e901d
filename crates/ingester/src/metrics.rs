//! Counts of the ingester, by Tempo's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_common::TenantId;

/// Counts since the process started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Blocks written.
    pub blocks_flushed: AtomicU64,
    /// Blocks that could not be written and are tried again.
    pub failed_flushes: AtomicU64,
    /// Segments written.
    pub segments_written: AtomicU64,
    /// Requests that were stored before and counted once.
    pub duplicate_requests: AtomicU64,
    tenants: Mutex<BTreeMap<TenantId, Received>>,
    discarded: Mutex<BTreeMap<(TenantId, &'static str), u64>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Received {
    spans: u64,
    bytes: u64,
    truncated: u64,
}

impl Metrics {
    /// Counts a request.
    pub fn received(&self, tenant: &TenantId, spans: u64, bytes: u64, truncated: u64) {
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), Received::default());
        }
        if let Some(counts) = tenants.get_mut(tenant) {
            counts.spans += spans;
            counts.bytes += bytes;
            counts.truncated += truncated;
        }
    }

    /// Counts refused spans.
    pub fn discarded(&self, tenant: &TenantId, reason: &'static str, spans: u64) {
        *self.discarded.lock().entry((tenant.clone(), reason)).or_default() += spans;
    }

    /// Spans kept, of all tenants.
    pub fn spans(&self) -> u64 {
        self.tenants.lock().values().map(|counts| counts.spans).sum()
    }

    /// Appends the counts in Prometheus's text format.
    pub fn write(&self, out: &mut String) {
        let counter = |out: &mut String, name: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        };
        let tenants = self.tenants.lock().clone();
        for (name, help, value) in [
            (
                "tempo_distributor_spans_received_total",
                "Spans received.",
                (|counts: &Received| counts.spans) as fn(&Received) -> u64,
            ),
            ("tempo_distributor_bytes_received_total", "Bytes received.", |counts| counts.bytes),
            ("tempo_distributor_attributes_truncated_total", "Attributes cut.", |counts| counts.truncated),
        ] {
            counter(out, name, help);
            for (tenant, counts) in &tenants {
                let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {}", value(counts));
            }
        }
        counter(out, "tempo_discarded_spans_total", "Spans refused.");
        for ((tenant, reason), count) in &*self.discarded.lock() {
            let _ = writeln!(
                out,
                "tempo_discarded_spans_total{{reason=\"{reason}\",tenant=\"{tenant}\"}} {count}"
            );
        }
        for (name, help, value) in [
            ("tempo_ingester_blocks_flushed_total", "Blocks written.", &self.blocks_flushed),
            (
                "tempo_ingester_failed_flushes_total",
                "Blocks that could not be written.",
                &self.failed_flushes,
            ),
            ("trackway_segments_written_total", "Segments written.", &self.segments_written),
            ("trackway_duplicate_requests_total", "Requests stored before.", &self.duplicate_requests),
        ] {
            counter(out, name, help);
            let _ = writeln!(out, "{name} {}", value.load(Ordering::Relaxed));
        }
    }
}
