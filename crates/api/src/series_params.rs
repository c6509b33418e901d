//! What the parameters of a question for series mean, for HTTP and gRPC alike.
//!
//! What must stay true: a question is held against the limits before its times are moved to whole steps, so that the
//! last 24 hours are 24 hours; the texts are Tempo's, because Grafana recognises some of them.

use std::time::Duration;

use trackway_proto::tempopb::{QueryInstantRequest, QueryRangeRequest};
use trackway_querier::service::{Intervals, MetricsRequest};
use trackway_traceql::ErrorKind;

use crate::ApiConfig;
use crate::error::ApiError;
use crate::go::{parse_duration, parse_int, quote, show_duration};
use crate::params::query_size;
use crate::query_string::QueryString;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
/// How long ago a range starts when nothing says when.
const SINCE: u64 = 60 * MINUTE;
/// How many intervals there are, about, when nothing says how long they are.
const POINTS: u64 = 240;
/// The lengths that they then have multiples of.
const ROUND: [u64; 6] = [60 * MINUTE, 5 * MINUTE, MINUTE, 15 * SECOND, 5 * SECOND, SECOND];
/// The same when the range is shorter than a minute.
const SHORT: u64 = SECOND / 20;

type Result<T> = std::result::Result<T, ApiError>;

/// A question as it was asked, numbers read but not judged. Times are Unix nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesInput {
    query: String,
    start: Option<u64>,
    end: Option<u64>,
    /// How long the range is when it has no start.
    since: Option<u64>,
    /// `None` for a step that fits the range.
    step: Option<u64>,
    is_instant: bool,
    /// 0 for as many as there may be.
    exemplars: u32,
    /// 0 for no limit.
    max_series: u32,
}

/// Reads the parameters of `/api/metrics/query_range`.
pub(crate) fn range(query: &QueryString) -> Result<SeriesInput> {
    let step = match query.get("step") {
        "" => None,
        text => Some(step(text)?),
    };
    // Recorded: exemplars that are no number count as not given.
    let exemplars = query.get("exemplars").parse().unwrap_or_default();
    Ok(SeriesInput { step, exemplars, is_instant: false, ..instant(query)? })
}

/// Reads the parameters of `/api/metrics/query`.
pub(crate) fn instant(query: &QueryString) -> Result<SeriesInput> {
    let text = match query.get("q") {
        "" => query.get("query"),
        text => text,
    };
    let since = match query.get("since") {
        "" => None,
        text => Some(long_duration(text).ok_or_else(|| {
            let text = quote(text);
            ApiError::bad(format!("could not parse 'since' parameter: not a valid duration string: {text}"))
        })?),
    };
    Ok(SeriesInput {
        query: text.to_owned(),
        start: time(query, "start")?,
        end: time(query, "end")?,
        since,
        is_instant: true,
        max_series: query.get("maxSeries").parse().unwrap_or_default(),
        ..SeriesInput::default()
    })
}

/// What a request over gRPC asks for.
pub(crate) fn from_range(request: QueryRangeRequest) -> SeriesInput {
    SeriesInput {
        query: request.query,
        start: given(request.start),
        end: given(request.end),
        since: None,
        step: given(request.step),
        is_instant: false,
        exemplars: request.exemplars,
        max_series: request.max_series,
    }
}

/// What a request over gRPC asks for.
pub(crate) fn from_instant(request: QueryInstantRequest) -> SeriesInput {
    SeriesInput {
        query: request.query,
        start: given(request.start),
        end: given(request.end),
        is_instant: true,
        ..SeriesInput::default()
    }
}

