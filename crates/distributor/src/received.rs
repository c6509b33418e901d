//! Counts of received spans by service and name (`distributor.metric_received_spans`), for looking into who sends what.
//!
//! What must stay true: series are bounded; spans of what would be more are counted under [`OVERFLOW`].

use std::fmt::Write;

use hashbrown::HashMap;
use parking_lot::Mutex;
use trackway_common::TenantId;

use crate::usage::escaped;
use crate::walk::{self, Span};

/// Series of all tenants together.
const SERIES_MAX: usize = 100_000;
/// Bytes of a name; longer ones are cut.
const NAME_BYTES_MAX: usize = 256;
/// Name and service of spans that would make another series.
const OVERFLOW: &str = "__overflow__";

/// Which spans are counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricSpans {
    /// Whether any are.
    pub enabled: bool,
    /// Only those without a parent.
    pub root_only: bool,
}

type Key = (TenantId, String, String);

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct ReceivedSpans {
    counts: Mutex<HashMap<Key, u64>>,
}

impl ReceivedSpans {
    /// Counts the spans of a request.
    pub(crate) fn observe(&self, tenant: &TenantId, request: &[u8], root_only: bool) {
        // By name within the request first, so that the lock is not held while it is read.
        let mut found: HashMap<(&[u8], &[u8]), u64> = HashMap::new();
        for resource in walk::resources(request) {
            let service = resource.service();
            let spans = resource.spans().map(Span::read);
            for span in spans.filter(|span| !root_only || span.parent_id.iter().all(|byte| *byte == 0)) {
                *found.entry((span.name, service)).or_default() += 1;
            }
        }
        let mut counts = self.counts.lock();
        for ((name, service), spans) in found {
            let key = (tenant.clone(), shown(name), shown(service));
            let key = if counts.len() < SERIES_MAX || counts.contains_key(&key) {
                key
            } else {
                (tenant.clone(), OVERFLOW.to_owned(), OVERFLOW.to_owned())
            };
            *counts.entry(key).or_default() += spans;
        }
    }

    /// Appends the counts in Prometheus's text format.
    pub(crate) fn write(&self, out: &mut String) {
        let counts = self.counts.lock();
        let mut all: Vec<_> = counts.iter().collect();
        all.sort_unstable();
        let metric = "tempo_distributor_debug_spans_received_total";
        // Writing to a string cannot fail.
        let _ =
            writeln!(out, "# HELP {metric} Spans received, by name and service.\n# TYPE {metric} counter");
        for ((tenant, name, service), spans) in all {
            let (name, service) = (escaped(name), escaped(service));
            let _ = writeln!(
                out,
                "{metric}{{name=\"{name}\",service=\"{service}\",tenant=\"{tenant}\"}} {spans}"
            );
        }
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..NAME_BYTES_MAX).unwrap_or(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use trackway_spans::wire::{put_bytes, put_message};

    use super::*;

    #[test]
    fn series_are_bounded() {
        let spans = ReceivedSpans::default();
        let tenant = TenantId::new("t").unwrap();
        let one = |name: &str| {
            let mut out = Vec::new();
            put_message(&mut out, 1, |out| {
                put_message(out, 2, |out| put_message(out, 2, |out| put_bytes(out, 5, name.as_bytes())));
            });
            out
        };
        (0..SERIES_MAX + 7).for_each(|at| spans.observe(&tenant, &one(&at.to_string()), true));
        assert_eq!(spans.counts.lock().len(), SERIES_MAX + 1);
        let mut out = String::new();
        spans.write(&mut out);
        assert!(out.contains("{name=\"__overflow__\",service=\"__overflow__\",tenant=\"t\"} 7\n"));
    }
}
