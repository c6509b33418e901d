//! What the parameters of a question mean, for HTTP and gRPC alike. The texts are Tempo's: Grafana recognises some of
//! them, and people search for them.

use http::Method;
use trackway_querier::service::{
    SearchFilter, SearchRequest, TagScope, TagValuesRequest, TagsRequest, TimeRange,
};

use crate::ApiConfig;
use crate::error::ApiError;
use crate::go::{parse_duration, parse_int, parse_uint, show_duration};
use crate::logfmt;
use crate::query_string::QueryString;

/// Parameters of a search that are not tags.
const KNOWN: [&str; 11] = [
    "q",
    "tags",
    "start",
    "end",
    "since",
    "limit",
    "spss",
    "minDuration",
    "maxDuration",
    "skip_ast_transformations",
    "rf1after",
];
const NANOS: u64 = 1_000_000_000;

type Result<T> = std::result::Result<T, ApiError>;

/// A search as it was asked, numbers read but not judged. 0 and empty mean not given.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchInput {
    pub(crate) query: String,
    pub(crate) tags: Vec<(String, String)>,
    /// Nanoseconds.
    pub(crate) min_duration: u64,
    /// Nanoseconds.
    pub(crate) max_duration: u64,
    pub(crate) limit: u32,
    pub(crate) spss: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Reads the parameters of `/api/search`. `now` is in seconds.
pub(crate) fn search(
    query: &QueryString,
    method: &Method,
    now: u64,
    config: &ApiConfig,
) -> Result<SearchRequest> {
    let (start, end) = times(query, now)?;
    // Recorded: a question by another method than GET must say what time it is about.
    if start == 0 && end == 0 && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(not_before(now, now));
    }
    let q = query.get("q");
    let tags = query.get("tags");
    if !q.is_empty() && !tags.is_empty() {
        return Err(ApiError::bad("invalid request: can't specify tags and q in the same query"));
    }
    let pairs = if tags.is_empty() {
        legacy_tags(query)
    } else {
        logfmt::parse(tags).map_err(|error| ApiError::bad(format!("invalid tags: {error}")))?
    };
    let limit = match query.get("limit") {
        "" => 0,
        text => number("limit", text)?,
    };
    if limit == 0 && !query.get("limit").is_empty() {
        return Err(ApiError::bad("invalid limit: must be a positive number"));
    }
    let input = SearchInput {
        query: q.to_owned(),
        tags: pairs,
        min_duration: duration(query, "minDuration")?,
        max_duration: duration(query, "maxDuration")?,
        limit,
        spss: optional_number(query, "spss")?,
        start,
        end,
    };
    input.judge(config)
}

impl SearchInput {
    /// Puts the defaults in and holds it against the limits.
    pub(crate) fn judge(self, config: &ApiConfig) -> Result<SearchRequest> {
        let limit = if self.limit == 0 { config.default_result_limit } else { self.limit };
        if config.max_result_limit > 0 && limit > config.max_result_limit {
            let text = format!("limit {limit} exceeds max limit {}", config.max_result_limit);
            return Err(ApiError::bad(text));
        }
        let spss = if self.spss == 0 { config.default_spss } else { self.spss };
        if config.max_spss > 0 && spss > config.max_spss {
            let text = format!("spans per span set exceeds {}. received {spss}", config.max_spss);
            return Err(ApiError::bad(text));
        }
        let range = range(self.start, self.end)?;
        let longest = config.max_search_duration;
        if let Some(range) = range
            && !longest.is_zero()
            && range.end - range.start > longest.as_secs()
        {
            return Err(ApiError::bad(format!(
                "range specified by start and end exceeds {}. received start={} end={}",
                show_duration(longest),
                range.start,
                range.end
            )));
        }
        query_size(&self.query, config)?;
        let filter = if self.query.is_empty() {
            let bound = |nanos| if nanos == 0 { None } else { Some(nanos) };
            SearchFilter::Tags {
                tags: self.tags,
                min_duration: bound(self.min_duration),
                max_duration: bound(self.max_duration),
            }
        } else {
            SearchFilter::TraceQl(self.query)
        };
        Ok(SearchRequest { filter, range, limit: limit as usize, spans_per_spanset: spss as usize })
    }
}

/// Parameters that nobody knows are tags, when nothing else says what to look for or when.
fn legacy_tags(query: &QueryString) -> Vec<(String, String)> {
    if ["q", "tags", "start", "end"].iter().any(|name| !query.get(name).is_empty()) {
        return Vec::new();
    }
    query
        .iter()
        .filter(|(name, value)| !KNOWN.contains(&name.as_str()) && !value.is_empty())
        .cloned()
        .collect()
}

