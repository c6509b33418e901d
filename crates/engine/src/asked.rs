//! Which attributes a search shows of a span: those that the query names.
//!
//! A field that is only compared with literals shows the value that met one of the comparisons, wherever in the query that
//! comparison stands, and nothing where none did. A field used in any other way (in `select`, in `by`, in an aggregate,
//! against another field, below a `!`) shows its first value.

use trackway_traceql::ast::{
    Aggregate, BinaryOp, Field, FieldExpr, Pipeline, PipelineExpr, Root, ScalarExpr, SpansetExpr, Stage,
    Static,
};

use crate::filter::{EvalError, compares, comparison, literal, mirrored};
use crate::value::{Comparison, Val};

/// What a query asks of one field.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) field: Field,
    /// Each an operator, and what stands on its other side.
    pub(crate) comparisons: Vec<(Comparison, Static)>,
    /// Whether it is used in another way too.
    pub(crate) any_value: bool,
    /// Whether `= nil` stands somewhere, which makes a missing value show as such.
    pub(crate) nil: bool,
}

impl Asked {
    /// Whether a value meets one of the comparisons.
    pub(crate) fn is_met_by(&self, value: &Val<'_>) -> bool {
        self.comparisons
            .iter()
            .any(|(comparison, literal)| comparison.matches(value, &Val::from_static(literal)))
    }
}

/// The fields that a query names, in order, each once.
#[derive(Default)]
struct Collector(Vec<Asked>);

/// What a query asks of the fields that it names, in the order in which it names them.
pub(crate) fn asked(root: &Root) -> Result<Vec<Asked>, EvalError> {
    let mut collector = Collector::default();
    match root {
        Root::Pipeline(pipeline) => collector.pipeline(pipeline)?,
        Root::PipelineExpr(expr) => collector.expr(expr)?,
        Root::ScalarPipelineFilter(_) => {}
    }
    Ok(collector.0)
}

impl Collector {
    fn expr(&mut self, expr: &PipelineExpr) -> Result<(), EvalError> {
        match expr {
            PipelineExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            PipelineExpr::Operation { lhs, rhs, .. } => {
                self.expr(lhs)?;
                self.expr(rhs)
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<(), EvalError> {
        for stage in &pipeline.stages {
            match stage {
                Stage::Spanset(expr) => self.spanset(expr)?,
                Stage::By(expr) => self.all_fields(expr),
                Stage::Select(fields) => {
                    fields.iter().for_each(|field| self.asked(field).any_value = true);
                }
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
        Ok(())
    }

    fn spanset(&mut self, expr: &SpansetExpr) -> Result<(), EvalError> {
        match expr {
            SpansetExpr::Filter(None) => Ok(()),
            SpansetExpr::Filter(Some(expr)) => self.filter(expr),
            SpansetExpr::Operation { lhs, rhs, .. } => {
                self.spanset(lhs)?;
                self.spanset(rhs)
            }
        }
    }

    fn filter(&mut self, expr: &FieldExpr) -> Result<(), EvalError> {
        match expr {
            FieldExpr::Binary { op: BinaryOp::And | BinaryOp::Or, lhs, rhs } => {
                self.filter(lhs)?;
                self.filter(rhs)
            }
            FieldExpr::Binary { op, lhs, rhs } if compares(*op) => match (&**lhs, &**rhs) {
                (FieldExpr::Field(field), other) => self.comparison(*op, field, other, expr),
                (other, FieldExpr::Field(field)) => self.comparison(mirrored(*op), field, other, expr),
                _ => {
                    self.all_fields(expr);
                    Ok(())
                }
            },
            _ => {
                self.all_fields(expr);
                Ok(())
            }
        }
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        field: &Field,
        other: &FieldExpr,
        whole: &FieldExpr,
    ) -> Result<(), EvalError> {
        match literal(other)? {
            None => self.all_fields(whole),
            Some(Static::Nil) => {
                let asked = self.asked(field);
                asked.any_value = true;
                asked.nil |= op == BinaryOp::Eq;
            }
            Some(value) => {
                let comparison = comparison(op, &FieldExpr::Static(value.clone()))?;
                self.asked(field).comparisons.push((comparison, value));
            }
        }
        Ok(())
    }

    fn all_fields(&mut self, expr: &FieldExpr) {
        expr.walk_fields(&mut |field| self.asked(field).any_value = true);
    }

    fn asked(&mut self, field: &Field) -> &mut Asked {
        let known = self.0.iter().position(|asked| asked.field == *field);
        let at = known.unwrap_or_else(|| {
            self.0.push(Asked {
                field: field.clone(),
                comparisons: Vec::new(),
                any_value: false,
                nil: false,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}
