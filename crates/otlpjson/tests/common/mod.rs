//! A second, slow reading of OTLP for the tests: protobuf bytes to `serde_json` values by a table of fields, sharing
//! nothing with the crate. The values have one form only: camel-case keys, ids in lower-case hex, 64-bit integers
//! as strings, enums as numbers, floats that JSON cannot say as strings, bytes as an array of numbers.

#![allow(dead_code, reason = "each test binary uses its part")]

use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Hex,
    Fixed64,
    Uint32,
    Fixed32,
    Enum,
    Bool,
    Int64,
    Double,
    Bytes,
    One(&'static str),
    Many(&'static str),
}

/// The fields of a message: number, camel-case name, snake-case name, kind.
pub(crate) fn table(message: &str) -> &'static [(u64, &'static str, &'static str, Kind)] {
    use Kind::*;
    match message {
        "Request" => &[(1, "resourceSpans", "resource_spans", Many("ResourceSpans"))],
        "ResourceSpans" => &[
            (1, "resource", "resource", One("Resource")),
            (2, "scopeSpans", "scope_spans", Many("ScopeSpans")),
            (3, "schemaUrl", "schema_url", Text),
        ],
        "Resource" => &[
            (1, "attributes", "attributes", Many("KeyValue")),
            (2, "droppedAttributesCount", "dropped_attributes_count", Uint32),
        ],
        "ScopeSpans" => &[
            (1, "scope", "scope", One("Scope")),
            (2, "spans", "spans", Many("Span")),
            (3, "schemaUrl", "schema_url", Text),
        ],
        "Scope" => &[
            (1, "name", "name", Text),
            (2, "version", "version", Text),
            (3, "attributes", "attributes", Many("KeyValue")),
            (4, "droppedAttributesCount", "dropped_attributes_count", Uint32),
        ],
        "Span" => &[
            (1, "traceId", "trace_id", Hex),
            (2, "spanId", "span_id", Hex),
            (3, "traceState", "trace_state", Text),
            (4, "parentSpanId", "parent_span_id", Hex),
            (5, "name", "name", Text),
            (6, "kind", "kind", Enum),
            (7, "startTimeUnixNano", "start_time_unix_nano", Fixed64),
            (8, "endTimeUnixNano", "end_time_unix_nano", Fixed64),
            (9, "attributes", "attributes", Many("KeyValue")),
            (10, "droppedAttributesCount", "dropped_attributes_count", Uint32),
            (11, "events", "events", Many("Event")),
            (12, "droppedEventsCount", "dropped_events_count", Uint32),
            (13, "links", "links", Many("Link")),
            (14, "droppedLinksCount", "dropped_links_count", Uint32),
            (15, "status", "status", One("Status")),
            (16, "flags", "flags", Fixed32),
        ],
        "Event" => &[
            (1, "timeUnixNano", "time_unix_nano", Fixed64),
            (2, "name", "name", Text),
            (3, "attributes", "attributes", Many("KeyValue")),
            (4, "droppedAttributesCount", "dropped_attributes_count", Uint32),
        ],
        "Link" => &[
            (1, "traceId", "trace_id", Hex),
            (2, "spanId", "span_id", Hex),
            (3, "traceState", "trace_state", Text),
            (4, "attributes", "attributes", Many("KeyValue")),
            (5, "droppedAttributesCount", "dropped_attributes_count", Uint32),
            (6, "flags", "flags", Fixed32),
        ],
        "Status" => &[(2, "message", "message", Text), (3, "code", "code", Enum)],
        "KeyValue" => &[(1, "key", "key", Text), (2, "value", "value", One("AnyValue"))],
        "AnyValue" => &[
            (1, "stringValue", "string_value", Text),
            (2, "boolValue", "bool_value", Bool),
            (3, "intValue", "int_value", Int64),
            (4, "doubleValue", "double_value", Double),
            (5, "arrayValue", "array_value", One("ArrayValue")),
            (6, "kvlistValue", "kvlist_value", One("KeyValueList")),
            (7, "bytesValue", "bytes_value", Bytes),
        ],
        "ArrayValue" => &[(1, "values", "values", Many("AnyValue"))],
        "KeyValueList" => &[(1, "values", "values", Many("KeyValue"))],
        other => panic!("no message {other}"),
    }
}

/// Reads a message; panics on anything that is not in the tables.
pub(crate) fn decode(bytes: &[u8], message: &str) -> Value {
    let mut object = Map::new();
    let mut at = 0;
    while at < bytes.len() {
        let tag = varint(bytes, &mut at);
        let row = table(message).iter().find(|row| row.0 == tag >> 3);
        let (_, name, _, kind) = *row.unwrap_or_else(|| panic!("field {} in {message}", tag >> 3));
        let value = match (kind, tag & 7) {
            (Kind::Text, 2) => json!(std::str::from_utf8(block(bytes, &mut at)).unwrap()),
            (Kind::Hex, 2) => json!(hex(block(bytes, &mut at))),
            (Kind::Bytes, 2) => json!(block(bytes, &mut at)),
            (Kind::Fixed64, 1) => json!(fixed::<8>(bytes, &mut at).to_string()),
            (Kind::Double, 1) => double(f64::from_bits(fixed::<8>(bytes, &mut at))),
            (Kind::Fixed32, 5) => json!(fixed::<4>(bytes, &mut at)),
            (Kind::Uint32, 0) => json!(u32::try_from(varint(bytes, &mut at)).unwrap()),
            (Kind::Enum, 0) => json!(i32::try_from(varint(bytes, &mut at) as i64).unwrap()),
            (Kind::Bool, 0) => json!(varint(bytes, &mut at) != 0),
            (Kind::Int64, 0) => json!((varint(bytes, &mut at) as i64).to_string()),
            (Kind::One(inner), 2) => decode(block(bytes, &mut at), inner),
            (Kind::Many(inner), 2) => {
                let item = decode(block(bytes, &mut at), inner);
                object.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(item);
                continue;
            }
            (_, wire_type) => panic!("{message}.{name} has wire type {wire_type}"),
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// A float in the form of these values.
pub(crate) fn double(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            assert!(byte != 0 || shift == 0, "a varint is longer than it must be");
            return value;
        }
    }
    panic!("endless varint");
}

fn block<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let length = varint(bytes, at) as usize;
    *at += length;
    &bytes[*at - length..*at]
}

fn fixed<const N: usize>(bytes: &[u8], at: &mut usize) -> u64 {
    *at += N;
    bytes[*at - N..*at].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
