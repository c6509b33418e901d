//! Lines about single spans (`log_received_spans`, `log_discarded_spans`), with the fields of Tempo's.
//!
//! What must stay true: logging is bounded, by lines a second and bytes a line; what was passed over is said. It costs
//! nothing unless it is asked for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;
use trackway_common::TenantId;
use trackway_spans::Value;
use trackway_spans::anyvalue::{self, AnyValue};

use crate::walk::{self, ResourceSpans, Span};

/// Lines a second of each kind.
const LINES_PER_SECOND: u64 = 1000;
/// Bytes of a line at the most, about.
const LINE_BYTES_MAX: usize = 8192;
/// Bytes of a value in it.
const VALUE_BYTES_MAX: usize = 1024;
/// How deep lists and maps are shown.
const DEPTH_MAX: usize = 4;
/// The status code of an error.
const ERROR: u64 = 2;

/// Which spans are logged (`log_received_spans`, `log_discarded_spans`).
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSpans {
    /// Whether any are.
    pub enabled: bool,
    /// With all their attributes.
    pub include_all_attributes: bool,
    /// Only those with status error.
    pub filter_by_status_error: bool,
}

/// How many lines there may be.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    lines: u64,
    passed_over: u64,
}

impl Budget {
    /// Whether there may be another line, and how many spans were passed over before it.
    fn grant(&mut self, now: Duration) -> Option<u64> {
        if self.second != now.as_secs() {
            (self.second, self.lines) = (now.as_secs(), 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.passed_over += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.passed_over))
    }
}

/// One of the two logs.
#[derive(Debug)]
pub(crate) struct SpanLog {
    what: &'static str,
    config: LogSpans,
    budget: Mutex<Budget>,
}

impl SpanLog {
    /// `what` is the line's message: `received` or `discarded`.
    pub(crate) fn new(what: &'static str, config: LogSpans) -> Self {
        Self { what, config, budget: Mutex::default() }
    }

    /// Whether anything is logged.
    pub(crate) fn is_on(&self) -> bool {
        self.config.enabled
    }

    /// Logs all spans of a request, or those of which `why` says something: a reason for each, by place in the request.
    pub(crate) fn log(&self, tenant: &TenantId, request: &[u8], why: Why<'_>, now: Duration) {
        if !self.config.enabled {
            return;
        }
        let mut ordinal = 0_u32;
        for resource in walk::resources(request) {
            for span in resource.spans() {
                let reason = match why {
                    Why::None => Some(None),
                    Why::All(reason) => Some(Some(reason)),
                    Why::Each(reasons) => reasons.get(&ordinal).map(|reason| Some(reason.as_str())),
                };
                ordinal = ordinal.saturating_add(1);
                if let Some(reason) = reason {
                    self.line(tenant, resource, Span::read(span), reason, now);
                }
            }
        }
    }

    fn line(
        &self,
        tenant: &TenantId,
        resource: ResourceSpans<'_>,
        span: Span<'_>,
        reason: Option<&str>,
        now: Duration,
    ) {
        if self.config.filter_by_status_error && span.status != ERROR {
            return;
        }
        let Some(passed_over) = self.budget.lock().grant(now) else { return };
        if passed_over > 0 {
            tracing::info!(
                "{passed_over} spans are not in the log as {}: more than {LINES_PER_SECOND} a second",
                self.what
            );
        }
        let text = line(self.what, self.config.include_all_attributes, (resource, span), reason);
        tracing::info!(%tenant, "{text}");
    }
}

