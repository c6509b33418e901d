//! Writing JSON into a byte buffer the way Go's `encoding/json` spells it.
//!
//! Must stay true: what is written is valid JSON and valid UTF-8 whatever bytes come in, and byte for byte what Go
//! writes: `<`, `>`, `&`, U+2028 and U+2029 escaped, each invalid byte as `\ufffd`, floats in the shortest form with
//! Go's exponents. Answers of the API are compared with Tempo's, so a change here shows everywhere.

use std::io::Write;

use crate::encoding::{base64_encode, hex_encode};

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether a byte can stand in a JSON string as it is, without a look at its neighbours.
fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// How many bytes at the start are plain. Eight bytes a step: a mark in `hits` may be wrong only above a right one,
/// and the lowest one is what counts. `"` and `&` differ in one bit, so do `<` and `>`.
fn plain_run(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quote = (word & !(EACH * 0x04)) ^ (EACH * b'"' as u64);
        let angle = (word & !(EACH * 0x02)) ^ (EACH * b'<' as u64);
        let backslash = word ^ (EACH * b'\\' as u64);
        let hits = (quote.wrapping_sub(EACH) & !quote)
            | (angle.wrapping_sub(EACH) & !angle)
            | (backslash.wrapping_sub(EACH) & !backslash)
            | word.wrapping_sub(EACH * 0x20)
            | word;
        if hits & HIGH != 0 {
            return 8 * index + ((hits & HIGH).trailing_zeros() / 8) as usize;
        }
    }
    8 * chunks.len() + rest.iter().take_while(|&&byte| is_plain(byte)).count()
}

/// Writes a string with its quotes. Takes text, or bytes that should be text; each byte that is not becomes
/// `\ufffd`.
pub fn write_string(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let bytes = text.as_ref();
    out.push(b'"');
    let (plain, bytes) = bytes.split_at(plain_run(bytes));
    out.extend_from_slice(plain);
    if bytes.is_empty() {
        // Nearly all.
    } else if std::str::from_utf8(bytes).is_ok() {
        write_valid(out, bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            write_valid(out, chunk.valid().as_bytes());
            for _ in chunk.invalid() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.push(b'"');
}

fn write_valid(out: &mut Vec<u8>, mut bytes: &[u8]) {
    loop {
        let plain = plain_run(bytes);
        out.extend_from_slice(&bytes[..plain]);
        let Some(&byte) = bytes.get(plain) else { return };
        let mut taken = 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0xe2 => match bytes[plain..].first_chunk() {
                Some([_, 0x80, last @ (0xa8 | 0xa9)]) => {
                    out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    taken = 3;
                }
                _ => out.push(byte),
            },
            0x80.. => out.push(byte),
            _ => {
                out.extend_from_slice(b"\\u00");
                hex_encode(out, &[byte]);
            }
        }
        bytes = &bytes[plain + taken..];
    }
}

/// Writes a float as a number, or as `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
        return;
    }
    let size = value.abs();
    // Writing to a Vec cannot fail.
    let _ = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let start = out.len();
        let written = write!(out, "{value:e}");
        // Rust writes 1e21 where Go writes 1e+21.
        if size >= 1.0
            && let Some(exponent) = out[start..].iter().position(|&byte| byte == b'e')
        {
            out.insert(start + exponent + 1, b'+');
        }
        written
    } else {
        write!(out, "{value}")
    };
}

/// Writes an unsigned integer as a number.
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes a signed integer as a number.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_u64(out, value.unsigned_abs());
}

/// Writes an unsigned integer as a string, as protobuf JSON does with 64 bits.
pub fn write_u64_string(out: &mut Vec<u8>, value: u64) {
    out.push(b'"');
    write_u64(out, value);
    out.push(b'"');
}

/// Writes a signed integer as a string, as protobuf JSON does with 64 bits.
pub fn write_i64_string(out: &mut Vec<u8>, value: i64) {
    out.push(b'"');
    write_i64(out, value);
    out.push(b'"');
}

/// Writes `true` or `false`.
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes bytes as a base64 string.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    base64_encode(out, bytes);
    out.push(b'"');
}

/// Writes bytes as a string of lower-case hex.
pub fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    hex_encode(out, bytes);
    out.push(b'"');
}

/// An object that is being written: puts the commas and the keys.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a key that needs no escaping and hands out the buffer, to which the caller writes one value.
    #[inline]
    pub fn key(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes any key and hands out the buffer, to which the caller writes one value.
    pub fn any_key(&mut self, name: impl AsRef<[u8]>) -> &mut Vec<u8> {
        self.comma();
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_spelled_as_in_go() {
        assert_eq!(string(""), r#""""#);
        assert_eq!(string("a\"b\\c/d"), r#""a\"b\\c/d""#);
        assert_eq!(string("\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}"), "\"\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\"");
        assert_eq!(string("<a href='x'>&</a>"), r#""\u003ca href='x'\u003e\u0026\u003c/a\u003e""#);
        assert_eq!(string("\u{2028}\u{2029}\u{202a}\u{20ac}ä😀"), "\"\\u2028\\u2029\u{202a}€ä😀\"");
        assert_eq!(string(b"a\xffb"), r#""a\ufffdb""#);
        // Go gives up one byte at a time.
        assert_eq!(string(b"\xf0\x9f\x98"), r#""\ufffd\ufffd\ufffd""#);
        assert_eq!(string(b"\xe2\x80"), r#""\ufffd\ufffd""#);
        assert_eq!(string(b"\xed\xa0\x80<"), r#""\ufffd\ufffd\ufffd\u003c""#);
    }

    #[test]
    fn plain_runs_end_at_every_special_byte() {
        for stop in 0..=255u8 {
            for at in 0..20 {
                let mut bytes =
                    [b' ', b'#', b'!', b'%', b'\'', b'=', b'?', b';', b'[', b']', 0x7f, b'~'].repeat(2);
                bytes[at] = stop;
                assert_eq!(
                    plain_run(&bytes),
                    if is_plain(stop) { bytes.len() } else { at },
                    "{stop} at {at}"
                );
            }
        }
    }

    #[test]
    fn floats_are_spelled_as_in_go() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (2.0, "2"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e21, "-1.25e+21"),
            (1e-6, "0.000001"),
            (9.5e-7, "9.5e-7"),
            (1e-10, "1e-10"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123_456_789.125, "123456789.125"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            let mut out = Vec::new();
            write_f64(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn integers_at_their_ends() {
        let mut out = Vec::new();
        write_i64_string(&mut out, i64::MIN);
        write_u64(&mut out, u64::MAX);
        write_u64_string(&mut out, 0);
        write_i64(&mut out, -10);
        assert_eq!(out, b"\"-9223372036854775808\"18446744073709551615\"0\"-10");
    }

    #[test]
    fn objects_put_their_commas() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        write_bool(object.key("a"), true);
        write_hex(object.any_key("\""), &[0xab]);
        write_base64(object.key("c"), &[255]);
        object.end();
        Object::begin(&mut out).end();
        assert_eq!(out, br#"{"a":true,"\"":"ab","c":"/w=="}{}"#);
    }
}
