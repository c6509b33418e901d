//! OTLP over HTTP: `POST /v1/traces` with protobuf or JSON, compressed or not.
//!
//! What must stay true: statuses, content types and texts are those that a Collector's receiver gives.

use std::sync::Arc;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use trackway_common::ErrorKind;
use trackway_distributor::PushError;

use crate::answer::{http_error, http_success, respond};
use crate::body::{Encoding, Format, decode, too_large};
use crate::cors;
use crate::export::{Batch, Transport, push};
use crate::meter::{Broken, Meter, Metered};
use crate::route::Door;

/// The one path.
const TRACES: &str = "/v1/traces";
/// From here on, decompression and conversion are moved off the threads that serve connections: some milliseconds.
const LARGE: usize = 64 << 10;

/// Answers any HTTP request that is not gRPC.
pub(crate) async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let is_post = parts.method == Method::POST;
    if parts.uri.path() != TRACES {
        let hint = is_post && parts.uri.path() == "/";
        let text = if hint { "404 page not found: the path is /v1/traces\n" } else { "404 page not found\n" };
        return respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text);
    }
    if cors::is_preflight(&parts.method, &parts.headers) {
        let setting = "distributor.receivers.otlp.protocols.http.cors.allowed_origins";
        return cors::preflight(&door.config.cors, &parts.headers, &door.origins_refused, setting);
    }
    let mut response = if is_post {
        traces(&door, &parts.headers, body).await
    } else {
        let text = "405 method not allowed, supported: [POST]";
        respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", text)
    };
    cors::allow(&door.config.cors, &parts.headers, &mut response);
    response
}

async fn traces(door: &Door, headers: &HeaderMap, body: Incoming) -> Response<Body> {
    let Some(format) = headers.get(CONTENT_TYPE).and_then(|name| Format::parse(name.as_bytes())) else {
        let text = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
        return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", text);
    };
    let answer = async {
        let (memory, limit) = (&door.config.memory, door.config.max_body_bytes);
        // Held until the push is done.
        let meter = Meter::new(memory, headers, format == Format::Json, limit).await?;
        let batch = receive(door, headers, (body, &meter), format).await?;
        push(door, headers, Transport::Http, batch).await
    };
    match answer.await {
        Ok(answer) => http_success(&answer, format),
        Err(error) => http_error(&error, format),
    }
}

async fn receive(
    door: &Door,
    headers: &HeaderMap,
    (body, meter): (Incoming, &Meter),
    format: Format,
) -> Result<Batch, PushError> {
    let encoding = Encoding::parse(headers)?;
    let limit = door.config.max_body_bytes;
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let body = read(meter.body(body, |broken| broken), limit).await?;
    let as_it_is = matches!((encoding, format), (Encoding::Identity, Format::Protobuf(_)));
    if body.len() < LARGE || as_it_is {
        return decode(body, encoding, format, limit, meter);
    }
    let meter = meter.clone();
    let decoded = tokio::task::spawn_blocking(move || decode(body, encoding, format, limit, &meter)).await;
    decoded.unwrap_or_else(|error| Err(PushError::new(ErrorKind::Internal, error.to_string())))
}

/// Reads a body of at most so many bytes.
pub(crate) async fn read(body: Metered<Broken>, limit: usize) -> Result<Bytes, PushError> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) => match error.downcast::<Broken>() {
            Ok(broken) => Err((*broken).into()),
            Err(error) => {
                Err(PushError::new(ErrorKind::Invalid, format!("the body could not be read: {error}")))
            }
        },
    }
}
