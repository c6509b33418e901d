//! Values written so that equal meaning is equal text: lists sorted, keys sorted, `2` and `2.0` the same.

use serde_json::Value;

/// Why an answer could not be read as the kind of answer that it should be.
pub(crate) type Malformed = String;

/// The canonical text of a value. An empty list and an empty object are the same; a number and the string of its
/// digits are not.
pub(crate) fn canon(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut parts: Vec<_> = map.iter().map(|(key, value)| pair(key, &canon(value))).collect();
            parts.sort_unstable();
            tuple(&parts)
        }
        Value::Array(list) => sorted(list.iter().map(canon).collect()),
        Value::Number(number) => canon_number(number),
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

/// The canonical text of a field, absent being the same as null.
pub(crate) fn field(of: &Value, name: &str) -> String {
    canon(of.get(name).unwrap_or(&Value::Null))
}

/// The canonical text of a list of OTLP attributes, whose order does not matter.
pub(crate) fn attrs(list: Option<&Value>) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    for attribute in items(list, "attributes")? {
        let key = attribute.get("key").and_then(Value::as_str).ok_or("an attribute without key")?;
        parts.push(pair(key, &attribute.get("value").map_or_else(|| tuple(&[]), canon)));
    }
    Ok(sorted(parts))
}

/// The elements of a list that may be absent or null.
pub(crate) fn items<'a>(list: Option<&'a Value>, name: &str) -> Result<&'a [Value], Malformed> {
    match list {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(format!("{name} is not a list: {other}")),
    }
}

/// The elements of the list at `name`, which may be absent but not null: a client that iterates over null breaks.
pub(crate) fn list<'a>(of: &'a Value, name: &str) -> Result<&'a [Value], Malformed> {
    match of.get(name) {
        Some(Value::Null) => Err(format!("{name} is null")),
        other => items(other, name),
    }
}

/// Canonical texts in one fixed order.
pub(crate) fn sorted(mut parts: Vec<String>) -> String {
    parts.sort_unstable();
    tuple(&parts)
}

/// Canonical texts in their own order.
pub(crate) fn tuple(parts: &[String]) -> String {
    format!("({})", parts.join(", "))
}

fn pair(key: &str, value: &str) -> String {
    format!("({}, {value})", Value::from(key))
}

fn canon_number(number: &serde_json::Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here a float says which integer it is
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            format!("{}", float as i64)
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_does_not_matter() {
        assert_eq!(canon(&json!([{"a": 1, "b": [2, 3]}, 4])), canon(&json!([4, {"b": [3, 2], "a": 1}])));
        assert_ne!(canon(&json!([1, 1, 2])), canon(&json!([1, 2, 2])));
        assert_ne!(canon(&json!({"a": 1})), canon(&json!({"a": 2})));
        assert_eq!(canon(&json!([])), canon(&json!({})));
    }

    #[test]
    fn numbers_by_value_and_never_as_their_string() {
        assert_eq!(canon(&json!({"doubleValue": 2.0})), canon(&json!({"doubleValue": 2})));
        assert_eq!(canon(&json!(-0.0)), canon(&json!(0)));
        assert_ne!(canon(&json!({"intValue": "42"})), canon(&json!({"intValue": 42})));
        assert_ne!(canon(&json!("1.0")), canon(&json!("1")));
        assert_ne!(
            canon(&json!(9_223_372_036_854_775_807_i64)),
            canon(&json!(9_223_372_036_854_775_806_i64))
        );
        assert_ne!(canon(&json!(1.5)), canon(&json!(1)));
        assert_ne!(canon(&json!(true)), canon(&json!("true")));
    }

    #[test]
    fn attributes() {
        let one = json!([{"key": "a", "value": {"intValue": "1"}}, {"key": "b", "value": {}}]);
        let two = json!([{"key": "b"}, {"key": "a", "value": {"intValue": "1"}}]);
        assert_eq!(attrs(Some(&one)), attrs(Some(&two)));
        assert_eq!(attrs(None), attrs(Some(&json!([]))));
        assert_eq!(attrs(None), attrs(Some(&Value::Null)));
        assert!(attrs(Some(&json!([{"value": {}}]))).is_err());
        assert!(attrs(Some(&json!({"a": 1}))).is_err());
        assert!(list(&json!({"a": null}), "a").is_err());
        assert_eq!(list(&json!({}), "a").unwrap().len(), 0);
    }
}
