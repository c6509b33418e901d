//! Spansets, scalars and pipelines, and how parentheses and operators combine them.
//!
//! What a parenthesis opens is known only when it is closed: a spanset, a number, a whole pipeline, or a pipeline that
//! ends in a number. So one routine reads all of them, and [`Val`] says what it has read; the operators that may follow
//! depend on that.

use super::field::{COMPARE, LOGIC, arithmetic, comparison, right_side};
use super::{Deep, Parser, Result};
use crate::ast::{
    Aggregate, BinaryOp, FieldExpr, MetricsPipeline, Pipeline, PipelineExpr, Relation, RelationForm, Root,
    ScalarExpr, ScalarFilter, ScalarPipelineFilter, SpansetExpr, SpansetOp, Stage,
};
use crate::lexer::Tok;

/// What has been read, and how deep it is. Boxed, since many of these are on the stack at once.
type DeepVal = Deep<Box<Val>>;

/// What has been read.
enum Val {
    /// `{…}`, `{…} >> {…}`
    Spanset(SpansetExpr),
    /// `count() + 1`
    Scalar(ScalarExpr),
    /// `({…} | count())`, and arithmetic of such
    ScalarPipeline(ScalarExpr),
    /// `count() > 1`
    Filter(ScalarFilter),
    /// `by(…)`, `select(…)`
    Stage(Stage),
    /// `({…} | …)`, and combinations of such
    Pipelines(PipelineExpr),
    /// `({…} | count()) > 1`
    PipelineFilter(ScalarPipelineFilter),
}

impl Val {
    /// As a stage of a pipeline, for what can be one.
    fn into_stage(self) -> Option<Stage> {
        match self {
            Self::Spanset(expr) => Some(Stage::Spanset(expr)),
            Self::Filter(filter) => Some(Stage::ScalarFilter(filter)),
            Self::Stage(stage) => Some(stage),
            _ => None,
        }
    }

    /// As an operand of an operation between pipelines, for what can be one.
    fn into_pipelines(self) -> Option<PipelineExpr> {
        match self {
            Self::Pipelines(expr) => Some(expr),
            Self::Spanset(expr) => Some(one_stage(Stage::Spanset(expr))),
            _ => None,
        }
    }
}

fn one_stage(stage: Stage) -> PipelineExpr {
    PipelineExpr::Pipeline(Pipeline { stages: vec![stage] })
}

/// What stands where an operator may stand.
#[derive(Clone, Copy)]
enum Infix {
    Spanset(SpansetOp),
    Compare(BinaryOp),
    Arithmetic(BinaryOp),
}

fn spanset_op(symbol: &str) -> Option<(SpansetOp, u8)> {
    match symbol {
        "&&" => return Some((SpansetOp::And, LOGIC)),
        "||" => return Some((SpansetOp::Or, LOGIC)),
        _ => {}
    }
    let (form, rest) = match symbol.split_at(1) {
        ("!", rest) => (RelationForm::Negated, rest),
        ("&", rest) => (RelationForm::Union, rest),
        _ => (RelationForm::Plain, symbol),
    };
    let relation = match rest {
        ">" => Relation::Child,
        "<" => Relation::Parent,
        ">>" => Relation::Descendant,
        "<<" => Relation::Ancestor,
        "~" => Relation::Sibling,
        _ => return None,
    };
    Some((SpansetOp::Relation { relation, form }, COMPARE))
}

