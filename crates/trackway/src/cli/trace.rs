//! `trackway trace`: one trace as a waterfall.

use std::collections::HashMap;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;
use trackway_common::TraceId;

use super::ask::{self, Api, ApiArgs, list, number, text};
use super::term::{Look, clean, count};
use super::tree::Span;
use super::{HELP, print, say, waterfall};

/// The most events of a span that are shown.
const EVENTS: usize = 3;
/// Rows beyond which spans are gathered.
const ROWS: usize = 500;

/// Show one trace as a waterfall
#[derive(Debug, Args)]
#[command(help_template = HELP, before_help = "Example: trackway trace 5f1c2a7be0914d6c8a35f0b1d2e47c90")]
pub(super) struct TraceArgs {
    /// The trace's ID, 32 hexadecimal digits (zeros at the front may be left out)
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: TraceId,
    #[command(flatten)]
    api: ApiArgs,
    /// Show every span, however many there are
    #[arg(long)]
    all: bool,
    /// Print the API's answer instead of a waterfall
    #[arg(long)]
    json: bool,
}

/// An ID as it stands in a search, in a log, or as a UUID.
fn parse_id(text: &str) -> Result<TraceId, String> {
    let id: TraceId = text.trim().replace('-', "").parse().map_err(|error| format!("{error}"))?;
    if id == TraceId(0) { Err("this is no trace ID".to_owned()) } else { Ok(id) }
}

/// Runs it.
pub(super) async fn run(args: TraceArgs) -> Result<()> {
    let mut api = Api::connect(&args.api).await?;
    let answer = api.get(&format!("/api/v2/traces/{}", args.id.hex())).await?;
    // A server without the trace answers 404, or an empty trace; one without the question answers 404 with a text.
    if answer.status != 200 && !(answer.status == 404 && answer.body.is_empty()) {
        return Err(api.complaint(&answer));
    }
    let value = if answer.status == 200 { ask::json(&answer)? } else { Value::Null };
    let spans = value.get("trace").map(read).unwrap_or_default();
    if text(&value, "status") == "PARTIAL" {
        say(&format!("this trace is incomplete: {}", clean(text(&value, "message"))));
    }
    if spans.is_empty() {
        let whose = args.api.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
        bail!("no trace {}{whose} on {}", args.id, api.place());
    }
    if args.json {
        return print(&ask::raw(&answer));
    }
    let limit = if args.all { usize::MAX } else { ROWS };
    let (drawing, shown) = waterfall::draw(&args.id.hex(), &spans, limit, Look::of_stdout());
    print(&drawing)?;
    if shown < spans.len() {
        let all = count(spans.len() as u64, "span", "spans");
        say(&format!("{shown} of {all} shown, failed ones first; --all shows every one"));
    }
    Ok(())
}

/// The spans of a trace in OTLP's JSON.
fn read(trace: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in list(trace, "resourceSpans") {
        let attributes =
            resource.get("resource").map(|resource| list(resource, "attributes")).unwrap_or_default();
        let service = attribute(attributes, "service.name").unwrap_or_default();
        for scope in list(resource, "scopeSpans") {
            spans.extend(list(scope, "spans").iter().map(|span| read_span(span, &service)));
        }
    }
    silence_echoes(&mut spans);
    spans
}

/// A failure goes up through its callers, and most pass its message on: it is told once, where it comes from.
fn silence_echoes(spans: &mut [Span]) {
    let mut below: HashMap<(String, String), u64> = HashMap::new();
    for span in spans.iter().filter(|span| span.is_error) {
        if let Some(message) = span.notes.first() {
            let latest = below.entry((span.parent.clone(), message.clone())).or_default();
            *latest = span.start.max(*latest);
        }
    }
    for span in spans.iter_mut().filter(|span| span.is_error) {
        let Some(message) = span.notes.first() else { continue };
        let echoed = below.get(&(span.id.clone(), message.clone()));
        // Strictly later: in a circle of parents one of them still says it.
        if echoed.is_some_and(|start| *start > span.start) {
            span.notes.remove(0);
        }
    }
}

fn read_span(span: &Value, service: &str) -> Span {
    let start = span.get("startTimeUnixNano").and_then(number).unwrap_or_default();
    let end = span.get("endTimeUnixNano").and_then(number).unwrap_or_default();
    let status = span.get("status").unwrap_or(&Value::Null);
    let is_error = text(status, "code") == "STATUS_CODE_ERROR" || status.get("code") == Some(&Value::from(2));
    let mut notes = Vec::new();
    let message = text(status, "message");
    if is_error && !message.is_empty() {
        notes.push(clean(message));
    }
    notes.extend(events(list(span, "events"), is_error, message));
    Span {
        id: text(span, "spanId").to_owned(),
        parent: text(span, "parentSpanId").to_owned(),
        service: clean(service),
        name: clean(text(span, "name")),
        is_server: text(span, "kind") == "SPAN_KIND_SERVER",
        start,
        end: end.max(start),
        is_error,
        notes,
    }
}

