//! A span as one line of JSON.

use serde_json::{Map, Value as Json, json};
use trackway_common::TenantId;
use trackway_spans::{Level, SpanBatch, StrId, Value, effective_duration};

/// Attributes that are shown of a span or its resource.
const ATTRIBUTES_MAX: usize = 128;
/// Bytes of a text that are shown.
const TEXT_BYTES_MAX: usize = 4096;

/// A span that matched, ready to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSpan {
    /// It as JSON; of one line.
    pub json: String,
}

fn text(bytes: &[u8]) -> String {
    let cut = bytes.get(..TEXT_BYTES_MAX);
    let mut text = String::from_utf8_lossy(cut.unwrap_or(bytes)).into_owned();
    if cut.is_some_and(|cut| cut.len() < bytes.len()) {
        text.push('…');
    }
    text
}

impl ShownSpan {
    /// A row of a batch; with its tenant, if several are looked at.
    pub(crate) fn new(batch: &SpanBatch, span: usize, tenant: Option<&TenantId>) -> Self {
        let spans = &batch.spans;
        let string = |id: StrId| text(batch.strings.get(id));
        let mut shown = Map::new();
        let mut put = |key: &str, value: Json| drop(shown.insert(key.to_owned(), value));
        if let Some(tenant) = tenant {
            put("tenant", json!(tenant.as_str()));
        }
        put("traceId", json!(batch.traces.id(spans.trace[span] as usize).to_string()));
        put("spanId", json!(format!("{:016x}", spans.id[span])));
        if spans.parent[span] != 0 {
            put("parentSpanId", json!(format!("{:016x}", spans.parent[span])));
        }
        put("name", json!(string(spans.name[span])));
        put("kind", json!(kind(spans.kind[span])));
        put("status", json!(status(spans.status[span])));
        let message = string(spans.status_message[span]);
        if !message.is_empty() {
            put("statusMessage", json!(message));
        }
        put("startTimeUnixNano", json!(spans.start[span].to_string()));
        put("durationNanos", json!(effective_duration(spans.duration[span]).to_string()));
        let owner = batch.resource_of(span);
        let mut resource = attributes(batch, Level::Resource, owner);
        let service = batch.resources.service.get(owner).map(|id| string(*id)).unwrap_or_default();
        if !service.is_empty() {
            resource.insert("service.name".to_owned(), json!(service));
        }
        put("service", json!(service));
        put("attributes", Json::Object(attributes(batch, Level::Span, span)));
        put("resource", Json::Object(resource));
        Self { json: Json::Object(shown).to_string() }
    }
}

fn attributes(batch: &SpanBatch, level: Level, owner: usize) -> Map<String, Json> {
    let mut all = Map::new();
    let Ok(owner) = u32::try_from(owner) else { return all };
    batch.attrs(level).for_each(&batch.strings, owner, |key, value| {
        if all.len() < ATTRIBUTES_MAX {
            let value = match value {
                Value::String(value) => json!(text(value)),
                Value::Int(value) => json!(value),
                Value::Float(value) => json!(value),
                Value::Bool(value) => json!(value),
                Value::Other(message) => other(message),
            };
            all.insert(text(batch.strings.get(key)), value);
        }
    });
    all
}

/// Lists of scalars are shown; of anything deeper, that it is there.
fn other(message: &[u8]) -> Json {
    let mut elements = Vec::new();
    trackway_spans::anyvalue::for_each_element(message, |value| {
        if elements.len() < ATTRIBUTES_MAX {
            elements.push(match value {
                Value::String(value) => json!(text(value)),
                Value::Int(value) => json!(value),
                Value::Float(value) => json!(value),
                Value::Bool(value) => json!(value),
                Value::Other(_) => json!("…"),
            });
        }
    });
    if elements.is_empty() { json!("…") } else { Json::Array(elements) }
}

fn kind(code: u8) -> String {
    named(&["unspecified", "internal", "server", "client", "producer", "consumer"], code)
}

fn status(code: u8) -> String {
    named(&["unset", "ok", "error"], code)
}

fn named(names: &[&str], code: u8) -> String {
    names.get(usize::from(code)).map_or_else(|| code.to_string(), |name| (*name).to_owned())
}
