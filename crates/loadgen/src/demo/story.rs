//! Tells one trace of the demo: spans open and close as the work that they stand for is told, and time passes only
//! where the story says so.
//!
//! What must stay true: a span is closed when its work returns, failed or not, so every child lies within its parent
//! and every trace is whole; how long a story takes does not depend on when it starts.

use trackway_spans::wire::put_message;

use super::services::{SERVICES, Service, resource};
use crate::dice::Dice;
use crate::otlp::{
    Attrs, Head, Kind, SPAN, put_error, put_exception, put_head, put_link, put_resource_spans,
};

/// Nanoseconds in a microsecond.
const MICRO: u64 = 1_000;

/// What went wrong.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    class: &'static str,
    message: String,
    /// Whether a span has recorded the exception already.
    told: bool,
}

impl Failure {
    pub(super) fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), told: false }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

/// How a piece of work ends.
pub(super) type Outcome = Result<(), Failure>;

struct Open {
    service: Service,
    id: u64,
    kind: Kind,
    name: String,
    start: u64,
    attrs: Vec<u8>,
}

/// A trace that is being told.
pub(super) struct Story {
    pub(super) dice: Dice,
    trace_id: [u8; 16],
    now: u64,
    last: u64,
    open: Vec<Open>,
    done: Vec<(Service, Vec<u8>)>,
    errors: usize,
}

impl Story {
    pub(super) fn new(mut dice: Dice, start: u64) -> Self {
        let trace_id = dice.trace_id();
        Self { dice, trace_id, now: start, last: start, open: Vec::new(), done: Vec::new(), errors: 0 }
    }

    /// Lets so many microseconds pass, or a bit more or less, now and then much more.
    pub(super) fn pass(&mut self, micros: u64) {
        self.now += self.dice.duration(micros * MICRO);
    }

    /// Lets exactly so many milliseconds pass.
    pub(super) fn wait(&mut self, millis: u64) {
        self.now += millis * 1_000 * MICRO;
    }

    /// Adds to the innermost span.
    pub(super) fn note(&mut self, write: impl for<'a, 'b> FnOnce(&'a mut Attrs<'b>) -> &'a mut Attrs<'b>) {
        if let Some(open) = self.open.last_mut() {
            write(&mut Attrs::of_span(&mut open.attrs));
        }
    }

    /// A span around some work.
    pub(super) fn span(
        &mut self,
        service: Service,
        kind: Kind,
        name: &str,
        work: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let id = self.dice.span_id();
        self.open.push(Open { service, id, kind, name: name.to_owned(), start: self.now, attrs: Vec::new() });
        self.pass(40);
        let mut outcome = work(self);
        self.pass(30);
        self.last = self.last.max(self.now);
        if outcome.is_err() {
            self.errors += 1;
        }
        if let Some(open) = self.open.pop() {
            self.close(open, &mut outcome);
        }
        outcome
    }

    fn close(&mut self, open: Open, outcome: &mut Outcome) {
        let parent = self.open.last().map(|parent| parent.id);
        let Open { service, id, kind, name, start, attrs } = open;
        let mut out = Vec::with_capacity(512);
        put_message(&mut out, SPAN, |span| {
            put_head(
                span,
                &Head { trace_id: &self.trace_id, id, parent, name: &name, kind, start, end: self.now },
            );
            span.extend_from_slice(&attrs);
            if let (Kind::Consumer, Some(parent)) = (kind, parent) {
                put_link(span, &self.trace_id, parent);
            }
            if let Err(failure) = outcome {
                if !failure.told {
                    let stack = format!(
                        "{}: {}\n    at {name}\n    at handleRequest",
                        failure.class, failure.message
                    );
                    put_exception(span, self.now - 20 * MICRO, failure.class, &failure.message, &stack);
                    failure.told = true;
                }
                put_error(span, &failure.message);
            }
        });
        self.done.push((service, out));
    }

    /// A gRPC call: the client's span and the server's in it.
    pub(super) fn rpc(
        &mut self,
        (from, to): (Service, Service),
        on: &str,
        method: &str,
        work: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let name = format!("{on}/{method}");
        let host = SERVICES[to as usize].name;
        self.span(from, Kind::Client, &name, |story| {
            story.note(|attrs| attrs.text("server.address", host).int("server.port", 8080));
            story.pass(300);
            let outcome = story.span(to, Kind::Server, &name, |story| {
                let outcome = work(story);
                story.note(|attrs| rpc_attributes(attrs, (on, method), outcome.is_err()));
                outcome
            });
            story.pass(250);
            story.note(|attrs| rpc_attributes(attrs, (on, method), outcome.is_err()));
            outcome
        })
    }

