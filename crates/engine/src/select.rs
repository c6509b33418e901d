//! Selects spans: the first half of a metrics query, whose second half counts them.

use trackway_spans::{Needs, Prune, SpanBatch};
use trackway_traceql::ast::Query;

use crate::filter::{EvalError, Reach};
use crate::plan::{PlanError, is_never, program_needs, whole_trace_needs};
use crate::program::Program;
use crate::scan::{Wholeness, filter_masks, found_bits};
use crate::spansets::{Run, rows_by_trace};

/// The part of a query that selects spans, planned.
#[derive(Clone, Debug)]
pub struct Selection {
    program: Program,
    needs: Needs,
    prunes: Vec<Vec<Prune>>,
}

impl Selection {
    /// Plans the part of a query before its metrics.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot be computed, or when this version does not do what it asks for.
    pub fn new(query: &Query) -> Result<Self, PlanError> {
        let program = Program::new(&query.root)?;
        let mut needs = Needs::default();
        let prunes = program_needs(&program, &mut needs);
        Ok(Self { program, needs, prunes })
    }

    /// What is needed of a source.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// What is needed of fragments that are joined first.
    pub fn join_needs(&self) -> Needs {
        let mut needs = self.needs.clone();
        needs.merge(&whole_trace_needs());
        needs
    }

    /// See [`crate::SearchPlan::prunes`].
    pub fn prunes(&self) -> &[Vec<Prune>] {
        &self.prunes
    }

    /// What it depends on whether a span is selected.
    pub fn reach(&self) -> Reach {
        self.program.reach()
    }

    /// Whether it selects nothing, whatever is stored.
    pub fn is_never(&self) -> bool {
        is_never(&self.program)
    }

    /// Which spans of a batch are selected, but for those of traces for which `shared` says true.
    ///
    /// The batch must hold what the selection reaches ([`Selection::reach`]): any spans, any with true trace-level
    /// columns, or all of the other traces.
    ///
    /// # Errors
    /// [`EvalError`] when a filter cannot be computed.
    pub fn mask(&self, batch: &SpanBatch, shared: Option<&[bool]>) -> Result<Vec<bool>, EvalError> {
        let masks = filter_masks(&self.program, batch, Wholeness::Whole(None))?;
        let mut selected = if self.program.is_local() {
            self.program.local_mask(&masks)
        } else {
            self.by_trace(batch, masks, shared)?
        };
        if let Some(shared) = shared {
            for (bit, trace) in selected.iter_mut().zip(batch.spans.trace.iter()) {
                *bit &= !shared[*trace as usize];
            }
        }
        Ok(selected)
    }

    fn by_trace(
        &self,
        batch: &SpanBatch,
        masks: Vec<Vec<bool>>,
        shared: Option<&[bool]>,
    ) -> Result<Vec<bool>, EvalError> {
        let found = found_bits(batch, &masks);
        let run = Run::new(&self.program, batch, masks);
        let mut selected = vec![false; batch.len()];
        for (row, rows) in rows_by_trace(batch).into_iter().enumerate() {
            if !self.program.accepts(found[row]) || shared.is_some_and(|shared| shared[row]) {
                continue;
            }
            for set in run.trace(rows)? {
                set.spans.iter().for_each(|span| selected[*span as usize] = true);
            }
        }
        Ok(selected)
    }
}
