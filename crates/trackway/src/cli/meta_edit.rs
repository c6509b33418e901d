//! Changes one number in the text of a `meta.json` and nothing else: unknown fields, their order and the spelling of
//! numbers stay as whoever wrote them had them.

use serde_json::Value;

const KEY: &str = "replicationFactor";

/// What a `meta.json` has and would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The factor it has; 0 when it is left out.
    pub(super) from: u64,
    /// The new text; `None` when nothing changes.
    pub(super) text: Option<String>,
}

/// Sets the replication factor in the text of a `meta.json`.
pub(super) fn set_replication_factor(text: &str, to: u64) -> Result<Edit, String> {
    let before: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(fields) = before.as_object().filter(|fields| fields.contains_key("blockID")) else {
        return Err("this is not about a block".to_owned());
    };
    let from = match fields.get(KEY) {
        None => 0,
        Some(value) => value.as_u64().ok_or_else(|| format!("{KEY} is {value}, not a number"))?,
    };
    if from == to {
        return Ok(Edit { from, text: None });
    }
    let changed = splice(text, to).ok_or_else(|| format!("{KEY} cannot be found in the text"))?;
    // Whatever the text looks like: only what differs in this one number is written.
    let after: Value = serde_json::from_str(&changed).map_err(|error| error.to_string())?;
    let mut wanted = before.clone();
    wanted[KEY] = Value::from(to);
    if after != wanted {
        return Err("the text is too unusual to change it safely".to_owned());
    }
    Ok(Edit { from, text: Some(changed) })
}

/// Puts the number in the place of the old one, or behind the last field.
fn splice(text: &str, to: u64) -> Option<String> {
    let (mut depth, mut key, mut at) = (0_usize, None, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at)?;
                if depth == 1 {
                    key = Some(&text[at + 1..end - 1]);
                }
                at = end;
                continue;
            }
            b':' if depth == 1 && key == Some(KEY) => {
                let start = at + 1 + text[at + 1..].find(|c: char| !c.is_whitespace())?;
                let end = start + text[start..].find(|c: char| !c.is_ascii_digit())?;
                return Some(format!("{}{to}{}", &text[..start], &text[end..]));
            }
            b'{' | b'[' => depth += 1,
            b'}' if depth == 1 => {
                let body = text[..at].trim_end();
                return Some(format!("{body},\"{KEY}\":{to}{}", &text[body.len()..]));
            }
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string that starts here ends, behind its quote.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_changes() {
        let text = r#"{"format":"vParquet4","blockID":"7","size":628505,"dedicatedColumns":[{"s":"resource","n":"replicationFactor"}],"replicationFactor":1,"covers":["a"],"zeta":1.50}"#;
        let edit = set_replication_factor(text, 0).unwrap();
        assert_eq!(edit.from, 1);
        let changed = edit.text.unwrap();
        assert_eq!(changed, text.replace("\"replicationFactor\":1", "\"replicationFactor\":0"));
        assert_eq!(set_replication_factor(&changed, 1).unwrap().text.as_deref(), Some(text));
        assert_eq!(set_replication_factor(text, 1).unwrap(), Edit { from: 1, text: None });
    }

    #[test]
    fn a_factor_that_was_left_out_is_put_behind_the_last_field() {
        let edit =
            set_replication_factor("{\n  \"blockID\": \"7\",\n  \"x\": {\"y\": \"}\\\"\"}\n}\n", 1).unwrap();
        assert_eq!(
            edit.text.as_deref(),
            Some("{\n  \"blockID\": \"7\",\n  \"x\": {\"y\": \"}\\\"\"},\"replicationFactor\":1\n}\n")
        );
        assert_eq!(set_replication_factor("{\"blockID\":\"7\"}", 0).unwrap(), Edit { from: 0, text: None });
        let spaced = set_replication_factor("{\"replicationFactor\" : 3 , \"blockID\":\"7\"}", 1).unwrap();
        assert_eq!(spaced.text.as_deref(), Some("{\"replicationFactor\" : 1 , \"blockID\":\"7\"}"));
    }

    #[test]
    fn what_is_no_meta_is_left_alone() {
        for text in ["", "[]", "{}", "{\"blockID\":\"7\",\"replicationFactor\":\"1\"}", "{\"blockID\":"] {
            assert!(set_replication_factor(text, 5).is_err(), "{text}");
        }
        // A key that is a value too, and one that stands twice.
        let odd = "{\"blockID\":\"replicationFactor\",\"replicationFactor\":1}";
        assert!(set_replication_factor(odd, 0).unwrap().text.unwrap().ends_with("\"replicationFactor\":0}"));
        let twice = "{\"blockID\":\"7\",\"replicationFactor\":1,\"replicationFactor\":1}";
        assert!(set_replication_factor(twice, 0).is_err());
    }
}
