//! What the process really has in memory, which the allocator of the C library decides: how much of what is freed it keeps,
//! and how much there is that nobody reserved.
//!
//! What must stay true: memory that nobody uses goes back to the system, and what is in use without a reservation counts
//! against the budget all the same.

use std::time::Duration;

use trackway_common::{MemoryPool, MemoryUser};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What was free for so many looks is not about to be used again.
const LOOKS_OF_REST: u32 = 25;
/// Free memory that is worth giving back.
const WORTH_BYTES: u64 = 32 << 20;
/// What the process has in memory besides everything that is reserved: stacks, connections, tables, pages in use in part.
const BASE_BYTES: u64 = 48 << 20;
/// Near the budget it is given back at once, but not at every look: who takes memory has to wait meanwhile.
const LOOKS_BETWEEN: u32 = 3;
/// From this part of eight of the budget on.
const NEAR_EIGHTHS: u64 = 6;
/// What nobody reserved counts for no more than this part of the budget: something must be left to work with.
const UNCOUNTED_SHARE: u64 = 4;

/// Sees to it that memory which was freed goes back to the system, and that what was never reserved counts. Never ends, where
/// the system says how much memory the process has.
pub(crate) async fn keep_within(pool: MemoryPool) {
    let limit = pool.limit() as u64;
    let (mut rest, mut uncounted, mut looks) = (Rest::default(), 0, 0_u32);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(mut held) = held() else { return };
        let counted = (pool.used() as u64).saturating_sub(uncounted);
        looks = looks.saturating_add(1);
        let spare = held.saturating_sub(counted);
        let is_near = held > limit / 8 * NEAR_EIGHTHS && spare > WORTH_BYTES;
        if rest.is_over(spare) || is_near && looks >= LOOKS_BETWEEN {
            // It walks over all free memory, which may take some milliseconds.
            let _ = tokio::task::spawn_blocking(give_back).await;
            looks = 0;
            held = self::held().unwrap_or(held);
        }
        let now = held.saturating_sub(counted.saturating_add(BASE_BYTES)).min(limit / UNCOUNTED_SHARE);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        pool.change(MemoryUser::Uncounted, bytes(uncounted), bytes(now));
        uncounted = now;
    }
}

/// Since when how much was free.
#[derive(Default)]
struct Rest {
    looks: u32,
    least: Option<u64>,
}

impl Rest {
    /// Whether enough was free at all looks of a while.
    fn is_over(&mut self, spare: u64) -> bool {
        self.looks += 1;
        let least = self.least.map_or(spare, |least| least.min(spare));
        self.least = Some(least);
        if self.looks < LOOKS_OF_REST {
            return false;
        }
        *self = Self::default();
        least > WORTH_BYTES
    }
}

/// Bytes that the process has in memory, without files.
fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_free_for_a_while_is_given_back() {
        let looks = |spares: &mut dyn Iterator<Item = u64>| {
            let mut rest = Rest::default();
            spares.map(|spare| rest.is_over(spare)).filter(|over| *over).count()
        };
        let much = WORTH_BYTES + 1;
        assert_eq!(looks(&mut (0..100).map(|_| much)), 4);
        // What is used again and again stays.
        assert_eq!(looks(&mut (0..100).map(|look| if look % 10 == 0 { 0 } else { much })), 0);
    }
}
