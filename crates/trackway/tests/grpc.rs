//! gRPC with the clients that senders and Grafana use: OTLP in, TraceQL out, on every port that speaks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use prost::Message;
use support::Server;
use support::requests::{day, one_bad, own_spans, own_trace, request};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_proto::tempopb::querier_client::QuerierClient;
use trackway_proto::tempopb::streaming_querier_client::StreamingQuerierClient;
use trackway_proto::tempopb::{
    SearchMetrics, SearchRequest, SearchTagValuesRequest, SearchTagsRequest, TraceByIdRequest,
};

async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_pushed_by_grpc_are_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let client = TraceServiceClient::new(channel(&server.otlp_grpc).await);
    for (number, encoding) in
        [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)].into_iter().enumerate()
    {
        let number = number as u64;
        let mut client = match encoding {
            None => client.clone(),
            Some(encoding) => client.clone().send_compressed(encoding).accept_compressed(encoding),
        };
        let message = ExportTraceServiceRequest::decode(request(number).as_slice()).unwrap();
        let answer = client.export(message).await.unwrap().into_inner();
        assert_eq!(answer.partial_success.unwrap_or_default().rejected_spans, 0);
        assert_eq!(server.trace(own_trace(number)).unwrap().len(), own_spans(number).len());
    }
    let mut client = client;
    let (trace, mixed) = one_bad();
    let mixed = ExportTraceServiceRequest::decode(mixed.as_slice()).unwrap();
    let answer = client.export(mixed).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(answer.rejected_spans, 1, "{answer:?}");
    assert!(answer.error_message.contains("span id"), "{answer:?}");
    assert_eq!(server.trace(trace), Some(vec![1, 3]));
    server.stop();
}

async fn searches(address: &str) {
    let mut client = StreamingQuerierClient::new(channel(address).await);
    let (start, end) = day();
    for (query, found) in
        [("{ resource.service.name = \"service-0\" }", true), ("{ name = \"nobody\" }", false)]
    {
        let asked = SearchRequest {
            query: query.into(),
            limit: 20,
            start: start as u32,
            end: end as u32,
            spans_per_span_set: 3,
            ..SearchRequest::default()
        };
        let mut stream = client.search(asked).await.unwrap().into_inner();
        let (mut messages, mut traces, mut last) = (0, Vec::new(), SearchMetrics::default());
        while let Some(message) = stream.message().await.unwrap() {
            messages += 1;
            traces.extend(message.traces);
            last = message.metrics.expect("Grafana follows the pointer without looking");
        }
        assert!(messages >= 1, "{address}: no message for {query}");
        assert_eq!(!traces.is_empty(), found, "{address}: {query}");
        assert_eq!(last.completed_jobs, last.total_jobs, "{address}: {query}");
        assert!(traces.iter().all(|trace| trace.trace_id.len() <= 32 && !trace.span_sets.is_empty()));
    }
}

async fn tags(address: &str) {
    let mut client = StreamingQuerierClient::new(channel(address).await);
    let (start, end) = day();
    let asked = SearchTagsRequest { start: start as u32, end: end as u32, ..SearchTagsRequest::default() };
    let mut stream = client.search_tags_v2(asked).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().expect("at least one message");
    assert!(message.metrics.is_some());
    let names: Vec<_> = message.scopes.iter().flat_map(|scope| scope.tags.iter().cloned()).collect();
    assert!(names.contains(&"service.name".into()) && names.contains(&"request".into()), "{names:?}");
    let asked = SearchTagValuesRequest {
        tag_name: "resource.service.name".into(),
        start: start as u32,
        end: end as u32,
        ..SearchTagValuesRequest::default()
    };
    let mut stream = client.search_tag_values_v2(asked).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().expect("at least one message");
    assert!(message.metrics.is_some());
    assert!(message.tag_values.iter().any(|value| value.value == "service-0"), "{message:?}");
}

async fn traces_by_id(address: &str) {
    let mut client = QuerierClient::new(channel(address).await);
    let asked = TraceByIdRequest {
        trace_id: own_trace(0).to_be_bytes().to_vec().into(),
        ..TraceByIdRequest::default()
    };
    let answer = client.find_trace_by_id(asked).await.unwrap().into_inner();
    let found = trackway_loadgen::trace_span_ids(&answer.trace.unwrap()).unwrap();
    assert_eq!(found[&own_trace(0).to_be_bytes()].len(), own_spans(0).len());
}

/// Grafana's stream on the port of HTTP and on the port of gRPC, of live data and of blocks.
#[tokio::test(flavor = "multi_thread")]
async fn questions_by_grpc_are_answered_on_both_ports() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "query_frontend: {search: {query_backend_after: 0s}}");
    for number in 0..10 {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
    for flushed in [false, true] {
        if flushed {
            server.flush();
        }
        for address in [&server.api, &server.grpc] {
            searches(address).await;
            tags(address).await;
            traces_by_id(address).await;
        }
    }
    server.stop();
}

/// An empty server has an answer, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_streams_one_message_with_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    for address in [&server.api, &server.grpc] {
        let mut client = StreamingQuerierClient::new(channel(address).await);
        let mut stream = client.search(SearchRequest::default()).await.unwrap().into_inner();
        let message = stream.message().await.unwrap().expect("at least one message");
        assert!(message.traces.is_empty() && message.metrics.is_some(), "{message:?}");
    }
    server.stop();
}
