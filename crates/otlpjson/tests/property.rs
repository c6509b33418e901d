//! Random traces, spelled in every way the rules allow, must arrive unchanged; random bytes must not do harm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use common::{Kind, decode, hex, table};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use trackway_otlpjson::{Limits, LlmAnswer, Style, to_protobuf, write_llm_json, write_trace_json};

/// A small source of choices: one number from proptest decides a whole document.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn word(&mut self) -> u64 {
        let word = self.roll(1 << 31) << 33 ^ self.roll(1 << 31) << 13 ^ self.roll(1 << 13);
        match self.roll(4) {
            0 => word,
            1 => word >> 32,
            2 => self.roll(3),
            _ => [u64::MAX, i64::MAX as u64, i64::MIN as u64, (1 << 53) + 1][self.roll(4) as usize],
        }
    }

    fn text(&mut self) -> String {
        let samples =
            ["a", "\"", "\\", "/", "\n", "\u{1}", "\u{7f}", "é", "€", "😀", "\u{2028}", "<", "plain text "];
        (0..self.roll(12)).map(|_| samples[self.roll(samples.len() as u64) as usize]).collect()
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.roll(256) as u8).collect()
    }
}

/// A message in the form in which `decode` shows it.
fn message(dice: &mut Dice, name: &'static str, depth: usize) -> Value {
    let mut object = Map::new();
    if name == "AnyValue" {
        let sides = if depth < 6 { 8 } else { 5 };
        let pick = dice.roll(sides) as usize;
        if pick < 7 {
            let (_, key, _, kind) = table(name)[[0, 1, 2, 3, 6, 4, 5][pick]];
            object.insert(key.into(), field(dice, key, kind, depth).unwrap());
        }
        return object.into();
    }
    for &(_, key, _, kind) in table(name) {
        let required = (name, key) == ("KeyValue", "value");
        if (required || dice.roll(3) > 0)
            && let Some(value) = field(dice, key, kind, depth)
            // Zeros are not to be seen in protobuf.
            && (matches!(kind, Kind::One(_))
                || ![json!(""), json!("0"), json!(0), json!([])].contains(&value))
        {
            object.insert(key.into(), value);
        }
    }
    object.into()
}

fn field(dice: &mut Dice, key: &str, kind: Kind, depth: usize) -> Option<Value> {
    Some(match kind {
        Kind::Text => json!(dice.text()),
        Kind::Hex => {
            let length = if key == "traceId" { 16 } else { 8 };
            json!(hex(&dice.bytes(length)))
        }
        Kind::Fixed64 => json!(dice.word().to_string()),
        Kind::Int64 => json!((dice.word() as i64).to_string()),
        Kind::Uint32 | Kind::Fixed32 => json!(dice.word() as u32),
        Kind::Enum => json!([0, 1, 2, 2, 77, -1][dice.roll(6) as usize]),
        Kind::Bool => json!(dice.roll(2) == 0),
        Kind::Double => match dice.roll(6) {
            0 => json!("NaN"),
            1 => json!("Infinity"),
            2 => json!("-Infinity"),
            _ => {
                let value = f64::from_bits(dice.word());
                json!(if value.is_finite() { value } else { 0.1 })
            }
        },
        Kind::Bytes => {
            let length = dice.roll(9);
            json!(dice.bytes(length))
        }
        Kind::One(inner) => message(dice, inner, depth + 1),
        Kind::Many(inner) => (0..dice.roll(4)).map(|_| message(dice, inner, depth + 1)).collect(),
    })
}

