//! A batch without some of its spans.
//!
//! What must stay true: the rows of traces stay where they are, also those of traces without a span, since others count
//! rows; everything that belongs to the spans that stay is as it was, and nothing that belongs to the others alone is left
//! but text in the dictionary.

use arrow_buffer::ArrowNativeType;

use crate::batch::{
    AttrTable, Column, Events, Level, Links, Resources, Scopes, ServiceStats, SpanBatch, Spans, TypedAttrs,
};

/// Rows of a table that stay, with the new number of each row.
struct Kept {
    rows: Vec<usize>,
    number: Vec<Option<u32>>,
}

impl Kept {
    fn by(length: usize, keep: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..length).filter(|row| keep(*row)).collect();
        let mut number = vec![None; length];
        rows.iter().zip(0..).for_each(|(row, new)| number[*row] = Some(new));
        Self { rows, number }
    }

    fn column<T: ArrowNativeType>(&self, column: &Column<T>) -> Column<T> {
        // One that nobody asked for is empty.
        self.rows.iter().filter_map(|row| column.get(*row).copied()).collect()
    }

    /// The same for rows of another table, which is this one's owner.
    fn owners(&self, owners: &Column<u32>, kept: &Self) -> Column<u32> {
        kept.rows.iter().filter_map(|row| self.number(*owners.get(*row)?)).collect()
    }

    fn number(&self, row: u32) -> Option<u32> {
        self.number.get(row as usize).copied().flatten()
    }

    fn attributes<T: ArrowNativeType>(&self, from: &TypedAttrs<T>) -> TypedAttrs<T> {
        let kept = Self::by(from.len(), |row| self.number(from.owner[row]).is_some());
        TypedAttrs {
            owner: self.owners(&from.owner, &kept),
            key: kept.column(&from.key),
            value: kept.column(&from.value),
        }
    }

    fn table(&self, from: &AttrTable) -> AttrTable {
        AttrTable {
            strings: self.attributes(&from.strings),
            ints: self.attributes(&from.ints),
            floats: self.attributes(&from.floats),
            bools: self.attributes(&from.bools),
            others: self.attributes(&from.others),
        }
    }
}

/// The spans of a batch for which `keep` says true. Traces keep their rows and what is known of them, but for roots and
/// counts of those of which no span is left. The batch must know the scopes of its spans, if it has scopes.
pub fn without_spans(batch: &SpanBatch, keep: &[bool]) -> SpanBatch {
    let spans = Kept::by(batch.len(), |row| keep.get(row).copied().unwrap_or(true));
    let mut has_spans = vec![false; batch.traces.len()];
    spans.rows.iter().for_each(|row| has_spans[batch.spans.trace[*row] as usize] = true);
    let mut scoped = vec![batch.spans.scope.is_empty(); batch.scopes.resource.len()];
    let of_spans = spans.rows.iter().filter_map(|row| batch.spans.scope.get(*row));
    of_spans.for_each(|scope| scoped[*scope as usize] = true);
    let scopes = Kept::by(scoped.len(), |row| scoped[row]);
    let mut used = vec![scoped.is_empty(); batch.resources.service.len()];
    scopes.rows.iter().for_each(|row| used[batch.scopes.resource[*row] as usize] = true);
    let resources = Kept::by(used.len(), |row| used[row]);
    let events = Kept::by(batch.events.span.len(), |row| spans.number(batch.events.span[row]).is_some());
    let links = Kept::by(batch.links.span.len(), |row| spans.number(batch.links.span[row]).is_some());
    let mut kept = SpanBatch {
        strings: batch.strings.clone(),
        traces: batch.traces.clone(),
        resources: Resources {
            service: resources.column(&batch.resources.service),
            dropped_attributes: resources.column(&batch.resources.dropped_attributes),
        },
        scopes: Scopes {
            resource: resources.owners(&batch.scopes.resource, &scopes),
            name: scopes.column(&batch.scopes.name),
            version: scopes.column(&batch.scopes.version),
            dropped_attributes: scopes.column(&batch.scopes.dropped_attributes),
        },
        spans: of_spans_kept(&batch.spans, &spans, &scopes),
        events: Events {
            span: spans.owners(&batch.events.span, &events),
            since_start: events.column(&batch.events.since_start),
            name: events.column(&batch.events.name),
            dropped_attributes: events.column(&batch.events.dropped_attributes),
        },
        links: Links {
            span: spans.owners(&batch.links.span, &links),
            trace_id: links.column(&batch.links.trace_id),
            span_id: links.column(&batch.links.span_id),
            trace_state: links.column(&batch.links.trace_state),
            dropped_attributes: links.column(&batch.links.dropped_attributes),
        },
        attrs: Default::default(),
    };
    for (level, owners) in [
        (Level::Resource, &resources),
        (Level::Scope, &scopes),
        (Level::Span, &spans),
        (Level::Event, &events),
        (Level::Link, &links),
    ] {
        kept.attrs[level as usize] = owners.table(batch.attrs(level));
    }
    forget_traces(&mut kept, &has_spans);
    kept
}

