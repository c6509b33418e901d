//! Every way in that is not OTLP: what is sent by Jaeger's and Zipkin's protocols is found by its id, with service, names,
//! tags, times and parents; the recordings of Tempo's Zipkin receiver; and the real clients from PyPI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // what is sent now is found now

mod support;
#[path = "../../foreign/tests/common/thrift.rs"]
mod thrift;

use std::net::UdpSocket;

use serde_json::{Value, json};
use support::jaeger::{
    JaegerBatch, JaegerProcess, JaegerReference, JaegerSpan, JaegerTag, POST_SPANS, PostSpans, Seconds,
};
use support::receivers::start;
use support::spans::{Span, of_trace};
use support::{Server, python, skipped};
use trackway_golden::http;
use trackway_golden::{Endpoints, Verdict, check};

fn post(port: u16, path: &str, content_type: &str, body: &[u8]) -> (u16, String) {
    let headers = [("content-type".to_owned(), content_type.to_owned())];
    let answer =
        http::request(&format!("127.0.0.1:{port}"), "POST", path, &headers, Some(body)).expect("an answer");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// Now, in microseconds.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap() - 10_000_000
}

/// The trace as `service name parent? kind start duration`, one line a span, and its attributes; empty for none.
fn spans(server: &Server, trace: u128) -> Vec<(String, Value)> {
    let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let line = |span: Span| {
        let (service, name, parent) = (known(span.service()), known(&span.name), known(&span.parent));
        let (start, duration) = (span.start / 1000, (span.end - span.start) / 1000);
        (format!("{service} {name} {parent} {} {start} {duration}", known(&span.kind)), span.attributes)
    };
    let mut all: Vec<(String, Value)> =
        of_trace(server, None, &format!("{trace:032x}")).into_iter().map(line).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// What `thrift::batch` says.
fn assert_batch(found: &[(String, Value)], start: i64, what: &str) {
    assert_eq!(found.len(), 2, "{what}: {found:?}");
    assert_eq!(found[0].0, format!("shop GET /cart - SERVER {start} 5000"), "{what}");
    let client = format!("shop query 0000000000000011 CLIENT {} 1000", start + 10);
    assert_eq!(found[1].0, client, "{what}");
    let tags = json!({"http.status_code": 200, "ratio": 0.5, "cached": true, "raw": "AQI="});
    assert_eq!(found[0].1, tags, "{what}");
}

#[test]
fn jaeger_over_http_and_udp() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, senders) = start(folder.path(), "");
    server.expect_warning("a datagram of udp_thrift_compact is dropped");
    let start = now();
    let mut body = Vec::new();
    thrift::batch(1, start).binary(&mut body);
    let thrift_type = "application/vnd.apache.thrift.binary; charset=x";
    assert_eq!(post(senders.jaeger_http, "/api/traces?format=jaeger.thrift", thrift_type, &body).0, 202);
    assert_batch(&spans(&server, 1), start, "Thrift over HTTP");
    for (content_type, body, status, text) in [
        ("text/plain", &b"x"[..], 400, "Unsupported content type: text/plain"),
        ("application/x-thrift", b"x", 400, "the body is not the expected Thrift"),
        ("application/x-thrift", &body[..50], 400, "unexpected end of message"),
    ] {
        let (found, said) = post(senders.jaeger_http, "/api/traces", content_type, body);
        assert!(found == status && said.contains(text), "{found} {said}");
    }
    assert_eq!(post(senders.jaeger_http, "/other", "application/x-thrift", b"").0, 404);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let compact = thrift::compact_call("emitBatch", &thrift::batch(2, start));
    let binary = thrift::binary_call("emitBatch", &thrift::batch(3, start));
    let zipkin = thrift::compact_call("emitZipkinBatch", &thrift::zipkin_v1(4, start));
    socket.send_to(b"nonsense", ("127.0.0.1", senders.compact)).unwrap();
    socket.send_to(&[0; 20_001], ("127.0.0.1", senders.compact)).unwrap();
    socket.send_to(&compact, ("127.0.0.1", senders.compact)).unwrap();
    socket.send_to(&zipkin, ("127.0.0.1", senders.compact)).unwrap();
    socket.send_to(&binary, ("127.0.0.1", senders.binary)).unwrap();
    server.wait("three datagrams", |server| {
        let old = 5_u128 << 64 | 4;
        [2, 3, old].iter().all(|trace| !spans(server, *trace).is_empty())
    });
    assert_batch(&spans(&server, 2), start, "compact");
    assert_batch(&spans(&server, 3), start, "binary");
    let counted = [
        "tempo_receiver_accepted_spans{receiver=\"jaeger\",transport=\"collector_http\"} 2",
        "tempo_receiver_accepted_spans{receiver=\"jaeger\",transport=\"udp_thrift_binary\"} 2",
        "tempo_receiver_accepted_spans{receiver=\"jaeger\",transport=\"udp_thrift_compact\"} 3",
        "trackway_receiver_dropped_packets_total{transport=\"udp_thrift_compact\",reason=\"malformed\"} 1",
        "trackway_receiver_dropped_packets_total{transport=\"udp_thrift_compact\",reason=\"too_large\"} 1",
    ];
    server.wait("all to be counted", |server| {
        let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
        counted.iter().all(|line| metrics.lines().any(|found| found == *line))
    });
    server.stop();
}

