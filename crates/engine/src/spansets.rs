//! Runs a program over the spans of whole traces, one trace at a time. Filters have run before, over all spans at once.

use std::collections::HashMap;
use std::ops::Range;

use trackway_spans::SpanBatch;
use trackway_traceql::ast::BinaryOp;

use crate::computed::{Columns, compute};
use crate::filter::EvalError;
use crate::program::{Node, Part, Program, Scalar, ScalarKind, Step};
use crate::structure::combine;
use crate::value::{Comparison, Val, arithmetic};

/// Spans of one trace that a query keeps together. Never empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spanset<'a> {
    /// Rows, ascending.
    pub(crate) spans: Vec<u32>,
    /// What groupings and aggregates say of it, by the text of the stage.
    pub(crate) attributes: Attributes<'a>,
}

type Attributes<'a> = Vec<(&'a str, Val<'a>)>;

/// Groups of one spanset up to which each span is compared with all of them.
const COMPARED_GROUPS_MAX: usize = 32;

/// A program over a batch that holds whole traces.
pub(crate) struct Run<'a> {
    program: &'a Program,
    batch: &'a SpanBatch,
    masks: Vec<Vec<bool>>,
    columns: Vec<Columns<'a>>,
}

impl<'a> Run<'a> {
    /// `masks` are the findings of the program's filters.
    pub(crate) fn new(program: &'a Program, batch: &'a SpanBatch, masks: Vec<Vec<bool>>) -> Self {
        let columns = program.values.iter().map(|value| Columns::new(value, batch)).collect();
        Self { program, batch, masks, columns }
    }

