//! `compare({…}, n)`: for every attribute, how often its values stand in the selection and in the rest, the baseline.
//!
//! Attributes are not looked up span by span. The tables of a batch are gone through once, row by row, each row going to
//! the list of its key; then every list is counted by value and lane, a lane being an interval of one of the two sides.

use hashbrown::{HashMap, HashSet};
use trackway_spans::{Columns, Level, Needs, SpanBatch, TypedAttrs};
use trackway_traceql::ast::{Field, Intrinsic, Scope};

use super::attribute::Take;
use super::cells;
use super::codes::{Attribute, Codes};
use super::comparison::{Comparison, VALUES_MAX};
use super::groups::Compact;
use super::key::Key;
use super::lanes::{Lanes, Merge};
use super::rows::Rows;
use super::series::Intervals;
use crate::column;
use crate::filter::{EvalError, Filter};

/// The intrinsics that are compared. Durations, ids and nested set numbers say little by their values.
const INTRINSICS: [Intrinsic; 8] = [
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::TraceRootName,
    Intrinsic::TraceRootService,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

const NONE: u32 = u32::MAX;

/// What tells the selection from the baseline, and how many values are shown.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    pub(crate) selection: Filter,
    pub(crate) top_n: usize,
    /// Unix nanoseconds.
    pub(crate) range: Option<(i64, i64)>,
}

impl Compare {
    /// Everything that is compared.
    pub(crate) fn add_needs(&self, needs: &mut Needs) {
        for columns in [
            Columns::SERVICE,
            Columns::NAME,
            Columns::STATUS,
            Columns::STATUS_MESSAGE,
            Columns::KIND,
            Columns::TRACE_ROOT,
            Columns::SCOPE_NAME,
            Columns::SCOPE_VERSION,
        ] {
            needs.add(columns);
        }
        needs.add_all_attrs(Level::Resource);
        needs.add_all_attrs(Level::Span);
        self.selection.root.fields(&mut |field| crate::plan::field_needs(field, needs));
    }

    /// Adds the rows of a batch.
    pub(crate) fn observe(
        &self,
        batch: &SpanBatch,
        rows: &Rows,
        time: &Intervals,
        into: &mut Comparison,
    ) -> Result<(), EvalError> {
        let selected = self.selection.mask(batch)?;
        let in_range = |start: u64| {
            // The range holds its start and not its end.
            self.range.is_none_or(|(from, to)| (from..to).contains(&start.cast_signed()))
        };
        let lane = |(span, slot): (&u32, &u32)| {
            let span = *span as usize;
            slot * 2 + u32::from(selected[span] && in_range(batch.spans.start[span]))
        };
        let lanes: Vec<u32> = rows.spans.iter().zip(&rows.slots).map(lane).collect();
        let mut observed =
            Observed { batch, rows, lanes, lane_count: time.count() * 2, compact: Compact::default(), into };
        observed.all();
        observed.fields();
        observed.resource_attributes();
        observed.span_attributes();
        Ok(())
    }
}

/// A batch on its way into a comparison.
struct Observed<'a, 'i> {
    batch: &'a SpanBatch,
    rows: &'a Rows,
    /// Of each row.
    lanes: Vec<u32>,
    lane_count: usize,
    compact: Compact,
    into: &'i mut Comparison,
}

impl Observed<'_, '_> {
    /// Counts all spans.
    fn all(&mut self) {
        let one_group = vec![0; self.lanes.len()];
        for (_, lanes) in cells::collect((&one_group, 1), (&self.lanes, self.lane_count), count) {
            self.into.all.merge(lanes);
        }
    }

    /// Counts what every span has.
    fn fields(&mut self) {
        let service = Field::Attribute { scope: Scope::Resource, name: "service.name".to_owned() };
        let intrinsics = INTRINSICS.map(|intrinsic| Field::Intrinsic { intrinsic, scoped: false });
        for field in intrinsics.iter().chain([&service]) {
            let codes = Codes::of(self.batch, field);
            let of_rows = codes.of_spans(&self.rows.spans);
            let lanes = std::mem::take(&mut self.lanes);
            self.values(&field.to_string(), &codes, of_rows, &lanes);
            self.lanes = lanes;
        }
    }

