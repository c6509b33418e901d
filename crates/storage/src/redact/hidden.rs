//! What is hidden of a tenant, and batches without it.

use std::collections::{BTreeMap, BTreeSet};

use trackway_common::TraceId;
use trackway_engine::complete_traces;
use trackway_spans::{SpanBatch, TraceFacts, merge_traces, without_spans};

/// Which spans of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them, also those that come later.
    All,
    /// Those with these ids.
    Spans(BTreeSet<u64>),
}

impl Which {
    /// Whether a span is one of them.
    pub fn has(&self, span: u64) -> bool {
        match self {
            Self::All => true,
            Self::Spans(spans) => spans.contains(&span),
        }
    }
}

/// What is hidden of a tenant. Does not change.
#[derive(Debug)]
pub struct Hidden {
    targets: BTreeMap<TraceId, Which>,
    partial: Vec<TraceId>,
    version: u64,
}

impl Hidden {
    /// What all of these name together.
    pub(super) fn targets<'r>(
        lists: impl Iterator<Item = &'r BTreeMap<TraceId, Which>>,
    ) -> BTreeMap<TraceId, Which> {
        let mut all: BTreeMap<TraceId, Which> = BTreeMap::new();
        for (id, which) in lists.flatten() {
            match (all.get_mut(id), which) {
                (Some(Which::All), _) => {}
                (Some(Which::Spans(known)), Which::Spans(spans)) => known.extend(spans),
                _ => drop(all.insert(*id, which.clone())),
            }
        }
        all
    }

    /// `None` when it is nothing.
    pub(super) fn new(targets: BTreeMap<TraceId, Which>, version: u64) -> Option<Self> {
        let partial = targets.iter().filter(|(_, which)| **which != Which::All).map(|(id, _)| *id).collect();
        (!targets.is_empty()).then_some(Self { targets, partial, version })
    }

    pub(super) fn is(&self, targets: &BTreeMap<TraceId, Which>) -> bool {
        self.targets == *targets
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Traces that are hidden or of which spans are, ascending.
    pub fn ids(&self) -> impl Iterator<Item = TraceId> {
        self.targets.keys().copied()
    }

    /// Traces of which some spans are hidden, ascending: what is stored about the whole trace does not hold.
    pub fn partial(&self) -> &[TraceId] {
        &self.partial
    }

    /// Whether any of these ids is among those of which something is hidden.
    pub fn touches(&self, ids: impl IntoIterator<Item = TraceId>) -> bool {
        ids.into_iter().any(|id| self.targets.contains_key(&id))
    }

    /// Which spans of a batch stay; `None` when all do. The batch must have ids of spans.
    pub fn keep(&self, batch: &SpanBatch) -> Option<Vec<bool>> {
        let of_row: Vec<Option<&Which>> = batch.traces.ids().map(|id| self.targets.get(&id)).collect();
        if of_row.iter().all(Option::is_none) {
            return None;
        }
        let is_kept = |(row, trace): (usize, &u32)| {
            let id = || batch.spans.id.get(row).copied().unwrap_or(0);
            of_row[*trace as usize].is_none_or(|which| !which.has(id()))
        };
        let keep: Vec<bool> = batch.spans.trace.iter().enumerate().map(is_kept).collect();
        keep.contains(&false).then_some(keep)
    }

    /// The batch without what is hidden; rows of traces stay. What it says about traces of which some spans are gone is
    /// about those that are left. It must have [`trackway_engine::whole_trace_needs`].
    pub fn without(&self, batch: SpanBatch) -> SpanBatch {
        let Some(keep) = self.keep(&batch) else { return batch };
        let mut kept = without_spans(&batch, &keep);
        if kept.traces.start.is_empty() && kept.traces.root_name.is_empty() {
            return kept;
        }
        let lost = batch.spans.trace.iter().zip(&keep).filter(|(_, keep)| !**keep);
        let changed: BTreeSet<TraceId> = lost.map(|(trace, _)| batch.traces.id(*trace as usize)).collect();
        let mut whole = merge_traces(&[&kept], &changed.into_iter().collect::<Vec<_>>());
        complete_traces(&mut whole);
        let mut facts = TraceFacts::default();
        facts.add(&whole);
        facts.apply(&mut kept);
        kept
    }
}
