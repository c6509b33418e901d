//! Words of a condition.

use super::{MAX_LENGTH, OttlError};

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name: of a path, a function, a constant or an operator (`and`).
    Name(String),
    /// A text.
    Text(String),
    Int(i64),
    Float(f64),
    /// `0x…`
    Bytes(Vec<u8>),
    /// `==`, `(`, `.` and the like.
    Sign(&'static str),
}

const SIGNS: [&str; 18] =
    ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-", "*", "/", "{", "}"];

/// All words with their places.
pub(super) fn words(text: &str) -> Result<Vec<(usize, Token)>, OttlError> {
    if text.len() > MAX_LENGTH {
        let message = format!("the condition is longer than {MAX_LENGTH} bytes; write several");
        return Err(OttlError { at: MAX_LENGTH, message });
    }
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if first == '"' {
            let (value, length) = string(rest, at)?;
            words.push((at, Token::Text(value)));
            at += length;
        } else if first.is_ascii_digit() {
            let (token, length) = number(rest, at)?;
            words.push((at, token));
            at += length;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            words.push((at, Token::Name(rest[..length].to_owned())));
            at += length;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            words.push((at, Token::Sign(sign)));
            at += sign.len();
        } else {
            return Err(OttlError { at, message: format!("{first:?} has no meaning here") });
        }
    }
    Ok(words)
}

fn string(rest: &str, at: usize) -> Result<(String, usize), OttlError> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, place + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, escaped @ ('"' | '\\' | '\''))) => value.push(escaped),
                _ => {
                    let message = "a text has an escape that is not one of \\\\ \\\" \\n \\t \\r".to_owned();
                    return Err(OttlError { at: at + place, message });
                }
            },
            other => value.push(other),
        }
    }
    Err(OttlError { at, message: "a text has no end; close it with \"".to_owned() })
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), OttlError> {
    if let Some(digits) = rest.strip_prefix("0x") {
        let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let pairs: Option<Vec<u8>> = digits.as_bytes()[..length]
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        return match pairs {
            Some(bytes) if length % 2 == 0 => Ok((Token::Bytes(bytes), length + 2)),
            _ => Err(OttlError { at, message: "bytes have two hexadecimal digits each".to_owned() }),
        };
    }
    let mut length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let after = &rest[length..];
    let has_fraction = after.starts_with('.') && after[1..].starts_with(|c: char| c.is_ascii_digit());
    if has_fraction {
        length += 1 + after[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len() - 1);
    }
    let after = &rest[length..];
    let exponent = after.strip_prefix(['e', 'E']).map(|digits| digits.trim_start_matches(['+', '-']));
    let has_exponent = exponent.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
    if let Some(digits) = exponent.filter(|_| has_exponent) {
        let signed = after.len() - digits.len();
        length += signed + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    }
    let text = &rest[..length];
    let wrong = || OttlError { at, message: format!("{text} is no number that fits in 64 bits") };
    if has_fraction || has_exponent {
        return Ok((Token::Float(text.parse().map_err(|_| wrong())?), length));
    }
    Ok((Token::Int(text.parse().map_err(|_| wrong())?), length))
}
