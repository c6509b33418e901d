//! What a span may take in memory while it is read: an empty reference, event or tag is a byte or two of input, and some
//! hundred when it is taken apart.
//!
//! What must stay true: whoever keeps something for each element of a list takes its cost here first, so that what one
//! span holds is bounded whatever its bytes say.

use std::borrow::Cow;
use std::cell::Cell;

use trackway_otlpjson::Fail;
use trackway_spans::wire::WireError;

use crate::attributes::Value;
use crate::otlp::{Event, Link};
use crate::thrift::ThriftError;

/// So much a span may always take, however little may come of the request.
pub(crate) const LEAST_ROOM: usize = 4 << 20;
/// An attribute: its entry in a list that doubles as it grows, its place in the map, and a short text of our own.
pub(crate) const ATTRIBUTE: usize = 2 * ATTRIBUTE_ENTRY + size_of::<(Cow<'static, str>, usize)>() + 32;
/// An event, with the first attributes that a list makes room for.
pub(crate) const EVENT: usize = 2 * size_of::<Event<'static>>() + FIRST_ATTRIBUTES;
/// A reference and the link that becomes of it, which has an attribute.
pub(crate) const LINK: usize = 2 * size_of::<Link<'static>>() + FIRST_ATTRIBUTES + 64;
/// A resource or scope of its own, beside its bytes.
pub(crate) const GROUP: usize = 256;
const ATTRIBUTE_ENTRY: usize = size_of::<(Cow<'static, str>, Value<'static>)>();
const FIRST_ATTRIBUTES: usize = 4 * ATTRIBUTE_ENTRY;

/// There is no room left. Whoever sees it ends the request with [`crate::Error::TooLarge`], whatever the readers on the
/// way made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

/// The room of one span after the other.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    left: Cell<usize>,
    full: Cell<bool>,
}

impl Room {
    /// For a request of which so many bytes may come.
    pub(crate) fn new(max_output: usize) -> Self {
        let limit = max_output.max(LEAST_ROOM);
        Self { limit, left: Cell::new(limit), full: Cell::new(false) }
    }

    /// Gives back what was taken: another span is begun.
    pub(crate) fn renew(&self) {
        self.left.set(self.limit);
    }

    /// Takes so many bytes.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Full> {
        let left = self.left.get().checked_sub(bytes);
        self.full.set(self.full.get() || left.is_none());
        self.left.set(left.ok_or(Full)?);
        Ok(())
    }

    /// Whether there ever was too little.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }
}

impl From<Full> for ThriftError {
    fn from(_: Full) -> Self {
        Self::TooLarge
    }
}

impl From<Full> for WireError {
    fn from(_: Full) -> Self {
        Self::Truncated
    }
}

impl From<Full> for Fail {
    fn from(_: Full) -> Self {
        Self::syntax(0, "a span is too large")
    }
}

impl From<Full> for String {
    fn from(_: Full) -> Self {
        "a span is too large".to_owned()
    }
}
