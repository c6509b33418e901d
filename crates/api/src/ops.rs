//! What is not a question about traces: echo, readiness, status pages, flushing and stopping, metrics, the first page.
//!
//! What must stay true: a web page cannot stop this process or make it flush through its visitor's browser.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use trackway_common::{ErrorKind, TenantId};
use trackway_otlpjson::json::{Object, write_string};

use crate::admin::{ConfigMode, HomeInfo};
use crate::answer::json;
use crate::context::{ApiState, tenants};
use crate::error::{ApiError, TEXT, text};
use crate::query_string::QueryString;
use crate::status;

/// What is said where there is nothing.
pub(crate) const NOT_FOUND: &str = "404 page not found\n";
/// What Tempo says of its status pages.
const PLAIN: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Ends a text of metrics; there may be only one.
const METRICS_END: &str = "# EOF";

/// Answers `/api/echo`.
pub(crate) async fn echo() -> Response {
    text(StatusCode::OK, TEXT, "echo\n")
}

/// Answers `/ready`.
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    match state.admin.ready() {
        Ok(()) => text(StatusCode::OK, TEXT, "ready\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, why + "\n"),
    }
}

/// Answers `/api/status/buildinfo`. The version is Tempo's: clients switch features on by it.
pub(crate) async fn build_info(State(state): State<ApiState>) -> Response {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    write_string(object.key("version"), &state.config.tempo_version);
    write_string(object.key("revision"), &state.config.revision);
    write_string(object.key("branch"), "main");
    write_string(object.key("buildUser"), "trackway");
    write_string(object.key("buildDate"), "");
    write_string(object.key("goVersion"), "");
    object.end();
    json(out)
}

/// Answers `/status` and the pages below it.
pub(crate) async fn status(State(state): State<ApiState>, request: Request) -> Response {
    let query = QueryString::parse(request.uri().query());
    let page = request.uri().path().trim_start_matches("/status").trim_start_matches('/');
    let pages: &[&str] = match page {
        "" => &["version", "services", "blocks", "endpoints", "runtime_config", "config"],
        "version" | "services" | "blocks" | "memory" | "endpoints" | "config" | "runtime_config" => &[page],
        _ => return text(StatusCode::NOT_FOUND, TEXT, NOT_FOUND),
    };
    let mut out = String::new();
    for page in pages {
        match section(&state, page, query.get("mode")) {
            Ok(section) => out.push_str(&format!("GET /status/{page}\n{section}")),
            Err(why) => return text(StatusCode::BAD_REQUEST, TEXT, why),
        }
    }
    text(StatusCode::OK, PLAIN, out)
}

fn section(state: &ApiState, page: &str, mode: &str) -> Result<String, String> {
    Ok(match page {
        "version" => status::version(&state.config.tempo_version, &state.config.revision),
        "memory" => state.admin.memory_page(),
        "services" => status::services(&state.admin.services()),
        "blocks" => status::blocks(&state.admin.blocks()),
        "endpoints" => status::endpoints(&crate::router::endpoints(&state.config.http_api_prefix)),
        "runtime_config" => format!("---\n{}", state.admin.runtime_config_yaml(mode == "diff")),
        _ => {
            let mode = match mode {
                "" => ConfigMode::Current,
                "diff" => ConfigMode::Diff,
                "defaults" => ConfigMode::Defaults,
                other => return Err(format!("unknown value for mode query parameter: {other}\n")),
            };
            format!("---\n{}", state.admin.config_yaml(mode))
        }
    })
}

/// Answers `/metrics`.
pub(crate) async fn metrics(State(state): State<ApiState>) -> Response {
    let (name, config) = ("tempo_build_info", &state.config);
    let build = format!(
        "# HELP {name} The version of Tempo that clients are told, and this build.\n# TYPE {name} gauge\n\
         {name}{{branch=\"main\",goversion=\"\",revision=\"{}\",version=\"{}\"}} 1\n",
        config.revision, config.tempo_version
    );
    let mut out = String::new();
    // Some of it waits for locks that are held while a disk is written to.
    let admin = Arc::clone(&state.admin);
    let of_process = tokio::task::spawn_blocking(move || admin.metrics_text()).await.unwrap_or_default();
    for part in [of_process, build, state.metrics.text()] {
        out.push_str(part.trim_end().trim_end_matches(METRICS_END).trim_end());
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
    }
    text(StatusCode::OK, OPEN_METRICS, out + METRICS_END + "\n")
}

