//! How errors are told: one table from [`ErrorKind`] to gRPC and HTTP, and `google.rpc.Status` in each form.
//!
//! What must stay true: a sender is told to retry (429, 503, RetryInfo) exactly when a retry can help; but a request
//! larger than the burst gets 429 as from Tempo, without a time to come back.

use ::http::{HeaderValue, Response, StatusCode, header};
use axum::body::Body;
use bytes::Bytes;
use prost::Message;
use tonic::Code;
use trackway_common::ErrorKind;
use trackway_distributor::PushError;
use trackway_otlpjson::json::{Object, write_string};
use trackway_proto::collector::ExportTraceServiceResponse;
use trackway_proto::rpc;

use crate::body::Format;

/// The gRPC code for an error.
fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::TooLarge | ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Deadline => Code::DeadlineExceeded,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    }
}

/// The HTTP status for an error, as the Collector's receiver maps the codes. 413 is ours: OTLP senders do not retry
/// it, and a batch that is too large will not shrink.
fn http_status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::Deadline => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error over gRPC, with the time to come back where there is one.
pub(crate) fn grpc_status(error: &PushError) -> tonic::Status {
    let code = code(error.kind);
    let Some(wait) = error.retry_after else { return tonic::Status::new(code, error.message.as_str()) };
    let retry_info = rpc::RetryInfo {
        retry_delay: Some(rpc::Duration {
            seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(wait.subsec_nanos()).unwrap_or_default(),
        }),
    };
    let status = rpc::Status {
        code: code as i32,
        message: error.message.clone(),
        details: vec![rpc::Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: retry_info.encode_to_vec().into(),
        }],
    };
    tonic::Status::with_details(code, error.message.as_str(), status.encode_to_vec().into())
}

/// The error over HTTP, in the format of the request.
pub(crate) fn http_error(error: &PushError, format: Format) -> Response<Body> {
    let code = code(error.kind) as i32;
    let body = match format {
        Format::Protobuf(_) => {
            rpc::Status { code, message: error.message.clone(), details: vec![] }.encode_to_vec()
        }
        Format::Json => {
            let mut out = Vec::new();
            let mut object = Object::begin(&mut out);
            object.key("code").extend_from_slice(code.to_string().as_bytes());
            write_string(object.key("message"), &error.message);
            object.end();
            out
        }
    };
    let response = respond(http_status(error.kind), format.content_type(), body);
    with_retry_after(error, response)
}

/// The error over HTTP as a line of text, for those who do not speak OTLP.
pub(crate) fn http_text(error: &PushError) -> Response<Body> {
    let text = format!("{}\n", error.message);
    with_retry_after(error, respond(http_status(error.kind), "text/plain; charset=utf-8", text))
}

fn with_retry_after(error: &PushError, mut response: Response<Body>) -> Response<Body> {
    if let Some(wait) = error.retry_after {
        let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Success over HTTP.
pub(crate) fn http_success(answer: &ExportTraceServiceResponse, format: Format) -> Response<Body> {
    let body = match format {
        Format::Protobuf(_) => answer.encode_to_vec(),
        Format::Json => {
            let mut out = Vec::new();
            let mut object = Object::begin(&mut out);
            let mut partial = Object::begin(object.key("partialSuccess"));
            if let Some(said) = &answer.partial_success
                && said.rejected_spans > 0
            {
                write_string(partial.key("rejectedSpans"), said.rejected_spans.to_string());
                write_string(partial.key("errorMessage"), &said.error_message);
            }
            partial.end();
            object.end();
            out
        }
    };
    respond(StatusCode::OK, format.content_type(), body)
}

/// Any answer.
pub(crate) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
