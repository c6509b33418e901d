//! What looking for one order among very many costs in bytes and requests, of blocks in an S3 bucket of this process.
//!
//! `cargo run --release -p trackway-storage --example needle -- [blocks] [spans of each] [spans of a trace]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod haystack;

use haystack::{Haystack, Size};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let mut number = |otherwise| arguments.next().unwrap_or(otherwise);
    let size = Size { blocks: number(40), spans: number(200_000), spans_of_trace: number(20) };
    let haystack = Haystack::new(size).await;
    let all = haystack.bytes as f64;
    let filters = haystack.filter_bytes();
    println!("{size:?}: {all} bytes, of which {filters} filters: {:.2} %", filters as f64 * 100.0 / all);
    let (block, trace) = (size.blocks / 2, size.spans / size.spans_of_trace / 3);
    let order = haystack::order(block, trace);
    let id = haystack::trace_id(block, trace).hex();
    let queries = [
        format!("{{ span.app.order.id = \"{order}\" }}"),
        format!("{{ span.app.order.id = \"{order}\" }}"),
        format!("{{ .app.order.id = \"{order}\" }}"),
        format!("{{ span.app.order.id =~ \"{order}|other|another\" }}"),
        format!("{{ span.app.order.number = {} }}", haystack::number(block, trace)),
        format!("{{ trace:id =~ \"{}.*\" }}", &id[..12]),
    ];
    for (round, query) in queries.iter().enumerate() {
        let asked = haystack.ask(query).await;
        let footers = if round == 0 { " with all footers" } else { "" };
        println!("{:.3} %{footers} {query}: {asked:?}", asked.bytes as f64 * 100.0 / all);
    }
}
