//! `trackway tail`: spans as they arrive, a line each.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde_json::Value;
use trackway_loadgen::{Lines, Streamed, percent_encode};

use super::ask::{Api, ApiArgs, number, text};
use super::term::{Ink, Look, clean, count, cut, left, right};
use super::time::{show_duration, show_time};
use super::{HELP, caret, print, say};

/// Cells of a service's name, and of a span's.
const SERVICE: usize = 20;
const NAME: usize = 40;
/// Cells of a duration.
const DURATION: usize = 9;
/// Attributes that are shown of a span.
const ATTRIBUTES: usize = 6;
/// Services that keep their colour.
const SERVICES: usize = 1000;

/// Show spans as they arrive
#[derive(Debug, Args)]
#[command(
    help_template = HELP,
    before_help = "Example: trackway tail '{ status = error }'\n         \
                   trackway tail --json '{ resource.service.name = \"checkout\" }' | jq .name"
)]
pub(super) struct TailArgs {
    /// Which spans, as one TraceQL filter; all, unless given
    #[arg(value_name = "TRACEQL", default_value = "{ }")]
    query: String,
    #[command(flatten)]
    api: ApiArgs,
    /// Print each span as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs it until the server stops, or nobody reads any more.
pub(super) async fn run(args: TailArgs) -> Result<()> {
    let mut api = Api::connect(&args.api).await?;
    let target = format!("/api/trackway/v1/tail?q={}", percent_encode(&args.query));
    let mut lines = match api.stream(&target).await? {
        Streamed::Lines(lines) => lines,
        Streamed::Refused(answer) if answer.status == 400 => {
            bail!(caret::explain(&args.query, &answer.text()))
        }
        Streamed::Refused(answer) => return Err(api.complaint(&answer)),
    };
    let whose = args.api.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
    say(&format!("spans{whose} that match {} as they arrive at {}", clean(&args.query), api.place()));
    follow(&mut lines, &args, &api.place()).await
}

async fn follow(lines: &mut Lines, args: &TailArgs, place: &str) -> Result<()> {
    let mut drawing = Drawing { look: Look::of_stdout(), services: HashMap::new() };
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        let value: Value =
            serde_json::from_str(&line).map_err(|error| anyhow!("{place} sent what is no JSON: {error}"))?;
        if let Some(why) = value.get("end").and_then(Value::as_str) {
            say(&format!("the tail ends: {}", clean(why)));
            return Ok(());
        }
        if let Some(spans) = value.get("notShown").and_then(Value::as_u64) {
            say(&format!("{} not shown", count(spans, "span", "spans")));
            continue;
        }
        print(&if args.json { line + "\n" } else { drawing.line(&value) })?;
    }
    bail!("{place} ended the tail without saying why")
}

/// Spans as lines for people.
struct Drawing {
    look: Look,
    /// The colours of services, by the order in which they came.
    services: HashMap<String, usize>,
}

impl Drawing {
    fn line(&mut self, span: &Value) -> String {
        let start = text(span, "startTimeUnixNano").parse().unwrap_or_default();
        let time = show_time(start, true);
        // The day is today's, as a rule.
        let time = time.split_once(' ').map_or(time.as_str(), |(_, time)| time).to_owned();
        let service = clean(text(span, "service"));
        let next = self.services.len() % SERVICES;
        let ink = *self.services.entry(service.clone()).or_insert(next);
        if self.services.len() > SERVICES {
            self.services.clear();
        }
        let duration = span.get("durationNanos").and_then(number).map(show_duration).unwrap_or_default();
        let is_error = text(span, "status") == "error";
        let paint = |ink, text: &str| self.look.paint(ink, text);
        let mut parts = vec![
            paint(Ink::Dim, &time),
            paint(Ink::Nth(ink), &left(&cut(&service, SERVICE), SERVICE)),
            paint(
                if is_error { Ink::Red } else { Ink::Bold },
                &left(&cut(&clean(text(span, "name")), NAME), NAME),
            ),
            right(&duration, DURATION),
            paint(Ink::Dim, text(span, "traceId")),
        ];
        let tenant = clean(text(span, "tenant"));
        if !tenant.is_empty() {
            parts.insert(1, tenant);
        }
        if is_error {
            let message = clean(text(span, "statusMessage"));
            let message = if message.is_empty() { "error".to_owned() } else { format!("error: {message}") };
            parts.push(paint(Ink::Red, &message));
        }
        let attributes = span.get("attributes").and_then(Value::as_object);
        for (key, value) in attributes.into_iter().flatten().take(ATTRIBUTES) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parts.push(format!("{}={}", clean(key), cut(&clean(&value), NAME)));
        }
        parts.join("  ").trim_end().to_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_span_is_one_line_without_surprises() {
        let span = json!({
            "traceId": "5f1c2a7be0914d6c8a35f0b1d2e47c90", "name": "GET\n/cart", "service": "shop", "status": "error",
            "statusMessage": "no\u{1b}[2J stock", "startTimeUnixNano": "1777644000123000000", "durationNanos": "5000000",
            "attributes": {"http.status": 500, "user": "bob"},
        });
        let mut drawing =
            Drawing { look: Look { colour: false, width: 80, fit: false }, services: HashMap::new() };
        let line = drawing.line(&span);
        assert_eq!(line.matches('\n').count(), 1);
        for part in [
            "14:00:00.123  shop ",
            "  GET /cart ",
            "5f1c2a7be0914d6c8a35f0b1d2e47c90",
            "error: no [2J stock",
            "http.status=500  user=bob",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let mut drawing =
            Drawing { look: Look { colour: true, width: 80, fit: false }, services: HashMap::new() };
        assert!(drawing.line(&span).contains("\x1b[31m"));
    }
}
