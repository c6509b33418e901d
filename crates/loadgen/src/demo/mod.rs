//! The demo's web shop: believable traces to look at when there are none of one's own.
//!
//! Nine services in the namespaces `shop` and `logistics`, PostgreSQL, Redis and Kafka between them. People look, fill
//! carts and buy; some payments are declined, some calls are slow.
//!
//! What must stay true: the seed and the times handed in decide every byte; a trace ends before the moment it is made
//! for; among backdated traces there is always a failed checkout to show.

mod scenes;
mod services;
mod story;

use scenes::{Purchase, Scene};
use story::Story;

use crate::dice::Dice;

/// How far back [`Demo::backdated`] goes, in nanoseconds.
pub const BACKDATED_NS: u64 = 30 * 60 * 1_000_000_000;

/// Makes the shop's traces.
#[derive(Debug)]
pub struct Demo {
    seed: u64,
    made: u64,
}

/// One trace of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoTrace {
    /// Its id.
    pub trace_id: [u8; 16],
    /// The whole trace as one encoded `ExportTraceServiceRequest`.
    pub request: Vec<u8>,
    /// How many spans it has.
    pub spans: usize,
    /// Whether any of its spans failed.
    pub is_error: bool,
    /// What happened, in a few words: `failed checkout: card declined by issuer: insufficient funds`.
    pub summary: String,
    /// When its first span started, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// When its last span ended.
    pub end_ns: u64,
}

impl DemoTrace {
    /// Whether somebody wanted to buy and could not: the trace to show first.
    pub fn is_failed_checkout(&self) -> bool {
        self.summary.starts_with("failed checkout")
    }
}

impl Demo {
    /// A shop; other seeds make other days.
    pub fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    /// So many traces spread over the last half hour, oldest first. One of them at least is a failed checkout.
    pub fn backdated(&mut self, traces: usize, now_ns: u64) -> Vec<DemoTrace> {
        let count = traces as u64;
        (0..count)
            .map(|at| {
                // The newest ends a moment ago.
                let age = u128::from(BACKDATED_NS) * u128::from(count - at) / u128::from(count + 1);
                let end = now_ns.saturating_sub(u64::try_from(age).unwrap_or(BACKDATED_NS));
                self.make(end, (at == count / 2).then_some(Scene::Buy(Purchase::Declined)))
            })
            .collect()
    }

    /// One trace that ends now.
    pub fn live(&mut self, now_ns: u64) -> DemoTrace {
        self.make(now_ns, None)
    }

    fn make(&mut self, end: u64, scene: Option<Scene>) -> DemoTrace {
        let mut dice = Dice::new(self.seed, self.made);
        self.made += 1;
        let lot = dice.below(100);
        let scene = scene.unwrap_or_else(|| Scene::by_lot(lot));
        // A story takes as long whenever it starts: told once for its length, and once so that it ends in time.
        let mut rehearsal = Story::new(dice.clone(), 0);
        scene.tell(&mut rehearsal);
        let start_ns = end.saturating_sub(rehearsal.end());
        let mut story = Story::new(dice, start_ns);
        let summary = scene.tell(&mut story);
        DemoTrace {
            trace_id: story.trace_id(),
            request: story.request(),
            spans: story.spans(),
            is_error: story.is_error(),
            summary,
            start_ns,
            end_ns: story.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::otlp::trace_span_ids;

    const NOW: u64 = 1_760_000_000_000_000_000;

    #[test]
    fn half_an_hour_of_a_shop() {
        let traces = Demo::new(3).backdated(500, NOW);
        assert_eq!(traces.len(), 500);
        let spans: usize = traces.iter().map(|trace| trace.spans).sum();
        println!("{:.1} spans a trace", spans as f64 / 500.0);
        assert!((6_000..=13_000).contains(&spans), "{spans} spans");
        let mut seen = HashSet::new();
        let mut summaries: HashMap<&str, usize> = HashMap::new();
        for trace in &traces {
            assert!(NOW - BACKDATED_NS <= trace.end_ns && trace.end_ns < NOW);
            assert!(trace.start_ns < trace.end_ns && trace.end_ns - trace.start_ns < 60_000_000_000);
            let ids = trace_span_ids(&trace.request).expect("well formed");
            assert_eq!(ids.len(), 1);
            assert_eq!(ids[&trace.trace_id].len(), trace.spans);
            assert!(ids[&trace.trace_id].iter().all(|id| seen.insert(*id)), "a span id stands twice");
            assert!(trace.is_error || !trace.summary.starts_with("failed"));
            *summaries.entry(trace.summary.as_str()).or_default() += 1;
        }
        let errors = traces.iter().filter(|trace| trace.is_error).count();
        assert!((20..100).contains(&errors), "{errors} errors");
        assert!(traces.iter().any(DemoTrace::is_failed_checkout));
        for summary in ["home page", "slow home page", "checkout", "restock", "slow checkout"] {
            assert!(summaries.contains_key(summary), "{summary}: {summaries:?}");
        }
        assert!(traces.windows(2).all(|two| two[0].end_ns < two[1].end_ns));
    }

    #[test]
    fn there_is_always_something_to_show() {
        for (count, seed) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
            let traces = Demo::new(seed).backdated(count, NOW);
            assert_eq!(traces.len(), count);
            assert_eq!(traces.iter().any(DemoTrace::is_failed_checkout), count > 0);
        }
    }

    #[test]
    fn the_same_seed_tells_the_same() {
        let told = |seed| {
            let mut demo = Demo::new(seed);
            let mut traces = demo.backdated(40, NOW);
            traces.push(demo.live(NOW + 5));
            traces
        };
        let first = told(9);
        assert_eq!(first, told(9));
        assert_ne!(first, told(10));
        assert_eq!(first.last().map(|trace| trace.end_ns), Some(NOW + 5));
    }
}
