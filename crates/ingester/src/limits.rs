//! What a tenant may send of traces: how many of them at a time (`max_traces_per_user`), and how much of each
//! (`max_bytes_per_trace`). Judged before a request is written to the log.
//!
//! What must stay true: a request that comes to nothing counts for nothing; spans up to a limit are kept, each by itself;
//! what is remembered has a bound, and whom it does not remember it does not limit. After a restart sizes begin at zero.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use trackway_common::{TenantId, TraceId};
use trackway_overrides::Limits;
use trackway_spans::{AppendError, Refusal, Refused, peek_spans};

use crate::generations::{Generations, Key};

/// Traces of all tenants whose liveness, and as many whose size, is known in each generation: some 40 bytes each.
const TRACES_MAX: usize = 1 << 18;

/// Spans that were refused by a limit, of requests that were taken in lately, remembered for those who send them again.
const REMEMBERED_MAX: usize = 100_000;

/// Limits of traces, of all tenants.
#[derive(Debug)]
pub(crate) struct TraceLimits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Numbers of the tenants of whom anything is known.
    tenants: HashMap<TenantId, u32>,
    next: u32,
    live: Generations<()>,
    sizes: Generations<u64>,
    /// By the hash of the request, and in the order in which they came.
    remembered: HashMap<u128, Vec<Refused>>,
    order: VecDeque<u128>,
    remembered_spans: usize,
}

/// What became of a request's spans, as far as limits go. What it counted is taken back unless it is kept.
#[derive(Debug)]
#[must_use = "dropped, it counts for nothing"]
pub(crate) struct Judged<'l> {
    limits: &'l TraceLimits,
    /// In order.
    pub(crate) refused: Vec<Refused>,
    added: Vec<(Key, u64)>,
    /// Traces that were not live before.
    new: Vec<Key>,
}

impl Judged<'_> {
    /// The request is durable.
    pub(crate) fn keep(mut self) -> Vec<Refused> {
        self.added.clear();
        self.new.clear();
        std::mem::take(&mut self.refused)
    }
}

impl Drop for Judged<'_> {
    fn drop(&mut self) {
        if self.added.is_empty() && self.new.is_empty() {
            return;
        }
        let mut state = self.limits.state.lock();
        for key in &self.new {
            state.live.remove(*key);
        }
        for (key, bytes) in &self.added {
            if let Some(size) = state.sizes.get_mut(*key) {
                *size = size.saturating_sub(*bytes);
            }
        }
    }
}

