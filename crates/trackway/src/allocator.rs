//! What the process really has in memory, which the allocator of the C library decides: how much of what is freed it keeps,
//! and how much there is that nobody reserved.
//!
//! What must stay true: memory that nobody uses goes back to the system, and what is in use without a reservation counts
//! against the budget all the same.

use std::time::Duration;

use trackway_common::{MemoryPool, MemoryUser};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Free memory that is kept, for what comes next.
const KEPT_FREE_BYTES: u64 = 32 << 20;
/// It is not given back at every look, unless so many eighths of the budget are in memory: who takes some has to wait
/// meanwhile.
const LOOKS_BETWEEN: u32 = 3;
const NEAR_EIGHTHS: u64 = 6;
/// What the process has in memory besides everything that is reserved: stacks, connections, tables, pages in use in part.
const BASE_BYTES: u64 = 48 << 20;
/// What nobody reserved counts for no more than these eighths of the budget: something must be left to work with.
const UNCOUNTED_EIGHTHS: u64 = 3;

/// Sees to it that memory which was freed goes back to the system, and that what was never reserved counts. Never ends, where
/// the system says how much memory the process has.
pub(crate) async fn keep_within(pool: MemoryPool) {
    // `stuck` cannot be given back: free pieces of pages that are in use.
    let limit = pool.limit() as u64;
    let (mut uncounted, mut stuck, mut looks) = (0, 0, 0_u32);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(mut held) = held() else { return };
        let counted = (pool.used() as u64).saturating_sub(uncounted);
        looks = looks.saturating_add(1);
        let mut free = held.saturating_sub(in_use(held).unwrap_or(counted));
        let is_near = held > limit / 8 * NEAR_EIGHTHS;
        if (looks >= LOOKS_BETWEEN || is_near) && free > stuck + KEPT_FREE_BYTES {
            // It walks over all free memory, which may take some milliseconds.
            let _ = tokio::task::spawn_blocking(give_back).await;
            held = self::held().unwrap_or(held);
            free = held.saturating_sub(in_use(held).unwrap_or(counted));
            (looks, stuck) = (0, free);
        }
        stuck = stuck.min(free);
        let most = limit / 8 * UNCOUNTED_EIGHTHS;
        let now = held.saturating_sub(counted.saturating_add(BASE_BYTES)).min(most);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        pool.change(MemoryUser::Uncounted, bytes(uncounted), bytes(now));
        uncounted = now;
    }
}

/// Bytes that the process has in memory, without files.
fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Of so many bytes, those that the allocator has given out and not got back; `None` where it cannot tell.
fn in_use(held: u64) -> Option<u64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "the C library has no safe door to this")]
    {
        // Its newer form is not in the C libraries that are still in use.
        // SAFETY: `mallinfo` takes nothing, and may be called at any time, by any thread.
        let info = unsafe { libc::mallinfo() };
        // It counts in 32 bits and begins anew at 4 GiB; so does the sum.
        let bytes = info.uordblks.cast_unsigned().wrapping_add(info.hblkhd.cast_unsigned());
        u32::try_from(held).is_ok().then_some(u64::from(bytes))
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "the C library has no safe door to this")]
    // SAFETY: `malloc_trim` may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

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
/// The same two for a budget, as a share of it, where that is less: what is kept in case it is used again is not free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_SHARE: usize = 16;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const POOLED_SHARE: usize = 64;

/// Keeps what is freed in few places, so that it is used again. Must be called before there are other threads.
pub(crate) fn keep_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        set(libc::M_ARENA_MAX, POOLS_MAX);
        set(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        set(libc::M_MMAP_THRESHOLD, POOLED_BYTES_MAX);
    }
}

/// Keeps no more than fits a budget.
pub(crate) fn fit(limit: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let share = |of: usize, most: libc::c_int| {
            libc::c_int::try_from(limit / of).map_or(most, |share| share.min(most))
        };
        set(libc::M_TRIM_THRESHOLD, share(KEPT_SHARE, KEPT_BYTES));
        set(libc::M_MMAP_THRESHOLD, share(POOLED_SHARE, POOLED_BYTES_MAX));
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = limit;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the C library has no safe door to this")]
fn set(option: libc::c_int, value: libc::c_int) {
    // SAFETY: `mallopt` takes two numbers, touches no memory of ours, and takes the allocator's lock for those that others
    // look at.
    unsafe {
        libc::mallopt(option, value);
    }
}