/// Why spans are logged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why<'w> {
    /// For no special reason.
    None,
    /// All for the same.
    All(&'w str),
    /// Each for its own, by its place in the request.
    Each(&'w BTreeMap<u32, String>),
}

fn line(
    what: &str,
    all: bool,
    (resource, span): (ResourceSpans<'_>, Span<'_>),
    reason: Option<&str>,
) -> String {
    let mut out = format!("msg={what}");
    if let Some(reason) = reason {
        put(&mut out, "push_error_reason", reason);
    }
    if all {
        for (key, value) in resource.attributes().chain(span.attributes()) {
            if out.len() > LINE_BYTES_MAX {
                out.push_str(" …");
                break;
            }
            let mut shown = String::new();
            show(value, DEPTH_MAX, &mut shown);
            put(&mut out, &format!("span_{}", label(key)), &shown);
        }
        put(&mut out, "span_name", &String::from_utf8_lossy(span.name));
        let seconds = span.end.saturating_sub(span.start) as f64 / 1e9;
        put(&mut out, "span_duration_seconds", &seconds.to_string());
        put(&mut out, "span_kind", kind(span.kind));
        put(&mut out, "span_status", status(span.status));
    }
    put(&mut out, "spanid", &hex(span.span_id));
    put(&mut out, "traceid", &hex(span.trace_id));
    out
}

/// Appends ` key=value`, quoted where logfmt needs it.
fn put(out: &mut String, key: &str, value: &str) {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let (shown, cut) = (&value[..end], if end < value.len() { "…" } else { "" });
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '=' | '"' | '\\');
    // Writing to a string cannot fail.
    let _ = if shown.chars().all(plain) && !shown.is_empty() {
        write!(out, " {key}={shown}{cut}")
    } else {
        write!(out, " {key}={:?}", format!("{shown}{cut}"))
    };
}

/// An attribute's name as Prometheus takes it, which is how Tempo prints it.
fn label(key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key.get(..VALUE_BYTES_MAX).unwrap_or(key)).into_owned();
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Appends a value as a person reads it.
fn show(value: &[u8], depth: usize, out: &mut String) {
    if out.len() > VALUE_BYTES_MAX {
        return;
    }
    // Writing to a string cannot fail.
    let _ = match anyvalue::parse(value) {
        Ok(AnyValue::Scalar(Value::String(text))) => {
            let text = text.get(..VALUE_BYTES_MAX + 1).unwrap_or(text);
            write!(out, "{}", String::from_utf8_lossy(text))
        }
        Ok(AnyValue::Scalar(Value::Int(value))) => write!(out, "{value}"),
        Ok(AnyValue::Scalar(Value::Float(value))) => write!(out, "{value}"),
        Ok(AnyValue::Scalar(Value::Bool(value))) => write!(out, "{value}"),
        Ok(AnyValue::Bytes(bytes)) => write!(out, "{}", hex(bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes))),
        Ok(AnyValue::Array(list)) if depth > 0 => {
            out.push('[');
            for (place, element) in anyvalue::elements(list).map_while(Result::ok).enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                show(element, depth - 1, out);
            }
            write!(out, "]")
        }
        Ok(AnyValue::Map(list)) if depth > 0 => {
            out.push('{');
            let pairs = anyvalue::elements(list).map_while(Result::ok);
            for (place, pair) in pairs.enumerate() {
                let Ok((key, value)) = anyvalue::parse_key_value(pair) else { break };
                let _ = write!(out, "{}{}:", if place > 0 { "," } else { "" }, String::from_utf8_lossy(key));
                show(value, depth - 1, out);
            }
            write!(out, "}}")
        }
        Ok(AnyValue::Empty) => Ok(()),
        _ => write!(out, "…"),
    };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn kind(kind: u64) -> &'static str {
    match kind {
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

fn status(status: u64) -> &'static str {
    match status {
        1 => "STATUS_CODE_OK",
        ERROR => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_is_passed_over_is_counted() {
        let mut budget = Budget::default();
        let second = |second: u64| Duration::from_millis(second * 1000 + 7);
        let granted = (0..LINES_PER_SECOND + 5).filter(|_| budget.grant(second(3)).is_some()).count();
        assert_eq!(granted as u64, LINES_PER_SECOND);
        assert_eq!(budget.grant(second(4)), Some(5));
        assert_eq!(budget.grant(second(4)), Some(0));
        let mut out = String::new();
        put(&mut out, "a", "b c");
        put(&mut out, "d", &"x".repeat(VALUE_BYTES_MAX + 1));
        put(&mut out, "e", "f");
        assert!(out.starts_with(" a=\"b c\" d=xx") && out.ends_with("x… e=f"), "{out}");
    }
}