/// `start` and `end` of a search, or `since`; 0 for what is not given.
fn times(query: &QueryString, now: u64) -> Result<(u64, u64)> {
    let (start, end) = (optional_number(query, "start")?, optional_number(query, "end")?);
    let since = query.get("since");
    if since.is_empty() || start != 0 || end != 0 {
        return Ok((u64::from(start), u64::from(end)));
    }
    let since = parse_duration(since).map_err(|error| ApiError::bad(format!("invalid since: {error}")))?;
    Ok((now.saturating_sub(since / NANOS), now))
}

/// A range from both of its ends; none when neither is given.
pub(crate) fn range(start: u64, end: u64) -> Result<Option<TimeRange>> {
    if start == 0 && end == 0 {
        return Ok(None);
    }
    if end <= start {
        return Err(not_before(start, end));
    }
    Ok(Some(TimeRange { start, end }))
}

fn not_before(start: u64, end: u64) -> ApiError {
    ApiError::bad(format!("http parameter start must be before end. received start={start} end={end}"))
}

/// The range of a question for one trace; either end may be left open.
pub(crate) fn trace_range(query: &QueryString) -> Result<Option<TimeRange>> {
    let read = |name: &str| match query.get(name) {
        "" => Ok(0),
        text => parse_int(text)
            .map(|seconds| u64::try_from(seconds).unwrap_or_default())
            .map_err(|error| ApiError::bad(format!("invalid {name}: {error}"))),
    };
    let (start, end) = (read("start")?, read("end")?);
    if end == 0 && start != 0 {
        return Ok(Some(TimeRange { start, end: u64::MAX }));
    }
    range(start, end)
}

/// Checks what else a question for one trace may carry; it only chooses between Tempo's parts.
pub(crate) fn trace_mode(query: &QueryString) -> Result<()> {
    let mode = query.get("mode");
    if !matches!(mode, "" | "all" | "ingesters" | "blocks" | "external" | "recent") {
        return Err(ApiError::bad(format!("invalid value for mode {mode}")));
    }
    for name in ["blockStart", "blockEnd"] {
        let id = query.get(name);
        let hex = id.bytes().filter(|byte| *byte != b'-');
        if !id.is_empty() && (hex.clone().count() != 32 || !hex.clone().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(ApiError::bad(format!("invalid value for {name} {id}")));
        }
    }
    Ok(())
}

/// Reads the parameters of `/api/search/tags` and its second version.
pub(crate) fn tags(query: &QueryString, config: &ApiConfig) -> Result<TagsRequest> {
    query_size(query.get("q"), config)?;
    Ok(TagsRequest {
        scope: scope(query.get("scope"))?,
        query: query.get("q").to_owned(),
        range: tag_range(query)?,
        limit: optional_number(query, "limit")? as usize,
    })
}

/// Reads the parameters of `/api/search/tag/{name}/values` and its second version.
pub(crate) fn tag_values(
    name: String,
    legacy: bool,
    query: &QueryString,
    config: &ApiConfig,
) -> Result<TagValuesRequest> {
    if name.is_empty() {
        return Err(ApiError::bad("please provide a non-empty tagName"));
    }
    query_size(query.get("q"), config)?;
    Ok(TagValuesRequest {
        name,
        legacy,
        query: query.get("q").to_owned(),
        range: tag_range(query)?,
        limit: optional_number(query, "limit")? as usize,
    })
}

fn tag_range(query: &QueryString) -> Result<Option<TimeRange>> {
    let read = |name: &str| match query.get(name) {
        "" => Ok(0),
        text => parse_int(text)
            .map(|seconds| u64::try_from(seconds).unwrap_or_default())
            .map_err(|error| ApiError::bad(format!("invalid {name}: {error}"))),
    };
    range(read("start")?, read("end")?)
}

/// A scope by its name.
pub(crate) fn scope(name: &str) -> Result<Option<TagScope>> {
    Ok(Some(match name {
        "" | "none" => return Ok(None),
        "resource" => TagScope::Resource,
        "span" => TagScope::Span,
        "event" => TagScope::Event,
        "link" => TagScope::Link,
        "instrumentation" => TagScope::Instrumentation,
        "intrinsic" | "trace" => TagScope::Intrinsic,
        other => return Err(ApiError::bad(format!("invalid scope: {other}"))),
    }))
}

/// The name of a scope.
pub(crate) fn scope_name(scope: TagScope) -> &'static str {
    match scope {
        TagScope::Resource => "resource",
        TagScope::Span => "span",
        TagScope::Event => "event",
        TagScope::Link => "link",
        TagScope::Instrumentation => "instrumentation",
        TagScope::Intrinsic => "intrinsic",
    }
}

/// Refuses a query that is too long to be looked at.
pub(crate) fn query_size(query: &str, config: &ApiConfig) -> Result<()> {
    let most = config.max_query_bytes;
    if query.len() <= most {
        return Ok(());
    }
    Err(ApiError::bad(format!(
        "TraceQL expression exceeds the configured maximum size of {most} bytes, reduce the query size or contact \
         your system administrator"
    )))
}

