//! What a query can see of traces: plain structures, nothing computed.

/// A whole trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Never zero.
    pub id: u128,
    /// By start, then by id, then in the order in which they came.
    pub spans: Vec<Span>,
}

/// Attributes as they were sent: in order, and with keys that stand several times.
pub type Attributes = Vec<(String, Value)>;

/// One span, with what describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Never zero.
    pub id: u64,
    /// Zero for none.
    pub parent: u64,
    /// The name.
    pub name: String,
    /// OTLP's number: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u8,
    /// OTLP's number: 0 unset, 1 ok, 2 error.
    pub status: u8,
    /// What the status says.
    pub status_message: String,
    /// W3C trace state. No query reads it.
    pub trace_state: String,
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds; may lie before the start.
    pub end: u64,
    /// Its own attributes.
    pub attributes: Attributes,
    /// Where it comes from.
    pub resource: Resource,
    /// What made it.
    pub scope: Scope,
    /// In the order sent.
    pub events: Vec<Event>,
    /// In the order sent.
    pub links: Vec<Link>,
}

/// Where a span comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// The text under `service.name`, the last one if there are several, empty if there is none.
    pub service: String,
    /// All others, a `service.name` that is no text among them (no query finds that one).
    pub attributes: Attributes,
}

/// The instrumentation that made a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Something that happened during a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Unix nanoseconds.
    pub time: u64,
    /// What happened.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A pointer to another span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// The bytes as sent, whatever their number.
    pub trace_id: Vec<u8>,
    /// The bytes as sent, whatever their number.
    pub span_id: Vec<u8>,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The value of an attribute as sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value at all.
    Empty,
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Values, perhaps of several types.
    Array(Vec<Self>),
    /// Keys and values. No query sees it.
    Map(Attributes),
    /// Bytes. No query sees them.
    Bytes(Vec<u8>),
}

impl Span {
    /// How long it took, in nanoseconds. A span that ends before it starts took no time.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

impl Trace {
    /// Puts the spans into their order and lets a span that was sent twice count once.
    pub fn normalize(&mut self) {
        self.spans.sort_by_key(|span| (span.start, span.id));
        let mut kept: Vec<Span> = Vec::new();
        for span in self.spans.drain(..) {
            let sent_before = kept.iter().rev().take_while(|k| k.start == span.start).any(|k| *k == span);
            if !sent_before {
                kept.push(span);
            }
        }
        self.spans = kept;
    }
}
