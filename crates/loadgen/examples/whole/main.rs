//! The whole-process benchmark: starts a server, sends it the workload, checks that every span is found at once and
//! after a restart, and prints what it cost beside the budgets.
//!
//! `cargo run --release -p trackway-loadgen --example whole -- --binary target/release/trackway --traces 30000`
//!
//! What must stay true: a wrong answer is a failed run; a missed budget is only marked. CPU counts from the first span
//! until the last block is written, without the questions asked in between.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program whose output is its purpose"
)]

mod ask;
mod push;
mod questions;
mod server;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::{HttpClient, Workload};

use crate::ask::Search;
use crate::server::Server;
use crate::table::Table;

/// How long the server may take to write its last block after a flush.
const FLUSH: Duration = Duration::from_secs(300);

/// Measures a server as a whole.
#[derive(Debug, Parser)]
struct Args {
    /// The server: anything that starts on a Tempo configuration file.
    #[arg(long, default_value = "target/release/trackway")]
    binary: PathBuf,
    /// How many traces to send, of about 19 spans each.
    #[arg(long, default_value_t = 30_000)]
    traces: u64,
    /// Spans a second; as fast as they are taken unless given.
    #[arg(long)]
    rate: Option<f64>,
    /// Send so many times the traces to a second, fresh server, for its peak memory.
    #[arg(long)]
    scale: Option<u64>,
    /// How many traces are checked span by span.
    #[arg(long, default_value_t = 500)]
    samples: u64,
    /// How often each search is timed.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// The seed of the workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Ask one question for each family of operators, too.
    #[arg(long)]
    questions: bool,
    /// Have it make metrics of the spans: service graphs and span metrics.
    #[arg(long)]
    metrics: bool,
    /// Leave the data where it is.
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// Half an hour of traces that ended a minute ago.
    fn workload(&self, traces: u64) -> Workload {
        let span_of_time_ns = 1_800_000_000_000;
        let start_ns = SystemClock::default().now().saturating_sub(span_of_time_ns + 60_000_000_000);
        Workload { seed: self.seed, traces, start_ns, span_of_time_ns }
    }

    fn folder(&self) -> Result<tempfile::TempDir> {
        let mut dir = tempfile::Builder::new().prefix("trackway-whole-").tempdir()?;
        if self.keep {
            dir.disable_cleanup(true);
            println!("data in {}", dir.path().display());
        }
        Ok(dir)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        // Not from main itself, which would print a backtrace where one is wanted for panics.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: Args) -> Result<()> {
    // The server runs in a folder of its own: a relative path would not lead there.
    let binary = args.binary.canonicalize().map_err(|error| {
        anyhow::anyhow!("{}: {error}; build it with cargo build --release", args.binary.display())
    })?;
    let args = Args { binary, ..args };
    let mut table = Table::default();
    let mut wrong = Vec::new();
    run(&args, &mut table, &mut wrong).await?;
    if let Some(scale) = args.scale {
        larger(&args, scale, &mut table).await?;
    }
    print!("{}", table.text());
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_vec_pretty(&table.json())?)?;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{} wrong answers:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"))
}

/// The measured run.
async fn run(args: &Args, table: &mut Table, wrong: &mut Vec<String>) -> Result<()> {
    let workload = args.workload(args.traces);
    let (searches, spans) = ask::searches(&workload);
    let dir = args.folder()?;
    let mut server = Server::start(&args.binary, dir.path(), args.metrics).await?;
    let idle = server.cpu_seconds()?;

    ingest(&server, args, workload, spans, table, "").await?;
    let (before, blocks) = (server.cpu_seconds()?, server.stored()?.1);
    let found = wrong.len();
    check(&server, args, &workload, &searches, "right after the push", wrong).await?;
    table.add("wrong answers right after the push", (wrong.len() - found) as f64, Some(0.0));
    // Answers are not ingestion. If a block was written meanwhile they cannot be told apart, and all of it counts.
    if args.questions {
        questions::live(&server, &workload, table).await?;
    }
    let asked = if server.stored()?.1 == blocks { server.cpu_seconds()? - before } else { 0.0 };

    flush(&server).await?;
    let used = server.cpu_seconds()? - idle;
    let per_span = |seconds: f64| seconds * 1e6 / spans as f64;
    table.add("CPU until the last block, us/span", per_span(used - asked), Some(7.0));
    table.add("the same with the checks' questions, us/span", per_span(used), None);
    table.add("peak memory, MB", server.peak_mb()?, Some(300.0));
    let (bytes, blocks) = server.stored()?;
    table.add("stored, bytes/span", bytes as f64 / spans as f64, Some(62.0));
    table.add("blocks", blocks as f64, None);

    latencies(&server, args, &workload, &searches, table).await?;
    if args.questions {
        questions::measure(&server, &workload, table).await?;
    }
    table.add("peak memory after all questions, MB", server.peak_mb()?, None);

    let found = wrong.len();
    server.stop().await?;
    let ready = server.launch().await?;
    table.add("restart until ready, ms", ready.as_secs_f64() * 1e3, None);
    check(&server, args, &workload, &searches, "after a restart", wrong).await?;
    table.add("wrong answers after a restart", (wrong.len() - found) as f64, Some(0.0));
    server.stop().await
}

