//! A question for series: the jobs of its queries, and what is made of their answers.

use std::sync::Arc;

use trackway_common::ErrorKind;
use trackway_engine::metrics::{Finished, MetricsPlan, Series, combine};
use trackway_engine::{PlanError, Selection};
use trackway_traceql::ast::{Hint, Query, SeriesQuery, Static};

use crate::metrics::Job;
use crate::querier::unplanned;
use crate::service::{MetricsRequest, QueryError};

/// A question, planned.
#[derive(Debug)]
pub(crate) struct Question {
    query: SeriesQuery,
    /// What is to be counted. A query that stands in the question twice is one job.
    pub(crate) jobs: Vec<Arc<Job>>,
    /// For each query of the question its job.
    job_of_query: Vec<usize>,
}

impl Question {
    /// Reads and plans a question.
    pub(crate) fn new(request: &MetricsRequest) -> Result<Self, QueryError> {
        let query = trackway_traceql::parse_metrics(&request.query)
            .map_err(|error| QueryError::new(ErrorKind::Invalid, error.to_string()))?;
        if !query.is_metrics() {
            return Err(QueryError::new(ErrorKind::Invalid, "not a metrics query"));
        }
        let exemplars = exemplars(query.all_hints(), request.exemplars);
        let mut distinct: Vec<&Query> = Vec::new();
        let mut jobs = Vec::new();
        let mut job_of_query = Vec::new();
        for query in query.expr.queries() {
            let known = distinct.iter().position(|other| *other == query);
            job_of_query.push(known.unwrap_or(jobs.len()));
            if known.is_none() {
                // Exemplars are those of the left side, so no other query needs to look for any.
                let exemplars = if jobs.is_empty() { exemplars } else { 0 };
                jobs.push(Arc::new(job(query, request, exemplars).map_err(unplanned)?));
                distinct.push(query);
            }
        }
        Ok(Self { query, jobs, job_of_query })
    }

    /// The answer, of the answers to the jobs.
    pub(crate) fn finish(&self, answers: Vec<Finished>, request: &MetricsRequest) -> Finished {
        let mut truncated = None;
        let mut of_jobs: Vec<Vec<Series>> = Vec::with_capacity(answers.len());
        for answer in answers {
            truncated = truncated.or(answer.truncated);
            of_jobs.push(answer.series);
        }
        // Whoever is last takes the series themselves.
        let mut of_queries: Vec<Vec<Series>> = Vec::with_capacity(self.job_of_query.len());
        for (at, job) in self.job_of_query.iter().enumerate() {
            let is_last = !self.job_of_query[at + 1..].contains(job);
            of_queries.push(if is_last { std::mem::take(&mut of_jobs[*job]) } else { of_jobs[*job].clone() });
        }
        let finished = combine(&self.query, of_queries, &request.time, request.max_series);
        Finished { truncated: truncated.or(finished.truncated), ..finished }
    }
}

/// `with (exemplars = …)` lowers how many there are; `sample` is about saving work that is not saved here: every span
/// counts.
fn exemplars(hints: &[Hint], asked: usize) -> usize {
    let mut exemplars = asked;
    for hint in hints.iter().filter(|hint| hint.name == "exemplars") {
        match &hint.value {
            Static::Bool(false) => exemplars = 0,
            Static::Int(most) => exemplars = exemplars.min(usize::try_from(*most).unwrap_or(0)),
            _ => {}
        }
    }
    exemplars
}

fn job(query: &Query, request: &MetricsRequest, exemplars: usize) -> Result<Job, PlanError> {
    let Some(pipeline) = &query.metrics else {
        return Err(PlanError::Unsupported("a query for traces in arithmetic".to_owned()));
    };
    Ok(Job {
        selection: Selection::new(query)?,
        plan: MetricsPlan::new(pipeline, request.time, exemplars)?,
        time: request.time,
    })
}
