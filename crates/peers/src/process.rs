//! A server in a process of its own, which ends with the value.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running process and its folder.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// A folder for its data.
    pub folder: TempDir,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts a program; `command` is told the folder.
    pub fn start(command: impl FnOnce(&std::path::Path) -> Command) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = command(folder.path());
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let (send, lines) = channel();
        let output = child.stdout.take().ok_or("no output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, folder, lines })
    }

    /// Waits until it prints a line with this beginning; what follows it.
    pub fn until_line(&mut self, beginning: &str) -> Result<String, String> {
        let started = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(_) => self.still_here(started)?,
            }
        }
    }

    /// Waits until somebody listens at an address.
    pub fn until_listening(&mut self, address: &str) -> Result<(), String> {
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            self.still_here(started)?;
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn still_here(&mut self, started: Instant) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("it ended with {status}"));
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("it did not start in {} s", PATIENCE.as_secs()));
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A file where `.ci/run` puts servers: `peers` in the target folder, which tests lie below.
pub(crate) fn installed(file: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().expect("a program");
    let peers = program.ancestors().map(|folder| folder.join("peers")).find(|peers| peers.is_dir())?;
    Some(peers.join(file)).filter(|file| file.exists())
}

/// A program that `.ci/run` installed, or one in `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if let Some(own) = installed(&format!("bin/{name}")) {
        return Some(own);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
