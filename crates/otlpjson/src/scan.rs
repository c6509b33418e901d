//! A pull parser over JSON text: it hands out keys and values in place and builds nothing.
//!
//! Must stay true: one pass, no recursion except through nesting that is counted against a limit; text that is
//! skipped is checked as strictly as text that is used, so that broken JSON is never half accepted. A complaint about
//! the text itself is a syntax failure, one about its meaning a value failure; only the latter can be survived.

use std::borrow::Cow;

use crate::error::Fail;
use crate::number;
use crate::text::{escape_length, plain_run, unescaped};

/// A string as it stands in the text, between its quotes. Its escapes have been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) escaped: bool,
}

/// A place to come back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: usize,
    depth: usize,
}

/// Reads one JSON text from front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    max_depth: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the front of `text`; objects and arrays may stand `max_depth` deep in each other.
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        // Some tools put a byte order mark in front; it is not part of the text.
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self { text, bytes: text.as_bytes(), at, depth: 0, max_depth }
    }

    /// Where it is now.
    pub fn mark(&self) -> Mark {
        Mark { at: self.at, depth: self.depth }
    }

    /// Goes back there.
    pub fn rewind(&mut self, mark: Mark) {
        self.at = mark.at;
        self.depth = mark.depth;
    }

    /// Moves to the next token and shows its first byte.
    #[inline]
    pub fn peek(&mut self) -> Result<u8, Fail> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(Fail::syntax(self.at, "unexpected end of JSON input")),
            }
        }
    }

    /// Fails unless only white space is left.
    pub fn finish(&mut self) -> Result<(), Fail> {
        match self.peek() {
            Ok(_) => Err(Fail::syntax(self.at, "unexpected text after the end of the JSON value")),
            Err(_) => Ok(()),
        }
    }

    /// Where the next token starts. Only after `peek` is white space behind.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Complains that the next token is not what should stand here.
    #[cold]
    pub fn wrong(&mut self, expected: &str) -> Fail {
        let found = match self.peek() {
            Ok(b'{') => "an object",
            Ok(b'[') => "an array",
            Ok(b'"') => "a string",
            Ok(b'-' | b'0'..=b'9') => "a number",
            Ok(b't') => "true",
            Ok(b'f') => "false",
            Ok(b'n') => "null",
            Ok(_) => return self.unexpected(),
            Err(fail) => return fail,
        };
        Fail::value(self.at, format!("expected {expected}, found {found}"))
    }

    #[cold]
    fn unexpected(&self) -> Fail {
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        Fail::syntax(self.at, format!("not JSON: unexpected {:?}", found.unwrap_or('\u{fffd}')))
    }

    /// Takes `word` (`null`, `true`, `false`), whose first byte has been seen.
    fn word(&mut self, word: &str) -> Result<(), Fail> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(Fail::syntax(self.at, format!("not JSON: expected {word}")))
    }

    /// Takes a `null`, if one stands here.
    #[inline]
    pub fn null(&mut self) -> Result<bool, Fail> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    /// Takes `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, Fail> {
        match self.peek()? {
            b't' => self.word("true").map(|()| true),
            b'f' => self.word("false").map(|()| false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// Takes a string. `expected` names it in the complaint if something else stands here.
    #[inline]
    pub(crate) fn string(&mut self, expected: &str) -> Result<Raw<'a>, Fail> {
        if self.peek()? != b'"' {
            return Err(self.wrong(expected));
        }
        let start = self.at + 1;
        let run = plain_run(&self.bytes[start..]);
        if let Some(b'"') = self.bytes.get(start + run) {
            self.at = start + run + 1;
            return Ok(Raw { body: &self.bytes[start..start + run], escaped: false });
        }
        self.long_string(start, start + run)
    }

    /// A string that has more to it than plain text up to `at`.
    fn long_string(&mut self, start: usize, mut at: usize) -> Result<Raw<'a>, Fail> {
        let mut escaped = false;
        loop {
            at += plain_run(&self.bytes[at..]);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Raw { body: &self.bytes[start..at], escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += escape_length(&self.bytes[at..])
                        .ok_or_else(|| Fail::syntax(at, "not JSON: unknown escape in a string"))?;
                }
                Some(_) => return Err(Fail::syntax(at, "not JSON: control character in a string")),
                None => return Err(Fail::syntax(at, "unexpected end of JSON input in a string")),
            }
        }
    }

    /// Takes a string as text.
    pub fn text(&mut self, expected: &str) -> Result<Cow<'a, str>, Fail> {
        let raw = self.string(expected)?;
        if raw.escaped {
            return Ok(String::from_utf8_lossy(&unescaped(raw.body)).into_owned().into());
        }
        let start = self.at - 1 - raw.body.len();
        Ok(self.text.get(start..self.at - 1).unwrap_or_default().into())
    }

    /// Takes a number, or the content of a string that may hold one.
    #[inline]
    pub fn number_text(&mut self, expected: &str) -> Result<Cow<'a, str>, Fail> {
        match self.peek()? {
            b'"' => self.text(expected),
            b'-' | b'0'..=b'9' => self.number().map(Cow::Borrowed),
            _ => Err(self.wrong(expected)),
        }
    }

    /// Takes exactly these bytes, if they are next.
    #[inline]
    fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..self.at + bytes.len())? == bytes;
        self.at += if found { bytes.len() } else { 0 };
        found.then_some(())
    }

    /// Takes a string that follows at once and has no escapes.
    #[inline]
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        self.literal(b"\"")?;
        let body = self.bytes.get(self.at..)?;
        let body = &body[..plain_run(body)];
        self.at += body.len();
        self.literal(b"\"")?;
        Some(body)
    }

    /// Takes `{"key":"...","value":{"stringValue":"..."}}` spelled in just this way, which is how nearly all
    /// attributes come. `None`, and nothing taken, if it is spelled or meant otherwise.
    #[inline]
    pub(crate) fn text_attribute(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let mark = self.mark();
        let attribute = self.try_text_attribute();
        if attribute.is_none() {
            self.rewind(mark);
        }
        attribute
    }

    #[inline]
    fn try_text_attribute(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        self.literal(b"{\"key\":")?;
        let key = self.plain_string()?;
        self.literal(b",\"value\":{\"stringValue\":")?;
        let value = self.plain_string()?;
        self.literal(b"}}")?;
        Some((key, value))
    }

    fn number(&mut self) -> Result<&'a str, Fail> {
        let start = self.at;
        match number::scan(&self.bytes[start..]) {
            Ok(length) => {
                self.at = start + length;
                Ok(self.text.get(start..self.at).unwrap_or_default())
            }
            Err(length) => Err(Fail::syntax(start + length, "not JSON: broken number")),
        }
    }

    fn enter(&mut self) -> Result<(), Fail> {
        if self.depth == self.max_depth {
            let message = format!("nested deeper than {} objects and arrays", self.max_depth);
            return Err(Fail::syntax(self.at, message));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// After a member: whether another one follows.
    #[inline]
    fn more(&mut self, end: u8) -> Result<bool, Fail> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == end => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Takes an object. `names` turns a key into a number, `on` takes the value of a key that it knows (a number
    /// other than 0); values of unknown keys and nulls are skipped.
    #[inline]
    pub fn object(
        &mut self,
        names: impl Fn(&[u8]) -> u32,
        mut on: impl FnMut(&mut Self, u32) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        if self.peek()? != b'{' {
            return Err(self.wrong("an object"));
        }
        self.enter()?;
        if self.peek()? == b'}' {
            self.more(b'}')?;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.unexpected());
            }
            let key = self.string("a key")?;
            let field = if key.escaped { names(&unescaped(key.body)) } else { names(key.body) };
            if self.peek()? != b':' {
                return Err(self.unexpected());
            }
            self.at += 1;
            let taken = match self.null() {
                Ok(true) => Ok(()),
                Ok(false) if field == 0 => self.skip(),
                Ok(false) => on(self, field),
                Err(fail) => Err(fail),
            };
            taken.map_err(|fail| fail.under_key(key.body))?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Takes an object whose keys are data; `on` takes the value of each, nulls too.
    pub fn entries(
        &mut self,
        mut on: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        if self.peek()? != b'{' {
            return Err(self.wrong("an object"));
        }
        self.enter()?;
        if self.peek()? == b'}' {
            self.more(b'}')?;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.unexpected());
            }
            let key = self.text("a key")?;
            if self.peek()? != b':' {
                return Err(self.unexpected());
            }
            self.at += 1;
            on(self, key)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Takes an array; `on` takes each element, nulls too.
    #[inline]
    pub fn array(&mut self, mut on: impl FnMut(&mut Self, usize) -> Result<(), Fail>) -> Result<(), Fail> {
        if self.peek()? != b'[' {
            return Err(self.wrong("an array"));
        }
        self.enter()?;
        if self.peek()? == b']' {
            self.more(b']')?;
            return Ok(());
        }
        let mut index = 0;
        loop {
            on(self, index).map_err(|fail| fail.under_index(index))?;
            index += 1;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Takes whatever stands here, checking only that it is JSON.
    pub fn skip(&mut self) -> Result<(), Fail> {
        match self.peek()? {
            b'{' => self.object(|_| 0, |_, _| Ok(())),
            b'[' => self.array(|reader, _| reader.skip()),
            b'"' => self.string("a string").map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => Err(self.unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_takes_what_serde_takes() {
        let texts = [
            "1",
            "-0",
            "0.5e+3",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "tru",
            "true",
            "nul",
            "null",
            "\"a\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "[]",
            "[1,]",
            "[1 2]",
            "[,]",
            "{}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":[{}]}",
            "[",
            "{",
            "]",
            "",
            " ",
            "[1] x",
            "{\"a\":1 \"b\":2}",
            "'a'",
            "NaN",
            "[[[]]]",
        ];
        for text in texts {
            let mut reader = Reader::new(text, 64);
            let ours = reader.skip().is_ok() && reader.finish().is_ok();
            let theirs = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(ours, theirs, "{text:?}");
        }
    }
}
