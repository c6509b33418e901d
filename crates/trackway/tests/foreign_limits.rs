//! What a tenant may send by Jaeger's and Zipkin's protocols: the answer below, at and above each limit, and what is there
//! afterwards. These protocols cannot say that a part of a request was refused: it is counted, and the rest is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // what is sent now is found now

mod support;
#[path = "../../foreign/tests/common/thrift.rs"]
mod thrift;

use serde_json::{Value, json};
use support::Server;
use support::jaeger::{JaegerBatch, JaegerProcess, JaegerSpan, JaegerTag, POST_SPANS, PostSpans, Seconds};
use support::receivers::{self, Receivers};
use thrift::T;
use tonic::Code;
use trackway_golden::http;
use trackway_proto::rpc;

const ALL: [Protocol; 5] = [
    Protocol::JaegerGrpc,
    Protocol::JaegerThrift,
    Protocol::ZipkinV1,
    Protocol::ZipkinV2,
    Protocol::ZipkinProto,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    JaegerGrpc,
    JaegerThrift,
    ZipkinV1,
    ZipkinV2,
    ZipkinProto,
}

/// Spans with their traces, and the length of a tag.
type Spans<'s> = &'s [(u64, usize)];

/// Taken, or the code's name or status, why, and when to come back in seconds.
type Answer = Result<(), (String, String, Option<u64>)>;

fn now() -> i64 {
    i64::try_from(support::requests::now() / 1000).unwrap() - 1_000_000
}

/// With the number of each span.
fn numbered(spans: Spans<'_>) -> impl Iterator<Item = (i64, u64, String)> {
    (1..).zip(spans).map(|(number, (trace, length))| (number, *trace, "x".repeat(*length)))
}

fn jaeger_proto(spans: Spans<'_>) -> PostSpans {
    let span = |(number, trace, text): (i64, u64, String)| JaegerSpan {
        trace_id: u128::from(trace).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        operation_name: "add".to_owned(),
        start_time: Some(Seconds { seconds: now() / 1_000_000, nanos: 0 }),
        tags: vec![JaegerTag { key: "text".to_owned(), v_str: text, ..JaegerTag::default() }],
        ..JaegerSpan::default()
    };
    let process = Some(JaegerProcess { service_name: "shop".to_owned() });
    PostSpans { batch: Some(JaegerBatch { spans: numbered(spans).map(span).collect(), process }) }
}

fn jaeger_thrift(spans: Spans<'_>) -> Vec<u8> {
    let span = |(number, trace, text): (i64, u64, String)| {
        let tag = T::Struct(vec![(1, T::Text("text")), (2, T::I32(0)), (3, T::Bytes(text.into_bytes()))]);
        T::Struct(vec![
            (1, T::I64(trace.cast_signed())),
            (2, T::I64(0)),
            (3, T::I64(number)),
            (4, T::I64(0)),
            (5, T::Text("add")),
            (7, T::I32(1)),
            (8, T::I64(now())),
            (9, T::I64(5)),
            (10, T::List(vec![tag])),
        ])
    };
    let process = T::Struct(vec![(1, T::Text("shop"))]);
    let mut body = Vec::new();
    T::Struct(vec![(1, process), (2, T::List(numbered(spans).map(span).collect()))]).binary(&mut body);
    body
}

fn zipkin_json(spans: Spans<'_>, is_v1: bool) -> Vec<u8> {
    let endpoint = json!({"serviceName": "shop"});
    let span = |(number, trace, text): (i64, u64, String)| {
        let mut span = json!({"traceId": format!("{trace:032x}"), "id": format!("{number:016x}"), "name": "add",
            "timestamp": now(), "duration": 5});
        if is_v1 {
            span["binaryAnnotations"] = json!([{"key": "text", "value": text, "endpoint": endpoint}]);
        } else {
            (span["tags"], span["localEndpoint"]) = (json!({"text": text}), endpoint.clone());
        }
        span
    };
    serde_json::to_vec(&numbered(spans).map(span).collect::<Vec<_>>()).unwrap()
}

fn zipkin_proto(spans: Spans<'_>) -> Vec<u8> {
    use trackway_spans::wire::{put_bytes, put_fixed64, put_message};
    let mut out = Vec::new();
    for (number, trace, text) in numbered(spans) {
        put_message(&mut out, 1, |out| {
            put_bytes(out, 1, &u128::from(trace).to_be_bytes());
            put_bytes(out, 3, &number.to_be_bytes());
            put_bytes(out, 5, b"add");
            put_fixed64(out, 6, now().cast_unsigned());
            put_message(out, 8, |out| put_bytes(out, 1, b"shop"));
            put_message(out, 11, |out| {
                put_bytes(out, 1, b"text");
                put_bytes(out, 2, text.as_bytes());
            });
        });
    }
    out
}

