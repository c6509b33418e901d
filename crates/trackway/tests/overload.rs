//! More spans than the process can take, and questions all the while: memory stays within the budget, whoever is refused
//! is told so and when to come back, and everything that was acknowledged is found.
//!
//! `TRACKWAY_OVERLOAD_SECONDS` says for how long; a minute when it is not set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // a test measures real time

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Server, memory};
use trackway_golden::http;
use trackway_loadgen::Workload;

/// Senders at once, each of which sends the next request as soon as it has the answer to the last one.
const SENDERS: u64 = 12;
/// Traces that a sender makes at a time.
const TRACES: u64 = 400;
/// Within which what was sent can be counted: merges of it all go before questions, and the machine may be busy.
const AFTERWARDS: Duration = Duration::from_secs(300);
/// In MiB.
const BUDGET: u64 = 256;
/// What the process takes besides: its code, stacks, connections, and what the allocator keeps.
const BESIDES: u64 = 160;
const START: u64 = 1_790_000_000_000_000_000;

/// Questions of all kinds, large ones among them.
const QUESTIONS: [&str; 6] = [
    "/api/search?q=%7B%20status%20%3D%20error%20%7D&limit=20",
    "/api/search?q=%7B%20span.app.order.id%20%3D%20%22nowhere%22%20%7D",
    "/api/metrics/query_range?q=%7B%20%7D%20%7C%20rate()%20by%20(resource.service.name)&start=1790000000&end=1790003600&step=60",
    "/api/metrics/query_range?q=%7B%20%7D%20%7C%20compare(%7B%20status%20%3D%20error%20%7D)&start=1790000000&end=1790003600&step=600",
    "/api/v2/search/tags?start=1790000000&end=1790003600",
    "/api/search?q=%7B%20%7D%20%3E%3E%20%7B%20status%20%3D%20error%20%7D&limit=200",
];

#[derive(Default)]
struct Sent {
    spans: AtomicU64,
    refusals: AtomicU64,
}

fn workload(sender: u64, round: u64) -> Workload {
    // Never the same traces twice.
    Workload {
        seed: sender * 1_000_000 + round,
        traces: TRACES,
        start_ns: START,
        span_of_time_ns: 3_000_000_000_000,
    }
}

/// Sends one request until it is acknowledged.
fn send(address: &str, body: &[u8], sent: &Sent) {
    let headers = [("content-type".to_owned(), "application/x-protobuf".to_owned())];
    loop {
        let answer = http::request(address, "POST", "/v1/traces", &headers, Some(body)).expect("an answer");
        if answer.status == 200 {
            return;
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 429, "{text}");
        assert!(text.contains("trackway.memory.limit"), "{text}");
        let wait = answer.header("retry-after").expect("when to come back").parse().expect("seconds");
        sent.refusals.fetch_add(1, Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_secs(wait));
    }
}

fn ask(server: &Server, stop: &AtomicBool) -> (u64, u64) {
    let (mut answered, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        for question in QUESTIONS {
            // A machine that is busy with everything else may be slow to answer; that is not what is tested.
            let Ok(answer) = http::request(&server.api, "GET", question, &[], None) else { continue };
            let text = || String::from_utf8_lossy(&answer.body).into_owned();
            match answer.status {
                200 => answered += 1,
                429 => {
                    assert!(text().contains("trackway.memory.limit"), "{}", text());
                    refused += 1;
                }
                status => panic!("{question}: {status}: {}", text()),
            }
        }
    }
    (answered, refused)
}

#[test]
fn nothing_dies_and_nothing_is_lost_when_there_is_too_much() {
    let seconds = std::env::var("TRACKWAY_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let long = Duration::from_secs(seconds.unwrap_or(60));
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), "trackway: {memory: {limit: 256MiB}}");
    // What is larger than the budget is left out, and the answer says so.
    server.expect_warning("part of the data cannot be read; the answer is partial error=the memory budget");
    let (sent, stop) = (Sent::default(), AtomicBool::new(false));
    let rounds: Vec<u64> = std::thread::scope(|scope| {
        let (began, address, sent) = (Instant::now(), server.otlp_http.clone(), &sent);
        let askers: Vec<_> = (0..2).map(|_| scope.spawn(|| ask(&server, &stop))).collect();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let address = address.clone();
                scope.spawn(move || {
                    let mut round = 0;
                    while began.elapsed() < long {
                        for request in workload(sender, round).requests() {
                            send(&address, &request.bytes, sent);
                            sent.spans.fetch_add(request.spans as u64, Ordering::Relaxed);
                        }
                        round += 1;
                    }
                    round
                })
            })
            .collect();
        let rounds = senders.into_iter().map(|sender| sender.join().expect("a sender")).collect();
        stop.store(true, Ordering::Relaxed);
        for asker in askers {
            let (answered, refused) = asker.join().expect("an asker");
            println!("{answered} questions answered, {refused} refused");
            assert!(answered > 0, "no question was answered");
        }
        rounds
    });
    let (spans, refusals) = (sent.spans.into_inner(), sent.refusals.into_inner());
    let peak = memory(&server, "VmHWM");
    println!("{spans} spans sent, {refusals} refusals, peak {peak} MiB");
    println!("{}", String::from_utf8_lossy(&server.get("/status/memory").body));
    assert!(peak <= BUDGET + BESIDES, "{peak} MiB");
    // All of it is found, in whatever it lies.
    let question = "/api/metrics/query?q=%7B%20%7D%20%7C%20count_over_time()&start=1789990000&end=1790010000";
    // Merges go on, and questions give way to them.
    let mut counted = serde_json::Value::Null;
    server.wait_for(AFTERWARDS, "an answer", |server| {
        let answer = server.get(question);
        counted = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert!(matches!(answer.status, 200 | 429), "{}", String::from_utf8_lossy(&answer.body));
        answer.status == 200
    });
    let total: f64 =
        counted["series"].as_array().expect("series").iter().filter_map(|one| one["value"].as_f64()).sum();
    assert!((total - spans as f64).abs() < 0.5, "{total} of {spans} spans are counted: {counted}");
    for (sender, rounds) in (0..).zip(rounds) {
        let last = workload(sender, rounds - 1);
        for index in [0, TRACES / 2, TRACES - 1] {
            let facts = last.facts(index);
            let id: String = facts.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            let found = server.json(&format!("/api/v2/traces/{id}"));
            let resources = found["trace"]["resourceSpans"].as_array().expect("resources");
            let scopes = resources.iter().filter_map(|of| of["scopeSpans"].as_array()).flatten();
            let found: usize = scopes.filter_map(|of| of["spans"].as_array()).map(Vec::len).sum();
            assert_eq!(found, facts.spans.len(), "trace {id}");
        }
    }
    server.expect_warning("spans cannot be moved on to blocks");
    server.expect_warning("trace ids cannot be indexed");
    server.stop();
}
