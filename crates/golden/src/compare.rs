//! The comparators: for each group of questions, whether two answers mean the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Question;
use crate::canon::{Malformed, attrs, canon, field, items, list, sorted, tuple};
use crate::question::parameter;

/// Says how `got` differs in meaning from `want`, if it does.
pub(crate) type Comparator = fn(want: &Value, got: &Value, question: &Question) -> Result<(), String>;

/// The comparator of a group; for a group without one only the status counts.
pub(crate) fn comparator(group: &str) -> Option<Comparator> {
    Some(match group {
        "search" | "search-params" | "bad-search" => search,
        "metrics" | "instant" | "metrics-params" | "bad-metrics" => metrics,
        "trace" => trace,
        "tags" | "values" | "values-v1" | "values-q" => tags,
        "tags-limit" => tag_count,
        _ => return None,
    })
}

// ---- search

fn search(want: &Value, got: &Value, question: &Question) -> Result<(), String> {
    let (w, g) = (found_traces(want)?, found_traces(got)?);
    let limit = match parameter(&question.path, "limit") {
        Some(text) => text.trim().parse::<i64>().map_err(|_| format!("limit {text:?} is not a number"))?,
        None => 20,
    };
    if w.len() as i64 >= limit {
        // Which traces are shown is open when there may be more than asked for.
        return equal(g.len() == w.len(), || format!("{} traces, want {}", g.len(), w.len()));
    }
    same_keys(&w, &g, "traces")?;
    for (id, want) in &w {
        let got = &g[id];
        equal(got == want, || format!("trace {id}: got {} want {}", short(got, 600), short(want, 600)))?;
    }
    Ok(())
}

fn found_traces(answer: &Value) -> Result<BTreeMap<String, String>, Malformed> {
    let mut traces = BTreeMap::new();
    for trace in list(answer, "traces")? {
        let id = trace.get("traceID").ok_or("a trace without traceID")?;
        let sets: Result<Vec<_>, _> = list(trace, "spanSets")?.iter().map(spanset).collect();
        let parts = [
            field(trace, "rootServiceName"),
            field(trace, "rootTraceName"),
            field(trace, "startTimeUnixNano"),
            field(trace, "durationMs"),
            trace.get("serviceStats").map_or_else(|| tuple(&[]), canon),
            sorted(sets?),
        ];
        traces.insert(canon(id), tuple(&parts));
    }
    Ok(traces)
}

fn spanset(set: &Value) -> Result<String, Malformed> {
    let spans = list(set, "spans")?;
    let matched = match set.get("matched") {
        None => 0.0,
        Some(value) => value.as_f64().ok_or_else(|| format!("matched is not a count: {value}"))?,
    };
    let mut shown = BTreeSet::new();
    for span in spans {
        let id = span.get("spanID").ok_or("a span without spanID")?;
        shown.insert(tuple(&[
            canon(id),
            field(span, "name"),
            field(span, "startTimeUnixNano"),
            field(span, "durationNanos"),
            attrs(span.get("attributes"))?,
        ]));
    }
    let all = matched <= spans.len() as f64;
    let shown = if all { sorted(shown.into_iter().collect()) } else { spans.len().to_string() };
    Ok(tuple(&[matched.to_string(), attrs(set.get("attributes"))?, shown]))
}

// ---- metrics

fn metrics(want: &Value, got: &Value, question: &Question) -> Result<(), String> {
    let (w, g) = (series(want)?, series(got)?);
    let query = question.traceql.as_deref().unwrap_or_default();
    if query.contains("by (span.as)") {
        return Ok(()); // grouping by an array: Tempo's own answer varies from run to run
    }
    if ["compare(", "bottomk", "topk"].iter().any(|word| query.contains(word)) {
        // Ties are broken by chance, so that only about how many is known.
        let apart = w.len().abs_diff(g.len());
        return equal(apart * 10 <= w.len(), || format!("{} series, want {}", g.len(), w.len()));
    }
    same_keys(&w, &g, "series")?;
    for (labels, want) in &w {
        let got = g[labels];
        if want.get("value").is_some() || got.get("value").is_some() {
            let (want, got) = (value_of(want), value_of(got));
            equal(near(&got, &want), || format!("{labels}: {got} want {want}"))?;
        }
        let (want, got) = (samples(want)?, samples(got)?);
        for time in want.keys().chain(got.keys()) {
            let same = match (got.get(time), want.get(time)) {
                (Some(got), Some(want)) => near(got, want),
                _ => false,
            };
            equal(same, || {
                let show = |of: &BTreeMap<String, Value>| {
                    of.get(time).map_or("nothing".to_owned(), Value::to_string)
                };
                format!("{labels} at {time}: {} want {}", show(&got), show(&want))
            })?;
        }
    }
    Ok(())
}

fn series(answer: &Value) -> Result<BTreeMap<String, &Value>, Malformed> {
    let all = list(answer, "series")?.iter();
    Ok(all.map(|series| (series.get("labels").map_or_else(|| tuple(&[]), canon), series)).collect())
}

fn samples(series: &Value) -> Result<BTreeMap<String, Value>, Malformed> {
    let mut samples = BTreeMap::new();
    for sample in list(series, "samples")? {
        let time = sample.get("timestampMs").ok_or("a sample without timestampMs")?;
        samples.insert(canon(time), value_of(sample));
    }
    Ok(samples)
}

fn value_of(sample: &Value) -> Value {
    sample.get("value").cloned().unwrap_or_else(|| Value::from(0))
}

