//! What the parent ids of a trace's spans say: its root, the nested set numbers, the numbers of children.

use crate::model::{Span, Trace};

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// Nested set numbers of one span: a walk from every root counts up, from 1, on the way into a span and on the way out.
/// All are zero for a span that no root leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NestedSet {
    /// The count on the way in.
    pub(crate) left: i64,
    /// The count on the way out.
    pub(crate) right: i64,
    /// The parent's `left`; -1 for roots.
    pub(crate) parent: i64,
}

/// The root span: of those without a parent the one that starts last, the greater id deciding between equals.
pub(crate) fn root(trace: &Trace) -> Option<&Span> {
    trace.spans.iter().filter(|span| span.parent == 0).max_by_key(|span| (span.start, span.id))
}

/// Nested set numbers of all spans, in their order. Children are walked in the order of the spans.
pub(crate) fn nested_sets(trace: &Trace) -> Vec<NestedSet> {
    let spans = &trace.spans;
    let mut sets = vec![NestedSet::default(); spans.len()];
    let share_id = |span: &Span| spans.iter().filter(|other| other.id == span.id).count();
    if spans.iter().any(|span| share_id(span) > 2) {
        return sets; // nobody can tell whose children are whose
    }
    let parents: Vec<Option<usize>> = (0..spans.len()).map(|at| parent_of(spans, at)).collect();
    let mut counter = 0;
    for (at, span) in spans.iter().enumerate() {
        if span.parent == 0 {
            walk(at, -1, &parents, &mut counter, &mut sets);
        }
    }
    sets
}

fn walk(at: usize, parent: i64, parents: &[Option<usize>], counter: &mut i64, sets: &mut [NestedSet]) {
    *counter += 1;
    let left = *counter;
    for child in 0..parents.len() {
        if parents[child] == Some(at) {
            walk(child, left, parents, counter, sets);
        }
    }
    *counter += 1;
    sets[at] = NestedSet { left, right: *counter, parent };
}

/// The place of a span's parent. Zipkin lets the client's and the server's span of a call share one id: a server's
/// parent is then the client, everybody else's the server.
fn parent_of(spans: &[Span], at: usize) -> Option<usize> {
    let span = &spans[at];
    if span.parent == 0 {
        return None;
    }
    let candidates: Vec<usize> =
        (0..spans.len()).filter(|other| *other != at && spans[*other].id == span.parent).collect();
    let preferred = if span.kind == SERVER { CLIENT } else { SERVER };
    let matching = candidates.iter().find(|other| spans[**other].kind == preferred);
    matching.or(candidates.first()).copied()
}

/// How many other spans name each span as their parent.
pub(crate) fn child_counts(trace: &Trace) -> Vec<i64> {
    let spans = &trace.spans;
    let children = |at: usize| {
        let is_child = |other: &usize| *other != at && spans[*other].parent == spans[at].id;
        (0..spans.len()).filter(is_child).count() as i64
    };
    (0..spans.len()).map(children).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: &[(u64, u64, u8)]) -> Trace {
        let span = |(start, (id, parent, kind)): (usize, &(u64, u64, u8))| Span {
            id: *id,
            parent: *parent,
            kind: *kind,
            start: start as u64,
            ..Span::default()
        };
        Trace { id: 1, spans: spans.iter().enumerate().map(span).collect() }
    }

    fn numbers(spans: &[(u64, u64, u8)]) -> Vec<(i64, i64, i64)> {
        nested_sets(&trace(spans)).iter().map(|set| (set.left, set.right, set.parent)).collect()
    }

    #[test]
    fn two_roots_and_an_orphan() {
        let spans = [(1, 0, 1), (2, 1, 1), (3, 0, 1), (4, 9, 1)];
        assert_eq!(numbers(&spans), [(1, 4, -1), (2, 3, 1), (5, 6, -1), (0, 0, 0)]);
        assert_eq!(root(&trace(&spans)).unwrap().id, 3);
        assert_eq!(child_counts(&trace(&spans)), [1, 0, 0, 0]);
    }

    #[test]
    fn a_cycle_hangs_on_nothing() {
        assert_eq!(numbers(&[(1, 2, 1), (2, 1, 1), (3, 3, 1)]), [(0, 0, 0); 3]);
        assert_eq!(child_counts(&trace(&[(1, 2, 1), (2, 1, 1), (3, 3, 1)])), [1, 1, 0]);
    }

    #[test]
    fn shared_ids() {
        // client 2 and server 2; the internal span 3 belongs to the server
        let zipkin = [(1, 0, 2), (2, 1, 3), (2, 2, 2), (3, 2, 1)];
        assert_eq!(numbers(&zipkin), [(1, 8, -1), (2, 7, 1), (3, 6, 2), (4, 5, 3)]);
        assert_eq!(numbers(&[(1, 0, 1), (1, 0, 1), (1, 0, 1)]), [(0, 0, 0); 3]);
    }
}
