//! What many cost: ten thousand senders that keep their connections, and a thousand tenants with a span a second each.
//!
//! `TRACKWAY_SCALE_SECONDS` says for how long the tenants send; a few seconds when it is not set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // a test measures real time

mod support;

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use support::requests::{of_service, span};
use support::{Server, cpu, memory};
use tonic::transport::Channel;
use trackway_golden::http::Connection;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;

/// Connections of each kind: HTTP/2 for gRPC, and HTTP/1.1.
const CONNECTIONS: u64 = 5_000;
/// Connections that are opened at a time.
const AT_ONCE: usize = 64;
const TENANTS: u64 = 1_000;
/// Tenants whose spans are written to blocks in a short run.
const TENANTS_FLUSHED: u64 = 50;
/// Spans that a tenant has in a block: one a second, and a block every half an hour (`max_block_duration`).
const SPANS_OF_A_BLOCK: f64 = 1800.0;
/// Threads that send, each for its part of the tenants.
const SENDERS: u64 = 4;
/// What is asked of both, in MiB.
const CONNECTIONS_MEMORY: u64 = 300;
const TENANTS_MEMORY: u64 = 200;
/// CPU of a span among a thousand tenants, to that of one tenant.
const TENANTS_CPU: f64 = 1.5;

fn one_span(trace: u64) -> Vec<u8> {
    let id = (trace + 1).to_be_bytes();
    of_service(
        "shop",
        &[span(u128::from(trace) << 64 | 1, &id, b"", "GET /cart", &[("http.route", "/cart".to_owned())])],
    )
}

fn headers(tenant: &str) -> Vec<(String, String)> {
    [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A gRPC sender that has sent one span.
async fn grpc(server: &Server, number: u64) -> Result<TraceServiceClient<Channel>, String> {
    let channel = Channel::from_shared(format!("http://{}", server.otlp_grpc)).unwrap();
    let channel = channel.connect().await.map_err(|error| format!("{number}: {error:?}"))?;
    let mut client = TraceServiceClient::new(channel);
    let message = ExportTraceServiceRequest::decode(&*one_span(number)).unwrap();
    client.export(message).await.map_err(|status| format!("{number}: {status}"))?;
    Ok(client)
}

/// The same over HTTP/1.1.
fn http(server: &Server, number: u64) -> Connection {
    let mut connection = Connection::open(&server.otlp_http).unwrap();
    let answer = connection.request("POST", "/v1/traces", &headers("single-tenant"), Some(&one_span(number)));
    assert_eq!(answer.unwrap().status, 200);
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let before = memory(&server, "VmRSS");
    let clients: Vec<_> = stream::iter(0..CONNECTIONS)
        .map(|number| grpc(&server, number))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .unwrap();
    let of_grpc = memory(&server, "VmRSS");
    let connections: Vec<_> = (CONNECTIONS..2 * CONNECTIONS).map(|number| http(&server, number)).collect();
    let after = memory(&server, "VmRSS");
    println!(
        "{before} MiB without connections, {of_grpc} with {CONNECTIONS} of gRPC, {after} with as many of HTTP/1.1"
    );
    assert!(after <= CONNECTIONS_MEMORY, "{after} MiB with {} connections", 2 * CONNECTIONS);
    // They are all still there, and whoever comes is served as well.
    for (place, client) in clients.iter().enumerate().step_by(500) {
        let message = ExportTraceServiceRequest::decode(&*one_span(100_000 + place as u64)).unwrap();
        client.clone().export(message).await.unwrap();
    }
    assert_eq!(server.get("/ready").status, 200);
    assert_eq!(server.trace(u128::from(2 * CONNECTIONS - 1) << 64 | 1), Some(vec![2 * CONNECTIONS]));
    drop((clients, connections));
    server.stop();
}

/// Sends for as many rounds as there are seconds one span of each of a thousand, who are so many tenants. Returns the
/// CPU seconds that the server took for a span, with its share of a block, and its peak memory.
fn tenants_send(tenants: u64, rounds: u64, is_paced: bool) -> (f64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "multitenancy_enabled: true");
    let (before, began) = (cpu(&server), Instant::now());
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let server = &server;
            scope.spawn(move || {
                let mut connection = Connection::open(&server.otlp_http).unwrap();
                for number in (0..rounds * TENANTS).filter(|number| number % SENDERS == sender) {
                    let due = Duration::from_secs_f64(number as f64 / TENANTS as f64);
                    if is_paced {
                        std::thread::sleep(due.saturating_sub(began.elapsed()));
                    }
                    let headers = headers(&format!("tenant-{}", number % tenants));
                    let answer = connection.request("POST", "/v1/traces", &headers, Some(&one_span(number)));
                    assert_eq!(answer.unwrap().status, 200);
                }
            });
        }
    });
    let sent = cpu(&server) - before;
    let live = memory(&server, "VmHWM");
    // A block takes a while in a debug build.
    let flushed = if is_paced { TENANTS } else { TENANTS_FLUSHED };
    for tenant in 0..tenants.min(flushed) {
        let path = format!("/flush?tenant=tenant-{tenant}");
        assert_eq!(server.get(&path).status, 204);
    }
    let (all, peak) = (cpu(&server) - before, memory(&server, "VmHWM"));
    let (spans, blocks) = ((rounds * TENANTS) as f64, tenants.min(flushed) as f64);
    let (span, block) = (sent.as_secs_f64() / spans, (all - sent).as_secs_f64() / blocks);
    // Many tenants have many blocks, one tenant has one of all of their spans.
    let whole = span + block / (SPANS_OF_A_BLOCK * (TENANTS / tenants) as f64);
    println!(
        "{tenants} tenants, {spans} spans: {:.1} us of CPU a span until it is taken in, {:.1} ms a block, {:.1} us in all; \
         {live} MiB at most, {peak} with the blocks",
        span * 1e6,
        block * 1e3,
        whole * 1e6,
    );
    let shown = |tenant: u64| {
        let path = "/api/search?q=%7B%7D&limit=3";
        let answer = trackway_golden::http::request(
            &server.api,
            "GET",
            path,
            &headers(&format!("tenant-{tenant}")),
            None,
        );
        let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        answer["traces"].as_array().unwrap().len()
    };
    assert!(shown(0) > 0 && shown(tenants - 1) > 0);
    server.stop();
    (whole, peak)
}

#[test]
fn a_thousand_tenants() {
    let seconds = std::env::var("TRACKWAY_SCALE_SECONDS").ok().and_then(|text| text.parse().ok());
    let rounds = seconds.unwrap_or(5);
    let (one, _) = tenants_send(1, rounds, seconds.is_some());
    let (many, peak) = tenants_send(TENANTS, rounds, seconds.is_some());
    println!("a span of many tenants costs {:.2} times one of one", many / one);
    assert!(peak <= TENANTS_MEMORY, "{peak} MiB with {TENANTS} tenants");
    // In a few seconds the start of the process is much of it.
    if seconds.is_some() {
        assert!(many <= one * TENANTS_CPU, "{many} s a span of many tenants, {one} of one");
    }
}
