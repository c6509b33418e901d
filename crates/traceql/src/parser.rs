//! Tokens to syntax tree: the cursor that all parts of the grammar share, and the limits.
//!
//! Precedence climbing with one step of lookahead; nothing is tried twice. The errors say what was met, and, where at
//! most four things could stand there, what was expected, in the words of Tempo.

use crate::Error;
use crate::ast::{Field, FieldExpr, Intrinsic, Query, Scope, Static};
use crate::fields::names_in_scope;
use crate::lexer::{Tok, Token};

mod field;
mod metrics;
mod pipeline;
mod series;

pub(crate) use field::chain;
pub(crate) use series::series_query;

/// How deep a tree may be. The stack of whoever walks a tree by recursion must have room for this many steps.
/// Long rows of one `&&` or `||` do not count: they are built balanced.
pub const MAX_DEPTH: usize = 100;

/// How many calls deep the parser may go. Printing writes at most one pair of parentheses for each level of a tree,
/// and reading that back takes at most two calls (and a few for the outermost parts); so whatever can be parsed can be printed and parsed again.
const MAX_NESTING: usize = 2 * MAX_DEPTH + 8;

type Result<T> = std::result::Result<T, Error>;

/// A part of the tree and how deep it is.
type Deep<T> = (T, usize);

/// A position in the tokens of a query.
pub(crate) struct Parser<'a> {
    /// Never empty; the last one is [`Tok::End`] or [`Tok::Error`], and is never passed.
    tokens: &'a [Token],
    at: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    /// `tokens` must end with [`Tok::End`] or [`Tok::Error`].
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0, nesting: 0 }
    }

    fn peek(&self) -> &'a Tok {
        &self.tokens[self.at].tok
    }

    fn bump(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Tok::Symbol(found) if *found == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Word(found) if *found == word)
    }

    /// Takes a symbol if it stands here.
    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.bump();
        }
        found
    }

    /// Takes a symbol that must stand here; names it alone when it does not.
    fn expect(&mut self, symbol: &str) -> Result<()> {
        self.expect_of(symbol, &[symbol])
    }

    /// Takes a symbol that must stand here; `expected` is all that could have stood here.
    fn expect_of(&mut self, symbol: &str, expected: &[&str]) -> Result<()> {
        if self.take(symbol) { Ok(()) } else { self.unexpected(expected) }
    }

    /// The end of the text must stand here.
    pub(crate) fn end(&self, expected: &[&str]) -> Result<()> {
        if *self.peek() == Tok::End { Ok(()) } else { self.unexpected(expected) }
    }

    fn unexpected<T>(&self, expected: &[&str]) -> Result<T> {
        self.unexpected_at(self.at, expected)
    }

    fn unexpected_at<T>(&self, at: usize, expected: &[&str]) -> Result<T> {
        let tok = &self.tokens[at].tok;
        if let Tok::Error(message) = tok {
            return self.error_at(at, message.clone());
        }
        let mut message = format!("syntax error: unexpected {tok}");
        for (i, what) in expected.iter().enumerate() {
            message.push_str(if i == 0 { ", expecting " } else { " or " });
            message.push_str(what);
        }
        self.error_at(at, message)
    }

    fn error_at<T>(&self, at: usize, message: String) -> Result<T> {
        let Token { line, col, .. } = self.tokens[at];
        Err(Error::Syntax { line, col, message })
    }

    fn too_deep<T>(&self) -> Result<T> {
        self.error_at(self.at, format!("expressions are nested deeper than {MAX_DEPTH} levels"))
    }

    /// Counts a step down for as long as `inner` runs.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting >= MAX_NESTING {
            return self.too_deep();
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// The depth of something made of parts of this depth, if it may be that deep.
    fn deeper(&self, inner: usize) -> Result<usize> {
        if inner >= MAX_DEPTH { self.too_deep() } else { Ok(inner + 1) }
    }

    /// The whole text as a query.
    pub(crate) fn query(&mut self) -> Result<Query> {
        let (root, metrics) = self.root()?;
        let hints = self.all_hints()?;
        Ok(Query { root, metrics, hints })
    }

    /// The whole text as the inside of `{ }`, without the braces.
    pub(crate) fn whole_field_expr(&mut self) -> Result<FieldExpr> {
        let (expr, _) = self.field_expr(0)?;
        self.end(&[])?;
        Ok(expr)
    }

    /// The whole text as `{ field }`, for a text that names one field.
    pub(crate) fn whole_field(&mut self) -> Result<Field> {
        self.expect("{")?;
        if let Tok::Ident(name) = self.peek() {
            return self.error_at(self.at, format!("unknown identifier: {name}"));
        }
        let field = self.field()?;
        self.expect("}")?;
        self.end(&[])?;
        Ok(field)
    }

    /// An attribute or an intrinsic.
    fn field(&mut self) -> Result<Field> {
        match self.field_if_any()? {
            Some(field) => Ok(field),
            None => self.unexpected(&[]),
        }
    }

    /// An attribute or an intrinsic, if one stands here.
    fn field_if_any(&mut self) -> Result<Option<Field>> {
        let field = match self.peek() {
            Tok::Attr { parent, scope, name } => {
                let (scope, name) = (*scope, name.clone());
                if *parent { Field::Parent { scope, name } } else { Field::Attribute { scope, name } }
            }
            Tok::BareScope { parent, scope } => {
                let all = ["IDENTIFIER", Scope::Resource.prefix(), Scope::Span.prefix()];
                let expected = if *parent && *scope == Scope::None { &all[..] } else { &all[..1] };
                let list = expected.join(" or ");
                let message = format!("syntax error: unexpected END_ATTRIBUTE, expecting {list}");
                return self.error_at(self.at, message);
            }
            Tok::Colon(scope) => {
                self.bump();
                let found = match self.peek() {
                    Tok::Word(name) => Intrinsic::from_scoped_name(scope, name),
                    _ => None,
                };
                let Some(intrinsic) = found else {
                    let names: Vec<_> = names_in_scope(scope).collect();
                    return self.unexpected(if names.len() > 4 { &[] } else { &names });
                };
                Field::Intrinsic { intrinsic, scoped: true }
            }
            Tok::Word(name) => match Intrinsic::from_old_name(name) {
                Some(intrinsic) => Field::Intrinsic { intrinsic, scoped: false },
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.bump();
        Ok(Some(field))
    }

    /// A list of fields behind its opening parenthesis, with the closing one.
    fn fields(&mut self) -> Result<Vec<Field>> {
        let mut fields = vec![self.field()?];
        while self.take(",") {
            fields.push(self.field()?);
        }
        self.expect_of(")", &[")", ","])?;
        Ok(fields)
    }

    /// A number or a duration, perhaps with a minus.
    fn number(&mut self, expected: &[&str]) -> Result<Static> {
        let negative = self.take("-");
        // A minus can come only once.
        let expected = if negative { &expected[..expected.len().saturating_sub(1)] } else { expected };
        let value = match self.peek() {
            Tok::Int(value) => Static::Int(if negative { value.wrapping_neg() } else { *value }),
            Tok::Float(value) => Static::Float(if negative { -value } else { *value }),
            Tok::Duration(value) => Static::Duration(if negative { value.wrapping_neg() } else { *value }),
            _ => return self.unexpected(expected),
        };
        self.bump();
        Ok(value)
    }
}
