//! What an operator sees of what comes in: spans in the log, counts by name and service, bytes by attribute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use prost::Message;
use support::Server;
use support::requests::{now, put_text};
use trackway_golden::http;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number};

type Named<'n> = &'n [(&'n str, &'n str)];

/// A span: its id, whether it failed, whether it has a parent, its attributes.
type Span<'s> = (u64, bool, bool, Named<'s>);

fn request(trace: u128, resource: Named<'_>, spans: &[Span<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| resource.iter().for_each(|(key, value)| put_text(out, 1, key, value)));
        put_message(out, 2, |out| {
            for (id, failed, has_parent, attributes) in spans {
                put_message(out, 2, |out| {
                    put_bytes(out, 1, &trace.to_be_bytes());
                    put_bytes(out, 2, &id.to_be_bytes());
                    if *has_parent {
                        put_bytes(out, 4, &1_u64.to_be_bytes());
                    }
                    put_bytes(out, 5, if *has_parent { b"child" } else { b"a \"root\"" });
                    put_number(out, 6, 2);
                    put_fixed64(out, 7, now() - 1_500_000_000);
                    put_fixed64(out, 8, now());
                    attributes.iter().for_each(|(key, value)| put_text(out, 9, key, value));
                    if *failed {
                        put_message(out, 15, |out| put_number(out, 3, 2));
                    }
                });
            }
        });
    });
    out
}

fn push(server: &Server, tenant: &str, body: &[u8]) -> u16 {
    let headers = [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(body)).unwrap().status
}

/// The lines about spans, without what comes before the message.
fn lines(server: &Server, what: &str) -> Vec<String> {
    let message = format!("msg={what} ");
    let lines = server.lines();
    lines.iter().filter_map(|line| line.find(&message).map(|at| line[at..].to_owned())).collect()
}

fn id(id: u64) -> String {
    format!("spanid={id:016x}")
}

#[test]
fn spans_are_logged_as_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let more = "multitenancy_enabled: true\n\
                overrides: {defaults: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 100000}, \
                global: {max_bytes_per_trace: 2000}}}";
    let log = "log_received_spans: {enabled: true, include_all_attributes: true, filter_by_status_error: true}, \
               log_discarded_spans: {enabled: true}";
    let mut server = start(folder.path(), log, more);
    server.expect_warning("span_status=STATUS_CODE_ERROR"); // the span's, not the line's
    let big = "x".repeat(1000);
    let body = request(
        7,
        &[("service.name", "shop"), ("k8s.pod", "p 1")],
        &[
            (1, false, false, &[]),
            (2, true, true, &[("http.route", "/a")]),
            (3, true, true, &[("big", &big)]),
            (4, false, true, &[("big", &big)]),
        ],
    );
    assert_eq!(push(&server, "a", &body), 200);
    server.wait("the lines", |server| {
        lines(server, "received").len() == 2 && lines(server, "discarded").len() == 1
    });
    let received = lines(&server, "received");
    for part in [
        "msg=received span_service_name=shop span_k8s_pod=\"p 1\" span_http_route=/a span_name=child \
         span_duration_seconds=1.5",
        "span_kind=SPAN_KIND_SERVER span_status=STATUS_CODE_ERROR",
        &id(2),
        "traceid=00000000000000000000000000000007",
    ] {
        assert!(received[0].contains(part), "{part}: {}", received[0]);
    }
    assert!(received[1].contains(&id(3)), "{received:?}");
    // The fourth made the trace too large.
    let discarded = lines(&server, "discarded");
    assert!(
        discarded[0].starts_with("msg=discarded push_error_reason=TRACE_TOO_LARGE spanid=")
            && discarded[0].contains(&id(4)),
        "{discarded:?}"
    );
    // A request over the rate: each span of it.
    let body = request(8, &[], &[(5, false, false, &[("big", &big.repeat(98))]), (6, false, true, &[])]);
    assert_eq!(push(&server, "a", &body), 429);
    server.wait("the refused", |server| lines(server, "discarded").len() == 3);
    assert!(
        lines(&server, "discarded")[1..].iter().all(|line| line.contains("push_error_reason=RATE_LIMITED"))
    );
    assert_eq!(lines(&server, "received").len(), 2);
    // A flood is cut, and that is said.
    let many: Vec<Span<'_>> = (0..3000).map(|id| (id + 10, true, true, &[][..])).collect();
    let flood = request(9, &[], &many);
    assert!(flood.len() > 100_000, "{}", flood.len());
    assert_eq!(push(&server, "b", &flood), 429);
    assert_eq!(push(&server, "b", &flood), 429);
    let said = |server: &Server| {
        server.lines().iter().any(|line| line.contains("spans are not in the log as discarded"))
    };
    server.wait("what was passed over", |server| said(server) || push(server, "b", &flood) != 429);
    server.stop();
}

