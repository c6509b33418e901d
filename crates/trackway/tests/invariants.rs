//! Whatever happens in between: what was sent, what a search matches, what a trace by id shows and what a metric counts are
//! the same spans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;

use serde_json::Value;
use support::Server;
use support::dice::Dice;
use support::requests::{day, own_spans, own_trace, request, shared_span, shared_trace};

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
