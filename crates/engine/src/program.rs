//! The stages of a query, compiled: what runs over the spans of one trace after the filters have run over all of them.

use trackway_traceql::ast::{
    Aggregate, FieldExpr, Pipeline, PipelineExpr, RelationForm, Root, ScalarExpr, SpansetExpr, SpansetOp,
    Stage, Static,
};

use crate::computed::{Computed, computed};
use crate::filter::{Filter, Reach, comparison};
use crate::plan::PlanError;
use crate::value::Comparison;

/// Filters of one query at the most: their findings are bits of one word.
const FILTERS_MAX: usize = 64;

/// A compiled query.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) root: Part,
    /// All filters, by the numbers that the stages have for them.
    pub(crate) filters: Vec<Filter>,
    /// All expressions that are grouped by or aggregated, likewise.
    pub(crate) values: Vec<Computed>,
}

/// A pipeline, or several combined.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Steps(Vec<Step>),
    Combined { op: SpansetOp, lhs: Box<Self>, rhs: Box<Self> },
}

/// A stage. `select` is none: it is only about what is shown.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Spanset(Node),
    By { key: String, value: usize },
    Coalesce,
    Scalar(Scalar),
}

/// An expression over spansets.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Filter(usize),
    Op { op: SpansetOp, lhs: Box<Self>, rhs: Box<Self> },
}

/// `avg(duration) > 1s`
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// How the number is called where it is shown.
    pub(crate) key: String,
    pub(crate) kind: ScalarKind,
    pub(crate) comparison: Comparison,
    pub(crate) literal: Static,
}

/// What is computed of a spanset, by the number of the expression.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScalarKind {
    Count,
    Min(usize),
    Max(usize),
    Avg(usize),
    Sum(usize),
}

impl Program {
    pub(crate) fn new(root: &Root) -> Result<Self, PlanError> {
        let mut program = Self::of_filter(Filter::compile(None)?);
        program.filters.clear();
        program.root = program.part(root)?;
        Ok(program)
    }

    /// One filter and nothing else.
    pub(crate) fn of_filter(filter: Filter) -> Self {
        let root = Part::Steps(vec![Step::Spanset(Node::Filter(0))]);
        Self { root, filters: vec![filter], values: Vec::new() }
    }

    fn part(&mut self, root: &Root) -> Result<Part, PlanError> {
        match root {
            Root::Pipeline(pipeline) => self.pipeline(pipeline),
            Root::PipelineExpr(expr) => self.expr(expr),
            Root::ScalarPipelineFilter(_) => {
                Err(PlanError::Unsupported("comparing the results of whole pipelines".into()))
            }
        }
    }

