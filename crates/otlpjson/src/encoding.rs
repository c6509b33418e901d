//! Hex and base64, the two spellings of bytes in OTLP/JSON and in Tempo's answers.
//!
//! Must stay true: decoding takes everything senders really send (either case, either alphabet, padding or not) and
//! nothing that is ambiguous; a refusal leaves the buffer as it may be, the caller drops it.

const NONE: u8 = 0xff;

const HEX: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut digit = 0u8;
    while digit < 16 {
        if digit < 10 {
            table[(b'0' + digit) as usize] = digit;
        } else {
            table[(b'a' + digit - 10) as usize] = digit;
            table[(b'A' + digit - 10) as usize] = digit;
        }
        digit += 1;
    }
    table
};

const BASE64: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut digit = 0;
    while digit < 64 {
        table[BASE64_DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

const BASE64_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of one hex digit.
#[inline]
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    let value = HEX[byte as usize];
    (value != NONE).then_some(value)
}

/// Decodes exactly `N` bytes of hex. The caller has checked the length.
#[inline]
pub(crate) fn hex_decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut bad = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (HEX[pair[0] as usize], HEX[pair[1] as usize]);
        bad |= (high | low) & 0xf0;
        *byte = high << 4 | low & 0x0f;
    }
    (bad == 0 && text.len() == 2 * N).then_some(bytes)
}

/// Appends lower-case hex.
pub(crate) fn hex_encode(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(2 * bytes.len());
    for &byte in bytes {
        out.extend_from_slice(&[HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends what base64 `text` stands for; `None` if it is not base64.
pub(crate) fn base64_decode(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    out.reserve(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            let value = BASE64[digit as usize];
            if value == NONE {
                return None;
            }
            bits = bits << 6 | u32::from(value);
        }
        // A short last group of n digits carries n - 1 bytes.
        bits <<= 6 * (4 - group.len());
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[1..group.len()]);
    }
    Some(())
}

/// Appends base64 in the standard alphabet, padded.
pub(crate) fn base64_encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |bits: u32| BASE64_DIGITS[(bits & 63) as usize];
    out.reserve(bytes.len().div_ceil(3) * 4);
    let (groups, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in groups {
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    }
    match *rest {
        [a] => out.extend_from_slice(&[digit(u32::from(a) >> 2), digit(u32::from(a) << 4), b'=', b'=']),
        [a, b] => {
            let bits = u32::from(a) << 10 | u32::from(b) << 2;
            out.extend_from_slice(&[digit(bits >> 12), digit(bits >> 6), digit(bits), b'=']);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        base64_decode(&mut out, text.as_bytes()).map(|()| out)
    }

    #[test]
    fn base64_in_every_dress() {
        assert_eq!(decoded(""), Some(vec![]));
        for text in ["AAH+", "AAH-"] {
            assert_eq!(decoded(text), Some(vec![0, 1, 254]));
        }
        for text in ["//8=", "__8=", "//8", "__8"] {
            assert_eq!(decoded(text), Some(vec![255, 255]));
        }
        for text in ["/w==", "_w"] {
            assert_eq!(decoded(text), Some(vec![255]));
        }
        for text in ["A", "AAAAA", "A===", "AA=", "AAA==", "AA=A", "====", "=", "AA A", "AA\n", "ä"] {
            assert_eq!(decoded(text), None, "{text:?}");
        }
    }

    #[test]
    fn base64_there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            let mut text = Vec::new();
            base64_encode(&mut text, &bytes[..length]);
            assert_eq!(text.len(), length.div_ceil(3) * 4);
            let mut back = Vec::new();
            assert!(base64_decode(&mut back, &text).is_some());
            assert_eq!(back, &bytes[..length]);
        }
    }

    #[test]
    fn hex_takes_either_case_and_nothing_else() {
        assert_eq!(hex_decode::<2>(b"aBfF"), Some([0xab, 0xff]));
        assert_eq!(hex_decode::<2>(b"abf"), None);
        assert_eq!(hex_decode::<2>(b"abfg"), None);
        assert_eq!(hex_decode::<2>(b"ab\xff0"), None);
        let mut out = Vec::new();
        hex_encode(&mut out, &[0xab, 0x01]);
        assert_eq!(out, b"ab01");
    }
}