#[test]
fn jaeger_over_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let (server, senders) = start(folder.path(), "");
    let start = now();
    let post_spans = |trace: u128, path: &'static str| {
        let message = tonic::Request::new(jaeger_proto(trace, start));
        tokio::runtime::Runtime::new().unwrap().block_on(senders.post_spans(path, message))
    };
    post_spans(7, POST_SPANS).unwrap();
    let found = spans(&server, 7);
    let expected = format!("cart add 0000000000000001 PRODUCER {start} 20");
    assert_eq!(found, [(expected, json!({"n": 5}))]);
    assert_eq!(post_spans(0, POST_SPANS).unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(post_spans(7, "/a/b").unwrap_err().code(), tonic::Code::Unimplemented);
    server.stop();
}

fn jaeger_proto(trace: u128, start: i64) -> PostSpans {
    let time = |micros: i64| Seconds {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1000).unwrap(),
    };
    let tag =
        |key: &str, text: &str| JaegerTag { key: key.into(), v_str: text.into(), ..JaegerTag::default() };
    let trace_id = trace.to_be_bytes().to_vec();
    let span = JaegerSpan {
        trace_id: trace_id.clone(),
        span_id: 2_u64.to_be_bytes().to_vec(),
        operation_name: "add".to_owned(),
        references: vec![JaegerReference { trace_id, span_id: 1_u64.to_be_bytes().to_vec() }],
        start_time: Some(time(start)),
        duration: Some(time(20)),
        tags: vec![
            tag("span.kind", "producer"),
            JaegerTag { key: "n".into(), v_type: 2, v_int64: 5, ..JaegerTag::default() },
        ],
    };
    let process = Some(JaegerProcess { service_name: "cart".to_owned() });
    PostSpans { batch: Some(JaegerBatch { spans: vec![span], process }) }
}

