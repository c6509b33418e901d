//! Why a query has no answer.

/// A question that cannot be answered. Over HTTP it is a 400, as the fault is the asker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An integer divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The rest of an integer divided by zero.
    #[error("modulo by zero")]
    ModuloByZero,
    /// A pattern that does not compile; the checker refuses those.
    #[error("invalid regex: {0}")]
    Regex(String),
    /// A pipeline inside of an operation gave several spansets.
    #[error("spanset operators are not supported for multiple spansets per trace. consider using coalesce()")]
    MultipleSpansets,
    /// What the checker refuses.
    #[error("{0} not yet supported")]
    Unsupported(&'static str),
    /// Not a metrics query, or a step of nothing.
    #[error("{0}")]
    NotMetrics(&'static str),
}
