//! One trace of very many spans, in one stream with good data and other poison: it is stored in parts, found, given back
//! piece by piece, and keeps nothing else from being taken in, merged or replayed.
//!
//! `TRACKWAY_HUGE_SPANS` says how many spans; 100,000 when it is not set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // how large it is, the environment says

mod support;

use std::path::Path;

use support::requests::{now, of_service, own_spans, own_trace, request, span_at};
use support::{Ports, Server, memory};
use trackway_golden::http;

const TRACE: u128 = 0x7777_0000_0000_0000_0000_0000_0000_0007;
const REQUEST_SPANS: u64 = 2_000;
const LIMIT: usize = 500_000;
/// What the process takes besides: see `overload.rs`.
const BESIDES_MIB: u64 = 128;
/// What reading a trace piece by piece takes, however large it is.
const READING_MIB: u64 = 64;

/// More than a million spans in memory at once need more.
fn budget_mib() -> u64 {
    if spans() < 1_000_000 { 256 } else { 512 }
}

fn spans() -> u64 {
    std::env::var("TRACKWAY_HUGE_SPANS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// A request with some of the spans of the trace.
fn part(first: u64, start: u64) -> Vec<u8> {
    let span = |number: u64| {
        let parent = if number == 0 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() };
        let attributes = [("step", number.to_string()), ("text", "x".repeat(40))];
        span_at(start + number, TRACE, &(number + 1).to_be_bytes(), &parent, "step", &attributes)
    };
    of_service("huge", &(first..first + REQUEST_SPANS).map(span).collect::<Vec<_>>())
}

/// Other things that nobody expects, each a trace of its own by its number.
fn poison() -> Vec<(u128, Vec<u8>)> {
    let one = |number: u128, start: u64, attributes: &[(&str, String)]| {
        let id = 0x9999_u128 << 64 | number;
        (id, of_service("odd", &[span_at(start, id, &9_u64.to_be_bytes(), b"", "odd", attributes)]))
    };
    let names: Vec<String> = (0..100_000).map(|name| format!("name.{name}")).collect();
    let many: Vec<(&str, String)> = names.iter().map(|name| (name.as_str(), String::from("x"))).collect();
    vec![
        one(1, 1_000_000_000, &[]),             // 1970
        one(2, 4_102_444_800_000_000_000, &[]), // 2100
        one(3, now(), &[("large", "y".repeat(20_000_000))]),
        one(4, now(), &many),
    ]
}

fn start(folder: &Path, ports: Ports) -> Server {
    let tenants = folder.join("tenants.yaml");
    let tenants = tenants.display();
    let more = format!(
        "query_frontend: {{query_end_cutoff: 0s, search: {{query_backend_after: 0s}}}}\n\
         overrides: {{per_tenant_override_config: '{tenants}', per_tenant_override_period: 100ms}}\n\
         compactor: {{compaction: {{block_retention: 0s, compacted_block_retention: 0s, compaction_cycle: 100ms, \
         compaction_window: 876000h}}}}\n\
         backend_scheduler: {{provider: {{compaction: {{max_input_blocks: 2}}}}}}\n\
         trackway: {{compaction: {{start_after: 0s}}, memory: {{limit: {}MiB}}, block: {{max_spans: 30000}}}}",
        budget_mib()
    );
    Server::start_on(folder, ports, &more)
}

/// What a trace may have, of spans that come in and of those that are given out.
fn limit(folder: &Path, bytes: usize) {
    let limits = format!(
        "overrides: {{'*': {{ingestion_rate_limit_bytes: 100000000000, ingestion_burst_size_bytes: 100000000000, \
         max_bytes_per_trace: {bytes}}}}}"
    );
    std::fs::write(folder.join("tenants.yaml"), limits).expect("a writable folder");
}

/// All spans of a trace, as they are given out piece by piece, whatever its size.
fn whole(server: &Server, id: u128) -> Vec<u64> {
    let path = format!("/api/trackway/v1/traces/{id:032x}");
    let headers = [("accept".to_owned(), "application/protobuf".to_owned())];
    let answer = http::request(&server.api, "GET", &path, &headers, None).expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let mut ids = trackway_loadgen::trace_span_ids(&answer.body).expect("a trace");
    let mut ids = ids.remove(&id.to_be_bytes()).expect("its spans");
    ids.sort_unstable();
    ids
}

fn check(server: &Server, spans: u64) {
    assert_eq!(whole(server, TRACE), (1..=spans).collect::<Vec<u64>>());
    // The limit answers as Tempo does, and says where the rest is.
    let id = format!("{TRACE:032x}");
    let v1 = server.get(&format!("/api/traces/{id}"));
    let text = String::from_utf8_lossy(&v1.body).into_owned();
    assert_eq!(
        (v1.status, text.trim()),
        (422, format!("trace exceeds max size (max bytes: {LIMIT})").as_str())
    );
    let rest = format!("/api/trackway/v1/traces/{id}");
    assert_eq!(v1.header("x-trackway-whole-trace"), Some(rest.as_str()));
    let v2 = server.get(&format!("/api/v2/traces/{id}"));
    assert_eq!((v2.status, v2.header("x-trackway-whole-trace")), (200, Some(rest.as_str())));
    let v2: serde_json::Value = serde_json::from_slice(&v2.body).expect("JSON");
    assert_eq!(v2["status"], "PARTIAL", "{v2}");
    let message = format!("Trace exceeds maximum size of {LIMIT} bytes, a partial trace is returned");
    assert_eq!(v2["message"], message.as_str());
    assert!(
        v2["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );
    // It is found by what it has, with its root and its extent.
    let step = format!("%7B%20span.step%20%3D%20%22{}%22%20%7D", spans - 1);
    let found = server.json(&format!("/api/search?q={step}"));
    let traces = found["traces"].as_array().expect("traces");
    assert_eq!(traces.len(), 1, "{found}");
    assert_eq!(traces[0]["traceID"], id.trim_start_matches('0'));
    assert_eq!(
        (&traces[0]["rootServiceName"], &traces[0]["rootTraceName"]),
        (&"huge".into(), &"step".into())
    );
    let count = server.json("/api/metrics/query?q=%7B%20resource.service.name%20%3D%20%22huge%22%20%7D%20%7C%20count_over_time()&since=1h");
    assert_eq!(count["series"][0]["value"].as_f64(), Some(spans as f64), "{count}");
    for (id, _) in poison() {
        assert_eq!(whole(server, id), [9], "{id:x}");
    }
    for number in 0..20 {
        assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)), "request {number}");
    }
}