impl Protocol {
    fn tenant(self, what: &str) -> String {
        format!("{what}-{self:?}").to_lowercase()
    }

    async fn send(self, senders: &Receivers, what: &str, spans: Spans<'_>) -> Answer {
        let tenant = self.tenant(what);
        match self {
            Self::JaegerGrpc => grpc(senders, &tenant, spans).await,
            Self::JaegerThrift => post(
                senders.jaeger_http,
                "/api/traces",
                (&tenant, "application/x-thrift"),
                &jaeger_thrift(spans),
            ),
            Self::ZipkinV1 => post(
                senders.zipkin,
                "/api/v1/spans",
                (&tenant, "application/json"),
                &zipkin_json(spans, true),
            ),
            Self::ZipkinV2 => post(
                senders.zipkin,
                "/api/v2/spans",
                (&tenant, "application/json"),
                &zipkin_json(spans, false),
            ),
            Self::ZipkinProto => post(
                senders.zipkin,
                "/api/v2/spans",
                (&tenant, "application/x-protobuf"),
                &zipkin_proto(spans),
            ),
        }
    }

    /// The gRPC code or the HTTP status of too much.
    fn too_much(self) -> &'static str {
        if self == Self::JaegerGrpc { "ResourceExhausted" } else { "429" }
    }
}

async fn grpc(senders: &Receivers, tenant: &str, spans: Spans<'_>) -> Answer {
    let mut request = tonic::Request::new(jaeger_proto(spans));
    request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
    senders.post_spans(POST_SPANS, request).await.map_err(|status| {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        let details = <rpc::Status as prost::Message>::decode(status.details()).unwrap().details;
        let retry = details.first().map(|any| {
            let info = <rpc::RetryInfo as prost::Message>::decode(any.value.as_ref()).unwrap();
            info.retry_delay.unwrap().seconds.cast_unsigned()
        });
        (format!("{:?}", status.code()), status.message().to_owned(), retry)
    })
}

fn post(port: u16, path: &str, (tenant, content_type): (&str, &str), body: &[u8]) -> Answer {
    let headers = [("content-type", content_type), ("x-scope-orgid", tenant)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = http::request(&format!("127.0.0.1:{port}"), "POST", path, &headers, Some(body)).unwrap();
    if answer.status == 202 {
        return Ok(());
    }
    let retry = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
    Err((answer.status.to_string(), String::from_utf8_lossy(&answer.body).into_owned(), retry))
}

fn metric(server: &Server, name: &str, labels: &str) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

fn discarded(server: &Server, tenant: &str, reason: &str) -> u64 {
    metric(server, "tempo_discarded_spans_total", &format!("reason=\"{reason}\",tenant=\"{tenant}\""))
}

/// The spans of a trace, and what its answer says.
fn read(server: &Server, tenant: &str, trace: u64) -> (usize, Value) {
    let headers = [("x-scope-orgid".to_owned(), tenant.to_owned())];
    let answer =
        http::request(&server.api, "GET", &format!("/api/v2/traces/{trace:032x}"), &headers, None).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.to_string().matches("\"spanId\"").count(), answer)
}

async fn live_traces(server: &Server, senders: &Receivers, protocol: Protocol) {
    let tenant = protocol.tenant("live");
    assert_eq!(protocol.send(senders, "live", &[(1, 5)]).await, Ok(()), "{protocol:?}");
    assert_eq!(protocol.send(senders, "live", &[(2, 5)]).await, Ok(()), "{protocol:?}");
    assert_eq!(protocol.send(senders, "live", &[(3, 6), (2, 6), (4, 6)]).await, Ok(()), "{protocol:?}");
    let read = [1, 2, 3, 4].map(|trace| read(server, &tenant, trace).0);
    assert_eq!((read, discarded(server, &tenant, "live_traces_exceeded")), ([1, 2, 0, 0], 2), "{protocol:?}");
}

