//! One endpoint over HTTP: a request goes out, and its answer is told apart into taken, later, and never.
//!
//! What must stay true: a request is sent once for each call (and once more for each redirect); no secret goes to
//! another host than the endpoint's, nor into a message.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Url;
use reqwest::redirect::Policy;
use trackway_common::Random;
use trackway_tls::{TlsError, client_config};

use crate::answer::{Answer, MAX_ANSWER, SAMPLES, SendError, Sent, readable, retry_after, spread};
use crate::auth::Auth;
use crate::encode::{Encoder, Request};
use crate::endpoint::{Endpoint, OpenError};
use crate::series::Protocol;

/// Most redirects that are followed for one request.
pub const MAX_REDIRECTS: usize = 10;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("trackway/", env!("CARGO_PKG_VERSION")));
const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");
/// Headers that are the protocol's or the connection's.
const RESERVED: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-prometheus-remote-write-version",
];

/// Sends to one endpoint; connections are kept.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    auth: Auth,
    pinned: Option<Protocol>,
    follow_redirects: bool,
    timeout: Duration,
    random: Arc<dyn Random>,
}

impl Client {
    /// Checks the settings and reads certificates; nothing is connected. `random` spreads what receivers put off, so
    /// that not all come back at once.
    ///
    /// # Errors
    /// [`OpenError`], which names the setting.
    pub fn open(endpoint: &Endpoint, random: Arc<dyn Random>) -> Result<Self, OpenError> {
        let url = address(&endpoint.url)?;
        let auth = Auth::open(endpoint)?;
        let mut headers = custom(endpoint)?;
        if endpoint.remote_timeout.is_zero() {
            return Err(OpenError::new(
                "remote_timeout",
                "is 0; write how long a request may take, such as 30s",
            ));
        }
        let tls = client_config(&endpoint.tls).map_err(of_tls)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(endpoint.remote_timeout)
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(|error| OpenError::new("url", innermost(&error)))?;
        // A user and a password in the address become a header, which the library does.
        let mut plain = http.post(url).build().map_err(|error| OpenError::new("url", innermost(&error)))?;
        if let (Auth::None, Some(user)) = (&auth, plain.headers_mut().remove(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, user);
        }
        let url = plain.url().clone();
        Ok(Self {
            http,
            url,
            headers,
            auth,
            pinned: endpoint.protobuf_message,
            follow_redirects: endpoint.follow_redirects,
            timeout: endpoint.remote_timeout,
            random,
        })
    }

    /// Which protocol the receiver takes: as it is set, else it is asked, with an empty request of 2.0. `headers` are
    /// those of [`Self::send`]; a receiver may refuse whoever names no tenant.
    ///
    /// # Errors
    /// [`SendError::Retry`] when the receiver does not tell, or takes nothing from us.
    pub async fn negotiate(&self, headers: &[(HeaderName, HeaderValue)]) -> Result<Protocol, SendError> {
        if let Some(protocol) = self.pinned {
            return Ok(protocol);
        }
        let empty = Encoder::new(Protocol::V2).finish();
        let answer = self.post(&empty, headers).await?;
        match answer.status.as_u16() {
            // One of 1.0 may not look at the type: it reads nothing in the request, and is content.
            200..=299 if answer.headers.contains_key(SAMPLES) => Ok(Protocol::V2),
            200..=299 => Ok(Protocol::V1),
            401 | 403 | 407 | 429 => Err(self.later(&answer)),
            400..=499 => Ok(Protocol::V1),
            _ => Err(self.later(&answer)),
        }
    }

    /// Sends a request. `headers` go over the endpoint's own ones, but for those of the protocol.
    ///
    /// # Errors
    /// [`SendError`], which says whether to try again.
    pub async fn send(
        &self,
        request: &Request,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Sent, SendError> {
        let answer = self.post(request, headers).await?;
        let code = answer.status.as_u16();
        match code {
            200..=299 => self.taken(request, &answer),
            429 | 500..=599 => Err(self.later(&answer)),
            415 if request.protocol == Protocol::V2 && self.pinned.is_none() => Err(SendError::Unsupported),
            _ => Err(SendError::Rejected { status: code, message: self.tell(&answer) }),
        }
    }

    /// What was written, as far as the receiver says so.
    fn taken(&self, request: &Request, answer: &Answer) -> Result<Sent, SendError> {
        let sent = Sent::read(&answer.headers);
        let says_nothing = request.protocol == Protocol::V2 && sent == Sent::default();
        if !says_nothing || request.samples + request.histograms == 0 {
            return Ok(sent);
        }
        // It read nothing in the request: one of 1.0 that does not look at the type.
        if self.pinned.is_none() {
            return Err(SendError::Unsupported);
        }
        let message = format!(
            "{} took {} without saying what it wrote: it seems to know 1.0 only; set protobuf_message: {}",
            shown(&self.url),
            Protocol::V2,
            Protocol::V1
        );
        Err(SendError::Rejected { status: answer.status.as_u16(), message })
    }

    fn later(&self, answer: &Answer) -> SendError {
        let after = retry_after(&answer.headers).map(|wait| spread(wait, &*self.random));
        SendError::Retry { after, status: Some(answer.status.as_u16()), message: self.tell(answer) }
    }

    /// An answer in a sentence.
    fn tell(&self, answer: &Answer) -> String {
        let mut told = format!("{} answers {}", shown(&self.url), answer.status);
        if !answer.text.is_empty() {
            told = format!("{told}: {}", answer.text);
        }
        if answer.status.is_redirection()
            && let Some(place) = location(&self.url, &answer.headers)
        {
            told = format!("{told}; it is at {}: write that into url", shown(&place));
        }
        if answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE && self.pinned == Some(Protocol::V2) {
            told = format!("{told}; does it take protobuf_message: {}?", Protocol::V1);
        }
        told
    }

    /// Sends a request, and again where the receiver says that it is.
    async fn post(
        &self,
        request: &Request,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, SendError> {
        let mut headers = self.headers.clone();
        for (name, value) in extra {
            headers.insert(name, guarded(name, value.clone()));
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.protocol.content_type()));
        headers.insert(VERSION, HeaderValue::from_static(request.protocol.version()));
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.post_to(&url, &headers, &request.body).await?;
            match self.next(&url, &answer) {
                Some(place) => url = place,
                None => return Ok(answer),
            }
        }
        Err(SendError::retry(format!("{} leads through {MAX_REDIRECTS} redirects", shown(&self.url))))
    }

