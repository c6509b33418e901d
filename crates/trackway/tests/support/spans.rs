//! The spans of a trace as `/api/v2/traces` gives them, and traces as a search finds them, of a tenant or of none.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use trackway_golden::http;

use super::{Server, requests};

/// One span with its resource and scope. Ids are hexadecimal and attributes are plain JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub resource: Value,
    pub scope: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub name: String,
    /// `SERVER`, or empty.
    pub kind: String,
    pub start: u64,
    pub end: u64,
    /// `OK`, `ERROR`, or empty.
    pub status: String,
    pub message: String,
    pub attributes: Value,
    /// Names and attributes.
    pub events: Vec<(String, Value)>,
    /// The ids of the spans that it is linked to.
    pub links: Vec<String>,
}

impl Span {
    pub fn service(&self) -> &str {
        self.resource["service.name"].as_str().unwrap_or_default()
    }
}

fn get(server: &Server, tenant: Option<&str>, path: &str) -> (u16, Value) {
    let headers: Vec<(String, String)> =
        tenant.map(|name| ("x-scope-orgid".to_owned(), name.to_owned())).into_iter().collect();
    let answer = http::request(&server.api, "GET", path, &headers, None).expect("an answer");
    let text = String::from_utf8_lossy(&answer.body);
    let parsed = if answer.status == 200 { serde_json::from_str(&text).expect("JSON") } else { Value::Null };
    assert!(matches!(answer.status, 200 | 404), "{path}: {}: {text}", answer.status);
    (answer.status, parsed)
}

/// The ids of the traces that a query finds, of 32 digits.
pub fn found(server: &Server, tenant: Option<&str>, query: &str) -> BTreeSet<String> {
    let (start, end) = requests::day();
    let query = trackway_loadgen::percent_encode(query);
    let (_, answer) =
        get(server, tenant, &format!("/api/search?q={query}&limit=1000&start={start}&end={end}"));
    let id = |trace: &Value| format!("{:0>32}", trace["traceID"].as_str().expect("an id"));
    list(&answer["traces"]).iter().map(id).collect()
}

/// The spans of a trace by its id in hexadecimal, by their start; none when there is no such trace.
pub fn of_trace(server: &Server, tenant: Option<&str>, trace: &str) -> Vec<Span> {
    let (_, answer) = get(server, tenant, &format!("/api/v2/traces/{trace}"));
    let mut all = Vec::new();
    for part in list(&answer["trace"]["resourceSpans"]) {
        for scope in list(&part["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                assert_eq!(hexadecimal(&span["traceId"]), format!("{trace:0>32}"));
                all.push(Span {
                    resource: plain(&part["resource"]["attributes"]),
                    scope: text(&scope["scope"]["name"]),
                    ..one(&span)
                });
            }
        }
    }
    all.sort_by(|one, other| (one.start, &one.id).cmp(&(other.start, &other.id)));
    all
}

fn one(span: &Value) -> Span {
    let nanos = |key: &str| text(&span[key]).parse::<u64>().expect("nanoseconds");
    let short = |value: &Value, prefix: &str| text(value).trim_start_matches(prefix).to_owned();
    let event = |event: &Value| (text(&event["name"]), plain(&event["attributes"]));
    Span {
        id: hexadecimal(&span["spanId"]),
        parent: hexadecimal(&span["parentSpanId"]),
        name: text(&span["name"]),
        kind: short(&span["kind"], "SPAN_KIND_"),
        start: nanos("startTimeUnixNano"),
        end: nanos("endTimeUnixNano"),
        status: short(&span["status"]["code"], "STATUS_CODE_"),
        message: text(&span["status"]["message"]),
        attributes: plain(&span["attributes"]),
        events: list(&span["events"]).iter().map(event).collect(),
        links: list(&span["links"]).iter().map(|link| hexadecimal(&link["spanId"])).collect(),
        ..Span::default()
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hexadecimal(value: &Value) -> String {
    let bytes = BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A list of attributes as an object. A key may be there once.
fn plain(attributes: &Value) -> Value {
    let mut object = Map::new();
    for one in list(attributes) {
        let key = text(&one["key"]);
        assert!(object.insert(key.clone(), value(&one["value"])).is_none(), "{key} is there twice");
    }
    Value::Object(object)
}

fn value(any: &Value) -> Value {
    let (kind, value) = any.as_object().and_then(|any| any.iter().next()).expect("an AnyValue");
    match kind.as_str() {
        "intValue" => text(value).parse::<i64>().expect("a number").into(),
        "arrayValue" => list(&value["values"]).iter().map(self::value).collect(),
        _ => value.clone(),
    }
}
