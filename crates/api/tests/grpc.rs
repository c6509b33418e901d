//! The gRPC surface as Grafana, Kiali and Tempo's tools know it, on the port of the HTTP surface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Running, start};
use futures::StreamExt;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request};
use trackway_api::ApiConfig;
use trackway_common::{ErrorKind, TraceId};
use trackway_proto::health::{HealthCheckRequest, health_client::HealthClient};
use trackway_proto::tempopb::querier_client::QuerierClient;
use trackway_proto::tempopb::streaming_querier_client::StreamingQuerierClient;
use trackway_proto::tempopb::{
    SearchBlockRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest, TraceByIdRequest,
};
use trackway_querier::service::{
    Metrics, QueryError, SearchUpdate, SpanResult, SpansetResult, TagScope, TagValuesAnswer, TagsAnswer,
    TraceAnswer, TraceResult,
};

async fn channel(running: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap()
}

fn traces(count: u32, bytes: usize) -> Vec<TraceResult> {
    let trace = |id: u32| TraceResult {
        id: TraceId(u128::from(id)),
        root_service: "x".repeat(bytes),
        ..Default::default()
    };
    (1..=count).map(trace).collect()
}

#[tokio::test]
async fn streams_have_metrics_in_every_message() {
    let running = start(ApiConfig::default()).await;
    let mut client = StreamingQuerierClient::new(channel(&running).await);
    // An empty request is Kiali's health check; an empty answer still is a message.
    let mut stream = client.search(SearchRequest::default()).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!((message.traces.len(), message.metrics), (0, Some(Default::default())));
    assert!(stream.message().await.unwrap().is_none());
    let asked = "SearchRequest { filter: Tags { tags: [], min_duration: None, max_duration: None }, range: None, limit: 20, spans_per_spanset: 3 }";
    assert_eq!(running.fake.last(), asked);

    let metrics = Metrics { total_jobs: 2, completed_jobs: 2, ..Metrics::default() };
    *running.fake.updates.lock().unwrap() = vec![
        Ok(SearchUpdate { traces: traces(1, 1), ..Default::default() }),
        Ok(SearchUpdate { metrics, done: true, ..Default::default() }),
    ];
    let request = SearchRequest {
        query: "{}".into(),
        limit: 5,
        start: 1,
        end: 9,
        min_duration_ms: 3,
        ..Default::default()
    };
    let stream = client.search(request).await.unwrap().into_inner();
    let messages: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.metrics.is_some()));
    assert_eq!(messages[1].metrics.unwrap().completed_jobs, 2);
    // The same port speaks HTTP.
    assert_eq!(running.get("/api/echo").await.text(), "echo\n");
}

#[tokio::test]
async fn large_answers_are_split() {
    let running = start(ApiConfig::default()).await;
    let span = SpanResult { id: 1, name: "n".repeat(100_000), ..Default::default() };
    let huge = TraceResult {
        id: TraceId(99),
        spansets: vec![SpansetResult { spans: vec![span; 100], matched: 100, ..Default::default() }; 3],
        ..Default::default()
    };
    let mut all = traces(50, 100_000);
    all.push(huge);
    *running.fake.updates.lock().unwrap() =
        vec![Ok(SearchUpdate { traces: all, done: true, ..Default::default() })];
    let mut client = StreamingQuerierClient::new(channel(&running).await);
    let stream = client.search(SearchRequest::default()).await.unwrap().into_inner();
    let messages: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert!(messages.len() >= 3);
    assert!(messages.iter().all(|message| message.encoded_len() < 2 << 20 && message.metrics.is_some()));
    let found: Vec<_> = messages.iter().flat_map(|message| &message.traces).collect();
    assert_eq!(found.len(), 51);
    let cut = &found[50];
    assert_eq!((cut.span_sets[0].matched, cut.span_set.as_ref()), (100, cut.span_sets.first()));

    let names: Vec<String> = (10..70).map(|n: u32| n.to_string().repeat(50_000)).collect();
    *running.fake.tags.lock().unwrap() =
        TagsAnswer { scopes: vec![(TagScope::Span, names.clone())], ..Default::default() };
    let stream = client.search_tags_v2(SearchTagsRequest::default()).await.unwrap().into_inner();
    let messages: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert!(messages.iter().all(|message| message.encoded_len() < 2 << 20 && message.metrics.is_some()));
    let got: Vec<_> = messages.into_iter().flat_map(|m| m.scopes).flat_map(|scope| scope.tags).collect();
    assert_eq!(got, names);
}