    /// Where a request goes next, when that keeps it a request: other redirects turn it into a question.
    fn next(&self, url: &Url, answer: &Answer) -> Option<Url> {
        let keeps = matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let place = location(url, &answer.headers).filter(|_| keeps && self.follow_redirects)?;
        let is_worse = url.scheme() == "https" && place.scheme() != "https";
        (matches!(place.scheme(), "http" | "https") && !is_worse).then_some(place)
    }

    /// One request to one place; another host or port than the endpoint's learns no secret.
    async fn post_to(&self, url: &Url, headers: &HeaderMap, body: &Bytes) -> Result<Answer, SendError> {
        let mut headers = headers.clone();
        let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
        if place(url) == place(&self.url) {
            self.auth.apply(url, &mut headers, body).await.map_err(SendError::retry)?;
        } else {
            headers = headers
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .filter(|(_, value)| !value.is_sensitive())
                .collect();
        }
        let failed = |error: reqwest::Error| {
            let shown = shown(url);
            SendError::retry(if error.is_timeout() {
                format!("{shown} does not answer within {:?} (remote_timeout)", self.timeout)
            } else if error.is_connect() {
                format!("cannot connect to {shown}: {}", innermost(&error))
            } else {
                format!("{shown}: {}", innermost(&error))
            })
        };
        let secrets = headers.clone();
        let call = self.http.post(url.clone()).headers(headers).body(body.clone());
        let mut answer = call.send().await.map_err(failed)?;
        let status = answer.status();
        let mut read = Vec::new();
        while read.len() <= MAX_ANSWER {
            match answer.chunk().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                // When it breaks off, the status is there still, and counts.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Answer { status, headers: std::mem::take(answer.headers_mut()), text: readable(&read, &secrets) })
    }
}

/// The address, when requests can go there.
fn address(text: &str) -> Result<Url, OpenError> {
    let failed = |problem: &str| OpenError::new("url", problem);
    let hint = "write an address such as http://prometheus:9090/api/v1/write";
    if text.is_empty() {
        return Err(failed(&format!("is empty; {hint}")));
    }
    // Not shown: there may be a password in it.
    let url = Url::parse(text).map_err(|error| failed(&format!("is no address ({error}); {hint}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(failed(&format!("is neither http nor https; {hint}")));
    }
    Ok(url)
}

/// A value that no message shows and no other host gets, unless it says only whose data it is.
fn guarded(name: &HeaderName, mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(*name != TENANT);
    value
}

/// The headers of the settings.
fn custom(endpoint: &Endpoint) -> Result<HeaderMap, OpenError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let failed = |problem: &str| OpenError::new(format!("headers.{name}"), problem);
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) {
            return Err(failed("is the protocol's own header; leave it out"));
        }
        if lower == "authorization" {
            return Err(failed("is not set this way; use authorization, basic_auth or sigv4"));
        }
        let key = HeaderName::try_from(lower).map_err(|_| failed("is no name of a header"))?;
        let value = HeaderValue::try_from(value.expose())
            .map_err(|_| failed("cannot stand in a header; is there a line break in it?"))?;
        let value = guarded(&key, value);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// A problem of TLS, by the name that the setting has here.
fn of_tls(error: TlsError) -> OpenError {
    let key = match error.key.strip_prefix("tls_").unwrap_or(error.key) {
        "ca_path" => "ca_file",
        "cert_path" => "cert_file",
        "key_path" => "key_file",
        other => other,
    };
    OpenError::new(format!("tls_config.{key}"), error.problem)
}

/// An address for messages: no user, no parameters.
fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn location(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let mut place = url.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    // Whoever answers does not choose as whom we come.
    place.set_username("").ok()?;
    place.set_password(None).ok()?;
    Some(place)
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}