    /// Counts the values of one attribute, given by numbers, each with its lane.
    fn values(&mut self, name: &str, codes: &Codes<'_>, mut of_rows: Vec<u32>, lanes: &[u32]) {
        let batch = self.batch;
        let values = self.compact.compact(&mut of_rows, codes.end);
        if self.into.has_too_many(name) || has_too_many(batch, codes, &values) {
            let kind = |value: &u32| u32::from(codes.is_array(values[*value as usize]));
            let of_rows: Vec<u32> = of_rows.iter().map(kind).collect();
            let found = cells::collect((&of_rows, 2), (lanes, self.lane_count), count);
            self.into.add(name, [None, Some(Key::Nil)].into_iter().zip(found).map(|(key, of)| (key, of.1)));
        } else {
            let found = cells::collect((&of_rows, values.len()), (lanes, self.lane_count), count);
            let key = |value: u32| Some(codes.key(batch, values[value as usize]));
            self.into.add(name, found.into_iter().map(|(value, lanes)| (key(value), lanes)));
        }
    }

    /// Counts spans by resource, and their counts by the attributes of the resources.
    fn resource_attributes(&mut self) {
        let resource = |span: &u32| self.batch.resource_of(*span as usize) as u32;
        let mut of_rows: Vec<u32> = self.rows.spans.iter().map(resource).collect();
        let owners = column::owners(self.batch, Level::Resource);
        let resources = self.compact.compact(&mut of_rows, owners);
        let mut of_resource: Vec<Lanes<u64>> = vec![Lanes::default(); owners];
        for (at, lanes) in cells::collect((&of_rows, resources.len()), (&self.lanes, self.lane_count), count)
        {
            of_resource[resources[at as usize] as usize] = lanes;
        }
        let wanted: Vec<bool> = of_resource.iter().map(|lanes| !lanes.0.is_empty()).collect();
        let (lists, codes) = lists(self.batch, Level::Resource, |owner| wanted[owner as usize]);
        for list in lists.into_iter().filter(|list| list.key != b"service.name") {
            let name = list.name(Scope::Resource);
            // Most values are those of many resources: they are added up before they become owned.
            let mut of_owner = list.codes;
            let values = self.compact.compact(&mut of_owner, codes.end);
            let mut counts = vec![0; values.len() * self.lane_count];
            for (owner, value) in list.owners.iter().zip(&of_owner) {
                for (lane, count) in &of_resource[*owner as usize].0 {
                    counts[*value as usize * self.lane_count + *lane as usize] += count;
                }
            }
            let lanes = |counts: &[u64]| {
                let counts = (0..).zip(counts.iter().copied());
                Lanes(counts.filter(|(_, count)| *count > 0).collect())
            };
            let keys = values.iter().map(|code| Some(codes.key(self.batch, *code)));
            self.into.add(&name, keys.zip(counts.chunks(self.lane_count).map(lanes)));
        }
    }

    /// Counts the values of the attributes of spans.
    fn span_attributes(&mut self) {
        let mut lane_of_span = vec![NONE; self.batch.len()];
        for (span, lane) in self.rows.spans.iter().zip(&self.lanes) {
            lane_of_span[*span as usize] = *lane;
        }
        let (lists, codes) = lists(self.batch, Level::Span, |owner| lane_of_span[owner as usize] != NONE);
        for list in lists {
            let lanes: Vec<u32> = list.owners.iter().map(|span| lane_of_span[*span as usize]).collect();
            self.values(&list.name(Scope::Span), &codes, list.codes, &lanes);
        }
    }
}

