//! What the generator costs: CPU time of a span, memory of series and open edges, and how long a collection takes.
//!
//! `cargo run --release -p trackway-generator --example cost -- [traces]`
#![allow(clippy::print_stdout)]

#[allow(unreachable_pub)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::time::Duration;

use support::otlp::{CLIENT, SERVER, service, span};
use support::{START, TENANT, World, service_graphs, settings, span_metrics};
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::{Request, Workload};
use trackway_overrides::{Generator, Processors};
use trackway_spans::wire::WireError;
use trackway_spans::{Attribute, Limits, SpanVisitor, VisitedSpan, visit_spans};

const SECOND: u64 = 1_000_000_000;
/// Spans a second of the workload.
const RATE: u64 = 10_000;
/// Spans of one of its traces, about.
const A_TRACE: u64 = 19;
/// Series of a label set of span metrics.
const SERIES: u64 = 19;
const ROUNDS: u32 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let traces: u64 = std::env::args().nth(1).map_or(Ok(30_000), |text| text.parse())?;
    let both = Processors { service_graphs: true, ..span_metrics() };
    // First, while the allocator has nothing that was freed.
    memory(both)?;
    let time = traces * A_TRACE * SECOND / RATE;
    let workload = Workload { seed: 1, traces, start_ns: START, span_of_time_ns: time };
    let requests: Vec<Request> = workload.requests().collect();
    let spans: usize = requests.iter().map(|request| request.spans).sum();
    println!("{spans} spans in {} requests, {RATE} a second", requests.len());
    let visit = best(|| visit_all(&requests), spans)?;
    println!("{:7.3} µs a span  visit_spans alone", visit / 1000.0);
    for (name, processors) in
        [("span-metrics", span_metrics()), ("service-graphs", service_graphs()), ("both processors", both)]
    {
        let mut said = String::new();
        let cost = best(
            || {
                let world = ready(&requests, processors);
                let before = cpu_nanoseconds()?;
                world.work();
                let cost = cpu_nanoseconds()? - before;
                said = found(&world);
                Ok(cost)
            },
            spans,
        )?;
        println!("{:7.3} µs a span  {name}: {said}", cost / 1000.0);
    }
    collection()
}

/// The least of some rounds, nanoseconds a span.
fn best(mut run: impl FnMut() -> Result<u64, Box<dyn Error>>, spans: usize) -> Result<f64, Box<dyn Error>> {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        least = least.min(run()?);
    }
    Ok(least as f64 / spans.max(1) as f64)
}

fn tempos(processors: Processors) -> Generator {
    // All of the workload counts: it is the spans that are measured, not the clock.
    Generator { slack: Duration::from_hours(1), ..settings(processors) }
}

/// A generator whose log has these requests, and that has read none of them.
fn ready(requests: &[Request], processors: Processors) -> World {
    let world = World::new(tempos(processors));
    let mut spans = 0;
    for request in requests {
        spans += request.spans as u64;
        world.log.append(TENANT, START + spans * SECOND / RATE, &[], &request.bytes);
    }
    world
}

/// What is counted, to see that it is.
fn found(world: &World) -> String {
    format!(
        "{} calls, {} edges, {} of them of two halves, {} series",
        support::sum(&world.of("traces_spanmetrics_calls_total")),
        world.of_tenant("processor_service_graphs_edges"),
        support::sum(&world.of("traces_service_graph_request_total")),
        world.of_tenant("registry_active_series"),
    )
}

#[derive(Default)]
struct Nothing(usize);

impl<'r> SpanVisitor<'r> for Nothing {
    fn resource(&mut self, _message: &'r [u8]) -> Result<(), WireError> {
        Ok(())
    }

    fn span(&mut self, span: &VisitedSpan<'r>, attributes: &[Attribute<'r>]) {
        self.0 += span.size + attributes.len();
    }
}

fn visit_all(requests: &[Request]) -> Result<u64, Box<dyn Error>> {
    let mut nothing = Nothing::default();
    let before = cpu_nanoseconds()?;
    for request in requests {
        visit_spans(&request.bytes, Limits::default(), &[], &mut nothing)
            .map_err(|error| error.to_string())?;
    }
    let cost = cpu_nanoseconds()? - before;
    if nothing.0 == 0 { Err("no span was visited".into()) } else { Ok(cost) }
}

/// Memory at 10,000 series and 10,000 open edges.
fn memory(both: Processors) -> Result<(), Box<dyn Error>> {
    let world = World::new(tempos(both));
    world.work();
    let before = resident()?;
    let names = 10_000_u64.div_ceil(SERIES);
    for part in 0..100 {
        let spans: Vec<_> = (part * 100..(part + 1) * 100_u64)
            .map(|number| span(&format!("GET /route/{}", number % names), CLIENT, number + 1, 0))
            .map(|span| span.with("peer.service", "payment-service.production.svc.cluster.local"))
            .collect();
        world.takes(&service("web").sends(&spans));
    }
    let taken = resident()?.saturating_sub(before);
    let mut own = String::new();
    world.generator().write_metrics(&mut own);
    let told = own.lines().find_map(|line| line.strip_prefix("trackway_metrics_generator_bytes "));
    println!(
        "{:7.1} MB resident, {} bytes by its own count: {} series, {} open edges",
        taken as f64 / 1e6,
        told.unwrap_or_default(),
        world.of_tenant("registry_active_series"),
        world.of_tenant("processor_service_graphs_edges"),
    );
    Ok(())
}

/// How long a collection of 100,000 series takes.
fn collection() -> Result<(), Box<dyn Error>> {
    let world = World::new(tempos(span_metrics()));
    let names = 100_000_u64.div_ceil(SERIES);
    let clock = SystemClock::default();
    for round in 0..4_u64 {
        // Each label set counts between two collections, in three buckets.
        for part in 0..3_u64 {
            let took = 3_000_000 << (2 * part);
            let spans: Vec<_> = (0..names)
                .map(|number| {
                    span(&format!("GET /route/{number}"), SERVER, number + 1, 0).takes(took + round)
                })
                .collect();
            world.takes(&service("web").sends(&spans));
        }
        world.clock.advance(Duration::from_secs(15));
        let (before, cpu) = (clock.monotonic(), cpu_nanoseconds()?);
        world.work();
        let (took, cpu) = (clock.monotonic() - before, cpu_nanoseconds()? - cpu);
        println!(
            "{:7.1} ms, {:.1} ms of CPU: a collection of {} series{}",
            took.as_secs_f64() * 1e3,
            cpu as f64 / 1e6,
            world.of_tenant("registry_active_series"),
            if round == 0 { ", the first of a segment" } else { "" },
        );
    }
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

/// CPU time of this thread so far.
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