#[test]
fn zipkin_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, senders) = start(folder.path(), "");
    server.expect_warning("1 of 4 spans by Zipkin v2 refused");
    let start = now();
    let v2 = json!([
        {"traceId": "a", "id": "1", "kind": "CLIENT", "name": "get", "timestamp": start, "duration": 9,
         "localEndpoint": {"serviceName": "front"}, "tags": {"http.path": "/"}},
        {"traceId": "a", "id": "x"},
        {"traceId": "a", "id": "1", "kind": "SERVER", "name": "get", "timestamp": start + 2, "duration": 5,
         "shared": true, "localEndpoint": {"serviceName": "back"}},
        {"traceId": "a", "id": "2", "parentId": "1", "name": "query", "timestamp": start + 3, "duration": 1,
         "localEndpoint": {"serviceName": "back"}},
    ]);
    let body = serde_json::to_vec(&v2).unwrap();
    assert_eq!(post(senders.zipkin, "/api/v2/spans", "application/json", &body), (202, String::new()));
    let found = spans(&server, 0xa);
    let lines: Vec<&str> = found.iter().map(|(line, _)| line.as_str()).collect();
    let client = format!("front get - CLIENT {start} 9");
    // A client and a server may share an id. Whoever reads the trace gets the server's under one of its own, as from Tempo.
    let server_side = format!("back get 0000000000000001 SERVER {} 5", start + 2);
    let below = format!("back query 0000000000000003 - {} 1", start + 3);
    assert_eq!(lines, [server_side, below, client]);

    let mut proto = Vec::new();
    // A span with ids, a kind, a name, a time and a service.
    let mut span =
        [&[0x0a, 8][..], &[0, 0, 0, 0, 0, 0, 0, 0xb], &[0x1a, 8], &[0, 0, 0, 0, 0, 0, 0, 2]].concat();
    span.extend([0x20, 4, 0x2a, 2, b'o', b'p', 0x31]);
    span.extend(start.cast_unsigned().to_le_bytes());
    span.extend([0x38, 7, 0x42, 5, 0x0a, 3, b's', b'v', b'c']);
    proto.extend([0x0a, u8::try_from(span.len()).unwrap()]);
    proto.extend(span);
    assert_eq!(post(senders.zipkin, "/api/v2/spans", "application/x-protobuf", &proto).0, 202);
    assert_eq!(spans(&server, 0xb)[0].0, format!("svc op - CONSUMER {start} 7"));

    let host = json!({"serviceName": "old", "ipv4": "10.0.0.1"});
    let v1 = json!([{"traceId": "000000000000000c", "id": "0000000000000003", "parentId": "0000000000000001",
        "name": "v1", "timestamp": start, "duration": 3,
        "annotations": [{"timestamp": start, "value": "sr", "endpoint": host}],
        "binaryAnnotations": [{"key": "k", "value": "v"}]}]);
    assert_eq!(post(senders.zipkin, "/api/v1/spans", "application/json", v1.to_string().as_bytes()).0, 202);
    let expected = format!("old v1 0000000000000001 SERVER {start} 3");
    assert_eq!(spans(&server, 0xc), [(expected, json!({"k": "v"}))]);

    let mut thrift = Vec::new();
    thrift::zipkin_v1(0xd, start).binary(&mut thrift);
    assert_eq!(post(senders.zipkin, "/api/v1/spans", "application/x-thrift", &thrift).0, 202);
    let expected = format!("front get 0000000000000020 CLIENT {start} 1500");
    assert_eq!(spans(&server, 5_u128 << 64 | 0xd)[0].0, expected);

    let (status, text) = post(senders.zipkin, "/api/v2/spans", "application/x-protobuf", &proto[..9]);
    assert!(status == 400 && text.contains("not the expected protobuf"), "{status} {text}");
    server.stop();
}

#[test]
fn pages_of_this_machine_may_send() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, senders) = start(folder.path(), "");
    server.expect_warning("origin http://shop.example refused; allow it in");
    let otlp = server.otlp_http.rsplit(':').next().unwrap().parse().unwrap();
    for (port, path) in
        [(otlp, "/v1/traces"), (senders.jaeger_http, "/api/traces"), (senders.zipkin, "/api/v2/spans")]
    {
        for (origin, status) in [("http://localhost:5173", 204), ("http://shop.example", 403)] {
            let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let answer =
                http::request(&format!("127.0.0.1:{port}"), "OPTIONS", path, &headers, None).unwrap();
            let allowed = answer.header("access-control-allow-origin");
            let wanted = (status, (status == 204).then_some(origin));
            assert_eq!((answer.status, allowed), wanted, "{path} {origin}");
        }
    }
    server.stop();
}

