//! `/api/metrics/query_range` and `/api/metrics/query`: questions for series. They are checked and refused, because
//! nothing computes series yet.

use axum::extract::{Request, State};
use axum::response::Response;
use trackway_common::ErrorKind;
use trackway_querier::service::QueryError;

use crate::context::ApiState;
use crate::error::ApiError;
use crate::go::parse_duration;
use crate::params::query_size;
use crate::query_string::QueryString;

/// The functions that make a query one for series.
const FUNCTIONS: [&str; 9] = [
    "rate",
    "count_over_time",
    "avg_over_time",
    "sum_over_time",
    "max_over_time",
    "min_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
];

/// Answers either.
pub(crate) async fn refuse(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let _ctx = state.begin(request.headers())?;
    let parameters = QueryString::parse(request.uri().query());
    let q = match parameters.get("q") {
        "" => parameters.get("query"),
        q => q,
    };
    if q.is_empty() {
        return Err(ApiError::bad("parse error : syntax error: unexpected $end"));
    }
    query_size(q, &state.config)?;
    let (start, end) = (time(&parameters, "start")?, time(&parameters, "end")?);
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        return Err(ApiError::bad("end must be greater than start"));
    }
    let step = parameters.get("step");
    if !step.is_empty() && step.parse::<f64>().is_err() {
        parse_duration(step).map_err(|error| ApiError::bad(format!("invalid step: {error}")))?;
    }
    Err(unsupported(q).into())
}

/// What is said of a query for series.
pub(crate) fn unsupported(query: &str) -> QueryError {
    let text = match construct(query) {
        Some(function) => format!("TraceQL metrics are not supported yet: {function}()"),
        None => "TraceQL metrics are not supported yet".to_owned(),
    };
    QueryError::new(ErrorKind::Unsupported, text)
}

/// The first function for series behind a pipe.
fn construct(query: &str) -> Option<&'static str> {
    query.split('|').skip(1).find_map(|stage| {
        let (name, _) = stage.split_once('(')?;
        FUNCTIONS.iter().find(|function| **function == name.trim()).copied()
    })
}

/// A time in nanoseconds: seconds, with up to 10 digits or a point, or nanoseconds. A date is taken as it is.
fn time(parameters: &QueryString, name: &str) -> Result<Option<i128>, ApiError> {
    let text = parameters.get(name);
    if text.is_empty() || text.contains('T') {
        return Ok(None);
    }
    if let Ok(number) = text.parse::<i64>() {
        let scale = if text.len() <= 10 { 1_000_000_000 } else { 1 };
        return Ok(Some(i128::from(number) * scale));
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok(Some((seconds * 1e9) as i128)),
        _ => Err(ApiError::bad(format!("could not parse {name} time: {}", crate::go::quote(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_construct_is_named() {
        let named = |query| unsupported(query).message;
        assert_eq!(named("{ } | rate() by (.a)"), "TraceQL metrics are not supported yet: rate()");
        assert_eq!(
            named("{} | quantile_over_time (duration, .9)"),
            "TraceQL metrics are not supported yet: quantile_over_time()"
        );
        assert_eq!(named("{ }"), "TraceQL metrics are not supported yet");
    }
}