    fn expr(&mut self, expr: &PipelineExpr) -> Result<Part, PlanError> {
        match expr {
            PipelineExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            PipelineExpr::Operation { op, lhs, rhs } => {
                let (lhs, rhs) = (Box::new(self.expr(lhs)?), Box::new(self.expr(rhs)?));
                Ok(Part::Combined { op: *op, lhs, rhs })
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Part, PlanError> {
        let mut steps = Vec::new();
        // A pipeline that does not begin with a spanset begins with all spans.
        if !matches!(pipeline.stages.first(), Some(Stage::Spanset(_))) {
            steps.push(Step::Spanset(self.spanset(&SpansetExpr::Filter(None))?));
        }
        for stage in &pipeline.stages {
            match stage {
                Stage::Spanset(expr) => steps.push(Step::Spanset(self.spanset(expr)?)),
                Stage::By(expr) => {
                    steps.push(Step::By { key: format!("by({expr})"), value: self.value(expr)? });
                }
                Stage::Coalesce => steps.push(Step::Coalesce),
                Stage::Select(_) => {}
                Stage::ScalarFilter(filter) => {
                    let (ScalarExpr::Aggregate(aggregate), ScalarExpr::Static(literal)) =
                        (&filter.lhs, &filter.rhs)
                    else {
                        let what = "a scalar filter of anything but an aggregate with a literal";
                        return Err(PlanError::Unsupported(what.into()));
                    };
                    let comparison = comparison(filter.op, &FieldExpr::Static(literal.clone()))?;
                    let (key, kind) = (aggregate.to_string(), self.aggregate(aggregate)?);
                    steps.push(Step::Scalar(Scalar { key, kind, comparison, literal: literal.clone() }));
                }
            }
        }
        Ok(Part::Steps(steps))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<ScalarKind, PlanError> {
        Ok(match aggregate {
            Aggregate::Count => ScalarKind::Count,
            Aggregate::Min(of) => ScalarKind::Min(self.value(of)?),
            Aggregate::Max(of) => ScalarKind::Max(self.value(of)?),
            Aggregate::Avg(of) => ScalarKind::Avg(self.value(of)?),
            Aggregate::Sum(of) => ScalarKind::Sum(self.value(of)?),
        })
    }

    fn value(&mut self, expr: &FieldExpr) -> Result<usize, PlanError> {
        self.values.push(computed(expr)?);
        Ok(self.values.len() - 1)
    }

    fn spanset(&mut self, expr: &SpansetExpr) -> Result<Node, PlanError> {
        match expr {
            SpansetExpr::Filter(filter) => {
                if self.filters.len() == FILTERS_MAX {
                    return Err(PlanError::Unsupported(format!("more than {FILTERS_MAX} spansets")));
                }
                self.filters.push(Filter::compile(filter.as_ref())?);
                Ok(Node::Filter(self.filters.len() - 1))
            }
            SpansetExpr::Operation { op, lhs, rhs } => {
                let (lhs, rhs) = (Box::new(self.spanset(lhs)?), Box::new(self.spanset(rhs)?));
                Ok(Node::Op { op: *op, lhs, rhs })
            }
        }
    }

    /// Whether a trace in which these filters found spans may be part of the answer.
    pub(crate) fn accepts(&self, found: u64) -> bool {
        self.root.accepts(found)
    }

    /// Whether what the filters say of a span decides, whatever they say of others.
    pub(crate) fn is_local(&self) -> bool {
        let Part::Steps(steps) = &self.root else { return false };
        steps.iter().all(|step| match step {
            Step::Spanset(node) => node.is_local(),
            Step::By { .. } | Step::Coalesce => true,
            Step::Scalar(_) => false,
        })
    }

    /// What it depends on whether a span is selected.
    pub(crate) fn reach(&self) -> Reach {
        let of_filters = self.filters.iter().map(Filter::reach).max().unwrap_or(Reach::Span);
        if self.is_local() { of_filters } else { Reach::Trace }
    }

    /// Whether what the filters find decides all.
    pub(crate) fn is_decided_by_filters(&self) -> bool {
        matches!(&self.root, Part::Steps(steps) if matches!(&steps[..], [Step::Spanset(node)] if !node.has_relation()))
    }

    pub(crate) fn has_relation(&self) -> bool {
        self.root.any_node(&Node::has_relation)
    }

    /// Whether what spans are grouped by can decide whether a trace is part of the answer.
    pub(crate) fn groups_decide(&self) -> bool {
        self.root.has_scalar()
    }

    /// Which spans of a batch match, for a local program.
    pub(crate) fn local_mask(&self, masks: &[Vec<bool>]) -> Vec<bool> {
        let mut all: Option<Vec<bool>> = None;
        if let Part::Steps(steps) = &self.root {
            for step in steps {
                if let Step::Spanset(node) = step {
                    let mask = node.local_mask(masks);
                    match &mut all {
                        None => all = Some(mask),
                        Some(all) => all.iter_mut().zip(mask).for_each(|(all, bit)| *all &= bit),
                    }
                }
            }
        }
        all.unwrap_or_else(|| vec![true; masks.first().map_or(0, Vec::len)])
    }
}

impl Part {
    fn accepts(&self, found: u64) -> bool {
        match self {
            Self::Steps(steps) => steps.iter().all(|step| match step {
                Step::Spanset(node) => node.accepts(found),
                Step::By { .. } | Step::Coalesce | Step::Scalar(_) => true,
            }),
            Self::Combined { op, lhs, rhs } => accepts(*op, || lhs.accepts(found), || rhs.accepts(found)),
        }
    }

    fn any_node(&self, test: &impl Fn(&Node) -> bool) -> bool {
        match self {
            Self::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Spanset(node) if test(node))),
            Self::Combined { op, lhs, rhs } => {
                matches!(op, SpansetOp::Relation { .. }) || lhs.any_node(test) || rhs.any_node(test)
            }
        }
    }

    fn has_scalar(&self) -> bool {
        match self {
            Self::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Scalar(_))),
            Self::Combined { lhs, rhs, .. } => lhs.has_scalar() || rhs.has_scalar(),
        }
    }
}

impl Node {
    fn accepts(&self, found: u64) -> bool {
        match self {
            Self::Filter(index) => found >> index & 1 == 1,
            Self::Op { op, lhs, rhs } => accepts(*op, || lhs.accepts(found), || rhs.accepts(found)),
        }
    }

    fn is_local(&self) -> bool {
        match self {
            Self::Filter(_) => true,
            Self::Op { op, lhs, rhs } => *op == SpansetOp::Or && lhs.is_local() && rhs.is_local(),
        }
    }

    fn has_relation(&self) -> bool {
        match self {
            Self::Filter(_) => false,
            Self::Op { op, lhs, rhs } => {
                matches!(op, SpansetOp::Relation { .. }) || lhs.has_relation() || rhs.has_relation()
            }
        }
    }

    fn local_mask(&self, masks: &[Vec<bool>]) -> Vec<bool> {
        match self {
            Self::Filter(index) => masks[*index].clone(),
            Self::Op { lhs, rhs, .. } => {
                let mut mask = lhs.local_mask(masks);
                mask.iter_mut().zip(rhs.local_mask(masks)).for_each(|(bit, other)| *bit |= other);
                mask
            }
        }
    }
}

/// Whether an operator may find something, by whether its sides may have.
fn accepts(op: SpansetOp, lhs: impl Fn() -> bool, rhs: impl Fn() -> bool) -> bool {
    match op {
        SpansetOp::Or => lhs() || rhs(),
        SpansetOp::Relation { form: RelationForm::Negated, .. } => rhs(),
        SpansetOp::And | SpansetOp::Relation { .. } => lhs() && rhs(),
    }
}
