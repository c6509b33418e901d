//! Questions for series, over HTTP and gRPC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{NOW, Running, start};
use futures::StreamExt;
use prost::Message;
use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;
use trackway_api::ApiConfig;
use trackway_common::ErrorKind;
use trackway_golden::{folder, load};
use trackway_proto::tempopb::streaming_querier_client::StreamingQuerierClient;
use trackway_proto::tempopb::{
    PartialStatus, QueryInstantRequest, QueryInstantResponse, QueryRangeRequest, QueryRangeResponse,
};
use trackway_querier::service::{
    AttributeValue, Completeness, Exemplar, Metrics, MetricsAnswer, QueryError, Series,
};

const RATE: &str = "q=%7B%7D%7Crate()";

fn text(value: &Value) -> u64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

fn labels(of: &Value) -> Vec<(String, AttributeValue)> {
    let value = |any: &Value| {
        let (kind, value) = any.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "stringValue" => AttributeValue::String(value.as_str().unwrap().into()),
            "intValue" => AttributeValue::Int(value.as_str().unwrap().parse().unwrap()),
            "doubleValue" => AttributeValue::Float(value.as_f64().unwrap()),
            "boolValue" => AttributeValue::Bool(value.as_bool().unwrap()),
            other => panic!("{other}"),
        }
    };
    let pairs = of["labels"].as_array().unwrap().iter();
    pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), value(&pair["value"]))).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The answer of a service that Tempo's JSON must have come from.
fn answer(json: &Value) -> MetricsAnswer {
    let number = |of: &Value| of.get("value").map_or(0.0, |value| value.as_f64().unwrap());
    let series = |of: &Value| {
        let samples = match of.get("samples") {
            Some(samples) => list(samples).iter().map(|s| (text(&s["timestampMs"]), number(s))).collect(),
            None => vec![(1, number(of))],
        };
        let exemplar = |of: &Value| Exemplar {
            labels: labels(of),
            value: number(of),
            time_ms: text(&of["timestampMs"]),
        };
        Series {
            labels: labels(of),
            samples,
            exemplars: list(&of["exemplars"]).iter().map(exemplar).collect(),
        }
    };
    let of = &json["metrics"];
    let count = |key: &str| of[key].as_u64().map_or(0, |count| u32::try_from(count).unwrap());
    let metrics = Metrics {
        inspected_bytes: text(&of["inspectedBytes"]),
        inspected_spans: text(&of["inspectedSpans"]),
        total_blocks: count("totalBlocks"),
        total_block_bytes: text(&of["totalBlockBytes"]),
        total_jobs: count("totalJobs"),
        completed_jobs: count("completedJobs"),
        ..Metrics::default()
    };
    let series = list(&json["series"]).iter().map(series).collect();
    MetricsAnswer { series, metrics, completeness: Completeness::Complete }
}

/// What the service is asked for has as many intervals as Tempo's series have samples, and what it answers gets Tempo's
/// JSON, to the key.
#[tokio::test]
async fn recordings() {
    let running = start(ApiConfig { query_end_cutoff: Duration::ZERO, ..ApiConfig::default() }).await;
    let mut asked = 0;
    for question in load(&folder("v4").join("answers.jsonl.gz")).unwrap() {
        let is_ours = matches!(question.group.as_str(), "metrics" | "instant" | "metrics-params");
        let Some(want) = question.json.as_ref().filter(|_| is_ours && question.status == 200) else {
            continue;
        };
        asked += 1;
        *running.fake.series.lock().unwrap() = Ok(answer(want));
        let got = running.ask(&question.method, &question.path, &[]).await;
        let label = question.label();
        assert_eq!(
            (got.status, got.header("content-type")),
            (200, question.content_type.as_str()),
            "{label}"
        );
        let got: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(&got, want, "{label}");
        let query =
            question.traceql.as_deref().unwrap_or("{ } | count_over_time() by (resource.service.name)");
        let request = running.fake.last_series();
        assert_eq!((request.query.as_str(), request.max_series), (query, 0));
        assert_eq!(request.exemplars, if question.group == "instant" { 0 } else { 100 });
        let samples = list(&want["series"]).iter().map(|series| list(&series["samples"]).len()).max();
        if question.group == "instant" {
            assert_eq!((request.time.step, request.time.seconds()), (None, 300.0));
        } else if samples.unwrap() > 5 {
            assert_eq!(request.time.count(), samples.unwrap(), "{label}");
            assert_eq!(request.time.time_ms(0), text(&want["series"][0]["samples"][0]["timestampMs"]));
        }
    }
    assert!(asked >= 40, "{asked}");
}

