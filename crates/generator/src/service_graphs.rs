//! `service-graphs`: requests between services, put together from the client's and the server's span.
//!
//! A client or producer is found by its own span id, a server or consumer by its parent's. Whichever comes first waits,
//! and what it says when nobody comes in time makes a virtual node of the other side, as in Tempo.
//!
//! What must stay true: a pair is counted once, in whatever order and requests its halves come; a half is counted alone
//! only when it names the other side, or is a root. Time is that of the requests, so that a log that is read again gives
//! the same pairs.

use std::collections::HashMap;
use std::sync::Arc;

use trackway_common::TraceId;
use trackway_overrides::{Generator, ServiceGraphs};
use trackway_spans::wire::put_varint;

use crate::budget::Budget;
use crate::bytes::Bytes;
use crate::edges::{Connection, DimensionId, Edge, Edges, Key, dimension};
use crate::facts::{Facts, seconds_between};
use crate::filter::{Filter, PolicyError};
use crate::labels::{self, sanitize_beside};
use crate::registry::{Kind, Metric, Observation, Registry, TableId};
use crate::service::is_due;
use crate::shape::histogram;
use crate::span_metrics::Multiplier;
use crate::wanted::{Slot, Wanted, put_text};

const TOTAL: usize = 0;
const FAILED: usize = 1;
const SERVER_SECONDS: usize = 2;
const CLIENT_SECONDS: usize = 3;
const MESSAGING_SECONDS: usize = 4;

/// The label that says which side of an edge is a virtual node.
const VIRTUAL_NODE: &str = "virtual_node";
/// How often it is looked for what is not needed any more, milliseconds.
const TIDY_EVERY_MS: i64 = 1000;
/// Who calls a root that says nothing of its caller.
const USER: &[u8] = b"user";

/// Counts since the start, by the names of Tempo's metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeTally {
    /// `edges`.
    pub(crate) edges: u64,
    /// `expired_edges`: halves of which nothing was made.
    pub(crate) expired: u64,
    /// `dropped_spans`: halves for which there was no room.
    pub(crate) dropped_spans: u64,
    /// `dropped_edges_total`: those whose other half a filter left out.
    pub(crate) dropped_edges: u64,
    /// `dropped_span_side_cache_overflow_total`.
    pub(crate) side_overflow: u64,
    /// Pairs whose labels are no UTF-8.
    pub(crate) invalid: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Client,
    Server,
    Connection,
    VirtualNode,
    Dimension(DimensionId),
}

#[derive(Debug)]
struct Dimension {
    slot: Slot,
    /// Its values in the edge, of the client and the server; the same when they share a label.
    client: DimensionId,
    server: DimensionId,
}

/// Attributes that tell a database.
#[derive(Debug)]
struct Database {
    names: Vec<Slot>,
    peer_service: Slot,
    server_address: Slot,
    peer_address: Slot,
    peer_port: Slot,
}

/// Which half of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Client,
    Server,
}

/// The processor.
#[derive(Debug)]
pub(crate) struct ServiceGraphsProcessor {
    pub(crate) table: TableId,
    wait_ms: i64,
    max_items: usize,
    peers: Vec<Slot>,
    database: Database,
    dimensions: Vec<Dimension>,
    /// In the order of their names.
    labels: Vec<(String, Source)>,
    multiplier: Multiplier,
    filter: Filter,
    messaging_latency: bool,
    pub(crate) edges: Edges,
    /// Halves that a filter left out: nobody has to wait for them.
    left_out: HashMap<(Key, Side), i64>,
    pub(crate) tally: EdgeTally,
    budget: Arc<Budget>,
    /// Bytes of edges that the budget knows of.
    charged: usize,
    /// When what is not needed any more was last let go, Unix milliseconds.
    tidied_ms: i64,
    scratch: Vec<u8>,
}

impl Drop for ServiceGraphsProcessor {
    fn drop(&mut self) {
        self.budget.give(self.charged);
    }
}

