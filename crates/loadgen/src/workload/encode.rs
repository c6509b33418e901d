//! A planned trace as OTLP bytes: the attributes that a real sender would give to each kind of span.
//!
//! What must stay true: 370 to 410 bytes a span on average, resources included; the workload's test measures it.

use std::fmt::Write as _;

use trackway_spans::wire::put_message;

use super::plan::{Detail, Failure, Plan, Planned};
use super::services::{SERVICES, Service};
use super::shop::{Api, Operation, Topic};
use super::statements::Query;
use crate::dice::Dice;
use crate::otlp::{Attrs, Head, SPAN, hex_id, put_error, put_exception, put_head, put_link};

/// Exceptions: type and message.
const EXCEPTIONS: [(&str, &str); 6] = [
    ("TimeoutException", "deadline of 2000 ms exceeded"),
    ("ConnectionResetError", "connection reset by peer"),
    ("SQLTransientConnectionException", "connection pool is exhausted, request timed out after 30000 ms"),
    ("PaymentDeclinedError", "card declined by issuer: insufficient funds"),
    ("ConcurrentModificationException", "version conflict, current version is newer"),
    ("NullPointerException", "cannot invoke method on null value"),
];

/// What shoppers use.
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "shop-app/9.12.0 (Android 15; okhttp/5.1.0)",
];

/// The encoded attributes of a pod's resource.
pub(super) fn resource(service: &Service, pod: u8, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed ^ 0x706f_6473, (service.name.len() as u64) << 32 | u64::from(pod));
    // The name goes into the hash letter by letter: names of one length must not share pods.
    let set = service
        .name
        .bytes()
        .fold(dice.any(), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let replica = hex_id(&set.to_be_bytes()[..5]);
    let node = format!("ip-10-0-{}-{}", dice.between(1, 4), dice.between(10, 30));
    let deployment = format!("{}-{}", service.name, &replica[..9]);
    let pod = format!("{deployment}-{}", hex_id(&dice.any().to_be_bytes()[..3]));
    let mut out = Vec::with_capacity(768);
    Attrs::of_resource(&mut out)
        .text("service.name", service.name)
        .text("service.namespace", service.namespace)
        .text("service.version", service.version)
        .text("service.instance.id", &pod)
        .text("deployment.environment.name", "production")
        .text("k8s.cluster.name", "eu-west-1a")
        .text("k8s.namespace.name", service.namespace)
        .text("k8s.deployment.name", service.name)
        .text("k8s.pod.name", &pod)
        .text("host.name", &node)
        .text("telemetry.sdk.name", "opentelemetry")
        .text("telemetry.sdk.language", service.language)
        .text("telemetry.sdk.version", service.sdk);
    out
}

/// Writes spans; holds the strings that are built again and again.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    text: String,
    user: String,
    order: String,
}

impl Encoder {
    /// Appends one span of a plan, with its field tag.
    pub(super) fn span(&mut self, out: &mut Vec<u8>, plan: &mut Plan, at: usize) {
        let span = plan.spans[at].clone();
        let parent = span.parent.map(|parent| plan.spans[parent].id);
        self.user.clear();
        let _ = write!(self.user, "user-{:05}", plan.user);
        self.order.clear();
        if let Some(order) = plan.order {
            let _ = write!(self.order, "ord-{order}");
        }
        put_message(out, SPAN, |out| {
            let (start, end) = (span.start, span.end);
            let name = span.detail.name();
            put_head(
                out,
                &Head {
                    trace_id: &plan.trace_id,
                    id: span.id,
                    parent,
                    name,
                    kind: span.detail.kind(),
                    start,
                    end,
                },
            );
            self.attributes(out, &span, plan);
            if let Some(failure) = span.failure {
                failed(out, &span, failure);
            }
        });
    }

