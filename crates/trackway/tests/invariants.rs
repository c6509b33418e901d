//! Whatever happens in between: what was sent, what a search matches, what a trace by id shows and what a metric counts are
//! the same spans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;

use serde_json::Value;
use support::Server;
use support::dice::Dice;
use support::requests::{
    day, of_service, own_spans, own_trace, request, shared_span, shared_trace, span, span_at,
};

const ROUNDS: usize = 24;

/// Adds what a request holds.
fn sent(all: &mut HashMap<u128, Vec<u64>>, number: u64) {
    all.entry(own_trace(number)).or_default().extend(own_spans(number));
    all.entry(shared_trace(number)).or_default().push(shared_span(number));
    all.values_mut().for_each(|spans| spans.sort_unstable());
}

fn instant(server: &Server, query: &str) -> Vec<Value> {
    let (start, end) = day();
    let query = trackway_loadgen::percent_encode(query);
    // The longest range there may be.
    let answer = server.json(&format!("/api/metrics/query?start={start}&end={end}&q={query}"));
    answer["series"].as_array().unwrap().clone()
}

fn sum(series: &[Value]) -> u64 {
    series.iter().map(|of| of["value"].as_f64().unwrap_or(0.0)).sum::<f64>() as u64
}

fn check(server: &Server, all: &HashMap<u128, Vec<u64>>, dice: &mut Dice, when: &str) {
    let count: u64 = all.values().map(|spans| spans.len() as u64).sum();
    assert_eq!(server.all_traces(), *all, "{when}");
    assert_eq!(sum(&instant(server, "{ } | count_over_time()")), count, "{when}");
    let by_service = instant(server, "{ } | count_over_time() by (resource.service.name)");
    assert_eq!(sum(&by_service), count, "{when}: {by_service:?}");
    // Looks at whole traces, so that those in several places are joined.
    let roots = instant(server, "{ nestedSetParent < 0 } | count_over_time()");
    let children = instant(server, "{ nestedSetParent < 0 } > { } | count_over_time()");
    assert_eq!(sum(&roots) + sum(&children), count, "{when}: {roots:?} {children:?}");
    for _ in 0..5 {
        let (trace, spans) = all.iter().nth(dice.below(all.len() as u64) as usize).unwrap();
        assert_eq!(server.trace(*trace).as_ref(), Some(spans), "{when}: {trace:032x}");
    }
}

#[test]
fn metrics_search_and_trace_by_id_agree_with_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::printed("TRACKWAY_INVARIANTS_SEED");
    let mut server = Server::start(folder.path(), "");
    let (mut all, mut next) = (HashMap::new(), 0);
    for round in 0..ROUNDS {
        let when = match dice.below(5) {
            0 => {
                server.flush();
                format!("round {round}, after a flush")
            }
            1 => {
                server.stop();
                server = Server::start(folder.path(), "");
                format!("round {round}, after a restart")
            }
            2 => {
                server.kill();
                server = Server::start(folder.path(), "");
                format!("round {round}, after a kill")
            }
            _ => {
                for _ in 0..1 + dice.below(30) {
                    let bytes = request(next);
                    for _ in 0..1 + dice.below(2) {
                        // A sender that repeats itself adds nothing.
                        assert_eq!(server.push("application/x-protobuf", &bytes).status, 200);
                    }
                    sent(&mut all, next);
                    next += 1;
                }
                format!("round {round}, after a push")
            }
        };
        if !all.is_empty() {
            check(&server, &all, &mut dice, &when);
        }
    }
    server.stop();
}

/// The rest of a trace comes after its beginning was written to a block, and after somebody asked.
#[test]
fn a_trace_that_goes_on_after_a_flush_is_one_trace() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let (trace, other, root) = (own_trace(1), own_trace(2), 1_u64.to_be_bytes());
    let push = |span: Vec<u8>| {
        let body = of_service("late", &[span]);
        assert_eq!(server.push("application/x-protobuf", &body).status, 200);
    };
    push(span(trace, &root, b"", "root", &[]));
    server.flush();
    push(span(other, &root, b"", "root", &[]));
    assert_eq!(server.search("{ } | count() > 1").len(), 0);
    push(span(trace, &2_u64.to_be_bytes(), &root, "child", &[]));
    for when in ["before the flush", "after it"] {
        assert_eq!(server.search("{ } | count() > 1").len(), 1, "{when}");
        assert_eq!(server.search("{ name = \"root\" } > { name = \"child\" }").len(), 1, "{when}");
        assert_eq!(server.search("count() > 1").len(), 1, "{when}");
        assert_eq!(sum(&instant(&server, "{ } | count() > 1 | count_over_time()")), 2, "{when}");
        assert_eq!(sum(&instant(&server, "by(resource.service.name) | count_over_time()")), 3, "{when}");
        server.flush();
    }
    server.stop();
}

/// Senders forget the time of a span; the trace is found all the same.
#[test]
fn a_trace_that_starts_at_0_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let span = span_at(0, own_trace(1), &1_u64.to_be_bytes(), b"", "timeless", &[]);
    let body = of_service("timeless", &[span]);
    assert_eq!(server.push("application/x-protobuf", &body).status, 200);
    for _ in 0..2 {
        let found = server.json("/api/search?q=%7B%7D&limit=10");
        assert_eq!(found["traces"].as_array().map(Vec::len), Some(1), "{found}");
        server.flush();
    }
    server.stop();
}

/// A span that is sent in two requests with other bytes is two spans while they wait together and in the block that they
/// make, and one where the first was in a block already. Everybody who asks is told the same.
#[test]
fn search_trace_and_metrics_agree_on_what_was_sent_in_other_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let trace = own_trace(1);
    let at = support::requests::now() - 1_000_000_000;
    let again = |id: u64| span_at(at, trace, &id.to_be_bytes(), b"", "again", &[]);
    let push = |spans: &[Vec<u8>]| {
        let body = of_service("again", spans);
        assert_eq!(server.push("application/x-protobuf", &body).status, 200);
    };
    let check = |expected: &[u64], when: &str| {
        assert_eq!(server.trace(trace).as_deref(), Some(expected), "{when}");
        assert_eq!(server.all_traces()[&trace], expected, "{when}");
        let counted = sum(&instant(&server, "{ } | count_over_time()"));
        assert_eq!(counted, expected.len() as u64, "{when}");
    };
    push(&[again(1)]);
    push(&[again(1), again(2)]);
    check(&[1, 1, 2], "together");
    server.flush();
    check(&[1, 1, 2], "in one block");
    push(&[again(2), again(3)]);
    check(&[1, 1, 2, 3], "after the block");
    server.flush();
    check(&[1, 1, 2, 3], "in two blocks");
    server.stop();
}
