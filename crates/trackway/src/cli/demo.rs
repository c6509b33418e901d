//! `trackway demo`: sends the traces of a web shop, so that there is something to look at.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::{Demo, DemoTrace, Endpoint, hex_id};

use super::secure::TlsArgs;
use super::send::{Sender, Tally};
use super::term::{clean, count, thousands};
use super::{HELP, print, say};

/// Traces in one request.
const BATCH: usize = 25;
/// More are no longer a demo: they are made in memory before they are sent.
const MOST_TRACES: u32 = 20_000;
const MOST_RATE: f64 = 1000.0;

/// Send the traces of a simulated web shop: some of the last half hour, then live ones until Ctrl-C
#[derive(Debug, Args)]
#[command(help_template = HELP, before_help = "Example: trackway demo\n         trackway demo --traces 2000 --once")]
pub(super) struct DemoArgs {
    /// How many traces of the last half hour to send first
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_TRACES)))]
    traces: u32,
    /// How many live traces to send a second
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = parse_rate)]
    rate: f64,
    /// Where OTLP over HTTP is taken
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318")]
    endpoint: String,
    /// The same seed makes the same traces (another one every time, unless given)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop after the traces of the last half hour
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=MOST_RATE).contains(rate));
    rate.ok_or_else(|| format!("give a number from 0 to {MOST_RATE}"))
}

/// Runs it.
pub(super) async fn run(args: DemoArgs) -> Result<()> {
    let clock = SystemClock::default();
    let mut sender = Sender::connect(&args.endpoint, &args.tls).await?;
    // Every run its own traces: the same ones again would only add to those that are there.
    let mut demo = Demo::new(args.seed.unwrap_or_else(|| clock.now()));
    let traces = demo.backdated(args.traces as usize, clock.now());
    let failed = send_backdated(&mut sender, &traces, &clock).await?;
    drop(traces);
    print(&hints(failed.as_deref(), sender.endpoint(), &program()))?;
    if args.once || args.rate <= 0.0 {
        return Ok(());
    }
    sender.tally = Tally::default();
    tokio::select! {
        done = send_live(&mut sender, &mut demo, &clock, args.rate) => return done,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    say(&format!("live: {}  {}", count(sender.tally.traces, "trace", "traces"), told(&sender.tally)));
    Ok(())
}

/// A bar on a terminal; elsewhere nothing moves, and plain lines say the same.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▌ "));
    }
    bar
}

/// Tells of a pause without tearing the bar.
fn tell(bar: &ProgressBar, text: &str) {
    bar.suspend(|| say(&clean(text)));
}

/// Sends the traces of the last half hour; the ID of the newest failed checkout that was taken.
async fn send_backdated(
    sender: &mut Sender,
    traces: &[DemoTrace],
    clock: &dyn Clock,
) -> Result<Option<String>> {
    let began = clock.monotonic();
    let to = sender.endpoint().authority();
    let bar = bar(traces.len() as u64, "sending a web shop to {prefix}  {bar:24} {pos}/{len} traces  {msg}");
    bar.set_prefix(to.clone());
    if bar.is_hidden() {
        say(&format!("sending a web shop to {to}"));
    }
    let mut failed = None;
    for batch in traces.chunks(BATCH) {
        // Requests in protobuf, one after the other, are one request.
        let request: Vec<u8> = batch.iter().flat_map(|trace| &trace.request).copied().collect();
        let whole = sender.send(&request, batch.len() as u64, &|text| tell(&bar, text)).await?;
        if whole && let Some(trace) = batch.iter().rev().find(|trace| trace.is_failed_checkout()) {
            failed = Some(hex_id(&trace.trace_id));
        }
        bar.inc(batch.len() as u64);
        bar.set_message(told(&sender.tally));
    }
    let took = clock.monotonic().saturating_sub(began).as_secs_f64();
    let end = format!("{}  {took:.1} s", told(&sender.tally));
    if bar.is_hidden() {
        say(&format!("{} traces  {end}", thousands(sender.tally.traces)));
    }
    bar.finish_with_message(end);
    if !sender.tally.complaint.is_empty() {
        say(&format!("the server refused some: {}", clean(&sender.tally.complaint)));
    }
    Ok(failed)
}

fn told(tally: &Tally) -> String {
    format!("{}  {} refused", count(tally.accepted, "span", "spans"), thousands(tally.refused))
}

/// Sends live traces until it is dropped.
async fn send_live(sender: &mut Sender, demo: &mut Demo, clock: &dyn Clock, rate: f64) -> Result<()> {
    let bar = bar(0, "live: {msg}");
    let invitation = format!("{rate} traces a second until Ctrl-C");
    if bar.is_hidden() {
        say(&format!("live: {invitation}"));
    }
    bar.set_message(invitation);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let trace = demo.live(clock.now());
        sender.send(&trace.request, 1, &|text| tell(&bar, text)).await?;
        let traces = count(sender.tally.traces, "trace", "traces");
        bar.set_message(format!("{traces}  {}  (Ctrl-C ends it)", told(&sender.tally)));
    }
}

/// How this program was called, so that what is printed can be pasted.
fn program() -> String {
    let plain = |name: &String| {
        name.contains('/') && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c))
    };
    std::env::args().next().filter(plain).unwrap_or_else(|| "trackway".to_owned())
}

/// What to do next.
fn hints(failed: Option<&str>, endpoint: &Endpoint, program: &str) -> String {
    let api = match endpoint.host() {
        "127.0.0.1" | "localhost" | "::1" => String::new(),
        host if host.contains(':') => format!(" --api http://[{host}]:3200"),
        host => format!(" --api http://{host}:3200"),
    };
    let mut out = String::new();
    if let Some(id) = failed {
        out.push_str(&format!("  a failed checkout   {program} trace {id}{api}\n"));
    }
    out.push_str(&format!("  all errors          {program} search '{{ status = error }}'{api}\n"));
    out.push_str(
        "  Grafana             Explore > Tempo > Search: Service checkout, Namespace shop, Status error\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_can_be_pasted() {
        let here = Endpoint::parse("127.0.0.1:4318", 4318).unwrap();
        let want = "  a failed checkout   trackway trace 5f1c\n  \
                    all errors          trackway search '{ status = error }'\n  \
                    Grafana             Explore > Tempo > Search: Service checkout, Namespace shop, Status error\n";
        assert_eq!(hints(Some("5f1c"), &here, "trackway"), want);
        let there = Endpoint::parse("http://[fd00::1]:4318", 4318).unwrap();
        let text = hints(None, &there, "target/release/trackway");
        assert!(text.starts_with(
            "  all errors          target/release/trackway search '{ status = error }' --api http://[fd00::1]:3200\n"
        ));
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for wrong in ["", "x", "-1", "NaN", "inf", "1001"] {
            assert_eq!(parse_rate(wrong).unwrap_err(), "give a number from 0 to 1000", "{wrong}");
        }
    }
}