    /// An HTTP call. `route` is what the server calls it, `path` what the client asks for.
    pub(super) fn http(
        &mut self,
        (from, to): (Service, Service),
        (method, route, path): (&str, &str, &str),
        work: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let host = SERVICES[to as usize].name;
        let status = |failed: bool| if failed { 502 } else { 200 };
        self.span(from, Kind::Client, method, |story| {
            story.pass(900);
            let outcome = story.span(to, Kind::Server, &format!("{method} {route}"), |story| {
                let outcome = work(story);
                story.note(|attrs| {
                    attrs
                        .text("http.request.method", method)
                        .text("http.route", route)
                        .text("url.path", path);
                    attrs
                        .text("url.scheme", "http")
                        .int("http.response.status_code", status(outcome.is_err()))
                });
                outcome
            });
            story.pass(700);
            story.note(|attrs| {
                attrs.text("http.request.method", method).text("url.full", &format!("http://{host}{path}"));
                attrs.text("server.address", host).int("http.response.status_code", status(outcome.is_err()))
            });
            outcome
        })
    }

    /// A statement to PostgreSQL.
    pub(super) fn sql(
        &mut self,
        service: Service,
        (verb, table, text): (&str, &str, &str),
        micros: u64,
    ) -> Outcome {
        self.span(service, Kind::Client, &format!("{verb} {table}"), |story| {
            story.note(|attrs| {
                attrs.text("db.system.name", "postgresql").text("db.namespace", "shop");
                attrs
                    .text("db.operation.name", verb)
                    .text("db.collection.name", table)
                    .text("db.query.text", text);
                attrs.text("server.address", "postgres").int("server.port", 5432)
            });
            story.pass(micros);
            Ok(())
        })
    }

    /// A command to Redis.
    pub(super) fn redis(&mut self, service: Service, command: &str) -> Outcome {
        let verb = command.split(' ').next().unwrap_or(command);
        self.span(service, Kind::Client, verb, |story| {
            story.note(|attrs| {
                attrs
                    .text("db.system.name", "redis")
                    .text("db.operation.name", verb)
                    .text("db.query.text", command);
                attrs.text("server.address", "redis").int("server.port", 6379)
            });
            story.pass(300);
            Ok(())
        })
    }

    /// A message through Kafka. The sender does not wait for what the other end does with it.
    pub(super) fn kafka(
        &mut self,
        (from, to): (Service, Service),
        topic: &str,
        work: impl FnOnce(&mut Self) -> Outcome,
    ) {
        let partition = self.dice.below(6);
        // The consumer's time runs beside the sender's; its failures stay its own.
        let mut sent = self.now;
        let told = self.span(from, Kind::Producer, &format!("publish {topic}"), |story| {
            story.note(|attrs| kafka_attributes(attrs, (topic, "send"), partition));
            story.pass(500);
            sent = story.now;
            let lag = story.dice.between(4, 80);
            story.wait(lag);
            let handled = story.span(to, Kind::Consumer, &format!("process {topic}"), |story| {
                let offset = 80_000 + story.dice.below(9_000);
                story.note(|attrs| {
                    kafka_attributes(attrs, (topic, "process"), partition);
                    attrs.text("messaging.consumer.group.name", SERVICES[to as usize].name);
                    attrs.int("messaging.kafka.offset", offset)
                });
                work(story)
            });
            // Its span has told what went wrong.
            let _ = handled;
            story.now = sent;
            Ok(())
        });
        // Sending itself never fails.
        let _ = told;
    }

    pub(super) fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    pub(super) fn is_error(&self) -> bool {
        self.errors > 0
    }

    pub(super) fn spans(&self) -> usize {
        self.done.len()
    }

    /// When the last span ended.
    pub(super) fn end(&self) -> u64 {
        self.last
    }

    /// The whole trace as one export request.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(600 * self.done.len());
        for (at, service) in SERVICES.iter().enumerate() {
            let spans: Vec<u8> = self
                .done
                .iter()
                .filter(|(of, _)| *of as usize == at)
                .flat_map(|(_, bytes)| bytes)
                .copied()
                .collect();
            if !spans.is_empty() {
                put_resource_spans(&mut out, &resource(service), (service.scope, service.version), &spans);
            }
        }
        out
    }
}

fn rpc_attributes<'a, 'b>(
    attrs: &'a mut Attrs<'b>,
    (on, method): (&str, &str),
    failed: bool,
) -> &'a mut Attrs<'b> {
    attrs.text("rpc.system", "grpc").text("rpc.service", on).text("rpc.method", method);
    attrs.int("rpc.grpc.status_code", if failed { 13 } else { 0 })
}

fn kafka_attributes<'a, 'b>(
    attrs: &'a mut Attrs<'b>,
    (topic, what): (&str, &str),
    partition: u64,
) -> &'a mut Attrs<'b> {
    attrs.text("messaging.system", "kafka").text("messaging.destination.name", topic);
    attrs.text("messaging.operation.type", what).int("messaging.destination.partition.id", partition)
}