impl TraceLimits {
    /// `idle` is how long a trace without new spans counts as live, `kept` how long its size is known.
    pub(crate) fn new(idle: Duration, kept: Duration) -> Self {
        let state = State {
            tenants: HashMap::new(),
            next: 0,
            live: Generations::new(idle, TRACES_MAX),
            sizes: Generations::new(kept.max(idle), TRACES_MAX),
            remembered: HashMap::new(),
            order: VecDeque::new(),
            remembered_spans: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// Judges a request at `now`, by the monotonic clock.
    ///
    /// # Errors
    /// [`AppendError`] if it cannot be walked to its end.
    pub(crate) fn judge(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        request: &[u8],
        now: Duration,
    ) -> Result<Judged<'_>, AppendError> {
        let mut judged = Judged { limits: self, refused: Vec::new(), added: Vec::new(), new: Vec::new() };
        let most_traces = most_traces(limits);
        let most_bytes = limits.max_bytes_per_trace as u64;
        if most_traces.is_none() && most_bytes == 0 {
            return Ok(judged);
        }
        // Reading comes before locking.
        let mut spans: Vec<(u32, TraceId, u64)> = Vec::new();
        peek_spans(request, |span| {
            if let Some(trace) = span.trace_id() {
                spans.push((span.ordinal, trace, span.message.len() as u64));
            }
        })?;
        let mut state = self.state.lock();
        state.tick(now);
        let number = state.number(tenant);
        // Senders send the spans of a trace one after the other.
        for run in spans.chunk_by(|one, next| one.1 == next.1) {
            let trace = run[0].1;
            let key = (number, trace);
            if let Some(limit) = most_traces
                && state.live.see(key).is_none()
            {
                if state.live.count(key.0) < limit {
                    state.live.see_or_add(key);
                    judged.new.push(key);
                } else {
                    let reason = Refusal::LiveTraces { limit };
                    judged.refused.extend(run.iter().map(|span| Refused { ordinal: span.0, reason }));
                    continue;
                }
            }
            if most_bytes == 0 {
                continue;
            }
            let size = state.sizes.see_or_add(key);
            let before = *size;
            for (ordinal, _, bytes) in run {
                if *size + bytes > most_bytes {
                    let reason = Refusal::TraceTooLarge { trace, limit: most_bytes };
                    judged.refused.push(Refused { ordinal: *ordinal, reason });
                } else {
                    *size += bytes;
                }
            }
            if *size > before {
                judged.added.push((key, *size - before));
            }
        }
        Ok(judged)
    }

    /// Remembers what limits refused of a request that was taken in.
    pub(crate) fn remember(&self, hash: u128, refused: &[Refused]) {
        if refused.is_empty() || refused.len() > REMEMBERED_MAX {
            return;
        }
        let mut state = self.state.lock();
        if state.remembered.insert(hash, refused.to_vec()).is_some() {
            return;
        }
        state.remembered_spans += refused.len();
        state.order.push_back(hash);
        while state.remembered_spans > REMEMBERED_MAX {
            let Some(oldest) = state.order.pop_front() else { break };
            let gone = state.remembered.remove(&oldest).map_or(0, |gone| gone.len());
            state.remembered_spans = state.remembered_spans.saturating_sub(gone);
        }
    }

    /// What limits refused of a request the first time, as far as it is remembered: not over a restart, and not of the oldest.
    pub(crate) fn refused_before(&self, hash: u128) -> Vec<Refused> {
        self.state.lock().remembered.get(&hash).cloned().unwrap_or_default()
    }

    /// Live traces by tenant at `now`.
    pub(crate) fn live(&self, now: Duration) -> Vec<(TenantId, u64)> {
        let mut state = self.state.lock();
        state.tick(now);
        let count = |(tenant, number): (&TenantId, &u32)| (tenant.clone(), state.live.count(*number));
        let mut live: Vec<_> = state.tenants.iter().map(count).collect();
        live.sort();
        live
    }
}

/// How many traces may be live; with one ingester the limit for all of them is that of this one.
fn most_traces(limits: &Limits) -> Option<u64> {
    let limits = [limits.max_traces_per_user, limits.max_global_traces_per_user];
    limits.into_iter().filter(|limit| *limit > 0).min()
}

impl State {
    fn tick(&mut self, now: Duration) {
        let (live, sizes) = (self.live.tick(now), self.sizes.tick(now));
        if live || sizes {
            self.tenants.retain(|_, number| self.live.has(*number) || self.sizes.has(*number));
        }
    }

    fn number(&mut self, tenant: &TenantId) -> u32 {
        if let Some(number) = self.tenants.get(tenant) {
            return *number;
        }
        self.next = self.next.wrapping_add(1);
        self.tenants.insert(tenant.clone(), self.next);
        self.next
    }
}

#[cfg(test)]
mod tests {
    use trackway_spans::wire::{put_bytes, put_message};

    use super::*;

    const IDLE: Duration = Duration::from_secs(5);
    const KEPT: Duration = Duration::from_secs(60);

