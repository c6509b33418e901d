//! The part of memcached's text protocol that is spoken: requests, and a reader of replies that trusts nothing in them.
//!
//! What must stay true: memory is taken for bytes that came, never for bytes that were announced; and every reply is
//! either understood as a whole or an error, after which the connection is of no use.

use bytes::{Buf, Bytes, BytesMut};

/// Longest key that memcached takes.
const KEY_BYTES_MAX: usize = 250;
/// Longest line of a reply: a key, four numbers, or the text of an error.
const LINE_BYTES_MAX: usize = 1024;
/// Largest value that is believed. memcached's own limit is 1 MiB unless it is raised, and at most 1 GiB.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 20;
/// Expiry times above this are seconds since 1970 and not from now.
const RELATIVE_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

/// A reply, or a part of one to several keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A value that was asked for.
    Value { key: Bytes, value: Bytes },
    /// No more values.
    End,
    /// Stored, deleted, or not there to be deleted.
    Done,
    /// Not stored, for a reason that lies in the item, such as its size.
    Refused(String),
}

/// A reply that no memcached would give, or one that says that the server is in trouble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    #[error("the server announced a value of {0} bytes; at most {VALUE_BYTES_MAX} are taken")]
    TooLarge(u64),
    #[error("the server's reply is not memcached's protocol: {0:?}")]
    Nonsense(String),
    #[error("the server reported an error: {0}")]
    Server(String),
}

/// Whether memcached takes a key.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

/// Asks for values.
pub(super) fn get(request: &mut Vec<u8>, keys: &[&str]) {
    request.extend_from_slice(b"get");
    for key in keys {
        request.push(b' ');
        request.extend_from_slice(key.as_bytes());
    }
    request.extend_from_slice(b"\r\n");
}

/// The first line of a request to store; the value and a line end follow.
pub(super) fn set(key: &str, length: usize, ttl_seconds: u64, now_seconds: u64) -> String {
    let expiry = if ttl_seconds > RELATIVE_SECONDS_MAX { now_seconds + ttl_seconds } else { ttl_seconds };
    format!("set {key} 0 {expiry} {length}\r\n")
}

/// Asks to delete.
pub(super) fn delete(request: &mut Vec<u8>, key: &str) {
    request.extend_from_slice(b"delete ");
    request.extend_from_slice(key.as_bytes());
    request.extend_from_slice(b"\r\n");
}

/// Takes replies from the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Bytes that came and are not yet understood.
    pub(super) buffer: BytesMut,
    /// A value whose line was read and whose bytes were not.
    pending: Option<(Bytes, usize)>,
}

impl Replies {
    /// The next reply; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ProtocolError`], after which nothing that follows can be understood.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, ProtocolError> {
        if let Some((key, length)) = self.pending.take() {
            return self.value(key, length);
        }
        let Some(line) = self.line()? else { return Ok(None) };
        let nonsense = || ProtocolError::Nonsense(shown(&line));
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        match words.next().unwrap_or_default() {
            b"VALUE" => {
                let key = words.next().ok_or_else(nonsense)?;
                let (_flags, length) = (words.next(), words.next());
                let length = length.and_then(number).ok_or_else(nonsense)?;
                let fits = usize::try_from(length).ok().filter(|length| *length <= VALUE_BYTES_MAX);
                let fits = fits.ok_or(ProtocolError::TooLarge(length))?;
                self.value(line.slice_ref(key), fits)
            }
            b"END" => Ok(Some(Reply::End)),
            b"STORED" | b"DELETED" | b"NOT_FOUND" => Ok(Some(Reply::Done)),
            b"NOT_STORED" | b"EXISTS" => Ok(Some(Reply::Refused(shown(&line)))),
            b"SERVER_ERROR" if is_about_size(&line) => Ok(Some(Reply::Refused(shown(&line)))),
            b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => Err(ProtocolError::Server(shown(&line))),
            _ => Err(nonsense()),
        }
    }

    fn line(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        let searched = &self.buffer[..self.buffer.len().min(LINE_BYTES_MAX)];
        let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
            return if searched.len() == LINE_BYTES_MAX {
                Err(ProtocolError::Nonsense(shown(searched)))
            } else {
                Ok(None)
            };
        };
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        Ok(Some(line))
    }

    fn value(&mut self, key: Bytes, length: usize) -> Result<Option<Reply>, ProtocolError> {
        if self.buffer.len() < length + 2 {
            self.pending = Some((key, length));
            return Ok(None);
        }
        // Copied, so that a small value does not keep a large buffer.
        let value = Bytes::copy_from_slice(&self.buffer[..length]);
        if &self.buffer[length..length + 2] != b"\r\n" {
            return Err(ProtocolError::Nonsense("a value that is longer than its line says".to_owned()));
        }
        self.buffer.advance(length + 2);
        Ok(Some(Reply::Value { key, value }))
    }
}