impl ServiceGraphsProcessor {
    /// # Errors
    /// [`PolicyError`] for filters that cannot be used.
    pub(crate) fn new(
        generator: &Generator,
        registry: &mut Registry,
        wanted: &mut Wanted,
        budget: Arc<Budget>,
    ) -> Result<Self, PolicyError> {
        let settings = &generator.service_graphs;
        let (labels, dimensions) = sources(settings, wanted);
        let database = Database {
            names: settings.database_name_attributes.iter().map(|key| wanted.add(key)).collect(),
            peer_service: wanted.add("peer.service"),
            server_address: wanted.add("server.address"),
            peer_address: wanted.add("network.peer.address"),
            peer_port: wanted.add("network.peer.port"),
        };
        Ok(Self {
            table: registry.table(shape(generator)),
            wait_ms: i64::try_from(settings.wait.as_millis()).unwrap_or(i64::MAX),
            max_items: settings.max_items,
            peers: settings.peer_attributes.iter().map(|key| wanted.add(key)).collect(),
            database,
            dimensions,
            labels,
            multiplier: Multiplier::new(&settings.multiplier_key, settings.tracestate_multiplier, wanted),
            filter: Filter::new(&settings.filter_policies, wanted)?,
            messaging_latency: settings.messaging_latency,
            edges: Edges::default(),
            left_out: HashMap::new(),
            tally: EdgeTally::default(),
            budget,
            charged: 0,
            tidied_ms: 0,
            scratch: Vec::new(),
        })
    }

    /// Looks at a span. `false`: a filter left it out.
    #[inline]
    pub(crate) fn span(&mut self, facts: &Facts<'_, '_>, registry: &mut Registry) -> bool {
        let (side, connection) = match facts.span.kind {
            2 => (Side::Server, Connection::Direct),
            3 => (Side::Client, Connection::Direct),
            4 => (Side::Client, Connection::Messaging),
            5 => (Side::Server, Connection::Messaging),
            _ => return true,
        };
        // Without a service there is no node.
        if facts.resource.service.is_none() {
            return true;
        }
        let is_root = side == Side::Server && facts.span.parent == 0;
        let span = if side == Side::Client || is_root { facts.span.id } else { facts.span.parent };
        let key = Key { trace: facts.span.trace, span, is_root };
        if !self.filter.lets_in(facts) {
            self.leave_out(key, side, facts.received_ms);
            return false;
        }
        self.half(key, side, connection, facts, registry);
        true
    }

    fn half(
        &mut self,
        key: Key,
        side: Side,
        connection: Connection,
        facts: &Facts<'_, '_>,
        registry: &mut Registry,
    ) {
        let known = self.edges.lend(&key);
        let is_new = known.is_none();
        if is_new && !key.is_root && !self.left_out.is_empty() {
            let other = if side == Side::Client { Side::Server } else { Side::Client };
            if self.left_out.contains_key(&(key, other)) {
                self.tally.dropped_edges += 1;
                return;
            }
        }
        let (place, mut edge) = known.map_or((None, Edge::default()), |(place, edge)| (Some(place), edge));
        edge.connection = connection;
        edge.failed |= facts.span.status == 2;
        edge.weight = self.multiplier.of(facts);
        self.set_dimensions(&mut edge, side, facts);
        match side {
            Side::Client => {
                edge.client.clone_from(&facts.resource.service);
                edge.client_seconds = facts.seconds();
                edge.client_end = facts.span.end;
                self.set_database(&mut edge, facts);
                // Who is known needs no other name.
                if edge.server.is_none() {
                    self.set_peer(&mut edge, facts);
                }
            }
            Side::Server => {
                edge.server.clone_from(&facts.resource.service);
                edge.server_seconds = facts.seconds();
                edge.server_start = facts.span.start;
                if key.is_root {
                    self.set_peer(&mut edge, facts);
                }
            }
        }
        if edge.is_complete() {
            self.tally.edges += u64::from(is_new);
            if !is_new {
                self.edges.end(&key);
            }
            self.complete(key, &edge, None, facts.received_ms, registry);
        } else if let Some(place) = place {
            self.edges.give_back(place, edge);
        } else if self.edges.len() >= self.max_items || !self.has_room() {
            self.tally.dropped_spans += 1;
        } else {
            self.tally.edges += 1;
            self.edges.wait(key, edge, facts.received_ms.saturating_add(self.wait_ms));
        }
    }

    /// Whether the budget has room for one more, asked seldom.
    fn has_room(&mut self) -> bool {
        const STEP: usize = 64 << 10;
        let bytes = self.edges.bytes();
        if bytes > self.charged {
            if !self.budget.has_room(self.charged, STEP) {
                return false;
            }
            self.budget.take(STEP);
            self.charged += STEP;
        }
        true
    }

