//! The first value of an attribute for every span, as whatever is made of values.
//!
//! Wherever spans share it through their scope or resource, the value stands once for each of those.

use std::borrow::Cow;

use arrow_buffer::ArrowNativeType;
use trackway_spans::{Level, SpanBatch, StrId, TypedAttrs};

use crate::column::{self, ids_of};

/// Makes something small of values.
pub(crate) trait Take {
    /// What is made of them.
    type Taken: Copy + PartialEq;
    /// What is made of none.
    const NIL: Self::Taken;

    fn text(&mut self, id: StrId) -> Self::Taken;
    fn int(&mut self, value: i64) -> Self::Taken;
    fn float(&mut self, value: f64) -> Self::Taken;
    fn bool(&mut self, value: bool) -> Self::Taken;
    /// Of an array, a map, bytes or an empty value; all but arrays count as none.
    fn rest(&mut self, id: StrId) -> Self::Taken;
}

/// Where something of a span stands.
pub(crate) enum Place<'a, T: Copy> {
    /// At the row of the span.
    Own(Cow<'a, [T]>),
    /// At the row of what the span belongs to.
    Via(&'a [u32], Cow<'a, [T]>),
}

impl<T: Copy> Place<'_, T> {
    /// What stands there for some spans.
    pub(crate) fn of_spans(&self, spans: &[u32]) -> Vec<T> {
        match self {
            Self::Own(own) => spans.iter().map(|span| own[*span as usize]).collect(),
            Self::Via(of_span, own) => {
                spans.iter().map(|span| own[of_span[*span as usize] as usize]).collect()
            }
        }
    }

    fn of_span(&self, span: usize) -> T {
        match self {
            Self::Own(own) => own[span],
            Self::Via(of_span, own) => own[of_span[span] as usize],
        }
    }
}

/// An attribute that is looked for at these levels, the first that has it hiding the others.
pub(crate) fn place<'a, T: Take>(
    batch: &'a SpanBatch,
    levels: &[Level],
    name: &str,
    take: &mut T,
) -> Place<'a, T::Taken> {
    let mut found: Vec<Place<'a, T::Taken>> = Vec::new();
    for level in levels {
        if let Some(taken) = of_owners(batch, *level, name, take) {
            found.push(place_of::<T>(batch, *level, taken));
        }
    }
    match found.len() {
        0 => Place::Own(Cow::Owned(vec![T::NIL; batch.len()])),
        1 => found.remove(0),
        _ => {
            let first = |span| found.iter().map(|place| place.of_span(span)).find(|taken| *taken != T::NIL);
            Place::Own(Cow::Owned((0..batch.len()).map(|span| first(span).unwrap_or(T::NIL)).collect()))
        }
    }
}

/// What is made of the first value that each owner of a level has under a key: texts come before the other types. Nothing
/// when no owner has any.
fn of_owners<T: Take>(batch: &SpanBatch, level: Level, name: &str, take: &mut T) -> Option<Vec<T::Taken>> {
    if level == Level::Resource && name == "service.name" {
        return Some(batch.resources.service.iter().map(|id| take.text(*id)).collect());
    }
    let keys = ids_of(&batch.strings, name.as_bytes());
    let table = batch.attrs(level);
    let owners = column::owners(batch, level);
    let mut found: Option<Vec<T::Taken>> = None;
    let mut set = |owner: u32, taken: T::Taken| {
        let place = &mut found.get_or_insert_with(|| vec![T::NIL; owners])[owner as usize];
        if *place == T::NIL {
            *place = taken;
        }
    };
    each_row(&table.strings, &keys, |owner, id| set(owner, take.text(id)));
    each_row(&table.ints, &keys, |owner, value| set(owner, take.int(value)));
    each_row(&table.floats, &keys, |owner, value| set(owner, take.float(value)));
    each_row(&table.bools, &keys, |owner, value| set(owner, take.bool(value != 0)));
    each_row(&table.others, &keys, |owner, id| set(owner, take.rest(id)));
    found
}

/// Calls `each` for the rows with one of these keys.
fn each_row<T: ArrowNativeType>(attrs: &TypedAttrs<T>, keys: &[StrId], mut each: impl FnMut(u32, T)) {
    const ROWS: usize = 16;
    for key in keys {
        // Whether any of some rows has the key is quickly said; most often none has.
        for (chunk, rows) in attrs.key.chunks(ROWS).enumerate() {
            if rows.iter().fold(false, |any, row| any | (row == key)) {
                for (at, _) in rows.iter().enumerate().filter(|(_, row)| *row == key) {
                    let row = chunk * ROWS + at;
                    each(attrs.owner[row], attrs.value[row]);
                }
            }
        }
    }
}

/// What the owners of a level have as what spans have. Of several events or links the first that has a value counts.
fn place_of<T: Take>(batch: &SpanBatch, level: Level, taken: Vec<T::Taken>) -> Place<'_, T::Taken> {
    let first_child = |span_of: &[u32]| {
        let mut first = vec![T::NIL; batch.len()];
        for (span, taken) in span_of.iter().zip(&taken) {
            let first = &mut first[*span as usize];
            if *first == T::NIL {
                *first = *taken;
            }
        }
        Place::Own(Cow::Owned(first))
    };
    match level {
        Level::Span => Place::Own(Cow::Owned(taken)),
        Level::Event => first_child(&batch.events.span),
        Level::Link => first_child(&batch.links.span),
        Level::Scope => Place::Via(&batch.spans.scope, Cow::Owned(taken)),
        Level::Resource => {
            let of_scope = batch.scopes.resource.iter().map(|resource| taken[*resource as usize]).collect();
            Place::Via(&batch.spans.scope, Cow::Owned(of_scope))
        }
    }
}
