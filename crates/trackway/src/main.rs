//! The `trackway` binary: one program that is the server, its demo, and a look at its traces from a terminal.

mod address;
mod admin;
mod allocator;
mod blocklist;
mod caches;
mod cli;
mod files;
mod foreign;
mod generator;
mod health;
mod help;
mod kafka;
mod leftovers;
mod listen;
mod lock;
mod logging;
mod memory;
mod overrides;
mod poll_metrics;
mod redact;
mod server;
mod settings;
mod store;
mod user_overrides;
mod welcome;

use std::io::Write;
use std::process::ExitCode;

use trackway_config::{Config, Flags};

fn main() -> ExitCode {
    allocator::keep_together();
    files::allow_many();
    trackway_storage::stores::install_crypto_provider();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = cli::run(&args) {
        return code;
    }
    let flags = match Flags::parse(&args) {
        Ok(flags) => flags,
        Err(error) => return fail(&format!("{error}\nhint: trackway --help")),
    };
    if flags.help {
        return say(help::HELP);
    }
    if flags.version {
        return say(&help::version());
    }
    if flags.health {
        return match health::check(&flags) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{error:#}")),
        };
    }
    let config = match load(&flags) {
        Ok(config) => config,
        Err(text) => return fail(&text),
    };
    let problems = config.validate();
    if !problems.is_empty() {
        return fail(&lines(&problems));
    }
    if flags.verify {
        let warnings = config.warnings();
        return if warnings.is_empty() { say("the configuration is fine") } else { fail(&lines(&warnings)) };
    }
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// A variable of the environment, for configuration files.
fn environment(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods)] // the configuration is what may read the environment
    std::env::var(name).ok()
}

fn load(flags: &Flags) -> Result<Config, String> {
    let text = match &flags.config_file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("configuration file {path}: {error}"))?;
            Some((path.clone(), text))
        }
    };
    let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Config::load(file, flags, &environment).map_err(|error| error.to_string())
}

fn lines(problems: &[trackway_config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Prints to standard output.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    // A reader that went away has seen enough.
    let _ = writeln!(out, "{text}");
    ExitCode::SUCCESS
}

/// Prints to standard error, and fails.
fn fail(text: &str) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
    ExitCode::FAILURE
}
