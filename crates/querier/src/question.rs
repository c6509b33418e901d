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
        text: query.to_string(),
        selection: Selection::new(query)?,
        plan: MetricsPlan::new(pipeline, request.time, exemplars)?,
        time: request.time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Intervals;

    fn question(text: &str) -> Result<Question, QueryError> {
        let time = Intervals::range(0, 10_000_000_000, 1_000_000_000);
        Question::new(&MetricsRequest { query: text.to_owned(), time, exemplars: 9, max_series: 0 })
    }

    #[test]
    fn what_is_asked_twice_is_counted_once() {
        let (all, errors) = ("({ } | rate())", "({ status = error } | rate())");
        let question = question(&format!("({all} - {errors}) / {all}")).unwrap();
        assert_eq!((question.jobs.len(), &question.job_of_query[..]), (2, &[0, 1, 0][..]));
        // Nothing was found of anything, which is 0 at each time: nothing to divide.
        let answers: Vec<Finished> = question.jobs.iter().map(|job| job.finish(Default::default())).collect();
        let of_job = |job: usize| answers[job].series[0].samples.len();
        assert_eq!((of_job(0), of_job(1)), (11, 11));
        let time = question.jobs[0].time;
        let request = MetricsRequest { query: String::new(), time, exemplars: 0, max_series: 0 };
        assert_eq!(question.finish(answers, &request).series, []);
    }

    #[test]
    fn what_asks_for_no_series_is_refused() {
        assert_eq!(question("{ }").unwrap_err().message, "not a metrics query");
        assert!(question("({ } | rate()) + ").unwrap_err().message.starts_with("parse error at line 1"));
        assert_eq!(question("{ } | rate() with (sample=true)").unwrap().jobs.len(), 1);
    }

    #[test]
    fn exemplars_are_lowered_by_hints() {
        let most = |hints: &str| {
            let query = trackway_traceql::parse_metrics(&format!("({{ }} | rate()) * 2 {hints}")).unwrap();
            exemplars(query.all_hints(), 9)
        };
        assert_eq!(most(""), 9);
        assert_eq!(most("with (exemplars=3)"), 3);
        assert_eq!(most("with (exemplars=30)"), 9);
        assert_eq!(most("with (exemplars=false)"), 0);
    }
}
