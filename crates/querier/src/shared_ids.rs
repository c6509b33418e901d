//! Zipkin lets the client's and the server's span of one call share an id. Whoever draws a trace needs an id for each
//! span: the server's becomes a child of the client's, with a new id, and what hangs on it follows, as in Tempo's answers.
//!
//! What must stay true: only answers are changed, nothing that is stored; ids that nobody shares stay.

use hashbrown::{HashMap, HashSet};
use trackway_spans::SpanBatch;

/// OTLP's numbers of the kinds.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// Gives servers' spans that share their id with a client's span of the same trace an id of their own: the smallest that
/// are free. The batch has the spans of one trace.
pub(crate) fn tell_apart(batch: &mut SpanBatch) {
    let spans = &batch.spans;
    let clients: HashSet<u64> = ids_of(batch, CLIENT).map(|(_, id)| id).collect();
    let servers: Vec<(usize, u64)> = ids_of(batch, SERVER).filter(|(_, id)| clients.contains(id)).collect();
    if servers.is_empty() {
        return;
    }
    let used: HashSet<u64> = spans.id.iter().copied().collect();
    let mut free = (1..=u64::MAX).filter(|id| !used.contains(id));
    let (mut ids, mut parents) = (spans.id.to_vec(), spans.parent.to_vec());
    let mut renamed: HashMap<u64, u64> = HashMap::new();
    for (span, shared) in &servers {
        let Some(new) = free.next() else { return };
        ids[*span] = new;
        renamed.insert(*shared, new);
    }
    for parent in &mut parents {
        if let Some(new) = renamed.get(parent) {
            *parent = *new;
        }
    }
    for (span, shared) in servers {
        parents[span] = shared;
    }
    (batch.spans.id, batch.spans.parent) = (ids.into(), parents.into());
}

/// Spans of a kind, with their ids.
fn ids_of(batch: &SpanBatch, kind: u8) -> impl Iterator<Item = (usize, u64)> {
    let of_kind = batch.spans.kind.iter().zip(batch.spans.id.iter()).enumerate();
    of_kind.filter(move |(_, (found, _))| **found == kind).map(|(span, (_, id))| (span, *id))
}
