//! The client commands: a demo to look at, a search and one trace in a terminal, and a change to stored blocks.
//!
//! What must stay true: data goes to standard output and talk to standard error, so that every command can stand in a
//! pipe; an error says in one line what to do about it. Exit codes: 0, 1 for a failure, 2 for wrong usage.

mod ask;
mod blocks;
mod caret;
mod demo;
mod meta_edit;
mod redact;
mod search;
mod send;
mod table;
mod tail;
mod term;
mod time;
mod trace;
mod tree;
mod waterfall;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// What of a command's `--help` comes first: an example says more than a list of flags.
const HELP: &str = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}";
/// Wrong usage, as clap and shells have it.
const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "trackway", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Search(search::SearchArgs),
    Trace(trace::TraceArgs),
    Blocks(blocks::BlocksArgs),
    Redact(redact::RedactArgs),
    Tail(tail::TailArgs),
}

/// Runs a client command; `None` when the arguments (without the program's name) ask for none, but for a server.
pub(crate) fn run(args: &[String]) -> Option<ExitCode> {
    if !matches!(args.first()?.as_str(), "demo" | "search" | "trace" | "tail" | "blocks" | "redact") {
        return None;
    }
    let named = std::iter::once("trackway").chain(args.iter().map(String::as_str));
    let command = match Cli::try_parse_from(named) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Nobody to read it is no reason for another code.
            let _ = error.print();
            return Some(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE)));
        }
    };
    let done = match command {
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Search(args) => block_on(search::run(args)),
        Command::Trace(args) => block_on(trace::run(args)),
        Command::Blocks(args) => blocks::run(&args),
        Command::Redact(args) => block_on(redact::run(args)),
        Command::Tail(args) => block_on(tail::run(args)),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    })
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(work)
}

/// Whether the reader of our output went away (`| head`): it has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Says something to the person, beside the data.
fn say(text: &str) {
    // Nobody to read it is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes data.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn only_its_own_commands_are_taken() {
        for args in [vec![], vec!["-config.file=x"], vec!["--help"], vec!["help"], vec!["serve"]] {
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            assert_eq!(run(&args), None, "{args:?}");
        }
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_starts_with_an_example() {
        for (args, example) in [
            (vec!["demo"], "Example: trackway demo"),
            (vec!["search"], "Example: trackway search '{ status = error }'"),
            (vec!["trace"], "Example: trackway trace 5f1c"),
            (vec!["redact"], "Example: trackway redact 5f1c"),
            (vec!["tail"], "Example: trackway tail '{ status = error }'"),
            (vec!["blocks"], "Example: trackway blocks set-replication-factor 0"),
            (vec!["blocks", "set-replication-factor"], "Example: trackway blocks set-replication-factor 0"),
        ] {
            let all = std::iter::once("trackway").chain(args.clone()).chain(["--help"]);
            let help = Cli::try_parse_from(all).unwrap_err();
            assert_eq!(help.exit_code(), 0);
            assert!(help.to_string().starts_with(example), "{help}");
        }
    }

    #[test]
    fn wrong_usage_is_code_2() {
        for args in [
            vec!["trace"],
            vec!["search", "{}", "--limit", "0"],
            vec!["search", "{}", "--end", "5"],
            vec!["search", "{}", "--since", "1h", "--start", "5"],
            vec!["search", "{}", "--since", "soon"],
            vec!["trace", "xyz"],
            vec!["search", "{}", "--tenant", "a/b"],
            vec!["demo", "--rate=-1"],
            vec!["blocks"],
            vec!["redact"],
            vec!["redact", "xyz"],
            vec!["redact", "1", "--start", "1", "--end", "2"],
            vec!["blocks", "set-replication-factor", "3", "--path", "x"],
        ] {
            let all = std::iter::once("trackway").chain(args.clone());
            assert_eq!(Cli::try_parse_from(all).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
