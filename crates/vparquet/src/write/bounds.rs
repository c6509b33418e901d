//! The least and the greatest value of a page or of a chunk, in the order that the column's logical type has.

use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Least and greatest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bounds {
    I64(i64, i64),
    U64(u64, u64),
    I32(i32, i32),
    U32(u32, u32),
    F64(f64, f64),
    Bytes(Vec<u8>, Vec<u8>),
}

/// Least and greatest of some numbers.
pub(crate) fn of<T: Copy + Ord>(values: &[T]) -> Option<(T, T)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(min, max), value| (min.min(*value), max.max(*value))))
}

/// Least and greatest of those that are numbers. A zero stands for both zeros, as Parquet wants it.
pub(crate) fn of_floats(values: &[f64]) -> Option<(f64, f64)> {
    let numbers = values.iter().copied().filter(|value| !value.is_nan());
    let (min, max) = numbers
        .map(|value| (value, value))
        .reduce(|(min, max), (value, _)| (min.min(value), max.max(value)))?;
    Some((if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max }))
}

impl Bounds {
    /// The bounds of both together; they must be of one type.
    pub(crate) fn with(self, other: &Self) -> Self {
        match (self, other) {
            (Self::I64(a, b), Self::I64(c, d)) => Self::I64(a.min(*c), b.max(*d)),
            (Self::U64(a, b), Self::U64(c, d)) => Self::U64(a.min(*c), b.max(*d)),
            (Self::I32(a, b), Self::I32(c, d)) => Self::I32(a.min(*c), b.max(*d)),
            (Self::U32(a, b), Self::U32(c, d)) => Self::U32(a.min(*c), b.max(*d)),
            (Self::F64(a, b), Self::F64(c, d)) => Self::F64(a.min(*c), b.max(*d)),
            (Self::Bytes(a, b), Self::Bytes(c, d)) => Self::Bytes(a.min(c.clone()), b.max(d.clone())),
            (one, _) => one,
        }
    }

    /// As a column index has them.
    pub(crate) fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::I64(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::U64(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::I32(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::U32(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::F64(a, b) => (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()),
            Self::Bytes(a, b) => (a.clone(), b.clone()),
        }
    }

    /// As a column chunk has them.
    pub(crate) fn statistics(&self, nulls: u64) -> Statistics {
        let nulls = Some(nulls);
        match self {
            Self::I64(a, b) => Statistics::int64(Some(*a), Some(*b), None, nulls, false),
            Self::U64(a, b) => {
                Statistics::int64(Some(a.cast_signed()), Some(b.cast_signed()), None, nulls, false)
            }
            Self::I32(a, b) => Statistics::int32(Some(*a), Some(*b), None, nulls, false),
            Self::U32(a, b) => {
                Statistics::int32(Some(a.cast_signed()), Some(b.cast_signed()), None, nulls, false)
            }
            Self::F64(a, b) => Statistics::double(Some(*a), Some(*b), None, nulls, false),
            Self::Bytes(a, b) => Statistics::ByteArray(
                ValueStatistics::new(
                    Some(ByteArray::from(a.clone())),
                    Some(ByteArray::from(b.clone())),
                    None,
                    nulls,
                    false,
                )
                .with_min_is_exact(true)
                .with_max_is_exact(true),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_are_compared_as_such() {
        let bounds = of(&[3_u64, u64::MAX, 1 << 63]).map(|(a, b)| Bounds::U64(a, b)).unwrap();
        assert_eq!(bounds.clone().with(&Bounds::U64(5, 6)), Bounds::U64(3, u64::MAX));
        assert_eq!(bounds.bytes().1, [255; 8]);
        assert_eq!(of::<i32>(&[]), None);
    }

    #[test]
    fn floats_that_are_no_numbers_do_not_count() {
        assert_eq!(of_floats(&[f64::NAN]), None);
        let (min, max) = of_floats(&[f64::NAN, 0.0, -0.0]).unwrap();
        assert!(min.is_sign_negative() && max.is_sign_positive());
        assert_eq!(of_floats(&[2.0, f64::NAN, -1.0]), Some((-1.0, 2.0)));
    }
}
