//! `ValueUnsupported`: values that vParquet4 has no column for are stored as the JSON of the `AnyValue` (jsonpb: 64-bit
//! integers as strings, bytes as base64).

use serde_json::{Map, Value as Json};
use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::{Value, wire};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The JSON of an `AnyValue` message. A message that cannot be read is `{}`.
pub(crate) fn any_value_to_json(message: &[u8]) -> String {
    to_json(message).to_string()
}

/// The JSON of the `AnyValue` that is this text, unless the text is not UTF-8.
pub(crate) fn text_to_json(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    Some(serde_json::json!({ "stringValue": text }).to_string())
}

/// The text, if this is the JSON of one.
pub(crate) fn text_from_json(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Text {
        #[serde(rename = "stringValue")]
        text: String,
    }
    json.starts_with(b"{\"stringValue\"")
        .then(|| serde_json::from_slice::<Text>(json).ok())?
        .map(|text| text.text)
}

fn to_json(message: &[u8]) -> Json {
    let mut object = Map::new();
    let text = |bytes: &[u8]| Json::String(String::from_utf8_lossy(bytes).into_owned());
    match anyvalue::parse(message) {
        Ok(AnyValue::Scalar(Value::String(value))) => object.insert("stringValue".into(), text(value)),
        Ok(AnyValue::Scalar(Value::Bool(value))) => object.insert("boolValue".into(), value.into()),
        Ok(AnyValue::Scalar(Value::Int(value))) => object.insert("intValue".into(), value.to_string().into()),
        Ok(AnyValue::Scalar(Value::Float(value))) => object.insert("doubleValue".into(), float(value)),
        Ok(AnyValue::Bytes(bytes)) => object.insert("bytesValue".into(), base64(bytes).into()),
        Ok(AnyValue::Array(list)) => {
            let values: Vec<Json> = anyvalue::elements(list).map_while(Result::ok).map(to_json).collect();
            object.insert("arrayValue".into(), serde_json::json!({ "values": values }))
        }
        Ok(AnyValue::Map(list)) => {
            let pairs = anyvalue::elements(list).map_while(Result::ok);
            let values: Vec<Json> = pairs
                .filter_map(|pair| anyvalue::parse_key_value(pair).ok())
                .map(|(key, value)| serde_json::json!({ "key": text(key), "value": to_json(value) }))
                .collect();
            object.insert("kvlistValue".into(), serde_json::json!({ "values": values }))
        }
        Ok(AnyValue::Scalar(Value::Other(_)) | AnyValue::Empty) | Err(_) => None,
    };
    Json::Object(object)
}

fn float(value: f64) -> Json {
    let special = if value.is_nan() {
        "NaN"
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }
    } else {
        return value.into();
    };
    special.into()
}

/// The `AnyValue` message of what [`any_value_to_json`] wrote; `None` for text that is no such JSON.
pub(crate) fn any_value_from_json(text: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    from_json(&serde_json::from_slice(text).ok()?, &mut message)?;
    Some(message)
}

fn from_json(json: &Json, out: &mut Vec<u8>) -> Option<()> {
    let (name, value) = match json.as_object()?.iter().next() {
        Some(field) => field,
        None => return Some(()),
    };
    match name.as_str() {
        "stringValue" => anyvalue::put(out, Value::String(value.as_str()?.as_bytes())),
        "boolValue" => anyvalue::put(out, Value::Bool(value.as_bool()?)),
        "intValue" => {
            let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
            anyvalue::put(out, Value::Int(number));
        }
        "doubleValue" => {
            let number = value.as_f64().or_else(|| match value.as_str()? {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                other => other.parse().ok(),
            });
            anyvalue::put(out, Value::Float(number?));
        }
        "bytesValue" => wire::put_bytes(out, 7, &from_base64(value.as_str()?)?),
        "arrayValue" => {
            let mut list = Vec::new();
            for element in value.get("values").and_then(Json::as_array).into_iter().flatten() {
                let mut message = Vec::new();
                from_json(element, &mut message)?;
                wire::put_bytes(&mut list, 1, &message);
            }
            wire::put_bytes(out, 5, &list);
        }
        "kvlistValue" => {
            let mut list = Vec::new();
            for pair in value.get("values").and_then(Json::as_array).into_iter().flatten() {
                let mut message = Vec::new();
                wire::put_bytes(&mut message, 1, pair.get("key").and_then(Json::as_str)?.as_bytes());
                let mut value = Vec::new();
                from_json(pair.get("value").unwrap_or(&Json::Object(Map::new())), &mut value)?;
                wire::put_bytes(&mut message, 2, &value);
                wire::put_bytes(&mut list, 1, &message);
            }
            wire::put_bytes(out, 6, &list);
        }
        _ => return None,
    }
    Some(())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let sextet = word >> (18 - 6 * digit) & 63;
            out.push(if digit <= chunk.len() { char::from(BASE64[sextet as usize]) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for digit in digits {
        let value = BASE64.iter().position(|known| *known == digit)? as u32;
        word = word << 6 | value;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tempos_texts_come_back() {
        for text in [
            r#"{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"},{"boolValue":true}]}}"#,
            r#"{"kvlistValue":{"values":[{"key":"inner","value":{"stringValue":"v"}},{"key":"n","value":{"intValue":"1"}}]}}"#,
            r#"{"bytesValue":"AAH+"}"#,
            "{}",
            r#"{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}]}}"#,
            r#"{"arrayValue":{"values":[{"doubleValue":"NaN"},{"doubleValue":1.5}]}}"#,
        ] {
            let message = any_value_from_json(text.as_bytes()).unwrap();
            let json: Json = serde_json::from_str(&any_value_to_json(&message)).unwrap();
            assert_eq!(json, serde_json::from_str::<Json>(text).unwrap());
        }
        assert_eq!(any_value_from_json(b"nonsense"), None);
        for length in 0..9 {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(31).wrapping_add(200)).collect();
            assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }
    }
}
