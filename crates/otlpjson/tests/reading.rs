//! The rules of OTLP/JSON, one test each: what is accepted, what is refused, and how it is said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use common::decode;
use serde_json::{Value, json};
use trackway_otlpjson::{Converted, Error, Limits, MAX_REASONS, MAX_VALUE_DEPTH, to_protobuf};

fn convert(json: &str) -> Result<Converted, Error> {
    to_protobuf(json.as_bytes(), &Limits::default())
}

fn request(json: &str) -> Value {
    let converted = convert(json).unwrap();
    assert_eq!(converted.refused, [], "{json}");
    decode(&converted.protobuf, "Request")
}

fn body(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

/// A request of one span, read back.
fn span(span: &str) -> Value {
    request(&body(span))["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
}

/// Why a span is refused.
fn refused(span: &str) -> String {
    let converted = convert(&body(span)).unwrap();
    assert_eq!((converted.spans, converted.refused_spans), (1, 1), "{span}");
    assert_eq!(decode(&converted.protobuf, "Request"), json!({"resourceSpans": [{"scopeSpans": [{}]}]}));
    converted.refused[0].reason.clone()
}

fn value(any_value: &str) -> Value {
    span(&format!(r#"{{"attributes":[{{"key":"k","value":{any_value}}}]}}"#))["attributes"][0]["value"]
        .clone()
}

fn value_refused(any_value: &str) -> String {
    refused(&format!(r#"{{"attributes":[{{"key":"k","value":{any_value}}}]}}"#))
}

fn place(json: &str) -> (bool, String, usize, (usize, usize), String) {
    match convert(json) {
        Err(Error::Syntax(place)) => {
            (true, place.path, place.offset, (place.line, place.column), place.message)
        }
        Err(Error::Structure(place)) => {
            (false, place.path, place.offset, (place.line, place.column), place.message)
        }
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn a_full_request() {
    let json = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}],
            "droppedAttributesCount": 1},
        "scopeSpans": [{
            "scope": {"name": "n", "version": "v", "attributes": [{"key": "b", "value": {"boolValue": false}}],
                "droppedAttributesCount": 2},
            "spans": [{
                "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0001020304050607",
                "traceState": "a=b", "parentSpanId": "1011121314151617", "name": "op", "kind": 3,
                "startTimeUnixNano": "1", "endTimeUnixNano": "18446744073709551615",
                "attributes": [{"key": "i", "value": {"intValue": "-9223372036854775808"}}],
                "droppedAttributesCount": 3, "flags": 257,
                "events": [{"timeUnixNano": "5", "name": "e", "attributes": [{"key": "", "value": {}}],
                    "droppedAttributesCount": 4}],
                "droppedEventsCount": 5,
                "links": [{"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0001020304050607",
                    "traceState": "c=d", "attributes": [], "droppedAttributesCount": 6, "flags": 1}],
                "droppedLinksCount": 4_294_967_295u32,
                "status": {"message": "m", "code": 2},
            }],
            "schemaUrl": "s"
        }],
        "schemaUrl": "t"
    }]});
    let mut expected = json.clone();
    expected["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["links"][0]
        .as_object_mut()
        .unwrap()
        .remove("attributes");
    // An empty key is left out of protobuf, its value is not.
    expected["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["events"][0]["attributes"] =
        json!([{"value": {}}]);
    assert_eq!(request(&json.to_string()), expected);
    assert_eq!(request(&serde_json::to_string_pretty(&json).unwrap()), expected);
}

#[test]
fn snake_case_is_accepted() {
    let json = r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"000102030405060708090a0b0c0d0e0f",
        "span_id":"0001020304050607","trace_state":"x","parent_span_id":"0001020304050608",
        "start_time_unix_nano":1,"end_time_unix_nano":2,"dropped_attributes_count":1,"dropped_events_count":2,
        "dropped_links_count":3,"attributes":[{"key":"a","value":{"string_value":"s"}},
        {"key":"b","value":{"bool_value":true}},{"key":"c","value":{"int_value":1}},
        {"key":"d","value":{"double_value":1.5}},{"key":"e","value":{"array_value":{"values":[]}}},
        {"key":"f","value":{"kvlist_value":{"values":[]}}},{"key":"g","value":{"bytes_value":"AA=="}}],
        "events":[{"time_unix_nano":4}]}],"schema_url":"u"}],"schema_url":"v"}]}"#;
    let camel = json
        .replace("resource_spans", "resourceSpans")
        .replace("scope_spans", "scopeSpans")
        .replace("trace_id", "traceId")
        .replace("parent_span_id", "parentSpanId")
        .replace("span_id", "spanId")
        .replace("trace_state", "traceState")
        .replace("end_time_unix_nano", "endTimeUnixNano")
        .replace("start_time_unix_nano", "startTimeUnixNano")
        .replace("time_unix_nano", "timeUnixNano")
        .replace("dropped_attributes_count", "droppedAttributesCount")
        .replace("dropped_events_count", "droppedEventsCount")
        .replace("dropped_links_count", "droppedLinksCount")
        .replace("schema_url", "schemaUrl")
        .replace("_value", "Value");
    assert!(!camel.contains('_'));
    assert_eq!(request(json), request(&camel));
    assert_eq!(
        request(json)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
}