fn odd() -> MetricsAnswer {
    let samples = vec![(1_000, f64::NAN), (2_000, f64::INFINITY), (3_000, -0.0), (4_000, f64::NEG_INFINITY)];
    MetricsAnswer {
        series: vec![
            Series {
                labels: vec![
                    ("p".into(), AttributeValue::Float(0.5)),
                    ("b".into(), AttributeValue::Bool(false)),
                ],
                samples,
                exemplars: vec![Exemplar { value: 1e-7, time_ms: 1_001, ..Exemplar::default() }],
            },
            Series { labels: vec![("a".into(), AttributeValue::Int(-1))], ..Series::default() },
        ],
        metrics: Metrics { total_jobs: 2, completed_jobs: 1, ..Metrics::default() },
        completeness: Completeness::Partial("block 7\nis \"damaged\"".into()),
    }
}

#[tokio::test]
async fn what_is_no_number_and_what_is_missing_is_said() {
    let running = start(ApiConfig::default()).await;
    *running.fake.series.lock().unwrap() = Ok(odd());
    let labels =
        r#""labels":[{"key":"p","value":{"doubleValue":0.5}},{"key":"b","value":{"boolValue":false}}]"#;
    let end = concat!(
        r#""metrics":{"completedJobs":1,"totalJobs":2},"status":"PARTIAL","#,
        r#""message":"block 7\nis \"damaged\""}"#
    );
    let range = running.get(&format!("/api/metrics/query_range?{RATE}")).await;
    let samples = concat!(
        r#""samples":[{"timestampMs":"1000","value":"NaN"},{"timestampMs":"2000","value":"Infinity"},"#,
        r#"{"timestampMs":"3000"},{"timestampMs":"4000","value":"-Infinity"}],"#,
        r#""exemplars":[{"labels":[],"value":1e-7,"timestampMs":"1001"}]"#
    );
    let second = r#"{"labels":[{"key":"a","value":{"intValue":"-1"}}],"samples":[]}"#;
    assert_eq!(range.text(), format!(r#"{{"series":[{{{labels},{samples}}},{second}],{end}"#));
    assert_eq!(range.header("x-trackway-completeness"), "partial; block 7 is \"damaged\"");
    let instant = running.get(&format!("/api/metrics/query?{RATE}")).await;
    assert_eq!(instant.text(), format!(r#"{{"series":[{{{labels},"value":"-Infinity"}}],{end}"#));

    let protobuf = [("accept", "application/protobuf")];
    let range = running.ask("POST", &format!("/api/metrics/query_range?{RATE}"), &protobuf).await;
    assert_eq!(range.header("content-type"), "application/protobuf");
    let message = QueryRangeResponse::decode(&range.body[..]).unwrap();
    assert_eq!((message.series.len(), message.status()), (2, PartialStatus::Partial));
    assert_eq!(message.series[0].exemplars[0].timestamp_ms, 1_001);
    let instant = running.ask("GET", &format!("/api/metrics/query?{RATE}"), &protobuf).await;
    let message = QueryInstantResponse::decode(&instant.body[..]).unwrap();
    assert_eq!((message.series.len(), message.series[0].value), (1, f64::NEG_INFINITY));
    assert_eq!(message.message, "block 7\nis \"damaged\"");

    *running.fake.series.lock().unwrap() = Ok(MetricsAnswer::default());
    let empty = running.get(&format!("/api/metrics/query?{RATE}")).await;
    assert_eq!((empty.status, empty.text()), (200, r#"{"series":[],"metrics":{}}"#));
    assert_eq!(empty.header("x-trackway-completeness"), "");
}

#[tokio::test]
async fn questions_are_checked_before_they_are_asked() {
    let running = start(ApiConfig::default()).await;
    for (path, why) in [
        ("query_range?q=%7B%7D", "not a metrics query"),
        ("query?q=%7B%7D", "not a metrics query"),
        ("query_range?q=x&start=2&end=1", "end must be greater than start"),
        ("query_range?query=%7B%7D|rate()&step=5q", "cannot parse \"5q\" to a valid duration"),
        (
            "query?query=%7B%7D|rate()&start=1&end=99999",
            "metrics query time range exceeds the maximum allowed duration of 24h0m0s",
        ),
    ] {
        let answer = running.get(&format!("/api/metrics/{path}")).await;
        assert_eq!((answer.status, answer.text()), (400, why), "{path}");
    }
    assert!(running.fake.asked.lock().unwrap().is_empty());
    let error = QueryError::new(ErrorKind::Exhausted, "too many series");
    *running.fake.series.lock().unwrap() = Err(error);
    let answer = running.get(&format!("/api/metrics/query?{RATE}")).await;
    assert_eq!((answer.status, answer.text()), (429, "too many series"));
    assert!(running.fake.context().cancellation.is_cancelled(), "what is answered is over");
}

async fn client(running: &Running) -> StreamingQuerierClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", running.address)).unwrap();
    StreamingQuerierClient::new(channel.connect().await.unwrap())
}

async fn ranges(running: &Running, request: QueryRangeRequest) -> Vec<QueryRangeResponse> {
    let stream = client(running).await.metrics_query_range(request).await.unwrap().into_inner();
    let messages: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert!(messages.iter().all(|message| message.metrics.is_some() && message.encoded_len() < 2 << 20));
    messages
}

async fn instants(running: &Running) -> QueryInstantResponse {
    let request = QueryInstantRequest { query: "{} | rate()".into(), ..Default::default() };
    let stream = client(running).await.metrics_query_instant(request).await.unwrap().into_inner();
    let mut messages: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

#[tokio::test]
async fn streams() {
    let running = start(ApiConfig::default()).await;
    // Nothing at all is a message too, and what is not given is the last hour.
    let request = QueryRangeRequest { query: "{} | rate()".into(), ..Default::default() };
    let messages = ranges(&running, request.clone()).await;
    assert_eq!(messages, [QueryRangeResponse { metrics: Some(Default::default()), ..Default::default() }]);
    let asked = running.fake.last_series();
    assert_eq!((asked.time.step, asked.exemplars), (Some(15_000_000_000), 100));
    assert_eq!(asked.time.start / 1_000_000_000, (NOW - 3600) / 15 * 15);
    let request = QueryRangeRequest {
        start: 1_795_330_000_000_000_000,
        end: 1_795_330_060_000_000_000,
        step: 20_000_000_000,
        exemplars: 5,
        max_series: 6,
        ..request
    };
    *running.fake.series.lock().unwrap() = Ok(odd());
    let messages = ranges(&running, request.clone()).await;
    assert_eq!((messages.len(), messages[0].status()), (1, PartialStatus::Partial));
    assert_eq!(messages[0].series[1].labels[0].key, "a");
    let asked = running.fake.last_series();
    assert_eq!((asked.time.count(), asked.exemplars, asked.max_series), (4, 5, 6));

    let message = instants(&running).await;
    assert_eq!((message.series.len(), message.message.as_str()), (1, "block 7\nis \"damaged\""));
    assert_eq!(running.fake.last_series().time.step, None);

    let bad = QueryRangeRequest { query: "{} | rate(".into(), ..request };
    let status = client(&running).await.metrics_query_range(bad).await.unwrap_err();
    let why = "parse error at line 1, col 11: syntax error: unexpected $end, expecting )";
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, why));
    let bad = QueryInstantRequest { query: "{}".into(), start: 5, end: 4 };
    let status = client(&running).await.metrics_query_instant(bad).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "end must be greater than start"));
}

#[tokio::test]
async fn large_answers_are_split_or_said_to_be_cut() {
    let running = start(ApiConfig::default()).await;
    let series = |number: u64, samples: u64, name: usize| Series {
        labels: vec![("name".into(), AttributeValue::String(format!("{number}{}", "x".repeat(name))))],
        samples: (1..=samples).map(|at| (at * 1_000_000_000, at as f64)).collect(),
        exemplars: (1..=3).map(|at| Exemplar { time_ms: at, ..Exemplar::default() }).collect(),
    };
    let mut all: Vec<Series> = (1..=60).map(|number| series(number, 1, 100_000)).collect();
    all.push(series(61, 300_000, 1));
    let whole = MetricsAnswer { series: all, ..MetricsAnswer::default() };
    *running.fake.series.lock().unwrap() = Ok(whole.clone());
    let request = QueryRangeRequest { query: "{} | rate()".into(), ..Default::default() };
    let messages = ranges(&running, request).await;
    assert!(messages.len() >= 6, "{}", messages.len());
    let parts: Vec<_> = messages.iter().flat_map(|message| &message.series).collect();
    let (small, large) = parts.split_at(60);
    assert!(small.iter().all(|series| series.samples.len() == 1 && series.exemplars.len() == 3));
    assert!(large.iter().all(|series| series.labels == large[0].labels));
    let times: Vec<i64> = large.iter().flat_map(|series| &series.samples).map(|s| s.timestamp_ms).collect();
    assert_eq!(times.len(), 300_000);
    assert!(times.is_sorted());
    assert_eq!(large.iter().map(|series| series.exemplars.len()).sum::<usize>(), 3);

    let message = instants(&running).await;
    assert!(message.encoded_len() < 2 << 20 && message.series.len() > 10, "{}", message.series.len());
    assert_eq!(message.status(), PartialStatus::Partial);
    assert!(message.message.starts_with("the series that do not fit"), "{}", message.message);
    // Over HTTP there is no limit.
    let http = running.get(&format!("/api/metrics/query?{RATE}")).await;
    let http: Value = serde_json::from_slice(&http.body).unwrap();
    assert_eq!((list(&http["series"]).len(), &http["status"]), (61, &Value::Null));
}
