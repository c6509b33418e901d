//! What is true of whole traces, known for those that lie in several places: put into a batch that holds only a part of
//! them, it lets what looks at roots and extents be judged there, without a join.

use trackway_common::TraceId;
use xxhash_rust::xxh3::Xxh3;

use crate::batch::SpanBatch;
use crate::strings::{Interner, StrId, Strings};

/// Extent and root of some whole traces.
#[derive(Clone, Debug, Default)]
pub struct TraceFacts {
    /// Sorted.
    ids: Vec<TraceId>,
    facts: Vec<Fact>,
    strings: Interner,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    start: u64,
    end: u64,
    root_service: StrId,
    root_name: StrId,
}

impl TraceFacts {
    /// Adds the traces of a batch in which they are whole and have their trace-level columns. Ids must come in ascending
    /// order, over all calls.
    pub fn add(&mut self, batch: &SpanBatch) {
        let traces = &batch.traces;
        for (row, id) in traces.ids().enumerate() {
            self.ids.push(id);
            self.facts.push(Fact {
                start: traces.start[row],
                end: traces.end[row],
                root_service: self.strings.intern(batch.strings.get(traces.root_service[row])),
                root_name: self.strings.intern(batch.strings.get(traces.root_name[row])),
            });
        }
    }

    /// What is known of a trace, in 64 bits; nothing where nothing is.
    pub fn fingerprint(&self, id: TraceId) -> Option<u64> {
        let fact = self.facts.get(self.ids.binary_search(&id).ok()?)?;
        let texts = [fact.root_service, fact.root_name].map(|text| self.strings.get(text));
        let mut hasher = Xxh3::new();
        hasher.update(&fact.start.to_le_bytes());
        hasher.update(&fact.end.to_le_bytes());
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        Some(hasher.digest())
    }

    /// Puts what is known of the batch's traces in the place of what the batch says about its parts of them: those
    /// trace-level columns that it has.
    pub fn apply(&self, batch: &mut SpanBatch) {
        let row = |id: TraceId| self.ids.binary_search(&id).ok();
        let known: Vec<(usize, Fact)> =
            batch.traces.ids().enumerate().filter_map(|(at, id)| Some((at, self.facts[row(id)?]))).collect();
        if known.is_empty() {
            return;
        }
        let times = [
            (&mut batch.traces.start, (|fact: &Fact| fact.start) as fn(&Fact) -> u64),
            (&mut batch.traces.end, |fact| fact.end),
        ];
        for (column, value) in times.into_iter().filter(|(column, _)| !column.is_empty()) {
            let mut values = column.to_vec();
            known.iter().for_each(|(at, fact)| values[*at] = value(fact));
            *column = values.into();
        }
        let mut added =
            Added { from: &self.strings, to: batch.strings.len(), ids: Vec::new(), texts: Vec::new() };
        let roots = [
            (&mut batch.traces.root_service, (|fact: &Fact| fact.root_service) as fn(&Fact) -> StrId),
            (&mut batch.traces.root_name, |fact| fact.root_name),
        ];
        for (column, value) in roots.into_iter().filter(|(column, _)| !column.is_empty()) {
            let mut values = column.to_vec();
            known.iter().for_each(|(at, fact)| values[*at] = added.id(value(fact)));
            *column = values.into();
        }
        batch.strings = batch.strings.with(&added.texts);
    }
}

/// Strings of the facts that a batch gets to know.
struct Added<'a> {
    from: &'a Interner,
    /// How many strings the batch has.
    to: usize,
    /// Ids in the batch by ids here; 0 is none yet.
    ids: Vec<StrId>,
    texts: Vec<&'a [u8]>,
}

impl Added<'_> {
    fn id(&mut self, of: StrId) -> StrId {
        if of == 0 {
            return 0;
        }
        if self.ids.is_empty() {
            self.ids = vec![0; self.from.len()];
        }
        let id = &mut self.ids[of as usize];
        if *id == 0 {
            *id = (self.to + self.texts.len()) as StrId; // both have less than 4 GiB of strings
            self.texts.push(self.from.get(of));
        }
        *id
    }
}

impl Strings {
    /// These, and more behind them.
    fn with(&self, more: &[&[u8]]) -> Self {
        if more.is_empty() {
            return self.clone();
        }
        let mut all = Interner::from(self);
        for text in more {
            all.add(text);
        }
        all.finish()
    }
}
