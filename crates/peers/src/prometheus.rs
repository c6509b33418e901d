//! A real Prometheus that takes remote write, and can be killed and started again on its port and its data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trackway_golden::http;

use crate::process::{Peer, find, free_port};

/// How long it may take until it has read its own log.
const PATIENCE: Duration = Duration::from_secs(60);

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// An exemplar of a series.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// Those of the series.
    pub series: Labels,
    /// Its own.
    pub labels: Labels,
    /// What was measured.
    pub value: f64,
}

/// Prometheus, with exemplars and native histograms.
#[derive(Debug)]
pub struct Prometheus {
    /// Host and port.
    pub address: String,
    program: PathBuf,
    data: TempDir,
    peer: Option<Peer>,
}

impl Prometheus {
    /// Starts it with nothing to scrape; why not otherwise.
    pub fn start() -> Result<Self, String> {
        let program = find("prometheus").ok_or("prometheus is not installed")?;
        let data = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::fs::write(data.path().join("prometheus.yml"), "").map_err(|error| error.to_string())?;
        let address = format!("127.0.0.1:{}", free_port());
        let mut server = Self { address, program, data, peer: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again with the data that it had, and waits until it answers.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let folder = self.data.path();
        let mut peer = Peer::start(|_| {
            let mut command = Command::new(&self.program);
            command.args(["--web.enable-remote-write-receiver", "--log.level=warn"]);
            command.arg("--enable-feature=exemplar-storage,native-histograms");
            command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
            command.arg(format!("--web.listen-address={}", self.address));
            command
        })?;
        peer.until_listening(&self.address)?;
        self.peer = Some(peer);
        let started = Instant::now();
        while http::request(&self.address, "GET", "/-/ready", &[], None).map_or(0, |answer| answer.status)
            != 200
        {
            if started.elapsed() > PATIENCE {
                return Err(format!("it is not ready after {} s", PATIENCE.as_secs()));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it as `kill -9` does. Its data stay.
    pub fn kill(&mut self) {
        self.peer = None;
    }

    /// Where it takes remote write.
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// An instant query at a time in Unix seconds: labels and value of every element.
    pub fn query(&self, promql: &str, time: f64) -> Vec<(Labels, f64)> {
        let answer = self.ask("query", &[("query", promql), ("time", &format!("{time:.3}"))]);
        let element = |element: &Value| (labels(&element["metric"]), number(&element["value"][1]));
        list(&answer["result"]).iter().map(element).collect()
    }

    /// The sum of what a query finds, 0 when there is nothing.
    pub fn total(&self, promql: &str, time: f64) -> f64 {
        self.query(promql, time).iter().map(|(_, value)| value).sum()
    }

    /// The samples that a selector with a range, such as `up[5m]`, takes in: of every series times in Unix seconds, and
    /// values.
    pub fn samples(&self, selector: &str, time: f64) -> Vec<(Labels, Vec<(f64, f64)>)> {
        let answer = self.ask("query", &[("query", selector), ("time", &format!("{time:.3}"))]);
        let sample = |sample: &Value| (number(&sample[0]), number(&sample[1]));
        let series = |series: &Value| {
            (labels(&series["metric"]), list(&series["values"]).iter().map(sample).collect())
        };
        list(&answer["result"]).iter().map(series).collect()
    }

    /// The labels of the series that a selector finds.
    pub fn series(&self, selector: &str) -> Vec<Labels> {
        list(&self.ask("series", &[("match[]", selector)])).iter().map(labels).collect()
    }

    /// The exemplars of the series in a query, between two times in Unix seconds.
    pub fn exemplars(&self, query: &str, start: f64, end: f64) -> Vec<Exemplar> {
        let (start, end) = (format!("{start:.3}"), format!("{end:.3}"));
        let answer = self.ask("query_exemplars", &[("query", query), ("start", &start), ("end", &end)]);
        let of_series = |series: &Value| {
            let exemplar = |one: &Value| Exemplar {
                series: labels(&series["seriesLabels"]),
                labels: labels(&one["labels"]),
                value: number(&one["value"]),
            };
            list(&series["exemplars"]).iter().map(exemplar).collect::<Vec<_>>()
        };
        list(&answer).iter().flat_map(of_series).collect()
    }

    fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Value {
        let form: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let headers = [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let path = format!("/api/v1/{endpoint}");
        let answer = http::request(&self.address, "POST", &path, &headers, Some(form.join("&").as_bytes()));
        let body = answer.expect("an answer of Prometheus").body;
        let mut answer: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
        assert_eq!(answer["status"], "success", "{endpoint} {parameters:?}: {answer}");
        answer["data"].take()
    }
}

fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn labels(value: &Value) -> Labels {
    let pair = |(name, value): (&String, &Value)| (name.clone(), value.as_str().expect("a label").to_owned());
    value.as_object().expect("labels").iter().map(pair).collect()
}

/// Values stand as texts, times as numbers.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("+Inf") => f64::INFINITY,
        Some("-Inf") => f64::NEG_INFINITY,
        Some(text) => text.parse().expect("a number"),
        None => value.as_f64().expect("a number"),
    }
}
