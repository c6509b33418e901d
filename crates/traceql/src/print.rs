//! Syntax tree to text.
//!
//! Parsing what is printed here gives the same tree, for every tree that the parser can build: everything inside an
//! operation that is not a single word gets parentheses, so precedence never matters. Error texts and the labels of
//! series are made of these texts too.

use crate::ast::{
    Aggregate, BinaryOp, Field, FieldExpr, Hint, Kind, MetricsAggregate, MetricsPipeline, Pipeline,
    PipelineExpr, Query, Relation, RelationForm, Root, ScalarExpr, ScalarFilter, ScalarPipelineFilter, Scope,
    SecondStage, SpansetExpr, SpansetOp, Stage, Static, Status, UnaryOp,
};
use crate::duration;
use crate::lexer::is_attribute_char;
use std::fmt::{Display, Formatter, Result, Write as _};

mod series;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.root)?;
        if let Some(metrics) = &self.metrics {
            write!(f, " | {metrics}")?;
        }
        hints(f, &self.hints)
    }
}

impl Display for Root {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Pipeline(pipeline) => pipeline.fmt(f),
            Self::PipelineExpr(expr) => expr.fmt(f),
            Self::ScalarPipelineFilter(filter) => filter.fmt(f),
        }
    }
}

impl Display for PipelineExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Operation { op, lhs, rhs } => {
                wrap(f, lhs, !matches!(**lhs, Self::Pipeline(_)))?;
                write!(f, " {op} ")?;
                wrap(f, rhs, !matches!(**rhs, Self::Pipeline(_)))
            }
        }
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        separated(f, &self.stages, " | ")
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Spanset(expr) => expr.fmt(f),
            Self::ScalarFilter(filter) => filter.fmt(f),
            Self::By(expr) => write!(f, "by({expr})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                list(f, fields)?;
                f.write_str(")")
            }
        }
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Filter(None) => f.write_str("{ }"),
            Self::Filter(Some(expr)) => write!(f, "{{ {expr} }}"),
            Self::Operation { op, lhs, rhs } => write!(f, "({lhs}) {op} ({rhs})"),
        }
    }
}

impl Display for SpansetOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (relation, form) = match self {
            Self::And => return f.write_str("&&"),
            Self::Or => return f.write_str("||"),
            Self::Relation { relation, form } => (relation, form),
        };
        f.write_str(match form {
            RelationForm::Plain => "",
            RelationForm::Negated => "!",
            RelationForm::Union => "&",
        })?;
        f.write_str(match relation {
            Relation::Child => ">",
            Relation::Parent => "<",
            Relation::Descendant => ">>",
            Relation::Ancestor => "<<",
            Relation::Sibling => "~",
        })
    }
}

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let is_word = |expr: &Self| matches!(expr, Self::Static(_) | Self::Field(_));
        match self {
            Self::Static(value) => value.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Unary { op, expr } => {
                write!(f, "{op}")?;
                wrap(f, expr, !is_word(expr))
            }
            Self::Binary { op, lhs, rhs } => {
                wrap(f, lhs, !is_word(lhs))?;
                write!(f, " {op} ")?;
                wrap(f, rhs, !is_word(rhs))
            }
        }
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Neg => "-",
            Self::Not => "!",
        })
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Eq => "=",
            Self::NotEq => "!=",
            Self::Less => "<",
            Self::LessEq => "<=",
            Self::Greater => ">",
            Self::GreaterEq => ">=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
            Self::And => "&&",
            Self::Or => "||",
        })
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Attribute { scope, name } => {
                f.write_str(scope.prefix())?;
                // `.1st` would be read as a number.
                attribute_name(
                    f,
                    name,
                    *scope == Scope::None && name.starts_with(|c: char| c.is_ascii_digit()),
                )
            }
            Self::Parent { scope, name } => {
                f.write_str("parent.")?;
                match scope {
                    Scope::None => {
                        // A name that looks like a scope must not become one.
                        let scope_like = [Scope::Span, Scope::Resource]
                            .iter()
                            .any(|scope| name.starts_with(scope.prefix()));
                        attribute_name(f, name, scope_like)
                    }
                    scope => {
                        f.write_str(scope.prefix())?;
                        attribute_name(f, name, false)
                    }
                }
            }
            Self::Intrinsic { intrinsic, scoped } => match (intrinsic.scoped_name(), intrinsic.old_name()) {
                (Some((scope, name)), None) => write!(f, "{scope}{name}"),
                (Some((scope, name)), _) if *scoped => write!(f, "{scope}{name}"),
                (_, name) => f.write_str(name.unwrap_or_default()),
            },
        }
    }
}

