//! The query that narrows a list of tags or of their values, perhaps half typed.
//!
//! Never an error: whatever cannot be understood does not narrow. The rule:
//! - Only the spanset filters before the first `|` count. Several of them (`{ } >> { }`, `{ } && { }`) count as
//!   alternatives, since the tags of any matching span may be asked for.
//! - A filter is split at its `&&` and `||`; each part is read alone. A part is dropped when it is incomplete
//!   (`.a =`), wrong (`duration = "x"`), or compares nothing (`.a`, `true`).
//! - A dropped part holds for every span: `a && dropped` is `a`, and `a || dropped` does not narrow.
//! - A brace or parenthesis that is still open ends where the text ends.

use crate::MAX_QUERY_BYTES;
use crate::ast::{BinaryOp, FieldExpr};
use crate::check;
use crate::lexer::{Tok, Token, tokenize};
use crate::parser::{MAX_DEPTH, Parser, chain};

/// The most groups that are ever built; a filter with so many was cut off. Callers' own limits are below this.
pub const MAX_LENIENT_GROUPS: usize = 256;

/// With more parts than this, a filter does not narrow: combining them could take too long.
const MAX_PARTS: usize = 4096;

/// What spans are asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LenientFilter {
    /// Alternatives, each a conjunction of conditions. None at all means every span.
    pub groups: Vec<FieldExpr>,
}

/// What is understood of the `q` parameter of a request about tags.
#[must_use]
pub fn parse_lenient(text: &str) -> LenientFilter {
    if text.len() > MAX_QUERY_BYTES {
        return LenientFilter::default();
    }
    let mut tokens = tokenize(text);
    let mut groups = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.tok {
            Tok::Symbol("|") => break,
            Tok::Symbol("{") => {
                let end = at + closing(&tokens[at..], "{", "}");
                let Some(found) =
                    conditions(&mut tokens, at + 1, end, 0).and_then(|(condition, _)| condition.groups())
                else {
                    return LenientFilter::default();
                };
                groups.extend(found);
                at = end;
            }
            _ => at += 1,
        }
    }
    groups.truncate(MAX_LENIENT_GROUPS);
    LenientFilter { groups: groups.into_iter().filter_map(conjunction).collect() }
}

fn conjunction(parts: Vec<FieldExpr>) -> Option<FieldExpr> {
    let parts = parts.into_iter().map(|part| (part, 0)).collect();
    chain(BinaryOp::And, parts).map(|(expr, _)| expr)
}

/// Where the bracket that opens these tokens is closed; their end, or the pipe that must be behind it, if nowhere.
fn closing(tokens: &[Token], open: &str, close: &str) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match &token.tok {
            Tok::Symbol(symbol) if *symbol == open => depth += 1,
            Tok::Symbol(symbol) if *symbol == close => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i;
                }
            }
            Tok::Symbol("|") | Tok::End | Tok::Error(_) => return i,
            _ => {}
        }
    }
    tokens.len()
}

/// A condition and how deep its tree is.
type Deep = (Condition, usize);

/// What narrows, as a tree of conditions that are sure to be complete.
enum Condition {
    Leaf(FieldExpr),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Condition {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::count).sum(),
        }
    }

    /// As alternatives of conjunctions; `None` when there are too many parts.
    fn groups(self) -> Option<Vec<Vec<FieldExpr>>> {
        (self.count() <= MAX_PARTS).then(|| self.expand())
    }

    fn expand(self) -> Vec<Vec<FieldExpr>> {
        match self {
            Self::Leaf(expr) => vec![vec![expr]],
            Self::Or(parts) => parts.into_iter().flat_map(Self::expand).take(MAX_LENIENT_GROUPS).collect(),
            Self::And(parts) => parts.into_iter().map(Self::expand).fold(vec![Vec::new()], |sofar, next| {
                if let [only] = next.as_slice() {
                    return sofar.into_iter().map(|group| [group, only.clone()].concat()).collect();
                }
                let pairs = sofar.iter().flat_map(|left| next.iter().map(move |right| (left, right)));
                pairs
                    .take(MAX_LENIENT_GROUPS)
                    .map(|(left, right)| [left.as_slice(), right].concat())
                    .collect()
            }),
        }
    }
}

