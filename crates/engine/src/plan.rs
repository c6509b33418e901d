//! From a query to what must be read, what can be passed over, and how the parts combine.

use std::sync::Arc;

use trackway_spans::{Columns, Level, Needs, Prune, PruneOn, TextTest};
use trackway_traceql::ast::{
    BinaryOp, Field, FieldExpr, Intrinsic, Query, Root, Scope, SpansetExpr, SpansetOp, Stage, Static,
};

use crate::column::levels_of;
use crate::filter::{EvalError, Filter, Node};
use crate::value::Val;

/// A query that cannot be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The query is wrong.
    #[error("{0}")]
    Eval(#[from] EvalError),
    /// This version does not do it.
    #[error("not supported yet: {0}")]
    Unsupported(String),
}

/// How the filters of a query combine, trace by trace.
#[derive(Clone, Debug)]
pub(crate) enum Combine {
    /// The filter with this number.
    Filter(usize),
    /// Spans of both sides, where both sides have some.
    And(Box<Self>, Box<Self>),
    /// Spans of both sides.
    Or(Box<Self>, Box<Self>),
}

impl Combine {
    /// Whether a trace in which these filters found spans is part of the answer.
    pub(crate) fn accepts(&self, found: u64) -> bool {
        match self {
            Self::Filter(index) => found >> index & 1 == 1,
            Self::And(a, b) => a.accepts(found) && b.accepts(found),
            Self::Or(a, b) => a.accepts(found) || b.accepts(found),
        }
    }

    /// The filters that contribute spans to a trace in which these found some.
    pub(crate) fn contributing(&self, found: u64) -> u64 {
        match self {
            Self::Filter(index) => found & 1 << index,
            Self::And(a, b) if self.accepts(found) => a.contributing(found) | b.contributing(found),
            Self::And(..) => 0,
            Self::Or(a, b) => a.contributing(found) | b.contributing(found),
        }
    }
}

/// A search, planned. The same plan runs over every source.
#[derive(Clone, Debug)]
pub struct SearchPlan {
    pub(crate) filters: Vec<Filter>,
    pub(crate) combine: Combine,
    /// Fields that conditions name, in order, each once; then those of `select`.
    pub(crate) conditions: Vec<Field>,
    pub(crate) selected: Vec<Field>,
    /// Nanoseconds, both ends included; traces must overlap it.
    pub(crate) range: Option<(u64, u64)>,
    /// Shows no spans: a search by tags.
    pub(crate) traces_only: bool,
    scan: Needs,
    show: Needs,
    prunes: Vec<Vec<Prune>>,
}

/// Filters of one query at the most: their findings are bits of one word.
const FILTERS_MAX: usize = 64;

impl SearchPlan {
    /// Plans a query that has been parsed and checked.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot be computed, or when this version does not do what it asks for.
    pub fn new(query: &Query, range: Option<(u64, u64)>) -> Result<Self, PlanError> {
        // Of a metrics query that is sent to the search endpoint, Tempo answers the search part: `query.metrics` is not
        // looked at.
        let Root::Pipeline(pipeline) = &query.root else {
            return Err(PlanError::Unsupported("pipelines combined with each other".into()));
        };
        let mut stages = pipeline.stages.iter();
        let Some(Stage::Spanset(spanset)) = stages.next() else {
            return Err(PlanError::Unsupported("a pipeline that does not begin with a spanset".into()));
        };
        let mut plan = Self::empty(range);
        plan.combine = plan.spanset(spanset)?;
        for stage in stages {
            match stage {
                Stage::Select(fields) => plan.selected.extend(fields.iter().cloned()),
                Stage::Spanset(_) => {
                    return Err(PlanError::Unsupported("a second spanset filter after |".into()));
                }
                Stage::ScalarFilter(_) => {
                    return Err(PlanError::Unsupported("aggregates (count, min, max, avg, sum)".into()));
                }
                Stage::By(_) => return Err(PlanError::Unsupported("by()".into())),
                Stage::Coalesce => return Err(PlanError::Unsupported("coalesce()".into())),
            }
        }
        plan.finish();
        Ok(plan)
    }

