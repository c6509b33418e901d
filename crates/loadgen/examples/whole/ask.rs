//! Questions to the server: are the answers what was sent, and how long do they take?
//!
//! What must stay true: what is expected comes from the workload alone, never from an earlier answer.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use trackway_common::SystemClock;
use trackway_loadgen::{HttpClient, Workload, hex_id, percent_encode, trace_span_ids};
use trackway_spans::wire::{Field, Reader};

/// The operation whose spans are searched by service and name.
const SERVICE: &str = "payment";
const NAME: &str = "POST /v1/charges";

/// Where the workload does not say how many spans match.
const ANY: usize = usize::MAX;

/// A search and what it must find: traces, and spans in them.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// What it is called in the table.
    pub(crate) title: &'static str,
    pub(crate) query: String,
    pub(crate) limit: usize,
    /// How many traces and spans match in all.
    pub(crate) matches: (usize, usize),
    /// What its median may be, in milliseconds.
    pub(crate) budget: Option<f64>,
}

/// The searches, with what the workload says they must find, and how many spans it has.
pub(crate) fn searches(workload: &Workload) -> (Vec<Search>, usize) {
    let (mut everything, mut errors, mut pair) = ((0, 0), (0, 0), (0, 0));
    let mut order = None;
    for index in 0..workload.traces {
        let facts = workload.facts(index);
        let add = |sum: &mut (usize, usize), spans: usize| {
            sum.0 += usize::from(spans > 0);
            sum.1 += spans;
        };
        add(&mut everything, facts.spans.len());
        add(&mut errors, facts.spans.iter().filter(|span| span.is_error).count());
        // The caller's span has the same name: the service tells them apart.
        add(
            &mut pair,
            facts.spans.iter().filter(|span| span.service == SERVICE && span.name == NAME).count(),
        );
        if index >= workload.traces / 2 && order.is_none() {
            order = facts.order_id;
        }
    }
    let order = order.unwrap_or_default();
    let search = |title, query: &str, limit, matches, budget| Search {
        title,
        query: query.to_owned(),
        limit,
        matches,
        budget,
    };
    let rare = format!("{{ span.app.order.id = \"{order}\" }}");
    let both = format!("{{ resource.service.name = \"{SERVICE}\" && name = \"{NAME}\" }}");
    let list = vec![
        search("search, first 20 errors", "{ status = error }", 20, errors, Some(10.0)),
        search("search, all errors", "{ status = error }", 100_000, errors, Some(60.0)),
        search("search, one order", &rare, 20, (1, ANY), None),
        search("search, a value that is nowhere", "{ span.nosuch = \"nowhere\" }", 20, (0, 0), Some(5.0)),
        search("search, service and name, first 20", &both, 20, pair, None),
        search("search, service and name, all", &both, 100_000, pair, None),
        search("search, everything", "{ }", 262_144, everything, None),
    ];
    (list, everything.1)
}

impl Search {
    /// Path and query.
    pub(crate) fn target(&self, workload: &Workload) -> String {
        let (start, end) = seconds(workload);
        let q = percent_encode(&self.query);
        format!("/api/search?q={q}&limit={}&spss=1&start={start}&end={end}", self.limit)
    }

    /// Asks once and says what is wrong with the answer, if anything is.
    pub(crate) async fn check(&self, api: &mut HttpClient, workload: &Workload) -> Result<Option<String>> {
        let answer = api.get(&SystemClock::default(), &self.target(workload), "application/json").await?;
        ensure!(answer.status == 200, "{}: {} {}", self.query, answer.status, answer.text());
        let json: Value = serde_json::from_slice(&answer.body)?;
        let none = Vec::new();
        let traces = json["traces"].as_array().unwrap_or(&none);
        let spans: u64 = traces.iter().map(matched).sum();
        let (all, all_spans) = self.matches;
        let cut = all > self.limit;
        let right =
            traces.len() == all.min(self.limit) && (cut || all_spans == ANY || spans as usize == all_spans);
        let sent = if all_spans == ANY { "some".to_owned() } else { all_spans.to_string() };
        let (query, limit, found) = (&self.query, self.limit, traces.len());
        Ok((!right).then(|| {
            format!("{query} limit {limit}: {found} traces, {spans} spans; {all}, {sent} were sent")
        }))
    }
}

