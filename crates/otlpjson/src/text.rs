//! The inside of JSON strings: where they end, and what their escapes mean.
//!
//! Must stay true: resolving cannot fail, because the parser has checked every escape before.

use crate::encoding::hex_digit;

/// The text of a checked string with its escapes resolved.
#[cold]
pub(crate) fn unescaped(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    unescape(&mut plain, body);
    plain
}

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How many bytes at the start are neither a quote, a backslash nor a control character. Eight bytes a step: a mark
/// in `hits` may be wrong only above a right one, and the lowest one is what counts.
#[inline]
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (EACH * b'"' as u64);
        let backslash = word ^ (EACH * b'\\' as u64);
        let hits = (quote.wrapping_sub(EACH) & !quote)
            | (backslash.wrapping_sub(EACH) & !backslash)
            | (word.wrapping_sub(EACH * 0x20) & !word);
        if hits & HIGH != 0 {
            return 8 * index + ((hits & HIGH).trailing_zeros() / 8) as usize;
        }
    }
    let plain = |&&byte: &&u8| byte != b'"' && byte != b'\\' && byte >= 0x20;
    8 * chunks.len() + rest.iter().take_while(plain).count()
}

/// Length of the escape at the start of `bytes`, if it is one.
pub(crate) fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => code_unit(bytes).map(|_| 6),
        _ => None,
    }
}

/// The UTF-16 code unit of a `\u` escape at the start of `bytes`.
fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | u32::from(hex_digit(digit)?)))
}

/// Appends the text of a checked string with its escapes resolved. Halves of surrogate pairs that stand alone become
/// U+FFFD, as in Go and JavaScript.
pub(crate) fn unescape(out: &mut Vec<u8>, mut body: &[u8]) {
    while let Some(plain) = body.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&body[..plain]);
        body = &body[plain..];
        let simple = match body.get(1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (character, length) = unicode(body);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                body = body.get(length..).unwrap_or_default();
                continue;
            }
            Some(&byte) => byte,
            None => b'\\',
        };
        out.push(simple);
        body = body.get(2..).unwrap_or_default();
    }
    out.extend_from_slice(body);
}

/// The character of a `\u` escape, or of two that make a surrogate pair, and how many bytes they take.
fn unicode(body: &[u8]) -> (char, usize) {
    let high = code_unit(body).unwrap_or(0xfffd);
    if let 0xd800..0xdc00 = high
        && let Some(low @ 0xdc00..0xe000) = body.get(6..).and_then(code_unit)
    {
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_where_they_should() {
        for stop in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for at in 0..40 {
                let mut bytes = vec![b'x'; 40];
                // Neighbours that a sloppy word trick would take for a stop.
                for (index, byte) in bytes.iter_mut().enumerate() {
                    *byte = [b'x', b'#', b'!', b' ', 0x7f, 0x80, 0xff, b']', b'['][index % 9];
                }
                bytes[at] = stop;
                assert_eq!(plain_run(&bytes), at, "{stop} at {at}");
            }
        }
        assert_eq!(plain_run(b""), 0);
        assert_eq!(plain_run("ä€😀 plain text, long enough".as_bytes()), 33);
    }

    #[test]
    fn escapes_are_resolved() {
        let cases: [(&str, &str); 8] = [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"aA\u00e4\u20ACz", "aA\u{e4}\u{20ac}z"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00x", "\u{fffd}x"),
            (r"\ud83dA", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\u0000", "\0"),
        ];
        for (body, expected) in cases {
            let mut out = Vec::new();
            unescape(&mut out, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected, "{body}");
        }
    }
}
