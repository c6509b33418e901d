//! A tenant's metrics as a page that Prometheus can scrape: `/metrics/generated`.
//!
//! What must stay true: it shows what is counted now, and changes nothing. A native histogram has no form in text, so its
//! sum, its count and the bucket without bound stand for it, as Prometheus's own libraries do it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::expand::{Names, OneSeries, Part, series, trace_hex};
use crate::registry::{Entity, Kind, Registry, Table};

/// The form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Format {
    /// What somebody who sends this `Accept` header gets.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Appends all series.
pub(crate) fn write(
    out: &mut String,
    registry: &Registry,
    external: &BTreeMap<String, String>,
    trace_label: &str,
    format: Format,
) {
    for table in &registry.tables {
        for metric in 0..table.shape.len() {
            let has = |entity: &&Entity| entity.present & 1 << metric != 0;
            if table.entities().any(|entity| has(&entity)) {
                write_metric(out, table, metric, external, trace_label, format);
            }
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
}

fn write_metric(
    out: &mut String,
    table: &Table,
    metric: usize,
    external: &BTreeMap<String, String>,
    trace_label: &str,
    format: Format,
) {
    let of = &table.shape[metric];
    let (kind, family) = match (&of.kind, format) {
        (Kind::Counter, Format::OpenMetrics) => {
            ("counter", of.name.strip_suffix("_total").unwrap_or(&of.name))
        }
        (Kind::Counter, Format::Text) => ("counter", of.name.as_str()),
        (Kind::Gauge, _) => ("gauge", of.name.as_str()),
        (Kind::Histogram(_), _) => ("histogram", of.name.as_str()),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# TYPE {family} {kind}");
    let names = Names::new(&table.shape);
    for entity in table.entities() {
        let present = entity.present & 1 << metric;
        let has_classic = matches!(&of.kind, Kind::Histogram(form) if form.bounds.is_some());
        series(&table.shape, &names, (&entity.labels, external), (present, &entity.values), |one| match one
            .part
        {
            Part::Native(_) if has_classic => {}
            Part::Native(native) => write_native(out, entity, native, &one),
            _ => write_one(out, entity, &one, trace_label, format),
        });
    }
}

fn write_labels(out: &mut String, labels: &[(&str, &str)], suffix: &str, more: &str) {
    let name = labels.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, value)| value);
    out.push_str(name);
    out.push_str(suffix);
    out.push('{');
    let mut comma = "";
    for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
        let _ = write!(out, "{comma}{name}=\"{}\"", Escaped(value));
        comma = ",";
    }
    if !more.is_empty() {
        let _ = write!(out, "{comma}{more}");
    }
    out.push('}');
}

fn write_one(out: &mut String, entity: &Entity, one: &OneSeries<'_>, trace_label: &str, format: Format) {
    write_labels(out, one.labels, "", "");
    let _ = write!(out, " {}", one.value);
    let Part::Bucket(bucket) = one.part else {
        out.push('\n');
        return;
    };
    let seen = entity
        .exemplars
        .iter()
        .find(|seen| usize::from(seen.metric) == one.metric && usize::from(seen.bucket) == bucket);
    if let (Format::OpenMetrics, Some(seen)) = (format, seen) {
        let (seconds, millis) = (seen.time_ms / 1000, seen.time_ms % 1000);
        let _ = write!(
            out,
            " # {{{trace_label}=\"{}\"}} {} {seconds}.{millis:03}",
            trace_hex(seen.trace),
            seen.value
        );
    }
    out.push('\n');
}

fn write_native(out: &mut String, entity: &Entity, native: usize, one: &OneSeries<'_>) {
    let Some(native) = entity.natives.get(native) else { return };
    let (count, sum) = (native.histogram.count(), native.histogram.sum());
    for (suffix, more, value) in [("_bucket", "le=\"+Inf\"", count), ("_sum", "", sum), ("_count", "", count)]
    {
        write_labels(out, one.labels, suffix, more);
        let _ = writeln!(out, " {value}");
    }
}

/// A label's value with `\`, `"` and line ends written as escapes.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
