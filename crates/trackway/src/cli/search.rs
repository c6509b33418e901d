//! `trackway search`: traces that match a query, as a table.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::Args;
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::percent_encode;

use super::ask::{self, Api, ApiArgs};
use super::term::{Look, clean, count};
use super::time::{parse_duration, parse_time, show_time};
use super::{HELP, caret, print, say, table};

const SECOND: u64 = 1_000_000_000;

/// Find traces by a TraceQL query
#[derive(Debug, Args)]
#[command(
    help_template = HELP,
    before_help = "Example: trackway search '{ status = error }' --since 1h\n         \
                   trackway search '{ resource.service.name = \"checkout\" && duration > 500ms }'"
)]
pub(super) struct SearchArgs {
    /// What to look for, in TraceQL
    #[arg(value_name = "QUERY")]
    query: String,
    /// The most traces to show, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only traces of so long ago until now, as 30m, 1h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["start", "end"])]
    since: Option<u64>,
    /// Only traces from this time on, as 2026-05-01T14:00:00Z or in seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    start: Option<u64>,
    /// Only traces until this time (now, unless given)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "start")]
    end: Option<u64>,
    #[command(flatten)]
    api: ApiArgs,
    /// Print the API's answer instead of a table
    #[arg(long)]
    json: bool,
}

/// First and last second that are asked about.
type Range = Option<(u64, u64)>;

impl SearchArgs {
    fn range(&self, now: u64) -> Result<Range> {
        let from = match (self.start, self.since) {
            (Some(start), _) => start,
            (None, Some(since)) => now.saturating_sub(since),
            (None, None) => return Ok(None),
        };
        // The second that has just begun belongs to it.
        let (from, to) = (from / SECOND, self.end.unwrap_or(now).div_ceil(SECOND));
        if to <= from {
            bail!(
                "--start {} is not before --end {}",
                show_time(from * SECOND, false),
                show_time(to * SECOND, false)
            );
        }
        Ok(Some((from, to)))
    }
}

/// Runs it.
pub(super) async fn run(args: SearchArgs) -> Result<()> {
    let range = args.range(SystemClock::default().now())?;
    let mut api = Api::connect(&args.api).await?;
    let mut target = format!("/api/search?q={}&limit={}", percent_encode(&args.query), args.limit);
    if let Some((start, end)) = range {
        write!(target, "&start={start}&end={end}")?;
    }
    let answer = api.get(&target).await?;
    match answer.status {
        200 => {}
        400 => bail!(caret::explain(&args.query, &answer.text())),
        _ => return Err(api.complaint(&answer)),
    }
    ask::warn_if_partial(&answer);
    let found = table::rows(&ask::json(&answer)?);
    if args.json {
        print(&ask::raw(&answer))?;
    } else if !found.is_empty() {
        print(&table::draw(&found, Look::of_stdout()))?;
    }
    if found.is_empty() {
        say(&nothing(&args, range, &api.place()));
    } else if !args.json && found.len() >= args.limit as usize {
        say(&format!(
            "the newest {}; there may be more: --limit {}",
            count(found.len() as u64, "trace", "traces"),
            args.limit.saturating_mul(5)
        ));
    }
    Ok(())
}

/// Says what was looked for where, in vain.
fn nothing(args: &SearchArgs, range: Range, place: &str) -> String {
    let when = match range {
        Some((start, end)) => {
            format!("between {} and {} UTC", show_time(start * SECOND, false), show_time(end * SECOND, false))
        }
        None => "at any time".to_owned(),
    };
    let whose = args.api.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
    format!("no trace matches {} {when}; searched all traces{whose} on {place}", clean(&args.query))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: SearchArgs,
    }

    fn args(more: &[&str]) -> SearchArgs {
        Wrapper::parse_from(["search", "{ status = error }"].iter().chain(more)).args
    }

    const NOW: u64 = 1_777_644_000 * SECOND + 1;

    #[test]
    fn ranges() {
        let seconds = 1_777_644_000;
        assert_eq!(args(&[]).range(NOW).unwrap(), None);
        assert_eq!(args(&["--since", "1h"]).range(NOW).unwrap(), Some((seconds - 3600, seconds + 1)));
        assert_eq!(args(&["--start", "5"]).range(NOW).unwrap(), Some((5, seconds + 1)));
        assert_eq!(args(&["--start", "5", "--end", "6"]).range(NOW).unwrap(), Some((5, 6)));
        let error = args(&["--start", "6", "--end", "6"]).range(NOW).unwrap_err().to_string();
        assert_eq!(error, "--start 1970-01-01 00:00:06 is not before --end 1970-01-01 00:00:06");
    }

    #[test]
    fn nothing_found_says_what_was_searched() {
        let all = args(&[]);
        assert_eq!(
            nothing(&all, None, "127.0.0.1:3200"),
            "no trace matches { status = error } at any time; searched all traces on 127.0.0.1:3200"
        );
        let some = args(&["--since", "1h", "--tenant", "shop"]);
        assert_eq!(
            nothing(&some, some.range(NOW).unwrap(), "h:1"),
            "no trace matches { status = error } between 2026-05-01 13:00:00 and 2026-05-01 14:00:01 UTC; \
             searched all traces of tenant shop on h:1"
        );
    }
}