/// Writes an attribute name, in quotes where it would not be read back without.
fn attribute_name(f: &mut Formatter<'_>, name: &str, must_quote: bool) -> Result {
    if !must_quote && !name.is_empty() && name.chars().all(|c| c != '"' && is_attribute_char(c)) {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

impl Display for Static {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(i64::MIN) => f.write_str("minInt"),
            Self::Int(value) => write!(f, "{value}"),
            // The debug form always has a point or an exponent, so it is not read back as an integer.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(text) => string(f, text),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Duration(nanos) => f.write_str(&duration::format(*nanos)),
            Self::Status(status) => status.fmt(f),
            Self::Kind(kind) => kind.fmt(f),
        }
    }
}

/// Writes a string raw where a raw string can hold it, else quoted.
fn string(f: &mut Formatter<'_>, text: &str) -> Result {
    if !text.contains(['`', '\r', '\0']) {
        return write!(f, "`{text}`");
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        })
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

impl Display for ScalarFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        scalar_operation(f, self.op, &self.lhs, &self.rhs)
    }
}

impl Display for ScalarPipelineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        scalar_operation(f, self.op, &self.lhs, &self.rhs)
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Static(value) => value.fmt(f),
            Self::Binary { op, lhs, rhs } => scalar_operation(f, *op, lhs, rhs),
            Self::Pipeline { pipeline, aggregate } => write!(f, "({pipeline} | {aggregate})"),
        }
    }
}

fn scalar_operation(f: &mut Formatter<'_>, op: BinaryOp, lhs: &ScalarExpr, rhs: &ScalarExpr) -> Result {
    wrap(f, lhs, matches!(lhs, ScalarExpr::Binary { .. }))?;
    write!(f, " {op} ")?;
    wrap(f, rhs, matches!(rhs, ScalarExpr::Binary { .. }))
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Count => f.write_str("count()"),
            Self::Min(expr) => write!(f, "min({expr})"),
            Self::Max(expr) => write!(f, "max({expr})"),
            Self::Avg(expr) => write!(f, "avg({expr})"),
            Self::Sum(expr) => write!(f, "sum({expr})"),
        }
    }
}

impl Display for MetricsPipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.aggregate)?;
        if !self.by.is_empty() {
            f.write_str(" by (")?;
            list(f, &self.by)?;
            f.write_str(")")?;
        }
        self.second_stages.iter().try_for_each(|stage| write!(f, "{stage}"))
    }
}

impl Display for MetricsAggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Rate => f.write_str("rate()"),
            Self::CountOverTime => f.write_str("count_over_time()"),
            Self::MinOverTime(field) => write!(f, "min_over_time({field})"),
            Self::MaxOverTime(field) => write!(f, "max_over_time({field})"),
            Self::SumOverTime(field) => write!(f, "sum_over_time({field})"),
            Self::AvgOverTime(field) => write!(f, "avg_over_time({field})"),
            Self::QuantileOverTime(field, quantiles) => {
                write!(f, "quantile_over_time({field}")?;
                quantiles.iter().try_for_each(|quantile| write!(f, ", {quantile:?}"))?;
                f.write_str(")")
            }
            Self::HistogramOverTime(field) => write!(f, "histogram_over_time({field})"),
            Self::Compare { selection, top_n, range } => {
                f.write_str("compare(")?;
                match selection {
                    Some(expr) => write!(f, "{{ {expr} }}")?,
                    None => f.write_str("{ }")?,
                }
                if let Some(top_n) = top_n {
                    write!(f, ", {top_n}")?;
                }
                if let Some((start, end)) = range {
                    write!(f, ", {start}, {end}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Display for SecondStage {
    /// With the space or pipe that joins it to what stands before.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::TopK(n) => write!(f, " | topk({n})"),
            Self::BottomK(n) => write!(f, " | bottomk({n})"),
            Self::Filter { op, value } => write!(f, " {op} {value}"),
        }
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Hints, if any, with the space before them.
fn hints(f: &mut Formatter<'_>, hints: &[Hint]) -> Result {
    if hints.is_empty() {
        return Ok(());
    }
    f.write_str(" with (")?;
    list(f, hints)?;
    f.write_str(")")
}

fn wrap(f: &mut Formatter<'_>, inner: &impl Display, parentheses: bool) -> Result {
    if parentheses { write!(f, "({inner})") } else { write!(f, "{inner}") }
}

fn list(f: &mut Formatter<'_>, items: &[impl Display]) -> Result {
    separated(f, items, ", ")
}

fn separated(f: &mut Formatter<'_>, items: &[impl Display], separator: &str) -> Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}
