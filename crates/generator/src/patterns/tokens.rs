//! Names taken apart: tokens, what is between them, and which tokens look like ids.
//!
//! What must stay true: the parts of a name, put together, are the name again.

use super::enough;

/// A part of a name.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// What is between tokens.
    Gap(&'a str),
    Token(&'a str),
}

/// The parts of a name. Put together they are the name again.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let bytes = self.rest.as_bytes();
        let is_token = is_part(*bytes.first()?);
        let length = if is_token { token_length(bytes) } else { run(bytes, |byte| !is_part(byte)) };
        // Either side of the end is a separator, which is ASCII, or nothing: it is between characters.
        let (piece, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(if is_token { Piece::Token(piece) } else { Piece::Gap(piece) })
    }
}

pub(super) fn tokens(name: &str) -> impl Iterator<Item = &str> {
    Pieces { rest: name }.filter_map(|piece| match piece {
        Piece::Token(token) => Some(token),
        Piece::Gap(_) => None,
    })
}

/// What is between the tokens; each of them is an `x`, which no separator is.
pub(super) fn skeleton(name: &str) -> String {
    let mut skeleton = String::with_capacity(name.len());
    for piece in (Pieces { rest: name }) {
        skeleton.push_str(match piece {
            Piece::Gap(gap) => gap,
            Piece::Token(_) => "x",
        });
    }
    skeleton
}

/// Whether a byte is of a token. What is not ASCII is; all other ASCII separates, but for `%`, which begins a byte's code.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'%' || !byte.is_ascii()
}

fn run(bytes: &[u8], of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| of(**byte)).count()
}

/// The length of the token with which the bytes begin. A UUID is one token, and so is what begins with a digit and is
/// joined to the like: a date, a time, an address.
fn token_length(bytes: &[u8]) -> usize {
    let uuid = uuid_length(bytes);
    if uuid > 0 {
        return uuid;
    }
    let mut length = run(bytes, is_part);
    if bytes.first().is_some_and(u8::is_ascii_digit) {
        while let Some([b'.' | b'-' | b':', next @ ..]) = bytes.get(length..)
            && next.first().is_some_and(u8::is_ascii_digit)
        {
            length += 1 + run(next, is_part);
        }
    }
    length
}

/// The length of the UUID with which the bytes begin, 0 without one.
fn uuid_length(bytes: &[u8]) -> usize {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut length = 0;
    for (at, group) in GROUPS.into_iter().enumerate() {
        let joined = at == 0 || bytes.get(length) == Some(&b'-');
        length += usize::from(at > 0);
        let digits = bytes.get(length..length + group);
        if !joined || !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return 0;
        }
        length += group;
    }
    if bytes.get(length).is_some_and(|byte| is_part(*byte)) { 0 } else { length }
}

/// Whether a token looks like an id: it has digits, or is a UUID or a hexadecimal number of eight digits or more
/// without one. A version (`v1`) does not, nor does a name in camel case with a number in it (`GetUserV2`).
pub(super) fn is_id(token: &str) -> bool {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return token.len() >= 8 && token.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    }
    let version = token.strip_prefix(['v', 'V']).is_some_and(|number| number.len() == digits && digits <= 2);
    let numbers =
        token.split(|character: char| !character.is_ascii_digit()).filter(|number| !number.is_empty());
    let camel = token.len() >= 6
        && digits <= 2
        && numbers.count() == 1
        && token.bytes().any(|byte| byte.is_ascii_uppercase())
        && token.bytes().any(|byte| byte.is_ascii_lowercase());
    !(version || camel)
}

/// Whether the name's pattern can ever be another than the name: whether enough of it is left if all that looks like an id
/// but the first token becomes a placeholder. Without an id, one word may only differ beside two that agree.
pub(super) fn may_vary(name: &str) -> bool {
    let (mut count, mut ids) = (0_usize, 0_usize);
    for token in tokens(name) {
        ids += usize::from(count > 0 && is_id(token));
        count += 1;
    }
    enough(count - ids, count) && (ids > 0 || count >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end_where_they_should() {
        for (name, expected) in [
            ("GET /users/{id}", &["GET", "users", "id"][..]),
            ("a.b-c_d:e,f|g", &["a", "b", "c", "d", "e", "f", "g"]),
            ("x 1.2.3-4:5 y", &["x", "1.2.3-4:5", "y"]),
            ("x1.2 1.x 1..2 1-", &["x1", "2", "1", "x", "1", "2", "1"]),
            ("0191e2a4-7b1c-7abc-8def-0123456789ab!", &["0191e2a4-7b1c-7abc-8def-0123456789ab"]),
            ("abcdefab-abcd-abcd-abcd-abcdefabcdef", &["abcdefab-abcd-abcd-abcd-abcdefabcdef"]),
            ("abcdefab-abcd-abcd-abcd-abcdefabcdefa", &["abcdefab", "abcd", "abcd", "abcd", "abcdefabcdefa"]),
            ("abcdefab-abcd-abcd-abcd", &["abcdefab", "abcd", "abcd", "abcd"]),
            ("größe/日本 🦀", &["größe", "日本", "🦀"]),
            ("%20a/b", &["%20a", "b"]),
        ] {
            assert_eq!(tokens(name).collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn ids_are_told_from_words() {
        for id in [
            "1",
            "123",
            "a1",
            "u42",
            "1st",
            "deadbeef",
            "DEADBEEF",
            "0x1f",
            "abc123def",
            "v123",
            "x7k2p",
            "V1StGXR8",
        ] {
            assert!(is_id(id), "{id}");
        }
        for word in [
            "",
            "users",
            "facade",
            "v1",
            "V2",
            "v10",
            "GetUserV2",
            "OAuth2",
            "Base64Encode",
            "größe",
            "defaced",
        ] {
            assert!(!is_id(word), "{word}");
        }
    }
}
