//! `filter_policies`: which spans count.
//!
//! What must stay true, as in Tempo 3.0: what one `exclude` matches is left out; else what one `include_any` matches is
//! let in; else all `include`s must match. Without `include` and `include_any` everything is let in.

use regex::bytes::Regex;
use trackway_overrides::{FilterPolicy, PolicyMatch, PolicyValue};
use trackway_spans::Value;
use trackway_spans::anyvalue::AnyValue;

use crate::facts::{Facts, kind_name, status_name};
use crate::wanted::{Slot, Wanted};

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter_policies: {0}")]
pub struct PolicyError(String);

/// All policies of a processor.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    include: Vec<Vec<Condition>>,
    include_any: Vec<Vec<Condition>>,
    exclude: Vec<Vec<Condition>>,
}

#[derive(Debug)]
struct Condition {
    on: On,
    test: Test,
}

#[derive(Clone, Copy, Debug)]
enum On {
    Resource(Slot),
    Span(Slot),
    Name,
    Kind,
    Status,
}

#[derive(Debug)]
enum Test {
    Text(Vec<u8>),
    Regex(Regex),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Test {
    fn holds(&self, value: AnyValue<'_>) -> bool {
        match (self, value) {
            (_, AnyValue::Scalar(Value::String(text))) => self.holds_text(text),
            (Self::Int(wanted), AnyValue::Scalar(Value::Int(number))) => *wanted == number,
            // A whole number in the configuration is a number, however the sender wrote it.
            (Self::Int(wanted), AnyValue::Scalar(Value::Float(number))) => *wanted as f64 == number,
            (Self::Float(wanted), AnyValue::Scalar(Value::Float(number))) => *wanted == number,
            (Self::Float(wanted), AnyValue::Scalar(Value::Int(number))) => *wanted == number as f64,
            (Self::Bool(wanted), AnyValue::Scalar(Value::Bool(truth))) => *wanted == truth,
            _ => false,
        }
    }

    fn holds_text(&self, text: &[u8]) -> bool {
        match self {
            Self::Text(wanted) => wanted == text,
            Self::Regex(regex) => regex.is_match(text),
            _ => false,
        }
    }
}

impl Filter {
    /// # Errors
    /// [`PolicyError`] for a key or a regular expression that is none.
    pub(crate) fn new(policies: &[FilterPolicy], wanted: &mut Wanted) -> Result<Self, PolicyError> {
        let mut filter = Self::default();
        for policy in policies {
            let lists = [
                (&policy.include, &mut filter.include),
                (&policy.include_any, &mut filter.include_any),
                (&policy.exclude, &mut filter.exclude),
            ];
            for (conditions, list) in lists {
                if let Some(conditions) = conditions {
                    list.push(compile(conditions, wanted)?);
                }
            }
        }
        Ok(filter)
    }

    /// Whether a span counts.
    #[inline]
    pub(crate) fn lets_in(&self, facts: &Facts<'_, '_>) -> bool {
        let matches = |conditions: &Vec<Condition>| conditions.iter().all(|condition| condition.holds(facts));
        if self.exclude.iter().any(matches) {
            return false;
        }
        if self.include_any.iter().any(matches) {
            return true;
        }
        if self.include.is_empty() { self.include_any.is_empty() } else { self.include.iter().all(matches) }
    }
}

impl Condition {
    fn holds(&self, facts: &Facts<'_, '_>) -> bool {
        let value = match self.on {
            On::Resource(slot) => facts.of_resource(slot),
            On::Span(slot) => facts.of_span(slot),
            On::Name => return self.test.holds_text(facts.span.name),
            On::Kind => return self.test.holds_text(kind_name(facts.span.kind).as_bytes()),
            On::Status => return self.test.holds_text(status_name(facts.span.status).as_bytes()),
        };
        value.is_some_and(|value| self.test.holds(value))
    }
}

fn compile(conditions: &PolicyMatch, wanted: &mut Wanted) -> Result<Vec<Condition>, PolicyError> {
    let attributes = conditions.attributes.iter().map(|attribute| {
        let on = match attribute.key.as_str() {
            "name" => On::Name,
            "kind" => On::Kind,
            "status" => On::Status,
            key => match (key.strip_prefix("resource."), key.strip_prefix("span.")) {
                (Some(key), _) => On::Resource(wanted.add(key)),
                (_, Some(key)) => On::Span(wanted.add(key)),
                _ => {
                    let way_out = "write resource.…, span.…, name, kind or status";
                    return Err(PolicyError(format!("key {key:?} is not known; {way_out}")));
                }
            },
        };
        let test = match &attribute.value {
            PolicyValue::Text(text) if conditions.regex => Test::Regex(
                Regex::new(text)
                    .map_err(|error| PolicyError(format!("value {text:?} of {}: {error}", attribute.key)))?,
            ),
            PolicyValue::Text(text) => Test::Text(intrinsic(on, text)),
            PolicyValue::Int(number) => Test::Int(*number),
            PolicyValue::Float(number) => Test::Float(*number),
            PolicyValue::Bool(truth) => Test::Bool(*truth),
        };
        Ok(Condition { on, test })
    });
    attributes.collect()
}

/// The value of a kind or status, also in TraceQL's short form.
fn intrinsic(on: On, text: &str) -> Vec<u8> {
    let known: Vec<&str> = match on {
        On::Kind => (0..=5).map(kind_name).collect(),
        On::Status => (0..=2).map(status_name).collect(),
        _ => Vec::new(),
    };
    let is_same = |name: &&&str| {
        let short = name
            .rsplit_once("KIND_")
            .or_else(|| name.rsplit_once("CODE_"))
            .map_or(**name, |(_, short)| short);
        name.eq_ignore_ascii_case(text) || short.eq_ignore_ascii_case(text)
    };
    known.iter().find(is_same).map_or(text, |name| name).as_bytes().to_vec()
}