fn start(folder: &std::path::Path, distributor: &str, more: &str) -> Server {
    let ports = support::Ports::free();
    let text = support::config(folder, ports, more);
    let text = text.replacen("distributor: {", &format!("distributor: {{{distributor}, "), 1);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

/// The counts of each receiver, and why spans were refused before they were OTLP.
#[tokio::test(flavor = "multi_thread")]
async fn spans_are_counted_by_receiver_and_by_why_they_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zipkin = support::Ports::free().http;
    let receiver = format!("receivers: {{zipkin: {{endpoint: '127.0.0.1:{zipkin}'}}, ");
    let ports = support::Ports::free();
    let text = support::config(folder.path(), ports, "").replacen("receivers: {", &receiver, 1);
    let file = folder.path().join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder.path(), &file, ports);
    server.until_ready();
    server.expect_warning("spans by Zipkin v2 refused");
    let post = |address: &str, path: &str, body: &str| {
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        http::request(address, "POST", path, &headers, Some(body.as_bytes())).unwrap().status
    };
    let otlp = |ids: &[&str]| {
        let spans: Vec<String> = ids
            .iter()
            .map(|id| format!(r#"{{"traceId":"{id}","spanId":"0000000000000001","name":"x"}}"#))
            .collect();
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
    };
    let good = "00000000000000000000000000000001";
    assert_eq!(push(&server, "", &request(3, &[], &[(1, false, false, &[])])), 200);
    assert_eq!(post(&server.otlp_http, "/v1/traces", &otlp(&[good, "12"])), 200);
    assert_eq!(post(&server.otlp_http, "/v1/traces", &otlp(&["12", "34"])), 400);
    let message = ExportTraceServiceRequest::decode(&*request(4, &[], &[(1, false, false, &[])])).unwrap();
    let address = format!("http://{}", server.otlp_grpc);
    TraceServiceClient::connect(address).await.unwrap().export(message).await.unwrap();
    let spans = r#"[{"traceId": "e", "id": "1"}, {"id": "2"}, {"traceId": "f", "id": "3"}]"#;
    assert_eq!(post(&format!("127.0.0.1:{zipkin}"), "/api/v2/spans", spans), 202);
    let of =
        |receiver: &str, transport: &str| format!("{{receiver=\"{receiver}\",transport=\"{transport}\"}}");
    let accepted = counts(&server, "/metrics", "tempo_receiver_accepted_spans");
    let refused = counts(&server, "/metrics", "tempo_receiver_refused_spans");
    for (receiver, transport, taken, not) in
        [("otlp", "grpc", 1, 0), ("otlp", "http", 2, 3), ("zipkin", "http_v2_json", 2, 1)]
    {
        let labels = of(receiver, transport);
        assert_eq!((accepted[&labels], refused[&labels]), (taken, not), "{labels}");
    }
    let discarded = counts(&server, "/metrics", "tempo_discarded_spans_total");
    assert_eq!(discarded["{reason=\"invalid_trace_id\",tenant=\"single-tenant\"}"], 4, "{discarded:?}");
    assert_eq!(discarded.values().sum::<u64>(), 4);
    server.stop();
}

/// A tenant's senders are told nothing of when to come back, if it does not want that.
#[test]
fn when_to_come_back_is_not_said_where_it_is_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let more = "overrides: {defaults: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1, retry_info_enabled: false}}}";
    let server = Server::start(folder.path(), more);
    let answer = server.push("application/x-protobuf", &request(3, &[], &[(1, false, false, &[])]));
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));
    server.stop();
}

