//! Which attributes a search shows of a span: those that the query names.
//!
//! A field that is only compared with literals shows the value that met one of the comparisons, wherever in the query
//! that comparison stands, and nothing where none did. A field used in any other way (in `select`, in `by`, in an
//! aggregate, against another field) shows its first value.

use trackway_traceql::ast::{
    Aggregate, BinaryOp, Field, FieldExpr, Intrinsic, Pipeline, PipelineExpr, Root, ScalarExpr, SpansetExpr,
    Stage, Static,
};

use crate::error::EvalError;
use crate::expr::is_constant;
use crate::field;
use crate::value::{Val, any, compares};
use crate::view::View;

/// What a query asks of one field.
struct Asked<'q> {
    field: &'q Field,
    /// Each an operator, and what stands on its other side.
    comparisons: Vec<(BinaryOp, Val)>,
    /// Whether it is used in another way too.
    any_value: bool,
    /// Whether `= nil` stands somewhere, which makes a missing value show as such.
    nil: bool,
}

/// The fields that a query names.
pub(crate) struct Shown<'q>(Vec<Asked<'q>>);

impl<'q> Shown<'q> {
    pub(crate) fn new(root: &'q Root) -> Self {
        let mut shown = Self(Vec::new());
        match root {
            Root::Pipeline(pipeline) => shown.pipeline(pipeline),
            Root::PipelineExpr(expr) => shown.pipeline_expr(expr),
            Root::ScalarPipelineFilter(_) => {} // never runs
        }
        shown
    }

    /// The attributes of a span, by bare key. The name is not among them: see [`Shown::name`].
    pub(crate) fn attributes(&self, view: &View<'_>, at: usize) -> Result<Vec<(String, Val)>, EvalError> {
        let mut attributes = Vec::new();
        for asked in &self.0 {
            if let (Some(key), Some(value)) = (key_of(asked.field), asked.value(view, at)?) {
                attributes.push((key, value));
            }
        }
        Ok(attributes)
    }

