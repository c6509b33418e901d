//! TraceQL, the language: text to checked syntax tree and back.
//!
//! No I/O, no async, no knowledge of how a query runs. Nothing here panics or overflows the stack, whatever the text:
//! texts are bounded by [`MAX_QUERY_BYTES`], trees by [`MAX_DEPTH`].
//!
//! - [`parse`] for a query that will run, [`parse_unchecked`] for one that will only be looked at;
//! - [`parse_metrics`] for a question for series, which may be arithmetic between queries;
//! - [`parse_field`] for the name of a tag;
//! - [`parse_lenient`] for the half-typed query that narrows a list of tags;
//! - `Display` on every part of the tree gives text that parses back to it.

pub mod ast;
mod check;
mod duration;
mod error;
mod fields;
mod lenient;
mod lexer;
mod parser;
mod pattern;
mod print;

pub use check::{MAX_ARITHMETIC_QUERIES, check, check_metrics};
pub use duration::format as format_duration;
pub use error::{Error, ErrorKind};
pub use fields::{INTRINSIC_NAMES, ValueType};
pub use lenient::{LenientFilter, MAX_LENIENT_GROUPS, parse_lenient};
pub use parser::MAX_DEPTH;
pub use pattern::{Beginnings, beginnings, compile_regex};

use ast::{Field, Query, SeriesQuery};

/// The longest query that is looked at.
pub const MAX_QUERY_BYTES: usize = 131_072;

/// Reads a query and checks that it can be run.
///
/// # Errors
/// When the text is too long, is not TraceQL, or means nothing: see [`Error`].
pub fn parse(text: &str) -> Result<Query, Error> {
    let query = parse_unchecked(text)?;
    check(&query)?;
    Ok(query)
}

/// Reads a query without checking types and limits.
///
/// # Errors
/// When the text is too long or is not TraceQL.
pub fn parse_unchecked(text: &str) -> Result<Query, Error> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::TooLong);
    }
    parser::Parser::new(&lexer::tokenize(text)).query()
}

/// Reads a query that may be arithmetic between metrics queries, and checks that it can be run. What is not arithmetic
/// is read, or refused, as by [`parse`]; whether it asks for series is not judged.
///
/// # Errors
/// When the text is too long, is not TraceQL, or means nothing: see [`Error`].
pub fn parse_metrics(text: &str) -> Result<SeriesQuery, Error> {
    let query = parse_metrics_unchecked(text)?;
    check_metrics(&query)?;
    Ok(query)
}

/// Reads the same without checking types and limits.
///
/// # Errors
/// When the text is too long or is not TraceQL.
pub fn parse_metrics_unchecked(text: &str) -> Result<SeriesQuery, Error> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::TooLong);
    }
    parser::series_query(&lexer::tokenize(text))
}

/// Reads the name of a tag, as the path of a request for its values gives it: `span.foo`, `.foo`, `event:name`.
///
/// # Errors
/// When the text is too long or is not the name of one attribute or intrinsic.
pub fn parse_field(text: &str) -> Result<Field, Error> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Error::TooLong);
    }
    // Tempo reads the name inside of braces, which is why columns in its errors are off by one.
    parser::Parser::new(&lexer::tokenize(&format!("{{{text}}}")))
        .whole_field()
        .map_err(|cause| Error::Identifier { text: text.to_owned(), cause: Box::new(cause) })
}

impl Query {
    /// Whether the query asks for series rather than for traces.
    #[must_use]
    pub fn is_metrics(&self) -> bool {
        self.metrics.is_some()
    }
}
