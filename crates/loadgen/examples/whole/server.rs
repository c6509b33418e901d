//! The server under test as a process: its configuration, start and stop, and what the system says it used.
//!
//! What must stay true: it lives in a folder of its own on ports of its own, and is gone when the value is dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::{Endpoint, HttpClient};

/// The kernel counts a process's CPU time in hundredths of a second, on every Linux that there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
pub(crate) struct Server {
    binary: PathBuf,
    dir: PathBuf,
    child: Option<Child>,
    /// HTTP API, gRPC API, OTLP gRPC, OTLP HTTP.
    ports: [u16; 4],
    /// Whether it makes metrics of spans.
    metrics: bool,
}

impl Server {
    /// Writes a configuration into `dir` and starts the binary on it.
    pub(crate) async fn start(binary: &Path, dir: &Path, metrics: bool) -> Result<Self> {
        let mut server = Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            child: None,
            ports: free_ports()?,
            metrics,
        };
        fs::write(server.config(), server.yaml())?;
        server.launch().await?;
        Ok(server)
    }

    /// Starts the binary and waits until it is ready.
    pub(crate) async fn launch(&mut self) -> Result<Duration> {
        let clock = SystemClock::default();
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.binary)
            .arg(format!("-config.file={}", self.config().display()))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.child = Some(child);
        while clock.monotonic() < Duration::from_secs(60) {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("the server ended with {status}:\n{}", self.last_words());
            }
            if let Ok(mut api) = self.api().await
                && api.get(&clock, "/ready", "*/*").await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok(clock.monotonic());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server is not ready after a minute:\n{}", self.last_words())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let told = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
        ensure!(told.success(), "kill failed: {told}");
        for _ in 0..1_200 {
            if child.try_wait()?.is_some() {
                self.child = None;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server does not end within a minute:\n{}", self.last_words())
    }

    /// A connection to the HTTP API.
    pub(crate) async fn api(&self) -> Result<HttpClient> {
        let endpoint = Endpoint::parse("127.0.0.1", self.ports[0])?;
        Ok(HttpClient::connect(endpoint).await?.with_patience(Duration::from_secs(600)))
    }

    /// Where it takes OTLP over HTTP.
    pub(crate) fn otlp(&self) -> String {
        format!("127.0.0.1:{}", self.ports[3])
    }

    /// CPU seconds used since it was started, all threads, user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        // The command's name may hold anything but is the last thing in parentheses; after it, utime is the 12th.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).context("stat has no name")?;
        let ticks: Vec<f64> =
            rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
        ensure!(ticks.len() == 2, "stat has no times: {stat}");
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// The most memory it ever had resident, in MB of a million bytes.
    pub(crate) fn peak_mb(&self) -> Result<f64> {
        let status = self.proc("status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("status has no VmHWM")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1_024.0 / 1e6)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let child = self.child.as_ref().context("the server does not run")?;
        Ok(fs::read_to_string(format!("/proc/{}/{file}", child.id()))?)
    }

    /// Bytes in its data folder, and how many blocks there are.
    pub(crate) fn stored(&self) -> Result<(u64, usize)> {
        let (mut bytes, mut blocks) = (0, 0);
        walk(&self.dir.join("data"), &mut |path, length| {
            bytes += length;
            blocks += usize::from(path.file_name().is_some_and(|name| name == "meta.json"));
        })?;
        Ok((bytes, blocks))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("tempo.yaml")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// The end of what it logged.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Default settings but for places, ports, and the limits on what one sender may send.
    fn yaml(&self) -> String {
        let [http, grpc, otlp_grpc, otlp_http] = self.ports;
        let data = self.dir.join("data");
        let data = data.display();
        // The workload's spans lie in the past; all of them are to be counted.
        let metrics = if self.metrics {
            "    metrics_generator:\n      processors: [service-graphs, span-metrics]\n      ingestion_time_range_slack: 12h\n"
        } else {
            ""
        };
        format!(
            "target: all
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc}
distributor:
  receivers:
    otlp:
      protocols:
        grpc: {{ endpoint: \"127.0.0.1:{otlp_grpc}\" }}
        http: {{ endpoint: \"127.0.0.1:{otlp_http}\" }}
storage:
  trace:
    backend: local
    local: {{ path: \"{data}/blocks\" }}
    wal: {{ path: \"{data}/wal\" }}
overrides:
  defaults:
    ingestion:
      rate_limit_bytes: 2000000000
      burst_size_bytes: 2000000000
      max_traces_per_user: 10000000
{metrics}usage_report:
  reporting_enabled: false
"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that are free now; somebody may take one before the server does, which then says so.
fn free_ports() -> Result<[u16; 4]> {
    let held = (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Calls `each` with every file below a folder. What vanishes meanwhile is left out.
fn walk(dir: &Path, each: &mut dyn FnMut(&Path, u64)) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            walk(&entry.path(), each)?;
        } else {
            each(&entry.path(), about.len());
        }
    }
    Ok(())
}