#[test]
fn ids_are_hex_of_their_length() {
    let id = "0123456789ABCDEFabcdef0123456789";
    assert_eq!(span(&format!(r#"{{"traceId":"{id}"}}"#))["traceId"], id.to_lowercase());
    assert_eq!(span(r#"{"traceId":"","spanId":"","parentSpanId":""}"#), json!({}));
    assert_eq!(span(r#"{"spanId":"\u0030000000000000000"}"#)["spanId"], "0000000000000000");
    let reason = refused(r#"{"traceId":"abc"}"#);
    assert_eq!(
        reason,
        "resourceSpans[0].scopeSpans[0].spans[0].traceId: expected an id of 32 hex digits, found 3 (byte 54)"
    );
    for bad in [
        r#"{"spanId":"123456789abcdef"}"#,
        r#"{"spanId":"0123456789abcdeg"}"#,
        r#"{"spanId":"0123456789abcde é"}"#,
        r#"{"spanId":1234567890123456}"#,
        r#"{"parentSpanId":"00"}"#,
        r#"{"traceId":"AAAAAAAAAAAAAAAAAAAAAQ=="}"#,
        r#"{"links":[{"traceId":"00"}]}"#,
        r#"{"links":[{"spanId":["00"]}]}"#,
    ] {
        assert!(refused(bad).contains("d: "), "{bad}");
    }
}

#[test]
fn integers_come_as_numbers_strings_and_floats() {
    for text in ["5", "\"5\"", "5.0", "\"5.0\"", "5e0", "0.5e1", "50E-1"] {
        assert_eq!(value(&format!(r#"{{"intValue":{text}}}"#)), json!({"intValue": "5"}), "{text}");
        assert_eq!(span(&format!(r#"{{"startTimeUnixNano":{text}}}"#)), json!({"startTimeUnixNano": "5"}));
        assert_eq!(span(&format!(r#"{{"droppedLinksCount":{text}}}"#)), json!({"droppedLinksCount": 5}));
        assert_eq!(span(&format!(r#"{{"flags":{text}}}"#)), json!({"flags": 5}));
    }
    assert_eq!(value(r#"{"intValue":0}"#), json!({"intValue": "0"}));
    assert_eq!(value(r#"{"intValue":9007199254740993}"#), json!({"intValue": "9007199254740993"}));
    assert_eq!(value(r#"{"intValue":-9223372036854775808}"#), json!({"intValue": "-9223372036854775808"}));
    assert_eq!(
        span(r#"{"endTimeUnixNano":1.795336140123456789E18}"#),
        json!({"endTimeUnixNano": "1795336140123456789"})
    );
    for bad in ["9223372036854775808", "1.5", "\"x\"", "\"\"", "true", "{}", "[1]", "\" 5\"", "1e40"] {
        assert!(value_refused(&format!(r#"{{"intValue":{bad}}}"#)).contains("a 64-bit integer"), "{bad}");
    }
    for bad in ["-1", "18446744073709551616"] {
        assert!(refused(&format!(r#"{{"startTimeUnixNano":{bad}}}"#)).contains("unsigned 64-bit"), "{bad}");
    }
    for bad in ["-1", "4294967296"] {
        assert!(refused(&format!(r#"{{"flags":{bad}}}"#)).contains("unsigned 32-bit"), "{bad}");
    }
}

#[test]
fn enums_come_as_numbers_and_names() {
    for text in ["2", "\"SPAN_KIND_SERVER\"", "\"span_kind_server\"", "\"2\"", "2.0"] {
        assert_eq!(span(&format!(r#"{{"kind":{text}}}"#)), json!({"kind": 2}), "{text}");
    }
    assert_eq!(span(r#"{"kind":"SPAN_KIND_UNSPECIFIED"}"#), json!({}));
    assert_eq!(span(r#"{"kind":77}"#), json!({"kind": 77}));
    assert_eq!(span(r#"{"kind":-1}"#), json!({"kind": -1}));
    assert_eq!(span(r#"{"status":{"code":"STATUS_CODE_ERROR"}}"#), json!({"status": {"code": 2}}));
    assert_eq!(span(r#"{"status":{"code":"status_code_ok"}}"#), json!({"status": {"code": 1}}));
    assert_eq!(span(r#"{"status":{}}"#), json!({"status": {}}));
    assert!(
        refused(r#"{"kind":[1]}"#)
            .ends_with("spans[0].kind: expected a number or an enum name, found an array (byte 51)")
    );
    for bad in ["\"SERVER_KIND\"", "true", "{}", "1.5", "2147483648", "\"STATUS_CODE_OK\""] {
        assert!(refused(&format!(r#"{{"kind":{bad}}}"#)).contains("enum name"), "{bad}");
    }
}

#[test]
fn values_of_every_type() {
    for (json, expected) in [
        ("{}", json!({})),
        ("null", json!({})),
        (r#"{"stringValue":null}"#, json!({})),
        (r#"{"unknownValue":5}"#, json!({})),
        (r#"{"stringValue":""}"#, json!({"stringValue": ""})),
        (r#"{"boolValue":false}"#, json!({"boolValue": false})),
        (r#"{"boolValue":true}"#, json!({"boolValue": true})),
        (r#"{"doubleValue":0}"#, json!({"doubleValue": 0.0})),
        (r#"{"doubleValue":-0.0}"#, json!({"doubleValue": -0.0})),
        (r#"{"doubleValue":1e300}"#, json!({"doubleValue": 1e300})),
        (r#"{"doubleValue":"1.5"}"#, json!({"doubleValue": 1.5})),
        (r#"{"doubleValue":"NaN"}"#, json!({"doubleValue": "NaN"})),
        (r#"{"doubleValue":"Infinity"}"#, json!({"doubleValue": "Infinity"})),
        (r#"{"doubleValue":"-Infinity"}"#, json!({"doubleValue": "-Infinity"})),
        (r#"{"bytesValue":""}"#, json!({"bytesValue": []})),
        (r#"{"bytesValue":"AAH-"}"#, json!({"bytesValue": [0, 1, 254]})),
        (r#"{"bytesValue":"AAH\/"}"#, json!({"bytesValue": [0, 1, 255]})),
        (r#"{"bytesValue":"_w"}"#, json!({"bytesValue": [255]})),
        (r#"{"arrayValue":{}}"#, json!({"arrayValue": {}})),
        (r#"{"arrayValue":{"values":null}}"#, json!({"arrayValue": {}})),
        (
            r#"{"arrayValue":{"values":[{"intValue":1},null,{},{"arrayValue":{"values":[{"stringValue":"x"}]}}]}}"#,
            json!({"arrayValue": {"values": [{"intValue": "1"}, {}, {},
                {"arrayValue": {"values": [{"stringValue": "x"}]}}]}}),
        ),
        (
            r#"{"kvlistValue":{"values":[{"value":{"boolValue":true},"key":"k"},{"key":"l"},null]}}"#,
            json!({"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": true}},
                {"key": "l", "value": {}}]}}),
        ),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
    for (json, words) in [
        (r#"{"stringValue":5}"#, "value.stringValue: expected a string, found a number"),
        (r#"{"boolValue":"true"}"#, "value.boolValue: expected true or false, found a string"),
        (r#"{"boolValue":0}"#, "value.boolValue: expected true or false, found a number"),
        (r#"{"doubleValue":"nan"}"#, "found nan"),
        (r#"{"doubleValue":1e999}"#, "found 1e999"),
        (r#"{"doubleValue":true}"#, "found true"),
        (r#"{"bytesValue":"A"}"#, "value.bytesValue: not base64"),
        (r#"{"bytesValue":[1]}"#, "expected a base64 string, found an array"),
        (r#"{"arrayValue":[1]}"#, "expected an object, found an array"),
        (
            r#"{"arrayValue":{"values":[{},[]]}}"#,
            "value.arrayValue.values[1]: expected an object, found an array",
        ),
        (r#""text""#, "attributes[0].value: expected an object, found a string"),
    ] {
        assert!(value_refused(json).contains(words), "{json}: {}", value_refused(json));
    }
}

#[test]
fn the_last_of_two_counts() {
    assert_eq!(value(r#"{"stringValue":"a","intValue":5}"#), json!({"intValue": "5"}));
    assert_eq!(value(r#"{"intValue":5,"stringValue":""}"#), json!({"stringValue": ""}));
    assert_eq!(value(r#"{"intValue":5,"stringValue":null,"x":1}"#), json!({"intValue": "5"}));
    assert_eq!(
        span(
            r#"{"attributes":[{"value":{"arrayValue":{"values":[{}]}},"key":"k","value":{"arrayValue":{"values":[]}},"key":"l"}]}"#
        ),
        json!({"attributes": [{"key": "l", "value": {"arrayValue": {}}}]})
    );
    assert_eq!(span(r#"{"name":"a","name":"b","kind":3,"kind":1}"#), json!({"name": "b", "kind": 1}));
}

#[test]
fn nulls_and_unknown_keys_are_skipped() {
    let json = r#"{"x":[1,{"y":null}],"resourceSpans":[null,{"entityRefs":[{}],"resource":null,"scopeSpans":[null,
        {"scope":null,"é":"\u00e9","spans":[null,{"traceId":null,"kind":null,"attributes":null,"status":null,
        "events":[null,{"z":1}],"links":[null],"startTimeUnixNano":null,"deprecated":{"a":[true,false,null,-1.5e3]}}],
        "schemaUrl":null}]}]} "#;
    assert_eq!(request(json), json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"events": [{}]}]}]}]}));
    for empty in ["{}", " {} ", "null", r#"{"resourceSpans":null}"#, r#"{"resourceSpans":[]}"#, "\u{feff}{}"]
    {
        assert_eq!(convert(empty).unwrap(), Converted::default(), "{empty}");
    }
    // A name may be spelled with escapes.
    assert_eq!(span(r#"{"n\u0061me":"a"}"#), json!({"name": "a"}));
}

#[test]
fn strings_of_every_kind() {
    for (json, text) in [
        (r#""ünï €😀""#, "ünï €😀"),
        (r#""\u00fc\ud83d\ude00""#, "ü😀"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"),
        (r#""\u0000""#, "\0"),
        ("\"\u{7f}\u{2028}\"", "\u{7f}\u{2028}"),
    ] {
        assert_eq!(span(&format!(r#"{{"name":{json}}}"#))["name"], text, "{json}");
    }
    let long = "x\\n".repeat(100);
    assert_eq!(span(&format!(r#"{{"name":"{long}"}}"#))["name"], "x\n".repeat(100));
    let converted =
        to_protobuf(body(r#"{"name":"a?b"}"#).replace('?', "\u{1}").as_bytes(), &Limits::default());
    assert!(matches!(converted, Err(Error::Syntax(_))));
    let mut bytes = body(r#"{"name":"a?b"}"#).into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'?').unwrap();
    bytes[at] = 0xff;
    let converted = to_protobuf(&bytes, &Limits::default()).unwrap();
    assert!(converted.protobuf.ends_with("a\u{fffd}b".as_bytes()));
}

#[test]
fn a_bad_span_costs_only_itself() {
    let json = r#"{"resourceSpans":[
        {"scopeSpans":[{"spans":[{"name":"a"},{"name":"b","kind":[{"x":"]"}],"attributes":[{}]},{"name":"c"}]}]},
        {"scopeSpans":[{},{"spans":[7,{"name":"d"},{"name":5}]}],"resource":{"attributes":[{"key":"r"}]}}]}"#;
    let converted = convert(json).unwrap();
    assert_eq!(
        decode(&converted.protobuf, "Request"),
        json!({"resourceSpans": [
            {"scopeSpans": [{"spans": [{"name": "a"}, {"name": "c"}]}]},
            {"scopeSpans": [{}, {"spans": [{"name": "d"}]}],
                "resource": {"attributes": [{"key": "r", "value": {}}]}}]})
    );
    assert_eq!((converted.spans, converted.refused_spans), (6, 3));
    let refused: Vec<_> = converted.refused.iter().map(|refused| (refused.span, &*refused.reason)).collect();
    assert_eq!(refused[0].0, 1);
    assert!(refused[0].1.starts_with(
        "resourceSpans[0].scopeSpans[0].spans[1].kind: expected a number or an enum name, found an array"
    ));
    assert_eq!(refused[1].0, 3);
    assert!(
        refused[1]
            .1
            .starts_with("resourceSpans[1].scopeSpans[1].spans[0]: expected an object, found a number")
    );
    assert_eq!(refused[2].0, 5);
    assert!(refused[2].1.starts_with("resourceSpans[1].scopeSpans[1].spans[2].name: expected a string"));
}

#[test]
fn reasons_are_bounded() {
    let json = body(&vec!["5"; 3 * MAX_REASONS].join(","));
    let converted = convert(&json).unwrap();
    assert_eq!((converted.refused_spans, converted.refused.len()), (3 * MAX_REASONS, MAX_REASONS));
}

#[test]
fn wrong_structure_refuses_the_request() {
    for (json, path, offset, words) in [
        ("[]", "", 0, "expected an object, found an array"),
        ("\"x\"", "", 0, "expected an object, found a string"),
        (r#"{"resourceSpans":{}}"#, "resourceSpans", 17, "expected an array, found an object"),
        (r#"{"resourceSpans":[5]}"#, "resourceSpans[0]", 18, "expected an object, found a number"),
        (
            r#"{"resourceSpans":[{},{"scopeSpans":true}]}"#,
            "resourceSpans[1].scopeSpans",
            35,
            "expected an array, found true",
        ),
        (
            r#"{"resource_spans":[{"resource":{"attributes":[{},{"key":1}]}}]}"#,
            "resource_spans[0].resource.attributes[1].key",
            56,
            "expected a string, found a number",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"scope":{"droppedAttributesCount":-1}}]}]}"#,
            "resourceSpans[0].scopeSpans[0].scope.droppedAttributesCount",
            68,
            "expected an unsigned 32-bit integer, found -1",
        ),
    ] {
        let (syntax, found_path, found_offset, _, message) = place(json);
        assert!(!syntax, "{json}");
        assert_eq!((&*found_path, found_offset, &*message), (path, offset, words), "{json}");
    }
}

#[test]
fn broken_json_refuses_the_request() {
    for (json, path, offset, words) in [
        ("", "", 0, "unexpected end"),
        ("{", "", 1, "unexpected end"),
        ("x", "", 0, "unexpected 'x'"),
        ("{}}", "", 2, "after the end"),
        (r#"{"resourceSpans":[{}}"#, "resourceSpans", 20, "unexpected '}'"),
        (r#"{"resourceSpans":[{"foo":01}]}"#, "resourceSpans[0]", 26, "unexpected '1'"),
        (r#"{"resourceSpans":[{"foo":-}]}"#, "resourceSpans[0].foo", 26, "broken number"),
        (r#"{"resourceSpans":[{"foo":"\q"}]}"#, "resourceSpans[0].foo", 26, "unknown escape"),
        (r#"{"resourceSpans":[{"foo":nul}]}"#, "resourceSpans[0].foo", 25, "expected null"),
        (r#"{"resourceSpans":[ü]}"#, "resourceSpans[0]", 18, "unexpected 'ü'"),
    ] {
        let (syntax, found_path, found_offset, _, message) = place(json);
        assert!(syntax, "{json}");
        assert_eq!((&*found_path, found_offset), (path, offset), "{json}: {message}");
        assert!(message.contains(words), "{json}: {message}");
    }
    // Also when it is broken inside a span, before or after a wrong value.
    for bad in [r#"{"name":"a",}"#, r#"{"name":5,"kind":}"#, r#"{"name":"a" "kind":1}"#, r#"{"kind":tru}"#] {
        let (syntax, path, ..) = place(&body(bad));
        assert!(syntax && path.starts_with("resourceSpans[0].scopeSpans[0].spans[0]"), "{bad}: {path}");
    }
}

#[test]
fn places_have_lines_and_columns() {
    let json = "{\n  \"resourceSpans\": [\n    {\"ä\": 1, \"resource\": 5}\n  ]\n}";
    let (_, _, offset, at, _) = place(json);
    assert_eq!((&json[offset..=offset], at), ("5", (3, 26)));
    let text = convert(json).unwrap_err().to_string();
    assert_eq!(
        text,
        "resourceSpans[0].resource: expected an object, found a number (line 3, column 26, byte 49)"
    );
}

#[test]
fn limits_hold() {
    let limits = Limits { max_bytes: 1, ..Limits::default() };
    assert_eq!(to_protobuf(b"{}", &limits), Err(Error::TooLarge { bytes: 2, limit: 1 }));
    let deep = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels - 1);
        format!(r#"{open}{{"intValue":1}}{}"#, "]}}".repeat(levels - 1))
    };
    value(&deep(MAX_VALUE_DEPTH));
    assert!(value_refused(&deep(MAX_VALUE_DEPTH + 1)).contains("nested deeper than 30"));
    let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#;
    let lists = format!("{}{{}}{}", open.repeat(MAX_VALUE_DEPTH), "}]}}".repeat(MAX_VALUE_DEPTH));
    assert!(value_refused(&lists).contains("nested deeper than 30"));
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let json = format!(r#"{{"x":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
        assert!(place(&json).4.contains("nested deeper than 256"));
    }
    let json = body(&format!(r#"{{"x":{}"#, "[".repeat(100_000)));
    assert!(place(&json).0);
}

#[test]
fn real_input_converts_whole() {
    let json = include_str!("data/odd.json");
    let converted = convert(json).unwrap();
    assert_eq!(converted.refused, []);
    let theirs: Value = serde_json::from_str(json).unwrap();
    let spans = |request: &Value| -> Vec<Value> {
        let resources = request["resourceSpans"].as_array().unwrap().iter();
        let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
        scopes.flat_map(|scope| scope["spans"].as_array().unwrap().clone()).collect()
    };
    let (ours, theirs) = (spans(&decode(&converted.protobuf, "Request")), spans(&theirs));
    assert_eq!((ours.len(), converted.spans), (theirs.len(), theirs.len()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for key in ["traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano"] {
            assert_eq!(ours[key], theirs[key]);
        }
        let count = |span: &Value, key: &str| span[key].as_array().map_or(0, Vec::len);
        for key in ["attributes", "events", "links"] {
            assert_eq!(count(ours, key), count(theirs, key));
        }
    }
}

#[test]
fn pushes_are_answered_as_by_a_real_server() {
    for line in include_str!("data/push.jsonl").lines() {
        let push: Value = serde_json::from_str(line).unwrap();
        let converted = convert(push["body"].as_str().unwrap()).unwrap();
        let theirs = push["json"]["message"].as_str().unwrap_or_default();
        // Ids of zeros are well formed: they pass, and the next layer refuses them.
        assert_eq!(converted.refused_spans > 0, theirs.contains("length mismatch"), "{line}");
    }
}
