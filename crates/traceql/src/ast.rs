//! The syntax tree of a TraceQL query: what the parser builds, the checker judges, the printer prints and the engine
//! plans from.
//!
//! The tree keeps what the query says, not how it runs: no folding and no rewriting happens here. Two queries with the
//! same meaning may have different trees. `parse(print(tree)) == tree` holds for every tree that the parser can build.

mod series;

pub use series::{MetricsExpr, SeriesQuery};

/// A whole query: a pipeline over spansets, perhaps ended by a metrics aggregate, with hints.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What selects and shapes spansets.
    pub root: Root,
    /// Present when the query asks for metrics: `| rate() by (x) | topk(3)`.
    pub metrics: Option<MetricsPipeline>,
    /// `with (name = value, …)`, in the order written.
    pub hints: Vec<Hint>,
}

/// The search part of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Root {
    /// `{…} | by(…) | count() > 2`
    Pipeline(Pipeline),
    /// `({…} | count() > 1) && ({…} | avg(duration) > 1s)`: whole pipelines combined.
    PipelineExpr(PipelineExpr),
    /// `({…} | count()) > ({…} | count())`
    ScalarPipelineFilter(ScalarPipelineFilter),
}

/// Whole pipelines combined by spanset operators.
#[derive(Clone, Debug, PartialEq)]
pub enum PipelineExpr {
    /// `( pipeline )`
    Pipeline(Pipeline),
    /// `a OP b`
    Operation {
        /// The operator between them.
        op: SpansetOp,
        /// Left side.
        lhs: Box<Self>,
        /// Right side.
        rhs: Box<Self>,
    },
}

/// Stages that each take spansets and give spansets.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// In the order written; never empty.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// `{…}`, or several combined by spanset operators.
    Spanset(SpansetExpr),
    /// `count() > 2`
    ScalarFilter(ScalarFilter),
    /// `by(expr)`
    By(FieldExpr),
    /// `coalesce()`
    Coalesce,
    /// `select(a, b)`
    Select(Vec<Field>),
}

/// An expression over spansets.
#[derive(Clone, Debug, PartialEq)]
pub enum SpansetExpr {
    /// `{ expr }`; `{ }` is `None` and means all spans.
    Filter(Option<FieldExpr>),
    /// `a OP b`
    Operation {
        /// The operator between them.
        op: SpansetOp,
        /// Left side.
        lhs: Box<Self>,
        /// Right side.
        rhs: Box<Self>,
    },
}

/// Operators between spansets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpansetOp {
    /// `&&`
    And,
    /// `||`
    Or,
    /// A structural relation.
    Relation {
        /// Which relation the right side must have to the left.
        relation: Relation,
        /// Plain, negated or union.
        form: RelationForm,
    },
}

/// Structural relations between spans of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`
    Child,
    /// `<`
    Parent,
    /// `>>`
    Descendant,
    /// `<<`
    Ancestor,
    /// `~`
    Sibling,
}

/// The three forms a relation comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationForm {
    /// `>>`: the right-hand spans that have the relation.
    Plain,
    /// `!>>`: the right-hand spans that do not.
    Negated,
    /// `&>>`: the spans of both sides that take part.
    Union,
}

/// An expression over one span.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldExpr {
    /// A literal.
    Static(Static),
    /// An attribute or an intrinsic.
    Field(Field),
    /// `-x` or `!x`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        expr: Box<Self>,
    },
    /// `a OP b`. `x = nil` and `x != nil` stand here too, with a `Static::Nil` operand.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left side.
        lhs: Box<Self>,
        /// Right side.
        rhs: Box<Self>,
    },
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// Infix operators between field expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`
    NotRegex,
    And,
    Or,
}

/// Something that a span has: an attribute by name, or an intrinsic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `span.foo`, `.foo`, `resource."a b"`
    Attribute {
        /// Where to look.
        scope: Scope,
        /// The name without quotes or scope.
        name: String,
    },
    /// `parent.foo`: parses, is then refused as not supported (as in Tempo).
    Parent {
        /// Where to look on the parent span.
        scope: Scope,
        /// The name.
        name: String,
    },
    /// `duration`, `span:duration`, …
    Intrinsic {
        /// Which one.
        intrinsic: Intrinsic,
        /// Whether it was written in its scoped spelling (`span:duration`), where there are two. Matters to printing,
        /// and to the labels of metrics.
        scoped: bool,
    },
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `.foo`: the first of span, resource, event, link, instrumentation that has it.
    None,
    /// `span.`
    Span,
    /// `resource.`
    Resource,
    /// `event.`
    Event,
    /// `link.`
    Link,
    /// `instrumentation.`
    Instrumentation,
}

