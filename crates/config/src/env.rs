//! Environment references in the configuration file, as drone/envsubst (Tempo's library) expands them.
//!
//! `${VAR}` and bash's string functions on it; an unset variable is empty. A bare `$VAR` stays as it is (passwords
//! contain dollar signs), and `$${` writes a literal `${`. Runs over the whole text before YAML is looked at, and
//! never changes the number of lines unless a value holds line breaks.

use crate::problem::{ConfigError, Origin, Problem};

/// Looks a variable up.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Nested defaults (`${A:-${B:-…}}`) deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// Replaces every `${…}` in `text`.
///
/// `name` is the file's name, for the error.
pub fn expand_env(name: &str, text: &str, lookup: Lookup<'_>) -> Result<String, ConfigError> {
    expand(text, lookup, 0).map_err(|(offset, message)| {
        let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
        ConfigError {
            problems: vec![Problem {
                origin: Origin::File { name: name.into(), line },
                key: String::new(),
                message,
            }],
        }
    })
}

fn expand(text: &str, lookup: Lookup<'_>, depth: usize) -> Result<String, (usize, String)> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        if text[at..start].ends_with('$') {
            // `$${`: the first dollar escapes the second; what follows is expanded as usual.
            out.push_str(&text[at..start - 1]);
            out.push_str("${");
            at = start + 2;
            continue;
        }
        out.push_str(&text[at..start]);
        if depth >= MAX_DEPTH {
            return Err((start, "environment references are nested too deeply".to_owned()));
        }
        let body_start = start + 2;
        let length = closing(&text[body_start..])
            .ok_or_else(|| (start, "\"${\" without a closing \"}\"".to_owned()))?;
        let body = &text[body_start..body_start + length];
        out.push_str(&reference(body, lookup, depth).map_err(|message| (start, message))?);
        at = body_start + length + 1;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// The offset of the `}` that closes the reference whose body starts here.
