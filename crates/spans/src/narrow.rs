//! A batch with no more than a question needs: live data has everything, and what is copied out of it should not.

use arrow_buffer::ArrowNativeType;

use crate::batch::{AttrTable, Events, Level, Links, SpanBatch, TypedAttrs};
use crate::needs::{AttrNeed, Columns, Needs};

/// The batch without the attributes, events and links that are not needed. Tables that stay as they are share their memory
/// with it.
pub fn narrowed(batch: &SpanBatch, needs: &Needs) -> SpanBatch {
    let mut narrow = batch.clone();
    if !needs.columns.has(Columns::EVENTS) {
        narrow.events = Events::default();
        narrow.attrs[Level::Event as usize] = AttrTable::default();
    }
    if !needs.columns.has(Columns::LINKS) {
        narrow.links = Links::default();
        narrow.attrs[Level::Link as usize] = AttrTable::default();
    }
    for (table, need) in narrow.attrs.iter_mut().zip(&needs.attrs) {
        match need {
            AttrNeed::All => {}
            AttrNeed::None => *table = AttrTable::default(),
            AttrNeed::Keys(_) => {
                let wanted = batch.strings.mask(|key| need.wants(key));
                *table = AttrTable {
                    strings: rows(&table.strings, &wanted),
                    ints: rows(&table.ints, &wanted),
                    floats: rows(&table.floats, &wanted),
                    bools: rows(&table.bools, &wanted),
                    others: rows(&table.others, &wanted),
                };
            }
        }
    }
    narrow
}

fn rows<T: ArrowNativeType>(table: &TypedAttrs<T>, wanted: &[bool]) -> TypedAttrs<T> {
    let kept = || (0..table.len()).filter(|row| wanted[table.key[*row] as usize]);
    TypedAttrs {
        owner: kept().map(|row| table.owner[row]).collect(),
        key: kept().map(|row| table.key[row]).collect(),
        value: kept().map(|row| table.value[row]).collect(),
    }
}
