//! What metrics cost beyond decoding: CPU time of observing, merging and finishing, on one thread, batches in memory.
//!
//! `cargo run --release -p trackway-engine --example metrics_speed -- [traces] [spans a batch] [only queries with this]`
#![allow(clippy::print_stdout)]

use std::error::Error;

use trackway_engine::complete_traces;
use trackway_engine::metrics::{Intervals, MetricsPlan, Partial};
use trackway_loadgen::Workload;
use trackway_spans::{BatchBuilder, Limits, SpanBatch, append_request, merge_traces};

const ENOUGH_NS: u64 = 400_000_000;
const START: u64 = 1_795_336_140_000_000_000;
const HALF_AN_HOUR: u64 = 1_800_000_000_000;

const QUERIES: [&str; 16] = [
    "{ } | rate()",
    "{ } | rate() by (resource.service.name)",
    "{ } | rate() by (name)",
    "{ } | rate() by (status, kind)",
    "{ } | rate() by (resource.service.name, name)",
    "{ } | rate() by (span.http.route)",
    "{ } | rate() by (.http.route)",
    "{ } | rate() by (span.http.response.status_code)",
    "{ } | rate() by (trace:id)",
    "{ } | avg_over_time(duration) by (resource.service.name)",
    "{ } | max_over_time(span.http.response.status_code)",
    "{ } | quantile_over_time(duration, .5, .9, .99)",
    "{ } | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)",
    "{ } | histogram_over_time(duration) by (resource.service.name)",
    "{ } | compare({ status = error })",
    "{ } | compare({ resource.service.name = \"checkout\" }, 100)",
];

fn main() -> Result<(), Box<dyn Error>> {
    let traces = std::env::args().nth(1).map_or(Ok(30_000), |text| text.parse())?;
    let a_batch = std::env::args().nth(2).map_or(Ok(50_000), |text| text.parse())?;
    let only = std::env::args().nth(3).unwrap_or_default();
    let batches = batches(traces, a_batch)?;
    let spans: usize = batches.iter().map(SpanBatch::len).sum();
    println!("{spans} spans in {} batches, 240 intervals", batches.len());
    let time = Intervals::range(START, START + HALF_AN_HOUR, HALF_AN_HOUR / 240);
    for (query, exemplars) in QUERIES.iter().flat_map(|query| [(query, 0), (query, 100)]) {
        if query.contains(&only) {
            measure(query, exemplars, &batches, time)?;
        }
    }
    Ok(())
}

fn measure(
    query: &str,
    exemplars: usize,
    batches: &[SpanBatch],
    time: Intervals,
) -> Result<(), Box<dyn Error>> {
    let pipeline = trackway_traceql::parse(query)?.metrics.ok_or("no metrics query")?;
    let plan = MetricsPlan::new(&pipeline, time, exemplars)?;
    let masks: Vec<Vec<bool>> = batches.iter().map(|batch| vec![true; batch.len()]).collect();
    let run = || {
        let mut partial = Partial::default();
        for (batch, mask) in batches.iter().zip(&masks) {
            plan.observe(batch, mask, &mut partial)?;
        }
        Ok::<_, Box<dyn Error>>(plan.finish(partial, 0).series.len())
    };
    let mut series = run()?;
    let (before, mut rounds) = (cpu_nanoseconds()?, 0_u32);
    // The kernel counts in ticks of some milliseconds: only many rounds together can be measured.
    while cpu_nanoseconds()? - before < ENOUGH_NS {
        series = run()?;
        rounds += 1;
    }
    let each = (cpu_nanoseconds()? - before) as f64 / f64::from(rounds);
    let spans: usize = batches.iter().map(SpanBatch::len).sum();
    let with = if exemplars > 0 { " with exemplars" } else { "" };
    println!(
        "{:8.3} ms {:7.2} ns a span {series:6} series  {query}{with}",
        each / 1e6,
        each / spans.max(1) as f64
    );
    Ok(())
}

/// Batches of whole traces, as blocks have them, with about so many spans.
fn batches(traces: u64, a_batch: usize) -> Result<Vec<SpanBatch>, Box<dyn Error>> {
    let workload = Workload { seed: 1, traces, start_ns: START, span_of_time_ns: HALF_AN_HOUR };
    let mut builder = BatchBuilder::new();
    for request in workload.requests() {
        append_request(&mut builder, &request.bytes, Limits::default(), &[])?;
    }
    let all = builder.finish();
    let mut ids: Vec<_> = all.traces.ids().collect();
    ids.sort_unstable();
    let a_trace = (all.len() / ids.len().max(1)).max(1);
    let batches = ids.chunks((a_batch / a_trace).max(1)).map(|ids| {
        let mut batch = merge_traces(&[&all], ids);
        complete_traces(&mut batch);
        batch
    });
    Ok(batches.collect())
}

/// CPU time of this thread so far.
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
