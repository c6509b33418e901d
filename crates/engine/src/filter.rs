//! A filter `{ … }` as something that runs: compiled once, then judged over whole batches as masks over spans.
//!
//! Comparisons of one field with a literal run column by column: once an entry of the dictionary for texts, once a row
//! for numbers. Anything else (arithmetic, field against field) is computed span by span.

use trackway_spans::{Level, SpanBatch, effective_duration};
use trackway_traceql::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Scope, Static, UnaryOp};

use crate::column::{self, levels_of, spread};
use crate::computed::{Columns, Computed, compute, computed};
use crate::value::{Comparison, Val};

/// A question that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An integer divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The rest of an integer divided by zero.
    #[error("modulo by zero")]
    ModuloByZero,
    /// A regular expression that does not compile.
    #[error("invalid regex: {0}")]
    Regex(String),
    /// Whole pipelines combined, of which one gives several spansets for a trace.
    #[error(
        "spanset operators do not work on a pipeline that gives several spansets of one trace; end it with coalesce()"
    )]
    SeveralSpansets,
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) root: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Constant(bool),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// `field OP literal`
    Compare {
        field: Field,
        comparison: Comparison,
        literal: Static,
    },
    /// `field != nil`
    Exists(Field),
    /// `field = nil`
    Missing(Field),
    /// Everything else that is true or false.
    Computed(Computed),
}

impl Filter {
    /// Compiles `{ expr }`; `None` is `{ }`.
    ///
    /// # Errors
    /// [`EvalError`] when a constant part cannot be computed.
    pub fn compile(expr: Option<&FieldExpr>) -> Result<Self, EvalError> {
        let root = expr.map_or(Ok(Node::Constant(true)), compile)?;
        Ok(Self { root })
    }

    /// Whether no span can match.
    pub fn is_never(&self) -> bool {
        matches!(self.root, Node::Constant(false))
    }

    /// Which spans match. The batch must hold whole traces, with their trace-level columns.
    ///
    /// # Errors
    /// [`EvalError`] when the expression cannot be computed for some span.
    pub fn mask(&self, batch: &SpanBatch) -> Result<Vec<bool>, EvalError> {
        judge(&self.root, batch, false, false)
    }

    /// Which spans may match, where what depends on the whole trace is not known: every span that does match, and
    /// perhaps others.
    ///
    /// # Errors
    /// As [`Filter::mask`].
    pub fn possible(&self, batch: &SpanBatch) -> Result<Vec<bool>, EvalError> {
        judge(&self.root, batch, false, true)
    }

    /// Whether the answer for a span depends on more than the span.
    pub fn needs_whole_traces(&self) -> bool {
        self.reach() > Reach::Span
    }

    /// What of it cannot be known from a span alone; `None` if all can.
    pub fn beyond_spans(&self) -> Option<&Field> {
        let mut beyond = None;
        self.root.fields(&mut |field| {
            if Reach::of(field) > Reach::Span {
                beyond = beyond.or(Some(field));
            }
        });
        beyond
    }

    /// What the answer for a span depends on.
    pub(crate) fn reach(&self) -> Reach {
        let mut reach = Reach::Span;
        self.root.fields(&mut |field| reach = reach.max(Reach::of(field)));
        reach
    }
}

/// How far one must look to judge a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No further than the span.
    Span,
    /// To the extent and the root of its trace: [`trackway_spans::TraceFacts`].
    Facts,
    /// To the other spans of its trace.
    Trace,
}

impl Reach {
    pub(crate) fn of(field: &Field) -> Self {
        let Field::Intrinsic { intrinsic, .. } = field else { return Self::Span };
        match intrinsic {
            Intrinsic::TraceRootName | Intrinsic::TraceRootService | Intrinsic::TraceDuration => Self::Facts,
            Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::ChildCount => Self::Trace,
            _ => Self::Span,
        }
    }
}

