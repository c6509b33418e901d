//! memcached and Redis, which can be killed, hung and started again where they were.

use std::path::Path;
use std::process::Command;

use crate::process::{Peer, find, free_port};

type Make = Box<dyn Fn(&Path) -> Command + Send>;

/// A server of a cache.
pub struct CacheServer {
    /// Host and port.
    pub address: String,
    make: Make,
    peer: Option<Peer>,
}

impl CacheServer {
    /// Starts memcached; why not otherwise.
    pub fn memcached() -> Result<Self, String> {
        Self::memcached_with(&[])
    }

    /// Starts memcached with these arguments too.
    pub fn memcached_with(arguments: &[&str]) -> Result<Self, String> {
        let program = find("memcached").ok_or("memcached is not installed")?;
        let port = free_port().to_string();
        let address = format!("127.0.0.1:{port}");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let make = move |_: &Path| {
            let mut command = Command::new(&program);
            command.args(["-u", "root", "-l", "127.0.0.1", "-p", &port, "-m", "64"]).args(&arguments);
            command
        };
        Self::start(address, Box::new(make))
    }

    /// Starts Redis; why not otherwise.
    pub fn redis() -> Result<Self, String> {
        Self::redis_with(&[])
    }

    /// Starts Redis with these arguments too.
    pub fn redis_with(arguments: &[&str]) -> Result<Self, String> {
        let program = find("redis-server").ok_or("redis-server is not installed")?;
        let port = free_port().to_string();
        let address = format!("127.0.0.1:{port}");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let make = move |folder: &Path| {
            let mut command = Command::new(&program);
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
            command.arg("--dir").arg(folder).args(&arguments);
            command
        };
        Self::start(address, Box::new(make))
    }

    /// Starts a Sentinel that watches a master by this name.
    pub fn sentinel(name: &str, master: &Self) -> Result<Self, String> {
        let program = find("redis-server").ok_or("redis-server is not installed")?;
        let port = free_port();
        let (host, master_port) = master.address.split_once(':').ok_or("an address")?;
        let file = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor {name} {host} {master_port} 1\n\
             sentinel down-after-milliseconds {name} 1000\n"
        );
        let make = move |folder: &Path| {
            let config = folder.join("sentinel.conf");
            std::fs::write(&config, &file).expect("a writable folder");
            let mut command = Command::new(&program);
            command.arg(config).arg("--sentinel");
            command
        };
        Self::start(format!("127.0.0.1:{port}"), Box::new(make))
    }

    fn start(address: String, make: Make) -> Result<Self, String> {
        let mut server = Self { address, make, peer: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again where it was, with nothing in it.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let mut peer = Peer::start(&self.make)?;
        peer.until_listening(&self.address)?;
        self.peer = Some(peer);
        Ok(())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.peer = None;
    }

    /// Hangs it: the kernel takes connections, and nobody answers.
    pub fn hang(&self) {
        self.signal("-STOP");
        // The signal is sent, and its threads stop a little later.
        while !self.is_stopped() {
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.peer.as_ref().expect("it runs").id());
        let state = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        std::fs::read_dir(tasks).into_iter().flatten().flatten().all(state)
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.peer.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }
}

/// Three servers of a Redis cluster.
pub struct RedisCluster {
    /// The servers.
    pub nodes: Vec<CacheServer>,
}

impl RedisCluster {
    /// Starts them and waits until they are one; why not otherwise.
    pub fn start() -> Result<Self, String> {
        let cli = find("redis-cli").ok_or("redis-cli is not installed")?;
        let arguments = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
        let nodes = (0..3).map(|_| CacheServer::redis_with(&arguments)).collect::<Result<Vec<_>, _>>()?;
        let mut command = Command::new(&cli);
        command.args(["--cluster", "create"]).args(nodes.iter().map(|node| &node.address));
        let output = command.args(["--cluster-yes"]).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(Self { nodes })
    }

    /// Their addresses, with commas between them.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>().join(",")
    }
}
