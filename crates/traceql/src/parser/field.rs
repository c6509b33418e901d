//! Expressions over one span.

use super::{Deep, Parser, Result};
use crate::ast::{BinaryOp, FieldExpr, Kind, Static, Status, UnaryOp};
use crate::lexer::Tok;

/// Binding strength of the operators, weakest first. `&&` and `||` bind alike, as in Tempo.
pub(super) const LOGIC: u8 = 1;
pub(super) const COMPARE: u8 = 2;
pub(super) const ADD: u8 = 3;
/// Of the operand behind `-` or `!`: it takes along everything that binds stronger than `+`.
const PREFIX: u8 = 4;
pub(super) const MULTIPLY: u8 = 5;
pub(super) const POWER: u8 = 6;

/// Rows of one logical operator up to this length are built left to right, as written; longer ones balanced, so that
/// a list of thousands of trace ids does not make a tree thousands deep. Both mean the same.
const LONG_CHAIN: usize = 64;

/// The arithmetic operator with this spelling, and how it binds.
pub(super) fn arithmetic(symbol: &str) -> Option<(BinaryOp, u8)> {
    Some(match symbol {
        "+" => (BinaryOp::Add, ADD),
        "-" => (BinaryOp::Sub, ADD),
        "*" => (BinaryOp::Mul, MULTIPLY),
        "/" => (BinaryOp::Div, MULTIPLY),
        "%" => (BinaryOp::Mod, MULTIPLY),
        "^" => (BinaryOp::Pow, POWER),
        _ => return None,
    })
}

/// The comparison of numbers with this spelling.
pub(super) fn comparison(symbol: &str) -> Option<BinaryOp> {
    Some(match symbol {
        "=" => BinaryOp::Eq,
        "!=" => BinaryOp::NotEq,
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEq,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEq,
        _ => return None,
    })
}

fn infix(tok: &Tok) -> Option<(BinaryOp, u8)> {
    let Tok::Symbol(symbol) = tok else { return None };
    match *symbol {
        "&&" => Some((BinaryOp::And, LOGIC)),
        "||" => Some((BinaryOp::Or, LOGIC)),
        "=~" => Some((BinaryOp::Regex, COMPARE)),
        "!~" => Some((BinaryOp::NotRegex, COMPARE)),
        symbol => comparison(symbol).map(|op| (op, COMPARE)).or_else(|| arithmetic(symbol)),
    }
}

/// How strong an operator must bind to belong to the right side of one that binds so strong. Only `^` groups to the
/// right.
pub(super) fn right_side(strength: u8) -> u8 {
    if strength == POWER { POWER } else { strength + 1 }
}

fn join(op: BinaryOp, (lhs, left): Deep<FieldExpr>, (rhs, right): Deep<FieldExpr>) -> Deep<FieldExpr> {
    (FieldExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }, left.max(right) + 1)
}

/// Joins parts by one logical operator. `None` when there are none.
pub(crate) fn chain(op: BinaryOp, mut parts: Vec<Deep<FieldExpr>>) -> Option<Deep<FieldExpr>> {
    if parts.len() <= LONG_CHAIN {
        return parts.into_iter().reduce(|lhs, rhs| join(op, lhs, rhs));
    }
    while parts.len() > 1 {
        let mut halved = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(lhs) = rest.next() {
            halved.push(match rest.next() {
                Some(rhs) => join(op, lhs, rhs),
                None => lhs,
            });
        }
        parts = halved;
    }
    parts.pop()
}

impl Parser<'_> {
    /// An expression of operators that bind at least so strong.
    pub(super) fn field_expr(&mut self, min: u8) -> Result<Deep<FieldExpr>> {
        self.nested(|parser| parser.field_expr_inner(min))
    }

    fn field_expr_inner(&mut self, min: u8) -> Result<Deep<FieldExpr>> {
        let mut lhs = self.field_operand()?;
        while let Some((op, strength)) = infix(self.peek()).filter(|(_, strength)| *strength >= min) {
            if strength == LOGIC {
                lhs = self.field_chain(op, lhs)?;
                continue;
            }
            self.bump();
            let rhs = self.field_expr(right_side(strength))?;
            lhs = join(op, lhs, rhs);
            self.deeper(lhs.1 - 1)?;
        }
        Ok(lhs)
    }

    /// `lhs op x op y …`, for as long as the operator is the same.
    fn field_chain(&mut self, op: BinaryOp, lhs: Deep<FieldExpr>) -> Result<Deep<FieldExpr>> {
        let mut parts = vec![lhs];
        while infix(self.peek()).is_some_and(|(found, _)| found == op) {
            self.bump();
            parts.push(self.field_expr(LOGIC + 1)?);
        }
        match chain(op, parts) {
            Some((expr, depth)) => {
                self.deeper(depth.saturating_sub(1))?;
                Ok((expr, depth))
            }
            None => self.unexpected(&[]),
        }
    }

    fn field_operand(&mut self) -> Result<Deep<FieldExpr>> {
        let prefix = match self.peek() {
            Tok::Symbol("(") => {
                self.bump();
                let inner = self.field_expr(0)?;
                self.expect_of(")", &[])?;
                return Ok(inner);
            }
            Tok::Symbol("-") => Some(UnaryOp::Neg),
            Tok::Symbol("!") => Some(UnaryOp::Not),
            _ => None,
        };
        if let Some(op) = prefix {
            self.bump();
            let (expr, depth) = self.field_expr(PREFIX)?;
            let depth = self.deeper(depth)?;
            return Ok((FieldExpr::Unary { op, expr: Box::new(expr) }, depth));
        }
        if let Some(value) = literal(self.peek()) {
            self.bump();
            return Ok((FieldExpr::Static(value), 0));
        }
        Ok((FieldExpr::Field(self.field()?), 0))
    }
}

/// The literal that a token is.
pub(super) fn literal(tok: &Tok) -> Option<Static> {
    Some(match tok {
        Tok::Str(text) => Static::String(text.clone()),
        Tok::Int(value) => Static::Int(*value),
        Tok::Float(value) => Static::Float(*value),
        Tok::Duration(nanos) => Static::Duration(*nanos),
        Tok::Word(word) => match *word {
            "nil" => Static::Nil,
            "true" => Static::Bool(true),
            "false" => Static::Bool(false),
            "ok" => Static::Status(Status::Ok),
            "error" => Static::Status(Status::Error),
            "unset" => Static::Status(Status::Unset),
            "unspecified" => Static::Kind(Kind::Unspecified),
            "internal" => Static::Kind(Kind::Internal),
            "server" => Static::Kind(Kind::Server),
            "client" => Static::Kind(Kind::Client),
            "producer" => Static::Kind(Kind::Producer),
            "consumer" => Static::Kind(Kind::Consumer),
            _ => return None,
        },
        _ => return None,
    })
}
