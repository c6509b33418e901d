//! Operators between spansets: `&&`, `||`, and the structural relations in their three forms.

use trackway_traceql::ast::{Relation, RelationForm, SpansetOp};

use crate::view::View;

/// `lhs OP rhs`, both sides being places of spans. The result is in the order of the spans.
pub(crate) fn combine(op: SpansetOp, lhs: &[usize], rhs: &[usize], view: &View<'_>) -> Vec<usize> {
    match op {
        SpansetOp::And if lhs.is_empty() || rhs.is_empty() => Vec::new(),
        SpansetOp::And | SpansetOp::Or => union(lhs, rhs),
        SpansetOp::Relation { relation, form } => {
            let related = |left: usize, right: usize| holds(relation, left, right, view);
            let of_right = |right: &usize| lhs.iter().any(|left| related(*left, *right));
            let of_left = |left: &usize| rhs.iter().any(|right| related(*left, *right));
            match form {
                RelationForm::Plain => keep(rhs, of_right),
                // A span that no root leads to is in no relation, and in no negated one either.
                RelationForm::Negated => keep(rhs, |right| is_connected(*right, view) && !of_right(right)),
                RelationForm::Union => union(&keep(lhs, of_left), &keep(rhs, of_right)),
            }
        }
    }
}

fn keep(spans: &[usize], test: impl Fn(&usize) -> bool) -> Vec<usize> {
    spans.iter().copied().filter(test).collect()
}

fn union(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut both = [a, b].concat();
    both.sort_unstable();
    both.dedup();
    both
}

fn is_connected(at: usize, view: &View<'_>) -> bool {
    view.sets[at].left != 0
}

/// Whether `left RELATION right` holds: for `>` that the right span is a child of the left one.
fn holds(relation: Relation, left: usize, right: usize, view: &View<'_>) -> bool {
    if !is_connected(left, view) || !is_connected(right, view) {
        return false;
    }
    let (a, b) = (view.sets[left], view.sets[right]);
    match relation {
        Relation::Child => b.parent == a.left,
        Relation::Parent => a.parent == b.left,
        Relation::Descendant => a.left < b.left && b.right < a.right,
        Relation::Ancestor => b.left < a.left && a.right < b.right,
        // CHOICE: two roots are siblings, as both have -1 for their parent.
        Relation::Sibling => left != right && a.parent == b.parent,
    }
}