/// Whether there are more values than are kept. Several numbers may stand for the same one.
fn has_too_many(batch: &SpanBatch, codes: &Codes<'_>, values: &[u32]) -> bool {
    let mut known = HashSet::new();
    let mut is_new = |code: &u32| known.insert(codes.key(batch, *code));
    values.len() > VALUES_MAX
        && values.iter().filter(|code| !codes.is_array(**code) && is_new(code)).nth(VALUES_MAX).is_some()
}

fn count(count: &mut u64, _: usize) {
    *count += 1;
}

/// The owners that have an attribute, with the numbers of their first values.
struct List<'a> {
    key: &'a [u8],
    owners: Vec<u32>,
    codes: Vec<u32>,
    /// The table of the last row.
    table: u8,
    /// Which owners are in the list; only kept when values are of several types.
    seen: Vec<bool>,
}

impl List<'_> {
    fn name(&self, scope: Scope) -> String {
        Field::Attribute { scope, name: String::from_utf8_lossy(self.key).into_owned() }.to_string()
    }

    /// Adds a row, unless the owner has a value already. Rows come table by table, in each with ascending owners.
    #[inline]
    fn push(&mut self, table: u8, owner: u32, code: u32, all_owners: usize) {
        if code == Attribute::NIL || self.owners.last() == Some(&owner) {
            return;
        }
        if self.table != table {
            self.table = table;
            if self.seen.is_empty() && !self.owners.is_empty() {
                self.seen = vec![false; all_owners];
                self.owners.iter().for_each(|owner| self.seen[*owner as usize] = true);
            }
        }
        if let Some(seen) = self.seen.get_mut(owner as usize)
            && std::mem::replace(seen, true)
        {
            return;
        }
        self.owners.push(owner);
        self.codes.push(code);
    }
}

/// All attributes that the wanted owners of a level have, and what the numbers of their values stand for.
fn lists(batch: &SpanBatch, level: Level, wanted: impl Fn(u32) -> bool) -> (Vec<List<'_>>, Codes<'_>) {
    let mut lists = Lists {
        batch,
        owners: column::owners(batch, level),
        of_key: vec![NONE; batch.strings.len()],
        by_text: HashMap::new(),
        lists: Vec::new(),
    };
    let mut values = Attribute::new(batch);
    let table = batch.attrs(level);
    lists.add(0, &table.strings, &wanted, |id| values.text(id));
    lists.add(1, &table.ints, &wanted, |value| values.int(value));
    lists.add(2, &table.floats, &wanted, |value| values.float(value));
    lists.add(3, &table.bools, &wanted, |value| values.bool(value != 0));
    lists.add(4, &table.others, &wanted, |id| values.rest(id));
    (lists.lists, values.finish_elsewhere())
}

struct Lists<'a> {
    batch: &'a SpanBatch,
    owners: usize,
    /// The list of each key, by its id.
    of_key: Vec<u32>,
    /// The same by its text, since long texts may have several ids.
    by_text: HashMap<&'a [u8], u32>,
    lists: Vec<List<'a>>,
}

impl<'a> Lists<'a> {
    fn add<T: arrow_buffer::ArrowNativeType>(
        &mut self,
        table: u8,
        attrs: &TypedAttrs<T>,
        wanted: &impl Fn(u32) -> bool,
        mut code: impl FnMut(T) -> u32,
    ) {
        for ((owner, key), value) in attrs.owner.iter().zip(attrs.key.iter()).zip(attrs.value.iter()) {
            if wanted(*owner) {
                let list = match self.of_key[*key as usize] {
                    NONE => self.list_of(*key),
                    list => list,
                };
                self.lists[list as usize].push(table, *owner, code(*value), self.owners);
            }
        }
    }

    fn list_of(&mut self, key: u32) -> u32 {
        let text = self.batch.strings.get(key);
        let list = *self.by_text.entry(text).or_insert_with(|| {
            let (owners, codes, seen) = (Vec::new(), Vec::new(), Vec::new());
            self.lists.push(List { key: text, owners, codes, table: 0, seen });
            self.lists.len() as u32 - 1
        });
        self.of_key[key as usize] = list;
        list
    }
}
