//! Random queries over random traces: all can be asked, and the oracle answers all of them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test may stop it, and may say what they found"
)]

use proptest::prelude::*;
use trackway_oracle::random::{config, instant, metrics_query, range, search_query, traces};
use trackway_oracle::{json, metrics, otlp, search};

proptest! {
    #![proptest_config(config(512, 1))]

    #[test]
    fn searches(text in search_query(), traces in traces(3, 8)) {
        let query = trackway_traceql::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(&trackway_traceql::parse(&query.to_string()).unwrap(), &query);
        for trace in &traces {
            let found = search(&query, trace).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            for set in found.iter().flat_map(|found| &found.spansets) {
                prop_assert!(!set.spans.is_empty());
            }
            prop_assert!(json::search(found.as_slice(), 3)["traces"].is_array());
        }
    }

    #[test]
    fn series(text in metrics_query(), traces in traces(3, 8)) {
        let query = trackway_traceql::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        for time in [range(), instant()] {
            let series = metrics(&query, &traces, &time)
                .map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            prop_assert!(series.iter().all(|series| !series.samples.is_empty()));
            prop_assert!(json::range(&series)["series"].is_array());
        }
    }

    #[test]
    fn to_otlp_and_back(traces in traces(3, 8)) {
        prop_assert_eq!(otlp::from_requests(&otlp::to_requests(&traces)), sorted(traces));
    }
}

fn sorted(mut traces: Vec<trackway_oracle::model::Trace>) -> Vec<trackway_oracle::model::Trace> {
    traces.sort_by_key(|trace| trace.id);
    traces
}

/// The vocabulary is small enough for queries to find something and large enough for them not to find everything.
#[test]
fn queries_find_something_but_not_everything() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut nothing, mut some, mut all) = (0, 0, 0);
    for _ in 0..500 {
        let text = search_query().new_tree(&mut runner).unwrap().current();
        let traces = traces(3, 8).new_tree(&mut runner).unwrap().current();
        let query = trackway_traceql::parse(&text).unwrap();
        for trace in traces {
            let found = search(&query, &trace).unwrap();
            let spans = found.map_or(0, |found| found.spansets.iter().map(|set| set.spans.len()).sum());
            match spans {
                0 => nothing += 1,
                n if n == trace.spans.len() => all += 1,
                _ => some += 1,
            }
        }
    }
    println!("of the traces, queries found nothing in {nothing}, some spans in {some}, all in {all}");
    assert!(some > 150 && all > 100, "{nothing} {some} {all}");
}
