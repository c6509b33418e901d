//! `trackway redact`: removes traces and spans, from every answer at once and from storage soon after.
//!
//! What must stay true: nothing is removed that was not shown before, unless `--yes` says that it need not be.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use trackway_common::TraceId;

use super::ask::{self, Api, ApiArgs};
use super::term::{clean, count};
use super::time::parse_time;
use super::{HELP, caret, print, say};

const PATH: &str = "/api/trackway/v1/redactions";
/// Traces that are shown before it is asked whether to remove them.
const SHOWN_MAX: usize = 20;
/// How often it is looked whether a redaction is done.
const LOOK: Duration = Duration::from_secs(1);
const SECOND: u64 = 1_000_000_000;

/// Remove traces or spans from every answer, and from storage
#[derive(Debug, Args)]
#[command(
    help_template = HELP,
    before_help = "Example: trackway redact 5f1c0a2b9d3e4f60 --wait\n         \
                   trackway redact --query '{ span.user.email = \"bob@example.com\" }' --dry-run"
)]
pub(super) struct RedactArgs {
    /// Traces to remove, all of their spans
    #[arg(value_name = "TRACE_ID", value_parser = parse_id, required_unless_present = "query")]
    ids: Vec<TraceId>,
    /// Remove the spans that this TraceQL query matches now
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// The query looks only at traces from this time on, as 2026-05-01T14:00:00Z or in seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires_all = ["query", "end"])]
    start: Option<u64>,
    /// The query looks only at traces until this time
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires_all = ["query", "start"])]
    end: Option<u64>,
    #[command(flatten)]
    api: ApiArgs,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Wait until nothing of it is left in storage, and print the report
    #[arg(long)]
    wait: bool,
    /// Print the API's answers instead of texts
    #[arg(long)]
    json: bool,
}

fn parse_id(text: &str) -> Result<TraceId, String> {
    let id: TraceId = text.parse().map_err(|error| format!("{error}"))?;
    if id == TraceId(0) { Err("this is no trace id".to_owned()) } else { Ok(id) }
}

impl RedactArgs {
    fn body(&self, dry_run: bool) -> Value {
        let mut body = json!({ "dryRun": dry_run });
        if !self.ids.is_empty() {
            body["traceIds"] = self.ids.iter().map(|id| id.hex()).collect();
        }
        if let Some(query) = &self.query {
            body["query"] = query.clone().into();
        }
        if let (Some(start), Some(end)) = (self.start, self.end) {
            body["start"] = (start / SECOND).into();
            body["end"] = end.div_ceil(SECOND).into();
        }
        body
    }
}

/// Runs it.
pub(super) async fn run(args: RedactArgs) -> Result<()> {
    let mut api = Api::connect(&args.api).await?;
    if args.dry_run || !args.yes {
        let found = ask_for(&mut api, &args, true).await?;
        if args.dry_run && args.json {
            return print(&format!("{found}\n"));
        }
        let shown = preview(&found);
        if args.dry_run {
            return print(&shown);
        }
        say(shown.trim_end());
        if !confirmed()? {
            bail!("nothing was removed");
        }
    }
    let made = ask_for(&mut api, &args, false).await?;
    let id = ask::text(&made, "id").to_owned();
    let what = amount(&made);
    say(&format!("redaction {id}: {what} hidden from every answer"));
    unknown(&made);
    let waits = ask::text(&made, "waits");
    if !waits.is_empty() {
        say(&clean(waits));
    }
    let mut last = made;
    while args.wait && ask::text(&last, "state") != "done" {
        if ask::text(&last, "waits").contains("compactor.disabled") {
            bail!("it will not be done while that is so; --wait is given up, and the redaction stands");
        }
        tokio::time::sleep(LOOK).await;
        let answer = api.get(&format!("{PATH}/{id}")).await?;
        if answer.status != 200 {
            return Err(api.complaint(&answer));
        }
        last = ask::json(&answer)?;
    }
    if args.json {
        return print(&format!("{last}\n"));
    }
    if args.wait {
        return print(&report(&last));
    }
    say(&format!("blocks are being written anew; see it with: curl {}{PATH}/{id}", args.api.api));
    Ok(())
}

