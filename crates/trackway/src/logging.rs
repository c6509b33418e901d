//! Log lines: for people on a terminal, logfmt or JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use trackway_config::Config;

/// Starts logging to standard error.
pub(crate) fn start(config: &Config) {
    let level = match config.server.log_level.as_str() {
        "debug" => "debug",
        "warn" => "warn",
        "error" => "error",
        _ => "info",
    };
    // What libraries of caches have to say is said by us: they are caches.
    let caches =
        "foyer=off,foyer_memory=off,foyer_storage=off,hickory_resolver=off,hickory_net=off,redis=off";
    // What happens to the brokers is said by the receiver, once.
    let brokers = "krafka=off";
    let filter =
        EnvFilter::new(format!("{level},hyper=warn,h2=warn,tower=warn,tonic=warn,{caches},{brokers}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = if config.server.log_format == "json" {
        builder.json().flatten_event(true).try_init()
    } else if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.with_ansi(false).with_target(false).try_init()
    };
}