fn compile(expr: &FieldExpr) -> Result<Node, EvalError> {
    match expr {
        FieldExpr::Static(Static::Bool(value)) => Ok(Node::Constant(*value)),
        FieldExpr::Unary { op: UnaryOp::Not, expr } => Ok(match compile(expr)? {
            Node::Constant(value) => Node::Constant(!value),
            node => Node::Not(Box::new(node)),
        }),
        FieldExpr::Binary { op: BinaryOp::And, lhs, rhs } => Ok(match (compile(lhs)?, compile(rhs)?) {
            (Node::Constant(false), _) | (_, Node::Constant(false)) => Node::Constant(false),
            (Node::Constant(true), node) | (node, Node::Constant(true)) => node,
            (a, b) => Node::And(Box::new(a), Box::new(b)),
        }),
        FieldExpr::Binary { op: BinaryOp::Or, lhs, rhs } => Ok(match (compile(lhs)?, compile(rhs)?) {
            (Node::Constant(true), _) | (_, Node::Constant(true)) => Node::Constant(true),
            (Node::Constant(false), node) | (node, Node::Constant(false)) => node,
            (a, b) => Node::Or(Box::new(a), Box::new(b)),
        }),
        FieldExpr::Binary { op, lhs, rhs } if compares(*op) => compare(*op, lhs, rhs),
        _ => finish(computed(expr)?),
    }
}

/// A computed expression as a node; one without fields is computed here and now.
fn finish(computed: Computed) -> Result<Node, EvalError> {
    let mut fields = false;
    computed.fields(&mut |_| fields = true);
    if fields {
        return Ok(Node::Computed(computed));
    }
    let empty = SpanBatch::default();
    let columns = Columns::new(&computed, &empty);
    Ok(Node::Constant(compute(&computed, &columns, 0)? == Val::Bool(true)))
}

fn compare(op: BinaryOp, lhs: &FieldExpr, rhs: &FieldExpr) -> Result<Node, EvalError> {
    let (field, literal, op) = match (lhs, literal(rhs)?) {
        (FieldExpr::Field(field), Some(literal)) => (field, literal, op),
        _ => match (literal(lhs)?, rhs) {
            (Some(literal), FieldExpr::Field(field)) => (field, literal, mirrored(op)),
            _ => {
                let (a, b) = (Box::new(computed(lhs)?), Box::new(computed(rhs)?));
                return finish(Computed::Compare(comparison(op, rhs)?, a, b));
            }
        },
    };
    Ok(match (op, &literal) {
        (BinaryOp::Eq, Static::Nil) => Node::Missing(field.clone()),
        (BinaryOp::NotEq, Static::Nil) => Node::Exists(field.clone()),
        _ => {
            let comparison = comparison(op, &FieldExpr::Static(literal.clone()))?;
            Node::Compare { field: field.clone(), comparison, literal }
        }
    })
}

/// The value of an expression without fields.
pub(crate) fn literal(expr: &FieldExpr) -> Result<Option<Static>, EvalError> {
    if let FieldExpr::Static(value) = expr {
        return Ok(Some(value.clone()));
    }
    let computed = computed(expr)?;
    let mut fields = false;
    computed.fields(&mut |_| fields = true);
    if fields {
        return Ok(None);
    }
    let empty = SpanBatch::default();
    Ok(match compute(&computed, &Columns::new(&computed, &empty), 0)? {
        Val::Int(value) => Some(Static::Int(value)),
        Val::Float(value) => Some(Static::Float(value)),
        Val::Duration(value) => Some(Static::Duration(value)),
        Val::Bool(value) => Some(Static::Bool(value)),
        _ => None,
    })
}

pub(crate) fn compares(op: BinaryOp) -> bool {
    op.is_comparison() || matches!(op, BinaryOp::Regex | BinaryOp::NotRegex)
}

pub(crate) fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        other => other,
    }
}

pub(crate) fn comparison(op: BinaryOp, rhs: &FieldExpr) -> Result<Comparison, EvalError> {
    let regex = match (op, rhs) {
        (BinaryOp::Regex | BinaryOp::NotRegex, FieldExpr::Static(Static::String(pattern))) => {
            Some(trackway_traceql::compile_regex(pattern).map_err(EvalError::Regex)?)
        }
        _ => None,
    };
    Ok(Comparison { op, regex })
}

impl Node {
    /// Calls `each` with every field.
    pub(crate) fn fields<'a>(&'a self, each: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Constant(_) => {}
            Self::And(a, b) | Self::Or(a, b) => {
                a.fields(each);
                b.fields(each);
            }
            Self::Not(node) => node.fields(each),
            Self::Compare { field, .. } | Self::Exists(field) | Self::Missing(field) => each(field),
            Self::Computed(computed) => computed.fields(each),
        }
    }
}

