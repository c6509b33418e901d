//! What the process asks of the allocator of the C library, and how much memory there is.

/// Pools of memory at the most. By default there are eight for each core, and every thread fills one of its own: at four
/// times the reference workload that took 404 MB where two take 235, for the same CPU time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const POOLS_MAX: libc::c_int = 2;
/// Free memory at the end of a pool that is kept, in bytes. A question takes some megabytes for columns and frees them
/// again; when they go back to the kernel each time, getting them back takes longer than the question.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 64 << 20;
/// Larger pieces than this are got from the kernel one by one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const POOLED_BYTES_MAX: libc::c_int = 16 << 20;

/// Keeps what is freed in few places, so that it is used again. Must be called before there are other threads.
pub(crate) fn keep_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "the C library has no safe door to this")]
    // SAFETY: `mallopt` takes two numbers and touches no memory of ours; there are no other threads yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, POOLS_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, POOLED_BYTES_MAX);
    }
}

/// Memory of the machine, or what the container may have of it, in bytes; where the system does not say, a gibibyte.
pub(crate) fn machine_bytes() -> u64 {
    const NOT_KNOWN: u64 = 1 << 30;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map(|kibibytes| kibibytes.saturating_mul(1024));
    let container = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    machine.into_iter().chain(container).min().unwrap_or(NOT_KNOWN)
}