fn optional_number(query: &QueryString, name: &str) -> Result<u32> {
    match query.get(name) {
        "" => Ok(0),
        text => number(name, text),
    }
}

fn number(name: &str, text: &str) -> Result<u32> {
    parse_uint(text, 32)
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        .map_err(|error| ApiError::bad(format!("invalid {name}: {error}")))
}

fn duration(query: &QueryString, name: &str) -> Result<u64> {
    match query.get(name) {
        "" => Ok(0),
        text => parse_duration(text).map_err(|error| ApiError::bad(format!("invalid {name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn asked(text: &str) -> std::result::Result<SearchRequest, String> {
        let query = QueryString::parse(Some(text));
        search(&query, &Method::GET, NOW, &ApiConfig::default()).map_err(|error| error.text)
    }

    #[test]
    fn wrong_parameters_are_refused_in_tempos_words() {
        for (text, error) in [
            ("limit=-1", "invalid limit: strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ("limit=0", "invalid limit: must be a positive number"),
            ("limit=262145", "limit 262145 exceeds max limit 262144"),
            ("spss=x", "invalid spss: strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("spss=101", "spans per span set exceeds 100. received 101"),
            ("minDuration=x", "invalid minDuration: time: invalid duration \"x\""),
            ("start=1&end=x", "invalid end: strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("q={}&start=5", "http parameter start must be before end. received start=5 end=0"),
            ("q={}&start=5&end=5", "http parameter start must be before end. received start=5 end=5"),
            (
                "start=1000000&end=1604801",
                "range specified by start and end exceeds 168h0m0s. received start=1000000 end=1604801",
            ),
            ("q={}&tags=a%3Db", "invalid request: can't specify tags and q in the same query"),
            ("tags=%3D", "invalid tags: logfmt syntax error at pos 1 on line 1: unexpected '='"),
            ("since=x", "invalid since: time: invalid duration \"x\""),
        ] {
            assert_eq!(asked(text).unwrap_err(), error, "{text}");
        }
        let long = format!("q={}", "x".repeat(131_073));
        assert!(
            asked(&long)
                .unwrap_err()
                .starts_with("TraceQL expression exceeds the configured maximum size of 131072 bytes, ")
        );
    }

    #[test]
    fn defaults_and_ranges() {
        let all = asked("").unwrap();
        assert_eq!((all.range, all.limit, all.spans_per_spanset), (None, 20, 3));
        assert!(
            matches!(all.filter, SearchFilter::Tags { tags, min_duration: None, max_duration: None } if tags.is_empty())
        );
        let range = Some(TimeRange { start: 1_000_000, end: 1_604_800 });
        assert_eq!(asked("start=1000000&end=1604800&spss=0").unwrap().range, range);
        assert_eq!(asked("since=1h").unwrap().range, Some(TimeRange { start: NOW - 3600, end: NOW }));
        let post = search(&QueryString::parse(Some("q={}")), &Method::POST, NOW, &ApiConfig::default());
        let text = format!("http parameter start must be before end. received start={NOW} end={NOW}");
        assert_eq!(post.unwrap_err().text, text);
    }

    #[test]
    fn filters() {
        assert!(
            matches!(asked("q={}&minDuration=5s").unwrap().filter, SearchFilter::TraceQl(q) if q == "{}")
        );
        let SearchFilter::Tags { tags, min_duration, max_duration } =
            asked("tags=a%3Db&minDuration=50ms&maxDuration=0s").unwrap().filter
        else {
            panic!("not by tags")
        };
        assert_eq!(tags, [("a".to_owned(), "b".to_owned())]);
        assert_eq!((min_duration, max_duration), (Some(50_000_000), None));
        let found = |text| match asked(text).unwrap().filter {
            SearchFilter::Tags { tags, .. } => tags.len(),
            SearchFilter::TraceQl(_) => 99,
        };
        assert_eq!(found("service.name=a&limit=5&http.status_code=500"), 2);
        assert_eq!(found("service.name=a&start=1&end=2"), 0);
    }

    #[test]
    fn scopes_and_modes() {
        assert_eq!(scope("bogus").unwrap_err().text, "invalid scope: bogus");
        assert_eq!(scope("trace").unwrap(), Some(TagScope::Intrinsic));
        let trace = |text| {
            let query = QueryString::parse(Some(text));
            trace_mode(&query).and_then(|()| trace_range(&query)).map_err(|error| error.text)
        };
        assert_eq!(trace("mode=x").unwrap_err(), "invalid value for mode x");
        assert!(trace("blockStart=x").is_err());
        assert_eq!(trace("blockStart=00000000-0000-0000-0000-000000000000&mode=blocks"), Ok(None));
        let text = "http parameter start must be before end. received start=6 end=5";
        assert_eq!(trace("start=6&end=5").unwrap_err(), text);
        assert_eq!(trace("start=6"), Ok(Some(TimeRange { start: 6, end: u64::MAX })));
    }
}
