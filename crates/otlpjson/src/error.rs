//! What can go wrong, said so that the sender of a body can find the place.
//!
//! Must stay true: building an error costs nothing until one occurs. The path is put together while the parser
//! returns (each level adds its own key or index), and lines are counted once, at the end.

use std::borrow::Cow;
use std::fmt;

/// Why a body or a message could not be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is larger than the caller allows.
    #[error("the body has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the body.
        bytes: usize,
        /// The limit it broke.
        limit: usize,
    },
    /// The body is not JSON, or nested too deep.
    #[error("{0}")]
    Syntax(Box<Place>),
    /// The body is JSON, but not an OTLP trace request, or something above the spans has a wrong value.
    #[error("{0}")]
    Structure(Box<Place>),
    /// The protobuf bytes to be written as JSON are broken.
    #[error("broken protobuf: {0}")]
    Wire(&'static str),
}

/// A complaint about a place in a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What is wrong there.
    pub message: String,
    /// Where, as keys and indexes: `resourceSpans[0].resource.attributes[2].key`. Empty for the body itself.
    pub path: String,
    /// Where, as bytes from the start of the body.
    pub offset: usize,
    /// Where, as a line counted from 1.
    pub line: usize,
    /// Where, as a character of that line counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} (line {}, column {}, byte {})", self.message, self.line, self.column, self.offset)
    }
}

/// Longest key that is repeated in a path; keys come from the sender and may be of any size.
const MAX_KEY_SHOWN: usize = 64;

/// A complaint on its way up through the parser.
#[derive(Debug)]
pub struct Fail(Box<Body>);

#[derive(Debug)]
struct Body {
    syntax: bool,
    offset: usize,
    message: Cow<'static, str>,
    /// Innermost first: every level adds its segment while the error passes through.
    path: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Fail {
    /// The text is not JSON: nothing after this place can be trusted.
    #[cold]
    pub fn syntax(offset: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Body { syntax: true, offset, message: message.into(), path: Vec::new() }))
    }

    /// The text is JSON, but not what should stand here.
    #[cold]
    pub fn value(offset: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Body { syntax: false, offset, message: message.into(), path: Vec::new() }))
    }

    /// Whether the text is not JSON, as opposed to JSON with a wrong value.
    pub fn is_syntax(&self) -> bool {
        self.0.syntax
    }

    /// Adds the key under which this happened.
    #[cold]
    pub fn under_key(mut self, key: &[u8]) -> Self {
        let shown = &key[..key.len().min(MAX_KEY_SHOWN)];
        self.0.path.push(Segment::Key(String::from_utf8_lossy(shown).into_owned()));
        self
    }

    /// Adds the index of the array element in which this happened.
    #[cold]
    pub fn under_index(mut self, index: usize) -> Self {
        self.0.path.push(Segment::Index(index));
        self
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.0.path.iter().rev() {
            match segment {
                Segment::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// The complaint in one line, its path continuing `prefix`. Without line and column: counting those for each of
    /// many refused spans would read the body again and again.
    pub fn reason(&self, prefix: &str) -> String {
        let path = self.path();
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        format!("{prefix}{dot}{path}: {} (byte {})", self.0.message, self.0.offset)
    }

    /// The complaint about the whole body.
    pub fn into_error(self, text: &str) -> Error {
        let path = self.path();
        let before = text.get(..self.0.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let place = Box::new(Place {
            path,
            offset: self.0.offset,
            line: 1 + before.bytes().filter(|&byte| byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
            message: self.0.message.into_owned(),
        });
        if self.0.syntax { Error::Syntax(place) } else { Error::Structure(place) }
    }
}
