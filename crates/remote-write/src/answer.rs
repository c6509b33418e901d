//! What a receiver answers: what it wrote, how long it wants to be left alone, and a text for a person.
//!
//! What must stay true: of an answer no more than [`MAX_ANSWER`] bytes are told, and nothing that was secret in the
//! request.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use jiff::fmt::rfc2822;
use trackway_common::Random;

use crate::series::Protocol;

/// Most bytes of an answer that are read and told.
pub const MAX_ANSWER: usize = 1024;
/// The longest wait that a receiver is granted.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

pub(crate) const SAMPLES: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// What the receiver of a request says that it wrote; those of 1.0 say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Samples.
    pub samples: Option<usize>,
    /// Native histograms.
    pub histograms: Option<usize>,
    /// Exemplars.
    pub exemplars: Option<usize>,
}

impl Sent {
    /// What the headers of an answer say.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let number = |name| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self { samples: number(SAMPLES), histograms: number(HISTOGRAMS), exemplars: number(EXEMPLARS) }
    }
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be taken later.
    #[error("{message}")]
    Retry {
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
        /// The answer's status, when there was an answer.
        status: Option<u16>,
        /// What happened, for a person.
        message: String,
    },
    /// It never will be: drop it.
    #[error("{message}")]
    Rejected {
        /// The answer's status.
        status: u16,
        /// What happened, for a person.
        message: String,
    },
    /// The receiver does not take 2.0 (any more): negotiate again, and encode in 1.0.
    #[error("the receiver does not take {}", Protocol::V2)]
    Unsupported,
}

impl SendError {
    /// Whether a receiver refuses samples because it has them, or newer ones of their series: what those say to a request
    /// that comes a second time.
    pub fn says_known(&self) -> bool {
        let Self::Rejected { message, .. } = self else { return false };
        let message = message.to_ascii_lowercase().replace('-', " ");
        ["out of order", "duplicate sample", "duplicate timestamp"]
            .iter()
            .any(|known| message.contains(known))
    }

    pub(crate) fn retry(message: String) -> Self {
        Self::Retry { after: None, status: None, message }
    }
}

/// An answer, as far as it is read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// How long a receiver wants to be left alone: seconds, or a date, which its own clock in the same answer explains.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let parser = rfc2822::DateTimeParser::new();
    let until = parser.parse_timestamp(text).ok()?;
    let now = parser.parse_timestamp(headers.get(DATE)?.to_str().ok()?.trim()).ok()?;
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A wait, and up to a quarter more.
pub(crate) fn spread(wait: Duration, random: &dyn Random) -> Duration {
    let [first, ..] = *random.uuid().as_bytes();
    wait.mul_f64(1.0 + f64::from(first) / 1024.0)
}

/// An answer's text on one line, without what was secret in the request.
pub(crate) fn readable(read: &[u8], sent: &HeaderMap) -> String {
    let mut text = String::from_utf8_lossy(read).into_owned();
    for value in sent.values().filter(|value| value.is_sensitive()) {
        let Ok(secret) = value.to_str() else { continue };
        // Of `Bearer token` the token.
        let secret = secret.rsplit(' ').next().unwrap_or(secret);
        if secret.len() >= 4 {
            text = text.replace(secret, "<secret>");
        }
    }
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let mut line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(MAX_ANSWER));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_has_already_it_says_in_these_words() {
        for (message, is_known) in [
            ("http://p/api/v1/write answers 400 Bad Request: out of order sample", true),
            ("http://p/api/v1/write answers 400 Bad Request: duplicate sample for timestamp", true),
            (
                "http://m/api/v1/push answers 400 Bad Request: the sample has been rejected (err-mimir-sample-out-of-order)",
                true,
            ),
            ("http://m/api/v1/push answers 400 Bad Request: (err-mimir-sample-duplicate-timestamp)", true),
            ("http://t/api/v1/receive answers 409 Conflict: store locally: Out of order sample", true),
            ("http://p/api/v1/write answers 400 Bad Request: out of bounds", false),
            ("http://p/api/v1/write answers 400 Bad Request: label value too long", false),
        ] {
            let refused = SendError::Rejected { status: 400, message: message.to_owned() };
            assert_eq!(refused.says_known(), is_known, "{message}");
        }
        assert!(!SendError::retry("out of order".to_owned()).says_known());
    }
}
