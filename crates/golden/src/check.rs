//! Whether the answer to one question is right.

use serde_json::Value;

use crate::compare::comparator;
use crate::http::{self, Response};
use crate::question::{Port, Question};

/// Where the server listens, each as `host:port` (`http://` in front is allowed).
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The HTTP API.
    pub api: String,
    /// OTLP over HTTP.
    pub otlp: String,
    /// The Zipkin receiver; its questions are skipped when there is none.
    pub zipkin: Option<String>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is right.
    Pass,
    /// The answer is wrong, or there was none.
    Fail(String),
    /// The question was not asked.
    Skipped(String),
}

/// Where the right answer is not the recorded one: the number of traces that a question must find.
const TRACES: [(&str, usize); 6] = [
    ("{ .i ^ 2 = 1764 }", 1),
    ("{ span:childCount = 0 && resource.service.name = \"trees\" }", 5),
    ("{ .dup = \"resource-value\" }", 0),
    ("{ .i = 42.0 }", 1),
    ("{ .f = 2 }", 1),
    ("{ !(kind = server) && resource.service.name = \"kinds\" }", 1),
];

/// Where Tempo finds nothing, and finding the roots is as good an answer.
const OPEN: [&str; 1] = ["{ span:parentID = \"\" }"];

/// Asks one question and judges the answer.
pub fn check(q: &Question, at: &Endpoints) -> Verdict {
    let address = match q.port {
        Port::Api => &at.api,
        Port::Otlp => &at.otlp,
        Port::Zipkin => match &at.zipkin {
            Some(address) => address,
            None => return Verdict::Skipped("there is no Zipkin address".to_owned()),
        },
    };
    let judged = http::request(address, &q.method, &q.path, &q.headers, q.body.as_deref())
        .map_err(|error| format!("no answer: {error}"))
        .and_then(|answer| judge(q, &answer));
    match judged {
        Ok(()) => Verdict::Pass,
        Err(why) => Verdict::Fail(why),
    }
}

/// Judges an answer that was not asked for over HTTP.
///
/// # Errors
/// What is wrong with it.
pub fn judge_answer(q: &Question, status: u16, body: &[u8]) -> Result<(), String> {
    judge(q, &Response { status, headers: Vec::new(), body: body.to_vec() })
}

fn judge(q: &Question, answer: &Response) -> Result<(), String> {
    let status = answer.status;
    let right = |is: bool, why: String| if is { Ok(()) } else { Err(why) };
    if let Some(query) = q.traceql.as_deref() {
        if OPEN.contains(&query) {
            return right(status == 200, format!("status {status}"));
        }
        if let Some(count) = must_find(query) {
            let found =
                if status == 200 { found(&parse(&answer.body)?) } else { Err(format!("status {status}")) };
            let found = found.map_err(|why| format!("{why}, want {count} traces"))?;
            return right(found == count, format!("{found} traces, want {count}"));
        }
    }
    let want = match q.status {
        500 => 400, // a question that cannot be answered is the asker's error, not the server's
        other => other,
    };
    if matches!(want, 301 | 405 | 501) {
        let refused = (300..500).contains(&status) || status == 501;
        return right(refused, format!("status {status}, want {want}"));
    }
    right(status == want, format!("status {status}, want {want}: {}", excerpt(&answer.body)))?;
    match (status, comparator(&q.group), &q.json) {
        (200, Some(compare), Some(want)) => compare(want, &parse(&answer.body)?, q),
        _ => Ok(()),
    }
}

/// The number of traces to be found where the recording does not say it.
pub(crate) fn must_find(query: &str) -> Option<usize> {
    TRACES.iter().find(|(known, _)| *known == query).map(|&(_, count)| count)
}

fn found(answer: &Value) -> Result<usize, String> {
    match answer.get("traces") {
        None => Ok(0),
        Some(Value::Array(traces)) => Ok(traces.len()),
        Some(other) => Err(format!("traces is not a list: {other}")),
    }
}

fn parse(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|_| format!("not JSON: {}", excerpt(body)))
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, query: &str, got: u16, body: &str) -> bool {
        let traceql = (!query.is_empty()).then(|| query.to_owned());
        let json = Some(serde_json::json!({"traces": []}));
        let q = Question { group: "search".to_owned(), status, traceql, json, ..Question::default() };
        judge(&q, &Response { status: got, headers: Vec::new(), body: body.as_bytes().to_vec() }).is_ok()
    }

    #[test]
    fn status() {
        assert!(judged(400, "", 400, "why"));
        assert!(!judged(400, "", 500, ""));
        assert!(judged(500, "", 400, ""));
        assert!(!judged(500, "", 500, ""));
        for got in [301, 404, 499, 501] {
            assert!(judged(301, "", got, "") && judged(405, "", got, "") && judged(501, "", got, ""));
        }
        assert!(!judged(405, "", 200, "") && !judged(405, "", 500, ""));
        assert!(judged(200, "", 200, "{}"));
        assert!(!judged(200, "", 200, "{"));
    }

    #[test]
    fn exceptions() {
        assert!(judged(200, OPEN[0], 200, r#"{"traces":[{"traceID":"1"}]}"#));
        assert!(!judged(200, OPEN[0], 400, ""));
        assert!(judged(200, "{ .f = 2 }", 200, r#"{"traces":[{"traceID":"1"}]}"#));
        assert!(!judged(200, "{ .f = 2 }", 200, r#"{"traces":[]}"#));
        assert!(!judged(200, "{ .f = 2 }", 400, ""));
        assert!(judged(200, "{ .dup = \"resource-value\" }", 200, "{}"));
        assert!(!judged(200, "{ .dup = \"resource-value\" }", 200, r#"{"traces":null}"#));
    }

    #[test]
    fn no_zipkin_is_no_failure() {
        let q = Question { port: Port::Zipkin, ..Question::default() };
        let at = Endpoints { api: String::new(), otlp: String::new(), zipkin: None };
        assert!(matches!(check(&q, &at), Verdict::Skipped(_)));
    }
}
