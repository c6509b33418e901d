//! How errors are told: one table from [`ErrorKind`] to HTTP and gRPC. The body is the text alone, which is what
//! Tempo's clients show.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tonic::{Code, Status};
use trackway_common::ErrorKind;
use trackway_querier::service::QueryError;

/// What Go's `http.Error` says of a text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// When to come back after a 429, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl ApiError {
    /// The question itself is wrong.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: Code::InvalidArgument, text: text.into() }
    }

    /// Nobody said who asks.
    pub(crate) fn unauthorized(text: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code: Code::Unauthenticated, text: text.into() }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let (status, code) = match error.kind {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            ErrorKind::TooLarge => (StatusCode::UNPROCESSABLE_ENTITY, Code::ResourceExhausted),
            ErrorKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            ErrorKind::Cancelled => {
                (StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST), Code::Cancelled)
            }
            ErrorKind::Deadline => (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
            ErrorKind::Unsupported => (StatusCode::BAD_REQUEST, Code::Unimplemented),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        };
        Self { status, code, text: error.message }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        Self::new(error.code, error.text)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = text(self.status, TEXT, self.text);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

/// Any answer.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_statuses() {
        for (kind, status, code) in [
            (ErrorKind::Invalid, 400, Code::InvalidArgument),
            (ErrorKind::NotFound, 404, Code::NotFound),
            (ErrorKind::TooLarge, 422, Code::ResourceExhausted),
            (ErrorKind::Exhausted, 429, Code::ResourceExhausted),
            (ErrorKind::Unavailable, 503, Code::Unavailable),
            (ErrorKind::Cancelled, 499, Code::Cancelled),
            (ErrorKind::Deadline, 504, Code::DeadlineExceeded),
            (ErrorKind::Unsupported, 400, Code::Unimplemented),
            (ErrorKind::Internal, 500, Code::Internal),
        ] {
            let error = ApiError::from(QueryError::new(kind, "why"));
            assert_eq!((error.status.as_u16(), error.code), (status, code));
            let response = error.into_response();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 429);
        }
    }
}
