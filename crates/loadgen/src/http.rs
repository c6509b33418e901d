//! A small HTTP/1.1 client over one kept connection: what is needed to send spans and to ask questions, and no more.
//!
//! What must stay true: one request at a time; a connection on which anything went wrong, or whose answer was not read
//! to its end, is never used again; no answer is believed beyond a gigabyte.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use trackway_common::Clock;

use crate::client::Endpoint;

const CONNECT: Duration = Duration::from_secs(10);
/// The largest body that is read.
const LARGEST: u64 = 1 << 30;
/// The longest line of a head, and the most lines.
const LONGEST_LINE: u64 = 64 << 10;
const MOST_LINES: usize = 200;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection was refused.
    #[error("nothing listens on {0}; start trackway first, or give --endpoint")]
    NobodyThere(String),
    /// The host has no address, or cannot be reached.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, #[source] Error),
    /// Nothing came in time.
    #[error("no answer from {0} within {1:?}")]
    TooSlow(String, Duration),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection to {0} broke: {1}")]
    Broken(String, #[source] Error),
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines in the order in which they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunks' framing.
    pub body: Vec<u8>,
    /// From the first byte sent to the last byte read; zero if nobody measured.
    pub took: Duration,
}

impl Answer {
    /// The first header line of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a [u8]>,
}

/// A client of one server.
#[derive(Debug)]
pub struct HttpClient {
    endpoint: Endpoint,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl HttpClient {
    /// Connects.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, HttpError> {
        let mut client = Self { endpoint, patience: Duration::from_secs(60), stream: None };
        client.stream = Some(client.open().await?);
        Ok(client)
    }

    /// How long to wait for an answer; a minute unless said otherwise.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Gets a path (with its query, already percent-encoded) and measures how long it took.
    pub async fn get(&mut self, clock: &dyn Clock, target: &str, accept: &str) -> Result<Answer, HttpError> {
        let headers = [("Accept", accept)];
        self.timed(clock, &Ask { method: "GET", target, headers: &headers, body: None }).await
    }

    /// Posts to a path without a body, and measures how long it took.
    pub async fn post(&mut self, clock: &dyn Clock, target: &str) -> Result<Answer, HttpError> {
        self.timed(clock, &Ask { method: "POST", target, headers: &[], body: Some(&[]) }).await
    }

    /// Posts JSON to a path, and measures how long it took.
    pub async fn post_json(
        &mut self,
        clock: &dyn Clock,
        target: &str,
        accept: &str,
        body: &[u8],
    ) -> Result<Answer, HttpError> {
        let headers = [("Accept", accept), ("Content-Type", "application/json")];
        self.timed(clock, &Ask { method: "POST", target, headers: &headers, body: Some(body) }).await
    }

    async fn timed(&mut self, clock: &dyn Clock, ask: &Ask<'_>) -> Result<Answer, HttpError> {
        let from = clock.monotonic();
        let mut answer = self.ask(ask).await?;
        answer.took = clock.monotonic().saturating_sub(from);
        Ok(answer)
    }

    /// Sends a request and reads the answer.
    ///
    /// A server may close a kept connection at any time; if it does so before the first byte of its answer, the request
    /// is sent once more on a new one.
    pub(crate) async fn ask(&mut self, ask: &Ask<'_>) -> Result<Answer, HttpError> {
        let kept = self.stream.take();
        let reused = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => self.open().await?,
        };
        match self.exchange(stream, ask).await {
            Err(HttpError::Broken(_, error)) if reused && closed_early(&error) => {
                let stream = self.open().await?;
                self.exchange(stream, ask).await
            }
            other => other,
        }
    }

    /// How long it waits for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) async fn open(&self) -> Result<BufReader<TcpStream>, HttpError> {
        let place = self.endpoint.authority();
        let connecting = TcpStream::connect((self.endpoint.host(), self.endpoint.port()));
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => {
                // Requests are written in one piece; waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                Ok(BufReader::with_capacity(64 << 10, stream))
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(HttpError::NobodyThere(place))
            }
            Ok(Err(error)) => Err(HttpError::Unreachable(place, error)),
            Err(_) => Err(HttpError::TooSlow(place, CONNECT)),
        }
    }

    async fn exchange(
        &mut self,
        mut stream: BufReader<TcpStream>,
        ask: &Ask<'_>,
    ) -> Result<Answer, HttpError> {
        let head = self.head(ask);
        let talk = async {
            let sent = send(&mut stream, &head, ask.body.unwrap_or_default()).await;
            // A server may answer and close before it has read everything: the answer counts, not the failed write.
            match (read_answer(&mut stream, ask.method).await, sent) {
                (Ok(answer), Ok(())) => Ok(answer),
                (Ok((answer, _)), Err(_)) => Ok((answer, false)),
                (Err(_), Err(sending)) => Err(sending),
                (Err(reading), Ok(())) => Err(reading),
            }
        };
        match tokio::time::timeout(self.patience, talk).await {
            Ok(Ok((answer, keep))) => {
                self.stream = keep.then_some(stream);
                Ok(answer)
            }
            Ok(Err(error)) => Err(HttpError::Broken(self.endpoint.authority(), error)),
            Err(_) => Err(HttpError::TooSlow(self.endpoint.authority(), self.patience)),
        }
    }

    pub(crate) fn head(&self, ask: &Ask<'_>) -> String {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", ask.method, ask.target, self.endpoint.authority());
        for (name, value) in ask.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = ask.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        head
    }
}