/// Numbers to 1e-6 (protobuf JSON writes the special ones as strings); anything else only when it is equal.
fn near(x: &Value, y: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    match (number(x), number(y)) {
        (Some(a), Some(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 1e-6 * 1f64.max(a.abs()).max(b.abs()),
        _ => x == y,
    }
}

// ---- traces

fn trace(want: &Value, got: &Value, _: &Question) -> Result<(), String> {
    let (w, g) = (trace_spans(want)?, trace_spans(got)?);
    let extra = |of: &BTreeMap<String, usize>, than: &BTreeMap<String, usize>| {
        let more = of.iter().find(|(span, count)| than.get(*span).copied().unwrap_or(0) < **count);
        more.map_or_else(|| "nothing".to_owned(), |(span, _)| short(span, 700))
    };
    equal(w == g, || format!("missing {} extra {}", extra(&w, &g), extra(&g, &w)))
}

/// How often each span stands in the trace, a span being everything that is known of it.
fn trace_spans(answer: &Value) -> Result<BTreeMap<String, usize>, Malformed> {
    let trace = answer.get("trace").unwrap_or(answer);
    let mut spans = BTreeMap::new();
    for of_resource in items(trace.get("resourceSpans").or_else(|| trace.get("batches")), "resourceSpans")? {
        let resource = attrs(of_resource.get("resource").and_then(|r| r.get("attributes")))?;
        for of_scope in list(of_resource, "scopeSpans")? {
            let scope = of_scope.get("scope").unwrap_or(&Value::Null);
            let text = |name: &str| scope.get(name).map_or_else(|| "\"\"".to_owned(), canon);
            let scope = [text("name"), text("version"), attrs(scope.get("attributes"))?];
            for span in list(of_scope, "spans")? {
                let span = tuple(&[resource.clone(), tuple(&scope), span_content(span)?]);
                *spans.entry(span).or_insert(0) += 1;
            }
        }
    }
    Ok(spans)
}

fn span_content(span: &Value) -> Result<String, Malformed> {
    let mut core = span.as_object().ok_or("a span is not an object")?.clone();
    for name in ["attributes", "events", "links", "flags"] {
        core.remove(name);
    }
    // An empty status and none at all are the same.
    if core.get("status").is_some_and(|status| matches!(canon(status).as_str(), "()" | "null")) {
        core.remove("status");
    }
    Ok(tuple(&[
        attrs(span.get("attributes"))?,
        with_attributes(list(span, "events")?)?,
        with_attributes(list(span, "links")?)?,
        canon(&Value::Object(core)),
    ]))
}

/// Events or links: objects with attributes among the other fields.
fn with_attributes(objects: &[Value]) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    for object in objects {
        let mut rest = object.as_object().ok_or("an event or link is not an object")?.clone();
        let attributes = rest.remove("attributes");
        parts.push(tuple(&[attrs(attributes.as_ref())?, canon(&Value::Object(rest))]));
    }
    Ok(sorted(parts))
}

// ---- tags

fn tags(want: &Value, got: &Value, _: &Question) -> Result<(), String> {
    let (w, g) = (tag_set(want)?, tag_set(got)?);
    equal(w == g, || format!("got {} want {}", short(&g, 500), short(&w, 500)))
}

/// The names of each scope, or the names, as sets; or the values, of which each must stand as often.
fn tag_set(answer: &Value) -> Result<String, Malformed> {
    if answer.get("scopes").is_some() {
        let mut scopes = BTreeMap::new();
        for scope in list(answer, "scopes")? {
            let tags: BTreeSet<_> = list(scope, "tags")?.iter().map(canon).collect();
            if !tags.is_empty() {
                let name = canon(scope.get("name").ok_or("a scope without name")?);
                scopes.insert(name, sorted(tags.into_iter().collect()));
            }
        }
        Ok(tuple(&scopes.into_iter().map(|(name, tags)| format!("{name}: {tags}")).collect::<Vec<_>>()))
    } else if answer.get("tagNames").is_some() {
        let names: BTreeSet<_> = list(answer, "tagNames")?.iter().map(canon).collect();
        Ok(format!("names {}", sorted(names.into_iter().collect())))
    } else {
        Ok(sorted(list(answer, "tagValues")?.iter().map(canon).collect()))
    }
}

fn tag_count(want: &Value, got: &Value, _: &Question) -> Result<(), String> {
    let (w, g) = (count_tags(want)?, count_tags(got)?);
    equal(w.abs_diff(g) <= 3, || format!("{g} tags, want about {w}"))
}

fn count_tags(answer: &Value) -> Result<usize, Malformed> {
    if answer.get("scopes").is_none() {
        return Ok(list(answer, "tagNames")?.len());
    }
    list(answer, "scopes")?.iter().map(|scope| Ok(list(scope, "tags")?.len())).sum()
}

// ---- saying what is wrong

fn equal(same: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if same { Ok(()) } else { Err(why()) }
}

fn same_keys<V>(w: &BTreeMap<String, V>, g: &BTreeMap<String, V>, what: &str) -> Result<(), String> {
    let only = |of: &BTreeMap<String, V>, than: &BTreeMap<String, V>| -> Vec<String> {
        of.keys().filter(|key| !than.contains_key(*key)).take(3).map(|key| short(key, 300)).collect()
    };
    let (missing, extra) = (only(w, g), only(g, w));
    equal(missing.is_empty() && extra.is_empty(), || {
        format!(
            "missing [{}] extra [{}] ({} {what}, want {})",
            missing.join(", "),
            extra.join(", "),
            g.len(),
            w.len()
        )
    })
}

fn short(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
