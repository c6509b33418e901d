//! The second step of a search: judges whole traces and makes the answer.

use trackway_spans::{Level, SpanBatch, Value, anyvalue, effective_duration};
use trackway_traceql::ast::{Field, Intrinsic};

use crate::asked::Asked;
use crate::column::{self, levels_of};
use crate::filter::{EvalError, missing_mask};
use crate::plan::SearchPlan;
use crate::result::{AttributeValue, SpanResult, SpansetResult, TraceResult};
use crate::scan::{Wholeness, extents, filter_masks, found_bits};
use crate::spansets::{Run, Spanset, rows_by_trace};
use crate::value::Val;

impl SearchPlan {
    /// Judges the traces of a batch that holds all their spans with all trace-level columns, and returns those that are
    /// part of the answer: of all, or of those rows for which `wanted` says true. At most `spans_max` spans are shown of
    /// each spanset.
    ///
    /// # Errors
    /// [`EvalError`] when a filter cannot be computed.
    pub fn judge(
        &self,
        batch: &SpanBatch,
        wanted: Option<&[bool]>,
        spans_max: usize,
    ) -> Result<Vec<TraceResult>, EvalError> {
        let masks = filter_masks(&self.program, batch, Wholeness::Whole(None))?;
        let found = found_bits(batch, &masks);
        let extents = extents(batch);
        let rows = rows_by_trace(batch);
        let run = Run::new(&self.program, batch, masks);
        let shown = if self.traces_only { Vec::new() } else { self.shown(batch) };
        let stats = stats_by_trace(batch);
        let mut results = Vec::new();
        for (row, rows) in rows.into_iter().enumerate() {
            let is_wanted = wanted.is_none_or(|wanted| wanted[row]);
            if !is_wanted || !self.accepts(found[row]) || !self.overlaps(batch, row) {
                continue;
            }
            let sets = run.trace(rows)?;
            if sets.is_empty() {
                continue;
            }
            let mut result = trace_result(batch, row, extents[row]);
            if !self.traces_only {
                result.service_stats = stats_of(batch, &stats, row);
                let in_order = by_time(batch, sets).into_iter();
                result.spansets = in_order.map(|set| spanset_result(batch, set, &shown, spans_max)).collect();
            }
            results.push(result);
        }
        Ok(results)
    }

    /// The fields that are shown, with their values for every span of the batch.
    fn shown<'a>(&'a self, batch: &'a SpanBatch) -> Vec<Shown<'a>> {
        self.asked.iter().filter_map(|asked| Shown::new(batch, asked)).collect()
    }
}

/// Brings spans, and spansets by their first spans, into the order of time. Which of them are shown must not depend on
/// where they lie: a block has spans by resource, live data by time.
fn by_time<'a>(batch: &SpanBatch, mut sets: Vec<Spanset<'a>>) -> Vec<Spanset<'a>> {
    let time = |span: &u32| (batch.spans.start[*span as usize], batch.spans.id[*span as usize]);
    sets.iter_mut().for_each(|set| set.spans.sort_unstable_by_key(time));
    sets.sort_by_key(|set| set.spans.first().map(time));
    sets
}

fn spanset_result(
    batch: &SpanBatch,
    set: Spanset<'_>,
    shown: &[Shown<'_>],
    spans_max: usize,
) -> SpansetResult {
    SpansetResult {
        matched: set.spans.len() as u32,
        spans: set.spans.iter().take(spans_max).map(|span| span_result(batch, *span, shown)).collect(),
        attributes: set.attributes.iter().map(|(key, value)| ((*key).to_owned(), value.shown())).collect(),
    }
}

/// The values of a field: computed for all spans at once, or for those that are shown.
enum Values<'a> {
    Dense(Vec<Val<'a>>),
    Intrinsic(&'a SpanBatch, Intrinsic),
}

impl<'a> Values<'a> {
    fn get(&self, span: u32) -> Val<'a> {
        match self {
            Self::Dense(values) => values[span as usize].clone(),
            Self::Intrinsic(batch, intrinsic) => column::intrinsic_of(batch, *intrinsic, span as usize),
        }
    }
}

struct Shown<'a> {
    key: String,
    is_name: bool,
    values: Values<'a>,
    asked: &'a Asked,
    /// Where the field is missing, if that was asked for.
    missing: Option<Vec<bool>>,
}

impl<'a> Shown<'a> {
    /// `None` for fields that are never shown.
    fn new(batch: &'a SpanBatch, asked: &'a Asked) -> Option<Self> {
        let key = key_of(&asked.field)?;
        let values = match &asked.field {
            Field::Intrinsic { intrinsic, .. } if column::is_of_span(*intrinsic) => {
                Values::Intrinsic(batch, *intrinsic)
            }
            field if asked.comparisons.is_empty() => Values::Dense(column::dense(batch, field)),
            _ => Values::Dense(matching(batch, asked)),
        };
        let is_name = matches!(asked.field, Field::Intrinsic { intrinsic: Intrinsic::Name, .. });
        let missing = asked.nil.then(|| missing_mask(batch, &asked.field));
        Some(Self { key, is_name, values, asked, missing })
    }

    fn value(&self, span: u32) -> Option<AttributeValue> {
        let value = &self.values.get(span);
        match value {
            Val::Nil => {
                let missing = self.missing.as_ref().is_some_and(|missing| missing[span as usize]);
                return missing.then(|| value.shown());
            }
            Val::Array(message) => return self.array(message),
            _ => {}
        }
        (self.asked.any_value || self.asked.is_met_by(value)).then(|| value.shown())
    }

    /// Of an array the elements that a condition asked for; one alone is shown as a scalar.
    fn array(&self, message: &[u8]) -> Option<AttributeValue> {
        let (mut all, mut met) = (Vec::new(), Vec::new());
        anyvalue::for_each_element(message, |element| {
            let Some(shown) = scalar(element) else { return };
            if self.asked.is_met_by(&Val::from_attribute(element)) {
                met.push(shown.clone());
            }
            all.push(shown);
        });
        let elements = match (met.is_empty(), self.asked.any_value) {
            (false, _) => met,
            (true, true) => all,
            (true, false) => return None,
        };
        Some(match <[AttributeValue; 1]>::try_from(elements) {
            Ok([one]) => one,
            Err(elements) => AttributeValue::Array(elements),
        })
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
fn matching<'a>(batch: &'a SpanBatch, asked: &Asked) -> Vec<Val<'a>> {
    let field = &asked.field;
    let mut values = column::dense(batch, field);
    let mut prefer = |level: Level, of_owner: &[Val<'a>]| {
        for (span, owner) in owners_of_spans(batch, level).into_iter().rev() {
            let value = &of_owner[owner as usize];
            if *value != Val::Nil && asked.is_met_by(value) {
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
                    if *slot == Val::Nil && asked.is_met_by(&value) {
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

/// Where the service counts of each trace begin, and one more.
fn stats_by_trace(batch: &SpanBatch) -> Vec<usize> {
    let stats = &batch.traces.stats.trace;
    (0..=batch.traces.len()).map(|trace| stats.partition_point(|of| (*of as usize) < trace)).collect()
}

fn stats_of(batch: &SpanBatch, starts: &[usize], row: usize) -> Vec<(String, u32, u32)> {
    let stats = &batch.traces.stats;
    let rows = starts[row]..starts[row + 1];
    rows.map(|at| (batch.strings.text(stats.service[at]).into_owned(), stats.spans[at], stats.errors[at]))
        .collect()
}