/// memcached says so when an item is larger than it takes; the server is well.
fn is_about_size(line: &[u8]) -> bool {
    line.starts_with(b"SERVER_ERROR object too large")
        || line.starts_with(b"SERVER_ERROR out of memory storing object")
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The beginning of a line, for a message.
fn shown(line: &[u8]) -> String {
    const SHOWN: usize = 80;
    String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of `step`.
    fn all(bytes: &[u8], step: usize) -> Result<Vec<Reply>, ProtocolError> {
        let (mut replies, mut read) = (Replies::default(), Vec::new());
        for piece in bytes.chunks(step) {
            replies.buffer.extend_from_slice(piece);
            while let Some(reply) = replies.next()? {
                read.push(reply);
            }
        }
        Ok(read)
    }

    fn value(key: &'static str, value: &'static [u8]) -> Reply {
        Reply::Value { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(value) }
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let bytes = b"VALUE a 0 5\r\nEND\r\n\r\nVALUE bc 7 0 99\r\n\r\nEND\r\nSTORED\r\nNOT_FOUND\r\nSERVER_ERROR object too large for cache\r\n";
        for step in 1..bytes.len() {
            let read = all(bytes, step).unwrap();
            let refused = Reply::Refused("SERVER_ERROR object too large for cache".to_owned());
            assert_eq!(
                read,
                [value("a", b"END\r\n"), value("bc", b""), Reply::End, Reply::Done, Reply::Done, refused],
                "{step}"
            );
        }
    }

    #[test]
    fn hostile_replies_are_errors() {
        let long = vec![b'x'; 5000];
        let cases: [&[u8]; 12] = [
            b"VALUE a 0 2147483648\r\n",
            b"VALUE a 0 18446744073709551615\r\n",
            b"VALUE a 0 99999999999999999999999\r\n",
            b"VALUE a 0 -1\r\n",
            b"VALUE a 0\r\n",
            b"VALUE\r\n",
            b"VALUE a 0 3\r\nabcde\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"ERROR\r\n",
            b"SERVER_ERROR out of order\r\n",
            &long,
        ];
        for case in cases {
            assert!(all(case, 7).is_err(), "{}", shown(case));
        }
        assert_eq!(
            all(b"VALUE a 0 2147483648\r\n", 64),
            Err(ProtocolError::TooLarge(2_147_483_648)),
            "no memory is taken for it"
        );
    }

    #[test]
    fn an_announced_value_takes_no_memory_before_it_comes() {
        let mut replies = Replies::default();
        replies.buffer.extend_from_slice(format!("VALUE a 0 {VALUE_BYTES_MAX}\r\nabc").as_bytes());
        assert_eq!(replies.next(), Ok(None));
        assert!(replies.buffer.capacity() < 4096);
    }

    #[test]
    fn keys_that_memcached_does_not_take_are_known() {
        let longest = "k".repeat(250);
        for key in ["a", "t:b:data.parquet:1:2", longest.as_str(), "ü"] {
            assert!(is_key(key), "{key}");
        }
        let too_long = "k".repeat(251);
        for key in ["", "a b", "a\r\nflush_all", "a\0", "\x7f", too_long.as_str()] {
            assert!(!is_key(key), "{key:?}");
        }
    }

    #[test]
    fn a_long_life_is_told_as_a_date() {
        assert_eq!(set("k", 3, 0, 1000), "set k 0 0 3\r\n");
        assert_eq!(set("k", 3, 60, 1000), "set k 0 60 3\r\n");
        assert_eq!(set("k", 3, 40 * 86400, 1000), format!("set k 0 {} 3\r\n", 1000 + 40 * 86400));
    }
}