    /// Spans of so many bytes.
    fn request(spans: &[(u128, usize)]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_message(out, 2, |out| {
                for (trace, bytes) in spans {
                    put_message(out, 2, |out| {
                        put_bytes(out, 1, &trace.to_be_bytes());
                        // 18 bytes of id, 2 of framing.
                        put_bytes(out, 5, &vec![b'n'; bytes - 20]);
                    });
                }
            });
        });
        out
    }

    fn refused(judged: Vec<Refused>) -> Vec<(u32, &'static str)> {
        judged.into_iter().map(|refused| (refused.ordinal, refused.reason.label())).collect()
    }

    #[test]
    fn traces_are_limited_in_number_until_they_are_idle() {
        let limits = Limits { max_traces_per_user: 2, max_global_traces_per_user: 9, ..Limits::unlimited() };
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let traces = TraceLimits::new(IDLE, KEPT);
        let judge = |tenant, spans: &[u128], seconds| {
            let spans: Vec<(u128, usize)> = spans.iter().map(|trace| (*trace, 30)).collect();
            let now = Duration::from_secs(seconds);
            refused(traces.judge(tenant, &limits, &request(&spans), now).unwrap().keep())
        };
        assert_eq!(judge(&a, &[1, 2, 1], 100), []);
        assert_eq!(judge(&a, &[3, 1, 3, 2], 100), [(0, "live_traces_exceeded"), (2, "live_traces_exceeded")]);
        assert_eq!(judge(&b, &[3, 4], 100), []);
        assert_eq!(traces.live(Duration::from_secs(101)), [(a.clone(), 2), (b.clone(), 2)]);
        // A trace that goes on stays; the other one is idle and makes room.
        assert_eq!(judge(&a, &[1], 106), []);
        assert_eq!(judge(&a, &[1], 112), []);
        assert_eq!(judge(&a, &[3], 112), []);
        // Idle tenants are forgotten.
        assert_eq!(traces.live(Duration::from_secs(100_000)), []);
    }

    #[test]
    fn spans_up_to_the_limit_are_kept_and_what_fails_counts_for_nothing() {
        let limits = Limits { max_bytes_per_trace: 100, ..Limits::unlimited() };
        let (tenant, traces) = (TenantId::single(), TraceLimits::new(IDLE, KEPT));
        let judge = |spans: &[(u128, usize)]| {
            traces.judge(&tenant, &limits, &request(spans), Duration::from_secs(100)).unwrap()
        };
        drop(judge(&[(1, 100)]));
        assert_eq!(
            refused(judge(&[(1, 60), (2, 100), (1, 50), (1, 40), (1, 20)]).keep()),
            [(2, "trace_too_large"), (4, "trace_too_large"),]
        );
        let after = traces.judge(&tenant, &limits, &request(&[(1, 100)]), Duration::from_secs(1000)).unwrap();
        assert_eq!(refused(after.keep()), []);
        let off = Limits::unlimited();
        assert!(traces.judge(&tenant, &off, &request(&[(1, 9999)]), KEPT).unwrap().keep().is_empty());
    }

    #[test]
    fn what_fails_makes_no_trace_live() {
        let limits = Limits { max_traces_per_user: 1, ..Limits::unlimited() };
        let (tenant, traces) = (TenantId::single(), TraceLimits::new(IDLE, KEPT));
        let judge = |trace| {
            traces.judge(&tenant, &limits, &request(&[(trace, 30)]), Duration::from_secs(100)).unwrap()
        };
        drop(judge(1));
        assert_eq!(refused(judge(2).keep()), []);
        // One that was live before stays so.
        drop(judge(2));
        assert_eq!(refused(judge(1).keep()), [(0, "live_traces_exceeded")]);
    }

    #[test]
    fn what_was_refused_is_told_again() {
        let traces = TraceLimits::new(IDLE, KEPT);
        let refused = [Refused { ordinal: 3, reason: Refusal::LiveTraces { limit: 1 } }];
        traces.remember(7, &refused);
        assert_eq!(traces.refused_before(7), refused);
        assert_eq!(traces.refused_before(8), []);
        for hash in 0..200_000 {
            traces.remember(hash, &refused);
        }
        assert!(traces.state.lock().order.len() <= REMEMBERED_MAX);
        assert_eq!(traces.refused_before(7), []);
    }
}
