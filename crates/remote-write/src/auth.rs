//! What a request shows of who sends it.
//!
//! What must stay true: an endpoint has one way of it at the most; files are read for every request, so that what is
//! rotated works; whatever shows up in a header is marked sensitive.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use reqwest::Url;
use tokio::io::AsyncReadExt;
use trackway_common::Secret;

use crate::endpoint::{Endpoint, OpenError, SigV4};

/// Most bytes of a file with a password or a token.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Amazon Managed Service for Prometheus.
const SERVICE: &str = "aps";

/// A text of the settings or of a file.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Fixed(Secret),
    File { key: &'static str, path: String },
}

/// How requests are authorized.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    None,
    Basic { username: Text, password: Text },
    Token { kind: String, token: Text },
    SigV4 { credential: Arc<AwsCredential>, region: String },
}

impl Auth {
    /// Checks the settings; no file is read.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, OpenError> {
        let mut ways = Vec::new();
        if let Some(basic) = &endpoint.basic_auth {
            let username = Secret::new(basic.username.clone());
            let username =
                text(["basic_auth.username", "basic_auth.username_file"], &username, &basic.username_file);
            let password = ["basic_auth.password", "basic_auth.password_file"];
            let password = text(password, &basic.password, &basic.password_file);
            ways.push(("basic_auth", Self::Basic { username: username?, password: password? }));
        }
        if let Some(authorization) = &endpoint.authorization {
            let keys = ["authorization.credentials", "authorization.credentials_file"];
            let kind = match authorization.kind.trim() {
                "" => "Bearer",
                kind if kind.eq_ignore_ascii_case("basic") => {
                    return Err(OpenError::new("authorization.type", "is Basic; write basic_auth instead"));
                }
                kind => kind,
            };
            let way = token(keys, kind, &authorization.credentials, &authorization.credentials_file)?;
            ways.push((
                "authorization",
                way.ok_or_else(|| {
                    OpenError::new(
                        "authorization",
                        "has neither credentials nor credentials_file; write one of them",
                    )
                })?,
            ));
        }
        let keys = ["bearer_token", "bearer_token_file"];
        if let Some(way) = token(keys, "Bearer", &endpoint.bearer_token, &endpoint.bearer_token_file)? {
            ways.push(("bearer_token", way));
        }
        if let Some(sigv4) = &endpoint.sigv4 {
            ways.push(("sigv4", signer(sigv4)?));
        }
        match ways.as_slice() {
            [(one, _), (other, _), ..] => {
                Err(OpenError::new(*other, format!("stands beside {one}; keep one of them")))
            }
            _ => Ok(ways.pop().map_or(Self::None, |(_, way)| way)),
        }
    }

    /// Adds the header to a request's; `Err` says which file cannot be read or used.
    ///
    /// A header `Authorization` that is there already stays, but for a signature.
    pub(crate) async fn apply(&self, url: &Url, headers: &mut HeaderMap, body: &Bytes) -> Result<(), String> {
        if headers.contains_key(AUTHORIZATION) && !matches!(self, Self::SigV4 { .. }) {
            return Ok(());
        }
        let shown = match self {
            Self::None => return Ok(()),
            Self::SigV4 { credential, region } => return sign(credential, region, url, headers, body),
            Self::Basic { username, password } => {
                let pair = format!("{}:{}", username.read().await?, password.read().await?);
                format!("Basic {}", STANDARD.encode(pair))
            }
            Self::Token { kind, token } => format!("{kind} {}", token.read().await?),
        };
        let mut value = HeaderValue::try_from(shown).map_err(|_| match self {
            Self::Token { token: Text::File { key, path }, .. } => {
                format!("{key}: {path} has more than one line")
            }
            _ => "the header Authorization cannot be written".to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

impl Text {
    async fn read(&self) -> Result<String, String> {
        let (key, path) = match self {
            Self::Fixed(secret) => return Ok(secret.expose().to_owned()),
            Self::File { key, path } => (key, path),
        };
        let failed = |error: std::io::Error| format!("{key}: {path}: {error}");
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).await.map_err(failed)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("{key}: {path} is larger than {MAX_FILE_BYTES} bytes"));
        }
        Ok(text.trim().to_owned())
    }
}

/// One of a text and a file with it; neither is an empty text.
fn text([key, file_key]: [&'static str; 2], fixed: &Secret, file: &str) -> Result<Text, OpenError> {
    match (fixed.is_empty(), file.is_empty()) {
        (false, false) => Err(OpenError::new(file_key, format!("stands beside {key}; keep one of them"))),
        (true, false) => Ok(Text::File { key: file_key, path: file.to_owned() }),
        _ => Ok(Text::Fixed(fixed.clone())),
    }
}

fn token(keys: [&'static str; 2], kind: &str, fixed: &Secret, file: &str) -> Result<Option<Auth>, OpenError> {
    let token = text(keys, fixed, file)?;
    if fixed.is_empty() && file.is_empty() {
        return Ok(None);
    }
    if HeaderValue::from_str(kind).is_err() {
        return Err(OpenError::new("authorization.type", "cannot stand in a header; write one word"));
    }
    if HeaderValue::from_str(fixed.expose()).is_err() {
        return Err(OpenError::new(keys[0], "cannot stand in a header; is there a line break in it?"));
    }
    Ok(Some(Auth::Token { kind: kind.to_owned(), token }))
}

fn signer(sigv4: &SigV4) -> Result<Auth, OpenError> {
    let failed = |key: &str, problem: &str| Err(OpenError::new(format!("sigv4.{key}"), problem));
    let out = "write access_key and secret_key, or send through a proxy that signs (aws-sigv4-proxy)";
    if !sigv4.role_arn.is_empty() {
        return failed("role_arn", &format!("roles are not assumed here; {out}"));
    }
    if !sigv4.profile.is_empty() {
        return failed("profile", &format!("AWS' files are not read here; {out}"));
    }
    if sigv4.region.is_empty() {
        return failed("region", "is empty; write the region of the workspace, such as eu-central-1");
    }
    if sigv4.access_key.is_empty() || sigv4.secret_key.is_empty() {
        let key = if sigv4.access_key.is_empty() { "access_key" } else { "secret_key" };
        return failed(key, &format!("is empty, and no other place is asked for keys; {out}"));
    }
    // Both end up in the header.
    for (key, value) in [("region", &sigv4.region), ("access_key", &sigv4.access_key)] {
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return failed(key, "cannot stand in a header; is there a blank or a line break in it?");
        }
    }
    let credential = AwsCredential {
        key_id: sigv4.access_key.clone(),
        secret_key: sigv4.secret_key.expose().to_owned(),
        token: None,
    };
    Ok(Auth::SigV4 { credential: credential.into(), region: sigv4.region.clone() })
}

/// Signs the address, the body and its type; other headers may be changed on the way.
fn sign(
    credential: &AwsCredential,
    region: &str,
    url: &Url,
    headers: &mut HeaderMap,
    body: &Bytes,
) -> Result<(), String> {
    let failed = |error: String| format!("sigv4: {error}");
    let mut request = HttpRequest::new(body.clone().into());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() =
        url.as_str().parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        request.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    let signer = AwsAuthorizer::new(credential, SERVICE, region);
    signer.try_authorize(&mut request, None).map_err(|error| failed(error.to_string()))?;
    for (name, value) in request.headers() {
        let mut value = value.clone();
        value.set_sensitive(name == AUTHORIZATION);
        headers.insert(name, value);
    }
    Ok(())
}