#[test]
fn a_trace_larger_than_memory_is_stored_in_parts_and_given_back_in_pieces() {
    let (folder, ports, spans) = (tempfile::tempdir().expect("a folder"), Ports::free(), spans());
    limit(folder.path(), 0);
    let mut server = start(folder.path(), ports);
    let began = now() - 60_000_000_000;
    let mut good = 0;
    for first in (0..spans).step_by(REQUEST_SPANS as usize) {
        let answer = server.push("application/x-protobuf", &part(first, began));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        if first == spans / 2 {
            for (id, request) in poison() {
                let answer = server.push("application/x-protobuf", &request);
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert_eq!(answer.status, 200, "{id:x}: {text}");
            }
        }
        if good < 20 {
            assert_eq!(server.push("application/x-protobuf", &request(good)).status, 200);
            good += 1;
        }
    }
    limit(folder.path(), LIMIT);
    let path = format!("/api/traces/{TRACE:032x}");
    server.wait("the limit", |server| server.get(&path).status == 422);
    check(&server, spans);
    let has_merged = |server: &Server| server.lines().iter().any(|line| line.contains("merged blocks"));
    // What was merged before may leave nothing to merge later.
    let had_merged = has_merged(&server);
    // All of it from the log once more.
    server.kill();
    let mut server = start(folder.path(), ports);
    check(&server, spans);
    let peak = memory(&server, "VmHWM");
    println!("{peak} MiB after replaying it and asking for it");
    assert!(peak <= budget_mib() + BESIDES_MIB, "{peak} MiB");
    server.flush();
    server.wait("merged blocks", |server| had_merged || has_merged(server));
    check(&server, spans);
    // Line by line it is JSON.
    let lines = server.get(&format!("/api/trackway/v1/traces/{TRACE:032x}"));
    let lines = String::from_utf8(lines.body).expect("text");
    assert!(lines.lines().count() > 1, "{} bytes in a line", lines.len());
    for line in lines.lines() {
        let piece: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(piece["resourceSpans"].as_array().is_some_and(|all| !all.is_empty()));
    }
    assert_eq!(server.get("/api/trackway/v1/traces/12").status, 404);
    server.kill();
    let server = start(folder.path(), ports);
    let idle = memory(&server, "VmRSS");
    assert_eq!(whole(&server, TRACE), (1..=spans).collect::<Vec<u64>>());
    let peak = memory(&server, "VmHWM");
    println!("{idle} MiB idle, {peak} MiB while it is read");
    assert!(peak <= idle + READING_MIB, "{peak} MiB, {idle} before");
    check(&server, spans);
    let page = String::from_utf8(server.get("/status/memory").body).expect("text");
    println!("{page}");
    server.stop();
}