fn closing(body: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut previous = '\0';
    for (offset, c) in body.char_indices() {
        match c {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(offset),
            '}' => depth -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

fn reference(body: &str, lookup: Lookup<'_>, depth: usize) -> Result<String, String> {
    let value = |name: &str| lookup(name).unwrap_or_default();
    if let Some(name) = body.strip_prefix('#') {
        return Ok(value(name).chars().count().to_string());
    }
    let end = body.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len());
    let (name, function) = body.split_at(end);
    if name.is_empty() {
        return Err(format!("\"${{{body}}}\" names no variable"));
    }
    let set = lookup(name);
    let current = set.clone().unwrap_or_default();
    let inner = |text: &str| expand(text, lookup, depth + 1).map_err(|(_, message)| message);
    if function.is_empty() {
        return Ok(current);
    }
    for operator in [":-", ":=", "="] {
        if let Some(default) = function.strip_prefix(operator) {
            return if current.is_empty() { inner(default) } else { Ok(current) };
        }
    }
    if let Some(default) = function.strip_prefix('-') {
        return set.map_or_else(|| inner(default), Ok);
    }
    if let Some(message) = function.strip_prefix(":?") {
        return if current.is_empty() {
            Err(format!("environment variable {name}: {}", inner(message)?))
        } else {
            Ok(current)
        };
    }
    string_function(&current, function, &inner)
        .unwrap_or_else(|| Err(format!("\"${{{body}}}\" uses a function that is not known")))
}

/// Case, substring, trim and replace functions; `None` if it is none of them.
fn string_function(
    value: &str,
    function: &str,
    inner: &dyn Fn(&str) -> Result<String, String>,
) -> Option<Result<String, String>> {
    let first = function.chars().next()?;
    Some(match (first, function) {
        (_, "^^") => Ok(value.to_uppercase()),
        (_, ",,") => Ok(value.to_lowercase()),
        (_, "^") => Ok(first_letter(value, |c| c.to_uppercase().collect())),
        (_, ",") => Ok(first_letter(value, |c| c.to_lowercase().collect())),
        (':', _) => substring(value, &function[1..])?,
        ('#' | '%', _) => {
            let greedy = function[1..].starts_with(first);
            let pattern = &function[if greedy { 2 } else { 1 }..];
            inner(pattern).map(|pattern| trim(value, &pattern, first == '#', greedy))
        }
        ('/', _) => inner(&function[1..]).map(|body| replace(value, &body)),
        _ => return None,
    })
}

fn first_letter(value: &str, change: impl Fn(char) -> String) -> String {
    let mut chars = value.chars();
    chars.next().map(|c| change(c) + chars.as_str()).unwrap_or_default()
}

fn substring(value: &str, arguments: &str) -> Option<Result<String, String>> {
    let (position, length) = arguments.split_once(':').unwrap_or((arguments, ""));
    let position: usize = position.trim().parse().ok()?;
    let length: usize = match length.trim() {
        "" => usize::MAX,
        digits => digits.parse().ok()?,
    };
    Some(Ok(value.chars().skip(position).take(length).collect()))
}

/// Removes the shortest or longest match of a glob at the start or the end.
fn trim(value: &str, pattern: &str, at_start: bool, longest: bool) -> String {
    let mut cuts: Vec<usize> = value.char_indices().map(|(i, _)| i).collect();
    cuts.push(value.len());
    // Cutting at `cut` removes value[..cut] or value[cut..]; try the wanted size first.
    if at_start == longest {
        cuts.reverse();
    }
    for cut in cuts {
        let (head, tail) = value.split_at(cut);
        let (removed, kept) = if at_start { (head, tail) } else { (tail, head) };
        if glob(pattern.as_bytes(), removed.as_bytes()) {
            return kept.to_owned();
        }
    }
    value.to_owned()
}

/// `*` and `?` only; iterative, so that no pattern is exponential.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_at, matched)) = star else {
                    return false;
                };
                star = Some((star_at, matched + 1));
                p = star_at + 1;
                t = matched + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// `old/new` after the first slash, with `/old` for all, `#old` for a prefix, `%old` for a suffix; `\/` is a slash.
fn replace(value: &str, body: &str) -> String {
    let (mode, body) = match body.chars().next() {
        Some(c @ ('/' | '#' | '%')) => (c, &body[1..]),
        _ => (' ', body),
    };
    let mut parts = vec![String::new()];
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                if let Some(part) = parts.last_mut() {
                    part.push('/');
                }
            }
            '/' if parts.len() == 1 => parts.push(String::new()),
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    let new = if parts.len() > 1 { parts.pop().unwrap_or_default() } else { String::new() };
    let old = parts.pop().unwrap_or_default();
    if old.is_empty() {
        return value.to_owned();
    }
    match mode {
        '/' => value.replace(&old, &new),
        '#' => value.strip_prefix(&old).map_or_else(|| value.to_owned(), |rest| new + rest),
        '%' => value.strip_suffix(&old).map_or_else(|| value.to_owned(), |rest| rest.to_owned() + &new),
        _ => value.replacen(&old, &new, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, ConfigError> {
        expand_env("tempo.yaml", text, &|name| match name {
            "A" => Some("abc".to_owned()),
            "EMPTY" => Some(String::new()),
            "FILE" => Some("path/to/file.tar.gz".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn expands_as_envsubst() {
        for (text, want) in [
            ("x: ${A}", "x: abc"),
            ("${NO}", ""),
            ("$A and $$A", "$A and $$A"),
            ("$${A} ${A}", "${A} abc"),
            ("${NO:-d} ${A:-d} ${EMPTY:-d}", "d abc d"),
            ("${NO:=d}${NO=d}", "dd"),
            ("[${EMPTY-d}] ${NO-d}", "[] d"),
            ("${NO:-${A}-x}", "abc-x"),
            ("${NO:-http://a:1/b}", "http://a:1/b"),
            ("${A^^} ${A^} ${#A}", "ABC Abc 3"),
            ("${FILE#*/} ${FILE##*/}", "to/file.tar.gz file.tar.gz"),
            ("${FILE%.*} ${FILE%%.*}", "path/to/file.tar path/to/file"),
            ("${FILE:5:2} ${FILE:8}", "to file.tar.gz"),
            ("${FILE/\\//-} ${FILE//\\//-}", "path-to/file.tar.gz path-to-file.tar.gz"),
            ("${FILE/#path/P} ${FILE/%gz/G}", "P/to/file.tar.gz path/to/file.tar.G"),
            ("100% {}", "100% {}"),
        ] {
            assert_eq!(run(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            run("a: 1\nb: ${A").unwrap_err().to_string(),
            "tempo.yaml:2: \"${\" without a closing \"}\""
        );
        assert_eq!(
            run("b: ${NO:?set it}").unwrap_err().to_string(),
            "tempo.yaml:1: environment variable NO: set it"
        );
        assert!(run("${}").is_err());
        assert!(run(&"${A:-".repeat(100)).is_err());
    }
}
