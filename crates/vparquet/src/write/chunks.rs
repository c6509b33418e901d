//! The chunks that are written, with what finding the children of a span in them takes.

use std::ops::Range;

use trackway_spans::{AttrTable, Column, Level, SpanBatch};

use super::WriteError;

/// Where the rows of each owner begin in a table that is ordered by owner.
#[derive(Default)]
pub(crate) struct Children {
    /// One more than there are owners; empty when the table is.
    starts: Vec<u32>,
}

impl Children {
    fn new(owners: &[u32], count: usize) -> Result<Self, WriteError> {
        if owners.is_empty() {
            return Ok(Self::default());
        }
        let mut starts = vec![0_u32; count + 1];
        for owner in owners {
            *starts
                .get_mut(*owner as usize + 1)
                .ok_or(WriteError::Batch("rows of more owners than there are"))? += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Ok(Self { starts })
    }

    /// The rows of an owner.
    #[inline]
    pub(crate) fn of(&self, owner: u32) -> Range<usize> {
        let owner = owner as usize;
        match self.starts.get(owner + 1) {
            Some(end) => self.starts[owner] as usize..*end as usize,
            None => 0..0,
        }
    }

    /// Whether no owner has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// Where the attributes of each owner begin.
pub(crate) struct Attributes<'a> {
    pub(crate) table: &'a AttrTable,
    pub(crate) strings: Children,
    pub(crate) ints: Children,
    pub(crate) floats: Children,
    pub(crate) bools: Children,
    pub(crate) others: Children,
}

impl<'a> Attributes<'a> {
    fn new(table: &'a AttrTable, owners: usize) -> Result<Self, WriteError> {
        Ok(Self {
            table,
            strings: Children::new(&table.strings.owner, owners)?,
            ints: Children::new(&table.ints.owner, owners)?,
            floats: Children::new(&table.floats.owner, owners)?,
            bools: Children::new(&table.bools.owner, owners)?,
            others: Children::new(&table.others.owner, owners)?,
        })
    }

    /// Reads the first attribute of each frequent type of an owner, and makes of it a number that means nothing. Called
    /// for many owners in a row, the waiting for memory overlaps, and the attributes are at hand when they are copied.
    #[inline]
    pub(crate) fn touch(&self, owner: u32) -> u32 {
        let (strings, ints) = (&self.table.strings, &self.table.ints);
        let (string, int) = (self.strings.of(owner).start, self.ints.of(owner).start);
        let [a, b, c] = [strings.key.get(string), strings.value.get(string), ints.key.get(int)]
            .map(|number| number.copied().unwrap_or_default());
        a ^ b ^ c ^ ints.value.get(int).copied().unwrap_or_default() as u32
    }

    /// Whether no owner has any of the types that are rare.
    pub(crate) fn only_strings_and_ints(&self) -> bool {
        self.floats.is_empty() && self.bools.is_empty() && self.others.is_empty()
    }
}

/// A batch that is written.
pub(crate) struct Chunk<'a> {
    pub(crate) batch: &'a SpanBatch,
    pub(crate) events: Children,
    pub(crate) links: Children,
    pub(crate) span_attrs: Attributes<'a>,
    pub(crate) event_attrs: Attributes<'a>,
    pub(crate) link_attrs: Attributes<'a>,
}

impl<'a> Chunk<'a> {
    pub(crate) fn new(batch: &'a SpanBatch) -> Result<Self, WriteError> {
        check(batch)?;
        let (spans, events, links) = (batch.len(), batch.events.span.len(), batch.links.span.len());
        Ok(Self {
            batch,
            events: Children::new(&batch.events.span, spans)?,
            links: Children::new(&batch.links.span, spans)?,
            span_attrs: Attributes::new(batch.attrs(Level::Span), spans)?,
            event_attrs: Attributes::new(batch.attrs(Level::Event), events)?,
            link_attrs: Attributes::new(batch.attrs(Level::Link), links)?,
        })
    }
}

/// Refuses a batch that holds only some of its columns: what is missing would be lost without a word.
fn check(batch: &SpanBatch) -> Result<(), WriteError> {
    let rows = batch.len();
    let spans = &batch.spans;
    let strings = [&spans.scope, &spans.name, &spans.status_message, &spans.trace_state];
    let numbers = [&spans.id, &spans.parent, &spans.start, &spans.duration];
    let bytes = [&spans.kind, &spans.status];
    let complete = strings.iter().all(|column| column.len() == rows)
        && numbers.iter().all(|column| column.len() == rows)
        && bytes.iter().all(|column| column.len() == rows)
        && batch.scopes.name.len() == batch.scopes.resource.len()
        && batch.scopes.version.len() == batch.scopes.resource.len()
        && batch.traces.id_high.len() == batch.traces.id_low.len()
        && batch.events.since_start.len() == batch.events.span.len()
        && batch.events.name.len() == batch.events.span.len()
        && [&batch.links.trace_id, &batch.links.span_id, &batch.links.trace_state]
            .iter()
            .all(|column| column.len() == batch.links.span.len());
    if complete { Ok(()) } else { Err(WriteError::Batch("columns are missing")) }
}

/// `column[row]`, or zero where the column was left out because all of it is zero.
#[inline]
pub(crate) fn or_zero(column: &Column<u32>, row: usize) -> u32 {
    column.get(row).copied().unwrap_or(0)
}
