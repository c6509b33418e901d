//! What a question needs of a batch: which columns, and which attributes. A reader decodes just those; live data, which
//! has everything, ignores it.

use trackway_common::TraceId;

use crate::batch::Level;

/// A set of columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns(u32);

impl Columns {
    /// `traces.start`, `traces.end`
    pub const TRACE_TIMES: Self = Self(1);
    /// `traces.root_service`, `traces.root_name`
    pub const TRACE_ROOT: Self = Self(1 << 1);
    /// `traces.stats`
    pub const TRACE_STATS: Self = Self(1 << 2);
    /// `resources.service`
    pub const SERVICE: Self = Self(1 << 3);
    /// `scopes.name`
    pub const SCOPE_NAME: Self = Self(1 << 4);
    /// `scopes.version`
    pub const SCOPE_VERSION: Self = Self(1 << 5);
    /// `spans.id`
    pub const ID: Self = Self(1 << 6);
    /// `spans.parent`
    pub const PARENT: Self = Self(1 << 7);
    /// `spans.name`
    pub const NAME: Self = Self(1 << 8);
    /// `spans.kind`
    pub const KIND: Self = Self(1 << 9);
    /// `spans.status`
    pub const STATUS: Self = Self(1 << 10);
    /// `spans.status_message`
    pub const STATUS_MESSAGE: Self = Self(1 << 11);
    /// `spans.start`
    pub const START: Self = Self(1 << 12);
    /// `spans.duration`
    pub const DURATION: Self = Self(1 << 13);
    /// `spans.nested_*`
    pub const NESTED_SET: Self = Self(1 << 14);
    /// `events.span`, and `events.since_start`
    pub const EVENTS: Self = Self(1 << 15);
    /// `events.name`
    pub const EVENT_NAME: Self = Self(1 << 16);
    /// `links.span`, `links.trace_id` and `links.span_id`
    pub const LINKS: Self = Self(1 << 17);
    /// Trace states and the counts of dropped things.
    pub const REST: Self = Self(1 << 18);
    /// All columns that a trace by id needs: everything but what is about whole traces.
    pub const ALL_OF_SPANS: Self = Self(((1 << 19) - 1) & !0b111 & !(1 << 14));

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOrAssign for Columns {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The attributes of one level that a question needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttrNeed {
    /// None.
    #[default]
    None,
    /// Those with these keys, and perhaps others.
    Keys(Vec<Vec<u8>>),
    /// All of them.
    All,
}

impl AttrNeed {
    /// Whether an attribute with this key is needed.
    pub fn wants(&self, key: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Keys(keys) => keys.iter().any(|wanted| wanted == key),
            Self::All => true,
        }
    }

    fn add(&mut self, key: &[u8]) {
        if self.wants(key) {
            return;
        }
        match self {
            Self::Keys(keys) => keys.push(key.to_vec()),
            _ => *self = Self::Keys(vec![key.to_vec()]),
        }
    }
}

/// What a question needs of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns.
    pub columns: Columns,
    /// Attributes by [`Level`].
    pub attrs: [AttrNeed; 5],
}

impl Needs {
    /// Everything that a trace by id shows.
    pub fn everything() -> Self {
        Self { columns: Columns::ALL_OF_SPANS, attrs: std::array::from_fn(|_| AttrNeed::All) }
    }

    /// Adds columns.
    pub fn add(&mut self, columns: Columns) {
        self.columns |= columns;
    }

    /// Adds an attribute, and what connects its level to the spans.
    pub fn add_attr(&mut self, level: Level, key: &[u8]) {
        if level == Level::Resource && key == b"service.name" {
            self.add(Columns::SERVICE);
        }
        self.attrs[level as usize].add(key);
        self.connect(level);
    }

    /// Adds all attributes of a level, and what connects it to the spans.
    pub fn add_all_attrs(&mut self, level: Level) {
        if level == Level::Resource {
            self.add(Columns::SERVICE);
        }
        self.attrs[level as usize] = AttrNeed::All;
        self.connect(level);
    }

    fn connect(&mut self, level: Level) {
        match level {
            Level::Event => self.add(Columns::EVENTS),
            Level::Link => self.add(Columns::LINKS),
            Level::Resource | Level::Scope | Level::Span => {}
        }
    }

    /// What either needs.
    pub fn merge(&mut self, other: &Self) {
        self.columns |= other.columns;
        for (mine, theirs) in self.attrs.iter_mut().zip(&other.attrs) {
            match theirs {
                AttrNeed::None => {}
                AttrNeed::All => *mine = AttrNeed::All,
                AttrNeed::Keys(keys) => keys.iter().for_each(|key| mine.add(key)),
            }
        }
    }
}

/// Whether a text would do.
pub type TextTest = std::sync::Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Something that every matching span must have, told so that a reader can pass over what cannot hold it. A reader that
/// cannot tell must answer "maybe".
#[derive(Clone)]
pub struct Prune {
    /// Where to look.
    pub on: PruneOn,
    /// Whether a text value would do.
    pub text: TextTest,
    /// The values that would do, where the condition names them all.
    pub one_of: Option<OneOf>,
}

/// Values that a condition names: what matches it is equal to one of them.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOf {
    /// Texts.
    Texts(Vec<Vec<u8>>),
    /// A number: as an integer, if it is one, and as a float.
    Number(Option<i64>, f64),
}

impl std::fmt::Debug for Prune {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prune").field("on", &self.on).finish_non_exhaustive()
    }
}

/// The ranges of identifiers in which every trace lies that any of these lists lets pass; `None` when they do not say.
pub fn trace_ids_of(lists: &[Vec<Prune>]) -> Option<Vec<(TraceId, TraceId)>> {
    let of_list = |list: &Vec<Prune>| {
        list.iter().find_map(|prune| match &prune.on {
            PruneOn::TraceId(ids) => Some(ids.clone()),
            _ => None,
        })
    };
    let ids: Vec<_> = lists.iter().map(of_list).collect::<Option<Vec<_>>>()?;
    (!ids.is_empty()).then(|| ids.concat())
}

/// What a [`Prune`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PruneOn {
    /// A text attribute with this key at one of these levels. `service.name` of resources included.
    Attr {
        /// Levels, any of which will do.
        levels: Vec<Level>,
        /// Key.
        key: Vec<u8>,
        /// Whether the value must pass `text`; otherwise the attribute only has to be there, whatever its type.
        value: bool,
    },
    /// The trace's identifier: ranges, both ends included, in any of which it must lie.
    TraceId(Vec<(TraceId, TraceId)>),
    /// The name of the span.
    Name,
    /// The status, as OTLP's number.
    Status(u8),
    /// The kind, as OTLP's number.
    Kind(u8),
}
