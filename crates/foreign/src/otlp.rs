//! The OTLP side: a span as it is to be written, and the request that spans are gathered in.
//!
//! What must stay true: a resource stands once in the request, and below it each scope once, however the spans of
//! several services were mixed.

use std::borrow::Cow;
use std::collections::HashMap;

use trackway_spans::wire::{
    put_bytes, put_bytes_unless_empty, put_fixed64, put_message, put_number_unless_zero,
};

use crate::attributes::Attributes;
use crate::room::{GROUP, LEAST_ROOM, Room};
use crate::{Error, MAX_REASONS, Options, Translated};

/// Span kinds.
pub(crate) mod kind {
    pub(crate) const UNSPECIFIED: u8 = 0;
    pub(crate) const INTERNAL: u8 = 1;
    pub(crate) const SERVER: u8 = 2;
    pub(crate) const CLIENT: u8 = 3;
    pub(crate) const PRODUCER: u8 = 4;
    pub(crate) const CONSUMER: u8 = 5;
}

/// Status codes.
pub(crate) mod status {
    pub(crate) const UNSET: u8 = 0;
    pub(crate) const OK: u8 = 1;
    pub(crate) const ERROR: u8 = 2;
}

/// A span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// 0 for none.
    pub(crate) parent_id: u64,
    pub(crate) trace_state: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: u8,
    /// Unix time in nanoseconds.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Attributes<'a>,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) links: Vec<Link<'a>>,
    pub(crate) status: u8,
    pub(crate) status_message: Cow<'a, str>,
}

/// An event of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event<'a> {
    pub(crate) time: u64,
    pub(crate) name: Cow<'a, str>,
    pub(crate) attributes: Attributes<'a>,
    pub(crate) dropped_attributes: u32,
}

/// A link of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Link<'a> {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) trace_state: Cow<'a, str>,
    pub(crate) attributes: Attributes<'a>,
    pub(crate) dropped_attributes: u32,
}

impl Span<'_> {
    /// Makes it empty and keeps the room.
    pub(crate) fn clear(&mut self) {
        let mut attributes = std::mem::take(&mut self.attributes);
        let (mut events, mut links) = (std::mem::take(&mut self.events), std::mem::take(&mut self.links));
        attributes.clear();
        events.clear();
        links.clear();
        *self = Self { attributes, events, links, ..Self::default() };
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.trace_id.to_be_bytes());
        put_bytes(out, 2, &self.span_id.to_be_bytes());
        put_bytes_unless_empty(out, 3, self.trace_state.as_bytes());
        if self.parent_id != 0 {
            put_bytes(out, 4, &self.parent_id.to_be_bytes());
        }
        put_bytes_unless_empty(out, 5, self.name.as_bytes());
        put_number_unless_zero(out, 6, u64::from(self.kind));
        put_fixed64(out, 7, self.start);
        put_fixed64(out, 8, self.end);
        self.attributes.write(out, 9);
        for event in &self.events {
            put_message(out, 11, |out| {
                put_fixed64(out, 1, event.time);
                put_bytes_unless_empty(out, 2, event.name.as_bytes());
                event.attributes.write(out, 3);
                put_number_unless_zero(out, 4, u64::from(event.dropped_attributes));
            });
        }
        for link in &self.links {
            put_message(out, 13, |out| {
                put_bytes(out, 1, &link.trace_id.to_be_bytes());
                put_bytes(out, 2, &link.span_id.to_be_bytes());
                put_bytes_unless_empty(out, 3, link.trace_state.as_bytes());
                link.attributes.write(out, 4);
                put_number_unless_zero(out, 5, u64::from(link.dropped_attributes));
            });
        }
        if self.status != status::UNSET || !self.status_message.is_empty() {
            put_message(out, 15, |out| {
                put_bytes_unless_empty(out, 2, self.status_message.as_bytes());
                put_number_unless_zero(out, 3, u64::from(self.status));
            });
        }
    }
}

/// The body of a `Resource`.
pub(crate) fn resource(attributes: &Attributes<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    attributes.write(&mut out, 1);
    out
}

/// The body of an `InstrumentationScope`.
pub(crate) fn scope(name: &str, version: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes_unless_empty(&mut out, 1, name.as_bytes());
    put_bytes_unless_empty(&mut out, 2, version.as_bytes());
    out
}

/// Spans of one resource.
#[derive(Debug, Default)]
struct OfResource {
    scopes: Vec<OfScope>,
    /// Which scope has which body.
    places: HashMap<Vec<u8>, usize>,
}

