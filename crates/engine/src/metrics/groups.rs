//! Which group each row belongs to: a number for every combination of the values of several fields that occurs.

use hashbrown::HashMap;
use trackway_spans::SpanBatch;
use trackway_traceql::ast::Field;

use super::codes::Codes;
use super::key::Key;
use super::rows::Rows;

const NONE: u32 = u32::MAX;

/// The groups of the rows of a batch.
pub(crate) struct Groups<'a> {
    /// The group of each row.
    pub(crate) of_row: Vec<u32>,
    /// How many there are.
    pub(crate) count: usize,
    /// The fields, and for each the groups after it: the group before it, and the number of the field's value.
    fields: Vec<(Codes<'a>, Vec<(u32, u32)>)>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(batch: &'a SpanBatch, by: &[Field], rows: &Rows) -> Self {
        let mut groups = Self { of_row: Vec::new(), count: 1, fields: Vec::new() };
        for field in by {
            groups.split(Codes::of(batch, field), rows);
        }
        if by.is_empty() {
            groups.of_row = vec![0; rows.len()];
        }
        groups
    }

    /// Splits the groups by the values of a field.
    fn split(&mut self, codes: Codes<'a>, rows: &Rows) {
        let mut of_row = codes.of_spans(&rows.spans);
        let values = Compact::default().compact(&mut of_row, codes.end);
        let groups: Vec<(u32, u32)> = if self.fields.is_empty() {
            values.into_iter().map(|code| (0, code)).collect()
        } else {
            let pairs = combine(&self.of_row, self.count, &mut of_row, values.len());
            pairs.into_iter().map(|(group, value)| (group, values[value as usize])).collect()
        };
        self.of_row = of_row;
        self.count = groups.len();
        self.fields.push((codes, groups));
    }

    /// The values of a group, in the order of the fields.
    pub(crate) fn key(&self, batch: &SpanBatch, group: u32) -> Vec<Key> {
        let mut group = group;
        let mut key = Vec::with_capacity(self.fields.len());
        for (codes, groups) in self.fields.iter().rev() {
            let (before, code) = groups[group as usize];
            key.push(codes.key(batch, code));
            group = before;
        }
        key.reverse();
        key
    }
}

/// Replaces numbers by numbers without gaps. Keeps its table from one time to the next.
#[derive(Default)]
pub(crate) struct Compact {
    places: Vec<u32>,
}

impl Compact {
    /// Replaces numbers, all below `end`, and returns which ones they stand for.
    pub(crate) fn compact(&mut self, numbers: &mut [u32], end: usize) -> Vec<u32> {
        if self.places.len() < end {
            self.places.resize(end, NONE);
        }
        let mut found = Vec::new();
        for number in numbers {
            let place = &mut self.places[*number as usize];
            if *place == NONE {
                *place = found.len() as u32;
                found.push(*number);
            }
            *number = *place;
        }
        for number in &found {
            self.places[*number as usize] = NONE;
        }
        found
    }
}

/// Replaces each value by a number for the pair of group and value, and returns the pairs.
fn combine(groups: &[u32], group_count: usize, values: &mut [u32], value_count: usize) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let cells = group_count.saturating_mul(value_count);
    if cells <= 4 * values.len() + (1 << 12) {
        let mut places = vec![NONE; cells];
        for (group, value) in groups.iter().zip(values) {
            let place = &mut places[*group as usize * value_count + *value as usize];
            if *place == NONE {
                *place = pairs.len() as u32;
                pairs.push((*group, *value));
            }
            *value = *place;
        }
    } else {
        let mut places: HashMap<(u32, u32), u32> = HashMap::new();
        for (group, value) in groups.iter().zip(values) {
            *value = *places.entry((*group, *value)).or_insert_with(|| {
                pairs.push((*group, *value));
                pairs.len() as u32 - 1
            });
        }
    }
    pairs
}