    fn attributes(&mut self, out: &mut Vec<u8>, span: &Planned, plan: &mut Plan) {
        let failed = span.failure.is_some();
        let (trace_id, entity) = (plan.trace_id, plan.entity);
        let dice = &mut plan.dice;
        let mut attrs = Attrs::of_span(out);
        match span.detail {
            Detail::Serve(operation) => self.serve(&mut attrs, operation, failed, entity, dice),
            Detail::Call(operation) => self.call(&mut attrs, operation, failed, entity, dice),
            Detail::Query(query) => self.query(&mut attrs, query, dice),
            Detail::Internal(name) => self.internal(&mut attrs, name, SERVICES[span.service].name, dice),
            Detail::Publish(topic) => self.publish(&mut attrs, topic, dice),
            Detail::Process(topic) => {
                self.process(&mut attrs, topic, dice);
                if let Some(parent) = span.parent {
                    put_link(out, &trace_id, plan.spans[parent].id);
                }
            }
        }
    }

    fn address(&mut self, service: usize) -> &str {
        let service = &SERVICES[service];
        self.text.clear();
        let _ = write!(self.text, "{}.{}.svc.cluster.local", service.name, service.namespace);
        &self.text
    }

    fn path(&mut self, route: &str, entity: u64) -> &str {
        self.text.clear();
        match route.split_once("{id}") {
            Some((before, after)) => {
                let _ = write!(self.text, "{before}{}{after}", 100_000 + entity);
            }
            None => self.text.push_str(route),
        }
        &self.text
    }

    fn client(&mut self, dice: &mut Dice) -> &str {
        self.text.clear();
        let _ = write!(self.text, "203.0.113.{}", 1 + dice.below(250));
        &self.text
    }

    fn order(&self, attrs: &mut Attrs<'_>) {
        if !self.order.is_empty() {
            attrs.text("app.order.id", &self.order);
        }
    }

    fn serve(
        &mut self,
        attrs: &mut Attrs<'_>,
        operation: &Operation,
        failed: bool,
        entity: u64,
        dice: &mut Dice,
    ) {
        match operation.api {
            Api::Http(method, route) => {
                attrs.text("http.request.method", method).text("http.route", route);
                attrs.int(
                    "http.response.status_code",
                    if failed {
                        500
                    } else if method == "POST" {
                        201
                    } else {
                        200
                    },
                );
                attrs
                    .text("url.path", self.path(route, entity))
                    .text("user_agent.original", dice.pick(&AGENTS));
                attrs.text("client.address", self.client(dice));
                attrs.int("http.response.body.size", 200 + dice.below(48_000));
            }
            Api::Rpc(service, method) => {
                attrs.text("rpc.system", "grpc").text("rpc.service", service).text("rpc.method", method);
                attrs.int("rpc.grpc.status_code", if failed { 13 } else { 0 });
                attrs.text("server.address", self.address(operation.service)).int("server.port", 8080);
                attrs.flag("app.cache.hit", dice.percent(35));
            }
        }
        attrs.text("user.id", &self.user);
        self.order(attrs);
    }

    fn call(
        &mut self,
        attrs: &mut Attrs<'_>,
        operation: &Operation,
        failed: bool,
        entity: u64,
        dice: &mut Dice,
    ) {
        match operation.api {
            Api::Http(method, route) => {
                attrs.text("http.request.method", method).text("url.path", self.path(route, entity));
                attrs.int(
                    "http.response.status_code",
                    if failed {
                        500
                    } else if method == "POST" {
                        201
                    } else {
                        200
                    },
                );
                attrs.text("url.template", route).text("network.protocol.version", "1.1");
            }
            Api::Rpc(service, method) => {
                attrs.text("rpc.system", "grpc").text("rpc.service", service).text("rpc.method", method);
                attrs.int("rpc.grpc.status_code", if failed { 13 } else { 0 });
                attrs.text(
                    "network.peer.address",
                    dice.pick(&["10.0.1.17", "10.0.2.21", "10.0.3.4", "10.0.3.9"]),
                );
            }
        }
        attrs.text("server.address", self.address(operation.service)).int("server.port", 8080);
        attrs.int("network.peer.port", 32_768 + dice.below(28_000));
    }

