//! Half edges that wait for their other half.
//!
//! What must stay true: they are bounded in number and memory; the oldest is at the front, because all wait equally long;
//! what is known of a half survives a restart, see [`Edges::put_state`].

use std::sync::Arc;

use hashbrown::HashTable;
use trackway_common::TraceId;
use trackway_spans::wire::put_varint;
use xxhash_rust::xxh3::xxh3_64;

use crate::bytes::Bytes;

/// Bytes of an edge besides its texts, about.
const EDGE_BYTES: usize = 256;

/// Which edge: the trace, and the client's span, or the server's own span when it has no parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) trace: TraceId,
    pub(crate) span: u64,
    /// A server without a parent, which no client is looked for.
    pub(crate) is_root: bool,
}

/// What kind of connection an edge is (`connection_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    #[default]
    Direct,
    Messaging,
    Database,
    VirtualNode,
}

impl Connection {
    /// The label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "",
            Self::Messaging => "messaging_system",
            Self::Database => "database",
            Self::VirtualNode => "virtual_node",
        }
    }

    const ALL: [Self; 4] = [Self::Direct, Self::Messaging, Self::Database, Self::VirtualNode];
}

/// Which dimension.
pub(crate) type DimensionId = u64;

/// The dimension with this label: settings that change, also over a restart, do not give its values to another.
pub(crate) fn dimension(label: &str) -> DimensionId {
    xxh3_64(label.as_bytes())
}

/// A request between two services, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Edge {
    pub(crate) connection: Connection,
    pub(crate) client: Option<Arc<[u8]>>,
    pub(crate) server: Option<Arc<[u8]>>,
    /// Who is called, or calls, by the attributes of the half that is there.
    pub(crate) peer: Option<Box<[u8]>>,
    pub(crate) client_seconds: f64,
    pub(crate) server_seconds: f64,
    /// When the client's span ended, Unix nanoseconds.
    pub(crate) client_end: u64,
    /// When the server's span began, Unix nanoseconds.
    pub(crate) server_start: u64,
    pub(crate) failed: bool,
    /// How many requests it stands for.
    pub(crate) weight: f64,
    /// Values of dimensions, see [`dimension`].
    pub(crate) dimensions: Vec<(DimensionId, Box<[u8]>)>,
}

impl Edge {
    /// Whether both sides are known.
    pub(crate) fn is_complete(&self) -> bool {
        let is_known = |side: &Option<Arc<[u8]>>| side.as_ref().is_some_and(|name| !name.is_empty());
        is_known(&self.client) && is_known(&self.server)
    }

    /// Sets a dimension; what was there is replaced.
    pub(crate) fn set_dimension(&mut self, id: DimensionId, value: Vec<u8>) {
        match self.dimensions.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => *known = value.into(),
            None => self.dimensions.push((id, value.into())),
        }
    }

    fn bytes(&self) -> usize {
        let texts = self.dimensions.iter().map(|(_, value)| value.len() + 24).sum::<usize>();
        EDGE_BYTES + texts + self.peer.as_ref().map_or(0, |peer| peer.len())
    }
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    expires_ms: i64,
    edge: Edge,
    bytes: usize,
    /// The neighbours in the order of arrival; `NONE` at the ends.
    older: u32,
    newer: u32,
}

const NONE: u32 = u32::MAX;

/// Half edges by key and by age.
#[derive(Debug)]
pub(crate) struct Edges {
    index: HashTable<u32>,
    waiting: Vec<Option<Waiting>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    hasher: hashbrown::DefaultHashBuilder,
    bytes: usize,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            waiting: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            hasher: hashbrown::DefaultHashBuilder::default(),
            bytes: 0,
        }
    }
}

impl Edges {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of all that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn hash(&self, key: &Key) -> u64 {
        use std::hash::BuildHasher;
        self.hasher.hash_one(key)
    }

    fn at(&mut self, place: u32) -> Option<&mut Waiting> {
        self.waiting.get_mut(place as usize)?.as_mut()
    }

    fn place(&self, key: &Key) -> Option<u32> {
        let same = |place: &u32| {
            self.waiting
                .get(*place as usize)
                .and_then(Option::as_ref)
                .is_some_and(|waiting| waiting.key == *key)
        };
        self.index.find(self.hash(key), same).copied()
    }

