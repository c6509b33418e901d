//! Requests, written into bytes: also those that no library would write.

use trackway_spans::wire::{put_bytes, put_bytes_unless_empty, put_fixed64, put_message, put_number};

use super::START;

pub const INTERNAL: u8 = 1;
pub const SERVER: u8 = 2;
pub const CLIENT: u8 = 3;
pub const PRODUCER: u8 = 4;
pub const CONSUMER: u8 = 5;

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Value {
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.as_bytes().into())
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

type Attributes = Vec<(String, Value)>;

/// A span.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub name: Vec<u8>,
    pub kind: u8,
    pub status: u8,
    pub message: Vec<u8>,
    pub state: Vec<u8>,
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
}

/// A span of trace 1 that took a tenth of a second when the test began.
pub fn span(name: &str, kind: u8, id: u64, parent: u64) -> Span {
    Span {
        trace: 1_u128.to_be_bytes().to_vec(),
        id: id.to_be_bytes().to_vec(),
        parent: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: name.into(),
        kind,
        status: 0,
        message: Vec::new(),
        state: Vec::new(),
        start: START - 100_000_000,
        end: START,
        attributes: Vec::new(),
    }
}

impl Span {
    pub fn trace(mut self, trace: u128) -> Self {
        self.trace = trace.to_be_bytes().to_vec();
        self
    }

    pub fn failed(self) -> Self {
        self.status(2)
    }

    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    pub fn message(mut self, message: &str) -> Self {
        self.message = message.into();
        self
    }

    pub fn state(mut self, state: &str) -> Self {
        self.state = state.into();
        self
    }

    /// From so many milliseconds after the test began to so many.
    pub fn at(mut self, start_ms: i64, end_ms: i64) -> Self {
        let time = |ms: i64| START.checked_add_signed(ms * 1_000_000).unwrap_or(0);
        (self.start, self.end) = (time(start_ms), time(end_ms));
        self
    }

    /// It ends when the test began.
    pub fn takes(mut self, nanoseconds: u64) -> Self {
        (self.start, self.end) = (START - nanoseconds, START);
        self
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.push((key.to_owned(), value.into()));
        self
    }

    /// Its bytes, which is what its size is counted by.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes_unless_empty(&mut out, 1, &self.trace);
        put_bytes_unless_empty(&mut out, 2, &self.id);
        put_bytes_unless_empty(&mut out, 3, &self.state);
        put_bytes_unless_empty(&mut out, 4, &self.parent);
        put_bytes_unless_empty(&mut out, 5, &self.name);
        put_number(&mut out, 6, u64::from(self.kind));
        put_fixed64(&mut out, 7, self.start);
        put_fixed64(&mut out, 8, self.end);
        put_attributes(&mut out, 9, &self.attributes);
        put_message(&mut out, 15, |out| {
            put_bytes_unless_empty(out, 2, &self.message);
            put_number(out, 3, u64::from(self.status));
        });
        out
    }
}

fn put_attributes(out: &mut Vec<u8>, number: u32, attributes: &Attributes) {
    for (key, value) in attributes {
        put_message(out, number, |pair| {
            put_bytes(pair, 1, key.as_bytes());
            put_message(pair, 2, |any| match value {
                Value::Text(text) => put_bytes(any, 1, text),
                Value::Bool(truth) => put_number(any, 2, u64::from(*truth)),
                Value::Int(number) => put_number(any, 3, number.cast_unsigned()),
                Value::Float(number) => put_fixed64(any, 4, number.to_bits()),
            });
        });
    }
}

/// A sender: its resource's attributes.
#[derive(Clone, Debug, Default)]
pub struct Resource(pub Attributes);

/// A sender with a name.
pub fn service(name: &str) -> Resource {
    Resource::default().with("service.name", name)
}

impl Resource {
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// What it sends, as part of a request.
    pub fn sends(&self, spans: &[Span]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| put_attributes(out, 1, &self.0));
            put_message(out, 2, |out| {
                for span in spans {
                    put_bytes(out, 2, &span.bytes());
                }
            });
        });
        out
    }
}