/// Joins what two sides say, each with its depth. `None` when that does not narrow, or is too deep to be walked.
fn join(op: &str, lhs: Option<Deep>, rhs: Option<Deep>) -> Option<Deep> {
    let is_or = op == "||";
    let ((lhs, left), (rhs, right)) = match (lhs, rhs) {
        (Some(lhs), Some(rhs)) => (lhs, rhs),
        _ if is_or => return None,
        (lhs, rhs) => return lhs.or(rhs),
    };
    let (joined, depth) = match lhs {
        Condition::Or(mut parts) if is_or => {
            parts.push(rhs);
            (Condition::Or(parts), left.max(right + 1))
        }
        Condition::And(mut parts) if !is_or => {
            parts.push(rhs);
            (Condition::And(parts), left.max(right + 1))
        }
        lhs if is_or => (Condition::Or(vec![lhs, rhs]), left.max(right) + 1),
        lhs => (Condition::And(vec![lhs, rhs]), left.max(right) + 1),
    };
    (depth <= MAX_DEPTH).then_some((joined, depth))
}

/// The conditions in a range of tokens, and how deep they are; `None` when they do not narrow.
fn conditions(tokens: &mut [Token], start: usize, end: usize, depth: usize) -> Option<Deep> {
    let end = end.min(tokens.len());
    let mut stop = part_end(tokens, start, end);
    let mut sofar = part(tokens, start, stop, depth);
    while stop < end
        && let Some(Token { tok: Tok::Symbol(op), .. }) = tokens.get(stop)
    {
        let (op, next) = (*op, stop + 1);
        stop = part_end(tokens, next, end);
        sofar = join(op, sofar, part(tokens, next, stop, depth));
    }
    sofar
}

/// Where the part that starts here ends: at a logical operator outside of parentheses, or at the end of the range.
fn part_end(tokens: &[Token], start: usize, end: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().take(end).skip(start) {
        match token.tok {
            Tok::Symbol("(") => depth += 1,
            Tok::Symbol(")") => depth = depth.saturating_sub(1),
            Tok::Symbol("&&" | "||") if depth == 0 => return i,
            _ => {}
        }
    }
    end
}

/// One part: a comparison, or conditions in parentheses.
fn part(tokens: &mut [Token], start: usize, end: usize, depth: usize) -> Option<Deep> {
    if start >= end || depth > MAX_DEPTH {
        return None;
    }
    if tokens[start].tok == Tok::Symbol("(") {
        let close = start + closing(&tokens[start..end], "(", ")");
        if close == end || (close + 1 == end && has_logic(&tokens[start..end])) {
            return conditions(tokens, start + 1, close, depth + 1);
        }
    }
    let expr = whole(tokens, start, end)?;
    let compares = !matches!(expr, FieldExpr::Field(_)) && expr.references_span();
    (compares && check::filter(&expr).is_ok()).then_some((Condition::Leaf(expr), 0))
}

fn has_logic(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| matches!(token.tok, Tok::Symbol("&&" | "||")))
}

/// Parses a range that must be one whole expression. The range is closed by an end for as long as that takes.
fn whole(tokens: &mut [Token], start: usize, end: usize) -> Option<FieldExpr> {
    if matches!(tokens.get(end - 1)?.tok, Tok::End | Tok::Error(_)) {
        return None;
    }
    if end == tokens.len() {
        return None;
    }
    let closer = std::mem::replace(&mut tokens[end].tok, Tok::End);
    let expr = Parser::new(&tokens[start..=end]).whole_field_expr();
    tokens[end].tok = closer;
    expr.ok()
}
