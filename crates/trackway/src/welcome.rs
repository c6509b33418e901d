//! What the server says when it is ready: ten lines for a person, log lines elsewhere.

use std::io::{IsTerminal, Write};

/// The facts of a start.
#[derive(Clone, Debug)]
pub(crate) struct Welcome {
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u128,
    /// Where OTLP over gRPC is taken, a URL.
    pub(crate) otlp_grpc: Option<String>,
    /// Where OTLP over HTTP is taken, a URL.
    pub(crate) otlp_http: Option<String>,
    /// Where questions are answered, a URL.
    pub(crate) api: String,
    /// Where data is.
    pub(crate) data: String,
    /// Stored and live spans' traces.
    pub(crate) traces: u64,
    /// How long it is kept.
    pub(crate) retention: String,
    /// Free space, in bytes.
    pub(crate) free: Option<u64>,
    /// Bytes that data may take in memory.
    pub(crate) memory: u64,
    /// Whether only this machine can connect.
    pub(crate) loopback: bool,
    /// Whether nothing is taken in.
    pub(crate) read_only: bool,
}

impl Welcome {
    /// Says it.
    pub(crate) fn say(&self) {
        if std::io::stdout().is_terminal() {
            let mut out = std::io::stdout().lock();
            // Nobody to read it is no reason to stop.
            let _ = writeln!(out, "{}", self.text());
        } else {
            tracing::info!(
                otlp_grpc = self.otlp_grpc.as_deref().unwrap_or("off"),
                otlp_http = self.otlp_http.as_deref().unwrap_or("off"),
                api = self.api,
                data = self.data,
                traces = self.traces,
                retention = self.retention,
                memory_bytes = self.memory,
                "{}, ready in {} ms",
                crate::help::version(),
                self.took_ms
            );
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{}, all parts in one process, ready in {} ms",
            crate::help::version(),
            self.took_ms
        )];
        if !self.read_only {
            let grpc = self.otlp_grpc.as_ref().map(|url| format!("OTLP gRPC {url}"));
            let http = self.otlp_http.as_ref().map(|url| format!("OTLP HTTP {url}"));
            let ways: Vec<String> = grpc.into_iter().chain(http).collect();
            lines.push(format!("  send   {}", ways.join("   ")));
            if let Some(url) = &self.otlp_grpc {
                lines.push(format!("         export OTEL_EXPORTER_OTLP_ENDPOINT={url}"));
            }
        }
        lines.push(format!("  ask    {}   (Grafana: data source \"Tempo\", this URL)", self.api));
        let free = self.free.map(|free| format!(", {} free", size(free))).unwrap_or_default();
        lines.push(format!(
            "  keeps  {}  {} traces, {}{free};  memory for data: {}",
            self.data,
            self.traces,
            self.retention,
            size(self.memory)
        ));
        if self.traces == 0 && !self.read_only {
            lines.push("Empty so far. In another terminal: cargo run --release -- demo".to_owned());
        }
        if self.loopback {
            let advice = "Only this machine can connect. Grafana or a Collector in Docker: start with --listen 0.0.0.0";
            lines.push(advice.to_owned());
        }
        lines.join("\n")
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
