//! Text to tokens.
//!
//! Never fails: what cannot be read becomes a [`Tok::Error`], which ends the list. So the parser reports whatever is
//! wrong first in reading order. The list is never empty and ends with [`Tok::End`] or [`Tok::Error`]. Columns count
//! characters, not bytes.

use crate::ast::Scope;
use crate::duration;
use literals::Number;

mod literals;

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) line: usize,
    pub(crate) col: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    /// A reserved word.
    Word(&'static str),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// `span:`, before an intrinsic.
    Colon(&'static str),
    /// A word that is not reserved, or a character that means nothing.
    Ident(String),
    Str(String),
    Int(i64),
    Float(f64),
    Duration(i64),
    /// A whole attribute; `parent` when it stands behind `parent.`.
    Attr {
        parent: bool,
        scope: Scope,
        name: String,
    },
    /// A scope with no name behind it.
    BareScope {
        parent: bool,
        scope: Scope,
    },
    /// What could not be read, as the message for the user.
    Error(String),
    End,
}

impl std::fmt::Display for Tok {
    /// The name that a token has in error texts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Word(text) | Self::Symbol(text) | Self::Colon(text) => text,
            Self::Ident(_) => "IDENTIFIER",
            Self::Str(_) => "STRING",
            Self::Int(_) => "INTEGER",
            Self::Float(_) => "FLOAT",
            Self::Duration(_) => "DURATION",
            Self::Attr { parent: true, .. } | Self::BareScope { parent: true, .. } => "parent.",
            Self::Attr { scope, .. } | Self::BareScope { scope, .. } => scope.prefix(),
            Self::Error(message) => message,
            Self::End => "$end",
        })
    }
}

/// Words with a meaning. Elsewhere they are attribute names like any other (`.count`).
const WORDS: &[&str] = &[
    "true",
    "false",
    "nil",
    "ok",
    "error",
    "unset",
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
    "duration",
    "childCount",
    "name",
    "status",
    "statusMessage",
    "parent",
    "kind",
    "rootName",
    "rootServiceName",
    "rootService",
    "traceDuration",
    "nestedSetLeft",
    "nestedSetRight",
    "nestedSetParent",
    "id",
    "traceID",
    "spanID",
    "parentID",
    "timeSinceStart",
    "version",
    "count",
    "avg",
    "max",
    "min",
    "sum",
    "by",
    "coalesce",
    "select",
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "sum_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
    "topk",
    "bottomk",
    "with",
];

/// Longest first: the first one that fits is the token.
const SYMBOLS: &[&str] = &[
    "!>>", "!<<", "&>>", "&<<", "!>", "!<", "&>", "&<", "&~", "&&", "||", "=~", "!~", "!=", ">=", "<=", ">>",
    "<<", "{", "}", "(", ")", ",", "=", "<", ">", "~", "!", "|", "+", "-", "*", "/", "%", "^",
];

const COLONS: &[&str] = &["trace:", "span:", "event:", "link:", "instrumentation:"];

/// Whether a character may stand in an attribute name without quotes.
pub(crate) fn is_attribute_char(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',')
}

