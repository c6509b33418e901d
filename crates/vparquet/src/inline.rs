//! Which attributes of a row group have values in the leaf for what has no leaf of its own: `trackway.json` in the footer.
//!
//! Arrays of mixed types, maps and bytes lie there, and texts that are so long that they must not lie among the others,
//! where every search for another attribute would decode them. Only who asks for one of these keys reads the leaf. Other
//! writers do not say it: any attribute may have values there then.

use std::collections::BTreeSet;

use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use trackway_spans::Level;

/// Texts above this many bytes are long.
pub(crate) const LONG_TEXT_BYTES: usize = 16 * 1024;
/// Most keys of a level that are told; of more it is only said that they are many.
const KEYS_MAX: usize = 100;
/// Name of the entry in the footer.
const NAME: &str = "trackway.json";

/// The keys of a level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Keys {
    /// These.
    These(BTreeSet<String>),
    /// Any.
    #[default]
    Any,
}

/// The keys of a row group, by level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JsonKeys([Keys; 5]);

impl Default for JsonKeys {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Keys::These(BTreeSet::new())))
    }
}

impl JsonKeys {
    /// Adds keys of a level.
    pub(crate) fn add<'k>(&mut self, level: Level, keys: impl Iterator<Item = &'k [u8]>) {
        let place = &mut self.0[level as usize];
        for key in keys {
            let Keys::These(known) = place else { return };
            match std::str::from_utf8(key) {
                Ok(key) if known.len() < KEYS_MAX || known.contains(key) => _ = known.insert(key.to_owned()),
                _ => *place = Keys::Any,
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|keys| matches!(keys, Keys::These(keys) if keys.is_empty()))
    }

    fn may_hold(&self, level: Level, key: &[u8]) -> bool {
        match &self.0[level as usize] {
            Keys::These(keys) => std::str::from_utf8(key).is_ok_and(|key| keys.contains(key)),
            Keys::Any => true,
        }
    }
}

/// What the footer says of all row groups; nothing when there is nothing to say.
pub(crate) fn entry(row_groups: &[JsonKeys]) -> Option<KeyValue> {
    if row_groups.iter().all(JsonKeys::is_empty) {
        return None;
    }
    Some(KeyValue::new(NAME.to_owned(), serde_json::to_string(row_groups).ok()?))
}

/// What a footer says.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<JsonKeys>);

impl Told {
    /// From the entries of a footer; what cannot be read says nothing.
    pub(crate) fn new(entries: Option<&Vec<KeyValue>>, row_groups: usize) -> Self {
        let entry = entries.into_iter().flatten().find(|entry| entry.key == NAME);
        let read = entry.and_then(|entry| serde_json::from_str::<Vec<JsonKeys>>(entry.value.as_ref()?).ok());
        Self(read.filter(|read| read.len() == row_groups).unwrap_or_default())
    }

    /// Whether it is said of a row group.
    pub(crate) fn is_known(&self, row_group: usize) -> bool {
        row_group < self.0.len()
    }

    /// Whether an attribute may have values in the leaf.
    pub(crate) fn may_hold(&self, row_group: usize, level: Level, key: &[u8]) -> bool {
        self.0.get(row_group).is_none_or(|keys| keys.may_hold(level, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let mut keys = JsonKeys::default();
        assert_eq!(entry(&[keys.clone(), JsonKeys::default()]).map(|entry| entry.key), None);
        keys.add(Level::Span, [&b"prompt"[..], b"tags"].into_iter());
        keys.add(Level::Event, (0..200).map(|_| &b"one"[..]));
        keys.add(Level::Link, [&b"\xff"[..]].into_iter());
        let many: Vec<String> = (0..200).map(|number| format!("key-{number}")).collect();
        keys.add(Level::Resource, many.iter().map(String::as_bytes));
        let entries = vec![entry(&[JsonKeys::default(), keys]).unwrap()];
        let told = Told::new(Some(&entries), 2);
        for (row_group, level, key, holds) in [
            (0, Level::Span, "prompt", false),
            (1, Level::Span, "prompt", true),
            (1, Level::Span, "tags", true),
            (1, Level::Span, "other", false),
            (1, Level::Event, "one", true),
            (1, Level::Event, "prompt", false),
            (1, Level::Link, "anything", true),
            (1, Level::Resource, "anything", true),
            (1, Level::Scope, "prompt", false),
            (2, Level::Scope, "prompt", true),
        ] {
            assert_eq!(told.may_hold(row_group, level, key.as_bytes()), holds, "{row_group} {level:?} {key}");
        }
        for (told, row_groups) in [(Some(&entries), 3), (None, 2)] {
            assert!(Told::new(told, row_groups).may_hold(0, Level::Span, b"other"));
        }
        let damaged = vec![KeyValue::new(NAME.to_owned(), "[{".to_owned())];
        assert!(Told::new(Some(&damaged), 1).may_hold(0, Level::Span, b"other"));
    }
}
