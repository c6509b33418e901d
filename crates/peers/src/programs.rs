//! Programs with real client libraries in them, and the browser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process::find;

/// How long fetching may take, in seconds; after that a test is skipped.
const FETCH_SECONDS: &str = "900";

/// The folder with the programs of `tests/js`, `tests/java` or `tests/go`, which are fetched and made when they are not
/// there yet; why there are none otherwise, which is found out once. `tmp` is the test's `CARGO_TARGET_TMPDIR`, beside which they lie in `peers`.
pub fn programs(name: &str, tmp: &str) -> Result<PathBuf, String> {
    static KNOWN: Mutex<BTreeMap<String, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(name.to_owned())
        .or_insert_with(|| fetch(name, &Path::new(tmp).with_file_name("peers")))
        .clone()
}

fn fetch(name: &str, peers: &Path) -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fetch-senders");
    let mut command = Command::new("timeout");
    command.args([FETCH_SECONDS, script, name]).arg(peers).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{script}: {error}"))?;
    if output.status.success() {
        return Ok(peers.join(name));
    }
    if output.status.code() == Some(124) {
        return Err(format!("{name} was not fetched in {FETCH_SECONDS} s"));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it cannot be fetched").to_owned())
}

/// Chromium, or what is built on it: in `PATH`, or one that Playwright keeps.
pub fn chromium() -> Result<PathBuf, String> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let kept = || {
        let home = PathBuf::from(std::env::var_os("HOME")?).join(".cache/ms-playwright");
        let versions = std::fs::read_dir(home).ok()?.flatten().map(|entry| entry.path());
        let mut programs = versions.flat_map(|version| {
            ["chrome-linux/chrome", "chrome-linux64/chrome"].map(|name| version.join(name))
        });
        programs.find(|program| program.is_file())
    };
    let program = names.iter().find_map(|name| find(name)).or_else(kept);
    program.ok_or_else(|| format!("none of {} is in PATH, nor one of Playwright's", names.join(", ")))
}