    /// Plans a search by tags: traces in which one span meets all of `condition`, shown without spans.
    ///
    /// # Errors
    /// As [`SearchPlan::new`].
    pub fn traces_only(condition: Option<&FieldExpr>, range: Option<(u64, u64)>) -> Result<Self, PlanError> {
        let mut plan = Self::empty(range);
        plan.traces_only = true;
        plan.filters.push(Filter::compile(condition)?);
        plan.finish();
        Ok(plan)
    }

    fn empty(range: Option<(u64, u64)>) -> Self {
        Self {
            filters: Vec::new(),
            combine: Combine::Filter(0),
            conditions: Vec::new(),
            selected: Vec::new(),
            range,
            traces_only: false,
            scan: Needs::default(),
            show: Needs::default(),
            prunes: Vec::new(),
        }
    }

    fn spanset(&mut self, expr: &SpansetExpr) -> Result<Combine, PlanError> {
        match expr {
            SpansetExpr::Filter(filter) => {
                if self.filters.len() == FILTERS_MAX {
                    return Err(PlanError::Unsupported(format!("more than {FILTERS_MAX} spansets")));
                }
                self.filters.push(Filter::compile(filter.as_ref())?);
                if let Some(filter) = filter {
                    filter.walk_fields(&mut |field| {
                        if !self.conditions.contains(field) {
                            self.conditions.push(field.clone());
                        }
                    });
                }
                Ok(Combine::Filter(self.filters.len() - 1))
            }
            SpansetExpr::Operation { op, lhs, rhs } => {
                let (a, b) = (Box::new(self.spanset(lhs)?), Box::new(self.spanset(rhs)?));
                match op {
                    SpansetOp::And => Ok(Combine::And(a, b)),
                    SpansetOp::Or => Ok(Combine::Or(a, b)),
                    SpansetOp::Relation { .. } => {
                        Err(PlanError::Unsupported(format!("the structural operator {op}")))
                    }
                }
            }
        }
    }

    fn finish(&mut self) {
        self.scan.add(Columns::TRACE_TIMES);
        for filter in &self.filters {
            filter.root.fields(&mut |field| field_needs(field, &mut self.scan));
            let mut prunes = Vec::new();
            required(&filter.root, &mut prunes);
            self.prunes.push(prunes);
        }
        self.show.merge(&self.scan);
        self.show.add(Columns::TRACE_ROOT);
        if !self.traces_only {
            self.show.add(Columns::TRACE_STATS);
            self.show.add(Columns::ID);
            self.show.add(Columns::START);
            self.show.add(Columns::DURATION);
        }
        for field in &self.selected {
            field_needs(field, &mut self.show);
        }
    }

    /// What [`SearchPlan::scan`] needs of a source.
    pub fn scan_needs(&self) -> &Needs {
        &self.scan
    }

    /// What [`SearchPlan::judge`] needs of a stored block's trace that lies nowhere else.
    pub fn show_needs(&self) -> &Needs {
        &self.show
    }

    /// What [`SearchPlan::judge`] needs of fragments that are joined first.
    pub fn join_needs(&self) -> Needs {
        let mut needs = self.show.clone();
        for columns in [
            Columns::ID,
            Columns::PARENT,
            Columns::NAME,
            Columns::KIND,
            Columns::STATUS,
            Columns::START,
            Columns::DURATION,
            Columns::SERVICE,
        ] {
            needs.add(columns);
        }
        needs
    }

    /// For each filter what every span that it matches must have. A source that can hold none of the filters' spans need
    /// not be looked at.
    pub fn prunes(&self) -> &[Vec<Prune>] {
        &self.prunes
    }

    /// Whether no trace can match, whatever is stored.
    pub fn is_never(&self) -> bool {
        let possible = self.filters.iter().enumerate().filter(|(_, filter)| !filter.is_never());
        !self.combine.accepts(possible.fold(0, |bits, (index, _)| bits | 1 << index))
    }

