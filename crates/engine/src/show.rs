//! The second step of a search: judges whole traces and makes the answer.

use trackway_spans::{Level, SpanBatch, Value, anyvalue, effective_duration};
use trackway_traceql::ast::{Field, Intrinsic, Static};

use crate::column::{self, levels_of};
use crate::filter::{EvalError, Node};
use crate::plan::SearchPlan;
use crate::result::{AttributeValue, SpanResult, SpansetResult, TraceResult};
use crate::scan::extents;
use crate::value::{Comparison, Val};

impl SearchPlan {
    /// Judges the traces of a batch that holds all their spans with all trace-level columns, and returns those that are
    /// part of the answer. At most `spans_max` spans are shown of each spanset.
    ///
    /// # Errors
    /// [`EvalError`] when a filter cannot be computed.
    pub fn judge(&self, batch: &SpanBatch, spans_max: usize) -> Result<Vec<TraceResult>, EvalError> {
        let mut masks = Vec::new();
        let mut found = vec![0_u64; batch.traces.len()];
        for (index, filter) in self.filters.iter().enumerate() {
            let mask = filter.mask(batch)?;
            for (trace, hit) in batch.spans.trace.iter().zip(&mask) {
                found[*trace as usize] |= u64::from(*hit) << index;
            }
            masks.push(mask);
        }
        let contributing: Vec<u64> = found.iter().map(|found| self.combine.contributing(*found)).collect();
        let mut matched: Vec<Vec<u32>> = vec![Vec::new(); batch.traces.len()];
        for (span, trace) in batch.spans.trace.iter().enumerate() {
            let filters = contributing[*trace as usize];
            let hit = masks.iter().enumerate().any(|(index, mask)| mask[span] && filters >> index & 1 == 1);
            if hit {
                matched[*trace as usize].push(span as u32);
            }
        }
        let extents = extents(batch);
        let shown = if self.traces_only { Vec::new() } else { self.shown(batch) };
        let stats = stats_by_trace(batch);
        let mut results = Vec::new();
        for (row, spans) in matched.iter().enumerate() {
            if !self.combine.accepts(found[row]) || !self.overlaps(batch, row) {
                continue;
            }
            let mut result = trace_result(batch, row, extents[row]);
            if !self.traces_only {
                result.service_stats = stats.get(row).cloned().unwrap_or_default();
                let spanset = SpansetResult {
                    matched: spans.len() as u32,
                    spans: spans
                        .iter()
                        .take(spans_max)
                        .map(|span| span_result(batch, *span, &shown))
                        .collect(),
                    attributes: Vec::new(),
                };
                result.spansets.push(spanset);
            }
            results.push(result);
        }
        Ok(results)
    }

    /// The fields that are shown, with their values for every span of the batch.
    fn shown<'a>(&self, batch: &'a SpanBatch) -> Vec<Shown<'a>> {
        let mut shown = Vec::new();
        for field in &self.conditions {
            let mut comparisons = Vec::new();
            let mut missing = false;
            for filter in &self.filters {
                comparisons_of(&filter.root, field, &mut comparisons, &mut missing);
            }
            shown.extend(Shown::new(batch, field, comparisons, missing, false));
        }
        for field in self.selected.iter().filter(|field| !self.conditions.contains(field)) {
            shown.extend(Shown::new(batch, field, Vec::new(), false, true));
        }
        shown
    }
}

/// Collects the comparisons of one field with literals: they decide which event's value and which elements of an array
/// are shown.
fn comparisons_of(node: &Node, wanted: &Field, found: &mut Vec<(Comparison, Static)>, missing: &mut bool) {
    match node {
        Node::And(a, b) | Node::Or(a, b) => {
            comparisons_of(a, wanted, found, missing);
            comparisons_of(b, wanted, found, missing);
        }
        Node::Not(inner) => comparisons_of(inner, wanted, found, missing),
        Node::Compare { field, comparison, literal } if field == wanted => {
            found.push((comparison.clone(), literal.clone()));
        }
        Node::Missing(field) if field == wanted => *missing = true,
        _ => {}
    }
}

