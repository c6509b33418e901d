//! From a query to what must be read, what can be passed over, and how the parts combine.

use std::sync::Arc;

use trackway_spans::{Columns, Level, Needs, OneOf, Prune, PruneOn, TextTest};
use trackway_traceql::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Query, Scope, Static};

use crate::asked::{Asked, asked};
use crate::column::levels_of;
use crate::filter::{EvalError, Filter, Node};
use crate::needle::{one_of, trace_ids};
use crate::program::Program;
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

/// A search, planned. The same plan runs over every source.
#[derive(Clone, Debug)]
pub struct SearchPlan {
    pub(crate) program: Program,
    /// What is shown of spans.
    pub(crate) asked: Vec<Asked>,
    /// Nanoseconds, both ends included; traces must overlap it.
    pub(crate) range: Option<(u64, u64)>,
    /// Shows no spans: a search by tags.
    pub(crate) traces_only: bool,
    scan: Needs,
    show: Needs,
    prunes: Vec<Vec<Prune>>,
}

impl SearchPlan {
    /// Plans a query that has been parsed and checked. Of a metrics query it is the part that selects spans, as in Tempo.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot be computed, or when this version does not do what it asks for.
    pub fn new(query: &Query, range: Option<(u64, u64)>) -> Result<Self, PlanError> {
        Ok(Self::of(Program::new(&query.root)?, asked(&query.root)?, range, false))
    }

    /// Plans a search by tags: traces in which one span meets all of `condition`, shown without spans.
    ///
    /// # Errors
    /// As [`SearchPlan::new`].
    pub fn traces_only(condition: Option<&FieldExpr>, range: Option<(u64, u64)>) -> Result<Self, PlanError> {
        Ok(Self::of(Program::of_filter(Filter::compile(condition)?), Vec::new(), range, true))
    }

    fn of(program: Program, asked: Vec<Asked>, range: Option<(u64, u64)>, traces_only: bool) -> Self {
        let (scan, show, prunes) = (Needs::default(), Needs::default(), Vec::new());
        let mut plan = Self { program, asked, range, traces_only, scan, show, prunes };
        plan.finish();
        plan
    }

    fn finish(&mut self) {
        self.scan.add(Columns::TRACE_TIMES);
        self.prunes = program_needs(&self.program, &mut self.scan);
        self.show.merge(&self.scan);
        self.show.add(Columns::TRACE_ROOT);
        if !self.traces_only {
            self.show.add(Columns::TRACE_STATS);
            self.show.add(Columns::ID);
            self.show.add(Columns::START);
            self.show.add(Columns::DURATION);
        }
        for asked in &self.asked {
            field_needs(&asked.field, &mut self.show);
        }
        for value in &self.program.values {
            value.fields(&mut |field| field_needs(field, &mut self.show));
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
        needs.merge(&whole_trace_needs());
        needs
    }

    /// For each filter what every span that it matches must have. A source that can hold none of the filters' spans need
    /// not be looked at.
    pub fn prunes(&self) -> &[Vec<Prune>] {
        &self.prunes
    }

    /// Whether no trace can match, whatever is stored.
    pub fn is_never(&self) -> bool {
        is_never(&self.program)
    }
}

/// Whether a program finds nothing, whatever is stored.
pub(crate) fn is_never(program: &Program) -> bool {
    let possible = program.filters.iter().enumerate().filter(|(_, filter)| !filter.is_never());
    !program.accepts(possible.fold(0, |bits, (index, _)| bits | 1 << index))
}

/// Adds what a program needs to tell whether a whole trace is part of the answer, and returns for each filter what every
/// span that it matches must have.
pub(crate) fn program_needs(program: &Program, needs: &mut Needs) -> Vec<Vec<Prune>> {
    if program.has_relation() {
        needs.add(Columns::NESTED_SET);
    }
    if program.groups_decide() {
        for value in &program.values {
            value.fields(&mut |field| field_needs(field, needs));
        }
    }
    let prunes = program.filters.iter().map(|filter| {
        filter.root.fields(&mut |field| field_needs(field, needs));
        let mut prunes = Vec::new();
        required(&filter.root, &mut prunes);
        prunes
    });
    prunes.collect()
}

/// What fragments of traces must have to be joined and completed: root, extent, tree and services come from these.
pub fn whole_trace_needs() -> Needs {
    let mut needs = Needs::default();
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
            prunes.push(attr_prune(*scope, name, false, Arc::new(|_: &[u8]| true), None));
        }
        Node::Compare { field: Field::Attribute { scope, name }, comparison, literal } => {
            if matches!(literal, Static::Nil) {
                return;
            }
            let (comparison, literal) = (comparison.clone(), literal.clone());
            let value = matches!(literal, Static::String(_));
            let one_of = one_of(comparison.op, &literal);
            let text = Arc::new(move |text: &[u8]| {
                comparison.matches(&Val::Text(text), &Val::from_static(&literal))
            });
            prunes.push(attr_prune(*scope, name, value, text, one_of));
        }
        Node::Compare { field: Field::Intrinsic { intrinsic, .. }, comparison, literal } => {
            let on = match (intrinsic, &comparison.op, literal) {
                (Intrinsic::Name, ..) => PruneOn::Name,
                (Intrinsic::TraceId, op, Static::String(text)) => match trace_ids(*op, text) {
                    Some(ids) => PruneOn::TraceId(ids),
                    None => return,
                },
                (Intrinsic::Status, BinaryOp::Eq, Static::Status(code)) => PruneOn::Status(*code as u8),
                (Intrinsic::Kind, BinaryOp::Eq, Static::Kind(code)) => PruneOn::Kind(*code as u8),
                _ => return,
            };
            let (comparison, literal) = (comparison.clone(), literal.clone());
            let text = Arc::new(move |text: &[u8]| {
                comparison.matches(&Val::Text(text), &Val::from_static(&literal))
            });
            prunes.push(Prune { on, text, one_of: None });
        }
        _ => {}
    }
}

fn attr_prune(scope: Scope, name: &str, value: bool, text: TextTest, one_of: Option<OneOf>) -> Prune {
    let levels: Vec<Level> = levels_of(scope).to_vec();
    Prune { on: PruneOn::Attr { levels, key: name.as_bytes().to_vec(), value }, text, one_of }
}
