//! Single values of OTLP/JSON, each written as the protobuf field it stands for.
//!
//! Must stay true: a complaint points at the start of the value and says what was expected; a zero is written only if
//! the caller asks for it (`even_zero`, `even_empty`), which it does where a zero says something.

use crate::encoding::{base64_decode, hex_decode};
use crate::error::Fail;
use crate::number;
use crate::scan::Reader;
use crate::text::unescape;
use crate::wire::{close, open, put_bytes_field, put_fixed32_field, put_fixed64_field, put_varint_field};

/// Nothing to hand back: the value is written.
pub(crate) type Done = Result<(), Fail>;

/// A text field.
pub(crate) fn string(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32, even_empty: bool) -> Done {
    let raw = r.string("a string")?;
    if raw.escaped {
        let text = open(out, field, 1);
        unescape(out, raw.body);
        close(out, &text);
    } else if even_empty || !raw.body.is_empty() {
        put_bytes_field(out, field, raw.body);
    }
    Ok(())
}

/// A `bytes` field, spelled in base64.
pub(crate) fn bytes(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32) -> Done {
    r.peek()?;
    let at = r.at();
    let text = r.text("a base64 string")?;
    let message = open(out, field, 1);
    base64_decode(out, text.as_bytes()).ok_or_else(|| Fail::value(at, "not base64"))?;
    close(out, &message);
    Ok(())
}

/// An id of `N` bytes, spelled in hex, or an empty one.
pub(crate) fn id<const N: usize>(
    r: &mut Reader<'_>,
    out: &mut Vec<u8>,
    field: u32,
    even_empty: bool,
) -> Done {
    r.peek()?;
    let at = r.at();
    let text = r.text("a string of hex digits")?;
    if text.is_empty() {
        if even_empty {
            put_bytes_field(out, field, &[]);
        }
        return Ok(());
    }
    if text.len() != 2 * N {
        let message = format!("expected an id of {} hex digits, found {}", 2 * N, text.len());
        return Err(Fail::value(at, message));
    }
    let id =
        hex_decode::<N>(text.as_bytes()).ok_or_else(|| Fail::value(at, "an id may only have hex digits"))?;
    put_bytes_field(out, field, &id);
    Ok(())
}

/// An integer as a number or a string, of whatever size the field has.
pub(crate) fn integer<T: TryFrom<i128>>(r: &mut Reader<'_>, expected: &'static str) -> Result<T, Fail> {
    r.peek()?;
    let at = r.at();
    let text = r.number_text(expected)?;
    let value = number::integer(&text).and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| Fail::value(at, format!("expected {expected}, found {:.40}", text)))
}

/// A time, which is a `fixed64` field.
pub(crate) fn fixed64(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32, even_zero: bool) -> Done {
    let value: u64 = integer(r, "nanoseconds as an unsigned 64-bit integer")?;
    if value != 0 || even_zero {
        put_fixed64_field(out, field, value);
    }
    Ok(())
}

/// A `fixed32` field.
pub(crate) fn fixed32(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32, even_zero: bool) -> Done {
    let value: u32 = integer(r, "an unsigned 32-bit integer")?;
    if value != 0 || even_zero {
        put_fixed32_field(out, field, value);
    }
    Ok(())
}

/// A `uint32` field.
pub(crate) fn uint32(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32, even_zero: bool) -> Done {
    let value: u32 = integer(r, "an unsigned 32-bit integer")?;
    if value != 0 || even_zero {
        put_varint_field(out, field, value.into());
    }
    Ok(())
}

/// A `double` field, zeros too: it is the member of a oneof.
pub(crate) fn double(r: &mut Reader<'_>, out: &mut Vec<u8>, field: u32) -> Done {
    const EXPECTED: &str = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    r.peek()?;
    let at = r.at();
    let text = r.number_text(EXPECTED)?;
    let value = match text.as_ref() {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        text => number::float(text)
            .ok_or_else(|| Fail::value(at, format!("expected {EXPECTED}, found {text:.40}")))?,
    };
    put_fixed64_field(out, field, value.to_bits());
    Ok(())
}

/// An enum by number or by name. Numbers without a name are kept: a newer sender may know more of them.
pub(crate) fn enumeration(
    r: &mut Reader<'_>,
    out: &mut Vec<u8>,
    field: u32,
    even_zero: bool,
    names: &[&str],
) -> Done {
    const EXPECTED: &str = "a number or an enum name";
    r.peek()?;
    let at = r.at();
    let text = r.number_text(EXPECTED)?;
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(&text));
    let number = match named {
        Some(index) => i32::try_from(index).ok(),
        None => number::integer(&text).and_then(|value| i32::try_from(value).ok()),
    };
    let number = number.ok_or_else(|| Fail::value(at, format!("expected {EXPECTED}, found {text:.40}")))?;
    if number != 0 || even_zero {
        // Protobuf sends a negative enum number as a 64-bit one.
        put_varint_field(out, field, i64::from(number) as u64);
    }
    Ok(())
}
