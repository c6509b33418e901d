//! Every way in that is not OTLP: what is sent by Jaeger's and Zipkin's protocols is found by its id, with service, names,
//! tags, times and parents; the recordings of Tempo's Zipkin receiver; and the real clients from PyPI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // what is sent now is found now

mod support;
#[path = "../../foreign/tests/common/thrift.rs"]
mod thrift;

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use serde_json::{Value, json};
use support::{Ports, Server, config, python, skipped};
use trackway_golden::http;
use trackway_golden::{Endpoints, Verdict, check};

/// Where the receivers listen.
struct Senders {
    jaeger_grpc: u16,
    jaeger_http: u16,
    compact: u16,
    binary: u16,
    zipkin: u16,
}

/// Starts a server with all of them.
fn start(folder: &Path, more: &str) -> (Server, Senders) {
    let tcp: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let udp: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let port = |place: usize| tcp[place].local_addr().unwrap().port();
    let datagram = |place: usize| udp[place].local_addr().unwrap().port();
    let senders = Senders {
        jaeger_grpc: port(0),
        jaeger_http: port(1),
        zipkin: port(2),
        compact: datagram(0),
        binary: datagram(1),
    };
    let Senders { jaeger_grpc, jaeger_http, compact, binary, zipkin } = senders;
    let ports = Ports::free();
    let receivers = format!(
        "receivers: {{jaeger: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{jaeger_grpc}'}}, \
         thrift_http: {{endpoint: '127.0.0.1:{jaeger_http}'}}, \
         thrift_compact: {{endpoint: '127.0.0.1:{compact}', max_packet_size: 20000}}, \
         thrift_binary: {{endpoint: '127.0.0.1:{binary}'}}}}}}, zipkin: {{endpoint: '127.0.0.1:{zipkin}'}}, otlp:"
    );
    let text = config(folder, ports, more).replace("receivers: {otlp:", &receivers);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    drop((tcp, udp));
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    (server, senders)
}

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
    let answer = server.get(&format!("/api/v2/traces/{trace:032x}"));
    if answer.status == 404 {
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let flat = |attributes: &Value| -> Value {
        let pair = |one: &Value| {
            let value = one["value"].as_object().unwrap().values().next().unwrap().clone();
            (one["key"].as_str().unwrap().to_owned(), value)
        };
        Value::Object(list(attributes).iter().map(pair).collect())
    };
    let mut all = Vec::new();
    for resource in list(&answer["trace"]["resourceSpans"]) {
        let of = flat(&resource["resource"]["attributes"]);
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
                let (start, end) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
                let line = format!(
                    "{} {} {} {} {} {}",
                    of["service.name"].as_str().unwrap_or("-"),
                    span["name"].as_str().unwrap_or("-"),
                    span["parentSpanId"].as_str().unwrap_or("-"),
                    span["kind"].as_str().unwrap_or("-"),
                    start / 1000,
                    (end - start) / 1000,
                );
                all.push((line, flat(&span["attributes"])));
            }
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// What `thrift::batch` says.
fn assert_batch(found: &[(String, Value)], start: i64, what: &str) {
    assert_eq!(found.len(), 2, "{what}: {found:?}");
    assert_eq!(found[0].0, format!("shop GET /cart - SPAN_KIND_SERVER {start} 5000"), "{what}");
    let client = format!("shop query AAAAAAAAABE= SPAN_KIND_CLIENT {} 1000", start + 10);
    assert_eq!(found[1].0, client, "{what}");
    let tags = json!({"http.status_code": "200", "ratio": 0.5, "cached": true, "raw": "AQI="});
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
        let message = jaeger_proto(trace, start);
        tokio::runtime::Runtime::new().unwrap().block_on(async move {
            let address = format!("http://127.0.0.1:{}", senders.jaeger_grpc);
            let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.unwrap();
            let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
            let codec = tonic_prost::ProstCodec::<PostSpans, ()>::default();
            client.unary(tonic::Request::new(message), path, codec).await.map(|_| ())
        })
    };
    let path = "/jaeger.api_v2.CollectorService/PostSpans";
    post_spans(7, path).unwrap();
    let found = spans(&server, 7);
    let expected = format!("cart add AAAAAAAAAAE= SPAN_KIND_PRODUCER {start} 20");
    assert_eq!(found, [(expected, json!({"n": "5"}))]);
    assert_eq!(post_spans(0, path).unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(post_spans(7, "/a/b").unwrap_err().code(), tonic::Code::Unimplemented);
    server.stop();
}

/// `PostSpansRequest`, as far as it is used here.
#[derive(Clone, PartialEq, prost::Message)]
struct PostSpans {
    #[prost(message, optional, tag = "1")]
    batch: Option<JaegerBatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerBatch {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<JaegerSpan>,
    #[prost(message, optional, tag = "2")]
    process: Option<JaegerProcess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerProcess {
    #[prost(string, tag = "1")]
    service_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    operation_name: String,
    #[prost(message, repeated, tag = "4")]
    references: Vec<JaegerReference>,
    #[prost(message, optional, tag = "6")]
    start_time: Option<Seconds>,
    #[prost(message, optional, tag = "7")]
    duration: Option<Seconds>,
    #[prost(message, repeated, tag = "8")]
    tags: Vec<JaegerTag>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerReference {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JaegerTag {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    v_type: i32,
    #[prost(string, tag = "3")]
    v_str: String,
    #[prost(int64, tag = "5")]
    v_int64: i64,
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
    server.expect_warning("1 of 3 spans by Zipkin v2 refused");
    let start = now();
    let v2 = json!([
        {"traceId": "a", "id": "1", "kind": "CLIENT", "name": "get", "timestamp": start, "duration": 9,
         "localEndpoint": {"serviceName": "front"}, "tags": {"http.path": "/"}},
        {"traceId": "a", "id": "x"},
        {"traceId": "a", "id": "1", "kind": "SERVER", "name": "get", "timestamp": start + 2, "duration": 5,
         "shared": true, "localEndpoint": {"serviceName": "back"}},
    ]);
    let body = serde_json::to_vec(&v2).unwrap();
    assert_eq!(post(senders.zipkin, "/api/v2/spans", "application/json", &body), (202, String::new()));
    let found = spans(&server, 0xa);
    let lines: Vec<&str> = found.iter().map(|(line, _)| line.as_str()).collect();
    let client = format!("front get - SPAN_KIND_CLIENT {start} 9");
    let server_side = format!("back get - SPAN_KIND_SERVER {} 5", start + 2);
    assert_eq!(lines, [server_side, client], "a client and a server may share an id");

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
    assert_eq!(spans(&server, 0xb)[0].0, format!("svc op - SPAN_KIND_CONSUMER {start} 7"));

    let host = json!({"serviceName": "old", "ipv4": "10.0.0.1"});
    let v1 = json!([{"traceId": "000000000000000c", "id": "0000000000000003", "parentId": "0000000000000001",
        "name": "v1", "timestamp": start, "duration": 3,
        "annotations": [{"timestamp": start, "value": "sr", "endpoint": host}],
        "binaryAnnotations": [{"key": "k", "value": "v"}]}]);
    assert_eq!(post(senders.zipkin, "/api/v1/spans", "application/json", v1.to_string().as_bytes()).0, 202);
    let expected = format!("old v1 AAAAAAAAAAE= SPAN_KIND_SERVER {start} 3");
    assert_eq!(spans(&server, 0xc), [(expected, json!({"k": "v"}))]);

    let mut thrift = Vec::new();
    thrift::zipkin_v1(0xd, start).binary(&mut thrift);
    assert_eq!(post(senders.zipkin, "/api/v1/spans", "application/x-thrift", &thrift).0, 202);
    let expected = format!("front get AAAAAAAAACA= SPAN_KIND_CLIENT {start} 1500");
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
        assert!(parent.0.starts_with("py-shop outer - SPAN_KIND_SERVER"), "{client}: {found:?}");
        assert_eq!(parent.1["key"], "value", "{client}");
    }
    server.stop();
}