/// Reads a whole text.
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1, col: 1 };
    if lexer.rest.is_empty() {
        return vec![Token { tok: Tok::End, line: 0, col: 0 }];
    }
    let mut tokens = Vec::new();
    loop {
        let skipped = lexer.skip_space();
        let (line, col) = skipped.unwrap_or((lexer.line, lexer.col));
        let tok = match skipped {
            Some(_) => Tok::Error("comment not terminated".to_owned()),
            None => lexer.token(),
        };
        let last = matches!(tok, Tok::End | Tok::Error(_));
        tokens.push(Token { tok, line, col });
        if last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    col: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.line += 1;
            self.col = 1;
        } else {
            self.col += 1;
        }
        Some(c)
    }

    /// Moves over a text that is known to come next.
    fn advance(&mut self, bytes: usize) {
        let target = self.rest.len() - bytes;
        while self.rest.len() > target {
            self.bump();
        }
    }

    /// Skips spaces and comments. Gives the start of a comment that never ends.
    fn skip_space(&mut self) -> Option<(usize, usize)> {
        loop {
            if self.peek().is_some_and(char::is_whitespace) {
                self.bump();
            } else if self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                match self.rest[2..].find("*/") {
                    Some(end) => self.advance(end + 4),
                    None => return Some((self.line, self.col)),
                }
            } else {
                return None;
            }
        }
    }

    /// The token at the current position, which is not a space.
    fn token(&mut self) -> Tok {
        let Some(c) = self.peek() else { return Tok::End };
        let digit_next = self.rest[c.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        match c {
            '"' => literals::quoted(self),
            '`' => literals::raw(self),
            _ if c.is_ascii_digit() || (c == '.' && digit_next) => self.number(),
            '.' => {
                self.bump();
                self.attribute(false, Scope::None)
            }
            _ if c == '_' || c.is_alphabetic() => self.word(),
            _ => match SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) {
                Some(symbol) => {
                    self.advance(symbol.len());
                    Tok::Symbol(symbol)
                }
                None => {
                    self.bump();
                    Tok::Ident(c.to_string())
                }
            },
        }
    }

    fn number(&mut self) -> Tok {
        let (text, number) = literals::number(self.rest);
        // `5ms`: the duration is everything behind the number that could belong to one, or there is none.
        let run = self.rest[text.len()..]
            .find(|c: char| {
                !c.is_numeric() && !matches!(c, 'n' | 's' | 'u' | 'm' | 'h' | 'µ' | 'd' | 'w' | 'y' | '.')
            })
            .unwrap_or(self.rest.len() - text.len());
        if run > 0
            && let Some(nanos) = duration::parse(&self.rest[..text.len() + run])
        {
            self.advance(text.len() + run);
            return Tok::Duration(nanos);
        }
        self.advance(text.len());
        match number {
            Number::Int(value) => Tok::Int(value),
            Number::Float(value) => Tok::Float(value),
            Number::Bad(message) => Tok::Error(message),
        }
    }

    /// A reserved word, a scope with what it holds, or an identifier.
    fn word(&mut self) -> Tok {
        let end = self.rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(self.rest.len());
        let (text, after) = self.rest.split_at(end);
        if after.starts_with(':')
            && let Some(colon) = COLONS.iter().find(|colon| colon.strip_suffix(':') == Some(text))
        {
            self.advance(colon.len());
            return Tok::Colon(colon);
        }
        if after.starts_with('.') {
            if text == "parent" {
                self.advance("parent.".len());
                return self.attribute(true, Scope::None);
            }
            if let Some(scope) =
                Scope::NAMED.iter().find(|scope| scope.prefix().strip_suffix('.') == Some(text))
            {
                self.advance(scope.prefix().len());
                return self.attribute(false, *scope);
            }
        }
        let tok = match text {
            "minInt" => Tok::Int(i64::MIN),
            "maxInt" => Tok::Int(i64::MAX),
            _ => match WORDS.iter().find(|word| **word == text) {
                Some(word) => Tok::Word(word),
                None => Tok::Ident(text.to_owned()),
            },
        };
        self.advance(end);
        tok
    }

    /// The name behind a scope, which is already read.
    fn attribute(&mut self, parent: bool, mut scope: Scope) -> Tok {
        if parent {
            for inner in [Scope::Span, Scope::Resource] {
                if scope == Scope::None && self.rest.starts_with(inner.prefix()) {
                    self.advance(inner.prefix().len());
                    scope = inner;
                }
            }
        }
        if !self.peek().is_some_and(is_attribute_char) {
            return Tok::BareScope { parent, scope };
        }
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_attribute_char(*c)) {
            self.bump();
            if c != '"' {
                name.push(c);
            } else if let Err(message) = self.quoted_part(&mut name) {
                return Tok::Error(message);
            }
        }
        Tok::Attr { parent, scope, name }
    }

    /// The rest of a quoted part of an attribute name; its opening quote is already read.
    fn quoted_part(&mut self, name: &mut String) -> Result<(), String> {
        loop {
            match self.bump() {
                None => return Err("unexpected EOF, expecting \"".to_owned()),
                Some('"') => return Ok(()),
                Some('\\') => match self.bump() {
                    Some(c @ ('"' | '\\')) => name.push(c),
                    Some(c) => return Err(format!("invalid escape sequence: \\{c}")),
                    None => return Err("unexpected EOF, expecting \"".to_owned()),
                },
                Some(c) => name.push(c),
            }
        }
    }
}