    /// Ends the waiting of the half under this key; `false` when none waits.
    pub(crate) fn end(&mut self, key: &Key) -> bool {
        self.place(key).and_then(|place| self.remove(place)).is_some()
    }

    /// The half that waits under this key, lent: it is to be [given back](Self::give_back) or [ended](Self::end).
    pub(crate) fn lend(&mut self, key: &Key) -> Option<(u32, Edge)> {
        let place = self.place(key)?;
        let waiting = self.at(place)?;
        Some((place, std::mem::take(&mut waiting.edge)))
    }

    /// The half goes on waiting: it came when it came.
    pub(crate) fn give_back(&mut self, place: u32, edge: Edge) {
        let bytes = edge.bytes();
        if let Some(waiting) = self.at(place) {
            waiting.edge = edge;
            let before = std::mem::replace(&mut waiting.bytes, bytes);
            self.bytes = self.bytes - before + bytes;
        }
    }

    /// Makes a half wait behind all others.
    pub(crate) fn wait(&mut self, key: Key, edge: Edge, expires_ms: i64) {
        let bytes = edge.bytes();
        self.bytes += bytes;
        let waiting = Waiting { key, expires_ms, edge, bytes, older: self.newest, newer: NONE };
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            // There are never more than `max_items`, which is far below.
            u32::try_from(self.waiting.len() - 1).unwrap_or(NONE)
        });
        if let Some(slot) = self.waiting.get_mut(place as usize) {
            *slot = Some(waiting);
        }
        let before = std::mem::replace(&mut self.newest, place);
        match self.at(before) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
        let (hash, hasher, all) = (self.hash(&key), &self.hasher, &self.waiting);
        let rehash = |place: &u32| {
            use std::hash::BuildHasher;
            let key = all.get(*place as usize).and_then(Option::as_ref).map(|waiting| waiting.key);
            key.map_or(0, |key| hasher.hash_one(key))
        };
        self.index.insert_unique(hash, place, rehash);
    }

    fn remove(&mut self, place: u32) -> Option<Waiting> {
        let taken = self.waiting.get_mut(place as usize)?.take()?;
        self.free.push(place);
        self.bytes -= taken.bytes;
        match self.at(taken.older) {
            Some(older) => older.newer = taken.newer,
            None => self.oldest = taken.newer,
        }
        match self.at(taken.newer) {
            Some(newer) => newer.older = taken.older,
            None => self.newest = taken.older,
        }
        let hash = self.hash(&taken.key);
        if let Ok(found) = self.index.find_entry(hash, |candidate| *candidate == place) {
            found.remove();
        }
        Some(taken)
    }

    /// The oldest half, if it has waited long enough.
    pub(crate) fn expired(&mut self, now_ms: i64) -> Option<(Key, Edge)> {
        let oldest = self.oldest;
        if self.at(oldest)?.expires_ms > now_ms {
            return None;
        }
        self.remove(oldest).map(|waiting| (waiting.key, waiting.edge))
    }

    /// Appends all that wait, the oldest first.
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        let mut place = self.oldest;
        while let Some(waiting) = self.waiting.get(place as usize).and_then(Option::as_ref) {
            out.extend_from_slice(&waiting.key.trace.0.to_le_bytes());
            out.extend_from_slice(&waiting.key.span.to_le_bytes());
            put_edge(out, waiting.key.is_root, &waiting.edge);
            place = waiting.newer;
        }
    }

    /// Takes up what [`Self::put_state`] wrote; all of it waits until `expires_ms`. `None` when it cannot be read; what
    /// stood before is taken up.
    pub(crate) fn restore(&mut self, state: &mut Bytes<'_>, expires_ms: i64) -> Option<()> {
        for _ in 0..state.varint()? {
            let trace = TraceId(u128::from_le_bytes(state.array()?));
            let span = u64::from_le_bytes(state.array()?);
            let (is_root, edge) = edge(state)?;
            let key = Key { trace, span, is_root };
            if self.place(&key).is_none() {
                self.wait(key, edge, expires_ms);
            }
        }
        Some(())
    }
}