/// Only ingestion, of more traces: does memory stay where it was?
async fn larger(args: &Args, scale: u64, table: &mut Table) -> Result<()> {
    let workload = args.workload(args.traces * scale);
    let spans = ask::searches(&workload).1;
    let dir = args.folder()?;
    let mut server = Server::start(&args.binary, dir.path(), args.metrics).await?;
    let idle = server.cpu_seconds()?;
    let title = format!("{scale} times the traces: ");
    ingest(&server, args, workload, spans, table, &title).await?;
    flush(&server).await?;
    let used = server.cpu_seconds()? - idle;
    table.add(format!("{title}CPU, us/span"), used * 1e6 / spans as f64, Some(7.0));
    table.add(format!("{title}peak memory, MB"), server.peak_mb()?, Some(300.0));
    table.add(format!("{title}stored, bytes/span"), server.stored()?.0 as f64 / spans as f64, None);
    server.stop().await
}

async fn ingest(
    server: &Server,
    args: &Args,
    workload: Workload,
    spans: usize,
    table: &mut Table,
    title: &str,
) -> Result<()> {
    let pushed = match push::push(&server.otlp(), workload, args.rate).await {
        Ok(pushed) => pushed,
        Err(error) => bail!("{error:#}\nthe server's last words:\n{}", server.last_words()),
    };
    println!("{pushed:?}");
    ensure!(pushed.accepted == spans as u64, "{} of {spans} spans were taken", pushed.accepted);
    table.add(format!("{title}spans sent"), spans as f64, None);
    table.add(format!("{title}spans/s taken"), spans as f64 / pushed.seconds, None);
    table.add(format!("{title}requests sent again because the server was busy"), pushed.busy as f64, None);
    table.add(format!("{title}peak memory while sending, MB"), server.peak_mb()?, None);
    Ok(())
}

async fn check(
    server: &Server,
    args: &Args,
    workload: &Workload,
    searches: &[Search],
    when: &str,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let mut api = server.api().await?;
    if args.samples == 0 {
        return Ok(());
    }
    for index in ask::samples(workload, args.samples) {
        wrong
            .extend(ask::check_trace(&mut api, workload, index).await?.map(|what| format!("{when}: {what}")));
    }
    for search in searches {
        wrong.extend(search.check(&mut api, workload).await?.map(|what| format!("{when}: {what}")));
    }
    Ok(())
}

/// Flushes, and waits until nothing is being written any more.
///
/// Servers differ in whether the request waits for the blocks, so the folder and the CPU say when it is over.
async fn flush(server: &Server) -> Result<()> {
    let clock = SystemClock::default();
    let mut api: HttpClient = server.api().await?;
    let answer = api.post(&clock, "/flush").await?;
    ensure!(answer.status < 300, "POST /flush: {} {}", answer.status, answer.text());
    let mut calm = 0;
    while clock.monotonic() < FLUSH {
        let (stored, cpu) = (server.stored()?, server.cpu_seconds()?);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let quiet = server.stored()? == stored && server.cpu_seconds()? - cpu <= 0.02;
        calm = if quiet && stored.1 > 0 { calm + 1 } else { 0 };
        if calm == 3 {
            return Ok(());
        }
    }
    bail!("no block, or still busy, {FLUSH:?} after the flush:\n{}", server.last_words())
}

async fn latencies(
    server: &Server,
    args: &Args,
    workload: &Workload,
    searches: &[Search],
    table: &mut Table,
) -> Result<()> {
    let mut api = server.api().await?;
    let mut add = |title: &str, (median, p95): (f64, f64), budget: Option<f64>| {
        table.add(format!("{title}, p50 ms"), median, budget);
        table.add(format!("{title}, p95 ms"), p95, None);
    };
    let ids: Vec<String> =
        ask::samples(workload, 200).into_iter().map(|at| ask::trace_target(workload, at)).collect();
    add("trace by id", ask::time(&mut api, &ids, "application/protobuf", ids.len()).await?, Some(5.0));
    for search in searches {
        let target = [search.target(workload)];
        add(
            search.title,
            ask::time(&mut api, &target, "application/json", args.rounds).await?,
            search.budget,
        );
    }
    let values = [ask::tag_values_target(workload)];
    add(
        "values of service.name",
        ask::time(&mut api, &values, "application/json", args.rounds).await?,
        Some(3.0),
    );
    Ok(())
}