async fn sizes(server: &Server, senders: &Receivers, protocol: Protocol) {
    let tenant = protocol.tenant("size");
    assert_eq!(
        protocol.send(senders, "size", &[(1, 1000), (1, 1001), (2, 1000)]).await,
        Ok(()),
        "{protocol:?}"
    );
    assert_eq!(protocol.send(senders, "size", &[(2, 900), (1, 1002), (1, 1003), (1, 1004)]).await, Ok(()));
    let (spans, cut) = read(server, &tenant, 1);
    assert_eq!((spans, cut["status"].as_str()), (3, Some("PARTIAL")), "{protocol:?}: {cut}");
    assert_eq!(read(server, &tenant, 2).0, 2, "{protocol:?}");
    assert_eq!(discarded(server, &tenant, "trace_too_large"), 2, "{protocol:?}");
}

async fn attributes(server: &Server, senders: &Receivers, protocol: Protocol) {
    assert_eq!(protocol.send(senders, "text", &[(1, 12)]).await, Ok(()), "{protocol:?}");
    let (_, cut) = read(server, &protocol.tenant("text"), 1);
    assert!(cut.to_string().contains(&format!("\"{}\"", "x".repeat(10))), "{protocol:?}: {cut}");
}

/// With bursts of what a request has, and of one byte less and more.
async fn rates(server: &Server, senders: &Receivers, protocol: Protocol) {
    assert_eq!(protocol.send(senders, "below", &[(1, 5)]).await, Ok(()), "{protocol:?}");
    assert_eq!(protocol.send(senders, "at", &[(1, 5)]).await, Ok(()), "{protocol:?}");
    let tenant = protocol.tenant("at");
    let (code, why, retry) = protocol.send(senders, "at", &[(2, 5)]).await.unwrap_err();
    assert_eq!((&*code, retry), (protocol.too_much(), Some(5)), "{protocol:?}: {why}");
    for part in
        ["RATE_LIMITED: ingestion rate limit (local: 1 bytes/s", &tenant, "ingestion.rate_limit_bytes"]
    {
        assert!(why.contains(part), "{protocol:?}: {why}");
    }
    let (_, why, retry) = protocol.send(senders, "above", &[(1, 5)]).await.unwrap_err();
    assert!(why.contains("RATE_LIMITED: batch size"), "{protocol:?}: {why} {retry:?}");
    assert_eq!(discarded(server, &tenant, "rate_limited"), 1, "{protocol:?}");
    assert_eq!(read(server, &tenant, 2).0, 0, "{protocol:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_in_every_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenants.yaml");
    let mut file = String::from("overrides:\n");
    for protocol in ALL {
        let entries = [
            ("live", "max_traces_per_user: 2}"),
            ("size", "max_traces_per_user: 0}, global: {max_bytes_per_trace: 3500}"),
            ("text", "max_attribute_bytes: 10}"),
        ];
        // An entry replaces the defaults as a whole.
        let rate = "rate_limit_bytes: 100000000, burst_size_bytes: 100000000";
        for (what, limit) in entries {
            file += &format!("  {}: {{ingestion: {{{rate}, {limit}}}\n", protocol.tenant(what));
        }
    }
    std::fs::write(&path, &file).unwrap();
    let more = format!(
        "multitenancy_enabled: true\n\
         overrides: {{per_tenant_override_period: 100ms, per_tenant_override_config: '{}', \
         defaults: {{ingestion: {{max_traces_per_user: 1000}}}}}}",
        path.display()
    );
    let (mut server, senders) = receivers::start(folder.path(), &more);
    server.expect_warning("spans by");
    server.expect_warning("is not served: a datagram cannot name its tenant");
    for protocol in ALL {
        live_traces(&server, &senders, protocol).await;
        sizes(&server, &senders, protocol).await;
        attributes(&server, &senders, protocol).await;
        // How large a request is inside says the count of a tenant without limits.
        assert_eq!(protocol.send(&senders, "free", &[(1, 5)]).await, Ok(()), "{protocol:?}");
        let labels = format!("tenant=\"{}\"", protocol.tenant("free"));
        let bytes = metric(&server, "tempo_distributor_bytes_received_total", &labels);
        for (what, burst) in [("below", bytes + 1), ("at", bytes), ("above", bytes - 1)] {
            let limits = format!("rate_limit_bytes: 1, burst_size_bytes: {burst}, retry_info_enabled: true");
            file += &format!("  {}: {{ingestion: {{{limits}}}}}\n", protocol.tenant(what));
        }
    }
    std::fs::write(&path, &file).unwrap();
    let labels = "limit_name=\"ingestion_rate_limit_bytes\",user=\"at-zipkinproto\"";
    server.wait("the new limits", |server| metric(server, "tempo_limits_overrides", labels) == 1);
    for protocol in ALL {
        rates(&server, &senders, protocol).await;
    }
    server.stop();
}
