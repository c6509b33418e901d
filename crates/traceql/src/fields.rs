//! Attributes and intrinsics: their names, their types, and walks over expressions that find them.
//!
//! One table holds every spelling of an intrinsic, so the parser, the printer and the tag lists cannot disagree.

use crate::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Scope, Static, UnaryOp};

/// The names under `scope=intrinsic` in Tempo's answers about tags, in Tempo's order.
pub const INTRINSIC_NAMES: [&str; 25] = [
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "link:spanID",
    "link:traceID",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
];

/// What an expression gives, as far as it is known before a span is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// The literal `nil`.
    Nil,
    /// An attribute: any type, or none.
    Unknown,
    /// A whole number.
    Int,
    /// A floating-point number.
    Float,
    /// A text.
    String,
    /// True or false.
    Bool,
    /// Nanoseconds.
    Duration,
    /// A span status.
    Status,
    /// A span kind.
    Kind,
}

impl ValueType {
    /// Whether values of this type are numbers; all of those can be compared with each other.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }
}

/// Every intrinsic: the old spelling, the scoped spelling (scope, name), and the type.
type Row = (Intrinsic, Option<&'static str>, Option<(&'static str, &'static str)>, ValueType);

const INTRINSICS: [Row; 22] = {
    use Intrinsic as I;
    use ValueType as T;
    [
        (I::Duration, Some("duration"), Some(("span:", "duration")), T::Duration),
        (I::ChildCount, None, Some(("span:", "childCount")), T::Int),
        (I::Name, Some("name"), Some(("span:", "name")), T::String),
        (I::Status, Some("status"), Some(("span:", "status")), T::Status),
        (I::StatusMessage, Some("statusMessage"), Some(("span:", "statusMessage")), T::String),
        (I::Parent, Some("parent"), None, T::Nil),
        (I::Kind, Some("kind"), Some(("span:", "kind")), T::Kind),
        (I::SpanId, None, Some(("span:", "id")), T::String),
        (I::ParentId, None, Some(("span:", "parentID")), T::String),
        (I::TraceDuration, Some("traceDuration"), Some(("trace:", "duration")), T::Duration),
        (I::TraceRootName, Some("rootName"), Some(("trace:", "rootName")), T::String),
        (I::TraceRootService, Some("rootServiceName"), Some(("trace:", "rootService")), T::String),
        (I::TraceId, None, Some(("trace:", "id")), T::String),
        (I::NestedSetLeft, Some("nestedSetLeft"), None, T::Int),
        (I::NestedSetRight, Some("nestedSetRight"), None, T::Int),
        (I::NestedSetParent, Some("nestedSetParent"), None, T::Int),
        (I::EventName, None, Some(("event:", "name")), T::String),
        (I::EventTimeSinceStart, None, Some(("event:", "timeSinceStart")), T::Duration),
        (I::LinkTraceId, None, Some(("link:", "traceID")), T::String),
        (I::LinkSpanId, None, Some(("link:", "spanID")), T::String),
        (I::InstrumentationName, None, Some(("instrumentation:", "name")), T::String),
        (I::InstrumentationVersion, None, Some(("instrumentation:", "version")), T::String),
    ]
};

impl Intrinsic {
    fn row(self) -> Option<&'static Row> {
        INTRINSICS.iter().find(|row| row.0 == self)
    }

    /// The type of its values. `parent`, which cannot be used, counts as `nil`.
    #[must_use]
    pub fn value_type(self) -> ValueType {
        self.row().map_or(ValueType::Nil, |row| row.3)
    }

    /// `duration`: the spelling without a scope, for those that have one.
    #[must_use]
    pub fn old_name(self) -> Option<&'static str> {
        self.row()?.1
    }

    /// `("span:", "duration")`: the spelling with a scope, for those that have one.
    #[must_use]
    pub fn scoped_name(self) -> Option<(&'static str, &'static str)> {
        self.row()?.2
    }

    /// The intrinsic with this spelling without a scope.
    #[must_use]
    pub fn from_old_name(name: &str) -> Option<Self> {
        INTRINSICS.iter().find(|row| row.1 == Some(name)).map(|row| row.0)
    }

    /// The intrinsic with this scope (`span:`) and name in it.
    #[must_use]
    pub fn from_scoped_name(scope: &str, name: &str) -> Option<Self> {
        INTRINSICS.iter().find(|row| row.2 == Some((scope, name))).map(|row| row.0)
    }
}

