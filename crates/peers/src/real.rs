//! Real servers, where they are installed.

use std::io::Write;
use std::process::Command;

use crate::process::{Peer, find, free_port, installed};
use crate::s3::{ACCESS_KEY, SECRET_KEY};

/// Says by name that a test cannot be run here, and why. Not by a macro, whose text is kept back when a test passes.
pub fn skipped(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("standard error");
}

/// MinIO, with [`ACCESS_KEY`] and [`SECRET_KEY`].
#[derive(Debug)]
pub struct Minio {
    /// Host and port.
    pub endpoint: String,
    _peer: Peer,
}

impl Minio {
    /// Starts it with these buckets; why not otherwise.
    pub fn start(buckets: &[&str]) -> Result<Self, String> {
        let program = find("minio").ok_or("minio is neither in target/peers/bin nor in PATH")?;
        let endpoint = format!("127.0.0.1:{}", free_port());
        let mut peer = Peer::start(|folder| {
            // A folder at the top is a bucket.
            for bucket in buckets {
                std::fs::create_dir(folder.join(bucket)).expect("a writable folder");
            }
            let mut command = Command::new(program);
            command.args(["server", "--quiet", "--address", &endpoint, "--console-address", "127.0.0.1:0"]);
            command.arg(folder).env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
            command.env("MINIO_UPDATE", "off").env("MINIO_BROWSER", "off");
            command
        })?;
        peer.until_listening(&endpoint)?;
        Ok(Self { endpoint, _peer: peer })
    }
}

/// Azurite, Microsoft's emulator of Azure Blob Storage.
#[derive(Debug)]
pub struct Azurite {
    /// Host and port.
    pub endpoint: String,
    _peer: Peer,
}

impl Azurite {
    /// Its account.
    pub const ACCOUNT: &str = "devstoreaccount1";
    /// The account's key, which Microsoft publishes.
    pub const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts it; why not otherwise.
    pub fn start() -> Result<Self, String> {
        let script = installed("azurite/node_modules/azurite/dist/src/blob/main.js")
            .ok_or("azurite is not in target/peers/azurite")?;
        let node = find("node").ok_or("node is not in PATH")?;
        let port = free_port().to_string();
        let endpoint = format!("127.0.0.1:{port}");
        let mut peer = Peer::start(|folder| {
            let mut command = Command::new(node);
            command.arg(script).args(["--blobHost", "127.0.0.1", "--blobPort", &port, "--silent"]);
            command.args(["--skipApiVersionCheck", "--disableTelemetry", "--location"]).arg(folder);
            command
        })?;
        peer.until_listening(&endpoint)?;
        Ok(Self { endpoint, _peer: peer })
    }

    /// Makes a container.
    pub fn create_container(&self, name: &str) {
        crate::azure::create_container(&self.endpoint, Self::ACCOUNT, Self::KEY, name);
    }
}

/// An HDFS of one name node and one data node.
#[derive(Debug)]
pub struct Hdfs {
    /// `hdfs://127.0.0.1:port`.
    pub endpoint: String,
    _peer: Peer,
}

impl Hdfs {
    /// Starts it; why not otherwise.
    pub fn start() -> Result<Self, String> {
        let jars = installed("hdfs/lib").ok_or("the jars of HDFS are not in target/peers/hdfs/lib")?;
        let java = find("java").ok_or("java is not in PATH")?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/hdfs/MiniCluster.java");
        let mut peer = Peer::start(|folder| {
            let mut command = Command::new(java);
            command.arg("-Xmx512m").arg("-cp").arg(jars.join("*")).arg(source).arg(folder);
            command
        })?;
        let endpoint = peer.until_line("READY ")?;
        Ok(Self { endpoint, _peer: peer })
    }
}