#[test]
fn tempos_recordings_of_its_zipkin_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let (server, senders) = start(folder.path(), "");
    let zipkin = format!("127.0.0.1:{}", senders.zipkin);
    let at =
        Endpoints { api: server.api.clone(), otlp: server.otlp_http.clone(), zipkin: Some(zipkin.clone()) };
    let mut asked = 0;
    for question in trackway_golden::answers("v4").unwrap() {
        if question.group != "zipkin" {
            continue;
        }
        asked += 1;
        assert_eq!(check(&question, &at), Verdict::Pass, "{}", question.label());
        // The texts, too.
        let (method, path) = (&question.method, &question.path);
        let answer =
            http::request(&zipkin, method, path, &question.headers, question.body.as_deref()).unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(Some(text), question.text, "{}", question.label());
    }
    assert_eq!(asked, 5);
    server.stop();
}

#[test]
fn tenants_are_named_and_datagrams_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, senders) = start(folder.path(), "multitenancy_enabled: true");
    server.expect_warning("is not served: a datagram cannot name its tenant");
    let body = json!([{"traceId": "e", "id": "1", "timestamp": now()}]).to_string();
    let send = |tenant: Option<&str>| {
        let headers: Vec<(String, String)> =
            tenant.map(|name| ("x-scope-orgid".to_owned(), name.to_owned())).into_iter().collect();
        let address = format!("127.0.0.1:{}", senders.zipkin);
        let answer =
            http::request(&address, "POST", "/api/v2/spans", &headers, Some(body.as_bytes())).unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert_eq!(send(None), (503, "no org id\n".to_owned()));
    assert_eq!(send(Some("a|b")).0, 400);
    assert_eq!(send(Some("team")).0, 202);
    for (tenant, status) in [("team", 200), ("other", 404)] {
        let headers = [("x-scope-orgid".to_owned(), tenant.to_owned())];
        let path = format!("/api/traces/{:032x}", 0xe);
        let answer = http::request(&server.api, "GET", &path, &headers, None).unwrap();
        assert_eq!(answer.status, status, "{tenant}");
    }
    server.stop();
}

#[test]
fn the_real_clients_from_pypi() {
    const TEST: &str = "the_real_clients_from_pypi";
    let zipkin = python::with("zipkin", &["py_zipkin", "protobuf"]);
    let jaeger = python::with("jaeger", &["jaeger-client", "six", "setuptools"]);
    let folder = tempfile::tempdir().unwrap();
    let (mut server, senders) = start(folder.path(), "");
    for (client, python, port) in [
        ("zipkin-v1-thrift", &zipkin, senders.zipkin),
        ("zipkin-v1-json", &zipkin, senders.zipkin),
        ("zipkin-v2-json", &zipkin, senders.zipkin),
        ("zipkin-v2-proto", &zipkin, senders.zipkin),
        ("jaeger", &jaeger, senders.compact),
    ] {
        let python = match python {
            Ok(python) => python,
            Err(why) => {
                skipped(&format!("{TEST} ({client})"), why);
                continue;
            }
        };
        let said = python::script(python, "senders.py", &[client, &port.to_string()]);
        let last = said.lines().last().unwrap_or_default();
        if let Some(why) = last.strip_prefix("skipped: ") {
            skipped(&format!("{TEST} ({client})"), why);
            continue;
        }
        let trace = u128::from_str_radix(last.trim(), 16).unwrap_or_else(|_| panic!("{client}: {said}"));
        server.wait(client, |server| spans(server, trace).len() == 2);
        let found = spans(&server, trace);
        let (parent, child) = (&found[1], &found[0]);
        let words: Vec<&str> = child.0.split(' ').collect();
        assert!(words[..2] == ["py-shop", "inner"] && words[2] != "-", "{client}: {found:?}");
        assert!(parent.0.starts_with("py-shop outer - SERVER"), "{client}: {found:?}");
        assert_eq!(parent.1["key"], "value", "{client}");
    }
    server.stop();
}
