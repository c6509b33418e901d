//! Sends OTLP over HTTP, as an OpenTelemetry SDK does: `POST /v1/traces` with protobuf.
//!
//! What must stay true: every span of a request is accounted for, as accepted, rejected, or in the error; and an error
//! says in one line what to do about it.

use std::fmt;
use std::time::Duration;

use trackway_spans::wire::{Field, Reader, WireError};
use trackway_tls::TlsConfig;

use crate::http::{Answer, Ask, HttpClient, HttpError};
use crate::otlp::count_spans;

/// The port of OTLP over HTTP.
pub const OTLP_HTTP_PORT: u16 = 4318;
const TRACES: &str = "/v1/traces";

/// An endpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Something else than host, port and path.
    #[error("{0:?} is not an endpoint; give host:port, as 127.0.0.1:4318")]
    Malformed(String),
}

/// Where a server listens: host, port and what comes before the paths of its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    host: String,
    port: u16,
    base: String,
}

impl Endpoint {
    /// Reads `host`, `host:port` or a URL; `port` is taken where none is given.
    pub fn parse(text: &str, port: u16) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let (https, rest) = match text.trim().split_once("://") {
            None => (false, text.trim()),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(malformed()),
        };
        let (authority, path) =
            rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (host, given) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(malformed)?;
                (
                    host,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or_else(malformed)?)
                    },
                )
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || authority.contains(['@', ' ', '?', '#']) || path.contains([' ', '?', '#']) {
            return Err(malformed());
        }
        let port = given.map_or(Ok(port), |digits| digits.parse().map_err(|_| malformed()))?;
        let path = path.trim_end_matches('/');
        let base = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { https, host: host.to_owned(), port, base })
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// What comes before the paths of its API: nothing, or `/path`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `http://host:port` or `https://host:port`.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.base)
    }
}

/// What became of the spans of one request that was answered with success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// So many spans were taken.
    pub accepted: u64,
    /// So many were not, and never will be.
    pub rejected: u64,
    /// What the server said about it; empty most of the time.
    pub message: String,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The endpoint is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server cannot take it now.
    #[error("the server is busy ({status}): {message}")]
    Busy {
        /// 429, 502, 503 or 504.
        status: u16,
        /// What it said.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server does not want it.
    #[error("the server refused the spans ({status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The request, or the answer, is not OTLP.
    #[error("not OTLP: {0}")]
    NotOtlp(#[from] WireError),
}

impl SendError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Http(HttpError::Broken(..) | HttpError::TooSlow(..)))
    }
}

/// Sends spans over one kept connection.
#[derive(Debug)]
pub struct OtlpHttpClient {
    http: HttpClient,
    target: String,
}

impl OtlpHttpClient {
    /// Connects to `host`, `host:port` or a URL, on port 4318 unless it says otherwise; `/v1/traces` is added if it is
    /// not there.
    pub async fn connect(endpoint: &str) -> Result<Self, SendError> {
        Self::connect_with(endpoint, &TlsConfig::default()).await
    }

    /// The same with these settings of TLS, which count when the URL begins with `https`.
    pub async fn connect_with(endpoint: &str, tls: &TlsConfig) -> Result<Self, SendError> {
        let endpoint = Endpoint::parse(endpoint, OTLP_HTTP_PORT)?;
        let target = if endpoint.base.ends_with(TRACES) {
            endpoint.base.clone()
        } else {
            format!("{}{TRACES}", endpoint.base)
        };
        Ok(Self { http: HttpClient::connect_with(endpoint, tls).await?, target })
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> &Endpoint {
        self.http.endpoint()
    }

    /// Sends one encoded `ExportTraceServiceRequest`.
    pub async fn send(&mut self, request: &[u8]) -> Result<SendOutcome, SendError> {
        let spans = count_spans(request)?;
        let headers = [("Content-Type", "application/x-protobuf"), ("User-Agent", "trackway-loadgen")];
        let ask = Ask { method: "POST", target: &self.target, headers: &headers, body: Some(request) };
        let answer = self.http.ask(&ask).await?;
        match answer.status {
            200..=299 => {
                let (rejected, message) = partial_success(&answer)?;
                let rejected = rejected.min(spans);
                Ok(SendOutcome { accepted: spans - rejected, rejected, message })
            }
            status @ (429 | 502 | 503 | 504) => {
                let wait = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
                let retry_after = wait.map(Duration::from_secs);
                Err(SendError::Busy { status, message: complaint(&answer), retry_after })
            }
            status => Err(SendError::Refused { status, message: complaint(&answer) }),
        }
    }
}

fn is_protobuf(answer: &Answer) -> bool {
    answer.header("content-type").is_some_and(|kind| kind.starts_with("application/x-protobuf"))
}

/// `ExportTraceServiceResponse.partial_success`: rejected spans and why.
fn partial_success(answer: &Answer) -> Result<(u64, String), WireError> {
    let (mut rejected, mut message) = (0, String::new());
    if !is_protobuf(answer) {
        return Ok((rejected, message));
    }
    let mut outer = Reader::new(&answer.body);
    while let Some((number, field)) = outer.next_field()? {
        let (1, Field::Bytes(bytes)) = (number, field) else { continue };
        let mut inner = Reader::new(bytes);
        while let Some((number, field)) = inner.next_field()? {
            match (number, field) {
                (1, Field::Varint(spans)) => rejected = spans,
                (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
    }
    Ok((rejected, message))
}

/// The message of an error: `google.rpc.Status` in protobuf, or whatever text there is.
fn complaint(answer: &Answer) -> String {
    if !is_protobuf(answer) {
        return answer.text();
    }
    let mut fields = Reader::new(&answer.body);
    while let Ok(Some((number, field))) = fields.next_field() {
        if let (2, Field::Bytes(text)) = (number, field) {
            return String::from_utf8_lossy(text).into_owned();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests;