    fn set_dimensions(&self, edge: &mut Edge, side: Side, facts: &Facts<'_, '_>) {
        for dimension in &self.dimensions {
            if let Some(value) = facts.of_either(dimension.slot) {
                let mut text = Vec::new();
                put_text(&mut text, value);
                let id = if side == Side::Client { dimension.client } else { dimension.server };
                edge.set_dimension(id, text);
            }
        }
    }

    fn set_peer(&self, edge: &mut Edge, facts: &Facts<'_, '_>) {
        if let Some(value) = self.peers.iter().find_map(|slot| facts.of_span(*slot)) {
            let mut text = Vec::new();
            put_text(&mut text, value);
            edge.peer = Some(text.into());
        }
    }

    /// A client that asks a database is the whole edge.
    fn set_database(&self, edge: &mut Edge, facts: &Facts<'_, '_>) {
        let database = &self.database;
        let Some(name) = database.names.iter().find_map(|slot| facts.of_either(*slot)) else { return };
        edge.connection = Connection::Database;
        edge.server_seconds = facts.seconds();
        let mut server = Vec::new();
        let by_name = [database.peer_service, database.server_address];
        if let Some(value) = by_name.iter().find_map(|slot| facts.of_either(*slot)) {
            put_text(&mut server, value);
        } else if let Some(address) = facts.of_either(database.peer_address) {
            put_text(&mut server, address);
            if let Some(port) = facts.of_either(database.peer_port) {
                server.push(b':');
                put_text(&mut server, port);
            }
        } else {
            put_text(&mut server, name);
            if server.is_empty() {
                return;
            }
        }
        edge.server = Some(server.into());
    }

    fn leave_out(&mut self, key: Key, side: Side, now_ms: i64) {
        // No client is looked for a root.
        if key.is_root {
            return;
        }
        if self.edges.end(&key) {
            self.tally.dropped_edges += 1;
        }
        let expires = now_ms.saturating_add(self.wait_ms);
        if let Some(known) = self.left_out.get_mut(&(key, side)) {
            *known = expires;
        } else if self.left_out.len() >= self.max_items {
            self.tally.side_overflow += 1;
        } else {
            self.left_out.insert((key, side), expires);
        }
    }

    /// Takes over what waits from the processor that was there before the settings changed.
    pub(crate) fn inherit(&mut self, old: &mut Self) {
        self.edges = std::mem::take(&mut old.edges);
        self.left_out = std::mem::take(&mut old.left_out);
    }

