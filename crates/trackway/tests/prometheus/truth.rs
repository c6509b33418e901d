//! What metrics should say of spans, found by looking at the spans as another program would: all of them at once, decoded
//! by prost, with nothing of the generator's code.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::common::KeyValue;
use trackway_proto::common::any_value::Value;
use trackway_proto::trace::Span;
use trackway_proto::trace::span::SpanKind;
use trackway_proto::trace::status::StatusCode;

/// `service`, `span_name`, `span_kind`, `status_code`.
pub(crate) const CALL: [&str; 4] = ["service", "span_name", "span_kind", "status_code"];
/// The labels of an edge.
pub(crate) const EDGE: [&str; 3] = ["client", "server", "connection_type"];
/// Values of some labels, and a number for each set of them.
pub(crate) type Numbers = BTreeMap<Vec<String>, f64>;

/// A span, as far as metrics look at it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    pub(crate) service: String,
    pub(crate) name: String,
    kind: SpanKind,
    pub(crate) status: StatusCode,
    pub(crate) seconds: f64,
    size: usize,
    /// The address of the database that it asks.
    database: Option<String>,
}

/// A request between two services.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Values of [`EDGE`].
    pub(crate) labels: [String; 3],
    pub(crate) failed: bool,
    pub(crate) server_seconds: f64,
    pub(crate) client_seconds: f64,
}

/// All spans that were sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) spans: Vec<Seen>,
}

impl Truth {
    /// The spans of these requests.
    pub(crate) fn of<'r>(requests: impl IntoIterator<Item = &'r [u8]>) -> Self {
        let mut truth = Self::default();
        requests.into_iter().for_each(|body| truth.add(body));
        truth
    }

    fn add(&mut self, body: &[u8]) {
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = text(&attributes, &["service.name"]).unwrap();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|span| seen(&service, &span)));
        }
    }

    /// For each label set of spans that `which` takes, their sum of `what`.
    pub(crate) fn calls(&self, which: impl Fn(&Seen) -> bool, what: impl Fn(&Seen) -> f64) -> Numbers {
        sums(self.spans.iter().filter(|span| which(span)), |span| span.labels().to_vec(), what)
    }

    /// How long the spans took that `which` takes, the shortest first.
    pub(crate) fn latencies(&self, which: impl Fn(&Seen) -> bool) -> Vec<f64> {
        let mut all: Vec<f64> =
            self.spans.iter().filter(|span| which(span)).map(|span| span.seconds).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// All requests between services.
    pub(crate) fn links(&self) -> Vec<Link> {
        let is_client = |span: &&Seen| matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        let is_server = |span: &&Seen| matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
        let clients: HashMap<_, _> =
            self.spans.iter().filter(is_client).map(|span| ((&span.trace, &span.id), span)).collect();
        let databases = self.spans.iter().filter(is_client).filter_map(|span| {
            let labels = [span.service.clone(), span.database.clone()?, "database".to_owned()];
            let failed = span.status == StatusCode::Error;
            Some(Link { labels, failed, server_seconds: span.seconds, client_seconds: span.seconds })
        });
        let served = self.spans.iter().filter(is_server).filter_map(|server| {
            let is_error = |span: &Seen| span.status == StatusCode::Error;
            if server.parent.is_empty() {
                // Whoever called sends no spans.
                let labels = ["user".to_owned(), server.service.clone(), "virtual_node".to_owned()];
                let failed = is_error(server);
                return Some(Link { labels, failed, server_seconds: server.seconds, client_seconds: 0.0 });
            }
            let client = clients.get(&(&server.trace, &server.parent))?;
            let how = if server.kind == SpanKind::Consumer { "messaging_system" } else { "" };
            Some(Link {
                labels: [client.service.clone(), server.service.clone(), how.to_owned()],
                failed: is_error(client) || is_error(server),
                server_seconds: server.seconds,
                client_seconds: client.seconds,
            })
        });
        databases.chain(served).collect()
    }

    /// The traces.
    pub(crate) fn traces(&self) -> HashSet<&[u8]> {
        self.spans.iter().map(|span| &*span.trace).collect()
    }
}

impl Seen {
    /// The values of [`CALL`].
    pub(crate) fn labels(&self) -> [String; 4] {
        let (kind, status) = (self.kind.as_str_name(), self.status.as_str_name());
        [self.service.clone(), self.name.clone(), kind.to_owned(), status.to_owned()]
    }

    pub(crate) fn is_served(&self) -> bool {
        self.kind == SpanKind::Server
    }

    /// Its bytes.
    pub(crate) fn size(&self) -> f64 {
        self.size as f64
    }
}

fn seen(service: &str, span: &Span) -> Seen {
    let is_database = text(&span.attributes, &["db.namespace", "db.name", "db.system"]).is_some();
    let database = is_database.then(|| text(&span.attributes, &["peer.service", "server.address"]).unwrap());
    Seen {
        trace: span.trace_id.to_vec(),
        id: span.span_id.to_vec(),
        parent: span.parent_span_id.to_vec(),
        service: service.to_owned(),
        name: span.name.clone(),
        kind: span.kind(),
        status: span.status.as_ref().map_or(StatusCode::Unset, |status| status.code()),
        seconds: (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e9,
        size: span.encoded_len(),
        database,
    }
}

/// The first of these attributes that is there and a text.
fn text(attributes: &[KeyValue], keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| {
        let pair = attributes.iter().find(|pair| pair.key == *key)?;
        match pair.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    })
}

/// Numbers by labels, summed up.
pub(crate) fn sums<'t, T: 't>(
    all: impl IntoIterator<Item = &'t T>,
    labels: impl Fn(&T) -> Vec<String>,
    number: impl Fn(&T) -> f64,
) -> Numbers {
    let mut sums = Numbers::new();
    for one in all {
        *sums.entry(labels(one)).or_default() += number(one);
    }
    sums
}
