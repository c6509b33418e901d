//! What can only be said of a whole trace: its root, its extent, its services, and the nested set numbers of its spans.
//! The rules are Tempo's (`reference/tempo.md` §4.6), with ties broken by start and span id, so that the result does
//! not depend on the order in which spans arrived.

use crate::batch::{SpanBatch, effective_duration};
use crate::strings::StrId;

/// Spans with the kind that a trace's tree treats specially.
const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;

/// Nested set numbers of one span. The numbers are zero when the span hangs on no root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedSet {
    /// On entry of the walk, counted from 1.
    pub left: i32,
    /// On exit.
    pub right: i32,
    /// The parent's `left`; -1 for roots.
    pub parent: i32,
    /// How many children there are. Spans that hang on no root may have some, too.
    pub children: i32,
}

/// What the spans of one trace say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceShape {
    /// Earliest start.
    pub start: u64,
    /// Latest end.
    pub end: u64,
    /// Row of the root span.
    pub root: Option<u32>,
    /// `(service, spans, errors)`, ordered by first appearance in the rows.
    pub services: Vec<(StrId, u32, u32)>,
}

/// The root of the spans in `rows`: of those without a parent the one that starts last, as in Tempo; ties go to the
/// greater id.
pub fn root_span(batch: &SpanBatch, rows: &[u32]) -> Option<u32> {
    let spans = &batch.spans;
    rows.iter()
        .copied()
        .filter(|row| spans.parent[*row as usize] == 0)
        .max_by_key(|row| (spans.start[*row as usize], spans.id[*row as usize]))
}

/// Root, extent and services of the spans in `rows`, which must be all spans of one trace.
pub fn shapes_of(batch: &SpanBatch, rows: &[u32]) -> TraceShape {
    let mut shape =
        TraceShape { start: u64::MAX, end: 0, root: root_span(batch, rows), services: Vec::new() };
    for row in rows {
        let row = *row as usize;
        let start = batch.spans.start[row];
        shape.start = shape.start.min(start);
        shape.end = shape.end.max(start.saturating_add(effective_duration(batch.spans.duration[row])));
        let service = batch.resources.service[batch.resource_of(row)];
        let error = u32::from(batch.spans.status[row] == 2);
        match shape.services.iter_mut().find(|(name, ..)| *name == service) {
            Some((_, spans, errors)) => {
                *spans += 1;
                *errors += error;
            }
            None => shape.services.push((service, 1, error)),
        }
    }
    shape
}

/// What the tree of a trace is made from: one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeSpan {
    /// Span id.
    pub id: u64,
    /// Parent's span id, 0 for none.
    pub parent: u64,
    /// Start, Unix nanoseconds.
    pub start: u64,
    /// OTLP's number of the kind.
    pub kind: u8,
}

/// Nested set numbers of the spans in `rows`, in the same order. `rows` must be all spans of one trace, ordered by start
/// and id.
pub fn nested_sets(batch: &SpanBatch, rows: &[u32]) -> Vec<NestedSet> {
    let spans = &batch.spans;
    let span = |row: &u32| {
        let row = *row as usize;
        TreeSpan {
            id: spans.id[row],
            parent: spans.parent[row],
            start: spans.start[row],
            kind: spans.kind[row],
        }
    };
    nested_sets_of(&rows.iter().map(span).collect::<Vec<_>>())
}

/// Nested set numbers of `spans`, in the same order: all spans of one trace, ordered by start and id, wherever they lie.
pub fn nested_sets_of(spans: &[TreeSpan]) -> Vec<NestedSet> {
    let mut sets = vec![NestedSet::default(); spans.len()];
    let id = |at: u32| spans[at as usize].id;
    let mut by_id: Vec<u32> = (0..spans.len() as u32).collect();
    by_id.sort_unstable_by_key(|at| (id(*at), *at));
    if by_id.windows(3).any(|w| id(w[0]) == id(w[2])) {
        return sets; // more than two spans share an id: nobody can tell whose children are whose
    }
    // Children as linked lists, built from the back so that they come out in order.
    const NONE: u32 = u32::MAX;
    let (mut first_child, mut next_sibling) = (vec![NONE; spans.len()], vec![NONE; spans.len()]);
    let mut first_root = NONE;
    for at in (0..spans.len()).rev() {
        let head = if spans[at].parent == 0 {
            &mut first_root
        } else {
            let Some(parent) = parent_of(spans, &by_id, at) else { continue };
            sets[parent].children += 1;
            &mut first_child[parent]
        };
        next_sibling[at] = *head;
        *head = at as u32;
    }
    let mut counter = 0;
    let mut path: Vec<u32> = Vec::new();
    let mut next = first_root;
    loop {
        if next != NONE {
            counter += 1;
            let parent = path.last().map_or(-1, |parent| sets[*parent as usize].left);
            let set = &mut sets[next as usize];
            (set.left, set.parent) = (counter, parent);
            path.push(next);
            next = first_child[next as usize];
        } else if let Some(done) = path.pop() {
            counter += 1;
            sets[done as usize].right = counter;
            next = next_sibling[done as usize];
        } else {
            return sets;
        }
    }
}

/// The place of the parent of the span at `at`. Where a client and a server span share the parent's id (Zipkin), a
/// server's parent is the client and everybody else's is the server.
fn parent_of(spans: &[TreeSpan], by_id: &[u32], at: usize) -> Option<usize> {
    let wanted = spans[at].parent;
    let id = |place: &u32| spans[*place as usize].id;
    let start = by_id.partition_point(|place| id(place) < wanted);
    let same = by_id[start..].iter().take_while(|place| id(place) == wanted).map(|place| *place as usize);
    let mut candidates = same.filter(|place| *place != at);
    let preferred = if spans[at].kind == KIND_SERVER { KIND_CLIENT } else { KIND_SERVER };
    let first = candidates.next()?;
    if spans[first].kind == preferred {
        return Some(first);
    }
    Some(candidates.find(|place| spans[*place].kind == preferred).unwrap_or(first))
}
