//! The budget of memory: how large it is, and how it is shown.

use std::fmt::Write;
use std::path::Path;

use trackway_common::MemoryPool;
use trackway_config::Config;

/// Of what a container may have, as a part of two, when nothing is configured: the rest is for the program itself, for what
/// allocators keep, and for the page cache that the container pays for, too.
const CONTAINER_SHARE: u64 = 2;
/// The same of a machine, where others live.
const MACHINE_SHARE: u64 = 4;
/// Where nobody says how much memory there is.
const UNKNOWN: u64 = 1 << 30;
/// Least budget.
const LEAST: u64 = 64 << 20;

/// The budget: what is configured, or a share of what the container or the machine has.
pub(crate) fn budget(config: &Config) -> MemoryPool {
    let limit = match config.trackway.memory.limit {
        Some(limit) => limit.bytes(),
        None => share(Path::new("/")).max(LEAST),
    };
    MemoryPool::new(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A share of the memory that the files below `root` speak of.
fn share(root: &Path) -> u64 {
    let machine = machine_bytes(root);
    let container = container_bytes(root).filter(|bytes| machine.is_none_or(|machine| *bytes < machine));
    match (container, machine) {
        (Some(bytes), _) => bytes / CONTAINER_SHARE,
        (None, Some(bytes)) => bytes / MACHINE_SHARE,
        (None, None) => UNKNOWN / MACHINE_SHARE,
    }
}

/// What the control groups allow: the least of this one and those above it.
fn container_bytes(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mount = root.join(mount);
        // In a container its own group is mounted at the top, whatever the path says.
        let folder = mount.join(path.trim_start_matches('/'));
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&mount)) {
            let text = std::fs::read_to_string(folder.join(file));
            let limit = text.ok().and_then(|text| text.trim().parse::<u64>().ok());
            least = [least, limit].into_iter().flatten().min();
        }
    }
    least
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of the process that are in memory now, and most of them at any time; nothing where the system does not say.
fn resident() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some([of("VmRSS:")?, of("VmHWM:")?])
}

/// Appends the metrics of the budget.
pub(crate) fn write_metrics(pool: &MemoryPool, out: &mut String) {
    let mut family = |name: &str, kind: &str, help: &str, values: Vec<(String, u64)>| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let users = pool.users();
    let of_users = |value: fn(&trackway_common::MemoryUse) -> u64| {
        users.iter().map(|user| (format!("{{user=\"{}\"}}", user.user.name()), value(user))).collect()
    };
    family(
        "trackway_memory_limit_bytes",
        "gauge",
        "The memory budget (trackway.memory.limit).",
        vec![(String::new(), pool.limit() as u64)],
    );
    family(
        "trackway_memory_bytes",
        "gauge",
        "Bytes of the budget in use.",
        of_users(|user| user.used as u64),
    );
    family(
        "trackway_memory_peak_bytes",
        "gauge",
        "Most bytes of the budget in use at any time.",
        of_users(|user| user.peak as u64),
    );
    family(
        "trackway_memory_waits_total",
        "counter",
        "How often memory was waited for.",
        of_users(|user| user.waits),
    );
    family(
        "trackway_memory_refusals_total",
        "counter",
        "How often there was no memory.",
        of_users(|user| user.refusals),
    );
    if let Some([now, _]) = resident() {
        family(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            vec![(String::new(), now)],
        );
    }
}

/// The page `/status/memory`: who holds how much of the budget.
pub(crate) fn page(pool: &MemoryPool) -> String {
    let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let mut out =
        format!("budget {} (trackway.memory.limit), in use {}\n", mib(pool.limit()), mib(pool.used()));
    if let Some([now, peak]) = resident() {
        let [now, peak] = [now, peak].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "process {}, at most {} so far", mib(now), mib(peak));
    }
    let _ = writeln!(
        out,
        "\n{:<12} {:>12} {:>7} {:>12} {:>8} {:>9}",
        "USER", "NOW", "SHARE", "PEAK", "WAITS", "REFUSALS"
    );
    for user in pool.users() {
        let share = user.used as f64 * 100.0 / pool.limit().max(1) as f64;
        let _ = writeln!(
            out,
            "{:<12} {:>12} {share:>6.1}% {:>12} {:>8} {:>9}",
            user.user.name(),
            mib(user.used),
            mib(user.peak),
            user.waits,
            user.refusals
        );
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_budget_is_a_share_of_the_container_or_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(share(root.path()), 256 << 20, "nobody says anything");
        put("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
        assert_eq!(share(root.path()), 2 << 30, "a machine of 8 GiB");
        put("proc/self/cgroup", "0::/pod/app\n");
        put("sys/fs/cgroup/pod/app/memory.max", "max\n");
        assert_eq!(share(root.path()), 2 << 30, "a group without a limit");
        put("sys/fs/cgroup/pod/memory.max", "1073741824\n");
        assert_eq!(share(root.path()), 512 << 20, "the limit of the group above");
        put("proc/self/cgroup", "5:cpu:/a\n4:memory,hugetlb:/a\n");
        put("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
        assert_eq!(share(root.path()), 256 << 20, "the first version of groups");
        put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(share(root.path()), 2 << 30, "which says so when there is no limit");
    }
}
