//! Parameters of a URL, decoded as Go's `net/url` does: a pair that is not well-formed is left out.

/// The parameters, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryString(Vec<(String, String)>);

impl QueryString {
    /// From what stands after the `?`.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs =
            query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        Self(
            pairs
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name, true)?, decode(value, true)?))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// Undoes percent-encoding; `None` when it is broken. Bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = QueryString::parse(Some("q=%7B+.a+%3D+%22%C3%A9%22+%7D&limit=3&limit=4&flag&bad=%zz"));
        assert_eq!(query.get("q"), "{ .a = \"é\" }");
        assert_eq!(query.get("limit"), "3");
        assert_eq!((query.get("flag"), query.get("bad"), query.get("none")), ("", "", ""));
        assert_eq!(query.iter().count(), 4);
        assert_eq!(decode("a+b%2Fc", false).unwrap(), "a+b/c");
        assert_eq!(decode("%ff", false).unwrap(), "\u{fffd}");
        assert_eq!(decode("%f", false), None);
    }
}