#[tokio::test]
async fn names_and_values() {
    let running = start(ApiConfig::default()).await;
    let mut client = StreamingQuerierClient::new(channel(&running).await);
    let request = SearchTagsRequest { scope: "bogus".into(), ..Default::default() };
    let status = client.search_tags(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "invalid scope: bogus"));
    let mut none = client.search_tags(SearchTagsRequest::default()).await.unwrap().into_inner();
    assert!(none.message().await.unwrap().unwrap().metrics.is_some());
    *running.fake.values.lock().unwrap() = Ok(TagValuesAnswer {
        values: vec![("string", "b".into()), ("int", "1".into())],
        ..Default::default()
    });
    let request = SearchTagValuesRequest { tag_name: ".a".into(), max_tag_values: 9, ..Default::default() };
    let mut v2 = client.search_tag_values_v2(request.clone()).await.unwrap().into_inner();
    let message = v2.message().await.unwrap().unwrap();
    assert_eq!((message.tag_values[1].r#type.as_str(), message.tag_values[1].value.as_str()), ("int", "1"));
    let asked = r#"TagValuesRequest { name: ".a", legacy: false, query: "", range: None, limit: 9 }"#;
    assert_eq!(running.fake.last(), asked);
    let mut v1 = client.search_tag_values(request).await.unwrap().into_inner();
    assert_eq!(v1.message().await.unwrap().unwrap().tag_values, ["1", "b"]);
}

#[tokio::test]
async fn errors_have_their_codes() {
    let running = start(ApiConfig { multitenancy: true, ..ApiConfig::default() }).await;
    let mut client = StreamingQuerierClient::new(channel(&running).await);
    let status = client.search(SearchRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no org id"));
    let named = || {
        let mut request = Request::new(SearchRequest::default());
        request.metadata_mut().insert("x-scope-orgid", "b|a".parse().unwrap());
        request
    };
    let error = QueryError::new(ErrorKind::Invalid, "invalid TraceQL query: why");
    *running.fake.updates.lock().unwrap() = vec![Ok(SearchUpdate::default()), Err(error)];
    let mut stream = client.search(named()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "invalid TraceQL query: why"));
    assert_eq!(format!("{:?}", running.fake.context().tenants), r#"["a", "b"]"#);
}

#[tokio::test]
async fn a_dropped_stream_is_not_worked_for() {
    let running = start(ApiConfig::default()).await;
    *running.fake.hangs.lock().unwrap() = true;
    *running.fake.updates.lock().unwrap() = vec![Ok(SearchUpdate::default())];
    let mut client = StreamingQuerierClient::new(channel(&running).await);
    let mut stream = client.search(SearchRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let context = running.fake.context();
    assert!(!context.cancellation.is_cancelled());
    drop(stream);
    context.cancellation.cancelled().await;
}

#[tokio::test]
async fn tempos_tools_are_answered() {
    let running = start(ApiConfig::default()).await;
    let mut client = QuerierClient::new(channel(&running).await);
    let request = TraceByIdRequest { trace_id: vec![1; 16].into(), ..Default::default() };
    let answer = client.find_trace_by_id(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.trace.unwrap().len(), 0);
    *running.fake.trace.lock().unwrap() =
        Ok(TraceAnswer { trace: Some(vec![10, 0].into()), ..Default::default() });
    let answer = client.find_trace_by_id(request).await.unwrap().into_inner();
    assert_eq!(answer.trace.unwrap().to_vec(), [10, 0]);
    *running.fake.updates.lock().unwrap() =
        vec![Ok(SearchUpdate { traces: traces(2, 1), done: true, ..Default::default() })];
    let found = client.search_recent(SearchRequest::default()).await.unwrap().into_inner();
    assert_eq!((found.traces.len(), found.metrics.is_some()), (2, true));
    let status = client.search_block(SearchBlockRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn health() {
    let running = start(ApiConfig::default()).await;
    let mut client = HealthClient::new(channel(&running).await);
    let check = |service: &str| HealthCheckRequest { service: service.into() };
    assert_eq!(client.check(check("")).await.unwrap().into_inner().status, 1);
    assert_eq!(client.check(check("nobody")).await.unwrap_err().code(), Code::NotFound);
    *running.fake.ready.lock().unwrap() = Err("stopping".into());
    assert_eq!(client.check(check("tempopb.Querier")).await.unwrap().into_inner().status, 2);
    let states: Vec<_> = client.watch(check("")).await.unwrap().into_inner().collect().await;
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].as_ref().unwrap().status, 2);
}