/// Whether the server had closed a kept connection before it saw the request.
fn closed_early(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}

pub(crate) fn not_http(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

pub(crate) async fn send(stream: &mut BufReader<TcpStream>, head: &str, body: &[u8]) -> Result<(), Error> {
    stream.get_mut().write_all(head.as_bytes()).await?;
    stream.get_mut().write_all(body).await?;
    stream.get_mut().flush().await
}

/// A line without its end. The end of the stream before the first byte is a connection that was closed.
pub(crate) async fn line(stream: &mut BufReader<TcpStream>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    (&mut *stream).take(LONGEST_LINE).read_until(b'\n', &mut bytes).await?;
    match bytes.pop() {
        Some(b'\n') => {}
        Some(_) => return Err(not_http("a line of the answer does not end")),
        None => return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| not_http("a line of the answer is not text"))
}

async fn read_headers(stream: &mut BufReader<TcpStream>) -> Result<Vec<(String, String)>, Error> {
    let mut headers = Vec::new();
    loop {
        let text = line(stream).await?;
        if text.is_empty() {
            return Ok(headers);
        }
        if headers.len() == MOST_LINES {
            return Err(not_http("the answer has too many headers"));
        }
        let (name, value) = text.split_once(':').ok_or_else(|| not_http("a header has no colon"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads one answer, and says whether the connection may be used again.
async fn read_answer(stream: &mut BufReader<TcpStream>, method: &str) -> Result<(Answer, bool), Error> {
    // A kept connection that the server had closed says so here: nothing of the answer has come yet.
    if stream.fill_buf().await?.is_empty() {
        return Err(Error::new(ErrorKind::ConnectionReset, "the server closed the connection"));
    }
    let (mut answer, is_old) = read_head(stream).await?;
    let bare = method == "HEAD" || answer.status == 204 || answer.status == 304;
    let ends = if bare { true } else { read_body(stream, &mut answer).await? };
    let close = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok((answer, ends && !close && !is_old))
}

/// Reads what comes before the body, and says whether it is HTTP/1.0.
pub(crate) async fn read_head(stream: &mut BufReader<TcpStream>) -> Result<(Answer, bool), Error> {
    loop {
        let first = line(stream).await?;
        let mut words = first.split(' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse::<u16>().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(not_http("the answer is not HTTP/1"));
        };
        let headers = read_headers(stream).await?;
        if (100..200).contains(&status) {
            continue;
        }
        let answer = Answer { status, headers, body: Vec::new(), took: Duration::ZERO };
        return Ok((answer, version == "HTTP/1.0"));
    }
}

/// Reads the body; false if only the end of the connection ended it.
pub(crate) async fn read_body(stream: &mut BufReader<TcpStream>, answer: &mut Answer) -> Result<bool, Error> {
    if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let text = line(stream).await?;
            let size = text.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| not_http("a chunk has no size"))?;
            if size == 0 {
                read_headers(stream).await?;
                return Ok(true);
            }
            read_exactly(stream, size, &mut answer.body).await?;
            line(stream).await?;
        }
    }
    if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(|_| not_http("the length of the answer is not a number"))?;
        read_exactly(stream, length, &mut answer.body).await?;
        return Ok(true);
    }
    (&mut *stream).take(LARGEST).read_to_end(&mut answer.body).await?;
    Ok(false)
}

async fn read_exactly(
    stream: &mut BufReader<TcpStream>,
    length: u64,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    if length > LARGEST.saturating_sub(into.len() as u64) {
        return Err(not_http("the answer is too large"));
    }
    let read = (&mut *stream).take(length).read_to_end(into).await?;
    if (read as u64) < length {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the answer was cut off"));
    }
    Ok(())
}

/// A value as it may stand in a URL's query.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len() * 2);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
