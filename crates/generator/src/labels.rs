//! Names and values of labels, and label sets as bytes.
//!
//! What must stay true: a set is sorted by name, has no name twice and no empty value (Prometheus takes those for
//! absent); two sets are the same exactly if their bytes are. Values are checked to be UTF-8 before a set is kept; of those
//! that were cut within a character the rest is.

/// The label with the metric's name.
pub(crate) const NAME: &str = "__name__";
/// Labels of span metrics that are not attributes; an attribute that would be called so gets `__` before it.
pub(crate) const INTRINSIC: [&str; 7] =
    ["service", "span_name", "span_kind", "status_code", "status_message", "job", "instance"];
/// The same of `traces_target_info`, as in Tempo.
pub(crate) const OF_TARGET: [&str; 6] =
    ["span_name", "span_kind", "status_code", "status_message", "job", "instance"];
/// The only label of the series that stands for those that were one too many.
pub(crate) const OVERFLOW: (&str, &str) = ("metric_overflow", "true");
/// The value that stands for those of a label that were one too many.
pub(crate) const CARDINALITY_OVERFLOW: &str = "__cardinality_overflow__";

/// A name that Prometheus takes: what is no letter, digit or `_` becomes `_`, as in Tempo, and a digit does not come first.
fn sanitize(name: &str) -> String {
    let digit_first = name.starts_with(|letter: char| letter.is_ascii_digit());
    let letters = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    digit_first.then_some('_').into_iter().chain(letters).collect()
}

/// The same, apart from the names that are taken and from the metric's own, which would make a series that no receiver takes.
pub(crate) fn sanitize_beside(name: &str, taken: &[&str]) -> String {
    let clean = sanitize(name);
    if clean == NAME || taken.contains(&clean.as_str()) { format!("__{clean}") } else { clean }
}

/// Cuts a text to so many bytes, at a character; 0 is no limit.
pub(crate) fn cut(text: &str, longest: usize) -> &str {
    if longest == 0 || text.len() <= longest {
        return text;
    }
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text)
}

/// Appends a label to a set.
pub(crate) fn put(out: &mut Vec<u8>, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    put_length(out, name.len());
    out.extend_from_slice(name);
    // Two bytes for the length of the value, which is known when it is written.
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    value(out);
    let length = (out.len() - at - 2).min(LONGEST);
    out.truncate(at + 2 + length);
    if length == 0 {
        out.truncate(before);
        return;
    }
    let bytes = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&bytes);
    }
}

/// Bytes of the longest name or value; longer ones are cut here, whatever the configuration allows.
pub(crate) const LONGEST: usize = u16::MAX as usize;

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
}

/// The labels of a set, as bytes.
pub(crate) fn parse(mut set: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let mut next = || {
            let (length, rest) = set.split_first_chunk::<2>()?;
            let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            set = rest;
            Some(text)
        };
        Some((next()?, next()?))
    })
}

/// The labels of a set that is known to be UTF-8; what is not is left out.
pub(crate) fn texts(set: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    parse(set)
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
}

/// Whether all of a set is UTF-8.
pub(crate) fn is_utf8(set: &[u8]) -> bool {
    parse(set).all(|(name, value)| std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok())
}

/// A text that may have been cut within its last character, without what is left of that; `None` for what is no UTF-8.
pub(crate) fn whole(text: &[u8]) -> Option<&str> {
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            text.get(..error.valid_up_to()).and_then(|text| std::str::from_utf8(text).ok())
        }
        Err(_) => None,
    }
}

/// The set without characters that were cut; `None` when the rest is no UTF-8 either.
pub(crate) fn mended(set: &[u8]) -> Option<Vec<u8>> {
    let labels = parse(set).map(|(name, value)| Some((whole(name)?, whole(value)?)));
    labels.collect::<Option<Vec<_>>>().map(set_of)
}

/// A set of labels in any order; of equal names the last counts.
pub(crate) fn set_of<'t>(labels: impl IntoIterator<Item = (&'t str, &'t str)>) -> Vec<u8> {
    let sorted: std::collections::BTreeMap<&str, &str> = labels.into_iter().collect();
    let mut out = Vec::new();
    for (name, value) in sorted {
        put(&mut out, name.as_bytes(), |out| out.extend_from_slice(value.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_what_prometheus_takes() {
        for (name, expected) in [
            ("http.route", "http_route"),
            ("a-b c", "a_b_c"),
            ("4xx", "_4xx"),
            ("änder", "_nder"),
            ("service", "__service"),
            ("span.name", "__span_name"),
        ] {
            assert_eq!(sanitize_beside(name, &INTRINSIC), expected);
        }
        assert_eq!(cut("häh", 2), "h");
        assert_eq!(cut("häh", 0), "häh");
    }

    #[test]
    fn sets_are_sorted_and_have_no_empty_values() {
        let set = set_of([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(texts(&set).collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        let long = "x".repeat(LONGEST + 5);
        let set = set_of([("a", long.as_str()), ("b", "2")]);
        assert_eq!(texts(&set).map(|(_, value)| value.len()).collect::<Vec<_>>(), [LONGEST, 1]);
        assert!(is_utf8(&set));
        let mut bad = Vec::new();
        put(&mut bad, b"a", |out| out.push(0xff));
        assert!(!is_utf8(&bad));
        assert_eq!(parse(&bad[..bad.len() - 1]).count(), 0);
        assert_eq!(mended(&bad), None);
        let mut cut = Vec::new();
        put(&mut cut, b"a", |out| out.extend_from_slice(&"hä".as_bytes()[..2]));
        put(&mut cut, b"b", |out| out.extend_from_slice(&"ä".as_bytes()[..1]));
        assert_eq!(mended(&cut), Some(set_of([("a", "h")])));
    }
}