/// A number of protobuf, where 0 is what is not there.
fn given(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

impl SeriesInput {
    /// Puts the defaults in and holds it against the limits.
    pub(crate) fn judge(self, now: u64, config: &ApiConfig) -> Result<MetricsRequest> {
        query_size(&self.query, config)?;
        let end = self.end.unwrap_or(now);
        let start = self.start.unwrap_or_else(|| end.min(now).saturating_sub(self.since.unwrap_or(SINCE)));
        if end <= start {
            return Err(ApiError::bad("end must be greater than start"));
        }
        let longest = config.max_metrics_duration;
        if !longest.is_zero() && Duration::from_nanos(end - start) > longest {
            let longest = show_duration(longest);
            return Err(ApiError::bad(format!(
                "metrics query time range exceeds the maximum allowed duration of {longest}"
            )));
        }
        let time = if self.is_instant {
            instant_time(start, end, now, config)
        } else {
            let step = self.step.unwrap_or_else(|| automatic_step(end - start));
            check_step(step, end - start, config)?;
            range_time(start, end, step, now, config)
        };
        check_query(&self.query, self.is_instant)?;
        let exemplars = match self.exemplars {
            _ if self.is_instant => 0,
            0 => config.max_exemplars,
            some => some.min(config.max_exemplars),
        };
        let max_series = match (self.max_series, config.max_response_series) {
            (0, limit) | (limit, 0) => limit,
            (asked, limit) => asked.min(limit),
        };
        Ok(MetricsRequest {
            query: self.query,
            time,
            exemplars: exemplars as usize,
            max_series: max_series as usize,
        })
    }
}

/// The intervals of a range query. The last ones are left out when they are so new that spans of theirs are still on
/// their way, as long as a whole one is left: the end of a graph should not fall.
fn range_time(start: u64, end: u64, step: u64, now: u64, config: &ApiConfig) -> Intervals {
    let latest = now.saturating_sub(nanos(config.query_end_cutoff));
    let whole = latest - latest % step;
    let is_new = end.checked_next_multiple_of(step).is_none_or(|last| last > latest);
    let is_cut = !config.query_end_cutoff.is_zero() && is_new && whole.saturating_sub(step) >= start;
    Intervals::range(start, if is_cut { whole } else { end }, step)
}

/// The interval of an instant query, which ends as long before now, as long as something is left. It gets shorter by
/// whole seconds, so that the same question asked again is about as much time.
fn instant_time(start: u64, end: u64, now: u64, config: &ApiConfig) -> Intervals {
    let latest = now.saturating_sub(nanos(config.query_end_cutoff));
    let over =
        if config.query_end_cutoff.is_zero() { 0 } else { end.saturating_sub(latest).div_ceil(SECOND) };
    let cut = end.saturating_sub(over.saturating_mul(SECOND));
    Intervals::instant(start, if cut > start { cut } else { end })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long intervals are when nothing says so.
fn automatic_step(range: u64) -> u64 {
    let wanted = range / POINTS;
    let unit = ROUND.into_iter().find(|unit| *unit <= wanted);
    match unit {
        Some(unit) => wanted - wanted % unit,
        None if range < MINUTE => (wanted - wanted % SHORT).max(SHORT),
        None => SECOND,
    }
}

/// Refuses a step that makes too many intervals, or endlessly many.
fn check_step(step: u64, range: u64, config: &ApiConfig) -> Result<()> {
    if step > 0 && (config.max_intervals == 0 || range / step <= config.max_intervals) {
        return Ok(());
    }
    let show = |nanos| show_duration(Duration::from_nanos(nanos));
    let smallest = (range / config.max_intervals.max(1)).max(1);
    Err(ApiError::bad(match config.max_intervals {
        0 => "step must be greater than 0".to_owned(),
        _ => {
            format!("step of {} is too small, minimum step for given range is {}", show(step), show(smallest))
        }
    }))
}

/// Refuses what is no question for series. Recorded: to a range query the language's own errors come bare.
fn check_query(text: &str, is_instant: bool) -> Result<()> {
    let error = match trackway_traceql::parse_metrics(text) {
        Ok(query) if query.is_metrics() => return Ok(()),
        Ok(_) => return Err(ApiError::bad("not a metrics query")),
        Err(error) => error,
    };
    let is_bare = !is_instant && matches!(error.kind(), ErrorKind::Syntax | ErrorKind::TooLong);
    Err(ApiError::bad(if is_bare { error.to_string() } else { format!("compiling query: {error}") }))
}

/// A time: seconds of up to 10 digits or with a point, nanoseconds, or a date as in RFC 3339.
fn time(query: &QueryString, name: &str) -> Result<Option<u64>> {
    let text = query.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        // A fraction of a second is no more exact than a millisecond.
        return Ok(Some(((seconds * 1e3).round() as u64).saturating_mul(1_000_000)));
    }
    let error = match parse_int(text) {
        Ok(number) => {
            let scale = if text.len() <= 10 { SECOND } else { 1 };
            return Ok(Some(u64::try_from(number).unwrap_or_default().saturating_mul(scale)));
        }
        Err(error) => error,
    };
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Some(u64::try_from(time.as_nanosecond()).unwrap_or_default())),
        Err(_) => Err(ApiError::bad(format!("could not parse '{name}' parameter: {error}"))),
    }
}

/// The length of an interval: seconds, or a duration.
fn step(text: &str) -> Result<u64> {
    let wrong = |why: &str| ApiError::bad(format!("cannot parse {} to a valid duration{why}", quote(text)));
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() {
            return Err(wrong(""));
        }
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 {
            return Err(wrong(". It overflows int64"));
        }
        return Ok(nanos.round() as u64); // what is below 0 becomes 0
    }
    long_duration(text).ok_or_else(|| wrong(""))
}

/// A duration that may begin with years, weeks and days: `7d`, `1d12h`.
fn long_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    for (unit, length) in [('y', 365 * DAY), ('w', 7 * DAY), ('d', DAY)] {
        if let Some((count, after)) = rest.split_once(unit) {
            let count: u64 = count.parse().ok()?;
            total = total.checked_add(count.checked_mul(length)?)?;
            rest = after;
        }
    }
    if rest.is_empty() && total > 0 {
        return Some(total);
    }
    total.checked_add(parse_duration(rest).ok()?)
}

#[cfg(test)]
mod tests;
