//! The numbers that spans bring into an aggregate.

use trackway_spans::{SpanBatch, StrId, effective_duration};
use trackway_traceql::ast::{Field, Intrinsic};

use super::attribute::{self, Take};
use super::rows::Rows;
use crate::column::{self, levels_of};
use crate::value::Val;

/// A number, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// No value.
    Nil,
    /// A value that is no number.
    Other,
    /// An integer, or nanoseconds.
    Whole(i64),
    Float(f64),
}

impl Number {
    #[inline]
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
            Self::Nil | Self::Other => f64::NAN,
        }
    }

    #[inline]
    fn is_number(self) -> bool {
        matches!(self, Self::Whole(_) | Self::Float(_))
    }
}

/// The numbers of the rows; rows without one are taken out.
pub(crate) fn numbers(batch: &SpanBatch, field: &Field, rows: &mut Rows) -> Vec<Number> {
    let mut numbers = all_numbers(batch, field, &rows.spans);
    if !numbers.iter().all(|number| number.is_number()) {
        rows.retain(|row| numbers[row].is_number());
        numbers.retain(|number| number.is_number());
    }
    numbers
}

fn all_numbers(batch: &SpanBatch, field: &Field, spans: &[u32]) -> Vec<Number> {
    match field {
        Field::Attribute { scope, name } => {
            attribute::place(batch, levels_of(*scope), name, &mut TakeNumber(batch)).of_spans(spans)
        }
        Field::Intrinsic { intrinsic: Intrinsic::Duration, .. } => {
            let durations = &batch.spans.duration;
            let of = |span: &u32| effective_duration(durations[*span as usize]).cast_signed();
            spans.iter().map(|span| Number::Whole(of(span))).collect()
        }
        _ => {
            let values = column::dense(batch, field);
            spans.iter().map(|span| number_of(&values[*span as usize])).collect()
        }
    }
}

fn number_of(value: &Val<'_>) -> Number {
    match value {
        Val::Int(number) | Val::Duration(number) => Number::Whole(*number),
        Val::Float(number) => Number::Float(*number),
        _ => Number::Other,
    }
}

struct TakeNumber<'a>(&'a SpanBatch);

impl Take for TakeNumber<'_> {
    type Taken = Number;
    const NIL: Number = Number::Nil;

    fn text(&mut self, _: StrId) -> Number {
        Number::Other
    }

    fn int(&mut self, value: i64) -> Number {
        Number::Whole(value)
    }

    fn float(&mut self, value: f64) -> Number {
        Number::Float(value)
    }

    fn bool(&mut self, _: bool) -> Number {
        Number::Other
    }

    fn rest(&mut self, id: StrId) -> Number {
        let value = trackway_spans::Value::Other(self.0.strings.get(id));
        if column::exists(value) { Number::Other } else { Number::Nil }
    }
}
