//! Arithmetic between metrics queries: `({…} | rate()) / ({…} | rate()) * 100 | topk(3)`.
//!
//! Tempo has none, and no text that it takes is read here. What it refuses keeps the error that it gives, until a
//! metrics query in parentheses and an operator have been read: then it is arithmetic that is wrong.

use super::field::{POWER, arithmetic, right_side};
use super::{Deep, Parser, Result};
use crate::ast::{MetricsExpr, Query, SeriesQuery, Static};
use crate::lexer::{Tok, Token};

/// What is known of a text that may be arithmetic.
struct Found {
    /// For each token whether it opens parentheses around a metrics query.
    opens_query: Vec<bool>,
    queries: usize,
    operators: usize,
}

impl Found {
    fn is_arithmetic(&self) -> bool {
        self.queries > 0 && self.operators > 0
    }
}

/// Reads a whole text as one query or as arithmetic. `tokens` must end with [`Tok::End`] or [`Tok::Error`].
pub(crate) fn series_query(tokens: &[Token]) -> Result<SeriesQuery> {
    let refusal = match Parser::new(tokens).query() {
        Ok(query) => return Ok(query.into()),
        Err(refusal) => refusal,
    };
    let mut found = Found { opens_query: opens_query(tokens), queries: 0, operators: 0 };
    if !found.opens_query.contains(&true) {
        return Err(refusal);
    }
    let read = Parser::new(tokens).series(&mut found);
    if found.is_arithmetic() { read } else { Err(refusal) }
}

/// What stands in parentheses is a query when a metrics aggregate stands directly in them, and arithmetic when not.
/// That is found out for all of them at once, so that nothing is tried twice.
fn opens_query(tokens: &[Token]) -> Vec<bool> {
    let mut opens = vec![false; tokens.len()];
    let mut around = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.tok {
            Tok::Symbol("(" | "{") => around.push(at),
            Tok::Symbol(")" | "}") => {
                around.pop();
            }
            Tok::Symbol("|") if tokens.get(at + 1).is_some_and(|next| is_aggregate(&next.tok)) => {
                if let Some(open) = around.last() {
                    opens[*open] = true;
                }
            }
            _ => {}
        }
    }
    opens
}

fn is_aggregate(tok: &Tok) -> bool {
    matches!(tok, Tok::Word(word) if matches!(*word, "rate" | "compare") || word.ends_with("_over_time"))
}

impl Parser<'_> {
    fn series(&mut self, found: &mut Found) -> Result<SeriesQuery> {
        let (expr, _) = self.metrics_expr(0, found)?;
        let second_stages = self.second_stages()?;
        let hints = self.all_hints()?;
        Ok(SeriesQuery { expr, second_stages, hints })
    }

    /// Operands combined by operators that bind at least so strong.
    fn metrics_expr(&mut self, min: u8, found: &mut Found) -> Result<Deep<MetricsExpr>> {
        self.nested(|parser| parser.metrics_expr_inner(min, found))
    }

    fn metrics_expr_inner(&mut self, min: u8, found: &mut Found) -> Result<Deep<MetricsExpr>> {
        let mut lhs = self.metrics_operand(found)?;
        while let Tok::Symbol(symbol) = self.peek()
            && let Some((op, strength)) = arithmetic(symbol).filter(|(_, strength)| *strength >= min)
        {
            self.bump();
            found.operators += 1;
            let (rhs, right) = self.metrics_expr(right_side(strength), found)?;
            let depth = self.deeper(lhs.1.max(right))?;
            lhs = (MetricsExpr::Binary { op, lhs: Box::new(lhs.0), rhs: Box::new(rhs) }, depth);
        }
        Ok(lhs)
    }

    fn metrics_operand(&mut self, found: &mut Found) -> Result<Deep<MetricsExpr>> {
        let value = match self.peek() {
            Tok::Symbol("(") if found.opens_query[self.at] => {
                self.bump();
                let query = self.query_in_parentheses()?;
                found.queries += 1;
                return Ok((MetricsExpr::Query(Box::new(query)), 0));
            }
            Tok::Symbol("(") => {
                self.bump();
                let inner = self.metrics_expr(0, found)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Tok::Symbol("-") => {
                self.bump();
                found.operators += 1;
                // As in mathematics, `-2 ^ 2` is -4.
                let (inner, depth) = self.metrics_expr(POWER, found)?;
                return Ok((MetricsExpr::Negate(Box::new(inner)), self.deeper(depth)?));
            }
            Tok::Int(value) => Static::Int(*value),
            Tok::Float(value) => Static::Float(*value),
            Tok::Duration(value) => Static::Duration(*value),
            _ => return self.unexpected(&[]),
        };
        self.bump();
        Ok((MetricsExpr::Number(value), 0))
    }

    /// A metrics query and the parenthesis that closes it. Its depth is counted afresh: see [`super::MAX_DEPTH`].
    fn query_in_parentheses(&mut self) -> Result<Query> {
        let outer = std::mem::take(&mut self.nesting);
        let root = self.root();
        self.nesting = outer;
        let (root, metrics) = root?;
        if metrics.is_none() {
            return self.unexpected(&[]);
        }
        self.expect(")")?;
        Ok(Query { root, metrics, hints: Vec::new() })
    }
}