/// Answers `/metrics/generated`: what is made of one tenant's spans, for who scrapes it.
pub(crate) async fn generated_metrics(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let tenants = tenants(&headers, &state.config)?;
    let [tenant] = &tenants[..] else {
        return Err(ApiError::bad(
            "name one tenant in X-Scope-OrgID: series of several would be mixed up".to_owned(),
        ));
    };
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (admin, of) = (Arc::clone(&state.admin), tenant.clone());
    // A hundred thousand series take a while to write.
    let page = tokio::task::spawn_blocking(move || admin.generated_metrics(&of, &accept)).await;
    Ok(match page.ok().flatten() {
        Some((content_type, page)) => text(StatusCode::OK, content_type, page),
        None => {
            let problem = format!(
                "no metrics are made of spans of {tenant}: name processors such as service-graphs and span-metrics in \
                 overrides.defaults.metrics_generator.processors, and send a span\n"
            );
            text(StatusCode::NOT_FOUND, TEXT, problem)
        }
    })
}

/// Answers `/usage_metrics`.
pub(crate) async fn usage_metrics(State(state): State<ApiState>) -> Response {
    match state.admin.usage_metrics() {
        Some(counts) => text(StatusCode::OK, OPEN_METRICS, counts + METRICS_END + "\n"),
        None => not_found().await,
    }
}

/// Answers `/flush`.
pub(crate) async fn flush(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    only_from_here(request.headers())?;
    let query = QueryString::parse(request.uri().query());
    let tenant = match query.get("tenant") {
        "" => None,
        name => Some(TenantId::new(name).map_err(|error| ApiError::bad(error.to_string()))?),
    };
    match state.admin.flush(tenant).await {
        Ok(()) => Ok(text(StatusCode::NO_CONTENT, TEXT, "")),
        Err(error) if error.kind == ErrorKind::NotFound => {
            Ok(text(StatusCode::NOT_FOUND, TEXT, error.message))
        }
        Err(error) => Err(error.into()),
    }
}

/// Answers `/shutdown`.
pub(crate) async fn shutdown(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    only_from_here(request.headers())?;
    state.admin.shutdown();
    Ok(text(StatusCode::OK, TEXT, "shutdown job acknowledged"))
}

/// Refuses what another site's page made a browser send; tools send no such header.
pub(crate) fn only_from_here(headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        let text = "refused: the request comes from another site's page";
        return Err(ApiError { status: StatusCode::FORBIDDEN, ..ApiError::bad(text) });
    }
    Ok(())
}

/// Answers what nothing else does.
pub(crate) async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, TEXT, NOT_FOUND)
}

/// Answers `/`.
pub(crate) async fn home(State(state): State<ApiState>) -> Response {
    text(StatusCode::OK, "text/html; charset=utf-8", page(&state.admin.home(), &state.config.tempo_version))
}

fn page(home: &HomeInfo, version: &str) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Trackway</title>\n\
         <style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 1rem}}\
         td{{padding:.2rem 1rem .2rem 0;vertical-align:top}}</style>\n<h1>Trackway</h1>\n\
         <p>{} (answers as Tempo {})</p>\n<table>\n",
        escape(&home.title),
        escape(version)
    );
    for (name, fact) in &home.facts {
        let fact = escape(fact);
        let shown = if fact.starts_with("http") && !fact.contains(' ') {
            format!("<a href=\"{fact}\">{fact}</a>")
        } else {
            fact
        };
        out.push_str(&format!("<tr><td>{}<td>{shown}\n", escape(name)));
    }
    out.push_str("</table>\n<h2>Next</h2>\n<table>\n");
    for (what, command) in &home.commands {
        out.push_str(&format!("<tr><td>{}<td><code>{}</code>\n", escape(what), escape(command)));
    }
    out.push_str(
        "</table>\n<p><a href=\"/status\">status</a> <a href=\"/metrics\">metrics</a> \
         <a href=\"/ready\">ready</a></p>\n</html>\n",
    );
    out
}

pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
