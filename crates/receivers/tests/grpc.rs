//! OTLP over gRPC, on the same port as HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Running, start};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};
use trackway_common::ErrorKind;
use trackway_distributor::{PushError, PushResponse};
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_proto::rpc;
use trackway_proto::trace::{ResourceSpans, ScopeSpans, Span};
use trackway_receivers::OtlpConfig;

async fn client(running: &Running) -> TraceServiceClient<Channel> {
    TraceServiceClient::connect(format!("http://{}", running.address)).await.unwrap()
}

fn batch(name: &str) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![7; 16].into(),
        span_id: vec![8; 8].into(),
        name: name.into(),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
}

#[tokio::test]
async fn batches_arrive_as_they_were_sent() {
    let running = start(OtlpConfig::default()).await;
    let client = client(&running).await;
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = match encoding {
            None => client.clone(),
            Some(encoding) => client.clone().send_compressed(encoding),
        };
        let answer = client.export(batch("a")).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, Some(Default::default()));
        let pushed = running.last();
        assert_eq!(pushed.body, batch("a").encode_to_vec());
        assert_eq!(pushed.protocol, "OTLP gRPC");
        assert!(pushed.sender.unwrap().starts_with("tonic/"));
    }
    // The same port speaks HTTP.
    let json = [("content-type", "application/json")];
    assert_eq!(running.http("POST", "/v1/traces", &json, b"{}").await.status, 200);
    let mut client = client.clone();
    client.export(ExportTraceServiceRequest::default()).await.unwrap();
    assert!(running.last().body.is_empty());
}

#[tokio::test]
async fn errors_say_when_to_come_back() {
    let running = start(OtlpConfig::default()).await;
    let mut client = client(&running).await;
    running.answers(|_| {
        Err(PushError {
            retry_after: Some(Duration::from_millis(2500)),
            ..PushError::new(ErrorKind::Exhausted, "slow")
        })
    });
    let status = client.export(batch("a")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow"));
    let details = rpc::Status::decode(status.details()).unwrap();
    assert_eq!((details.code, details.message.as_str()), (8, "slow"));
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let info = rpc::RetryInfo::decode(details.details[0].value.clone()).unwrap();
    assert_eq!(info.retry_delay, Some(rpc::Duration { seconds: 2, nanos: 500_000_000 }));
    for (kind, code) in [
        (ErrorKind::Invalid, Code::InvalidArgument),
        (ErrorKind::TooLarge, Code::ResourceExhausted),
        (ErrorKind::Unavailable, Code::Unavailable),
        (ErrorKind::Internal, Code::Internal),
    ] {
        running.answers(move |_| Err(PushError::new(kind, "why")));
        let status = client.export(batch("a")).await.unwrap_err();
        assert_eq!((status.code(), status.details()), (code, &b""[..]), "{kind:?}");
    }
    running.answers(|_| Ok(PushResponse { accepted: 0, refused: vec![(0, "bad".into())] }));
    let partial = client.export(batch("a")).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (1, "1 spans refused: span 0: bad"));
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let running = start(OtlpConfig { max_recv_bytes: 10_000, ..OtlpConfig::default() }).await;
    let client = client(&running).await;
    let plain = client.clone();
    let packed = client.send_compressed(CompressionEncoding::Zstd);
    for mut client in [plain, packed] {
        let status = client.export(batch(&"a".repeat(20_000))).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.details().is_empty());
    }
    assert!(running.push.pushed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn tenants_are_named_in_the_metadata() {
    let running = start(OtlpConfig { multitenancy: true, ..OtlpConfig::default() }).await;
    let mut client = client(&running).await;
    let named = |name: &'static str| {
        let mut request = Request::new(batch("a"));
        request.metadata_mut().insert("x-scope-orgid", name.parse().unwrap());
        request
    };
    let missing = client.export(batch("a")).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::Unavailable, "no org id"));
    assert_eq!(client.export(named("a/b")).await.unwrap_err().code(), Code::InvalidArgument);
    client.export(named("team-a")).await.unwrap();
    assert_eq!(running.last().tenant.as_str(), "team-a");
}
