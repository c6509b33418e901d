//! One tenant never sees another's data: every endpoint that answers about data, asked as the one tenant, as the other, as
//! both, as nobody and as somebody who cannot be. And the same at the doors that spans come in by.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use prost::Message;
use support::Server;
use support::requests::{day, of_service, span};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use trackway_golden::http;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_proto::tempopb::querier_client::QuerierClient;
use trackway_proto::tempopb::streaming_querier_client::StreamingQuerierClient;
use trackway_proto::tempopb::{
    QueryInstantRequest, QueryRangeRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest,
    TraceByIdRequest,
};

/// The two tenants, and what stands in every answer about their data.
const TENANTS: [(&str, &str); 2] = [("team-a", "marked-by-a"), ("team-b", "marked-by-b")];
const TRACES: [u128; 2] =
    [0xaaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa, 0xbbbb_bbbb_bbbb_bbbb_bbbb_bbbb_bbbb_bbbb];
/// A trace that both have a span of.
const SHARED: u128 = 0xcccc_cccc_cccc_cccc_cccc_cccc_cccc_cccc;

fn spans(trace: u128, number: u64, mark: &str) -> Vec<u8> {
    let text = [("mark", mark.to_owned()), (mark, "x".to_owned())];
    of_service(mark, &[span(trace, &number.to_be_bytes(), b"", mark, &text)])
}

