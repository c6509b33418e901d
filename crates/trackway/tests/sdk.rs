//! A real OpenTelemetry SDK: a FastAPI application in Python exports over gRPC and HTTP, and what it sent is found by
//! service, namespace, route and status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Server, python, skipped};

const PACKAGES: [&str; 6] = [
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-fastapi",
    "fastapi",
    "httpx",
];

/// The ids of the traces that a query finds.
fn found(server: &Server, query: &str) -> BTreeSet<String> {
    let id = |trace: &Value| format!("{:0>32}", trace["traceID"].as_str().unwrap());
    server.search(query).iter().map(id).collect()
}

/// What the application says that it served with this status, or with any.
fn served(said: &Value, status: Option<u64>) -> BTreeSet<String> {
    let all = said.as_array().unwrap().iter();
    let wanted = all.filter(|one| status.is_none_or(|status| one["status"].as_u64() == Some(status)));
    wanted.map(|one| one["trace"].as_str().unwrap().to_owned()).collect()
}

fn exported(name: &str, protocol: &str) {
    let interpreter = match python::with("sdk", &PACKAGES) {
        Ok(interpreter) => interpreter,
        Err(why) => return skipped(&format!("sdk::{name}"), &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "query_frontend: {search: {query_backend_after: 0s}}");
    let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
    let service = format!("fastapi-{protocol}");
    let said = python::script(&interpreter, "fastapi_app.py", &[protocol, endpoint, &service]);
    let said: Value = serde_json::from_str(said.trim().lines().last().unwrap()).unwrap();
    assert_eq!(said.as_array().map(Vec::len), Some(4));

    for flushed in [false, true] {
        if flushed {
            server.flush();
        }
        let (all, fine, broken) = (served(&said, None), served(&said, Some(200)), served(&said, Some(500)));
        for (query, wanted) in [
            (format!("{{ resource.service.name = \"{service}\" }}"), &all),
            ("{ resource.service.namespace = \"shop\" }".to_owned(), &all),
            ("{ resource.k8s.namespace.name = \"prod\" }".to_owned(), &all),
            ("{ span.http.route = \"/orders/{order}\" }".to_owned(), &fine),
            ("{ span.http.route = \"/broken\" && kind = server }".to_owned(), &broken),
            ("{ name = \"GET /orders/{order}\" && kind = server }".to_owned(), &fine),
            ("{ status = error }".to_owned(), &broken),
            ("{ span.http.status_code = 500 || span.http.response.status_code = 500 }".to_owned(), &broken),
            ("{ name = \"load order\" && span.order.total = 12.5 }".to_owned(), &fine),
            ("{ event.cache.key =~ \"order-.\" }".to_owned(), &fine),
            ("{ event:name = \"exception\" && event.exception.type = \"ValueError\" }".to_owned(), &broken),
            ("{ instrumentation:name = \"shop\" && instrumentation:version = \"1.2.3\" }".to_owned(), &all),
            ("{ resource.service.name = \"nobody\" }".to_owned(), &BTreeSet::new()),
        ] {
            assert_eq!(&found(&server, &query), wanted, "{query}, flushed: {flushed}");
        }
    }
    server.stop();
}

#[test]
fn spans_exported_over_grpc_are_found() {
    exported("spans_exported_over_grpc_are_found", "grpc");
}

#[test]
fn spans_exported_over_http_are_found() {
    exported("spans_exported_over_http_are_found", "http");
}