fn of_spans_kept(from: &Spans, spans: &Kept, scopes: &Kept) -> Spans {
    Spans {
        trace: spans.column(&from.trace),
        scope: scopes.owners(&from.scope, spans),
        id: spans.column(&from.id),
        parent: spans.column(&from.parent),
        name: spans.column(&from.name),
        kind: spans.column(&from.kind),
        status: spans.column(&from.status),
        status_message: spans.column(&from.status_message),
        trace_state: spans.column(&from.trace_state),
        start: spans.column(&from.start),
        duration: spans.column(&from.duration),
        dropped_attributes: spans.column(&from.dropped_attributes),
        dropped_events: spans.column(&from.dropped_events),
        dropped_links: spans.column(&from.dropped_links),
        nested_left: spans.column(&from.nested_left),
        nested_right: spans.column(&from.nested_right),
        nested_parent: spans.column(&from.nested_parent),
    }
}

/// Forgets roots and counts of traces that have no spans.
fn forget_traces(batch: &mut SpanBatch, has_spans: &[bool]) {
    for column in [&mut batch.traces.root_service, &mut batch.traces.root_name] {
        *column = column.iter().zip(has_spans).map(|(text, has)| if *has { *text } else { 0 }).collect();
    }
    let stats = &batch.traces.stats;
    let kept = Kept::by(stats.trace.len(), |row| has_spans[stats.trace[row] as usize]);
    batch.traces.stats = ServiceStats {
        trace: kept.column(&stats.trace),
        service: kept.column(&stats.service),
        spans: kept.column(&stats.spans),
        errors: kept.column(&stats.errors),
    };
}

#[cfg(test)]
mod tests {
    use trackway_common::TraceId;

    use super::*;
    use crate::wire::{put_bytes, put_fixed64, put_message};
    use crate::{BatchBuilder, Limits, append_request, encode_trace, keep_spans, merge_traces};

    /// Services with some spans each, of a few traces.
    fn batch() -> SpanBatch {
        let mut builder = BatchBuilder::new();
        for service in 0_u64..3 {
            let mut out = Vec::new();
            let text = |out: &mut Vec<u8>, field: u32, key: &str, value: String| {
                put_message(out, field, |out| {
                    put_bytes(out, 1, key.as_bytes());
                    put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
                });
            };
            put_message(&mut out, 1, |out| {
                put_message(out, 1, |out| text(out, 1, "service.name", format!("service-{service}")));
                put_message(out, 2, |out| {
                    for span in 0_u64..6 {
                        put_message(out, 2, |out| {
                            put_bytes(out, 1, &u128::from(span % 3 + 1).to_be_bytes());
                            put_bytes(out, 2, &(service * 10 + span + 1).to_be_bytes());
                            put_bytes(out, 5, b"name");
                            put_fixed64(out, 7, 1_000 + span);
                            put_fixed64(out, 8, 2_000);
                            text(out, 9, "key", format!("{service}-{span}"));
                            put_message(out, 11, |out| {
                                put_fixed64(out, 1, 1_500);
                                put_bytes(out, 2, format!("event {span}").as_bytes());
                                text(out, 3, "of", format!("{span}"));
                            });
                        });
                    }
                });
            });
            append_request(&mut builder, &out, Limits::default(), &[]).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn what_stays_is_what_is_copied() {
        let batch = batch();
        assert_eq!(batch.len(), 18);
        for seed in 0_u32..64 {
            let keep: Vec<bool> = (0..batch.len())
                .map(|row| {
                    (seed.wrapping_mul(2_654_435_761) >> (row % 16)) & 1 == 0 && (seed % 5 != 1 || row > 6)
                })
                .collect();
            let (kept, copied) = (without_spans(&batch, &keep), keep_spans(&batch, &keep));
            assert_eq!(kept.len(), copied.len());
            assert_eq!(kept.traces.len(), batch.traces.len(), "rows of traces stay");
            assert_eq!(kept.resources.service.len(), copied.resources.service.len());
            for id in (1..=3).map(TraceId) {
                let both = [&kept, &copied].map(|batch| encode_trace(&merge_traces(&[batch], &[id])));
                assert!(both[0] == both[1], "seed {seed}, trace {id}");
            }
        }
    }
}
