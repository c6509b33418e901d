//! Questions for series to text.

use std::fmt::{Display, Formatter, Result};

use super::{hints, wrap};
use crate::ast::{MetricsExpr, SeriesQuery};

impl Display for SeriesQuery {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.expr {
            MetricsExpr::Query(query) => return query.fmt(f),
            expr => expr.fmt(f)?,
        }
        self.second_stages.iter().try_for_each(|stage| write!(f, "{stage}"))?;
        hints(f, &self.hints)
    }
}

impl Display for MetricsExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Query(query) => write!(f, "({query})"),
            Self::Number(value) => value.fmt(f),
            Self::Negate(inner) => {
                f.write_str("-")?;
                wrap(f, &**inner, inner.is_operation())
            }
            Self::Binary { op, lhs, rhs } => {
                wrap(f, &**lhs, lhs.is_operation())?;
                write!(f, " {op} ")?;
                wrap(f, &**rhs, rhs.is_operation())
            }
        }
    }
}

impl MetricsExpr {
    fn is_operation(&self) -> bool {
        matches!(self, Self::Negate(_) | Self::Binary { .. })
    }
}
