//! `compare({…}, n)`: for every attribute, how often its values stand in the selection and in the rest, the baseline.

use trackway_traceql::ast::{Field, FieldExpr, Intrinsic, Scope};

use super::{Labels, Selected, Series, Time};
use crate::error::EvalError;
use crate::expr::passes;
use crate::field;
use crate::value::Val;

/// Attributes that count as nil for a span that lacks them: those that vParquet4 blocks have a column for, by the
/// schema and by the default settings. All others are only counted where they are.
const COLUMNS: [(Scope, &str); 16] = [
    (Scope::Resource, "cluster"),
    (Scope::Resource, "namespace"),
    (Scope::Resource, "pod"),
    (Scope::Resource, "container"),
    (Scope::Resource, "k8s.cluster.name"),
    (Scope::Resource, "k8s.namespace.name"),
    (Scope::Resource, "k8s.pod.name"),
    (Scope::Resource, "k8s.container.name"),
    (Scope::Span, "http.method"),
    (Scope::Span, "http.url"),
    (Scope::Span, "http.status_code"),
    (Scope::Span, "http.request.method"),
    (Scope::Span, "http.route"),
    (Scope::Span, "server.address"),
    (Scope::Span, "url.path"),
    (Scope::Span, "url.route"),
];

/// The intrinsics that are compared. Durations, ids and nested set numbers say little by their values.
const INTRINSICS: [Intrinsic; 8] = [
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::TraceRootName,
    Intrinsic::TraceRootService,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

/// How often one value stands in each interval.
struct Count {
    attribute: String,
    value: Val,
    slots: Vec<Vec<()>>,
}

/// The series of the selection, the baseline, and their totals.
pub(crate) fn series(
    selection: Option<&FieldExpr>,
    top_n: i64,
    range: Option<(i64, i64)>,
    spans: &[Selected<'_, '_>],
    time: &Time,
) -> Result<Vec<Series>, EvalError> {
    let (mut selected, mut baseline) = (Vec::new(), Vec::new());
    for span in spans {
        let start = span.view.span(span.at).start.cast_signed();
        // CHOICE: the range holds its start and not its end.
        let in_range = range.is_none_or(|(from, to)| from <= start && start < to);
        let in_selection = in_range && passes(selection, span.view, span.at)?;
        if in_selection { selected.push(span) } else { baseline.push(span) }
    }
    let mut series = side("baseline", &baseline, top_n, time);
    series.extend(side("selection", &selected, top_n, time));
    Ok(series)
}

fn side(name: &str, spans: &[&Selected<'_, '_>], top_n: i64, time: &Time) -> Vec<Series> {
    let (mut values, mut totals) = (Vec::new(), Vec::new());
    for span in spans {
        for (attribute, value) in attributes_of(span) {
            count(&mut totals, &attribute, Val::Text("nil".to_owned()), span.slot, time);
            let shown = if value == Val::Nil { Val::Text("nil".to_owned()) } else { value };
            count(&mut values, &attribute, shown, span.slot, time);
        }
    }
    keep_most_frequent(&mut values, top_n);
    let of_values = values.iter().map(|count| to_series(name, count, time));
    let of_totals = totals.iter().map(|count| to_series(&format!("{name}_total"), count, time));
    of_values.chain(of_totals).collect()
}

fn count(counts: &mut Vec<Count>, attribute: &str, value: Val, slot: usize, time: &Time) {
    let known = counts.iter().position(|c| c.attribute == attribute && c.value == value);
    let at = known.unwrap_or_else(|| {
        counts.push(Count { attribute: attribute.to_owned(), value, slots: time.slots() });
        counts.len() - 1
    });
    counts[at].slots[slot].push(());
}

/// Of each attribute keeps the values that stand there most often. CHOICE: of equally frequent ones those that come
/// first as text.
fn keep_most_frequent(counts: &mut Vec<Count>, top_n: i64) {
    let total = |count: &Count| count.slots.iter().map(Vec::len).sum::<usize>();
    counts.sort_by_cached_key(|count| {
        (count.attribute.clone(), std::cmp::Reverse(total(count)), crate::json::value_text(&count.value))
    });
    let mut kept: Vec<Count> = Vec::new();
    for count in counts.drain(..) {
        let before = kept.iter().filter(|other| other.attribute == count.attribute).count();
        if (before as i64) < top_n {
            kept.push(count);
        }
    }
    *counts = kept;
}

fn to_series(meta_type: &str, count: &Count, time: &Time) -> Series {
    let labels: Labels = vec![
        ("__meta_type".to_owned(), Val::Text(meta_type.to_owned())),
        (count.attribute.clone(), count.value.clone()),
    ];
    Series { labels, samples: time.samples(count.slots.iter().map(|slot| Some(slot.len() as f64))) }
}

/// All attributes of a span and its resource, each with its first value, and the intrinsics. Those of events, links and
/// scopes are not compared. CHOICE: neither are arrays.
fn attributes_of(span: &Selected<'_, '_>) -> Vec<(String, Val)> {
    let it = span.view.span(span.at);
    let mut fields: Vec<Field> =
        INTRINSICS.map(|intrinsic| Field::Intrinsic { intrinsic, scoped: false }).to_vec();
    let attribute = |scope, name: &str| Field::Attribute { scope, name: name.to_owned() };
    fields.push(attribute(Scope::Resource, "service.name"));
    fields.extend(COLUMNS.map(|(scope, name)| attribute(scope, name)));
    fields.extend(it.resource.attributes.iter().map(|(key, _)| attribute(Scope::Resource, key)));
    fields.extend(it.attributes.iter().map(|(key, _)| attribute(Scope::Span, key)));
    fields.sort();
    fields.dedup();
    let mut attributes = Vec::new();
    for field in fields {
        let always = matches!(&field, Field::Attribute { scope, name }
            if COLUMNS.contains(&(*scope, name.as_str())));
        match field::first(&field, span.view, span.at) {
            Val::Nil if !always => {}
            Val::Array(_) => {}
            value => attributes.push((field.to_string(), value)),
        }
    }
    attributes
}