/// Spans of one scope, each with its tag and length.
#[derive(Debug)]
struct OfScope {
    scope: Vec<u8>,
    spans: Vec<u8>,
}

/// A request that is being gathered.
#[derive(Debug)]
pub(crate) struct Request {
    max_output: usize,
    resources: Vec<(Vec<u8>, OfResource)>,
    places: HashMap<Vec<u8>, usize>,
    bytes: usize,
    /// What resources and scopes take beside that.
    held: usize,
    room: Room,
    /// Spans met, good or bad.
    met: usize,
    done: Translated,
}

/// A resource of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceAt(usize);

impl Request {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            max_output: options.max_output,
            resources: Vec::new(),
            places: HashMap::new(),
            bytes: 0,
            held: 0,
            room: Room::new(options.max_output),
            met: 0,
            done: Translated::default(),
        }
    }

    /// The room for what is read next, a span or a process.
    pub(crate) fn room(&self) -> &Room {
        self.room.renew();
        &self.room
    }

    /// What was read, unless there was no room for it: then that is the reason, whatever the reader says.
    pub(crate) fn checked<T, E: Into<Error>>(&self, read: Result<T, E>) -> Result<T, Error> {
        if self.room.is_full() { Err(Error::TooLarge(self.max_output)) } else { read.map_err(Into::into) }
    }

    /// Finds or adds a resource by its body.
    pub(crate) fn resource(&mut self, body: &[u8]) -> ResourceAt {
        // Spans of one service tend to follow each other.
        if let Some((last, _)) = self.resources.last()
            && last == body
        {
            return ResourceAt(self.resources.len() - 1);
        }
        if let Some(place) = self.places.get(body) {
            return ResourceAt(*place);
        }
        let place = self.resources.len();
        self.places.insert(body.to_vec(), place);
        self.resources.push((body.to_vec(), OfResource::default()));
        self.bytes += body.len();
        self.held += body.len() + GROUP;
        ResourceAt(place)
    }

    /// Adds a span below a scope, given by its body.
    pub(crate) fn span(&mut self, at: ResourceAt, scope: &[u8], span: &Span<'_>) -> Result<(), Error> {
        self.met += 1;
        self.done.spans += 1;
        let Some((_, resource)) = self.resources.get_mut(at.0) else { return Ok(()) };
        let place = match resource.scopes.last() {
            Some(last) if last.scope == scope => resource.scopes.len() - 1,
            _ => match resource.places.get(scope) {
                Some(place) => *place,
                None => {
                    let place = resource.scopes.len();
                    resource.places.insert(scope.to_vec(), place);
                    resource.scopes.push(OfScope { scope: scope.to_vec(), spans: Vec::new() });
                    self.bytes += scope.len();
                    self.held += scope.len() + GROUP;
                    place
                }
            },
        };
        let out = &mut resource.scopes[place].spans;
        let before = out.len();
        put_message(out, 2, |out| span.write(out));
        self.bytes += out.len() - before;
        let fits = self.bytes <= self.max_output && self.held <= self.max_output.max(LEAST_ROOM);
        if fits { self.checked(Ok::<_, Error>(())) } else { Err(Error::TooLarge(self.max_output)) }
    }

    /// Counts a span that cannot be used. One for which there was no room ends the request.
    #[cold]
    pub(crate) fn refuse(&mut self, reason: impl Into<String>) -> Result<(), Error> {
        self.checked(Ok::<_, Error>(()))?;
        if self.done.reasons.len() < MAX_REASONS {
            self.done.reasons.push((self.met, reason.into()));
        }
        self.met += 1;
        self.done.refused += 1;
        Ok(())
    }

    /// The request, unless all of its spans were refused.
    pub(crate) fn finish(mut self) -> Result<Translated, Error> {
        if self.done.spans == 0
            && let Some((_, reason)) = self.done.reasons.first()
        {
            return Err(Error::NoUsableSpan(reason.clone()));
        }
        // Tags and lengths come on top.
        let mut out = Vec::with_capacity(self.bytes + 32 * (self.resources.len() + 1));
        for (body, resource) in &self.resources {
            if resource.scopes.is_empty() {
                continue;
            }
            put_message(&mut out, 1, |out| {
                put_bytes(out, 1, body);
                for OfScope { scope, spans } in &resource.scopes {
                    put_message(out, 2, |out| {
                        put_bytes_unless_empty(out, 1, scope);
                        out.extend_from_slice(spans);
                    });
                }
            });
        }
        self.done.protobuf = out;
        Ok(self.done)
    }
}