fn headers(tenant: Option<&str>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let tenant = tenant.map(|tenant| ("x-scope-orgid", tenant));
    let all = more.iter().copied().chain(tenant);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn push(server: &Server, tenant: Option<&str>, body: &[u8]) -> (u16, String) {
    let headers = headers(tenant, &[("content-type", "application/x-protobuf")]);
    let answer = http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(body)).unwrap();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn ask(server: &Server, tenant: Option<&str>, path: &str) -> (u16, String) {
    let answer = http::request(&server.api, "GET", path, &headers(tenant, &[]), None).unwrap();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn request<T>(tenant: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(tenant) = tenant {
        request.metadata_mut().insert("x-scope-orgid", MetadataValue::try_from(tenant).unwrap());
    }
    request
}

/// The HTTP endpoints, each with a question whose answer names the mark.
fn paths() -> Vec<String> {
    let (start, end) = day();
    let range = format!("start={start}&end={end}");
    let mut paths = vec![
        format!("/api/search?q=%7B%7D&{range}"),
        format!("/api/search?tags=&{range}"),
        format!("/api/search/tags?{range}"),
        format!("/api/v2/search/tags?{range}"),
        format!("/api/search/tag/mark/values?{range}"),
        format!("/api/v2/search/tag/span.mark/values?{range}"),
        format!("/api/v2/search/tag/resource.service.name/values?q=%7B%7D&{range}"),
        format!("/api/metrics/query_range?q=%7B%7D%7Crate()by(resource.service.name)&step=1h&{range}"),
        format!("/api/metrics/query?q=%7B%7D%7Ccount_over_time()by(resource.service.name)&{range}"),
    ];
    for at in ["/api/traces", "/api/v2/traces", "/api/trackway/v1/traces"] {
        paths.push(format!("{at}/{SHARED:032x}"));
    }
    paths
}

/// The methods of gRPC, in one text of what they answered.
async fn stream(server: &Server, tenant: Option<&str>, method: &str) -> Result<String, Status> {
    let mut client = StreamingQuerierClient::new(channel(&server.grpc).await);
    let (start, end) = day();
    let (first, last) = (start as u32, end as u32);
    let by_service = || "{} | count_over_time() by (resource.service.name)".to_owned();
    let (from, to) = (start * 1_000_000_000, end * 1_000_000_000);
    macro_rules! all {
        ($method:ident, $message:expr) => {{
            let mut stream = client.$method(request(tenant, $message)).await?.into_inner();
            let mut text = String::new();
            while let Some(message) = stream.message().await? {
                text += &format!("{message:?}");
            }
            Ok(text)
        }};
    }
    let tags = || SearchTagsRequest { start: first, end: last, ..SearchTagsRequest::default() };
    let values = |tag: &str| SearchTagValuesRequest {
        tag_name: tag.to_owned(),
        start: first,
        end: last,
        ..SearchTagValuesRequest::default()
    };
    match method {
        "Search" => all!(
            search,
            SearchRequest {
                query: "{}".into(),
                limit: 20,
                start: first,
                end: last,
                ..SearchRequest::default()
            }
        ),
        "SearchTags" => all!(search_tags, tags()),
        "SearchTagsV2" => all!(search_tags_v2, tags()),
        "SearchTagValues" => all!(search_tag_values, values("mark")),
        "SearchTagValuesV2" => all!(search_tag_values_v2, values("span.mark")),
        "MetricsQueryRange" => all!(
            metrics_query_range,
            QueryRangeRequest {
                query: by_service(),
                start: from,
                end: to,
                step: 3_600_000_000_000,
                ..QueryRangeRequest::default()
            }
        ),
        "MetricsQueryInstant" => {
            all!(metrics_query_instant, QueryInstantRequest { query: by_service(), start: from, end: to })
        }
        "FindTraceByID" => {
            let mut client = QuerierClient::new(channel(&server.grpc).await);
            let asked = TraceByIdRequest {
                trace_id: SHARED.to_be_bytes().to_vec().into(),
                ..TraceByIdRequest::default()
            };
            Ok(format!("{:?}", client.find_trace_by_id(request(tenant, asked)).await?.into_inner()))
        }
        other => panic!("{other}"),
    }
}

const METHODS: [&str; 8] = [
    "Search",
    "SearchTags",
    "SearchTagsV2",
    "SearchTagValues",
    "SearchTagValuesV2",
    "MetricsQueryRange",
    "MetricsQueryInstant",
    "FindTraceByID",
];

const MALFORMED: [(&str, &str); 3] = [
    ("a/b", "tenant ID 'a/b' contains unsupported character '/'"),
    ("..", "tenant ID is '.' or '..'"),
    ("a,b", "tenant ID 'a,b' contains unsupported character ','"),
];

/// Whose marks are in an answer.
fn seen(answer: &str) -> Vec<&'static str> {
    TENANTS.iter().filter(|(_, mark)| answer.contains(mark)).map(|(tenant, _)| *tenant).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_shows_a_tenant_its_own_data_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "multitenancy_enabled: true");
    for ((tenant, mark), trace) in TENANTS.iter().zip(TRACES) {
        for (trace, number) in [(trace, 1), (SHARED, trace as u64)] {
            let (status, said) = push(&server, Some(tenant), &spans(trace, number, mark));
            assert_eq!(status, 200, "{said}");
        }
    }
    let long = "x".repeat(151);
    // In memory, then in blocks.
    for stage in ["live", "stored"] {
        let asked = [
            ("team-a", &["team-a"][..]),
            ("team-b", &["team-b"]),
            ("team-b|team-a|team-b", &["team-a", "team-b"]),
        ];
        for (tenant, want) in asked.into_iter().chain([("team-c", &[][..])]) {
            for path in paths() {
                let (status, answer) = ask(&server, Some(tenant), &path);
                let missing = want.is_empty() && status == 404;
                assert!(status == 200 || missing, "{stage} {tenant} {path}: {status} {answer}");
                assert_eq!(seen(&answer), want, "{stage} {tenant} {path}: {answer}");
            }
            for method in METHODS {
                let answer = stream(&server, Some(tenant), method).await.unwrap();
                assert_eq!(seen(&answer), want, "{stage} {tenant} {method}: {answer}");
            }
        }
        for (asker, owner) in [(0, 1), (1, 0)] {
            let path = format!("/api/traces/{:032x}", TRACES[owner]);
            assert_eq!(ask(&server, Some(TENANTS[asker].0), &path).0, 404, "{path}");
            assert_eq!(ask(&server, Some(TENANTS[owner].0), &path).0, 200, "{path}");
            assert_eq!(ask(&server, Some("team-a|team-b"), &path).0, 200, "{path}");
        }
        server.flush();
    }
    // Nobody, and names that nobody can have.
    for path in paths().into_iter().chain(["/api/trackway/v1/redactions".to_owned()]) {
        let (status, said) = ask(&server, None, &path);
        assert_eq!((status, said.trim()), (401, "no org id"), "{path}");
        for (tenant, text) in
            MALFORMED.into_iter().chain([(long.as_str(), "tenant ID is too long: max 150 characters")])
        {
            let (status, said) = ask(&server, Some(tenant), &path);
            assert_eq!((status, said.trim()), (400, text), "{path}");
        }
    }
    for method in METHODS {
        let missing = stream(&server, None, method).await.unwrap_err();
        assert_eq!((missing.code(), missing.message()), (Code::Unauthenticated, "no org id"), "{method}");
        for (tenant, text) in MALFORMED {
            let refused = stream(&server, Some(tenant), method).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text), "{method}");
        }
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_must_name_one_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        "multitenancy_enabled: true\nquery_frontend: {multi_tenant_queries_enabled: false}",
    );
    let body = spans(TRACES[0], 1, "x");
    let mut client = TraceServiceClient::new(channel(&server.otlp_grpc).await);
    let several = ("a|b", "tenant ID 'a|b' contains unsupported character '|'");
    for (tenant, text) in MALFORMED.into_iter().chain([several]) {
        let (status, said) = push(&server, Some(tenant), &body);
        assert!(status == 400 && said.contains(text), "{tenant}: {status} {said}");
        let message = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        let refused = client.export(request(Some(tenant), message)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text));
    }
    let (status, said) = push(&server, None, &body);
    assert!(status == 503 && said.contains("no org id"), "{status} {said}");
    let message = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let refused = client.export(request(None, message)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "no org id"));
    // Several tenants are not asked together where that is switched off; one named twice is one.
    let refused = ask(&server, Some("a|b"), "/api/search/tags");
    assert_eq!((refused.0, refused.1.trim()), (400, "multi-tenant query unsupported"));
    assert_eq!(ask(&server, Some("a|a"), "/api/search/tags").0, 200);
    server.stop();
}

#[test]
fn without_tenants_the_name_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    assert_eq!(push(&server, Some("a/b"), &spans(TRACES[0], 1, "marked-by-a")).0, 200);
    let path = format!("/api/traces/{:032x}", TRACES[0]);
    for tenant in [None, Some("b"), Some("c/d")] {
        assert_eq!(ask(&server, tenant, &path).0, 200);
    }
    server.stop();
}