struct Shown<'a> {
    key: String,
    is_name: bool,
    values: Vec<Val<'a>>,
    comparisons: Vec<(Comparison, Static)>,
    nil_is_shown: bool,
    empty_is_shown: bool,
}

impl<'a> Shown<'a> {
    /// `None` for fields that are never shown.
    fn new(
        batch: &'a SpanBatch,
        field: &Field,
        comparisons: Vec<(Comparison, Static)>,
        missing: bool,
        selected: bool,
    ) -> Option<Self> {
        let key = key_of(field)?;
        let values = if comparisons.is_empty() {
            column::dense(batch, field)
        } else {
            matching(batch, field, &comparisons)
        };
        let is_name = matches!(field, Field::Intrinsic { intrinsic: Intrinsic::Name, .. });
        let attribute = matches!(field, Field::Attribute { .. });
        Some(Self {
            key,
            is_name,
            values,
            comparisons,
            nil_is_shown: missing,
            empty_is_shown: selected || attribute,
        })
    }

    fn value(&self, span: u32) -> Option<AttributeValue> {
        let text = |bytes: &[u8]| AttributeValue::String(String::from_utf8_lossy(bytes).into_owned());
        Some(match &self.values[span as usize] {
            Val::Nil if self.nil_is_shown => AttributeValue::String("nil".into()),
            Val::Nil => return None,
            Val::Int(value) => AttributeValue::Int(*value),
            Val::Float(value) => AttributeValue::Float(*value),
            Val::Duration(value) => AttributeValue::Int(*value),
            Val::Bool(value) => AttributeValue::Bool(*value),
            Val::Text(b"") if !self.empty_is_shown => return None,
            Val::Text(value) => text(value),
            Val::Owned(value) => text(value),
            Val::Status(code) => AttributeValue::String(status_name(*code).into()),
            Val::Kind(code) => AttributeValue::String(kind_name(*code).into()),
            Val::Array(message) => self.array(message),
        })
    }

    /// Of an array the elements that a condition asked for; one alone is shown as a scalar.
    fn array(&self, message: &[u8]) -> AttributeValue {
        let mut elements = Vec::new();
        anyvalue::for_each_element(message, |element| {
            let value = Val::from_attribute(element);
            let asked = |(comparison, literal): &(Comparison, Static)| {
                comparison.matches(&value, &Val::from_static(literal))
            };
            if self.comparisons.is_empty() || self.comparisons.iter().any(asked) {
                elements.extend(scalar(element));
            }
        });
        match <[AttributeValue; 1]>::try_from(elements) {
            Ok([one]) => one,
            Err(elements) => AttributeValue::Array(elements),
        }
    }
}

fn scalar(value: Value<'_>) -> Option<AttributeValue> {
    Some(match value {
        Value::String(text) => AttributeValue::String(String::from_utf8_lossy(text).into_owned()),
        Value::Int(value) => AttributeValue::Int(value),
        Value::Float(value) => AttributeValue::Float(value),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Other(_) => return None,
    })
}

/// Like [`column::dense`], but of several events or links the value of one that meets a condition.
fn matching<'a>(batch: &'a SpanBatch, field: &Field, comparisons: &[(Comparison, Static)]) -> Vec<Val<'a>> {
    let asked = |value: &Val<'_>| {
        comparisons.iter().any(|(comparison, literal)| comparison.matches(value, &Val::from_static(literal)))
    };
    let mut values = column::dense(batch, field);
    let mut prefer = |level: Level, of_owner: &[Val<'a>]| {
        for (span, owner) in owners_of_spans(batch, level).into_iter().rev() {
            let value = &of_owner[owner as usize];
            if *value != Val::Nil && asked(value) {
                values[span as usize] = value.clone();
            }
        }
    };
    match field {
        Field::Attribute { scope, name } => {
            // An unscoped attribute of a span or resource hides those of events and links.
            if let [level] = levels_of(*scope) {
                let mut of_owner = vec![Val::Nil; column::owners(batch, *level)];
                for (owner, value) in column::attribute_rows(batch, *level, name) {
                    let value = Val::from_attribute(value);
                    let slot = &mut of_owner[owner as usize];
                    if *slot == Val::Nil && asked(&value) {
                        *slot = value;
                    }
                }
                prefer(*level, &of_owner);
            }
        }
        Field::Intrinsic { intrinsic, .. } => {
            if let Some(level) = column::child_level(*intrinsic) {
                prefer(level, &column::child_intrinsic(batch, *intrinsic));
            }
        }
        Field::Parent { .. } => {}
    }
    values
}

