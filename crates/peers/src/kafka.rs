//! A Kafka broker that is its own controller (KRaft), with a listener for each way to log in. Its jars come by Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Authority;
use crate::process::{Peer, find, free_port, installed};

/// A running broker. Killed and started again it has its data still.
#[derive(Debug)]
pub struct Kafka {
    /// Anybody may come.
    pub plain: String,
    /// [`Kafka::USER`] with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub sasl: String,
    /// The same over TLS.
    pub sasl_tls: String,
    /// Whoever shows a certificate of the authority, over TLS.
    pub mutual_tls: String,
    /// The authority of all certificates.
    pub ca_file: String,
    /// A client's certificate and its key.
    pub client: (String, String),
    jars: PathBuf,
    java: PathBuf,
    folder: TempDir,
    peer: Option<Peer>,
}

impl Kafka {
    /// Who may log in.
    pub const USER: &str = "alice";
    /// Its password.
    pub const PASSWORD: &str = "alice-secret";

    /// Starts one; why not otherwise.
    pub fn start() -> Result<Self, String> {
        let java = find("java").ok_or("java is not in PATH")?;
        let jars = jars()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let authority = Authority::new(folder.path());
        let (cert, key) = authority.issue("127.0.0.1");
        let client = authority.issue("client");
        let pem = [cert, key].map(|file| std::fs::read_to_string(file).expect("a file")).concat();
        std::fs::write(folder.path().join("server.pem"), pem).expect("a writable folder");
        let [plain, sasl, sasl_tls, mutual_tls, controller] = [(); 5].map(|()| address());
        let listeners =
            format!("PLAINTEXT://{plain},LOGIN://{sasl},LOGINTLS://{sasl_tls},MUTUAL://{mutual_tls}");
        let shown = folder.path().display();
        let file = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners={listeners},CONTROLLER://{controller}\nadvertised.listeners={listeners}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,LOGINTLS:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n{logins}\
             ssl.keystore.type=PEM\nssl.keystore.location={shown}/server.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={shown}/ca.pem\n\
             listener.name.mutual.ssl.client.auth=required\n\
             log.dirs={shown}/data\nnum.partitions=1\nauto.create.topics.enable=false\n\
             offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\nmessage.max.bytes=20000000\n",
            logins = logins()
        );
        std::fs::write(folder.path().join("broker.properties"), file).expect("a writable folder");
        let ca_file = authority.certificate();
        let mut kafka =
            Self { plain, sasl, sasl_tls, mutual_tls, ca_file, client, jars, java, folder, peer: None };
        kafka.restart()?;
        Ok(kafka)
    }

    /// Starts it again where it was, with its data.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/kafka/Broker.java");
        let mut peer = Peer::start(|_| {
            let mut command = Command::new(&self.java);
            command.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            command.arg("-cp").arg(self.jars.join("*")).arg(source);
            command.arg(self.folder.path().join("broker.properties"));
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.arg(format!("{mechanism}=[name={},password={}]", Self::USER, Self::PASSWORD));
            }
            command
        })?;
        for address in [&self.plain, &self.sasl, &self.sasl_tls, &self.mutual_tls] {
            peer.until_listening(address)?;
        }
        self.peer = Some(peer);
        Ok(())
    }

    /// Whether it was not killed.
    pub fn is_running(&self) -> bool {
        self.peer.is_some()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.peer = None;
    }
}

fn address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Who may log in, and how.
fn logins() -> String {
    let (user, password) = (Kafka::USER, Kafka::PASSWORD);
    let mut lines = String::new();
    for listener in ["login", "logintls"] {
        let module = "org.apache.kafka.common.security";
        lines += &format!(
            "listener.name.{listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{user}=\"{password}\";\n"
        );
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            lines += &format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config={module}.scram.ScramLoginModule required;\n"
            );
        }
    }
    lines
}

/// Where the jars are, after fetching them if they were not there.
fn jars() -> Result<PathBuf, String> {
    if let Some(jars) = installed("kafka/lib") {
        return Ok(jars);
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let is_profile = |folder: &&Path| folder.ends_with("debug") || folder.ends_with("release");
    let target = program.ancestors().find(is_profile).and_then(Path::parent).ok_or("no target folder")?;
    let (jars, fetched) = (target.join("peers/kafka/lib"), target.join("peers/kafka/fetching"));
    let maven =
        find("mvn").ok_or("mvn is not in PATH, and the jars of Kafka are not in target/peers/kafka/lib")?;
    let mut command = Command::new(maven);
    command
        .args(["-q", "-B", "-f"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/kafka/pom.xml"));
    command.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", fetched.display()));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => {
            // Whole or not at all.
            std::fs::rename(&fetched, &jars).map_err(|error| error.to_string())?;
            Ok(jars)
        }
        Ok(status) => Err(format!("mvn could not fetch the jars of Kafka: {status}")),
        Err(error) => Err(format!("mvn: {error}")),
    }
}