/// What every span has without an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    SpanId,
    ParentId,
    ChildCount,
    TraceRootName,
    TraceRootService,
    TraceDuration,
    TraceId,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    InstrumentationName,
    InstrumentationVersion,
    /// `parent`: parses, is then refused as not supported.
    Parent,
}

/// A literal value.
#[derive(Clone, Debug, PartialEq)]
pub enum Static {
    /// `nil`
    Nil,
    /// `42`, `minInt`, `maxInt`
    Int(i64),
    /// `1.5`
    Float(f64),
    /// `"a"`, `` `a` ``
    String(String),
    /// `true`
    Bool(bool),
    /// `1m30s`, in nanoseconds
    Duration(i64),
    /// `error`
    Status(Status),
    /// `server`
    Kind(Kind),
}

/// Span status, with OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Status {
    Unset = 0,
    Ok = 1,
    Error = 2,
}

/// Span kind, with OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// `count() > 2`, `avg(duration) * 2 > max(duration)`
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarFilter {
    /// A comparison.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: ScalarExpr,
    /// Right side.
    pub rhs: ScalarExpr,
}

/// One number per spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    /// `count()`, `avg(duration)`
    Aggregate(Aggregate),
    /// A number or a duration.
    Static(Static),
    /// Arithmetic.
    Binary {
        /// An arithmetic operator.
        op: BinaryOp,
        /// Left side.
        lhs: Box<Self>,
        /// Right side.
        rhs: Box<Self>,
    },
    /// `({…} | count())`: a pipeline that ends in an aggregate. Only inside a [`ScalarPipelineFilter`].
    Pipeline {
        /// The stages before the aggregate.
        pipeline: Pipeline,
        /// What it ends in.
        aggregate: Aggregate,
    },
}

/// `({…} | count()) > ({…} | count())`
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarPipelineFilter {
    /// A comparison.
    pub op: BinaryOp,
    /// Left side: built of [`ScalarExpr::Pipeline`].
    pub lhs: ScalarExpr,
    /// Right side: the same, or a static.
    pub rhs: ScalarExpr,
}

/// An aggregate over the spans of a spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    /// `count()`
    Count,
    /// `min(f)`
    Min(FieldExpr),
    /// `max(f)`
    Max(FieldExpr),
    /// `avg(f)`
    Avg(FieldExpr),
    /// `sum(f)`
    Sum(FieldExpr),
}

/// `rate() by (x) | topk(3)`
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsPipeline {
    /// The first stage.
    pub aggregate: MetricsAggregate,
    /// `by (…)`, empty when not grouped.
    pub by: Vec<Field>,
    /// `| topk(3) | > 5`, in the order written.
    pub second_stages: Vec<SecondStage>,
}

/// What makes series of spans.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsAggregate {
    /// `rate()`
    Rate,
    /// `count_over_time()`
    CountOverTime,
    /// `min_over_time(f)`
    MinOverTime(Field),
    /// `max_over_time(f)`
    MaxOverTime(Field),
    /// `sum_over_time(f)`
    SumOverTime(Field),
    /// `avg_over_time(f)`
    AvgOverTime(Field),
    /// `quantile_over_time(f, q, …)`
    QuantileOverTime(Field, Vec<f64>),
    /// `histogram_over_time(f)`
    HistogramOverTime(Field),
    /// `compare({…}, topN, start, end)`
    Compare {
        /// What tells the selection from the baseline.
        selection: Option<FieldExpr>,
        /// How many values of an attribute are kept.
        top_n: Option<i64>,
        /// Unix nanoseconds, start and end of the selection.
        range: Option<(i64, i64)>,
    },
}

/// A stage over finished series.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`
    TopK(i64),
    /// `bottomk(n)`
    BottomK(i64),
    /// `> 5`
    Filter {
        /// A comparison.
        op: BinaryOp,
        /// A number or a duration.
        value: Static,
    },
}

/// `with (name = value)`
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// Any identifier; unknown ones are ignored by whoever runs the query.
    pub name: String,
    /// Any literal.
    pub value: Static,
}