    /// The name of a span, if the query asks for it.
    pub(crate) fn name(&self, view: &View<'_>, at: usize) -> Result<Option<String>, EvalError> {
        for asked in self.0.iter().filter(|asked| is_name(asked.field)) {
            if let Some(Val::Text(name)) = asked.value(view, at)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn pipeline_expr(&mut self, expr: &'q PipelineExpr) {
        match expr {
            PipelineExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            PipelineExpr::Operation { lhs, rhs, .. } => {
                self.pipeline_expr(lhs);
                self.pipeline_expr(rhs);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &'q Pipeline) {
        for stage in &pipeline.stages {
            match stage {
                Stage::Spanset(expr) => self.spanset(expr),
                Stage::By(expr) => self.all_fields(expr),
                Stage::Select(fields) => fields.iter().for_each(|field| self.asked(field).any_value = true),
                Stage::Coalesce => {}
                Stage::ScalarFilter(filter) => {
                    if let ScalarExpr::Aggregate(
                        Aggregate::Min(of) | Aggregate::Max(of) | Aggregate::Avg(of) | Aggregate::Sum(of),
                    ) = &filter.lhs
                    {
                        self.all_fields(of);
                    }
                }
            }
        }
    }

    fn spanset(&mut self, expr: &'q SpansetExpr) {
        match expr {
            SpansetExpr::Filter(None) => {}
            SpansetExpr::Filter(Some(expr)) => self.filter(expr),
            SpansetExpr::Operation { lhs, rhs, .. } => {
                self.spanset(lhs);
                self.spanset(rhs);
            }
        }
    }

    fn filter(&mut self, expr: &'q FieldExpr) {
        match expr {
            FieldExpr::Binary { op: BinaryOp::And | BinaryOp::Or, lhs, rhs } => {
                self.filter(lhs);
                self.filter(rhs);
            }
            FieldExpr::Binary { op, lhs, rhs } => match (&**lhs, &**rhs) {
                (FieldExpr::Field(field), other) if is_constant(other) => self.comparison(*op, field, other),
                (other, FieldExpr::Field(field)) if is_constant(other) => {
                    self.comparison(mirrored(*op), field, other);
                }
                _ => self.all_fields(expr),
            },
            // CHOICE: below a `!` a field shows its value, as what the comparison asks for is what is not wanted.
            _ => self.all_fields(expr),
        }
    }

    fn comparison(&mut self, op: BinaryOp, field: &'q Field, other: &'q FieldExpr) {
        let asked = self.asked(field);
        match constant(other) {
            Val::Nil => {
                asked.any_value = true;
                asked.nil |= op == BinaryOp::Eq;
            }
            value => asked.comparisons.push((op, value)),
        }
    }

    fn all_fields(&mut self, expr: &'q FieldExpr) {
        expr.walk_fields(&mut |field| self.asked(field).any_value = true);
    }

    fn asked(&mut self, field: &'q Field) -> &mut Asked<'q> {
        let known = self.0.iter().position(|asked| asked.field == field);
        let at = known.unwrap_or_else(|| {
            self.0.push(Asked { field, comparisons: Vec::new(), any_value: false, nil: false });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

impl Asked<'_> {
    fn value(&self, view: &View<'_>, at: usize) -> Result<Option<Val>, EvalError> {
        let values = field::values(self.field, view, at);
        for value in &values {
            if let Some(met) = self.part_that_meets(value)? {
                return Ok(Some(met));
            }
        }
        if self.any_value
            && let Some(first) = values.into_iter().next()
        {
            return Ok(Some(alone(first)));
        }
        Ok(self.nil.then_some(Val::Nil).filter(|_| field::is_nil(self.field, view, at)))
    }

    /// The value, if it meets a comparison; of an array the elements that do.
    fn part_that_meets(&self, value: &Val) -> Result<Option<Val>, EvalError> {
        let meets = |value: &Val| any(&self.comparisons, |(op, other)| compares(*op, value, other));
        let Val::Array(elements) = value else {
            return Ok(meets(value)?.then(|| value.clone()));
        };
        let mut met = Vec::new();
        for element in elements {
            if meets(element)? {
                met.push(element.clone());
            }
        }
        Ok((!met.is_empty()).then(|| alone(Val::Array(met))))
    }
}

/// An array of one element is shown as that element.
fn alone(value: Val) -> Val {
    match value {
        Val::Array(mut elements) if elements.len() == 1 => elements.pop().unwrap_or(Val::Nil),
        value => value,
    }
}

/// The value of an expression without fields. One that cannot be computed has failed the query before this is asked.
fn constant(expr: &FieldExpr) -> Val {
    let trace = crate::model::Trace::default();
    match expr {
        FieldExpr::Static(Static::Nil) => Val::Nil,
        _ => crate::expr::eval(expr, &View::new(&trace), 0).unwrap_or(Val::Bool(false)),
    }
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        other => other,
    }
}

fn is_name(field: &Field) -> bool {
    matches!(field, Field::Intrinsic { intrinsic: Intrinsic::Name, .. })
}

/// The key under which a field is shown, without its scope. Nothing for what is never shown: the answer has it elsewhere.
fn key_of(field: &Field) -> Option<String> {
    let key = match field {
        Field::Attribute { name, .. } => return Some(name.clone()),
        Field::Parent { .. } => return None,
        Field::Intrinsic { intrinsic, .. } => match intrinsic {
            Intrinsic::Status => "status",
            Intrinsic::StatusMessage => "statusMessage",
            Intrinsic::Kind => "kind",
            Intrinsic::ParentId => "span:parentID",
            Intrinsic::ChildCount => "span:childCount",
            Intrinsic::NestedSetLeft => "nestedSetLeft",
            Intrinsic::NestedSetRight => "nestedSetRight",
            Intrinsic::NestedSetParent => "nestedSetParent",
            Intrinsic::EventName => "event:name",
            Intrinsic::EventTimeSinceStart => "event:timeSinceStart",
            Intrinsic::LinkTraceId => "link:traceID",
            Intrinsic::LinkSpanId => "link:spanID",
            Intrinsic::InstrumentationName => "instrumentation:name",
            Intrinsic::InstrumentationVersion => "instrumentation:version",
            _ => return None,
        },
    };
    Some(key.to_owned())
}
