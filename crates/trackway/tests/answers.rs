//! What was counted in a block is not counted again, and changes no answer: whatever was asked before, of whatever range, a
//! question has the answer that a server gives which was just started.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::requests::{now, request};
use support::{Ports, Server};

const STEP: u64 = 10;

const QUERIES: [&str; 9] = [
    "{ } | rate() by (resource.service.name)",
    "{ name = `own-3` } | count_over_time()",
    "{ } | quantile_over_time(duration, .5, .9) by (name)",
    "{ } | histogram_over_time(duration)",
    "{ } | max_over_time(duration) by (span.request)",
    "{ } | avg_over_time(duration) by (trace:rootName)",
    "{ } | compare({ name = `own-1` })",
    "{ rootName = `own-0` } && { name = `own-2` } | rate() by (name)",
    "({ name = `own-1` } | rate()) / ({ } | rate())",
];

fn start(folder: &std::path::Path, ports: Ports) -> Server {
    let more = "query_frontend: {query_end_cutoff: 0s, search: {query_backend_after: 0s}, metrics: {query_backend_after: 0s}}\n\
                compactor: {disabled: true}";
    Server::start_on(folder, ports, more)
}

/// The series, and the bytes that were read for them.
fn ask(server: &Server, query: &str, (start, end): (u64, u64)) -> (Value, u64) {
    let query = trackway_loadgen::percent_encode(query);
    let path = format!("/api/metrics/query_range?q={query}&start={start}&end={end}&step={STEP}&exemplars=7");
    let mut answer = server.json(&path);
    let read = answer["metrics"]["inspectedBytes"].as_str().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    assert_eq!(answer["metrics"]["completedJobs"], answer["metrics"]["totalJobs"], "{query}: {answer}");
    (answer["series"].take(), read)
}

#[test]
fn answers_do_not_depend_on_what_was_asked_before() {
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
    let server = start(folder.path(), ports);
    for block in 0..4 {
        for number in block * 30..block * 30 + 30 {
            assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
        }
        server.flush();
    }
    let now = now() / 1_000_000_000;
    // All of it; the same moved by steps; one that cuts blocks in two; one that has no whole step before it.
    let all = (now - 2 * 3600, now + 60);
    let ranges =
        [all, (all.0 + 5 * STEP, all.1 + 5 * STEP), (all.0, now - 1800), (all.0 - 7, all.1 + 3), all];
    let mut first = Vec::new();
    for query in QUERIES {
        for range in ranges {
            first.push(ask(&server, query, range).0);
        }
        let (_, read) = ask(&server, query, all);
        // Traces that lie in several blocks are joined each time where whole traces are looked at.
        assert!(read == 0 || query.contains("&&"), "{query} is counted again: {read} bytes");
    }
    server.stop();
    let server = start(folder.path(), ports);
    for (at, query) in QUERIES.into_iter().enumerate() {
        // The other way round.
        for (of_range, range) in ranges.into_iter().enumerate().rev() {
            let (series, _) = ask(&server, query, range);
            assert_eq!(series, first[at * ranges.len() + of_range], "{query} of {range:?}");
        }
    }
    // What comes in later counts, and what is known of the blocks stays known.
    let (before, _) = ask(&server, QUERIES[0], all);
    for number in 120..130 {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
    let (after, _) = ask(&server, QUERIES[0], all);
    assert_ne!(before, after);
    server.stop();
}
