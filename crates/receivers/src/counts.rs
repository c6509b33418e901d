//! What came in by each receiver and what was dropped, by Tempo's names where Tempo counts it.

use std::collections::BTreeMap;
use std::fmt::Write;

use parking_lot::Mutex;
use trackway_common::TenantId;
use trackway_distributor::Push;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drop {
    /// The queue is full.
    QueueFull,
    /// The memory budget has no room.
    Memory,
    /// It is larger than `max_packet_size`.
    TooLarge,
    /// It is no call that is known, or has no span that can be used.
    Malformed,
    /// Its spans could not be kept.
    NotKept,
}

impl Drop {
    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Memory => "memory",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NotKept => "not_kept",
        }
    }
}

/// The reason of what cannot be read, for `tempo_discarded_spans_total`.
const MALFORMED: &str = "malformed";

/// A reason in words as that metric names it.
fn label(reason: &str) -> &'static str {
    // `traceId` in JSON, `trace id` elsewhere.
    let reason = reason.to_ascii_lowercase().replace(' ', "");
    if reason.contains("traceid") {
        "invalid_trace_id"
    } else if reason.contains("spanid") {
        "invalid_span_id"
    } else {
        MALFORMED
    }
}

/// A receiver and its transport, as the Collector names them.
type Way = (&'static str, &'static str);

/// Counts since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Accepted and refused spans.
    spans: Mutex<BTreeMap<Way, (u64, u64)>>,
    packets: Mutex<BTreeMap<(&'static str, Drop), u64>>,
}

impl Counts {
    /// Counts spans of a receiver and its transport.
    pub fn spans(&self, receiver: &'static str, transport: &'static str, accepted: u64, refused: u64) {
        let mut spans = self.spans.lock();
        let counts = spans.entry((receiver, transport)).or_default();
        counts.0 += accepted;
        counts.1 += refused;
    }

    pub(crate) fn dropped(&self, transport: &'static str, why: Drop) {
        *self.packets.lock().entry((transport, why)).or_default() += 1;
    }

    /// Counts spans that the form of a request, or their own, kept from becoming OTLP. Of `refused`, the first have their
    /// reasons in `reasons`.
    pub(crate) fn lost<'r>(
        push: &dyn Push,
        tenant: &TenantId,
        refused: u64,
        reasons: impl Iterator<Item = &'r str>,
    ) {
        let mut by_reason: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut left = refused;
        for reason in reasons {
            left = left.saturating_sub(1);
            *by_reason.entry(label(reason)).or_default() += 1;
        }
        if left > 0 {
            *by_reason.entry(MALFORMED).or_default() += left;
        }
        for (reason, spans) in by_reason {
            push.discarded(tenant, reason, spans);
        }
    }

    /// Appends the counts in Prometheus's text format.
    pub fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let head = |out: &mut String, name: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        };
        let spans = self.spans.lock().clone();
        type Pick = fn(&(u64, u64)) -> u64;
        let accepted: Pick = |counts| counts.0;
        let refused: Pick = |counts| counts.1;
        for (name, help, pick) in [
            ("tempo_receiver_accepted_spans", "Spans taken in by a receiver.", accepted),
            ("tempo_receiver_refused_spans", "Spans that a receiver could not keep.", refused),
        ] {
            if !spans.is_empty() {
                head(out, name, help);
            }
            for ((receiver, transport), counts) in &spans {
                let value = pick(counts);
                let _ = writeln!(out, "{name}{{receiver=\"{receiver}\",transport=\"{transport}\"}} {value}");
            }
        }
        let packets = self.packets.lock().clone();
        let name = "trackway_receiver_dropped_packets_total";
        if !packets.is_empty() {
            head(out, name, "Datagrams of Jaeger clients that were dropped.");
        }
        for ((transport, why), count) in packets {
            let reason = why.name();
            let _ = writeln!(out, "{name}{{transport=\"{transport}\",reason=\"{reason}\"}} {count}");
        }
    }
}