/// The mask of a node, or of its negation. With `possible`, what depends on the whole trace counts as true either way.
fn judge(node: &Node, batch: &SpanBatch, negate: bool, possible: bool) -> Result<Vec<bool>, EvalError> {
    let spans = batch.len();
    let mut of_trace = false;
    if possible && !matches!(node, Node::And(..) | Node::Or(..) | Node::Not(_)) {
        node.fields(&mut |field| of_trace |= Reach::of(field) > Reach::Span);
    }
    if of_trace {
        return Ok(vec![true; spans]);
    }
    let (a, b, both) = match node {
        Node::Not(inner) => return judge(inner, batch, !negate, possible),
        Node::And(a, b) => (a, b, !negate),
        Node::Or(a, b) => (a, b, negate),
        atom => {
            let mut mask = atom_mask(atom, batch)?;
            if negate {
                mask.iter_mut().for_each(|bit| *bit = !*bit);
            }
            return Ok(mask);
        }
    };
    let mut mask = judge(a, batch, negate, possible)?;
    if both && !mask.contains(&true) {
        return Ok(mask);
    }
    let other = judge(b, batch, negate, possible)?;
    for (mine, theirs) in mask.iter_mut().zip(other) {
        *mine = if both { *mine & theirs } else { *mine | theirs };
    }
    Ok(mask)
}

fn atom_mask(atom: &Node, batch: &SpanBatch) -> Result<Vec<bool>, EvalError> {
    Ok(match atom {
        Node::Constant(value) => vec![*value; batch.len()],
        Node::Compare { field: Field::Attribute { scope, name }, comparison, literal } => {
            attribute_mask(batch, *scope, name, comparison, literal)
        }
        Node::Compare { field: Field::Intrinsic { intrinsic, .. }, comparison, literal } => {
            intrinsic_mask(batch, *intrinsic, comparison, literal)
        }
        Node::Exists(field) => exists_mask(batch, field),
        Node::Missing(field) => missing_mask(batch, field),
        Node::Computed(computed) => {
            let columns = Columns::new(computed, batch);
            (0..batch.len())
                .map(|span| Ok(compute(computed, &columns, span)? == Val::Bool(true)))
                .collect::<Result<_, EvalError>>()?
        }
        Node::Compare { .. } | Node::And(..) | Node::Or(..) | Node::Not(_) => vec![false; batch.len()],
    })
}

fn attribute_mask(
    batch: &SpanBatch,
    scope: Scope,
    name: &str,
    comparison: &Comparison,
    literal: &Static,
) -> Vec<bool> {
    let literal = Val::from_static(literal);
    let levels = levels_of(scope);
    let mut mask = vec![false; batch.len()];
    let mut shadowed: Option<Vec<bool>> = None;
    for level in levels {
        let owners = column::owners(batch, *level);
        let (mut matches, mut present) = (vec![false; owners], vec![false; owners]);
        // Of an attribute that stands several times any will do where its scope is named; without a scope it is the first.
        let values = if levels.len() == 1 {
            column::attribute_rows(batch, *level, name)
        } else {
            column::attribute_once(batch, *level, name)
        };
        for (owner, value) in &values {
            let value = Val::from_attribute(*value);
            present[*owner as usize] |= value != Val::Nil;
            matches[*owner as usize] |= comparison.matches(&value, &literal);
        }
        if values.is_empty() {
            continue;
        }
        let of_spans = spread(batch, *level, &matches);
        match &shadowed {
            None => mask = of_spans,
            Some(hidden) => {
                for (span, hidden) in hidden.iter().enumerate() {
                    mask[span] |= of_spans[span] && !hidden;
                }
            }
        }
        if levels.len() > 1 {
            let present = spread(batch, *level, &present);
            let hidden = shadowed.get_or_insert_with(|| vec![false; batch.len()]);
            hidden.iter_mut().zip(present).for_each(|(hidden, present)| *hidden |= present);
        }
    }
    mask
}