/// The names that a scope (`trace:`) holds.
pub(crate) fn names_in_scope(scope: &str) -> impl Iterator<Item = &'static str> + use<'_> {
    INTRINSICS.iter().filter_map(move |row| row.2.filter(|(s, _)| *s == scope).map(|(_, name)| name))
}

impl Scope {
    /// The scopes that have a name.
    pub const NAMED: [Self; 5] = [Self::Span, Self::Resource, Self::Event, Self::Link, Self::Instrumentation];

    /// How the scope is written before a name, with the dot: `span.`, and `.` for none.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::None => ".",
            Self::Span => "span.",
            Self::Resource => "resource.",
            Self::Event => "event.",
            Self::Link => "link.",
            Self::Instrumentation => "instrumentation.",
        }
    }
}

impl Field {
    /// The field as a query names it: `resource.service.name`, `.foo`, `span:duration`. Series are labelled with it.
    #[must_use]
    pub fn as_written(&self) -> String {
        self.to_string()
    }

    /// The type of its values: known for intrinsics only.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Intrinsic { intrinsic, .. } => intrinsic.value_type(),
            Self::Attribute { .. } | Self::Parent { .. } => ValueType::Unknown,
        }
    }
}

impl Static {
    /// The type of the literal.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Nil => ValueType::Nil,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::String(_) => ValueType::String,
            Self::Bool(_) => ValueType::Bool,
            Self::Duration(_) => ValueType::Duration,
            Self::Status(_) => ValueType::Status,
            Self::Kind(_) => ValueType::Kind,
        }
    }
}

impl BinaryOp {
    /// Whether the result is true or false: everything but arithmetic.
    #[must_use]
    pub fn is_boolean(self) -> bool {
        !matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow)
    }

    /// Whether this is `= != < <= > >=`.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::NotEq | Self::Less | Self::LessEq | Self::Greater | Self::GreaterEq)
    }
}

impl FieldExpr {
    /// Calls for every attribute and intrinsic in the expression, from left to right, repeated ones too.
    pub fn walk_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Static(_) => {}
            Self::Field(field) => visit(field),
            Self::Unary { expr, .. } => expr.walk_fields(visit),
            Self::Binary { lhs, rhs, .. } => {
                lhs.walk_fields(visit);
                rhs.walk_fields(visit);
            }
        }
    }

    /// What the expression gives. Arithmetic gives a duration when a duration takes part, else a float when a float
    /// does, and takes an attribute of unknown type for whatever the other side is.
    #[must_use]
    pub fn result_type(&self) -> ValueType {
        match self {
            Self::Static(value) => value.value_type(),
            Self::Field(field) => field.value_type(),
            Self::Unary { op: UnaryOp::Not, .. } => ValueType::Bool,
            Self::Unary { op: UnaryOp::Neg, expr } => expr.result_type(),
            Self::Binary { op, .. } if op.is_boolean() => ValueType::Bool,
            Self::Binary { lhs, rhs, .. } => match (lhs.result_type(), rhs.result_type()) {
                (ValueType::Unknown, other) | (other, ValueType::Unknown) => other,
                (ValueType::Duration, _) | (_, ValueType::Duration) => ValueType::Duration,
                (ValueType::Float, _) | (_, ValueType::Float) => ValueType::Float,
                (left, _) => left,
            },
        }
    }

    /// Whether any attribute or intrinsic stands in the expression.
    pub(crate) fn references_span(&self) -> bool {
        match self {
            Self::Static(_) => false,
            Self::Field(_) => true,
            Self::Unary { expr, .. } => expr.references_span(),
            Self::Binary { lhs, rhs, .. } => lhs.references_span() || rhs.references_span(),
        }
    }
}
