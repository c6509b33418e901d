//! Spans as lines of a log, for operators who want to see what comes in.

use std::fmt::Write;

use crate::batch::{Level, SpanBatch, Value};

/// One line a span: ids, and with `all` everything that describes it.
pub fn span_lines(batch: &SpanBatch, all: bool, only_errors: bool) -> Vec<String> {
    let wanted = |span: &usize| !only_errors || batch.spans.status[*span] == 2;
    (0..batch.len()).filter(wanted).map(|span| line(batch, span, all)).collect()
}

fn line(batch: &SpanBatch, span: usize, all: bool) -> String {
    let spans = &batch.spans;
    let trace = batch.traces.id(spans.trace[span] as usize);
    let mut line = format!("spanid={:016x} traceid={trace}", spans.id[span]);
    if all {
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            " name={:?} status={} duration_seconds={}",
            batch.strings.text(spans.name[span]),
            spans.status[span],
            crate::effective_duration(spans.duration[span]) as f64 / 1e9
        );
        for (level, owner) in [(Level::Resource, batch.resource_of(span)), (Level::Span, span)] {
            batch.attrs(level).for_each(&batch.strings, owner as u32, |key, value| {
                let key = batch.strings.text(key);
                let _ = match value {
                    Value::String(text) => write!(line, " {key}={:?}", String::from_utf8_lossy(text)),
                    Value::Int(value) => write!(line, " {key}={value}"),
                    Value::Float(value) => write!(line, " {key}={value}"),
                    Value::Bool(value) => write!(line, " {key}={value}"),
                    Value::Other(_) => write!(line, " {key}=…"),
                };
            });
        }
    }
    line
}
