//! The tree of a question for series: one metrics query, or arithmetic between several. Tempo has only the former.

use super::{BinaryOp, Hint, Query, SecondStage, Static};

/// A whole question for series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesQuery {
    /// A query as Tempo knows it, or arithmetic.
    pub expr: MetricsExpr,
    /// What follows arithmetic: `| topk(3) | > 5`. Those of a lone query are its own.
    pub second_stages: Vec<SecondStage>,
    /// `with (…)` behind arithmetic. Those of a lone query are its own.
    pub hints: Vec<Hint>,
}

/// Arithmetic between metrics queries and numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsExpr {
    /// `({…} | rate())`; without parentheses, and perhaps no metrics query at all, when it is all there is.
    Query(Box<Query>),
    /// `100`, `0.5`, or a duration, which stands for its seconds.
    Number(Static),
    /// `-x`
    Negate(Box<Self>),
    /// `a OP b`
    Binary {
        /// An arithmetic operator.
        op: BinaryOp,
        /// Left side.
        lhs: Box<Self>,
        /// Right side.
        rhs: Box<Self>,
    },
}

impl From<Query> for SeriesQuery {
    /// A lone query.
    fn from(query: Query) -> Self {
        Self { expr: MetricsExpr::Query(Box::new(query)), second_stages: Vec::new(), hints: Vec::new() }
    }
}

impl SeriesQuery {
    /// Whether it asks for series: arithmetic always does, a lone query may ask for traces.
    #[must_use]
    pub fn is_metrics(&self) -> bool {
        match &self.expr {
            MetricsExpr::Query(query) => query.is_metrics(),
            _ => true,
        }
    }

    /// All hints, wherever they are kept.
    #[must_use]
    pub fn all_hints(&self) -> &[Hint] {
        match &self.expr {
            MetricsExpr::Query(query) => &query.hints,
            _ => &self.hints,
        }
    }
}

impl MetricsExpr {
    /// The queries, as they are read: left before right.
    #[must_use]
    pub fn queries(&self) -> Vec<&Query> {
        let mut queries = Vec::new();
        self.collect(&mut queries);
        queries
    }

    fn collect<'a>(&'a self, queries: &mut Vec<&'a Query>) {
        match self {
            Self::Query(query) => queries.push(query),
            Self::Number(_) => {}
            Self::Negate(inner) => inner.collect(queries),
            Self::Binary { lhs, rhs, .. } => {
                lhs.collect(queries);
                rhs.collect(queries);
            }
        }
    }
}