impl Parser<'_> {
    /// Everything before the hints.
    pub(super) fn root(&mut self) -> Result<(Root, Option<MetricsPipeline>)> {
        let (first, _) = self.combined(0)?;
        let first = match *first {
            Val::Pipelines(expr) => return Ok((Root::PipelineExpr(expr), None)),
            Val::PipelineFilter(filter) => return Ok((Root::ScalarPipelineFilter(filter), None)),
            first => first,
        };
        let mut stages = vec![self.as_stage(first)?];
        let mut metrics = None;
        while metrics.is_none() && self.take("|") {
            metrics = self.metrics_if_any()?;
            if metrics.is_none() {
                let (next, _) = self.stage()?;
                stages.push(self.as_stage(*next)?);
            }
        }
        Ok((Root::Pipeline(Pipeline { stages }), metrics))
    }

    /// What was just read must be a stage; else whatever comes next is what is wrong.
    fn as_stage(&self, val: Val) -> Result<Stage> {
        match val.into_stage() {
            Some(stage) => Ok(stage),
            None => self.unexpected(&[]),
        }
    }

    /// What may stand behind a pipe.
    fn stage(&mut self) -> Result<DeepVal> {
        if self.is_word("coalesce") {
            self.bump();
            self.expect("(")?;
            self.expect(")")?;
            return Ok((Box::new(Val::Stage(Stage::Coalesce)), 0));
        }
        self.combined(0)
    }

    /// Operands combined by operators that bind at least so strong.
    fn combined(&mut self, min: u8) -> Result<DeepVal> {
        self.nested(|parser| parser.combined_inner(min))
    }

    fn combined_inner(&mut self, min: u8) -> Result<DeepVal> {
        let mut lhs = self.operand()?;
        while let Some((op, strength)) = self.infix_after(&lhs.0).filter(|(_, strength)| *strength >= min) {
            self.bump();
            let start = self.at;
            if matches!(op, Infix::Spanset(_)) && !self.is("{") && !self.is("(") {
                return self.unexpected(&["{", "("]);
            }
            let rhs = if matches!((&*lhs.0, op), (Val::ScalarPipeline(_), Infix::Compare(_))) && !self.is("(")
            {
                (Box::new(Val::ScalarPipeline(ScalarExpr::Static(self.number(&[])?))), 0)
            } else {
                self.combined(right_side(strength))?
            };
            let depth = self.deeper(lhs.1.max(rhs.1))?;
            let Some(val) = combine(op, *lhs.0, *rhs.0) else { return self.bad_operand(start, op) };
            lhs = (val, depth);
        }
        Ok(lhs)
    }

    /// The operator that stands here, if it can follow `lhs`.
    fn infix_after(&self, lhs: &Val) -> Option<(Infix, u8)> {
        let Tok::Symbol(symbol) = self.peek() else { return None };
        match lhs {
            Val::Spanset(_) | Val::Pipelines(_) => {
                spanset_op(symbol).map(|(op, strength)| (Infix::Spanset(op), strength))
            }
            Val::Scalar(_) | Val::ScalarPipeline(_) => comparison(symbol)
                .map(|op| (Infix::Compare(op), COMPARE))
                .or_else(|| arithmetic(symbol).map(|(op, strength)| (Infix::Arithmetic(op), strength))),
            Val::Filter(_) | Val::Stage(_) | Val::PipelineFilter(_) => None,
        }
    }

    /// The right side, which started there, is not of the sort that its operator takes.
    fn bad_operand<T>(&self, start: usize, op: Infix) -> Result<T> {
        let open = self.tokens[start..].iter().take_while(|token| token.tok == Tok::Symbol("(")).count();
        let expected: &[&str] = if matches!(op, Infix::Spanset(_)) { &["{", "("] } else { &[] };
        self.unexpected_at(start + open, expected)
    }

    fn operand(&mut self) -> Result<DeepVal> {
        if self.take("(") {
            return self.parenthesized();
        }
        Ok((self.leaf()?, 0))
    }

    /// An operand that holds no others.
    fn leaf(&mut self) -> Result<Box<Val>> {
        let val = match self.peek() {
            Tok::Symbol("{") => {
                self.bump();
                Val::Spanset(SpansetExpr::Filter(self.filter_body()?))
            }
            Tok::Symbol("-") | Tok::Int(_) | Tok::Float(_) | Tok::Duration(_) => {
                let value = self.number(&["INTEGER", "FLOAT", "DURATION", "-"])?;
                Val::Scalar(ScalarExpr::Static(value))
            }
            Tok::Word("by") => {
                self.bump();
                self.expect("(")?;
                Val::Stage(Stage::By(self.whole_argument()?))
            }
            Tok::Word("select") => {
                self.bump();
                self.expect("(")?;
                Val::Stage(Stage::Select(self.fields()?))
            }
            Tok::Word(word @ ("count" | "min" | "max" | "avg" | "sum")) => {
                Val::Scalar(ScalarExpr::Aggregate(self.aggregate(word)?))
            }
            _ => return self.unexpected(&[]),
        };
        Ok(Box::new(val))
    }

    fn aggregate(&mut self, word: &str) -> Result<Aggregate> {
        self.bump();
        self.expect("(")?;
        if word == "count" {
            self.expect(")")?;
            return Ok(Aggregate::Count);
        }
        let expr = self.whole_argument()?;
        Ok(match word {
            "min" => Aggregate::Min(expr),
            "max" => Aggregate::Max(expr),
            "avg" => Aggregate::Avg(expr),
            _ => Aggregate::Sum(expr),
        })
    }

    /// A field expression and the parenthesis that closes it.
    fn whole_argument(&mut self) -> Result<FieldExpr> {
        let expr = self.span_expr()?;
        self.expect_of(")", &[])?;
        Ok(expr)
    }

    /// The inside of `{ }` and the closing brace.
    pub(super) fn filter_body(&mut self) -> Result<Option<FieldExpr>> {
        if self.take("}") {
            return Ok(None);
        }
        let expr = self.span_expr()?;
        self.expect_of("}", &[])?;
        Ok(Some(expr))
    }

    /// A field expression inside something else. Its depth is counted afresh: see [`super::MAX_DEPTH`].
    fn span_expr(&mut self) -> Result<FieldExpr> {
        let outer = std::mem::take(&mut self.nesting);
        let expr = self.field_expr(0);
        self.nesting = outer;
        Ok(expr?.0)
    }

    /// Whatever stands in parentheses, behind the opening one.
    fn parenthesized(&mut self) -> Result<DeepVal> {
        let (first, depth) = self.combined(0)?;
        if self.is("|") { self.rest_of_pipeline(*first, depth) } else { self.close(*first, depth) }
    }

    /// A pipeline in parentheses, behind its first stage.
    fn rest_of_pipeline(&mut self, first: Val, mut depth: usize) -> Result<DeepVal> {
        let mut stages = match first {
            // Whole pipelines and numbers cannot be continued.
            Val::Pipelines(_) | Val::PipelineFilter(_) | Val::ScalarPipeline(_) => {
                return self.unexpected(&[")"]);
            }
            first => vec![self.as_stage(first)?],
        };
        while self.take("|") {
            let (next, next_depth) = self.stage()?;
            depth = depth.max(next_depth);
            match *next {
                Val::Scalar(ScalarExpr::Aggregate(aggregate)) => {
                    self.expect_of(")", &[])?;
                    let pipeline = Pipeline { stages };
                    let val = Val::ScalarPipeline(ScalarExpr::Pipeline { pipeline, aggregate });
                    return Ok((Box::new(val), self.deeper(depth)?));
                }
                next => stages.push(self.as_stage(next)?),
            }
        }
        self.expect_of(")", &[")", "|"])?;
        let val = Val::Pipelines(PipelineExpr::Pipeline(Pipeline { stages }));
        Ok((Box::new(val), self.deeper(depth)?))
    }

    /// Closes parentheses around a single thing.
    fn close(&mut self, val: Val, depth: usize) -> Result<DeepVal> {
        let expected: &[&str] = match val {
            Val::Scalar(_) | Val::ScalarPipeline(_) => &[],
            Val::PipelineFilter(_) => return self.unexpected(&[]),
            _ => &[")", "|"],
        };
        self.expect_of(")", expected)?;
        Ok((
            match val {
                Val::Filter(filter) => Box::new(Val::Pipelines(one_stage(Stage::ScalarFilter(filter)))),
                Val::Stage(stage) => Box::new(Val::Pipelines(one_stage(stage))),
                val => Box::new(val),
            },
            depth,
        ))
    }
}

