//! Asks the API over HTTP.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::Value;
use trackway_common::{SystemClock, TenantId};
use trackway_loadgen::{Answer, Endpoint, HttpClient, HttpError, Streamed};

use super::say;
use super::term::clean;

/// Where the API listens unless said otherwise.
const API_PORT: u16 = 3200;
/// The most characters of a foreign error that are shown.
const LONGEST_COMPLAINT: usize = 500;

/// Whom to ask.
#[derive(Debug, Args)]
pub(super) struct ApiArgs {
    /// Where Trackway (or Tempo) answers questions
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3200")]
    pub(super) api: String,
    /// The tenant whose traces to look at (several: a|b); only where multitenancy is on
    #[arg(long, visible_alias = "org-id", value_name = "TENANT", value_parser = parse_tenants)]
    pub(super) tenant: Option<String>,
}

fn parse_tenants(text: &str) -> Result<String, String> {
    for name in text.split('|') {
        TenantId::new(name).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// A connection to the API.
#[derive(Debug)]
pub(super) struct Api {
    http: HttpClient,
    /// What comes before the paths of the API.
    base: String,
    accept: String,
}

impl Api {
    /// Connects.
    pub(super) async fn connect(args: &ApiArgs) -> Result<Self> {
        let endpoint = Endpoint::parse(&args.api, API_PORT).map_err(|error| match error {
            trackway_loadgen::EndpointError::Malformed(text) => {
                anyhow!("{text:?} is no address; give --api host:port, as 127.0.0.1:{API_PORT}")
            }
            other => other.into(),
        })?;
        let url = endpoint.to_string();
        let base =
            url.strip_prefix(&format!("http://{}", endpoint.authority())).unwrap_or_default().to_owned();
        let mut accept = "application/json".to_owned();
        if let Some(tenant) = &args.tenant {
            // The client has no place for another header. The name was checked: it has no end of a line in it.
            accept.push_str("\r\nX-Scope-OrgID: ");
            accept.push_str(tenant);
        }
        Ok(Self { http: HttpClient::connect(endpoint).await.map_err(no_answer)?, base, accept })
    }

    /// `host:port`, for messages.
    pub(super) fn place(&self) -> String {
        self.http.endpoint().authority()
    }

    /// Gets a path with its query.
    pub(super) async fn get(&mut self, target: &str) -> Result<Answer> {
        let target = format!("{}{target}", self.base);
        self.http.get(&SystemClock::default(), &target, &self.accept).await.map_err(no_answer)
    }

    /// Gets a path whose answer goes on line by line.
    pub(super) async fn stream(&mut self, target: &str) -> Result<Streamed> {
        let target = format!("{}{target}", self.base);
        self.http.stream(&target, &self.accept).await.map_err(no_answer)
    }

    /// Posts JSON to a path.
    pub(super) async fn post(&mut self, target: &str, body: &Value) -> Result<Answer> {
        let (target, body) = (format!("{}{target}", self.base), body.to_string());
        let clock = SystemClock::default();
        self.http.post_json(&clock, &target, &self.accept, body.as_bytes()).await.map_err(no_answer)
    }

    /// What an answer that is no success means.
    pub(super) fn complaint(&self, answer: &Answer) -> anyhow::Error {
        let place = self.place();
        let text: String = clean(&answer.text()).chars().take(LONGEST_COMPLAINT).collect();
        match answer.status {
            401 if text.contains("no org id") => anyhow!("{place} keeps tenants apart; give --tenant NAME"),
            404 | 405 => {
                anyhow!(
                    "{place} does not answer this question ({}): give the API's port (usually {API_PORT}) with --api",
                    answer.status
                )
            }
            429 | 503 => anyhow!("{place} is busy ({}): {text}; try again", answer.status),
            status if text.is_empty() => anyhow!("{place} answered {status}"),
            status => anyhow!("{place} answered {status}: {text}"),
        }
    }
}

/// The body as JSON.
pub(super) fn json(answer: &Answer) -> Result<Value> {
    if answer.body.is_empty() {
        bail!("the answer is empty");
    }
    serde_json::from_slice(&answer.body).context("the answer is not JSON")
}

/// The body as it came, for `--json`.
pub(super) fn raw(answer: &Answer) -> String {
    let mut text = String::from_utf8_lossy(&answer.body).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Says on the side what the answer lacks, if the server says so in a header.
pub(super) fn warn_if_partial(answer: &Answer) {
    if let Some(partial) = answer.header("x-trackway-completeness") {
        let why = partial.strip_prefix("partial; ").unwrap_or("the server does not say why");
        say(&format!("not everything was searched: {}", clean(why)));
    }
}

fn no_answer(error: HttpError) -> anyhow::Error {
    match error {
        HttpError::NobodyThere(place) => {
            anyhow!("nothing listens on {place}; start trackway first, or give --api")
        }
        other => other.into(),
    }
}

/// A number that protobuf's JSON writes as a string when it has 64 bits.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The elements of a list; none if it is left out.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text; empty if it is left out.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
