//! Regular expressions, by RE2's rules on Rust's engine.
//!
//! Queries are written for Go's regexp: classes like `\d` are ASCII, `{` that counts nothing is a brace, `[` inside a
//! class is a bracket. The pattern is rewritten so that Rust's engine takes it the same way. Matches are anchored at
//! both ends, and `.` matches a newline, as in Tempo (which uses Prometheus' matcher).

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

/// How large a compiled pattern may be. A query may hold many patterns, and each is compiled wherever the query runs.
const SIZE_LIMIT: usize = 1 << 20;

/// How deep groups may nest; the compiler works by recursion.
const NEST_LIMIT: u32 = 64;

/// Compiles the right side of `=~` or `!~`.
///
/// # Errors
/// What is wrong with the pattern, in one line.
pub fn compile_regex(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern);
    // Alone first: inside the group, `a)(b` would be a valid pattern. Only parentheses can break out.
    if translated.contains(')') {
        build(&translated, pattern)?;
    }
    build(&format!("^(?:{translated})$"), pattern)
}

fn build(translated: &str, pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("error parsing regexp: {}: `{pattern}`", last.strip_prefix("error: ").unwrap_or(last))
        })
}

/// What every text that a pattern matches begins with one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginnings {
    /// The beginnings.
    pub texts: Vec<Vec<u8>>,
    /// Whether they are all there is: the text is one of them.
    pub are_whole: bool,
}

/// Most beginnings that are told apart.
const BEGINNINGS_MAX: usize = 64;
/// Most bytes of one.
const BEGINNING_BYTES_MAX: usize = 16 * 1024;

/// What every text begins with that a pattern of [`compile_regex`] matches; `None` when that may be anything.
pub fn beginnings(pattern: &str) -> Option<Beginnings> {
    let mut parser = ParserBuilder::new().nest_limit(NEST_LIMIT).dot_matches_new_line(true).build();
    let parsed = parser.parse(&translate(pattern)).ok()?;
    // Anchors and word boundaries are passed over: what they forbid is found, and then does not match.
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_total(BEGINNINGS_MAX).limit_literal_len(BEGINNING_BYTES_MAX);
    let found = extractor.extract(&parsed);
    let are_whole = found.is_exact();
    let texts: Vec<Vec<u8>> = found.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    // Stored texts are matched with this in place of what is no UTF-8.
    let is_told = |text: &Vec<u8>| !text.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
    texts.iter().all(is_told).then_some(Beginnings { texts, are_whole })
}

/// RE2's syntax in Rust's.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    // Behind the `[` of a class, and at its first member, where `]` is a plain character.
    let (mut in_class, mut first) = (false, false);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let was_first = std::mem::take(&mut first);
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if in_class && after.starts_with(':') && after.contains(":]") => {
                let end = after.find(":]").map_or(0, |end| end + 2);
                out.push('[');
                out.push_str(&after[..end]);
                &after[end..]
            }
            // Rust has set operations inside of classes, RE2 has not.
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            ']' if in_class && was_first => {
                out.push_str("\\]");
                after
            }
            ']' => {
                in_class = false;
                out.push(c);
                after
            }
            '[' => {
                (in_class, first) = (true, true);
                out.push(c);
                match after.strip_prefix('^') {
                    Some(after) => {
                        out.push('^');
                        after
                    }
                    None => after,
                }
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// Whether `{` with this behind it says how often: `{2}`, `{2,}`, `{2,3}`.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

/// Writes an escape, and gives what stands behind it.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        // Plain characters in RE2, word boundaries in Rust.
        '<' | '>' => out.push(c),
        'Q' if !in_class => {
            let end = rest.find("\\E").unwrap_or(rest.len());
            out.push_str(&regex::escape(&rest[..end]));
            return rest[end..].strip_prefix("\\E").unwrap_or_default();
        }
        _ => {
            out.push('\\');
            out.push(c);
            // `\p{Greek}`, `\x{10ffff}`: these braces belong to the escape.
            if matches!(c, 'p' | 'P' | 'x')
                && rest.starts_with('{')
                && let Some(end) = rest.find('}')
            {
                out.push_str(&rest[..=end]);
                return &rest[end + 1..];
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_like_re2() {
        for (pattern, text, matches) in [
            ("b|c", "b", true),
            ("b|c", "bc", false),
            (".*", "", true),
            ("a.b", "a\nb", true),
            ("\\d+", "12", true),
            ("\\d", "٣", false),
            ("[\\d.]+", "1.2", true),
            ("\\w", "é", false),
            ("[[]", "[", true),
            ("[]a]+", "a]", true),
            ("[^]]", "]", false),
            ("[a&&b]+", "a&b", true),
            ("[[:alpha:]]+", "abc", true),
            ("a{", "a{", true),
            ("{x}", "{x}", true),
            ("a{2,3}", "aa", true),
            ("\\Qa.b\\E+", "a.bb", true),
            ("\\<a\\>", "<a>", true),
            ("\\p{Greek}", "α", true),
            ("[\\x{3b1}]", "α", true),
            ("(?i)abc", "ABC", true),
            ("a\\.b\\*c\\(d\\)", "a.b*c(d)", true),
        ] {
            let regex = compile_regex(pattern).unwrap();
            assert_eq!(regex.is_match(text), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn says_what_a_match_begins_with() {
        for (pattern, texts, are_whole) in [
            ("abc", Some(&["abc"][..]), true),
            ("a|b|c", Some(&["a", "b", "c"]), true),
            ("^(ord-1|ord-2)$", Some(&["ord-1", "ord-2"]), true),
            ("(?:x|y)z", Some(&["xz", "yz"]), true),
            ("a\\.b", Some(&["a.b"]), true),
            ("\\Qa.b\\E", Some(&["a.b"]), true),
            ("(?i)ab", Some(&["AB", "Ab", "aB", "ab"]), true),
            ("ord-[12]", Some(&["ord-1", "ord-2"]), true),
            ("a|", Some(&["a", ""]), true),
            ("", Some(&[""]), true),
            ("abc.*", Some(&["abc"]), false),
            ("(abc|def).*", Some(&["abc", "def"]), false),
            ("abc|def.*", Some(&["abc", "def"]), false),
            ("\u{fffd}", None, true),
            ("[^a]", None, true),
            (".*", Some(&[""]), false),
            (".*abc", Some(&[""]), false),
        ] {
            let found = beginnings(pattern);
            let Some(found) = found else {
                // "Anything" may be said in two ways.
                assert!(texts.is_none_or(|texts| texts == [""]), "{pattern}");
                continue;
            };
            let shown: Vec<String> = found.texts.iter().map(|t| String::from_utf8_lossy(t).into()).collect();
            assert_eq!(Some(&shown.iter().map(String::as_str).collect::<Vec<_>>()[..]), texts, "{pattern}");
            assert_eq!(found.are_whole, are_whole, "{pattern}");
        }
        let long = "x".repeat(5000);
        assert_eq!(beginnings(&long).unwrap().texts, [long.into_bytes()]);
        let many: Vec<String> = (0..1000).map(|number| format!("order-{number}")).collect();
        assert!(beginnings(&many.join("|")).is_none_or(|found| !found.are_whole));
    }

    #[test]
    fn refuses_what_re2_refuses() {
        let hostile = "(".repeat(500) + &")".repeat(500);
        for pattern in ["[", "a)(b", "(a", "*", "(?=a)", "a{1000}{1000}{1000}", &hostile, "\\"] {
            let error = compile_regex(pattern).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
