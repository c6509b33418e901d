//! `/api/overrides`: what a tenant sets for itself, with versions as in Tempo (`ETag`, `If-Match`).
//!
//! What must stay true: a tenant reaches its own settings only; nothing is replaced or deleted without the version that the
//! sender knows; a web page cannot change anything through its visitor's browser.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use trackway_common::TenantId;

use crate::answer::json;
use crate::context::ApiState;
use crate::error::{ApiError, TEXT, text};
use crate::ops::{self, only_from_here};
use crate::query_string::QueryString;

/// Where it is, behind the prefix.
pub(crate) const PATH: &str = "/api/overrides";
/// Bytes of a request at the most.
const BODY_MAX: usize = 1 << 20;
const SKIP_CHECK: &str = "skip-conflicting-overrides-check";

/// A tenant's own settings as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The document.
    pub json: Vec<u8>,
    /// Its version, for `ETag`.
    pub version: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnOverridesKind {
    /// The tenant has set nothing.
    NotFound,
    /// Another version is there than the sender knows.
    Changed,
    /// What was sent cannot be taken.
    Invalid,
    /// The store failed.
    Store,
}

/// Why a tenant's own settings were not read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OwnOverridesError {
    /// What is wrong.
    pub kind: OwnOverridesKind,
    /// What the sender is told.
    pub message: String,
}

impl OwnOverridesError {
    /// An error.
    pub fn new(kind: OwnOverridesKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A document, when it has been read or written.
pub type Document<'a> = BoxFuture<'a, Result<Stored, OwnOverridesError>>;

/// Where tenants' own settings are kept.
pub trait OwnOverrides: Send + Sync {
    /// What a tenant has set; with `merged`, over what the configuration says.
    fn get<'a>(&'a self, tenant: &'a TenantId, merged: bool) -> Document<'a>;

    /// Replaces the document of this version; `0` makes the first.
    fn set<'a>(
        &'a self,
        tenant: &'a TenantId,
        body: &'a [u8],
        version: &'a str,
        skip_check: bool,
    ) -> Document<'a>;

    /// Changes parts of it, by a JSON merge patch; of this version, if one is named.
    fn patch<'a>(
        &'a self,
        tenant: &'a TenantId,
        patch: &'a [u8],
        version: Option<&'a str>,
        skip_check: bool,
    ) -> Document<'a>;

    /// Deletes the document of this version.
    fn delete<'a>(
        &'a self,
        tenant: &'a TenantId,
        version: &'a str,
    ) -> BoxFuture<'a, Result<(), OwnOverridesError>>;
}

impl From<OwnOverridesError> for ApiError {
    fn from(error: OwnOverridesError) -> Self {
        let status = match error.kind {
            OwnOverridesKind::NotFound => StatusCode::NOT_FOUND,
            OwnOverridesKind::Changed => StatusCode::PRECONDITION_FAILED,
            OwnOverridesKind::Invalid => StatusCode::BAD_REQUEST,
            OwnOverridesKind::Store => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let end = if error.message.is_empty() { "" } else { "\n" };
        Self { status, ..Self::bad(error.message + end) }
    }
}

/// Answers `/api/overrides`.
pub(crate) async fn answer(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let Some(own) = state.admin.own_overrides() else { return Ok(ops::not_found().await) };
    let (ctx, _guard) = state.begin(request.headers())?;
    let [tenant] = ctx.tenants.as_slice() else {
        return Err(ApiError::bad("overrides are of one tenant each; name one in X-Scope-OrgID\n"));
    };
    let method = request.method().as_str().to_owned();
    let query = QueryString::parse(request.uri().query());
    if matches!(&*method, "GET" | "HEAD") {
        let merged = match query.get("scope") {
            "" | "api" => false,
            "merged" => true,
            other => {
                let why = format!("unknown scope \"{other}\", valid options are api and merged\n");
                return Err(ApiError::bad(why));
            }
        };
        let stored = state.within(own.get(tenant, merged)).await?;
        return Ok(with_version(json(stored.json), &stored.version));
    }
    only_from_here(request.headers())?;
    let known = if_match(request.headers());
    let known = known.as_deref();
    if matches!(&*method, "POST" | "DELETE") && known.is_none() {
        let why = "must specify If-Match header\n";
        return Err(ApiError { status: StatusCode::PRECONDITION_REQUIRED, ..ApiError::bad(why) });
    }
    let skip_check = is_true(query.get(SKIP_CHECK))
        .ok_or_else(|| ApiError::bad(format!("could not parse {SKIP_CHECK}, must be a boolean value\n")))?;
    match (&*method, known) {
        ("POST", Some(known)) => {
            let body = body_of(request).await?;
            let stored = state.within(own.set(tenant, &body, known, skip_check)).await?;
            Ok(with_version(text(StatusCode::OK, TEXT, ""), &stored.version))
        }
        ("PATCH", known) => {
            let body = body_of(request).await?;
            let stored = state.within(own.patch(tenant, &body, known, skip_check)).await?;
            Ok(with_version(json(stored.json), &stored.version))
        }
        ("DELETE", Some(known)) => {
            state.within(own.delete(tenant, known)).await?;
            Ok(text(StatusCode::OK, TEXT, ""))
        }
        _ => {
            let why = "GET shows overrides, POST replaces them, PATCH changes them, DELETE removes them\n";
            Ok(ApiError { status: StatusCode::METHOD_NOT_ALLOWED, ..ApiError::bad(why) }.into_response())
        }
    }
}

async fn body_of(request: Request) -> Result<axum::body::Bytes, ApiError> {
    axum::body::to_bytes(request.into_body(), BODY_MAX).await.map_err(|_| {
        ApiError::bad(format!("the request cannot be read, or has more than {BODY_MAX} bytes\n"))
    })
}

fn if_match(headers: &HeaderMap) -> Option<String> {
    let known = headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    (!known.is_empty()).then(|| known.to_owned())
}

/// As Go reads truth values.
fn is_true(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The version as Tempo sends it: without quotes.
fn with_version(mut response: Response, version: &str) -> Response {
    if let Ok(version) = HeaderValue::from_str(version) {
        response.headers_mut().insert(header::ETAG, version);
    }
    response
}