fn intrinsic_mask(
    batch: &SpanBatch,
    intrinsic: Intrinsic,
    comparison: &Comparison,
    literal: &Static,
) -> Vec<bool> {
    let literal = Val::from_static(literal);
    let by_code = |codes: &[u8], value: fn(u8) -> Val<'static>| {
        let known: Vec<bool> = (0..=255_u8).map(|code| comparison.matches(&value(code), &literal)).collect();
        codes.iter().map(|code| known[usize::from(*code)]).collect()
    };
    let by_text = |ids: &[u32]| -> Vec<bool> {
        let mut known: Vec<Option<bool>> = vec![None; batch.strings.len()];
        // Only texts that stand here: others may be long.
        let matches = |id: u32| comparison.matches(&Val::Text(batch.strings.get(id)), &literal);
        ids.iter().map(|id| *known[*id as usize].get_or_insert_with(|| matches(*id))).collect()
    };
    if let Some(level) = column::child_level(intrinsic) {
        let values = column::child_intrinsic(batch, intrinsic);
        let matches: Vec<bool> = values.iter().map(|value| comparison.matches(value, &literal)).collect();
        return spread(batch, level, &matches);
    }
    match intrinsic {
        Intrinsic::Status => by_code(&batch.spans.status, Val::Status),
        Intrinsic::Kind => by_code(&batch.spans.kind, Val::Kind),
        Intrinsic::Name => by_text(&batch.spans.name),
        Intrinsic::StatusMessage => by_text(&batch.spans.status_message),
        Intrinsic::Duration => {
            let matches = |duration: &u64| {
                comparison.matches(&Val::Duration(effective_duration(*duration).cast_signed()), &literal)
            };
            batch.spans.duration.iter().map(matches).collect()
        }
        Intrinsic::InstrumentationName => spread(batch, Level::Scope, &by_text(&batch.scopes.name)),
        Intrinsic::InstrumentationVersion => spread(batch, Level::Scope, &by_text(&batch.scopes.version)),
        Intrinsic::TraceId => {
            let of_trace: Vec<bool> = batch
                .traces
                .ids()
                .map(|id| {
                    let trimmed = trimmed(&literal);
                    comparison.matches(
                        &Val::Owned(id.short_hex().into_bytes()),
                        trimmed.as_ref().unwrap_or(&literal),
                    )
                })
                .collect();
            batch.spans.trace.iter().map(|trace| of_trace[*trace as usize]).collect()
        }
        Intrinsic::ChildCount => {
            let field = Field::Intrinsic { intrinsic, scoped: true };
            column::dense(batch, &field).iter().map(|v| comparison.matches(v, &literal)).collect()
        }
        _ => (0..batch.len())
            .map(|span| comparison.matches(&column::intrinsic_of(batch, intrinsic, span), &literal))
            .collect(),
    }
}

/// A trace id without its leading zeros, as ids compare.
fn trimmed<'a>(literal: &Val<'_>) -> Option<Val<'a>> {
    let Val::Text(text) = literal else { return None };
    let digits = text.iter().skip_while(|digit| **digit == b'0').copied().collect();
    Some(Val::Owned(digits))
}

/// For each level of a field, which owners have it.
fn present(batch: &SpanBatch, level: Level, name: &str) -> Vec<bool> {
    let mut owners = vec![false; column::owners(batch, level)];
    for (owner, value) in column::attribute(batch, level, name) {
        owners[owner as usize] = column::exists(value);
    }
    owners
}

fn exists_mask(batch: &SpanBatch, field: &Field) -> Vec<bool> {
    match field {
        Field::Attribute { scope, name } => {
            let mut mask = vec![false; batch.len()];
            for level in levels_of(*scope) {
                let of_spans = spread(batch, *level, &present(batch, *level, name));
                mask.iter_mut().zip(of_spans).for_each(|(bit, present)| *bit |= present);
            }
            mask
        }
        Field::Intrinsic { intrinsic, .. } => match column::child_level(*intrinsic) {
            Some(level) => spread(batch, level, &vec![true; column::owners(batch, level)]),
            None => vec![true; batch.len()],
        },
        Field::Parent { .. } => vec![false; batch.len()],
    }
}

/// `= nil`: nowhere to be found. Of events and links one without it is enough, and there must be one.
pub(crate) fn missing_mask(batch: &SpanBatch, field: &Field) -> Vec<bool> {
    if let Field::Attribute { scope: scope @ (Scope::Event | Scope::Link), name } = field {
        let level = if *scope == Scope::Event { Level::Event } else { Level::Link };
        let missing: Vec<bool> = present(batch, level, name).iter().map(|present| !present).collect();
        return spread(batch, level, &missing);
    }
    exists_mask(batch, field).into_iter().map(|present| !present).collect()
}
