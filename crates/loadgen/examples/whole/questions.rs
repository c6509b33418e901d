//! One question for each family of operators: what it takes and what it costs, over stored blocks.

use anyhow::{Result, ensure};
use trackway_common::SystemClock;
use trackway_loadgen::{HttpClient, Workload, percent_encode};

use crate::ask;
use crate::server::Server;
use crate::table::Table;

/// Rounds of each; the kernel counts CPU in ticks of ten milliseconds.
const ROUNDS: u32 = 20;

/// What a question is asked for.
#[derive(Clone, Copy)]
enum Of {
    /// The newest twenty traces.
    Newest,
    /// All traces.
    All,
    /// Series with a point every half minute.
    Series,
    /// One number a series.
    Instant,
}

/// Questions with what their median may be, in milliseconds.
const QUESTIONS: [(Of, &str, Option<f64>); 30] = [
    (Of::Newest, "{ }", None),
    (Of::Newest, "{ name = \"POST /v1/charges\" }", None),
    (Of::Newest, "{ duration > 500ms && status = error }", None),
    (Of::Newest, "{ span.http.route =~ \"/api/.*\" }", None),
    (Of::Newest, "{ .http.request.method != \"GET\" }", None),
    (Of::Newest, "{ resource.service.name = \"cart\" || kind = server }", None),
    (Of::Newest, "{ rootServiceName = \"frontend\" && traceDuration > 1s }", None),
    (Of::Newest, "{ event:name = \"exception\" }", None),
    (Of::Newest, "{ status = error } && { kind = client }", None),
    (Of::Newest, "{ status = error } || { duration > 1s }", None),
    (Of::Newest, "{ } > { status = error }", Some(40.0)),
    (Of::Newest, "{ resource.service.name = \"frontend\" } >> { status = error }", Some(40.0)),
    (Of::Newest, "{ status = error } << { kind = server }", Some(40.0)),
    (Of::Newest, "{ kind = client } ~ { kind = client }", Some(40.0)),
    (Of::Newest, "{ } !>> { kind = server }", Some(40.0)),
    (Of::Newest, "{ status = error } | count() > 3", None),
    (Of::Newest, "{ } | by(resource.service.name) | count() > 5", None),
    (Of::Newest, "{ kind = server } | avg(duration) > 500ms", None),
    (Of::Newest, "{ status = error } | select(span.http.route, name)", None),
    (Of::All, "{ status = error && kind = server }", None),
    (Of::Series, "{ } | rate()", None),
    (Of::Series, "{ } | rate() by (resource.service.name)", Some(12.0)),
    (Of::Series, "{ status = error } | count_over_time() by (name)", None),
    (Of::Series, "{ } | quantile_over_time(duration, .5, .9, .99)", Some(40.0)),
    (Of::Series, "{ } | histogram_over_time(duration)", None),
    (Of::Series, "{ } | avg_over_time(duration) by (span.http.route)", None),
    (Of::Series, "{ } >> { status = error } | rate()", None),
    (Of::Series, "({ status = error } | rate()) / ({ } | rate()) * 100", None),
    (Of::Instant, "{ } | rate() by (resource.service.name) | topk(3)", None),
    (Of::Series, "{ } | compare({ status = error })", Some(250.0)),
];

fn target(of: Of, query: &str, (start, end): (u64, u64)) -> String {
    let q = percent_encode(query);
    match of {
        Of::Newest => format!("/api/search?q={q}&limit=20&start={start}&end={end}"),
        Of::All => format!("/api/search?q={q}&limit=100000&start={start}&end={end}"),
        Of::Series => format!("/api/metrics/query_range?q={q}&step=30s&start={start}&end={end}"),
        Of::Instant => format!("/api/metrics/query?q={q}&start={start}&end={end}"),
    }
}

/// Asks all of them.
pub(crate) async fn measure(server: &Server, workload: &Workload, table: &mut Table) -> Result<()> {
    let mut api = server.api().await?;
    let (mut cpu_of_all, mut time_of_all) = (0.0, 0.0);
    for (of, query, budget) in QUESTIONS {
        let (median, cpu) = one(server, &mut api, &target(of, query, ask::seconds(workload))).await?;
        cpu_of_all += cpu;
        time_of_all += median;
        table.add(format!("{query}, p50 ms"), median, budget);
        table.add(format!("{query}, CPU ms"), cpu, None);
    }
    table.add(format!("{} questions, CPU ms", QUESTIONS.len()), cpu_of_all, None);
    table.add(format!("{} questions, p50 ms", QUESTIONS.len()), time_of_all, None);
    Ok(())
}

/// Series of live data: what was acknowledged a moment ago and lies in no block.
pub(crate) async fn live(server: &Server, workload: &Workload, table: &mut Table) -> Result<()> {
    let mut api = server.api().await?;
    let query = "{ } | rate() by (resource.service.name)";
    let (median, cpu) = one(server, &mut api, &target(Of::Series, query, ask::seconds(workload))).await?;
    table.add(format!("before the flush, {query}, p50 ms"), median, Some(12.0));
    table.add(format!("before the flush, {query}, CPU ms"), cpu, None);
    Ok(())
}

/// Median and CPU of a question, in milliseconds.
async fn one(server: &Server, api: &mut HttpClient, target: &str) -> Result<(f64, f64)> {
    let clock = SystemClock::default();
    let mut took = Vec::new();
    let mut before = server.cpu_seconds()?;
    for round in 0..ROUNDS + 2 {
        let answer = api.get(&clock, target, "application/json").await?;
        ensure!(answer.status == 200, "{target}: {} {}", answer.status, answer.text());
        if round == 1 {
            before = server.cpu_seconds()?;
        }
        if round >= 2 {
            took.push(answer.took.as_secs_f64() * 1e3);
        }
    }
    let cpu = (server.cpu_seconds()? - before) * 1e3 / f64::from(ROUNDS);
    took.sort_by(f64::total_cmp);
    Ok((took.get(took.len() / 2).copied().unwrap_or(0.0), cpu))
}
