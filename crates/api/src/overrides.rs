//! `/status/overrides` and `/status/overrides/{tenant}`: which tenants have limits of their own, and which those are. As
//! pages or as JSON, by the `Accept` header, as in Tempo.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::{TenantLimits, TenantOverrides};
use crate::answer;
use crate::context::ApiState;
use crate::error::text;
use crate::ops::escape;

const HTML: &str = "text/html; charset=utf-8";

/// Answers `/status/overrides`.
pub(crate) async fn all(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let tenants = state.admin.tenants_with_overrides();
    let now = now(&state);
    if wants_json(&headers) {
        answer_json(&all_json(&now, &tenants))
    } else {
        page(&all_page(&now, &tenants))
    }
}

/// Answers `/status/overrides/{tenant}`.
pub(crate) async fn one(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    let limits = state.admin.tenant_overrides(&tenant);
    let now = now(&state);
    if wants_json(&headers) {
        answer_json(&json!({
            "now": now,
            "tenant": tenant,
            "user_configurable_overrides": limits.user_configurable,
            "runtime_overrides": limits.runtime,
            "using_default_or_wildcard_runtime_overrides": limits.is_general,
        }))
    } else {
        page(&one_page(&now, &tenant, &limits))
    }
}

fn now(state: &ApiState) -> String {
    let now = Timestamp::from_nanosecond(i128::from(state.clock.now())).unwrap_or_default();
    now.to_string()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

fn answer_json(value: &Value) -> Response {
    answer::json(value.to_string().into_bytes())
}

fn page(body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Overrides</title>\n\
         <style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem}}td,th{{padding:.2rem 1rem .2rem 0;text-align:left}}\
         </style>\n<h1>Overrides</h1>\n{body}</html>\n"
    );
    text(StatusCode::OK, HTML, page)
}

fn all_json(now: &str, tenants: &[TenantOverrides]) -> Value {
    let shown = |tenant: &TenantOverrides| {
        json!({
            "name": tenant.name,
            "has_runtime_overrides": tenant.runtime,
            "has_user_configurable_overrides": tenant.user_configurable,
        })
    };
    json!({ "now": now, "tenants": tenants.iter().map(shown).collect::<Vec<_>>() })
}

fn all_page(now: &str, tenants: &[TenantOverrides]) -> String {
    let mut out =
        format!("<p>Now: {now}\n<table>\n<tr><th>Tenant<th>In the file of tenants<th>Set by the tenant\n");
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    for tenant in tenants {
        let name = escape(&tenant.name);
        out.push_str(&format!(
            "<tr><td><a href=\"/status/overrides/{name}\">{name}</a><td>{}<td>{}\n",
            yes(tenant.runtime),
            yes(tenant.user_configurable)
        ));
    }
    out + "</table>\n"
}

fn one_page(now: &str, tenant: &str, limits: &TenantLimits) -> String {
    let own = if limits.user_configurable.is_empty() { "none" } else { &limits.user_configurable };
    let of = if limits.is_general { "the wildcard's or the defaults" } else { "the tenant's own" };
    format!(
        "<p>Now: {now}\n<h2>{}</h2>\n<h3>Set by the tenant</h3>\n<pre>{}</pre>\n<h3>From the files ({of})</h3>\n\
         <pre>{}</pre>\n",
        escape(tenant),
        escape(own),
        escape(&limits.runtime)
    )
}
