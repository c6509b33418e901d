//! The HTTP surface as Tempo's clients know it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Read;

use common::{Running, start};
use prost::Message;
use trackway_api::ApiConfig;
use trackway_common::{ErrorKind, TraceId};
use trackway_golden::{Port, folder, load};
use trackway_proto::{tempopb, trace};
use trackway_querier::service::{
    Completeness, Metrics, QueryError, SearchUpdate, TagScope, TagValuesAnswer, TagsAnswer, TraceAnswer,
    TraceResult,
};

fn found(id: u128, start: u64) -> TraceResult {
    TraceResult { id: TraceId(id), root_service: "s".into(), start, ..Default::default() }
}

fn trace_bytes() -> Vec<u8> {
    let span = trace::Span {
        trace_id: vec![1; 16].into(),
        span_id: vec![2; 8].into(),
        status: Some(Default::default()),
        ..Default::default()
    };
    let scope_spans =
        vec![trace::ScopeSpans { scope: Some(Default::default()), spans: vec![span], ..Default::default() }];
    let resource_spans =
        vec![trace::ResourceSpans { resource: Some(Default::default()), scope_spans, ..Default::default() }];
    trace::TracesData { resource_spans }.encode_to_vec()
}

/// The names in a recorded table of services.
fn services(table: &str) -> Vec<(String, String)> {
    let cells = table.lines().filter(|line| line.starts_with("| ") && !line.contains("SERVICE NAME"));
    cells
        .map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            (cells.next().unwrap().to_owned(), cells.next().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn recordings() {
    let running = start(ApiConfig::default()).await;
    let questions = load(&folder("v4").join("answers.jsonl.gz")).unwrap();
    let mut asked = 0;
    for question in questions.iter().filter(|question| question.port == Port::Api) {
        let ours = match question.group.as_str() {
            "plumbing" => true,
            "search-params" | "trace-bad" | "tags" | "trace" | "metrics" | "instant" | "metrics-params"
            | "bad-metrics" => question.status == 400,
            _ => false,
        };
        // Tempo has no arithmetic between metrics queries.
        let is_arithmetic = question.traceql.as_deref().is_some_and(|text| text.ends_with(") * 100"));
        if !ours || is_arithmetic {
            continue;
        }
        asked += 1;
        let label = question.label();
        if let Some(text) = question.text.as_deref().filter(|_| question.path == "/status/services") {
            *running.fake.services.lock().unwrap() = services(text);
        }
        let answer = running.ask(&question.method, &question.path, &[]).await;
        assert_eq!(answer.status, question.status, "{label}: {answer:?}");
        assert_eq!(answer.header("content-type"), question.content_type, "{label}");
        assert_eq!(Some(answer.text()), question.text.as_deref(), "{label}");
    }
    assert!(asked >= 25, "{asked}");
}

#[tokio::test]
async fn searches() {
    let running = start(ApiConfig::default()).await;
    let first = Metrics { inspected_bytes: 1, ..Metrics::default() };
    let last = Metrics { inspected_bytes: 2, total_jobs: 1, completed_jobs: 1, ..Metrics::default() };
    *running.fake.updates.lock().unwrap() = vec![
        Ok(SearchUpdate { traces: vec![found(1, 5), found(2, 4)], metrics: first, ..Default::default() }),
        Ok(SearchUpdate { traces: vec![found(3, 6)], metrics: last, done: true, ..Default::default() }),
    ];
    let answer = running.get("/api/search?q=%7B%7D&start=1&end=2&limit=2&spss=7&x=y").await;
    let want = r#"{"traces":[{"traceID":"3","rootServiceName":"s","startTimeUnixNano":"6"},{"traceID":"1","rootServiceName":"s","startTimeUnixNano":"5"}],"metrics":{"inspectedBytes":"2","completedJobs":1,"totalJobs":1}}"#;
    assert_eq!((answer.status, answer.text()), (200, want));
    assert_eq!(
        (answer.header("content-type"), answer.header("x-trackway-completeness")),
        ("application/json", "")
    );
    let asked = r#"SearchRequest { filter: TraceQl("{}"), range: Some(TimeRange { start: 1, end: 2 }), limit: 2, spans_per_spanset: 7 }"#;
    assert_eq!(running.fake.last(), asked);
    let context = running.fake.context();
    assert!(context.cancellation.is_cancelled(), "what is answered is over");
    assert_eq!(context.tenants[0].as_str(), "single-tenant");

    let protobuf = running.ask("GET", "/api/search", &[("accept", "application/protobuf")]).await;
    assert_eq!(protobuf.header("content-type"), "application/protobuf");
    let message = tempopb::SearchResponse::decode(&protobuf.body[..]).unwrap();
    assert_eq!((message.traces.len(), message.metrics.unwrap().inspected_bytes), (3, 2));

    let packed = running.ask("GET", "/api/search", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with(r#"{"traces":["#));

    let partial = Completeness::Partial("block 7\nis damaged".into());
    *running.fake.updates.lock().unwrap() =
        vec![Ok(SearchUpdate { completeness: partial, done: true, ..Default::default() })];
    let answer = running.get("/api/search").await;
    assert_eq!(answer.header("x-trackway-completeness"), "partial; block 7 is damaged");
    assert_eq!(answer.text(), r#"{"traces":[],"metrics":{}}"#);
}

#[tokio::test]
async fn errors_pass_through() {
    let running = start(ApiConfig::default()).await;
    for (kind, status) in [
        (ErrorKind::Invalid, 400),
        (ErrorKind::NotFound, 404),
        (ErrorKind::TooLarge, 422),
        (ErrorKind::Exhausted, 429),
        (ErrorKind::Unavailable, 503),
        (ErrorKind::Cancelled, 499),
        (ErrorKind::Deadline, 504),
        (ErrorKind::Internal, 500),
    ] {
        let error = QueryError::new(kind, "invalid TraceQL query: why");
        *running.fake.updates.lock().unwrap() = vec![Ok(SearchUpdate::default()), Err(error)];
        let answer = running.get("/api/search?q=x").await;
        assert_eq!((answer.status, answer.text()), (status, "invalid TraceQL query: why"));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn traces() {
    let running = start(ApiConfig::default()).await;
    let missing = running.get("/api/traces/1").await;
    assert_eq!((missing.status, missing.text()), (404, ""));
    assert_eq!(running.get("/api/v2/traces/1").await.text(), r#"{"trace":{},"metrics":{}}"#);
    let protobuf = [("accept", "application/protobuf")];
    assert_eq!(running.ask("GET", "/api/v2/traces/1", &protobuf).await.body, [0x0a, 0, 0x12, 0]);
    *running.fake.trace.lock().unwrap() = Ok(TraceAnswer {
        trace: Some(trace_bytes().into()),
        metrics: Metrics { inspected_bytes: 7, ..Metrics::default() },
        completeness: Completeness::Partial("one block is missing".into()),
        too_large: None,
    });
    let v1 = running.get("/api/traces/00f?start=1&end=2").await;
    assert_eq!((v1.status, v1.header("x-trackway-completeness")), (200, "partial; one block is missing"));
    assert!(
        v1.text().starts_with(r#"{"batches":[{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"#)
    );
    let id = "0000000000000000000000000000000f";
    assert_eq!(
        running.fake.last(),
        format!("TraceRequest {{ id: {id}, range: Some(TimeRange {{ start: 1, end: 2 }}) }}")
    );
    let v2 = running.get("/api/v2/traces/1").await;
    assert!(v2.text().starts_with(r#"{"trace":{"resourceSpans":[{"resource":{}"#));
    assert!(v2.text().ends_with(
        r#","metrics":{"inspectedBytes":"7"},"status":"PARTIAL","message":"one block is missing"}"#
    ));
    assert_eq!(running.ask("GET", "/api/traces/1", &protobuf).await.body, trace_bytes());
    let v2 = running.ask("GET", "/api/v2/traces/1", &protobuf).await;
    let message = tempopb::TraceByIdResponse::decode(&v2.body[..]).unwrap();
    assert_eq!(
        (message.trace.unwrap().to_vec(), message.status, message.message.as_str()),
        (trace_bytes(), 1, "one block is missing")
    );
    let llm = running.ask("GET", "/api/v2/traces/1", &[("accept", "application/vnd.grafana.llm")]).await;
    assert_eq!(llm.header("content-type"), "application/vnd.grafana.llm+json");
    assert!(llm.text().starts_with(r#"{"trace":{"traceId":"#));
    let long = running.get(&format!("/api/traces/{}", "1".repeat(33))).await;
    assert_eq!((long.status, long.text()), (400, "trace IDs can't be larger than 128 bits"));
}

#[tokio::test]
async fn names_and_values() {
    let running = start(ApiConfig::default()).await;
    *running.fake.tags.lock().unwrap() = TagsAnswer {
        scopes: vec![
            (TagScope::Span, vec!["b".into()]),
            (TagScope::Event, vec![]),
            (TagScope::Intrinsic, vec!["name".into()]),
        ],
        ..Default::default()
    };
    assert_eq!(running.get("/api/search/tags").await.text(), r#"{"tagNames":["b"],"metrics":{}}"#);
    let v2 = running.get("/api/v2/search/tags?limit=5&scope=none&q=%7B").await;
    let want =
        r#"{"scopes":[{"name":"span","tags":["b"]},{"name":"intrinsic","tags":["name"]}],"metrics":{}}"#;
    assert_eq!(v2.text(), want);
    assert_eq!(running.fake.last(), r#"TagsRequest { scope: None, query: "{", range: None, limit: 5 }"#);
    *running.fake.values.lock().unwrap() = Ok(TagValuesAnswer {
        values: vec![("string", "z".into()), ("int", "2".into()), ("string", "2".into())],
        ..Default::default()
    });
    let v1 = running.get("/api/search/tag/a/b/values").await;
    assert_eq!(v1.text(), r#"{"tagValues":["2","z"],"metrics":{}}"#);
    let asked = r#"TagValuesRequest { name: "a/b", legacy: true, query: "", range: None, limit: 0 }"#;
    assert_eq!(running.fake.last(), asked);
    let v2 =
        running.get("/api/v2/search/tag/event%3Aname%2F%C3%A9/values?tag=x&q=%7B%7D&start=1&end=2").await;
    let want = r#"{"tagValues":[{"type":"string","value":"z"},{"type":"int","value":"2"},{"type":"string","value":"2"}],"metrics":{}}"#;
    assert_eq!(v2.text(), want);
    let asked = r#"TagValuesRequest { name: "event:name/é", legacy: false, query: "{}", range: Some(TimeRange { start: 1, end: 2 }), limit: 0 }"#;
    assert_eq!(running.fake.last(), asked);
    assert_eq!(running.get("/api/v2/search/tag/a").await.status, 404);
}

#[tokio::test]
async fn plumbing() {
    let running = start(ApiConfig { http_api_prefix: "/tempo".into(), ..ApiConfig::default() }).await;
    let answers = |path: &'static str| {
        let running = &running;
        async move {
            let answer = running.get(path).await;
            (answer.status, answer.text().to_owned())
        }
    };
    assert_eq!(answers("/tempo/api/echo").await, (200, "echo\n".into()));
    assert_eq!(answers("/api/echo").await.0, 404);
    assert_eq!(answers("/ready").await, (200, "ready\n".into()));
    *running.fake.ready.lock().unwrap() = Err("Starting: replays the log".into());
    assert_eq!(answers("/ready").await, (503, "Starting: replays the log\n".into()));
    let build = answers("/tempo/api/status/buildinfo").await.1;
    assert!(build.starts_with(r#"{"version":"3.0.3","revision":"","branch":"#), "{build}");
    assert_eq!(
        answers("/status/config?mode=diff").await,
        (200, "GET /status/config\n---\nmode: Diff\n".into())
    );
    assert_eq!(answers("/status/config?mode=x").await.0, 400);
    assert_eq!(answers("/status/nothing").await.0, 404);
    let all = answers("/status").await.1;
    for page in ["version", "services", "blocks", "endpoints", "runtime_config", "config"] {
        assert!(all.contains(&format!("GET /status/{page}\n")), "{page}");
    }
    assert!(all.contains("/tempo/api/v2/traces/{id}"));
    assert_eq!(answers("/flush").await.0, 204);
    assert_eq!(answers("/flush?tenant=known").await.0, 204);
    assert_eq!(answers("/flush?tenant=other").await, (404, "unknown tenant".into()));
    assert_eq!(running.ask("POST", "/shutdown", &[("sec-fetch-site", "cross-site")]).await.status, 403);
    assert!(!*running.fake.stopped.lock().unwrap());
    assert_eq!(answers("/shutdown").await, (200, "shutdown job acknowledged".into()));
    assert!(*running.fake.stopped.lock().unwrap());
    let home = answers("/").await.1;
    assert!(home.contains("trackway &lt;0.1&gt;") && home.contains("<a href=\"http://127.0.0.1:3200\">"));
    let metrics = running.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.text().starts_with("# TYPE a gauge\na 1\n"));
    assert_eq!(metrics.text().matches("# EOF").count(), 1);
    let counted = r#"tempo_request_duration_seconds_count{method="GET",route="tempo_api_echo",status_code="200",ws="false"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    running.shutdown.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn tenants() {
    let running = start(ApiConfig { multitenancy: true, ..ApiConfig::default() }).await;
    let ask = |running: &Running, name: &'static str| {
        let headers = if name.is_empty() { vec![] } else { vec![("x-scope-orgid", name)] };
        let address = running.address.clone();
        let fake = running.fake.clone();
        let running = Running {
            address,
            fake,
            shutdown: running.shutdown.clone(),
            task: tokio::spawn(async { Ok(()) }),
        };
        async move { running.ask("GET", "/api/search", &headers).await }
    };
    let missing = ask(&running, "").await;
    assert_eq!((missing.status, missing.text()), (401, "no org id"));
    assert_eq!(ask(&running, "a/b").await.status, 400);
    assert_eq!(ask(&running, "b|a|b").await.status, 200);
    assert_eq!(format!("{:?}", running.fake.context().tenants), r#"["a", "b"]"#);
}

#[tokio::test]
async fn who_goes_away_is_not_worked_for() {
    use tokio::io::AsyncWriteExt;
    let running = start(ApiConfig::default()).await;
    *running.fake.hangs.lock().unwrap() = true;
    let mut stream = tokio::net::TcpStream::connect(&running.address).await.unwrap();
    stream.write_all(b"GET /api/search HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while running.fake.contexts.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let context = running.fake.context();
    assert!(!context.cancellation.is_cancelled());
    assert!(context.deadline.is_some());
    drop(stream);
    context.cancellation.cancelled().await;
}

#[tokio::test]
async fn questions_have_an_end() {
    let timeout = Some(std::time::Duration::from_millis(1));
    let running = start(ApiConfig { query_timeout: timeout, ..ApiConfig::default() }).await;
    *running.fake.hangs.lock().unwrap() = true;
    let answer = running.get("/api/search").await;
    let text = "unable to process request in the configured timeout";
    assert_eq!((answer.status, answer.text()), (504, text));
}