fn counts(server: &Server, page: &str, name: &str) -> BTreeMap<String, u64> {
    let answer = server.get(page);
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"));
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(labels, value)| (labels.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn bytes_and_spans_are_counted_by_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = folder.path().join("tenants.yaml");
    let limits = "ingestion: {rate_limit_bytes: 1000000, burst_size_bytes: 1000000}";
    let file = format!(
        "overrides: {{few: {{{limits}, cost_attribution: {{max_cardinality: 1, dimensions: {{team: ''}}}}}}, \
         none: {{{limits}}}}}"
    );
    std::fs::write(&tenants, file).unwrap();
    let more = format!(
        "multitenancy_enabled: true\noverrides: {{per_tenant_override_config: '{}', defaults: {{cost_attribution: \
         {{dimensions: {{service.name: '', span.team: owner}}}}}}}}",
        tenants.display()
    );
    let watch =
        "metric_received_spans: {enabled: true, root_only: true}, usage: {cost_attribution: {enabled: true}}";
    let server = start(folder.path(), watch, &more);
    let shop = request(
        1,
        &[("service.name", "shop"), ("team", "resources do not count here")],
        &[(1, false, false, &[("team", "a")]), (2, false, true, &[("team", "a")]), (3, false, true, &[])],
    );
    let other = request(2, &[], &[(4, false, false, &[("team", "b\"\n")])]);
    for tenant in ["all", "few", "none"] {
        for body in [&shop, &other] {
            assert_eq!(push(&server, tenant, body), 200);
        }
    }
    // A copy of what was taken counts nowhere.
    assert_eq!(push(&server, "all", &shop), 200);
    let usage = counts(&server, "/usage_metrics", "tempo_usage_tracker_bytes_received_total");
    let names: Vec<&str> = usage.keys().map(String::as_str).collect();
    let series = |labels: &str| format!("{{{labels},tracker=\"cost-attribution\"}}");
    let want = [
        series("owner=\"__missing__\",service_name=\"shop\",tenant=\"all\""),
        series("owner=\"a\",service_name=\"shop\",tenant=\"all\""),
        series("owner=\"b\\\"\\n\",service_name=\"__missing__\",tenant=\"all\""),
        series("team=\"__overflow__\",tenant=\"few\""),
        series("team=\"a\",tenant=\"few\""),
    ];
    assert_eq!(names, want);
    let received = counts(&server, "/metrics", "tempo_distributor_bytes_received_total");
    for tenant in ["all", "few"] {
        let of_tenant = usage.iter().filter(|(labels, _)| labels.contains(&format!("tenant=\"{tenant}\"")));
        let sum: u64 = of_tenant.map(|(_, bytes)| bytes).sum();
        assert_eq!(sum, (shop.len() + other.len()) as u64, "{tenant}");
        assert_eq!(received[&format!("{{tenant=\"{tenant}\"}}")], sum);
    }
    let roots = counts(&server, "/metrics", "tempo_distributor_debug_spans_received_total");
    assert_eq!(roots["{name=\"a \\\"root\\\"\",service=\"shop\",tenant=\"all\"}"], 1);
    assert_eq!(roots["{name=\"a \\\"root\\\"\",service=\"\",tenant=\"all\"}"], 1);
    assert_eq!(roots.values().sum::<u64>(), 6);
    server.stop();
    // Where nobody asked, there is nothing.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    assert_eq!(push(&server, "a", &shop), 200);
    assert_eq!(server.get("/usage_metrics").status, 404);
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(!metrics.contains("debug_spans_received"));
    server.stop();
}
