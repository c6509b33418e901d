//! In which form an answer is wanted, and putting it in that form.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use prost::Message;
use trackway_querier::service::Completeness;

use crate::error::text;

/// Says of an answer over HTTP that something is missing from it, where its JSON has no place for that.
const COMPLETENESS: HeaderName = HeaderName::from_static("x-trackway-completeness");
const JSON: &str = "application/json";
pub(crate) const PROTOBUF: &str = "application/protobuf";
const LLM: &str = "application/vnd.grafana.llm";

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
    Llm,
}

/// What the asker accepts, looked for in Tempo's order.
pub(crate) fn form(headers: &HeaderMap) -> Form {
    let accepts = |name: &str| {
        let mut values = headers.get_all(header::ACCEPT).iter();
        values.any(|value| value.to_str().is_ok_and(|value| value.contains(name)))
    };
    match () {
        () if accepts(PROTOBUF) => Form::Protobuf,
        () if accepts(JSON) => Form::Json,
        () if accepts(LLM) => Form::Llm,
        () => Form::Json,
    }
}

/// An answer in JSON.
pub(crate) fn json(body: Vec<u8>) -> Response {
    text(StatusCode::OK, JSON, Body::from(body))
}

/// An answer for language models.
pub(crate) fn llm(body: Vec<u8>) -> Response {
    text(StatusCode::OK, "application/vnd.grafana.llm+json", Body::from(body))
}

/// An answer in protobuf.
pub(crate) fn protobuf(message: &impl Message) -> Response {
    text(StatusCode::OK, PROTOBUF, Body::from(message.encode_to_vec()))
}

/// An answer in protobuf that is encoded already.
pub(crate) fn protobuf_bytes(message: impl Into<Body>) -> Response {
    text(StatusCode::OK, PROTOBUF, message)
}

/// Says what is missing, if anything is.
pub(crate) fn mark(mut response: Response, completeness: &Completeness) -> Response {
    if let Completeness::Partial(why) = completeness {
        let line: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let value = HeaderValue::from_bytes(format!("partial; {line}").as_bytes());
        response.headers_mut().insert(COMPLETENESS, value.unwrap_or(HeaderValue::from_static("partial")));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_found_in_tempos_order() {
        for (accept, want) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("application/protobuf", Form::Protobuf),
            ("application/json, application/protobuf", Form::Protobuf),
            ("application/vnd.grafana.llm", Form::Llm),
            ("application/vnd.grafana.llm+json, application/json", Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(form(&headers), want, "{accept}");
        }
    }
}