/// Spells a message as OTLP/JSON in one of the many allowed ways.
fn spell(dice: &mut Dice, value: &Value, name: &str, out: &mut String) {
    let object = value.as_object().unwrap();
    let mut rows: Vec<_> = table(name).iter().filter(|row| object.contains_key(row.1)).collect();
    let turn = dice.roll(rows.len() as u64 + 1) as usize;
    rows.rotate_left(turn);
    out.push('{');
    let mut comma = "";
    for &(_, camel, snake, kind) in rows {
        if dice.roll(8) == 0 {
            let extra =
                ["\"x\":[{\"name\":\"]}\"},null,1.5e3]", "\"é\":true", "\"\\u0078\":{}", "\"flagz\":null"];
            out.push_str(comma);
            out.push_str(extra[dice.roll(4) as usize]);
            comma = ",";
        }
        out.push_str(comma);
        space(dice, out);
        let key = if dice.roll(2) == 0 { camel } else { snake };
        quote(dice, key, out);
        space(dice, out);
        out.push(':');
        space(dice, out);
        spell_field(dice, &object[camel], camel, kind, out);
        space(dice, out);
        comma = ",";
    }
    out.push('}');
}

fn spell_field(dice: &mut Dice, value: &Value, key: &str, kind: Kind, out: &mut String) {
    match kind {
        Kind::Text => quote(dice, value.as_str().unwrap(), out),
        Kind::Hex => {
            let text = value.as_str().unwrap();
            let text = if dice.roll(2) == 0 { text.to_uppercase() } else { text.to_owned() };
            quote(dice, &text, out);
        }
        Kind::Fixed64 | Kind::Int64 => number(dice, value.as_str().unwrap(), out),
        Kind::Uint32 | Kind::Fixed32 => number(dice, &value.to_string(), out),
        Kind::Enum => {
            let names: &[&str] = match key {
                "kind" => &["SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER"],
                _ => &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"],
            };
            match value.as_u64().and_then(|index| names.get(index as usize)) {
                Some(name) if dice.roll(2) == 0 => quote(dice, name, out),
                _ => number(dice, &value.to_string(), out),
            }
        }
        Kind::Bool => out.push_str(&value.to_string()),
        Kind::Double if value.is_string() => quote(dice, value.as_str().unwrap(), out),
        Kind::Double => {
            let text = value.to_string();
            if dice.roll(4) == 0 { quote(dice, &text, out) } else { out.push_str(&text) }
        }
        Kind::Bytes => {
            let bytes: Vec<u8> =
                value.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
            let text = base64(&bytes, dice.roll(2) == 0, dice.roll(2) == 0);
            quote(dice, &text, out);
        }
        Kind::One("AnyValue") if value == &json!({}) && dice.roll(2) == 0 => out.push_str("null"),
        Kind::One(inner) => spell(dice, value, inner, out),
        Kind::Many(inner) => {
            out.push('[');
            for (index, item) in value.as_array().unwrap().iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(dice, out);
                spell(dice, item, inner, out);
            }
            space(dice, out);
            out.push(']');
        }
    }
}

fn number(dice: &mut Dice, digits: &str, out: &mut String) {
    let text = match dice.roll(4) {
        0 => format!("{digits}.00"),
        1 => format!("{digits}e0"),
        _ => digits.to_owned(),
    };
    if dice.roll(2) == 0 { quote(dice, &text, out) } else { out.push_str(&text) }
}

fn space(dice: &mut Dice, out: &mut String) {
    out.push_str(["", "", "", "", " ", "\n\t", "\r\n"][dice.roll(7) as usize]);
}

fn quote(dice: &mut Dice, text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if dice.roll(10) == 0 || matches!(character, '"' | '\\' | '\0'..'\u{20}') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

fn base64(bytes: &[u8], url: bool, padded: bool) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let last = if url { b"-_" } else { b"+/" };
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..=group.len() {
            let digit = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(char::from(if digit < 62 { digits[digit] } else { last[digit - 62] }));
        }
        if padded {
            text.push_str(&"=="[group.len() - 1..]);
        }
    }
    text
}

fn document(seed: u64) -> (Value, String) {
    let mut dice = Dice(seed);
    let value = message(&mut dice, "Request", 0);
    let mut text = String::new();
    spell(&mut dice, &value, "Request", &mut text);
    (value, text)
}

fn same(a: &Value, b: &Value) -> bool {
    // Not `==`: -0.0 and 0.0 differ here.
    format!("{a}") == format!("{b}")
}

