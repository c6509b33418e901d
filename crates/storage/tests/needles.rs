//! What looking for one of very many values costs: of several blocks in a bucket, the share of their bytes that is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/haystack/mod.rs"]
mod haystack;

use haystack::{Haystack, Size};

const SIZE: Size = Size { blocks: 8, spans: 10_000, spans_of_trace: 10 };
/// What issue 5 allows.
const SHARE_MAX: f64 = 0.02;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_orders_is_found_by_reading_little() {
    let haystack = Haystack::new(SIZE).await;
    let (block, trace) = (5, 321);
    let order = haystack::order(block, trace);
    let number = haystack::number(block, trace);
    let other = haystack::order(0, 7);
    let id = haystack::trace_id(block, trace).hex();
    // The footers are read once and kept.
    haystack.ask("{ span.app.order.id = \"not there\" }").await;
    for (query, found) in [
        (format!("{{ span.app.order.id = \"{order}\" }}"), 1),
        (format!("{{ .app.order.id = \"{order}\" }}"), 1),
        (format!("{{ span.app.order.id =~ \"{order}|{other}|nothing\" }}"), 2),
        (format!("{{ span.app.order.number = {number} }}"), 1),
        (format!("{{ span.app.order.number = {number}.0 }}"), 1),
        ("{ .app.order.id = \"not there\" }".to_owned(), 0),
        (format!("{{ trace:id = \"{id}\" }}"), 1),
        (format!("{{ trace:id =~ \"{}.*\" }}", &id[..12]), 1),
    ] {
        let asked = haystack.ask(&query).await;
        println!("{query}: {asked:?}");
        assert_eq!(asked.traces, found, "{query}");
        // Of a few blocks one is much: what is read of those that hold it is told apart. One as small as here may be read
        // as a whole, since that is one request.
        let holding = haystack.bytes / SIZE.blocks * 5 / 4 * found as u64;
        let allowed = haystack.bytes as f64 * SHARE_MAX + holding as f64;
        assert!((asked.bytes as f64) < allowed, "{query}: {asked:?} of {}", haystack.bytes);
    }
}