/// What the events say beyond the status: exceptions always, others only where something went wrong.
fn events(events: &[Value], is_error: bool, message: &str) -> Vec<String> {
    let mut told: Vec<String> = events
        .iter()
        .filter(|event| is_error || text(event, "name") == "exception")
        .map(|event| {
            let attributes = list(event, "attributes");
            let about = ["exception.type", "exception.message"];
            let values = about.iter().filter_map(|key| attribute(attributes, key));
            let about: Vec<String> = values.filter(|value| value != message).collect();
            let name = text(event, "name");
            let said =
                if about.is_empty() { name.to_owned() } else { format!("{name} {}", about.join(": ")) };
            clean(&said)
        })
        .collect();
    let more = told.len().saturating_sub(EVENTS);
    if more > 0 {
        told.truncate(EVENTS);
        told.push(count(more as u64, "more event", "more events"));
    }
    told
}

/// The value of an attribute that is a text.
fn attribute(attributes: &[Value], key: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| text(pair, "key") == key)?;
    pair.get("value")?.get("stringValue")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_are_read_with_what_went_wrong() {
        let exception = json!({"name": "exception", "attributes": [
            {"key": "exception.message", "value": {"stringValue": "no\nfunds"}},
            {"key": "exception.type", "value": {"stringValue": "CardError"}}
        ]});
        let event = json!({"name": "retry"});
        let trace = json!({"resourceSpans": [
            {"scopeSpans": [{"spans": [{"spanId": "AQ==", "name": "bare", "startTimeUnixNano": "7", "events": [event]}]}]},
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "payment"}}]},
                "scopeSpans": [{"spans": [{
                    "spanId": "Ag==", "parentSpanId": "AQ==", "name": "Charge", "kind": "SPAN_KIND_SERVER",
                    "startTimeUnixNano": "8", "endTimeUnixNano": "9",
                    "status": {"code": "STATUS_CODE_ERROR", "message": "declined"},
                    "events": [exception, event, event, event, event]
                }]}]
            }
        ]});
        let spans = read(&trace);
        assert_eq!(spans.len(), 2);
        assert_eq!((spans[0].service.as_str(), spans[0].end, spans[0].is_error), ("", 7, false));
        assert!(spans[0].notes.is_empty());
        assert_eq!((spans[1].service.as_str(), spans[1].parent.as_str()), ("payment", "AQ=="));
        assert!(spans[1].is_error && spans[1].is_server);
        assert_eq!(
            spans[1].notes,
            ["declined", "exception CardError: no funds", "retry", "retry", "2 more events"]
        );
        assert!(read(&json!({})).is_empty());
        let said = json!([{"name": "exception", "attributes": [
            {"key": "exception.type", "value": {"stringValue": "E"}},
            {"key": "exception.message", "value": {"stringValue": "declined"}}
        ]}]);
        assert_eq!(events(said.as_array().unwrap(), true, "declined"), ["exception E"]);
    }

    #[test]
    fn a_message_is_told_where_it_comes_from() {
        let span = |id: &str, parent: &str, start, message: &str| Span {
            id: id.into(),
            parent: parent.into(),
            start,
            is_error: true,
            notes: vec![message.into(), "event".into()],
            ..Span::default()
        };
        let mut spans = [span("a", "", 0, "x"), span("b", "a", 1, "x"), span("c", "b", 2, "y")];
        silence_echoes(&mut spans);
        assert_eq!(spans.map(|span| span.notes.join(" ")), ["event", "x event", "y event"]);
        let mut circle = [span("a", "b", 0, "x"), span("b", "a", 0, "x"), span("c", "c", 0, "x")];
        silence_echoes(&mut circle);
        assert!(circle.iter().all(|span| span.notes.len() == 2));
    }

    #[test]
    fn ids_as_people_have_them() {
        assert_eq!(parse_id(" 5F1c"), Ok(TraceId(0x5f1c)));
        assert_eq!(parse_id("00000000-0000-0000-0000-000000005f1c"), Ok(TraceId(0x5f1c)));
        for wrong in ["", "0", "xyz", "000000000000000000000000000000001"] {
            assert!(parse_id(wrong).is_err(), "{wrong}");
        }
    }
}