/// Joins two sides, if the operator takes such sides.
fn combine(op: Infix, lhs: Val, rhs: Val) -> Option<Box<Val>> {
    Some(Box::new(match (op, lhs, rhs) {
        (Infix::Spanset(op), Val::Spanset(lhs), Val::Spanset(rhs)) => {
            Val::Spanset(SpansetExpr::Operation { op, lhs: Box::new(lhs), rhs: Box::new(rhs) })
        }
        (Infix::Spanset(op), lhs, rhs) => {
            let (lhs, rhs) = (lhs.into_pipelines()?, rhs.into_pipelines()?);
            Val::Pipelines(PipelineExpr::Operation { op, lhs: Box::new(lhs), rhs: Box::new(rhs) })
        }
        (Infix::Compare(op), Val::Scalar(lhs), Val::Scalar(rhs)) => {
            Val::Filter(ScalarFilter { op, lhs, rhs })
        }
        (Infix::Compare(op), Val::ScalarPipeline(lhs), Val::ScalarPipeline(rhs)) => {
            Val::PipelineFilter(ScalarPipelineFilter { op, lhs, rhs })
        }
        (Infix::Arithmetic(op), Val::Scalar(lhs), Val::Scalar(rhs)) => {
            Val::Scalar(ScalarExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) })
        }
        (Infix::Arithmetic(op), Val::ScalarPipeline(lhs), Val::ScalarPipeline(rhs)) => {
            Val::ScalarPipeline(ScalarExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) })
        }
        _ => return None,
    }))
}
