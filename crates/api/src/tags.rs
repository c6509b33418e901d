//! Names and values of attributes: `/api/search/tags`, `/api/search/tag/{name}/values` and their second versions.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use trackway_proto::tempopb;
use trackway_querier::service::{TagScope, TagValuesAnswer, TagsAnswer};

use crate::answer::{Form, form, json, mark, protobuf};
use crate::context::ApiState;
use crate::error::{ApiError, TEXT, text};
use crate::params::{self, scope_name};
use crate::query_string::{QueryString, decode};

/// Answers `/api/search/tags`.
pub(crate) async fn names_v1(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let asked = params::tags(&QueryString::parse(request.uri().query()), &state.config)?;
    let (scope, limit) = (asked.scope, asked.limit);
    let answer = state.within(state.query.tags(ctx, asked)).await?;
    let (metrics, completeness) = (answer.metrics, answer.completeness.clone());
    let names = flat_names(answer, scope, limit);
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&tempopb::SearchTagsResponse {
            tag_names: names,
            metrics: Some(crate::convert::metadata_metrics(&metrics)),
        }),
        Form::Json | Form::Llm => json(crate::json::names("tagNames", &names, &metrics)),
    };
    Ok(mark(response, &completeness))
}

/// Answers `/api/v2/search/tags`.
pub(crate) async fn names_v2(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (ctx, _guard) = state.begin(request.headers())?;
    let asked = params::tags(&QueryString::parse(request.uri().query()), &state.config)?;
    let answer = state.within(state.query.tags(ctx, asked)).await?;
    let (metrics, completeness) = (answer.metrics, answer.completeness.clone());
    let scopes = named_scopes(answer);
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&tempopb::SearchTagsV2Response {
            scopes: scopes.into_iter().map(scope_message).collect(),
            metrics: Some(crate::convert::metadata_metrics(&metrics)),
        }),
        Form::Json | Form::Llm => json(crate::json::scopes(&scopes, &metrics)),
    };
    Ok(mark(response, &completeness))
}

/// Answers `/api/search/tag/{name}/values`.
pub(crate) async fn values_v1(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let Some(name) = tag_name(request.uri().path(), "/api/search/tag/") else { return Ok(no_page()) };
    let answer = find_values(&state, request.headers(), request.uri(), name, true).await?;
    let (metrics, completeness) = (answer.metrics, answer.completeness.clone());
    let values = flat_values(answer);
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&tempopb::SearchTagValuesResponse {
            tag_values: values,
            metrics: Some(crate::convert::metadata_metrics(&metrics)),
        }),
        Form::Json | Form::Llm => json(crate::json::names("tagValues", &values, &metrics)),
    };
    Ok(mark(response, &completeness))
}

/// Answers `/api/v2/search/tag/{name}/values`.
pub(crate) async fn values_v2(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let Some(name) = tag_name(request.uri().path(), "/api/v2/search/tag/") else { return Ok(no_page()) };
    let answer = find_values(&state, request.headers(), request.uri(), name, false).await?;
    let response = match form(request.headers()) {
        Form::Protobuf => protobuf(&tempopb::SearchTagValuesV2Response {
            tag_values: crate::convert::tag_values(answer.values),
            metrics: Some(crate::convert::metadata_metrics(&answer.metrics)),
        }),
        Form::Json | Form::Llm => json(crate::json::values(&answer.values, &answer.metrics)),
    };
    Ok(mark(response, &answer.completeness))
}

async fn find_values(
    state: &ApiState,
    headers: &HeaderMap,
    uri: &Uri,
    name: String,
    legacy: bool,
) -> Result<TagValuesAnswer, ApiError> {
    let (ctx, _guard) = state.begin(headers)?;
    let query = QueryString::parse(uri.query());
    let asked = params::tag_values(name, legacy, &query, &state.config)?;
    state.within(state.query.tag_values(ctx, asked)).await
}

/// The name between `start` and `/values`. It may hold slashes, so the path is taken apart by hand.
fn tag_name(path: &str, start: &str) -> Option<String> {
    let (_, rest) = path.split_once(start)?;
    decode(rest.strip_suffix("/values")?, false)
}

fn no_page() -> Response {
    text(StatusCode::NOT_FOUND, TEXT, crate::ops::NOT_FOUND)
}

/// Names without their scopes: sorted, each once. Intrinsics only when they were asked for.
pub(crate) fn flat_names(answer: TagsAnswer, asked: Option<TagScope>, limit: usize) -> Vec<String> {
    let wanted = |scope: &TagScope| *scope != TagScope::Intrinsic || asked == Some(TagScope::Intrinsic);
    let names: BTreeSet<String> =
        answer.scopes.into_iter().filter(|(scope, _)| wanted(scope)).flat_map(|(_, names)| names).collect();
    // A list of intrinsics is never cut: it is short and known.
    let most = if limit == 0 || asked == Some(TagScope::Intrinsic) { usize::MAX } else { limit };
    names.into_iter().take(most).collect()
}

/// Scopes by name; those without names are left out.
pub(crate) fn named_scopes(answer: TagsAnswer) -> Vec<(&'static str, Vec<String>)> {
    let scopes = answer.scopes.into_iter().filter(|(_, names)| !names.is_empty());
    scopes.map(|(scope, names)| (scope_name(scope), names)).collect()
}

/// A scope as a message.
pub(crate) fn scope_message((name, tags): (&'static str, Vec<String>)) -> tempopb::SearchTagsV2Scope {
    tempopb::SearchTagsV2Scope { name: name.to_owned(), tags }
}

/// Values without their types: sorted, each once.
pub(crate) fn flat_values(answer: TagValuesAnswer) -> Vec<String> {
    let mut values: Vec<String> = answer.values.into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    // Values that differ only in bytes that are not text are several, as in Tempo.
    values.dedup_by(|a, b| a == b && !a.contains(char::REPLACEMENT_CHARACTER));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tags_may_hold_anything() {
        let name = |path| tag_name(path, "/api/v2/search/tag/");
        assert_eq!(name("/tempo/api/v2/search/tag/.a%2Fb/c/values").unwrap(), ".a/b/c");
        assert_eq!(name("/api/v2/search/tag/event%3Aname/values").unwrap(), "event:name");
        assert_eq!(name("/api/v2/search/tag/values/values").unwrap(), "values");
        assert_eq!(name("/api/v2/search/tag/a"), None);
    }

    #[test]
    fn flat_lists_are_sorted_and_hold_intrinsics_only_on_request() {
        let answer = || TagsAnswer {
            scopes: vec![
                (TagScope::Span, vec!["b".into(), "a".into()]),
                (TagScope::Resource, vec!["b".into(), "c".into()]),
                (TagScope::Intrinsic, vec!["name".into(), "duration".into()]),
            ],
            ..Default::default()
        };
        assert_eq!(flat_names(answer(), None, 0), ["a", "b", "c"]);
        assert_eq!(flat_names(answer(), None, 2), ["a", "b"]);
        let only = TagsAnswer { scopes: answer().scopes.split_off(2), ..Default::default() };
        assert_eq!(flat_names(only, Some(TagScope::Intrinsic), 1), ["duration", "name"]);
    }
}