    /// Whether the filters depend on whole traces, so that a fragment alone cannot be judged.
    pub fn needs_whole_traces(&self) -> bool {
        self.filters.iter().any(Filter::needs_whole_traces)
    }
}

/// Adds what a field needs.
pub(crate) fn field_needs(field: &Field, needs: &mut Needs) {
    match field {
        Field::Attribute { scope, name } => {
            for level in levels_of(*scope) {
                needs.add_attr(*level, name.as_bytes());
            }
        }
        Field::Parent { .. } => {}
        Field::Intrinsic { intrinsic, .. } => {
            let columns: &[Columns] = match intrinsic {
                Intrinsic::Duration => &[Columns::DURATION],
                Intrinsic::Name => &[Columns::NAME],
                Intrinsic::Status => &[Columns::STATUS],
                Intrinsic::StatusMessage => &[Columns::STATUS_MESSAGE],
                Intrinsic::Kind => &[Columns::KIND],
                Intrinsic::SpanId => &[Columns::ID],
                Intrinsic::ParentId => &[Columns::PARENT],
                Intrinsic::ChildCount => &[Columns::ID, Columns::PARENT],
                Intrinsic::TraceRootName | Intrinsic::TraceRootService => &[Columns::TRACE_ROOT],
                Intrinsic::TraceDuration => &[Columns::TRACE_TIMES],
                Intrinsic::TraceId | Intrinsic::Parent => &[],
                Intrinsic::NestedSetLeft | Intrinsic::NestedSetRight | Intrinsic::NestedSetParent => {
                    &[Columns::NESTED_SET]
                }
                Intrinsic::EventName => &[Columns::EVENTS, Columns::EVENT_NAME],
                Intrinsic::EventTimeSinceStart => &[Columns::EVENTS],
                Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => &[Columns::LINKS],
                Intrinsic::InstrumentationName => &[Columns::SCOPE_NAME],
                Intrinsic::InstrumentationVersion => &[Columns::SCOPE_VERSION],
            };
            columns.iter().for_each(|column| needs.add(*column));
        }
    }
}

/// What every span that meets `node` must have. Only what readers can use: texts, statuses, kinds.
fn required(node: &Node, prunes: &mut Vec<Prune>) {
    match node {
        Node::And(a, b) => {
            required(a, prunes);
            required(b, prunes);
        }
        Node::Exists(Field::Attribute { scope, name }) => {
            prunes.push(attr_prune(*scope, name, false, Arc::new(|_: &[u8]| true)));
        }
        Node::Compare { field: Field::Attribute { scope, name }, comparison, literal } => {
            if matches!(literal, Static::Nil) {
                return;
            }
            let (comparison, literal) = (comparison.clone(), literal.clone());
            let value = matches!(literal, Static::String(_));
            let text = Arc::new(move |text: &[u8]| {
                comparison.matches(&Val::Text(text), &Val::from_static(&literal))
            });
            prunes.push(attr_prune(*scope, name, value, text));
        }
        Node::Compare { field: Field::Intrinsic { intrinsic, .. }, comparison, literal } => {
            let on = match (intrinsic, comparison.op, literal) {
                (Intrinsic::Name, ..) => PruneOn::Name,
                (Intrinsic::Status, BinaryOp::Eq, Static::Status(code)) => PruneOn::Status(*code as u8),
                (Intrinsic::Kind, BinaryOp::Eq, Static::Kind(code)) => PruneOn::Kind(*code as u8),
                _ => return,
            };
            let (comparison, literal) = (comparison.clone(), literal.clone());
            let text = Arc::new(move |text: &[u8]| {
                comparison.matches(&Val::Text(text), &Val::from_static(&literal))
            });
            prunes.push(Prune { on, text });
        }
        _ => {}
    }
}

fn attr_prune(scope: Scope, name: &str, value: bool, text: TextTest) -> Prune {
    let levels: Vec<Level> = levels_of(scope).to_vec();
    Prune { on: PruneOn::Attr { levels, key: name.as_bytes().to_vec(), value }, text }
}
