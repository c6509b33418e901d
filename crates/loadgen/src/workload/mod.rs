//! The benchmark's workload: the spans on which docs/performance.md measures.
//!
//! 30,000 traces of it are about 565,000 spans of 390 OTLP bytes, from fifteen services. Requests look as a collector
//! sends them: 1,000 spans each, of one to three senders, and the spans of one trace arrive in several of them.
//!
//! What must stay true: the same four numbers make the same requests on every machine; [`Workload::facts`] says what
//! a trace holds without keeping it.

mod encode;
mod plan;
mod services;
mod shop;
mod statements;

use std::collections::VecDeque;

use encode::Encoder;
use plan::Plan;

use crate::dice::Dice;
use crate::otlp::put_resource_spans;

/// How many spans a request carries, except the last.
pub const SPANS_PER_REQUEST: usize = 1_000;
/// How many traces are being sent at any moment.
const IN_FLIGHT: usize = 200;
/// How many senders' spans one request carries at most, until the traces run out.
const SENDERS_PER_REQUEST: usize = 3;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Other seeds make other traces.
    pub seed: u64,
    /// How many traces.
    pub traces: u64,
    /// When the first trace starts, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// The time over which the starts of the traces are spread.
    pub span_of_time_ns: u64,
}

/// One export request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `ExportTraceServiceRequest`, encoded.
    pub bytes: Vec<u8>,
    /// How many spans it carries.
    pub spans: usize,
}

/// What one trace of the workload holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFacts {
    /// Its id.
    pub trace_id: [u8; 16],
    /// The value of `app.order.id` on some of its spans; no two traces share one.
    pub order_id: Option<String>,
    /// Its spans, parents before children.
    pub spans: Vec<SpanFacts>,
}

/// What one span of the workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFacts {
    /// Its id, big endian as on the wire.
    pub id: u64,
    /// `service.name` of its resource.
    pub service: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Whether its status is error.
    pub is_error: bool,
}

impl Workload {
    fn plan(&self, index: u64) -> Plan {
        let offset = u128::from(self.span_of_time_ns) * u128::from(index) / u128::from(self.traces.max(1));
        Plan::new(self.seed, index, self.start_ns + u64::try_from(offset).unwrap_or(0))
    }

    /// What the trace of this number (from 0) holds.
    pub fn facts(&self, index: u64) -> TraceFacts {
        let plan = self.plan(index);
        let fact = |span: &plan::Planned| SpanFacts {
            id: span.id,
            service: services::SERVICES[span.service].name,
            name: span.detail.name(),
            is_error: span.failure.is_some(),
        };
        TraceFacts {
            trace_id: plan.trace_id,
            // Only these kinds of spans carry it.
            order_id: plan.order.map(|order| format!("ord-{order}")),
            spans: plan.spans.iter().map(fact).collect(),
        }
    }

    /// The requests, in the order in which they are to be sent.
    pub fn requests(&self) -> Requests {
        let mut senders = Vec::new();
        let mut first = Vec::with_capacity(services::SERVICES.len());
        for service in &services::SERVICES {
            first.push(senders.len());
            for pod in 0..service.pods {
                senders.push(Sender {
                    resource: encode::resource(service, pod, self.seed),
                    scope: (format!("opentelemetry.instrumentation.{}", service.language), service.sdk),
                    bytes: Vec::new(),
                    spans: VecDeque::new(),
                });
            }
        }
        Requests {
            workload: *self,
            dice: Dice::new(self.seed, u64::MAX),
            next: 0,
            flying: Vec::with_capacity(IN_FLIGHT),
            senders,
            first,
            emitted: 0,
            encoder: Encoder::default(),
        }
    }
}

/// One pod, and what it has not sent yet.
#[derive(Debug)]
struct Sender {
    resource: Vec<u8>,
    scope: (String, &'static str),
    bytes: Vec<u8>,
    /// Length and number of every waiting span.
    spans: VecDeque<(usize, u64)>,
}

/// A trace on its way: its spans leave in the order in which they ended.
#[derive(Debug)]
struct Flying {
    plan: Plan,
    order: Vec<usize>,
}

/// The requests of a [`Workload`].
#[derive(Debug)]
pub struct Requests {
    workload: Workload,
    dice: Dice,
    next: u64,
    flying: Vec<Flying>,
    senders: Vec<Sender>,
    /// The place of each service's first pod among the senders.
    first: Vec<usize>,
    emitted: u64,
    encoder: Encoder,
}

impl Requests {
    /// Hands one more span to its sender, and says which. None when all are handed out.
    fn emit(&mut self) -> Option<usize> {
        while self.flying.len() < IN_FLIGHT && self.next < self.workload.traces {
            let plan = self.workload.plan(self.next);
            self.next += 1;
            let mut order: Vec<usize> = (0..plan.spans.len()).collect();
            // Latest first: they are taken from the back.
            order.sort_unstable_by_key(|at| std::cmp::Reverse((plan.spans[*at].end, plan.spans[*at].id)));
            self.flying.push(Flying { plan, order });
        }
        let chosen = self.dice.below(self.flying.len() as u64) as usize;
        let trace = self.flying.get_mut(chosen)?;
        let at = trace.order.pop()?;
        let span = &trace.plan.spans[at];
        let to = self.first[span.service] + usize::from(span.pod);
        let sender = &mut self.senders[to];
        let before = sender.bytes.len();
        self.encoder.span(&mut sender.bytes, &mut trace.plan, at);
        sender.spans.push_back((sender.bytes.len() - before, self.emitted));
        self.emitted += 1;
        if trace.order.is_empty() {
            self.flying.swap_remove(chosen);
        }
        Some(to)
    }

    /// Who is in the next request: whoever waits longest and the two with most, if they have enough together.
    fn choose(&self) -> Option<Vec<usize>> {
        let waiting = |at: &usize| self.senders[*at].spans.front().map_or(u64::MAX, |(_, number)| *number);
        let mut order: Vec<usize> = (0..self.senders.len()).collect();
        order.sort_unstable_by_key(waiting);
        order[1..].sort_unstable_by_key(|at| std::cmp::Reverse((self.senders[*at].spans.len(), *at)));
        order.truncate(SENDERS_PER_REQUEST);
        let together: usize = order.iter().map(|at| self.senders[*at].spans.len()).sum();
        (together >= SPANS_PER_REQUEST).then_some(order)
    }

    fn build(&mut self, chosen: &[usize]) -> Request {
        let mut request = Request { bytes: Vec::with_capacity(420 * SPANS_PER_REQUEST), spans: 0 };
        for at in chosen {
            let sender = &mut self.senders[*at];
            let take = sender.spans.len().min(SPANS_PER_REQUEST - request.spans);
            if take == 0 {
                continue;
            }
            let length = sender.spans.drain(..take).map(|(length, _)| length).sum();
            let scope = (sender.scope.0.as_str(), sender.scope.1);
            put_resource_spans(&mut request.bytes, &sender.resource, scope, &sender.bytes[..length]);
            sender.bytes.drain(..length);
            request.spans += take;
        }
        request
    }
}

impl Iterator for Requests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        // Looking for a full request is much dearer than a span: look only when the sender at hand could be in it.
        while let Some(to) = self.emit() {
            if self.senders[to].spans.len().is_multiple_of(32)
                && let Some(chosen) = self.choose()
            {
                return Some(self.build(&chosen));
            }
        }
        let everyone: Vec<usize> = (0..self.senders.len()).collect();
        let last = self.build(&everyone);
        (last.spans > 0).then_some(last)
    }
}

#[cfg(test)]
mod tests;
