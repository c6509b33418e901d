//! Operators between spans of one trace: `&&`, `||`, and the structural relations, by nested set numbers.
//!
//! A span that no root leads to has zeros for numbers: it is in no relation, and no negated form finds it either.

use trackway_spans::SpanBatch;
use trackway_traceql::ast::{Relation, RelationForm, SpansetOp};

/// Up to so many pairs are compared one by one: most traces are small, and sorting them costs more.
const PAIRS_MAX: usize = 256;

/// `left OP right` over spans of one trace of a batch, both ascending. The result is ascending.
pub(crate) fn combine(op: SpansetOp, left: &[u32], right: &[u32], batch: &SpanBatch) -> Vec<u32> {
    match op {
        SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
        SpansetOp::And | SpansetOp::Or => union(left, right),
        SpansetOp::Relation { relation, form } => {
            let sets = Sets(batch);
            match form {
                RelationForm::Plain => sets.related(right, relation, left, true),
                RelationForm::Negated => sets.related(right, relation, left, false),
                RelationForm::Union => union(
                    &sets.related(left, mirrored(relation), right, true),
                    &sets.related(right, relation, left, true),
                ),
            }
        }
    }
}

/// The relation that the left side has to the right one.
fn mirrored(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut both = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        both.push(*x.min(y));
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    both.extend_from_slice(&a[i..]);
    both.extend_from_slice(&b[j..]);
    both
}

/// The nested set numbers of a batch's spans.
struct Sets<'a>(&'a SpanBatch);

impl Sets<'_> {
    fn left(&self, span: u32) -> i32 {
        self.0.spans.nested_left[span as usize]
    }

    fn right(&self, span: u32) -> i32 {
        self.0.spans.nested_right[span as usize]
    }

    fn parent(&self, span: u32) -> i32 {
        self.0.spans.nested_parent[span as usize]
    }

    /// Of `spans` those that have the relation to any of `others`, or those that have it to none.
    fn related(&self, spans: &[u32], relation: Relation, others: &[u32], wanted: bool) -> Vec<u32> {
        let connected = spans.iter().copied().filter(|span| self.left(*span) != 0);
        if spans.len() * others.len() <= PAIRS_MAX {
            let any = |span: u32| others.iter().any(|other| self.holds(relation, *other, span));
            return connected.filter(|span| any(*span) == wanted).collect();
        }
        let index = Index::new(self, relation, others);
        connected.filter(|span| index.any(self, relation, others, *span) == wanted).collect()
    }

    /// Whether `span` is the child (or whatever the relation is) of `other`.
    fn holds(&self, relation: Relation, other: u32, span: u32) -> bool {
        if self.left(other) == 0 {
            return false;
        }
        let inside =
            |inner, outer| self.left(outer) < self.left(inner) && self.right(inner) < self.right(outer);
        match relation {
            Relation::Child => self.parent(span) == self.left(other),
            Relation::Parent => self.parent(other) == self.left(span),
            Relation::Descendant => inside(span, other),
            Relation::Ancestor => inside(other, span),
            Relation::Sibling => span != other && self.parent(span) == self.parent(other),
        }
    }
}

/// One side of a relation, sorted so that the other can be looked up in it.
struct Index {
    /// What a relation looks for: left numbers, or parents.
    keys: Vec<i32>,
    /// For descendants: the greatest right number of all spans up to here in the order of their left ones. For ancestors:
    /// the right number of the span with this left one.
    rights: Vec<i32>,
}

impl Index {
    fn new(sets: &Sets<'_>, relation: Relation, others: &[u32]) -> Self {
        let connected = others.iter().copied().filter(|other| sets.left(*other) != 0);
        let mut pairs: Vec<(i32, i32)> = connected
            .map(|other| match relation {
                Relation::Parent | Relation::Sibling => (sets.parent(other), 0),
                Relation::Child | Relation::Descendant | Relation::Ancestor => {
                    (sets.left(other), sets.right(other))
                }
            })
            .collect();
        pairs.sort_unstable();
        let mut greatest = 0;
        let rights = pairs.iter().map(|(_, right)| {
            greatest = greatest.max(*right);
            if relation == Relation::Descendant { greatest } else { *right }
        });
        Self { rights: rights.collect(), keys: pairs.iter().map(|(key, _)| *key).collect() }
    }

    fn any(&self, sets: &Sets<'_>, relation: Relation, others: &[u32], span: u32) -> bool {
        let has = |key: i32| self.keys.binary_search(&key).is_ok();
        match relation {
            Relation::Child => has(sets.parent(span)),
            Relation::Parent => has(sets.left(span)),
            Relation::Descendant => {
                let before = self.keys.partition_point(|left| *left < sets.left(span));
                before > 0 && self.rights[before - 1] > sets.right(span)
            }
            // Sets lie within each other or apart: the first one that begins behind this one's beginning tells.
            Relation::Ancestor => {
                let next = self.keys.partition_point(|left| *left <= sets.left(span));
                self.rights.get(next).is_some_and(|right| *right < sets.right(span))
            }
            Relation::Sibling => {
                let parent = sets.parent(span);
                let same = self.keys.partition_point(|key| *key <= parent)
                    - self.keys.partition_point(|key| *key < parent);
                same > usize::from(others.binary_search(&span).is_ok())
            }
        }
    }
}