/// Pairs of a span and an owner of a level that describes it.
fn owners_of_spans(batch: &SpanBatch, level: Level) -> Vec<(u32, u32)> {
    let spans = 0..batch.len() as u32;
    match level {
        Level::Event => batch.events.span.iter().copied().zip(0..).collect(),
        Level::Link => batch.links.span.iter().copied().zip(0..).collect(),
        Level::Span => spans.map(|span| (span, span)).collect(),
        Level::Scope => spans.map(|span| (span, batch.spans.scope[span as usize])).collect(),
        Level::Resource => spans.map(|span| (span, batch.resource_of(span as usize) as u32)).collect(),
    }
}

/// The key under which a field is shown: bare, without its scope. `None` for what is never shown, since the answer says
/// it elsewhere.
fn key_of(field: &Field) -> Option<String> {
    let key = match field {
        Field::Attribute { name, .. } => return Some(name.clone()),
        Field::Parent { .. } => return None,
        Field::Intrinsic { intrinsic, .. } => match intrinsic {
            Intrinsic::Name => "name",
            Intrinsic::Status => "status",
            Intrinsic::StatusMessage => "statusMessage",
            Intrinsic::Kind => "kind",
            Intrinsic::ParentId => "span:parentID",
            Intrinsic::ChildCount => "span:childCount",
            Intrinsic::NestedSetLeft => "nestedSetLeft",
            Intrinsic::NestedSetRight => "nestedSetRight",
            Intrinsic::NestedSetParent => "nestedSetParent",
            Intrinsic::EventName => "event:name",
            Intrinsic::EventTimeSinceStart => "event:timeSinceStart",
            Intrinsic::LinkTraceId => "link:traceID",
            Intrinsic::LinkSpanId => "link:spanID",
            Intrinsic::InstrumentationName => "instrumentation:name",
            Intrinsic::InstrumentationVersion => "instrumentation:version",
            _ => return None,
        },
    };
    Some(key.to_owned())
}

/// TraceQL's word for a status.
pub(crate) fn status_name(code: u8) -> &'static str {
    match code {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}

/// TraceQL's word for a kind.
pub(crate) fn kind_name(code: u8) -> &'static str {
    match code {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn span_result(batch: &SpanBatch, span: u32, shown: &[Shown<'_>]) -> SpanResult {
    let row = span as usize;
    let mut result = SpanResult {
        id: batch.spans.id[row],
        start: batch.spans.start[row],
        duration: effective_duration(batch.spans.duration[row]),
        ..SpanResult::default()
    };
    for field in shown {
        match (field.value(span), field.is_name) {
            (Some(AttributeValue::String(name)), true) => result.name = name,
            (Some(value), false) => result.attributes.push((field.key.clone(), value)),
            _ => {}
        }
    }
    result
}

fn trace_result(batch: &SpanBatch, row: usize, (start, end): (u64, u64)) -> TraceResult {
    let text = |column: &trackway_spans::Column<u32>| {
        column.get(row).map(|id| batch.strings.text(*id).into_owned()).unwrap_or_default()
    };
    let root_name = text(&batch.traces.root_name);
    TraceResult {
        id: batch.traces.id(row),
        root_service: text(&batch.traces.root_service),
        root_name: (!root_name.is_empty()).then_some(root_name),
        start,
        duration: end.saturating_sub(start),
        spansets: Vec::new(),
        service_stats: Vec::new(),
    }
}

fn stats_by_trace(batch: &SpanBatch) -> Vec<Vec<(String, u32, u32)>> {
    let mut by_trace = vec![Vec::new(); batch.traces.len()];
    let stats = &batch.traces.stats;
    for (row, trace) in stats.trace.iter().enumerate() {
        let service = batch.strings.text(stats.service[row]).into_owned();
        by_trace[*trace as usize].push((service, stats.spans[row], stats.errors[row]));
    }
    by_trace
}
