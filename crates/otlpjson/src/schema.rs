//! The names of OTLP trace messages in JSON and their protobuf field numbers.
//!
//! Must stay true: every name stands here once with its camel-case and its snake-case spelling, and 0 means
//! "unknown, skip it". The numbers are those of opentelemetry-proto `trace.proto`, `common.proto`, `resource.proto`.

/// Names of `Span.SpanKind`, by number.
pub(crate) const SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// Names of `Status.StatusCode`, by number.
pub(crate) const STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Bytes of a trace id.
pub(crate) const TRACE_ID_BYTES: usize = 16;

/// Bytes of a span id.
pub(crate) const SPAN_ID_BYTES: usize = 8;

/// `ExportTraceServiceRequest`.
pub(crate) fn request(key: &[u8]) -> u32 {
    match key {
        b"resourceSpans" | b"resource_spans" => 1,
        _ => 0,
    }
}

/// `ResourceSpans`.
pub(crate) fn resource_spans(key: &[u8]) -> u32 {
    match key {
        b"resource" => 1,
        b"scopeSpans" | b"scope_spans" => 2,
        b"schemaUrl" | b"schema_url" => 3,
        _ => 0,
    }
}

/// `Resource`. Its entity references (field 3) are left out: nothing here uses them.
pub(crate) fn resource(key: &[u8]) -> u32 {
    match key {
        b"attributes" => 1,
        b"droppedAttributesCount" | b"dropped_attributes_count" => 2,
        _ => 0,
    }
}

/// `ScopeSpans`.
pub(crate) fn scope_spans(key: &[u8]) -> u32 {
    match key {
        b"scope" => 1,
        b"spans" => 2,
        b"schemaUrl" | b"schema_url" => 3,
        _ => 0,
    }
}

/// `InstrumentationScope`.
pub(crate) fn scope(key: &[u8]) -> u32 {
    match key {
        b"name" => 1,
        b"version" => 2,
        b"attributes" => 3,
        b"droppedAttributesCount" | b"dropped_attributes_count" => 4,
        _ => 0,
    }
}

/// `Span`.
pub(crate) fn span(key: &[u8]) -> u32 {
    match key {
        b"traceId" | b"trace_id" => 1,
        b"spanId" | b"span_id" => 2,
        b"traceState" | b"trace_state" => 3,
        b"parentSpanId" | b"parent_span_id" => 4,
        b"name" => 5,
        b"kind" => 6,
        b"startTimeUnixNano" | b"start_time_unix_nano" => 7,
        b"endTimeUnixNano" | b"end_time_unix_nano" => 8,
        b"attributes" => 9,
        b"droppedAttributesCount" | b"dropped_attributes_count" => 10,
        b"events" => 11,
        b"droppedEventsCount" | b"dropped_events_count" => 12,
        b"links" => 13,
        b"droppedLinksCount" | b"dropped_links_count" => 14,
        b"status" => 15,
        b"flags" => 16,
        _ => 0,
    }
}

/// `Span.Event`.
pub(crate) fn event(key: &[u8]) -> u32 {
    match key {
        b"timeUnixNano" | b"time_unix_nano" => 1,
        b"name" => 2,
        b"attributes" => 3,
        b"droppedAttributesCount" | b"dropped_attributes_count" => 4,
        _ => 0,
    }
}

/// `Span.Link`.
pub(crate) fn link(key: &[u8]) -> u32 {
    match key {
        b"traceId" | b"trace_id" => 1,
        b"spanId" | b"span_id" => 2,
        b"traceState" | b"trace_state" => 3,
        b"attributes" => 4,
        b"droppedAttributesCount" | b"dropped_attributes_count" => 5,
        b"flags" => 6,
        _ => 0,
    }
}

/// `Status`.
pub(crate) fn status(key: &[u8]) -> u32 {
    match key {
        b"message" => 2,
        b"code" => 3,
        _ => 0,
    }
}

/// `KeyValue`.
pub(crate) fn key_value(key: &[u8]) -> u32 {
    match key {
        b"key" => 1,
        b"value" => 2,
        _ => 0,
    }
}

/// `AnyValue`: the members of its `oneof`.
pub(crate) fn any_value(key: &[u8]) -> u32 {
    match key {
        b"stringValue" | b"string_value" => 1,
        b"boolValue" | b"bool_value" => 2,
        b"intValue" | b"int_value" => 3,
        b"doubleValue" | b"double_value" => 4,
        b"arrayValue" | b"array_value" => 5,
        b"kvlistValue" | b"kvlist_value" => 6,
        b"bytesValue" | b"bytes_value" => 7,
        _ => 0,
    }
}

/// `ArrayValue` and `KeyValueList`.
pub(crate) fn values(key: &[u8]) -> u32 {
    match key {
        b"values" => 1,
        _ => 0,
    }
}