    fn query(&mut self, attrs: &mut Attrs<'_>, query: &Query, dice: &mut Dice) {
        let (verb, port) = (
            query.name.split(' ').next().unwrap_or(query.name),
            match query.system {
                "postgresql" => 5432,
                "redis" => 6379,
                "mssql" => 1433,
                "mongodb" => 27017,
                _ => 9200,
            },
        );
        self.text.clear();
        let _ = write!(self.text, "{}-{}.data.svc.cluster.local", query.system, query.table);
        attrs.text("db.system.name", query.system).text("db.operation.name", verb);
        attrs
            .text("db.namespace", "shop-production")
            .text("db.collection.name", query.table)
            .text("db.query.text", query.text);
        attrs.text("server.address", &self.text).int("server.port", port);
        attrs.int("db.response.returned_rows", dice.below(8) * dice.below(8));
        attrs.double("db.client.pool.wait_ms", dice.below(400) as f64 / 64.0);
    }

    fn internal(&mut self, attrs: &mut Attrs<'_>, name: &str, service: &str, dice: &mut Dice) {
        self.text.clear();
        let _ = write!(self.text, "{service}.{}", name.replace(' ', "_"));
        attrs.text("code.function.name", &self.text).int("thread.id", 10 + dice.below(24));
        attrs.text("thread.name", dice.pick(&["worker-1", "worker-2", "worker-3", "worker-4"]));
        attrs
            .int("app.items.count", 1 + dice.below(12))
            .double("app.score", dice.below(1_000) as f64 / 1_000.0);
        attrs.flag("app.feature.new_flow", dice.percent(20));
        attrs
            .text("app.region", dice.pick(&["eu-west", "eu-north", "us-east", "ap-south"]))
            .text("user.id", &self.user);
        self.order(attrs);
    }

    fn publish(&mut self, attrs: &mut Attrs<'_>, topic: &Topic, dice: &mut Dice) {
        attrs.text("messaging.system", "kafka").text("messaging.operation.type", "send");
        attrs.text("messaging.destination.name", topic.name);
        attrs.int("messaging.destination.partition.id", dice.below(12));
        attrs
            .text("messaging.client.id", "producer-1")
            .text("server.address", "kafka-bootstrap.data.svc.cluster.local");
        attrs.int("messaging.message.body.size", 300 + dice.below(2_000));
        self.order(attrs);
    }

    fn process(&mut self, attrs: &mut Attrs<'_>, topic: &Topic, dice: &mut Dice) {
        attrs.text("messaging.system", "kafka").text("messaging.operation.type", "process");
        attrs.text("messaging.destination.name", topic.name);
        attrs.text("messaging.consumer.group.name", SERVICES[topic.consumer].name);
        attrs.int("messaging.destination.partition.id", dice.below(12));
        attrs.int("messaging.kafka.offset", 4_000_000 + dice.below(500_000));
        attrs.text("server.address", "kafka-bootstrap.data.svc.cluster.local");
        self.order(attrs);
    }
}

fn failed(out: &mut Vec<u8>, span: &Planned, failure: Failure) {
    let (kind, origin) = match failure {
        Failure::Origin(kind) => (kind, true),
        Failure::Passed(kind) => (kind, false),
    };
    let (class, message) = EXCEPTIONS[usize::from(kind) % EXCEPTIONS.len()];
    let stack = if origin { stack(class, message, SERVICES[span.service].name) } else { String::new() };
    put_exception(out, span.end.saturating_sub(1_000), class, message, &stack);
    put_error(out, message);
}

fn stack(class: &str, message: &str, service: &str) -> String {
    format!(
        "{class}: {message}\n\tat {service}.handlers.Dispatch.invoke(Dispatch:118)\n\t\
         at {service}.handlers.Retry.around(Retry:54)\n\tat {service}.server.Pipeline.next(Pipeline:203)\n\t\
         at {service}.server.Worker.run(Worker:71)"
    )
}
