//! One trace before it is written: which spans it has, whose children they are, how long they took, which failed.
//!
//! What must stay true: a plan depends on nothing but seed, index and start, so it can be made again at any time to
//! know what was sent. Children lie within their parents, except at the far end of a queue.

use super::services::SERVICES;
use super::shop::{Operation, ROOTS, Step, Topic, What};
use super::statements::Query;
use crate::dice::Dice;
use crate::otlp::Kind;

const MICRO: u64 = 1_000;

/// What a span stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Detail {
    Serve(&'static Operation),
    Call(&'static Operation),
    Query(&'static Query),
    Internal(&'static str),
    Publish(&'static Topic),
    Process(&'static Topic),
}

impl Detail {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Serve(operation) | Self::Call(operation) => operation.name,
            Self::Query(query) => query.name,
            Self::Internal(name) => name,
            Self::Publish(topic) => topic.publish,
            Self::Process(topic) => topic.process,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Serve(_) => Kind::Server,
            Self::Call(_) | Self::Query(_) => Kind::Client,
            Self::Internal(_) => Kind::Internal,
            Self::Publish(_) => Kind::Producer,
            Self::Process(_) => Kind::Consumer,
        }
    }
}

/// How a span failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Here it began.
    Origin(u8),
    /// Something below failed.
    Passed(u8),
}

/// One span of a plan.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) detail: Detail,
    pub(super) service: usize,
    pub(super) pod: u8,
    pub(super) id: u64,
    /// The parent's place in the plan; it always comes before.
    pub(super) parent: Option<usize>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) failure: Option<Failure>,
}

/// One trace.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) trace_id: [u8; 16],
    pub(super) user: u64,
    /// What the ids in its paths count from.
    pub(super) entity: u64,
    pub(super) order: Option<u64>,
    pub(super) spans: Vec<Planned>,
    pub(super) dice: Dice,
}

impl Plan {
    /// The trace of this number, from `start` on.
    pub(super) fn new(seed: u64, index: u64, start: u64) -> Self {
        let mut dice = Dice::new(seed, index);
        let trace_id = dice.trace_id();
        // Some users shop much more than others.
        let user = dice.below(10_000).min(dice.below(14_000));
        let entity = dice.below(40_000).min(dice.below(60_000));
        let mut plan = Self { trace_id, user, entity, order: None, spans: Vec::with_capacity(32), dice };
        let root = plan.root();
        if plan.dice.percent(35) {
            // Two digits of luck keep orders apart; the index makes them unique.
            plan.order = Some(10_000_000 + index * 100 + plan.dice.below(100));
        }
        plan.serve(root, None, start);
        if plan.dice.percent(15) {
            plan.fail();
        }
        plan
    }

    fn root(&mut self) -> &'static Operation {
        let total = ROOTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(total);
        for (operation, weight) in &ROOTS {
            if at < *weight {
                return operation;
            }
            at -= weight;
        }
        ROOTS[0].0
    }

    fn push(
        &mut self,
        detail: Detail,
        (service, pod): (usize, u8),
        parent: Option<usize>,
        start: u64,
    ) -> usize {
        let id = self.dice.span_id();
        self.spans.push(Planned { detail, service, pod, id, parent, start, end: start, failure: None });
        self.spans.len() - 1
    }

    fn pod(&mut self, service: usize) -> u8 {
        self.dice.below(u64::from(SERVICES[service].pods)) as u8
    }

    /// Clocks tick differently: a start is cut down and an end rounded up, so that children stay inside.
    fn close(&mut self, at: usize, end: u64) -> u64 {
        let span = &mut self.spans[at];
        let tick = SERVICES[span.service].tick;
        span.start -= span.start % tick;
        span.end = end.next_multiple_of(tick);
        span.end
    }

    fn serve(&mut self, operation: &'static Operation, parent: Option<usize>, start: u64) -> u64 {
        let pod = self.pod(operation.service);
        let at = self.push(Detail::Serve(operation), (operation.service, pod), parent, start);
        let mut now = start + self.dice.duration(operation.micros * MICRO / 3);
        now = self.steps(operation.steps, at, now);
        let end = now + self.dice.duration(operation.micros * MICRO / 3);
        self.close(at, end)
    }

    fn steps(&mut self, steps: &'static [Step], parent: usize, mut now: u64) -> u64 {
        for step in steps {
            if !self.dice.percent(step.chance) {
                continue;
            }
            for _ in 0..self.dice.between(1, step.most) {
                now = self.step(step.what, parent, now) + self.dice.between(2, 40) * MICRO;
            }
        }
        now
    }

    fn step(&mut self, what: What, parent: usize, start: u64) -> u64 {
        let place = (self.spans[parent].service, self.spans[parent].pod);
        match what {
            What::Internal(name, micros) => {
                let at = self.push(Detail::Internal(name), place, Some(parent), start);
                let end = start + self.dice.duration(micros * MICRO);
                self.close(at, end)
            }
            What::Query(query) => {
                let at = self.push(Detail::Query(query), place, Some(parent), start);
                let end = start + self.dice.duration(query.micros * MICRO);
                self.close(at, end)
            }
            What::Call(operation) => {
                let at = self.push(Detail::Call(operation), place, Some(parent), start);
                let arrived = start + self.dice.between(80, 900) * MICRO;
                let end = self.serve(operation, Some(at), arrived) + self.dice.between(60, 700) * MICRO;
                self.close(at, end)
            }
            What::Publish(topic) => {
                let at = self.push(Detail::Publish(topic), place, Some(parent), start);
                let end = start + self.dice.duration(600 * MICRO);
                let end = self.close(at, end);
                let taken = end + self.dice.between(2_000, 60_000) * MICRO;
                let pod = self.pod(topic.consumer);
                let consumer = self.push(Detail::Process(topic), (topic.consumer, pod), Some(at), taken);
                let done =
                    self.steps(topic.steps, consumer, taken + 50 * MICRO) + self.dice.below(90) * MICRO;
                self.close(consumer, done);
                end
            }
        }
    }

    /// Lets one span fail, and some of those above it.
    fn fail(&mut self) {
        let mut at = self.dice.below(self.spans.len() as u64) as usize;
        let kind = self.dice.below(6) as u8;
        self.spans[at].failure = Some(Failure::Origin(kind));
        while let Some(parent) = self.spans[at].parent {
            if !self.dice.percent(70) {
                return;
            }
            self.spans[parent].failure = Some(Failure::Passed(kind));
            at = parent;
        }
    }
}