    /// Appends the halves that wait, and those that a filter left out.
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.edges.put_state(out);
        put_varint(out, self.left_out.len() as u64);
        for (key, side) in self.left_out.keys() {
            out.extend_from_slice(&key.trace.0.to_le_bytes());
            out.extend_from_slice(&key.span.to_le_bytes());
            out.push(u8::from(*side == Side::Server));
        }
    }

    /// Takes up what [`Self::put_state`] told when the process ended; nothing when there were no service graphs then.
    /// Senders could not send while it was away, so all wait anew.
    pub(crate) fn restore(&mut self, state: &mut Bytes<'_>, now_ms: i64) {
        let expires = now_ms.saturating_add(self.wait_ms);
        if !state.is_empty() && self.restore_all(state, expires).is_none() {
            tracing::warn!("open edges of service graphs cannot be read; some requests are not counted");
        }
    }

    fn restore_all(&mut self, state: &mut Bytes<'_>, expires_ms: i64) -> Option<()> {
        self.edges.restore(state, expires_ms)?;
        for _ in 0..state.length()? {
            let trace = TraceId(u128::from_le_bytes(state.array()?));
            let span = u64::from_le_bytes(state.array()?);
            let side = if state.byte()? == 0 { Side::Client } else { Side::Server };
            self.left_out.insert((Key { trace, span, is_root: false }, side), expires_ms);
        }
        Some(())
    }

    /// Makes what there is of the halves that have waited long enough.
    pub(crate) fn expire(&mut self, now_ms: i64, registry: &mut Registry) {
        while let Some((key, mut edge)) = self.edges.expired(now_ms) {
            edge.connection = Connection::VirtualNode;
            let is_named = |side: &Option<Arc<[u8]>>| side.as_ref().is_some_and(|name| !name.is_empty());
            let peer = edge.peer.take().filter(|peer| !peer.is_empty());
            let virtual_side = if !is_named(&edge.client) && key.is_root {
                edge.client = Some(peer.as_deref().unwrap_or(USER).into());
                Some("client")
            } else if is_named(&edge.client) && !is_named(&edge.server) && peer.is_some() {
                edge.server = peer.as_deref().map(Arc::from);
                Some("server")
            } else {
                None
            };
            match virtual_side {
                Some(side) => self.complete(key, &edge, Some(side), now_ms, registry),
                None => self.tally.expired += 1,
            }
        }
        if !is_due(now_ms, self.tidied_ms.saturating_add(TIDY_EVERY_MS), TIDY_EVERY_MS) {
            return;
        }
        self.tidied_ms = now_ms;
        self.left_out.retain(|_, expires| *expires > now_ms);
        let spare = self.charged.saturating_sub(self.edges.bytes());
        self.charged -= spare;
        self.budget.give(spare);
    }

    fn complete(&mut self, key: Key, edge: &Edge, side: Option<&str>, now_ms: i64, registry: &mut Registry) {
        self.scratch.clear();
        for (label, source) in &self.labels {
            labels::put(&mut self.scratch, label.as_bytes(), |out| {
                out.extend_from_slice(match source {
                    Source::Client => edge.client.as_deref().unwrap_or_default(),
                    Source::Server => edge.server.as_deref().unwrap_or_default(),
                    Source::Connection => edge.connection.name().as_bytes(),
                    Source::VirtualNode => side.unwrap_or_default().as_bytes(),
                    Source::Dimension(id) => {
                        let found = edge.dimensions.iter().find(|(known, _)| known == id);
                        found.map(|(_, value)| &**value).unwrap_or_default()
                    }
                });
            });
        }
        let Some(place) = registry.entity(self.table, &self.scratch, now_ms) else {
            self.tally.invalid += 1;
            return;
        };
        registry.count(self.table, place, TOTAL, edge.weight);
        if edge.failed {
            registry.count(self.table, place, FAILED, edge.weight);
        }
        let mut observe = |metric, value| {
            let seen = Observation { value, weight: edge.weight, trace: key.trace, time_ms: now_ms };
            registry.observe(self.table, place, metric, seen);
        };
        observe(SERVER_SECONDS, edge.server_seconds);
        observe(CLIENT_SECONDS, edge.client_seconds);
        if self.messaging_latency && edge.connection == Connection::Messaging {
            let seconds = seconds_between(edge.client_end, edge.server_start);
            // Not later: the two clocks differ, and nothing is known.
            if seconds > 0.0 {
                observe(MESSAGING_SECONDS, seconds);
            }
        }
    }
}

fn shape(generator: &Generator) -> Vec<Metric> {
    let settings = &generator.service_graphs;
    let mode = settings.histograms.unwrap_or(generator.histograms);
    let metric = |name: &str, kind: Kind, is_rare| Metric {
        name: format!("traces_service_graph_request_{name}"),
        kind,
        is_rare,
    };
    let seconds = || histogram(&settings.buckets, mode, generator);
    vec![
        metric("total", Kind::Counter, false),
        metric("failed_total", Kind::Counter, true),
        metric("server_seconds", seconds(), false),
        metric("client_seconds", seconds(), false),
        metric("messaging_system_seconds", seconds(), true),
    ]
}

/// The labels, sorted, and which dimensions are read.
fn sources(settings: &ServiceGraphs, wanted: &mut Wanted) -> (Vec<(String, Source)>, Vec<Dimension>) {
    let mut labels = std::collections::BTreeMap::new();
    let mut dimensions = Vec::new();
    for key in &settings.dimensions {
        let mut label = |prefix: &str| {
            let label = sanitize_beside(&format!("{prefix}{key}"), &[]);
            let id = dimension(&label);
            labels.insert(label, Source::Dimension(id));
            id
        };
        let (client, server) = if settings.prefixes {
            (label("client_"), label("server_"))
        } else {
            let shared = label("");
            (shared, shared)
        };
        dimensions.push(Dimension { slot: wanted.add(key), client, server });
    }
    if settings.virtual_node_label {
        labels.insert(VIRTUAL_NODE.to_owned(), Source::VirtualNode);
    }
    // Nothing takes the place of these.
    let own =
        [("client", Source::Client), ("server", Source::Server), ("connection_type", Source::Connection)];
    labels.extend(own.map(|(name, source)| (name.to_owned(), source)));
    (labels.into_iter().collect(), dimensions)
}
