//! Which web pages may send spans. Browsers ask first (a preflight), because of the content type.
//!
//! What must stay true: a page that was not allowed gets no header that would let its browser go on. One that was allowed
//! may send with credentials, as the Collector allows it: `navigator.sendBeacon` does so always, and cookies mean nothing here.
//! Pages of this machine are allowed where only this machine can connect and nothing else is set.

use std::net::IpAddr;
use trackway_common::Seldom;

use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use ::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use axum::body::Body;

use crate::CorsConfig;
use crate::answer::respond;

/// Headers that every page may send; what OTLP needs, and the Collector's defaults.
const ALWAYS: &str = "Origin, Accept, Content-Type, X-Requested-With";

/// Whether this is a browser's question before the request proper.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight.
/// `setting` is the one that would allow a page.
pub(crate) fn preflight(
    config: &CorsConfig,
    headers: &HeaderMap,
    refused: &Seldom,
    setting: &str,
) -> Response<Body> {
    let Some(origin) = headers.get(ORIGIN) else { return respond(StatusCode::NO_CONTENT, "text/plain", "") };
    if !allows(config, origin) {
        let text =
            format!("origin {} refused; allow it in {setting}", String::from_utf8_lossy(origin.as_bytes()));
        if refused.due() {
            tracing::warn!("{text}");
        }
        return respond(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text + "\n");
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let out = response.headers_mut();
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    out.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(config, headers));
    if !config.max_age.is_zero() {
        out.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(config.max_age.as_secs()));
    }
    allow(config, headers, &mut response);
    response
}

/// Lets the page read an answer, if it may.
pub(crate) fn allow(config: &CorsConfig, request: &HeaderMap, response: &mut Response<Body>) {
    let Some(origin) = request.get(ORIGIN).filter(|origin| allows(config, origin)) else { return };
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    let exposed = HeaderValue::from_str(&config.exposed_headers.join(", "));
    if let Some(exposed) = exposed.ok().filter(|exposed| !exposed.is_empty()) {
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn allows(config: &CorsConfig, origin: &HeaderValue) -> bool {
    config.allowed_origins.iter().any(|pattern| matches(pattern.as_bytes(), origin.as_bytes()))
        || (config.loopback && is_loopback(origin))
}

/// Whether the page is one of this machine: `http://localhost:5173`, `http://127.0.0.1`, `http://[::1]:8080`.
fn is_loopback(origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let scheme = origin.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let Some(host) = origin.host().filter(|_| scheme && origin.path() == "/") else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares as browsers spell origins, without regard to case; one `*` stands for any text.
fn matches(pattern: &[u8], origin: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern.eq_ignore_ascii_case(origin),
        Some(star) => {
            let (before, after) = (&pattern[..star], &pattern[star + 1..]);
            origin.len() >= before.len() + after.len()
                && origin[..before.len()].eq_ignore_ascii_case(before)
                && origin[origin.len() - after.len()..].eq_ignore_ascii_case(after)
        }
    }
}

fn allowed_headers(config: &CorsConfig, request: &HeaderMap) -> HeaderValue {
    let always = HeaderValue::from_static(ALWAYS);
    if config.loopback || config.allowed_headers.iter().any(|name| name == "*") {
        return request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(always);
    }
    let names = std::iter::once(ALWAYS).chain(config.allowed_headers.iter().map(String::as_str));
    HeaderValue::from_str(&names.collect::<Vec<_>>().join(", ")).unwrap_or(always)
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::{is_loopback, matches};

    #[test]
    fn pages_of_this_machine_are_known_by_their_host() {
        for (origin, local) in [
            ("http://localhost:5173", true),
            ("https://LOCALHOST", true),
            ("http://app.localhost:80", true),
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://evil@localhost.example", false),
            ("http://notlocalhost", false),
            ("http://[::2]", false),
            ("http://localhost/path", false),
            ("file://localhost", false),
            ("null", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(&HeaderValue::from_str(origin).unwrap()), local, "{origin}");
        }
    }

    #[test]
    fn origins_match_with_one_star() {
        assert!(matches(b"*", b"http://a"));
        assert!(matches(b"http://localhost:*", b"http://LOCALHOST:5173"));
        assert!(matches(b"https://*.shop.example", b"https://www.shop.example"));
        assert!(!matches(b"https://*.shop.example", b"https://shop.example"));
        assert!(!matches(b"http://a", b"http://ab"));
        assert!(!matches(b"aa*aa", b"aaa"));
    }
}
