//! Ports: binding them with errors that say who has them.

use tokio::net::TcpListener;

/// Binds an address; one on every interface takes IPv6 too, where the system has it.
pub(crate) async fn bind(address: &str, setting: &str) -> anyhow::Result<TcpListener> {
    if let Some(dual) = trackway_config::dual_stack(address)
        && let Ok(listener) = TcpListener::bind(&dual).await
    {
        return Ok(listener);
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let port = address.rsplit(':').next().unwrap_or(address);
            let holder = port.parse().ok().and_then(holder_of);
            let who = holder
                .map_or_else(|| "another process".to_owned(), |(pid, name)| format!("pid {pid} ({name})"));
            anyhow::anyhow!("{port} is taken by {who}; stop it, or set {setting}")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!(
                "{address}: no permission to listen there; choose a port over 1024 with {setting}"
            )
        }
        _ => anyhow::anyhow!("{address}: {error}; see {setting}"),
    })
}

/// Who listens on a port of this machine, as far as this user may know.
fn holder_of(port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .collect();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| {
            let target = target.to_string_lossy().into_owned();
            inodes.iter().any(|inode| target == format!("socket:[{inode}]"))
        });
        if holds {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

/// The inode of the socket in a line of `/proc/net/tcp`, if it listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
    (local == port && *fields.get(3)? == LISTEN).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}