/// How many spans of a trace matched.
fn matched(trace: &Value) -> u64 {
    let sets = trace["spanSets"].as_array();
    let set = sets.and_then(|sets| sets.first()).unwrap_or(&trace["spanSet"]);
    set["matched"].as_u64().unwrap_or(0)
}

/// The workload's time in whole seconds, with room for its last traces.
pub(crate) fn seconds(workload: &Workload) -> (u64, u64) {
    let end = workload.start_ns + workload.span_of_time_ns;
    (workload.start_ns / 1_000_000_000 - 1, end / 1_000_000_000 + 60)
}

/// Path of the values of `service.name`.
pub(crate) fn tag_values_target(workload: &Workload) -> String {
    let (start, end) = seconds(workload);
    format!("/api/v2/search/tag/resource.service.name/values?start={start}&end={end}")
}

/// So many traces of the workload, spread evenly over it.
pub(crate) fn samples(workload: &Workload, count: u64) -> Vec<u64> {
    let count = count.min(workload.traces);
    // Off the beginning of each stretch, so that different counts ask for different traces.
    (0..count)
        .map(|at| (at * workload.traces + workload.traces / 2) / count.max(1))
        .map(|at| at % workload.traces)
        .collect()
}

/// Path of a trace by id.
pub(crate) fn trace_target(workload: &Workload, index: u64) -> String {
    format!("/api/v2/traces/{}", hex_id(&workload.facts(index).trace_id))
}

/// Asks for a trace and says what is wrong with the answer, if anything is.
pub(crate) async fn check_trace(
    api: &mut HttpClient,
    workload: &Workload,
    index: u64,
) -> Result<Option<String>> {
    let facts = workload.facts(index);
    let id = hex_id(&facts.trace_id);
    let answer =
        api.get(&SystemClock::default(), &trace_target(workload, index), "application/protobuf").await?;
    if answer.status != 200 {
        return Ok(Some(format!("trace {id}: {} {}", answer.status, answer.text())));
    }
    let mut found = Vec::new();
    let mut fields = Reader::new(&answer.body);
    while let Some((number, field)) = fields.next_field().context("not a tempopb.TraceByIDResponse")? {
        if let (1, Field::Bytes(trace)) = (number, field) {
            found.extend(trace_span_ids(trace)?.remove(&facts.trace_id).unwrap_or_default());
        }
    }
    let mut sent: Vec<u64> = facts.spans.iter().map(|span| span.id).collect();
    found.sort_unstable();
    sent.sort_unstable();
    Ok((found != sent)
        .then(|| format!("trace {id}: {} spans found, {} sent, or others", found.len(), sent.len())))
}

/// Times a question: median and 95th percentile in milliseconds. The first answers only warm up.
pub(crate) async fn time(
    api: &mut HttpClient,
    targets: &[String],
    accept: &str,
    rounds: usize,
) -> Result<(f64, f64)> {
    let clock = SystemClock::default();
    let mut took = Vec::new();
    for round in 0..rounds + 2 {
        let Some(target) = targets.get(round % targets.len().max(1)) else { break };
        let answer = api.get(&clock, target, accept).await?;
        ensure!(answer.status == 200, "{target}: {} {}", answer.status, answer.text());
        if round >= 2 {
            took.push(answer.took.as_secs_f64() * 1e3);
        }
    }
    took.sort_by(f64::total_cmp);
    let at =
        |share: f64| took.get((took.len() as f64 * share) as usize).or(took.last()).copied().unwrap_or(0.0);
    Ok((at(0.5), at(0.95)))
}