/// Everything that is written must be JSON, and read again it must give the same bytes.
fn write_all(proto: &[u8]) {
    let mut out = Vec::new();
    if write_trace_json(proto, Style::V2ResourceSpans, &mut out).is_ok() {
        serde_json::from_slice::<Value>(&out).unwrap();
    }
    out.clear();
    let answer = LlmAnswer { inspected_bytes: 1, ..LlmAnswer::default() };
    if write_llm_json(proto, answer, &mut out).is_ok() {
        serde_json::from_slice::<Value>(&out).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_spelling_arrives(seed: u64) {
        let (value, text) = document(seed);
        serde_json::from_str::<Value>(&text).expect("the test writes JSON");
        let converted = to_protobuf(text.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(&converted.refused, &[]);
        let ours = decode(&converted.protobuf, "Request");
        prop_assert!(same(&ours, &value), "{}\n{}\n{}", text, ours, value);
    }

    #[test]
    fn written_json_says_the_same(seed: u64) {
        let (value, text) = document(seed);
        let proto = to_protobuf(text.as_bytes(), &Limits::default()).unwrap().protobuf;
        let mut out = Vec::new();
        write_trace_json(&proto, Style::V2ResourceSpans, &mut out).unwrap();
        // Ids in base64 are not OTLP/JSON: put hex in their place and read it again.
        let json = hex_ids(std::str::from_utf8(&out).unwrap());
        let again = to_protobuf(json.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(&again.refused, &[]);
        prop_assert!(same(&decode(&again.protobuf, "Request"), &value));
        write_all(&proto);
    }

    #[test]
    fn truncated_and_damaged_text_is_survived(seed: u64, cut: prop::sample::Index, damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let (_, text) = document(seed);
        let mut bytes = text.into_bytes();
        let length = cut.index(bytes.len());
        prop_assert!(to_protobuf(&bytes[..length], &Limits::default()).is_err());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(converted) = to_protobuf(&bytes, &Limits::default()) {
            decode(&converted.protobuf, "Request");
            // What is accepted is JSON, apart from lone surrogates and broken UTF-8, which serde does not forgive.
            let text = String::from_utf8_lossy(&bytes);
            if !text.to_lowercase().contains("\\ud") {
                let theirs = serde_json::from_str::<Value>(&text);
                prop_assert!(theirs.is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn damaged_protobuf_is_survived(seed: u64, damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut: prop::sample::Index) {
        let (_, text) = document(seed);
        let mut bytes = to_protobuf(text.as_bytes(), &Limits::default()).unwrap().protobuf;
        write_all(&bytes[..cut.index(bytes.len() + 1)]);
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        write_all(&bytes);
    }

    #[test]
    fn random_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let _ = to_protobuf(&bytes, &Limits::default());
        write_all(&bytes);
    }

    #[test]
    fn random_tokens_are_survived(picks in vec(0..24usize, 0..60)) {
        let tokens = [
            "{", "}", "[", "]", ",", ":", "\"", "null", "true", "-1", "1e5", "\"a\"", "\"\\u12\"", " ",
            "\"resourceSpans\":[", "\"scopeSpans\":[", "\"spans\":[", "\"attributes\":[", "\"value\":{", "{\"key\":\"k\",",
            "\"arrayValue\":{", "\"values\":[", "\"traceId\":", "\"kind\":",
        ];
        let text: String = picks.iter().map(|&pick| tokens[pick]).collect();
        if let Ok(converted) = to_protobuf(text.as_bytes(), &Limits::default()) {
            decode(&converted.protobuf, "Request");
        }
    }
}

/// In the text, not in a parsed value: serde reads some floats off by one bit.
fn hex_ids(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    // Quotes inside strings are escaped, so this is found at keys only.
    while let Some(at) = rest.find("Id\":\"") {
        let (before, after) = rest.split_at(at + 5);
        let (id, after) = after.split_once('"').unwrap();
        out.push_str(before);
        out.push_str(&hex(&base64_bytes(id)));
        out.push('"');
        rest = after;
    }
    out + rest
}

fn base64_bytes(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte| digits.iter().position(|&digit| digit == byte).unwrap_or(0) as u32;
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, &byte| bits << 6 | digit(byte));
        let padding = group.iter().filter(|&&byte| byte == b'=').count();
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    out
}
