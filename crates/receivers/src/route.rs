//! Which protocol a request speaks: gRPC by its content type, else HTTP.

use std::sync::Arc;
use trackway_common::Seldom;

use ::http::header::CONTENT_TYPE;
use ::http::{Request, Response};
use axum::body::Body;
use hyper::body::Incoming;
use trackway_distributor::Push;

use crate::{OtlpConfig, grpc, http};

/// What every request on a port shares.
pub(crate) struct Door {
    pub(crate) config: OtlpConfig,
    pub(crate) push: Arc<dyn Push>,
    /// Warnings about refused pages.
    pub(crate) origins_refused: Seldom,
}

impl Door {
    pub(crate) fn new(config: OtlpConfig, push: Arc<dyn Push>) -> Self {
        Self { config, push, origins_refused: Seldom::default() }
    }
}

/// Answers a request.
pub(crate) async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|name| name.as_bytes().starts_with(b"application/grpc")) {
        grpc::answer(door, request).await
    } else {
        http::answer(door, request).await
    }
}
