//! Strings and numbers, by the rules of Go's scanner.
//!
//! Escapes that name bytes (`\xff`) may build text that is not UTF-8; such bytes become U+FFFD.

use super::{Lexer, Tok};

const NOT_TERMINATED: &str = "literal not terminated";
const BAD_ESCAPE: &str = "invalid char escape";

/// A number at the start of a text.
pub(super) enum Number {
    Int(i64),
    Float(f64),
    Bad(String),
}

/// A raw string, between backticks. Go drops carriage returns from it.
pub(super) fn raw(lexer: &mut Lexer<'_>) -> Tok {
    lexer.bump();
    let Some(end) = lexer.rest.find('`') else {
        return Tok::Error(NOT_TERMINATED.to_owned());
    };
    let text = lexer.rest[..end].replace('\r', "");
    lexer.advance(end + 1);
    Tok::Str(text)
}

/// A string between double quotes.
pub(super) fn quoted(lexer: &mut Lexer<'_>) -> Tok {
    lexer.bump();
    let mut bytes = Vec::new();
    loop {
        match lexer.bump() {
            None | Some('\n') => return Tok::Error(NOT_TERMINATED.to_owned()),
            Some('"') => break,
            Some('\\') => {
                if escape(lexer, &mut bytes).is_none() {
                    return Tok::Error(BAD_ESCAPE.to_owned());
                }
            }
            Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Tok::Str(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// One escape behind its backslash; `None` when it is not one.
fn escape(lexer: &mut Lexer<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let first = lexer.bump()?;
    let simple = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(digits(lexer, 16, 2, 0)?).ok()?,
        '0'..='7' => u8::try_from(digits(lexer, 8, 2, first.to_digit(8)?)?).ok()?,
        'u' | 'U' => {
            let c = char::from_u32(digits(lexer, 16, if first == 'u' { 4 } else { 8 }, 0)?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(())
}

fn digits(lexer: &mut Lexer<'_>, radix: u32, count: usize, start: u32) -> Option<u32> {
    (0..count)
        .try_fold(start, |value, _| value.checked_mul(radix)?.checked_add(lexer.bump()?.to_digit(radix)?))
}

/// The number that a text starts with, and its text.
pub(super) fn number(text: &str) -> (&str, Number) {
    let digits_from =
        |at: usize| at + text[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - at);
    let mut end = digits_from(0);
    let after = &text[end..];
    // Go's scanner reads these as one integer, which then is not a decimal one.
    if after.starts_with('_') || (&text[..end] == "0" && after.starts_with(['x', 'X', 'b', 'B', 'o', 'O'])) {
        end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        return (&text[..end], Number::Bad(bad_number("Atoi", &text[..end], "invalid syntax")));
    }
    let mut float = false;
    if after.starts_with('.') {
        float = true;
        end = digits_from(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        float = true;
        end += 1;
        end += usize::from(text[end..].starts_with(['+', '-']));
        let exponent = digits_from(end);
        if exponent == end {
            return (&text[..end], Number::Bad("exponent has no digits".to_owned()));
        }
        end = exponent;
    }
    let text = &text[..end];
    let number = if float {
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Number::Float(value),
            _ => Number::Bad(bad_number("ParseFloat", text, "value out of range")),
        }
    } else {
        match text.parse() {
            Ok(value) => Number::Int(value),
            Err(_) => Number::Bad(bad_number("Atoi", text, "value out of range")),
        }
    };
    (text, number)
}

fn bad_number(function: &str, text: &str, why: &str) -> String {
    format!("strconv.{function}: parsing \"{text}\": {why}")
}