async fn ask_for(api: &mut Api, args: &RedactArgs, dry_run: bool) -> Result<Value> {
    let answer = api.post(PATH, &args.body(dry_run)).await?;
    match (answer.status, &args.query) {
        (200 | 202, _) => ask::json(&answer),
        (400, Some(query)) => bail!(caret::explain(query, &answer.text())),
        (404, _) if answer.text().contains("nothing to redact") => bail!(clean(&answer.text())),
        _ => Err(api.complaint(&answer)),
    }
}

fn amount(answer: &Value) -> String {
    let number = |key: &str| answer.get(key).and_then(ask::number).unwrap_or(0);
    let (spans, traces) =
        (count(number("spans"), "span", "spans"), count(number("traces"), "trace", "traces"));
    format!("{spans} of {traces}")
}

fn unknown(answer: &Value) {
    let ids: Vec<&str> = ask::list(answer, "unknownTraceIds").iter().filter_map(Value::as_str).collect();
    if !ids.is_empty() {
        say(&format!("not stored: {}", clean(&ids.join(" "))));
    }
}

/// What would be removed.
fn preview(found: &Value) -> String {
    let mut out = format!("would remove {}\n", amount(found));
    let targets = ask::list(found, "targets");
    for target in targets.iter().take(SHOWN_MAX) {
        let spans = match target.get("spans").and_then(ask::number) {
            Some(spans) => count(spans, "span", "spans"),
            None => "all spans".to_owned(),
        };
        out.push_str(&format!("  {}  {spans}\n", clean(ask::text(target, "traceID"))));
    }
    let all = found.get("traces").and_then(ask::number).unwrap_or(0);
    let more = all.saturating_sub(targets.len().min(SHOWN_MAX) as u64);
    if more > 0 {
        out.push_str(&format!("  and {}\n", count(more, "more trace", "more traces")));
    }
    for id in ask::list(found, "unknownTraceIds").iter().filter_map(Value::as_str) {
        out.push_str(&format!("  {}  is not stored\n", clean(id)));
    }
    out
}

/// Asks the person.
fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nothing was removed: there is nobody to ask; give --yes to remove it, or --dry-run to look");
    }
    let mut out = std::io::stderr().lock();
    write!(out, "remove this for good? [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// What was removed from where.
fn report(done: &Value) -> String {
    let mut out = String::new();
    for block in ask::list(done, "blocks") {
        let into = match ask::text(block, "into") {
            "" => "nothing was left".to_owned(),
            into => format!("the rest is in {}", clean(into)),
        };
        out.push_str(&format!("{}  {} removed; {into}\n", clean(ask::text(block, "block")), amount(block)));
    }
    let unread = ask::list(done, "unreadBlocks");
    if !unread.is_empty() {
        let ids: Vec<&str> = unread.iter().filter_map(Value::as_str).collect();
        out.push_str(&format!("could not be read, and were left alone: {}\n", clean(&ids.join(" "))));
    }
    out.push_str("done: nothing of it is left in storage\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let found = json!({
            "traces": 22, "spans": 40, "unknownTraceIds": ["ff"],
            "targets": [{ "traceID": "0a", "spans": "all" }, { "traceID": "0b", "spans": 1 }],
        });
        assert_eq!(
            preview(&found),
            "would remove 40 spans of 22 traces\n  0a  all spans\n  0b  1 span\n  and 20 more traces\n  ff  is not stored\n"
        );
        let done = json!({ "blocks": [
            { "block": "A", "traces": 1, "spans": 2 }, { "block": "B", "traces": 1, "spans": 1, "into": "C" },
        ]});
        assert_eq!(
            report(&done),
            "A  2 spans of 1 trace removed; nothing was left\nB  1 span of 1 trace removed; the rest is in C\n\
             done: nothing of it is left in storage\n"
        );
    }
}
