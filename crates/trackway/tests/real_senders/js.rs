//! The OpenTelemetry SDK for JavaScript.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::receivers;
use super::support::spans::{Span, of_trace};
use super::{MULTITENANT, NO_DATAGRAMS, TENANT, assert_found, program, programs, run, texts};

/// What `sdk.mjs` says that it sent: the trace's id, and its spans as they must be answered.
fn said(output: &str) -> (String, Vec<Span>) {
    let said: Value = serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let span = |span: &Value| Span {
        resource: said["resource"].clone(),
        scope: "shop".to_owned(),
        id: text(&span["id"]),
        parent: text(&span["parent"]),
        name: text(&span["name"]),
        kind: text(&span["kind"]),
        start: text(&span["start"]).parse().unwrap(),
        end: text(&span["end"]).parse().unwrap(),
        status: text(&span["status"]).replace("UNSET", ""),
        message: text(&span["message"]),
        attributes: span["attributes"].clone(),
        events: list(&span["events"])
            .iter()
            .map(|event| (text(&event["name"]), event["attributes"].clone()))
            .collect(),
        links: list(&span["links"]).iter().map(text).collect(),
    };
    let mut spans: Vec<Span> = list(&said["spans"]).iter().map(span).collect();
    spans.sort_by(|one, other| (one.start, &one.id).cmp(&(other.start, &other.id)));
    (text(&said["spans"][0]["trace"]), spans)
}

#[test]
fn the_sdk_over_every_transport_of_otlp() {
    let Some(folder) = programs("js::the_sdk_over_every_transport_of_otlp", "js") else { return };
    let data = tempfile::tempdir().unwrap();
    let (mut server, _) = receivers::start(data.path(), MULTITENANT);
    server.expect_warning(NO_DATAGRAMS);
    let mut sent = Vec::new();
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let sdk = |more: &[&str]| {
            let mut node = program("node");
            node.current_dir(&folder).args(["sdk.mjs", protocol, endpoint]).args(more);
            node
        };
        for compression in ["none", "gzip"] {
            let (trace, spans) = said(&run(&mut sdk(&[compression, TENANT])));
            assert_eq!(of_trace(&server, Some(TENANT), &trace), spans, "{protocol}, {compression}");
            sent.push((trace, spans));
        }
        // Without a tenant nothing is taken. As with Tempo the SDK tries again; over HTTP it keeps the reason to itself.
        let output = sdk(&["none"]).env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000").output().unwrap();
        let (printed, complaint) = texts(&output);
        let why = if protocol == "grpc" { "UNAVAILABLE: no org id" } else { "retryable status" };
        assert!(printed.is_empty() && complaint.contains(why), "{protocol}: {printed}\n{complaint}");
    }
    server.flush();
    let traces: BTreeSet<String> = sent.iter().map(|(trace, _)| trace.clone()).collect();
    assert_eq!(traces.len(), 6);
    for (trace, spans) in &sent {
        assert_eq!(&of_trace(&server, Some(TENANT), trace), spans, "after the flush");
    }
    let queries = [
        "{ resource.service.name = \"js-shop\" && resource.host.cpus = 2 }",
        "{ kind = server && span.order.id = 7 && span.order.total > 12 && span.order.paid = true }",
        "{ span.order.items = \"mjölk 🥛\" }",
        "{ kind = server } > { name = \"load order\" && status = error && statusMessage = \"no stock\" }",
        "{ event:name = \"exception\" && event.exception.type = \"RangeError\" }",
        "{ name = \"notify\" && kind = producer && link:spanID != \"\" }",
        "{ instrumentation:name = \"shop\" && instrumentation:version = \"1.2.3\" }",
    ];
    assert_found(&server, Some(TENANT), &traces, &queries);
    server.stop();
}

#[test]
fn the_sdk_to_zipkin() {
    let Some(folder) = programs("js::the_sdk_to_zipkin", "js") else { return };
    let data = tempfile::tempdir().unwrap();
    let (mut server, receivers) = receivers::start(data.path(), MULTITENANT);
    server.expect_warning(NO_DATAGRAMS);
    let endpoint = format!("127.0.0.1:{}", receivers.zipkin);
    let arguments = ["sdk.mjs", "zipkin", &endpoint, "none", TENANT];
    let (trace, sent) = said(&run(program("node").current_dir(&folder).args(arguments)));
    let got = of_trace(&server, Some(TENANT), &trace);
    let outline = |spans: &[Span]| -> Vec<_> {
        let one = |span: &Span| {
            let ids = (span.id.clone(), span.parent.clone());
            // Zipkin's times are microseconds.
            (ids, span.name.clone(), span.kind.clone(), span.status == "ERROR", span.start / 1000)
        };
        let mut all: Vec<_> = spans.iter().map(one).collect();
        all.sort();
        all
    };
    assert_eq!(outline(&got), outline(&sent));
    let outer = got.iter().find(|span| span.parent.is_empty()).unwrap();
    assert_eq!(outer.service(), "js-shop");
    // All values are texts there.
    for (key, value) in [("order.id", "7"), ("order.paid", "true"), ("http.route", "/orders/:order")] {
        assert_eq!(outer.attributes[key], value, "{outer:?}");
    }
    assert_eq!(outer.events[0].0, "cache miss");
    let queries =
        ["{ resource.service.name = \"js-shop\" && kind = server } > { kind = client && status = error }"];
    assert_found(&server, Some(TENANT), &BTreeSet::from([trace]), &queries);
    server.stop();
}
