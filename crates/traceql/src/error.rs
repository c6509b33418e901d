//! What can be wrong with a query.
//!
//! The `Display` texts are part of Tempo's API: clients show them, and the recordings compare them. The API puts its
//! own prefix (`invalid TraceQL query: `, `compiling query: `, …) before them.

use crate::MAX_QUERY_BYTES;

/// Why a text is not a query that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not follow the grammar.
    #[error("parse error {}: {message}", Position { line: *line, col: *col })]
    Syntax {
        /// Line of the offending token, from 1; 0 for an empty text.
        line: usize,
        /// Column of the offending token in characters, from 1; 0 for an empty text.
        col: usize,
        /// What is wrong there.
        message: String,
    },
    /// The text follows the grammar but means nothing: wrong types, wrong limits.
    #[error("{0}")]
    Invalid(String),
    /// The query means something that is deliberately not offered.
    #[error("{0} not yet supported")]
    Unsupported(String),
    /// The text is longer than [`MAX_QUERY_BYTES`].
    #[error(
        "TraceQL expression exceeds the configured maximum size of {MAX_QUERY_BYTES} bytes, please make it shorter"
    )]
    TooLong,
    /// The text given for a tag name is not one.
    #[error("failed to parse identifier {text}: {cause}")]
    Identifier {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        cause: Box<Self>,
    },
}

/// The kinds of [`Error`], for callers that only tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// See [`Error::Syntax`].
    Syntax,
    /// See [`Error::Invalid`].
    Invalid,
    /// See [`Error::Unsupported`].
    Unsupported,
    /// See [`Error::TooLong`].
    TooLong,
}

impl Error {
    /// Which kind of error this is; for an identifier, that of its cause.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } => ErrorKind::Syntax,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::TooLong => ErrorKind::TooLong,
            Self::Identifier { cause, .. } => cause.kind(),
        }
    }
}

/// Writes a position the way Tempo does: nothing at all for an empty text, which has no position.
struct Position {
    line: usize,
    col: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 && self.col == 0 {
            return Ok(());
        }
        write!(f, "at line {}, col {}", self.line, self.col)
    }
}
