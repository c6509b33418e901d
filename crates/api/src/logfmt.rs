//! `tags=`: pairs in logfmt, `k=v k2="v 2"`, as tempo-query and older Grafanas send them.

/// Reads the pairs; a key without a value has an empty one.
///
/// # Errors
/// The text that Tempo's parser gives.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let bytes = text.as_bytes();
    let mut pairs = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(|byte| *byte <= b' ') {
            at += 1;
        }
        let start = at;
        while bytes.get(at).is_some_and(|byte| !matches!(byte, b'=' | b'"') && *byte > b' ') {
            at += 1;
        }
        match bytes.get(at) {
            None if at == start => return Ok(pairs),
            Some(b'"') => return Err(unexpected('"', at)),
            Some(b'=') if at == start => return Err(unexpected('=', at)),
            _ => {}
        }
        let key = text[start..at].to_owned();
        if bytes.get(at) != Some(&b'=') {
            pairs.push((key, String::new()));
            continue;
        }
        at += 1;
        let value = if bytes.get(at) == Some(&b'"') { quoted(text, &mut at)? } else { bare(text, &mut at)? };
        pairs.push((key, value));
    }
}

fn bare(text: &str, at: &mut usize) -> Result<String, String> {
    let start = *at;
    for byte in &text.as_bytes()[start..] {
        match byte {
            b'=' => return Err(unexpected('=', *at)),
            b'"' => return Err(unexpected('"', *at)),
            0..=b' ' => break,
            _ => *at += 1,
        }
    }
    Ok(text[start..*at].to_owned())
}

/// From the opening quote to behind the closing one. Escapes are those of JSON.
fn quoted(text: &str, at: &mut usize) -> Result<String, String> {
    let start = *at;
    let mut escaped = false;
    for (offset, byte) in text.as_bytes()[start + 1..].iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                *at = start + offset + 2;
                return serde_json::from_str(&text[start..*at])
                    .map_err(|_| syntax("invalid quoted value", start));
            }
            _ => {}
        }
    }
    Err(syntax("unterminated quoted value", text.len()))
}

fn unexpected(found: char, at: usize) -> String {
    syntax(&format!("unexpected '{found}'"), at)
}

fn syntax(why: &str, at: usize) -> String {
    format!("logfmt syntax error at pos {} on line 1: {why}", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    #[test]
    fn pairs_are_read() {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("a=b c=\"d e\""), own(&[("a", "b"), ("c", "d e")]));
        assert_eq!(
            pairs(" service.name=é flag k=\"x\\\"y\" e="),
            own(&[("service.name", "é"), ("flag", ""), ("k", "x\"y"), ("e", ""),])
        );
        assert_eq!(parse("=a").unwrap_err(), "logfmt syntax error at pos 1 on line 1: unexpected '='");
        assert_eq!(parse("a==b").unwrap_err(), "logfmt syntax error at pos 3 on line 1: unexpected '='");
        assert!(parse("a=\"b").unwrap_err().ends_with("unterminated quoted value"));
        assert!(parse("a=\"\\x\"").unwrap_err().ends_with("invalid quoted value"));
    }
}
