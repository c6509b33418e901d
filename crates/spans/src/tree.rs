//! What can only be said of a whole trace: its root, its extent, its services, and the nested set numbers of its spans.
//! The rules are Tempo's (`reference/tempo.md` §4.6), with ties broken by start and span id, so that the result does
//! not depend on the order in which spans arrived.

use crate::batch::{SpanBatch, effective_duration};
use crate::strings::StrId;

/// Spans with the kind that a trace's tree treats specially.
const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;

/// Nested set numbers of one span. All zero when the span hangs on no root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedSet {
    /// On entry of the walk, counted from 1.
    pub left: i32,
    /// On exit.
    pub right: i32,
    /// The parent's `left`; -1 for roots.
    pub parent: i32,
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

/// Nested set numbers of the spans in `rows`, in the same order. `rows` must be all spans of one trace, ordered by start
/// and id.
pub fn nested_sets(batch: &SpanBatch, rows: &[u32]) -> Vec<NestedSet> {
    let mut sets = vec![NestedSet::default(); rows.len()];
    let spans = &batch.spans;
    let id = |at: usize| spans.id[rows[at] as usize];
    let mut by_id: Vec<u32> = (0..rows.len() as u32).collect();
    by_id.sort_unstable_by_key(|at| (id(*at as usize), *at));
    if by_id.windows(3).any(|w| id(w[0] as usize) == id(w[2] as usize)) {
        return sets; // more than two spans share an id: nobody can tell whose children are whose
    }
    // Children as linked lists, built from the back so that they come out in order.
    const NONE: u32 = u32::MAX;
    let (mut first_child, mut next_sibling) = (vec![NONE; rows.len()], vec![NONE; rows.len()]);
    let mut first_root = NONE;
    for at in (0..rows.len()).rev() {
        let row = rows[at] as usize;
        let head = if spans.parent[row] == 0 {
            &mut first_root
        } else {
            let Some(parent) = parent_of(batch, rows, &by_id, at) else { continue };
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
            sets[next as usize] = NestedSet { left: counter, right: 0, parent };
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
fn parent_of(batch: &SpanBatch, rows: &[u32], by_id: &[u32], at: usize) -> Option<usize> {
    let spans = &batch.spans;
    let wanted = spans.parent[rows[at] as usize];
    let id = |place: &u32| spans.id[rows[*place as usize] as usize];
    let start = by_id.partition_point(|place| id(place) < wanted);
    let same = by_id[start..].iter().take_while(|place| id(place) == wanted).map(|place| *place as usize);
    let candidates: Vec<usize> = same.filter(|place| *place != at).collect();
    let kind = |place: usize| spans.kind[rows[place] as usize];
    let preferred = if kind(at) == KIND_SERVER { KIND_CLIENT } else { KIND_SERVER };
    candidates.iter().copied().find(|place| kind(*place) == preferred).or(candidates.first().copied())
}
