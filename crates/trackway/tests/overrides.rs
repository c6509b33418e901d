//! What a tenant may send, in every protocol that spans come in by: the answer below, at and above each limit, and what is
//! there afterwards. The limits come from the file of tenants, which is changed while the server runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write;
use std::path::Path;

use prost::Message;
use support::requests::{of_service, span};
use support::{Server, run};
use tonic::Code;
use tonic::transport::Channel;
use trackway_golden::http;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_proto::rpc;

const ALL: [Protocol; 3] = [Protocol::Grpc, Protocol::Protobuf, Protocol::Json];

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Grpc,
    Protobuf,
    Json,
}

/// What a sender is told.
#[derive(Debug, PartialEq)]
enum Answer {
    /// OK, but for so many spans, and why.
    Taken(i64, String),
    /// Not taken: the code's name or the status, why, and when to come back in seconds.
    Refused(String, String, Option<u64>),
}

/// Spans with their traces, and the length of their names.
type Spans<'s> = &'s [(u128, usize)];

fn json(spans: Spans<'_>) -> String {
    let mut out = String::from(r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":["#);
    for (place, (trace, length)) in spans.iter().enumerate() {
        let (comma, name) = (if place > 0 { "," } else { "" }, "n".repeat(*length));
        write!(
            out,
            r#"{comma}{{"traceId":"{trace:032x}","spanId":"{:016x}","name":"{name}","startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{{"key":"text","value":{{"stringValue":"0123456789ab"}}}}]}}"#,
            place + 1,
            support::requests::now() - 1_000_000,
            support::requests::now(),
        )
        .unwrap();
    }
    out + "]}]}]}"
}

fn protobuf(spans: Spans<'_>) -> Vec<u8> {
    let text = [("text", "0123456789ab".to_owned())];
    let one = |(place, (trace, length)): (usize, &(u128, usize))| {
        span(*trace, &(place as u64 + 1).to_be_bytes(), b"", &"n".repeat(*length), &text)
    };
    of_service("shop", &spans.iter().enumerate().map(one).collect::<Vec<_>>())
}

impl Protocol {
    fn tenant(self, what: &str) -> String {
        format!("{what}-{self:?}").to_lowercase()
    }

    async fn send(self, server: &Server, what: &str, spans: Spans<'_>) -> Answer {
        let tenant = self.tenant(what);
        match self {
            Self::Grpc => {
                let channel = Channel::from_shared(format!("http://{}", server.otlp_grpc)).unwrap();
                let mut client = TraceServiceClient::new(channel.connect().await.unwrap());
                let message = ExportTraceServiceRequest::decode(protobuf(spans).as_slice()).unwrap();
                let mut request = tonic::Request::new(message);
                request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
                match client.export(request).await {
                    Ok(answer) => {
                        let partial = answer.into_inner().partial_success.unwrap_or_default();
                        Answer::Taken(partial.rejected_spans, partial.error_message)
                    }
                    Err(status) => {
                        let details = rpc::Status::decode(status.details()).unwrap().details;
                        let retry = details.first().map(|any| {
                            let info = rpc::RetryInfo::decode(any.value.as_ref()).unwrap();
                            info.retry_delay.unwrap().seconds as u64
                        });
                        Answer::Refused(format!("{:?}", status.code()), status.message().to_owned(), retry)
                    }
                }
            }
            Self::Protobuf => {
                let answer = post(server, &tenant, "application/x-protobuf", &protobuf(spans));
                if answer.status == 200 {
                    let said = trackway_proto::collector::ExportTraceServiceResponse::decode(&*answer.body);
                    let partial = said.unwrap().partial_success.unwrap_or_default();
                    return Answer::Taken(partial.rejected_spans, partial.error_message);
                }
                let said = rpc::Status::decode(&*answer.body).unwrap();
                assert_eq!(said.code, Code::ResourceExhausted as i32);
                Answer::Refused(answer.status.to_string(), said.message, retry_after(&answer))
            }
            Self::Json => {
                let answer = post(server, &tenant, "application/json", json(spans).as_bytes());
                let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                if answer.status == 200 {
                    let partial = &said["partialSuccess"];
                    let refused = partial["rejectedSpans"].as_str().map_or(0, |count| count.parse().unwrap());
                    return Answer::Taken(
                        refused,
                        partial["errorMessage"].as_str().unwrap_or_default().to_owned(),
                    );
                }
                assert_eq!(said["code"], Code::ResourceExhausted as i32);
                let message = said["message"].as_str().unwrap().to_owned();
                Answer::Refused(answer.status.to_string(), message, retry_after(&answer))
            }
        }
    }

    /// The gRPC code or the HTTP status.
    fn code(self, http: u16) -> String {
        if matches!(self, Self::Grpc) { "ResourceExhausted".to_owned() } else { http.to_string() }
    }
}

fn post(server: &Server, tenant: &str, content_type: &str, body: &[u8]) -> http::Response {
    let headers = [("content-type", content_type), ("x-scope-orgid", tenant)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(body)).unwrap()
}

fn retry_after(answer: &http::Response) -> Option<u64> {
    answer.header("retry-after").map(|seconds| seconds.parse().unwrap())
}

fn ok() -> Answer {
    Answer::Taken(0, String::new())
}

fn metric(server: &Server, name: &str, labels: &str) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

/// A server with tenants whose limits are in a file.
fn start(folder: &Path, tenants: &str) -> Server {
    std::fs::write(folder.join("tenants.yaml"), tenants).unwrap();
    Server::start(folder, &more(folder))
}

fn more(folder: &Path) -> String {
    format!(
        "multitenancy_enabled: true\ningester: {{trace_idle_period: 1h, max_block_duration: 1h}}\n\
         overrides: {{per_tenant_override_period: 100ms, per_tenant_override_config: '{}', \
         defaults: {{ingestion: {{max_traces_per_user: 1000}}}}}}",
        folder.join("tenants.yaml").display()
    )
}

/// An entry in which only what is named is a limit.
fn entry(tenant: &str, limit: &str) -> String {
    let all = "ingestion_rate_limit_bytes: 100000000, ingestion_burst_size_bytes: 100000000, \
               ingestion_retry_info_enabled: true";
    let named = limit.split(':').next().unwrap();
    let others: Vec<&str> = all.split(", ").filter(|key| !key.starts_with(named)).collect();
    format!("  {tenant}: {{{}, {limit}}}\n", others.join(", "))
}

const DISCARDED: &str = "tempo_discarded_spans_total";

/// Live traces: below, at, above; spans of those that are there are taken on.
async fn live_traces(server: &Server, protocol: Protocol) {
    let live = protocol.tenant("live");
    assert_eq!(protocol.send(server, "live", &[(1, 5)]).await, ok(), "{protocol:?}");
    assert_eq!(protocol.send(server, "live", &[(2, 5), (1, 5)]).await, ok(), "{protocol:?}");
    let Answer::Taken(2, why) = protocol.send(server, "live", &[(3, 5), (2, 5), (4, 5), (1, 6)]).await else {
        panic!("{protocol:?}")
    };
    for part in
        ["span 0: LIVE_TRACES_EXCEEDED", "span 2:", "max_traces_per_user 2", &live, "overrides.defaults"]
    {
        assert!(why.contains(part), "{protocol:?}: {why}");
    }
    // All of it refused is no error: sending it again would not help.
    assert!(matches!(protocol.send(server, "live", &[(5, 7)]).await, Answer::Taken(1, _)));
    assert!(get(server, &live, 5)["trace"].as_object().is_none_or(serde_json::Map::is_empty));
    let labels = format!("reason=\"live_traces_exceeded\",tenant=\"{live}\"");
    assert_eq!(metric(server, DISCARDED, &labels), 3);
    assert_eq!(metric(server, "tempo_ingester_live_traces", &format!("tenant=\"{live}\"")), 2);
}

/// Bytes of a trace: three spans of some 1,060 bytes fit.
async fn sizes(server: &Server, protocol: Protocol) {
    let size = protocol.tenant("size");
    assert_eq!(protocol.send(server, "size", &[(1, 1000), (1, 1001), (2, 1002)]).await, ok());
    let more = [(1, 1003), (1, 1004), (2, 1005), (1, 1006)];
    let Answer::Taken(2, why) = protocol.send(server, "size", &more).await else { panic!("{protocol:?}") };
    let id = format!("{:032x}", 1);
    for part in ["span 1: TRACE_TOO_LARGE", "span 3:", "max_bytes_per_trace 3500", &size, &id] {
        assert!(why.contains(part), "{protocol:?}: {why}");
    }
    let labels = format!("reason=\"trace_too_large\",tenant=\"{size}\"");
    assert_eq!(metric(server, DISCARDED, &labels), 2);
}

/// Attributes are cut; nothing is refused.
async fn attributes(server: &Server, protocol: Protocol) {
    assert_eq!(protocol.send(server, "text", &[(1, 5)]).await, ok());
    assert!(get(server, &protocol.tenant("text"), 1).to_string().contains("\"0123456789\""));
    assert_eq!(protocol.send(server, "free", &[(1, 5)]).await, ok());
    assert!(get(server, &protocol.tenant("free"), 1).to_string().contains("\"0123456789ab\""));
}

/// Rate and burst; bursts are those of the file that the server has read meanwhile.
async fn rates(server: &Server, protocol: Protocol) {
    assert_eq!(protocol.send(server, "below", &[(1, 5)]).await, ok(), "{protocol:?}");
    assert_eq!(protocol.send(server, "at", &[(1, 5)]).await, ok(), "{protocol:?}");
    let Answer::Refused(code, why, retry) = protocol.send(server, "at", &[(2, 5)]).await else {
        panic!("{protocol:?}")
    };
    assert_eq!((code, retry), (protocol.code(429), Some(5)), "{why}");
    let at = protocol.tenant("at");
    let limit = "RATE_LIMITED: ingestion rate limit (local: 1 bytes/s, global: 0";
    for part in [limit, &at, "ingestion.rate_limit_bytes"] {
        assert!(why.contains(part), "{protocol:?}: {why}");
    }
    // What is larger than any burst would be refused for ever, but Tempo answers no differently.
    let Answer::Refused(code, why, retry) = protocol.send(server, "above", &[(1, 5)]).await else {
        panic!("{protocol:?}")
    };
    assert_eq!((code, retry), (protocol.code(429), Some(5)), "{why}");
    for part in ["RATE_LIMITED: batch size", &protocol.tenant("above"), "ingestion.burst_size_bytes"] {
        assert!(why.contains(part), "{protocol:?}: {why}");
    }
    assert_eq!(metric(server, DISCARDED, &format!("reason=\"rate_limited\",tenant=\"{at}\"")), 1);
    assert!(get(server, &at, 2).get("trace").is_none_or(|trace| trace.as_object().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_answers_below_at_and_above() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = String::from("overrides:\n");
    for protocol in ALL {
        file += &entry(&protocol.tenant("live"), "max_traces_per_user: 2");
        file += &entry(&protocol.tenant("size"), "max_bytes_per_trace: 3500");
        file += &entry(&protocol.tenant("text"), "ingestion_max_attribute_bytes: 10");
    }
    let mut server = start(folder.path(), &file);
    for protocol in ALL {
        live_traces(&server, protocol).await;
        sizes(&server, protocol).await;
        attributes(&server, protocol).await;
        // How large a request is inside says the count of a tenant without limits.
        let labels = format!("tenant=\"{}\"", protocol.tenant("free"));
        let bytes = metric(&server, "tempo_distributor_bytes_received_total", &labels);
        for (what, burst) in [("below", bytes + 1), ("at", bytes), ("above", bytes - 1)] {
            let tenant = protocol.tenant(what);
            let limits = format!("rate_limit_bytes: 1, burst_size_bytes: {burst}, retry_info_enabled: true");
            writeln!(file, "  {tenant}: {{ingestion: {{{limits}}}}}").unwrap();
        }
    }
    sizes_are_marked(&server);
    std::fs::write(folder.path().join("tenants.yaml"), &file).unwrap();
    let labels = "limit_name=\"ingestion_rate_limit_bytes\",user=\"at-json\"";
    server.wait("the new limits", |server| metric(server, "tempo_limits_overrides", labels) == 1);
    for protocol in ALL {
        rates(&server, protocol).await;
    }
    // What was cut is known after a crash, from the log, and when it is in a block.
    server.kill();
    let server = Server::start(folder.path(), &more(folder.path()));
    sizes_are_marked(&server);
    server.flush();
    sizes_are_marked(&server);
    server.stop();
    let server = Server::start(folder.path(), &more(folder.path()));
    sizes_are_marked(&server);
    server.stop();
}

fn get(server: &Server, tenant: &str, trace: u128) -> serde_json::Value {
    let headers = [("x-scope-orgid".to_owned(), tenant.to_owned())];
    let path = format!("/api/v2/traces/{trace:032x}");
    let answer = http::request(&server.api, "GET", &path, &headers, None).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

/// The trace over its limit has the spans up to it and says that it is not whole; the other one is whole.
fn sizes_are_marked(server: &Server) {
    for protocol in ALL {
        let tenant = protocol.tenant("size");
        let cut = get(server, &tenant, 1);
        assert_eq!(cut.to_string().matches("\"spanId\"").count(), 3, "{cut}");
        assert_eq!(cut["status"], "PARTIAL", "{cut}");
        assert_eq!(cut["message"], "Trace exceeds maximum size of 3500 bytes, a partial trace is returned");
        let whole = get(server, &tenant, 2);
        assert_eq!(whole.to_string().matches("\"spanId\"").count(), 2, "{whole}");
        assert!(whole.get("status").is_none_or(|status| status != "PARTIAL"), "{whole}");
    }
}

#[test]
fn the_file_of_tenants_is_read_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenants.yaml");
    std::fs::write(&path, "overrides: {a: {ingestion: {rate: 1}}}").unwrap();
    let file = folder.path().join("tempo.yaml");
    let ports = support::Ports::free();
    std::fs::write(&file, support::config(folder.path(), ports, &more(folder.path()))).unwrap();
    let (code, said) = run(&[&format!("-config.file={}", file.display())]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "overrides.per_tenant_override_config",
        "tenants.yaml:1",
        "unknown key \"rate\" in overrides.a.ingestion",
    ] {
        assert!(said.contains(part), "{said}");
    }

    // What is checked of the defaults is checked of entries.
    std::fs::write(&path, "overrides:\n  a:\n    metrics_generator: {processors: [span-metric]}\n").unwrap();
    let (code, said) = run(&[&format!("-config.file={}", file.display())]);
    let part = "overrides.a.metrics_generator.processors is \"span-metric\"; did you mean span-metrics?";
    assert!(code == Some(1) && said.contains(part) && said.contains("tenants.yaml:3"), "{said}");

    let mut server = start(folder.path(), &format!("overrides:\n{}", entry("a", "max_bytes_per_trace: 70")));
    let pages = |server: &Server, accept: &str, page: &str| {
        let headers = [("accept".to_owned(), accept.to_owned())];
        let answer = http::request(&server.api, "GET", &format!("/status/{page}"), &headers, None).unwrap();
        assert_eq!(answer.status, 200, "{page}");
        String::from_utf8(answer.body).unwrap()
    };
    let json = |server: &Server, page: &str| -> serde_json::Value {
        serde_json::from_str(&pages(server, "application/json", page)).unwrap()
    };
    let all = json(&server, "overrides");
    let own = serde_json::json!([{"name": "a", "has_runtime_overrides": true, "has_user_configurable_overrides": false}]);
    assert_eq!(all["tenants"], own);
    assert!(all["now"].is_string());
    let a = json(&server, "overrides/a");
    assert_eq!(
        (&a["tenant"], &a["using_default_or_wildcard_runtime_overrides"]),
        (&"a".into(), &false.into())
    );
    assert!(a["runtime_overrides"].as_str().unwrap().contains("max_bytes_per_trace: 70\n"), "{a}");
    let b = json(&server, "overrides/b");
    assert_eq!(b["using_default_or_wildcard_runtime_overrides"], true);
    assert!(b["runtime_overrides"].as_str().unwrap().contains("max_traces_per_user: 1000\n"), "{b}");
    assert!(pages(&server, "text/html", "overrides").contains("href=\"/status/overrides/a\""));
    assert!(pages(&server, "text/html", "overrides/%3Cb%3E").contains("<h2>&lt;b&gt;</h2>"));
    let runtime = pages(&server, "", "runtime_config");
    assert!(runtime.contains("defaults:\n") && runtime.contains("max_bytes_per_trace: 70\n"), "{runtime}");
    let diff = pages(&server, "", "runtime_config?mode=diff");
    assert!(diff.contains("max_traces_per_user: 1000\n") && !diff.contains("tenant_shard_size"), "{diff}");

    server.expect_warning("overrides.per_tenant_override_config cannot be used");
    let good = |server: &Server| {
        let text = String::from_utf8(server.get("/metrics").body).unwrap();
        text.contains("\ntempo_runtime_config_last_reload_successful 1\n")
    };
    assert!(good(&server));
    std::fs::write(&path, "overrides: {a: {ingestion: {rate: 1}}}").unwrap();
    server.wait("the metric", |server| !good(server));
    assert!(
        json(&server, "overrides/a")["runtime_overrides"]
            .as_str()
            .unwrap()
            .contains("max_bytes_per_trace: 70\n")
    );
    std::fs::write(&path, format!("overrides:\n{}", entry("'*'", "max_bytes_per_trace: 71"))).unwrap();
    server.wait("the metric", |server| good(server));
    assert!(
        json(&server, "overrides/a")["runtime_overrides"]
            .as_str()
            .unwrap()
            .contains("max_bytes_per_trace: 71\n")
    );
    let said =
        server.lines().iter().filter(|line| line.contains("per_tenant_override_config cannot")).count();
    assert_eq!(said, 1);
    server.stop();
}