    /// The spansets of the trace whose spans stand in these rows.
    pub(crate) fn trace(&self, rows: Range<u32>) -> Result<Vec<Spanset<'a>>, EvalError> {
        self.part(&self.program.root, rows)
    }

    fn part(&self, part: &'a Part, rows: Range<u32>) -> Result<Vec<Spanset<'a>>, EvalError> {
        match part {
            Part::Steps(steps) => {
                let mut sets = vec![Spanset { spans: rows.collect(), attributes: Vec::new() }];
                for step in steps {
                    sets = self.step(step, sets)?;
                }
                Ok(sets)
            }
            Part::Combined { op, lhs, rhs } => {
                let (lhs, rhs) = (self.only(lhs, rows.clone())?, self.only(rhs, rows)?);
                Ok(kept(combine(*op, &lhs, &rhs, self.batch), Vec::new()).into_iter().collect())
            }
        }
    }

    /// The spans of the one spanset that a side of an operation may give.
    fn only(&self, part: &'a Part, rows: Range<u32>) -> Result<Vec<u32>, EvalError> {
        let mut sets = self.part(part, rows)?;
        match sets.len() {
            0 | 1 => Ok(sets.pop().unwrap_or_default().spans),
            _ => Err(EvalError::SeveralSpansets),
        }
    }

    fn step(&self, step: &'a Step, sets: Vec<Spanset<'a>>) -> Result<Vec<Spanset<'a>>, EvalError> {
        let mut out = Vec::new();
        match step {
            Step::Spanset(node) => {
                for set in sets {
                    out.extend(kept(self.node(node, &set.spans), set.attributes));
                }
            }
            Step::Coalesce => {
                let mut spans: Vec<u32> = sets.into_iter().flat_map(|set| set.spans).collect();
                spans.sort_unstable();
                // What was said of the sets cannot be said of their union.
                out.extend(kept(spans, Vec::new()));
            }
            Step::By { key, value } => {
                for set in sets {
                    self.group(key, *value, set, &mut out)?;
                }
            }
            Step::Scalar(scalar) => {
                for mut set in sets {
                    let number = self.scalar(scalar.kind, &set.spans)?;
                    if scalar.comparison.matches(&number, &Val::from_static(&scalar.literal)) {
                        say(&mut set.attributes, scalar, number);
                        out.push(set);
                    }
                }
            }
        }
        Ok(out)
    }

    fn node(&self, node: &Node, spans: &[u32]) -> Vec<u32> {
        match node {
            Node::Filter(index) => {
                let mask = &self.masks[*index];
                spans.iter().copied().filter(|span| mask[*span as usize]).collect()
            }
            Node::Op { op, lhs, rhs } => {
                combine(*op, &self.node(lhs, spans), &self.node(rhs, spans), self.batch)
            }
        }
    }

    /// A spanset for each value, in the order of their first spans. Spans without one are a group too.
    fn group(
        &self,
        key: &'a str,
        value: usize,
        set: Spanset<'a>,
        out: &mut Vec<Spanset<'a>>,
    ) -> Result<(), EvalError> {
        let mut groups: Vec<(Val<'a>, Vec<u32>)> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for span in set.spans {
            let value = self.value(value, span)?;
            // A few groups are compared faster than they are hashed.
            let place = if groups.len() <= COMPARED_GROUPS_MAX {
                groups.iter().position(|(known, _)| *known == value)
            } else {
                if places.is_empty() {
                    places.extend(groups.iter().enumerate().map(|(at, (known, _))| (known.key(), at)));
                }
                places.get(&value.key()).copied()
            };
            match place {
                Some(place) => groups[place].1.push(span),
                None => {
                    if !places.is_empty() {
                        places.insert(value.key(), groups.len());
                    }
                    groups.push((value, vec![span]));
                }
            }
        }
        out.extend(groups.into_iter().map(|(value, spans)| {
            let mut attributes = set.attributes.clone();
            attributes.push((key, value));
            Spanset { spans, attributes }
        }));
        Ok(())
    }

    fn value(&self, value: usize, span: u32) -> Result<Val<'a>, EvalError> {
        compute(&self.program.values[value], &self.columns[value], span as usize)
    }

    fn scalar(&self, kind: ScalarKind, spans: &[u32]) -> Result<Val<'a>, EvalError> {
        match kind {
            ScalarKind::Count => Ok(Val::Int(spans.len() as i64)),
            ScalarKind::Min(value) => self.extreme(BinaryOp::Less, value, spans),
            ScalarKind::Max(value) => self.extreme(BinaryOp::Greater, value, spans),
            ScalarKind::Sum(value) => Ok(self.sum(value, spans)?.0),
            ScalarKind::Avg(value) => {
                let (sum, count) = self.sum(value, spans)?;
                Ok(match sum {
                    Val::Duration(total) => Val::Duration((total as f64 / count as f64) as i64),
                    total => total.number().map_or(Val::Nil, |total| Val::Float(total / count as f64)),
                })
            }
        }
    }

    /// The value that is better than all others, of equal ones the first; nil when no span has a number.
    fn extreme(&self, better: BinaryOp, value: usize, spans: &[u32]) -> Result<Val<'a>, EvalError> {
        let better = Comparison { op: better, regex: None };
        let mut best = Val::Nil;
        for span in spans {
            let value = self.value(value, *span)?;
            if value.number().is_some() && (best == Val::Nil || better.matches(&value, &best)) {
                best = value;
            }
        }
        Ok(best)
    }

    /// The sum of the numbers that spans have, nil when none has one, and how many have.
    fn sum(&self, value: usize, spans: &[u32]) -> Result<(Val<'a>, usize), EvalError> {
        let (mut sum, mut count) = (Val::Nil, 0);
        for span in spans {
            let value = self.value(value, *span)?;
            if value.number().is_some() {
                sum = if count == 0 { value } else { arithmetic(BinaryOp::Add, &sum, &value)? };
                count += 1;
            }
        }
        Ok((sum, count))
    }
}

/// A spanset, unless it would be empty.
fn kept(spans: Vec<u32>, attributes: Attributes<'_>) -> Option<Spanset<'_>> {
    (!spans.is_empty()).then_some(Spanset { spans, attributes })
}

/// The same aggregate asked twice is shown once, as it was last.
fn say<'a>(attributes: &mut Attributes<'a>, scalar: &'a Scalar, number: Val<'a>) {
    attributes.retain(|(key, _)| *key != scalar.key);
    attributes.push((&scalar.key, number));
}

/// The rows of every trace of a batch in which spans are grouped by trace in the order of the traces, as those of blocks
/// and joined ones are. A trace without spans has an empty range.
pub(crate) fn rows_by_trace(batch: &SpanBatch) -> Vec<Range<u32>> {
    let mut rows = Vec::with_capacity(batch.traces.len());
    let spans = &batch.spans.trace;
    let mut at = 0;
    for trace in 0..batch.traces.len() as u32 {
        let start = at;
        while spans.get(at).is_some_and(|of| *of == trace) {
            at += 1;
        }
        rows.push(start as u32..at as u32);
    }
    rows
}
