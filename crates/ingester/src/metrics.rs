//! Counts of the ingester, by Tempo's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_common::{Histogram, TenantId};

/// Upper bounds of the durations of flushes, in seconds: Tempo's.
static FLUSH_BOUNDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Counts since the process started.
#[derive(Debug)]
pub struct Metrics {
    /// Blocks written.
    pub blocks_flushed: AtomicU64,
    /// Blocks that could not be written and are tried again.
    pub failed_flushes: AtomicU64,
    /// Segments written.
    pub segments_written: AtomicU64,
    /// Requests that were stored before and counted once.
    pub duplicate_requests: AtomicU64,
    /// Traces in the blocks that were written.
    pub traces_written: AtomicU64,
    /// Requests that could not be kept, for no fault of the sender.
    pub failed_pushes: AtomicU64,
    /// How long requests took until they were kept.
    pub pushes: Histogram,
    /// How long it took to write blocks.
    pub flushes: Histogram,
    tenants: Mutex<BTreeMap<TenantId, Received>>,
    discarded: Mutex<BTreeMap<(TenantId, &'static str), u64>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Received {
    spans: u64,
    bytes: u64,
    truncated: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            blocks_flushed: AtomicU64::new(0),
            failed_flushes: AtomicU64::new(0),
            segments_written: AtomicU64::new(0),
            duplicate_requests: AtomicU64::new(0),
            traces_written: AtomicU64::new(0),
            failed_pushes: AtomicU64::new(0),
            pushes: Histogram::default(),
            flushes: Histogram::new(&FLUSH_BOUNDS),
            tenants: Mutex::default(),
            discarded: Mutex::default(),
        }
    }
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
            ("tempo_ingester_bytes_received_total", "Bytes received.", |counts| counts.bytes),
            ("tempo_live_store_bytes_received_total", "Bytes received.", |counts| counts.bytes),
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
            ("tempo_live_store_blocks_completed_total", "Blocks written.", &self.blocks_flushed),
            (
                "tempo_ingester_flush_failed_retries_total",
                "Blocks that are written once more because it failed.",
                &self.failed_flushes,
            ),
            (
                "tempo_ingester_traces_created_total",
                "Traces, counted when they are written to a block.",
                &self.traces_written,
            ),
            (
                "tempo_distributor_ingester_append_failures_total",
                "Requests that could not be kept.",
                &self.failed_pushes,
            ),
            ("trackway_segments_written_total", "Segments written.", &self.segments_written),
            ("trackway_duplicate_requests_total", "Requests stored before.", &self.duplicate_requests),
        ] {
            counter(out, name, help);
            let _ = writeln!(out, "{name} {}", value.load(Ordering::Relaxed));
        }
        for (name, help, histogram) in [
            ("tempo_distributor_push_duration_seconds", "Time until a request is kept.", &self.pushes),
            ("tempo_ingester_flush_duration_seconds", "Time to write a block.", &self.flushes),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
            histogram.write(out, name, "");
        }
    }
}
