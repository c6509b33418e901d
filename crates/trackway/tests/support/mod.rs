//! Starts the real binary in a folder of its own, on ports that are free, and watches its log: a WARN or ERROR line that
//! a test does not expect fails it.
#![allow(dead_code, unreachable_pub)] // each test uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // helpers of tests are tests
#![allow(clippy::disallowed_methods)] // a test measures real time

pub mod dice;
pub mod golden;
pub mod jaeger;
pub mod python;
pub mod receivers;
pub mod requests;
pub mod secure;
pub mod spans;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use trackway_golden::http;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    child: Child,
    pub folder: PathBuf,
    pub api: String,
    pub grpc: String,
    pub otlp_http: String,
    pub otlp_grpc: String,
    log: Arc<Mutex<Vec<String>>>,
    expected: Vec<&'static str>,
}

/// Where a server of a test listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub grpc: u16,
    pub otlp_grpc: u16,
    pub otlp_http: u16,
}

impl Ports {
    /// Ports that are free now.
    pub fn free() -> Self {
        Self { http: free_port(), grpc: free_port(), otlp_grpc: free_port(), otlp_http: free_port() }
    }
}

/// A port that is free now, for TCP and for UDP: not one of those that the system gives to whoever connects to somebody,
/// and in each process others first.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(std::process::id().wrapping_mul(64)));
    loop {
        let port = 10_000 + (next.fetch_add(1, Ordering::Relaxed) % 22_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

const UNLIMITED: &str = "overrides: {defaults: {ingestion: {rate_limit_bytes: 100000000000, burst_size_bytes: \
                         100000000000, max_traces_per_user: 0}, global: {max_bytes_per_trace: 0}}}\n";

/// The configuration of a test's server; `more` is YAML at the top level.
pub fn config(folder: &Path, ports: Ports, more: &str) -> String {
    let shown = folder.display();
    let Ports { http, grpc, otlp_grpc, otlp_http } = ports;
    // Tests send as fast as they can; those that are about limits set their own.
    let unlimited = if more.contains("overrides:") { "" } else { UNLIMITED };
    format!(
        "server: {{http_listen_address: 127.0.0.1, grpc_listen_address: 127.0.0.1, http_listen_port: {http}, grpc_listen_port: {grpc}}}\n\
         distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp_grpc}'}}, http: {{endpoint: '127.0.0.1:{otlp_http}'}}}}}}}}}}\n\
         storage: {{trace: {{backend: local, local: {{path: {shown}/blocks}}, wal: {{path: {shown}/wal}}}}}}\n{more}\n{unlimited}"
    )
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(folder: &Path, more: &str) -> Self {
        Self::start_on(folder, Ports::free(), more)
    }

    /// Starts a server on these ports and waits until it is ready.
    pub fn start_on(folder: &Path, ports: Ports, more: &str) -> Self {
        let mut server = Self::spawn_on(folder, ports, more);
        server.until_ready();
        server
    }

    /// Starts a server on these ports and waits for nothing.
    pub fn spawn_on(folder: &Path, ports: Ports, more: &str) -> Self {
        let file = folder.join("tempo.yaml");
        std::fs::write(&file, config(folder, ports, more)).expect("a writable folder");
        Self::spawn_file(folder, &file, ports)
    }

    /// Starts a server with a configuration that has been written, and waits for nothing.
    pub fn spawn_file(folder: &Path, file: &Path, ports: Ports) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_trackway"))
            .arg(format!("-config.file={}", file.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, pipe) = (Arc::clone(&log), child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
        Self {
            child,
            folder: folder.to_owned(),
            api: format!("127.0.0.1:{}", ports.http),
            grpc: format!("127.0.0.1:{}", ports.grpc),
            otlp_http: format!("127.0.0.1:{}", ports.otlp_http),
            otlp_grpc: format!("127.0.0.1:{}", ports.otlp_grpc),
            log,
            expected: Vec::new(),
        }
    }

    /// Waits until it is ready; fails when it ends before.
    pub fn until_ready(&mut self) {
        self.wait("ready", |server| {
            if let Ok(Some(status)) = server.child.try_wait() {
                panic!("the server ended with {status}:\n{}", server.lines().join("\n"));
            }
            server.is_ready()
        });
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        http::request(&self.api, "GET", "/ready", &[], None).is_ok_and(|answer| answer.status == 200)
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_some()
    }

    /// Waits for a condition.
    pub fn wait(&mut self, what: &str, done: impl FnMut(&mut Self) -> bool) {
        self.wait_for(PATIENCE, what, done);
    }

    /// The same, for as long as it may take.
    pub fn wait_for(&mut self, patience: Duration, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            let lines = self.lines().join("\n");
            assert!(started.elapsed() < patience, "waited too long for: {what}\n{lines}");
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Lines with this text are not a failure.
    pub fn expect_warning(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn lines(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    pub fn get(&self, path: &str) -> http::Response {
        http::request(&self.api, "GET", path, &[], None).expect("an answer")
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// Pushes an OTLP request; the status of the answer.
    pub fn push(&self, content_type: &str, body: &[u8]) -> http::Response {
        let headers = [("content-type".to_owned(), content_type.to_owned())];
        http::request(&self.otlp_http, "POST", "/v1/traces", &headers, Some(body)).expect("an answer")
    }

    /// Writes everything to blocks.
    pub fn flush(&self) {
        let answer = http::request(&self.api, "POST", "/flush", &[], None).expect("an answer");
        assert!(answer.status < 300, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }

    /// Stops the server gracefully.
    pub fn stop(mut self) {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                assert!(status.success(), "{status}:\n{}", self.lines().join("\n"));
                break;
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop:\n{}", self.lines().join("\n"));
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.check_log();
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Waits until the process ends by itself; its exit code.
    pub fn until_ended(&mut self) -> Option<i32> {
        let mut code = None;
        self.wait("the end of the process", |server| match server.child.try_wait() {
            Ok(Some(status)) => {
                code = status.code();
                true
            }
            _ => false,
        });
        code
    }

    /// A trace by its id: the spans' ids, `None` when there is no such trace.
    pub fn trace(&self, trace: u128) -> Option<Vec<u64>> {
        let headers = [("accept".to_owned(), "application/protobuf".to_owned())];
        let path = format!("/api/v2/traces/{trace:032x}");
        let answer = http::request(&self.api, "GET", &path, &headers, None).expect("an answer");
        match answer.status {
            200 => requests::spans_of_answer(&answer.body, trace),
            404 => None,
            other => panic!("{path}: {other}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    /// Traces that a query finds, all of them: the answer's `traces`.
    pub fn search(&self, query: &str) -> Vec<serde_json::Value> {
        let query = trackway_loadgen::percent_encode(query);
        let (start, end) = requests::day();
        let path = format!("/api/search?q={query}&limit=200000&spss=100&start={start}&end={end}");
        let mut answer = self.json(&path);
        match answer.get_mut("traces").map(serde_json::Value::take) {
            Some(serde_json::Value::Array(traces)) => traces,
            _ => Vec::new(),
        }
    }

    /// All traces that a search for everything finds: the spans' ids, ascending. Of up to 100 spans each.
    pub fn all_traces(&self) -> HashMap<u128, Vec<u64>> {
        let mut all = HashMap::new();
        for trace in self.search("{}") {
            let id = u128::from_str_radix(trace["traceID"].as_str().expect("an id"), 16).expect("an id");
            let set = &trace["spanSets"][0];
            let shown = set["spans"].as_array().expect("spans");
            assert_eq!(set["matched"].as_u64(), Some(shown.len() as u64), "{id:032x}: not all are shown");
            let span_id = |span: &serde_json::Value| u64::from_str_radix(span["spanID"].as_str()?, 16).ok();
            let mut spans: Vec<u64> = shown.iter().filter_map(span_id).collect();
            spans.sort_unstable();
            assert!(all.insert(id, spans).is_none(), "{id:032x} is found twice");
        }
        all
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(mut self) {
        // That it has ended already is as good.
        let _ = self.child.kill();
        self.child.wait().expect("it ends");
    }

    /// Fails when the log has a WARN or ERROR line that is not expected.
    pub fn check_log(&self) {
        for line in self.lines() {
            let bad = line.contains("WARN") || line.contains("ERROR") || line.contains("panicked");
            let expected = self.expected.iter().any(|text| line.contains(text));
            assert!(!bad || expected, "unexpected line in the log: {line}");
        }
    }
}

/// Runs the binary until it ends by itself: its exit code and what it said.
pub fn run(args: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trackway"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let started = Instant::now();
    while child.try_wait().expect("a process").is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().expect("it runs");
            break;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// CPU time that the process has taken.
pub fn cpu(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    // The name may have spaces and parentheses; what follows the last one is numbers.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        numbers.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Memory that the process has now (`VmRSS`), or most that it has had (`VmHWM`), in MiB.
pub fn memory(server: &Server, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("its memory");
    line.trim_start_matches(':')
        .trim()
        .strip_suffix(" kB")
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

/// Says by name that a test cannot be run here, and why. Not by a macro, whose text is kept back when a test passes.
pub fn skipped(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test} because {why}").expect("standard error");
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed must not leave its server behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the server:\n{}", self.lines().join("\n"));
        }
    }
}
