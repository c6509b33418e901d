//! What processors see of a span: itself, its resource, and the attributes that somebody asks for.

use std::sync::Arc;

use trackway_spans::VisitedSpan;
use trackway_spans::anyvalue::AnyValue;

use crate::wanted::{Slot, put_text};

/// What is known of a resource, for all its spans.
#[derive(Debug, Default)]
pub(crate) struct ResourceFacts<'r> {
    /// `service.name`; `None` when the resource has none.
    pub(crate) service: Option<Arc<[u8]>>,
    /// `service.namespace/service.name`; empty without a service.
    pub(crate) job: Vec<u8>,
    /// `service.instance.id`.
    pub(crate) instance: Vec<u8>,
    /// Values that are asked for.
    pub(crate) slots: Vec<Option<AnyValue<'r>>>,
}

impl ResourceFacts<'_> {
    pub(crate) fn service(&self) -> &[u8] {
        self.service.as_deref().unwrap_or_default()
    }
}

/// A span with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'f, 'r> {
    pub(crate) resource: &'f ResourceFacts<'r>,
    pub(crate) span: &'f VisitedSpan<'r>,
    /// Values of the span that are asked for.
    pub(crate) slots: &'f [Option<AnyValue<'r>>],
    /// When the request came in, Unix milliseconds.
    pub(crate) received_ms: i64,
}

impl<'r> Facts<'_, 'r> {
    /// An attribute of the resource.
    pub(crate) fn of_resource(&self, slot: Slot) -> Option<AnyValue<'r>> {
        self.resource.slots.get(slot).copied().flatten()
    }

    /// An attribute of the span.
    pub(crate) fn of_span(&self, slot: Slot) -> Option<AnyValue<'r>> {
        self.slots.get(slot).copied().flatten()
    }

    /// An attribute of the resource, else of the span: how Tempo looks for dimensions.
    pub(crate) fn of_either(&self, slot: Slot) -> Option<AnyValue<'r>> {
        self.of_resource(slot).or_else(|| self.of_span(slot))
    }

    /// Its text, appended.
    pub(crate) fn put(&self, slot: Slot, out: &mut Vec<u8>) {
        if let Some(value) = self.of_either(slot) {
            put_text(out, value);
        }
    }

    /// Seconds that it took; one that ends before it starts took none.
    pub(crate) fn seconds(&self) -> f64 {
        seconds_between(self.span.start, self.span.end)
    }
}

/// Seconds from one time to a later one, Unix nanoseconds; zero when it is not later.
pub(crate) fn seconds_between(from: u64, to: u64) -> f64 {
    // A span of more than 104 days loses nanoseconds here, which no bucket sees.
    to.saturating_sub(from) as f64 / 1e9
}

/// OTLP's name of a kind, as Tempo writes it into labels.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        0 => "SPAN_KIND_UNSPECIFIED",
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        // Tempo writes the number; there are none in any version of OTLP, and one label more is not worth a text.
        _ => "SPAN_KIND_UNKNOWN",
    }
}

/// OTLP's name of a status.
pub(crate) fn status_name(status: u8) -> &'static str {
    match status {
        0 => "STATUS_CODE_UNSET",
        1 => "STATUS_CODE_OK",
        2 => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNKNOWN",
    }
}
