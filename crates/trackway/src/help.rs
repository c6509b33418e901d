//! What `--help` and `--version` say.

/// The version of Tempo whose answers these are.
pub(crate) const TEMPO_VERSION: &str = "3.0.3";

/// `trackway --version`
pub(crate) fn version() -> String {
    format!("trackway {} (answers as Tempo {TEMPO_VERSION})", env!("CARGO_PKG_VERSION"))
}

/// `trackway --help`
pub(crate) const HELP: &str = "\
Trackway keeps distributed traces and answers TraceQL: a drop-in replacement for Grafana Tempo.

Examples
  trackway                                   a server on this machine, data in ./trackway-data
  trackway -config.file=tempo.yaml           a server with Tempo's configuration file
  trackway demo                              send it a believable web shop

Commands
  demo                           send traces of a simulated web shop
  search QUERY                   find traces by TraceQL, as a table
  trace ID                       show one trace as a waterfall
  tail [QUERY]                   show spans as they arrive
  redact ID | --query QUERY      remove traces or spans, from every answer and from storage
  blocks set-replication-factor  rewrite meta.json of blocks in a local folder
  Each has its own --help.

Flags of the server
  --listen ADDR                  listen on this address instead of loopback (0.0.0.0 for all)
  --data DIR                     keep data here instead of ./trackway-data
  --read-only                    answer questions, take nothing in, write nothing
  -config.file=FILE              Tempo's YAML configuration
  -config.expand-env             replace ${VAR} and ${VAR:-default} in it
  -config.verify                 check it, print warnings, and exit
  -target=all                    which parts run
  -health [-health.url=URL]      ask a running server whether it is ready, and exit
  -version                       print the version, and exit
  Every Tempo flag also works, with one dash or two; every setting of the file is a flag, such as
  -server.http-listen-port=3200. The settings are in docs/configuration.md.";