fn put_edge(out: &mut Vec<u8>, is_root: bool, edge: &Edge) {
    let connection = Connection::ALL.iter().position(|known| *known == edge.connection).unwrap_or(0);
    put_varint(out, (connection as u64) << 2 | u64::from(edge.failed) << 1 | u64::from(is_root));
    for text in [edge.client.as_deref(), edge.server.as_deref(), edge.peer.as_deref()] {
        put_text(out, text);
    }
    for number in [edge.client_seconds, edge.server_seconds, edge.weight] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&edge.client_end.to_le_bytes());
    out.extend_from_slice(&edge.server_start.to_le_bytes());
    put_varint(out, edge.dimensions.len() as u64);
    for (id, value) in &edge.dimensions {
        put_varint(out, *id);
        put_text(out, Some(value));
    }
}

/// Length and one, then the text; 0 for none.
fn put_text(out: &mut Vec<u8>, text: Option<&[u8]>) {
    put_varint(out, text.map_or(0, |text| text.len() as u64 + 1));
    out.extend_from_slice(text.unwrap_or_default());
}

fn edge(state: &mut Bytes<'_>) -> Option<(bool, Edge)> {
    let flags = state.varint()?;
    let mut text = || {
        let length = state.varint()?;
        Some(if length == 0 { None } else { Some(state.take(usize::try_from(length - 1).ok()?)?) })
    };
    let (client, server, peer) = (text()?, text()?, text()?);
    let mut number = || state.array().map(f64::from_le_bytes);
    let (client_seconds, server_seconds, weight) = (number()?, number()?, number()?);
    let (client_end, server_start) = (u64::from_le_bytes(state.array()?), u64::from_le_bytes(state.array()?));
    let mut dimensions = Vec::new();
    for _ in 0..state.varint()? {
        let id = state.varint()?;
        let length = usize::try_from(state.varint()?.checked_sub(1)?).ok()?;
        dimensions.push((id, state.take(length)?.into()));
    }
    let edge = Edge {
        connection: Connection::ALL.get(usize::try_from(flags >> 2).ok()?).copied()?,
        client: client.map(Arc::from),
        server: server.map(Arc::from),
        peer: peer.map(Box::from),
        client_seconds,
        server_seconds,
        client_end,
        server_start,
        failed: flags & 2 != 0,
        weight,
        dimensions,
    };
    Some((flags & 1 != 0, edge))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(span: u64) -> Key {
        Key { trace: TraceId(7), span, is_root: span.is_multiple_of(2) }
    }

    fn half(name: &str) -> Edge {
        let mut edge = Edge { client: Some(name.as_bytes().into()), weight: 2.5, ..Edge::default() };
        edge.set_dimension(3, b"x".to_vec());
        edge.set_dimension(3, b"y".to_vec());
        edge
    }

    #[test]
    fn halves_are_found_by_key_and_leave_in_order() {
        let mut edges = Edges::default();
        for span in 0..100 {
            edges.wait(key(span), half(&span.to_string()), i64::try_from(span).unwrap());
        }
        for span in (0..100).filter(|span| span % 3 == 0) {
            let (place, edge) = edges.lend(&key(span)).unwrap();
            assert_eq!(edge, half(&span.to_string()));
            edges.give_back(place, edge);
            assert!(edges.end(&key(span)) && !edges.end(&key(span)) && edges.lend(&key(span)).is_none());
        }
        let mut state = Vec::new();
        edges.put_state(&mut state);
        let mut restored = Edges::default();
        restored.restore(&mut Bytes::new(&state), 50).unwrap();
        assert!(restored.len() == edges.len() && restored.bytes() == edges.bytes());
        assert!(restored.expired(49).is_none());
        let left: Vec<u64> = std::iter::from_fn(|| edges.expired(98)).map(|(key, _)| key.span).collect();
        assert_eq!(left, (0..=98).filter(|span| span % 3 != 0).collect::<Vec<_>>());
        let again: Vec<_> = std::iter::from_fn(|| restored.expired(50)).collect();
        assert_eq!(again.len(), left.len());
        assert_eq!(again[0], (key(1), half("1")));
        assert_eq!((edges.len(), edges.bytes(), restored.bytes()), (0, 0, 0));
        for cut in 0..state.len() {
            assert!(Edges::default().restore(&mut Bytes::new(&state[..cut]), 0).is_none());
        }
    }
}
