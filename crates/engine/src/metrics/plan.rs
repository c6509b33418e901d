//! A metrics query, planned: which columns it needs, and how a batch and a mask become part of the answer.

use trackway_spans::{Columns, Needs, SpanBatch};
use trackway_traceql::ast::{Field, MetricsAggregate, MetricsPipeline, SecondStage};

use super::cells;
use super::compare::Compare;
use super::exemplar;
use super::finish::{self, Finished};
use super::groups::Groups;
use super::lanes::{Lanes, Most, Sum};
use super::number::{self, Number};
use super::partial::{Cells, Group, Partial};
use super::quantile::{BUCKET_BITS, bucket_of};
use super::rows::Rows;
use super::series::Intervals;
use crate::filter::{EvalError, Filter, Reach};
use crate::plan::{PlanError, field_needs};

/// Exemplars of a series at the most.
pub const EXEMPLARS_MAX: usize = 100;
/// Intervals at the most; Tempo takes 10,000.
pub const INTERVALS_MAX: usize = 100_000;

/// The metrics part of a query, planned. The same plan runs over every source.
#[derive(Clone, Debug)]
pub struct MetricsPlan {
    pub(crate) what: What,
    pub(crate) by: Vec<Field>,
    pub(crate) second_stages: Vec<SecondStage>,
    pub(crate) time: Intervals,
    /// How many are wanted in all.
    pub(crate) exemplars: usize,
    needs: Needs,
}

/// What is made of the spans of a group.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Count {
        per_second: bool,
    },
    /// The least number is the greatest of the negative ones.
    Extreme {
        of: Field,
        least: bool,
    },
    Sum {
        of: Field,
        average: bool,
    },
    Quantiles {
        of: Field,
        quantiles: Vec<f64>,
    },
    Histogram {
        of: Field,
    },
    Compare(Compare),
}

/// See [`MetricsPlan::grid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    step: Option<u64>,
    /// Steps between exemplars, where there are any.
    slices: Option<u64>,
    is_compared: bool,
}

impl What {
    /// The field whose values count.
    pub(crate) fn field(&self) -> Option<&Field> {
        match self {
            Self::Count { .. } | Self::Compare(_) => None,
            Self::Extreme { of, .. }
            | Self::Sum { of, .. }
            | Self::Quantiles { of, .. }
            | Self::Histogram { of } => Some(of),
        }
    }
}

impl MetricsPlan {
    /// Plans the metrics part of a query that has been parsed and checked. An answer has up to so many exemplars.
    ///
    /// # Errors
    /// [`PlanError`] when it cannot be computed.
    pub fn new(pipeline: &MetricsPipeline, time: Intervals, exemplars: usize) -> Result<Self, PlanError> {
        if time.end <= time.start || time.step == Some(0) || time.count() > INTERVALS_MAX {
            return Err(PlanError::Unsupported(format!("a range like {time:?}")));
        }
        let what = match &pipeline.aggregate {
            MetricsAggregate::Rate => What::Count { per_second: true },
            MetricsAggregate::CountOverTime => What::Count { per_second: false },
            MetricsAggregate::MinOverTime(of) => What::Extreme { of: of.clone(), least: true },
            MetricsAggregate::MaxOverTime(of) => What::Extreme { of: of.clone(), least: false },
            MetricsAggregate::SumOverTime(of) => What::Sum { of: of.clone(), average: false },
            MetricsAggregate::AvgOverTime(of) => What::Sum { of: of.clone(), average: true },
            MetricsAggregate::QuantileOverTime(of, quantiles) => {
                What::Quantiles { of: of.clone(), quantiles: quantiles.clone() }
            }
            MetricsAggregate::HistogramOverTime(of) => What::Histogram { of: of.clone() },
            MetricsAggregate::Compare { selection, top_n, range } => What::Compare(Compare {
                selection: Filter::compile(selection.as_ref())?,
                top_n: top_n.map_or(10, |n| usize::try_from(n).unwrap_or(0)),
                range: *range,
            }),
        };
        let mut needs = Needs::default();
        needs.add(Columns::START);
        pipeline.by.iter().chain(what.field()).for_each(|field| field_needs(field, &mut needs));
        if let What::Compare(compare) = &what {
            compare.add_needs(&mut needs);
        }
        Ok(Self {
            what,
            by: pipeline.by.clone(),
            second_stages: pipeline.second_stages.clone(),
            // An instant has no place for them.
            exemplars: if time.step.is_some() { exemplars.min(EXEMPLARS_MAX) } else { 0 },
            time,
            needs,
        })
    }

    /// What it needs of a source, beside what the filter needs.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// What it depends on how a span is counted.
    pub fn reach(&self) -> Reach {
        let of_fields = self.by.iter().chain(self.what.field()).map(Reach::of).max().unwrap_or(Reach::Span);
        match &self.what {
            // Comparing looks at the root.
            What::Compare(compare) => of_fields.max(Reach::Facts).max(compare.selection.reach()),
            _ => of_fields,
        }
    }

    /// Adds the selected spans of a batch. Those outside of the time range do not count.
    ///
    /// # Errors
    /// [`EvalError`] when a filter of the plan cannot be computed.
    pub fn observe(
        &self,
        batch: &SpanBatch,
        selected: &[bool],
        partial: &mut Partial,
    ) -> Result<(), EvalError> {
        let mut rows = Rows::new(&batch.spans.start, selected, &self.time);
        let numbers = match self.what.field() {
            Some(field) if !rows.is_empty() => number::numbers(batch, field, &mut rows),
            _ => Vec::new(),
        };
        if rows.is_empty() {
            return Ok(());
        }
        match &self.what {
            What::Count { .. } => self.count(batch, &rows, partial),
            What::Extreme { least, .. } => self.extreme(batch, &rows, &numbers, *least, partial),
            What::Sum { .. } => self.sum(batch, &rows, &numbers, partial),
            What::Quantiles { .. } | What::Histogram { .. } => {
                self.buckets(batch, &mut rows, &numbers, partial);
            }
            What::Compare(compare) => {
                compare.observe(batch, &rows, &self.time, &mut partial.comparison)?;
            }
        }
        Ok(())
    }

    /// What two plans of the same query must have in common so that what one has counted can be [`Self::moved`] to the
    /// other, whatever their ranges are.
    pub fn grid(&self) -> Grid {
        let slices = (self.exemplars > 0).then(|| exemplar::Slices::new(self.exemplars, &self.time).width);
        Grid { step: self.time.step, slices, is_compared: matches!(self.what, What::Compare(_)) }
    }

    /// What another plan of this query with the same [`Grid`] has counted in its time, if all of it lies within the time of
    /// this one: spans that start after `first` and not after `last`.
    pub fn moved(
        &self,
        mut partial: Partial,
        from: &Intervals,
        (first, last): (u64, u64),
    ) -> Option<Partial> {
        if first <= self.time.start || last > self.time.end {
            return None;
        }
        let Some(step) = self.time.step else { return Some(partial) };
        let lanes_each = match &self.what {
            What::Quantiles { .. } | What::Histogram { .. } => 1 << BUCKET_BITS,
            What::Compare(_) => 2,
            What::Count { .. } | What::Extreme { .. } | What::Sum { .. } => 1,
        };
        let slots = i64::try_from(from.start / step).ok()? - i64::try_from(self.time.start / step).ok()?;
        let base = |time: &Intervals| i64::try_from(exemplar::Slices::new(self.exemplars, time).base).ok();
        let slices = if self.exemplars > 0 { base(from)? - base(&self.time)? } else { 0 };
        partial.shift(slots * lanes_each, slices)?;
        Some(partial)
    }

    /// Merges what is known of other spans.
    #[allow(clippy::unused_self, reason = "only partials of one plan belong together")]
    pub fn merge(&self, into: &mut Partial, from: Partial) {
        into.merge(from);
    }

    /// The answer: at most so many series, in the order of their labels; 0 is any number.
    pub fn finish(&self, partial: Partial, max_series: usize) -> Finished {
        finish::finish(self, partial, max_series)
    }

    fn count(&self, batch: &SpanBatch, rows: &Rows, partial: &mut Partial) {
        let groups = Groups::new(batch, &self.by, rows);
        let found = cells::collect(
            (&groups.of_row, groups.count),
            (&rows.slots, self.time.count()),
            |count: &mut u64, _| *count += 1,
        );
        self.add(batch, &groups, rows, found, Cells::Counts, |_| 1.0, partial);
    }

    fn extreme(
        &self,
        batch: &SpanBatch,
        rows: &Rows,
        numbers: &[Number],
        least: bool,
        partial: &mut Partial,
    ) {
        let groups = Groups::new(batch, &self.by, rows);
        let sign = if least { -1.0 } else { 1.0 };
        let found = cells::collect(
            (&groups.of_row, groups.count),
            (&rows.slots, self.time.count()),
            |most: &mut Most, row| most.0 = most.0.max(sign * numbers[row].float()),
        );
        self.add(batch, &groups, rows, found, Cells::Most, |row| numbers[row].float(), partial);
    }

    fn sum(&self, batch: &SpanBatch, rows: &Rows, numbers: &[Number], partial: &mut Partial) {
        let groups = Groups::new(batch, &self.by, rows);
        let found = cells::collect(
            (&groups.of_row, groups.count),
            (&rows.slots, self.time.count()),
            |sum: &mut Sum, row| match numbers[row] {
                Number::Whole(number) => sum.add_whole(number),
                number => sum.add_float(number.float()),
            },
        );
        self.add(batch, &groups, rows, found, Cells::Sums, |row| numbers[row].float(), partial);
    }

    /// Counts the numbers in buckets: a lane for each bucket of each interval.
    fn buckets(&self, batch: &SpanBatch, rows: &mut Rows, numbers: &[Number], partial: &mut Partial) {
        let buckets: Vec<Option<u32>> = numbers.iter().map(|number| bucket_of(number.float())).collect();
        rows.retain(|row| buckets[row].is_some());
        let numbers: Vec<f64> = numbers
            .iter()
            .zip(&buckets)
            .filter_map(|(number, bucket)| bucket.map(|_| number.float()))
            .collect();
        let buckets: Vec<u32> = buckets.into_iter().flatten().collect();
        let (Some(first), Some(last)) = (buckets.iter().min(), buckets.iter().max()) else { return };
        let width = last - first + 1;
        let lane = |(slot, bucket): (&u32, &u32)| slot * width + (bucket - first);
        let lanes: Vec<u32> = rows.slots.iter().zip(&buckets).map(lane).collect();
        let groups = Groups::new(batch, &self.by, rows);
        let mut found = cells::collect(
            (&groups.of_row, groups.count),
            (&lanes, self.time.count() * width as usize),
            |count: &mut u64, _| *count += 1,
        );
        for (lane, _) in found.iter_mut().flat_map(|(_, lanes)| &mut lanes.0) {
            *lane = (*lane / width) << BUCKET_BITS | (*lane % width + first);
        }
        self.add(batch, &groups, rows, found, Cells::Counts, |row| numbers[row], partial);
    }

    /// Adds what was found of each group, and its exemplars.
    #[allow(clippy::too_many_arguments, reason = "the last step of what is otherwise one function")]
    fn add<T>(
        &self,
        batch: &SpanBatch,
        groups: &Groups<'_>,
        rows: &Rows,
        found: Vec<(u32, Lanes<T>)>,
        cells: impl Fn(Lanes<T>) -> Cells,
        number: impl Fn(usize) -> f64,
        partial: &mut Partial,
    ) {
        let exemplars = match self.exemplars {
            0 => Vec::new(),
            slices => exemplar::candidates(batch, groups, rows, number, (slices, &self.time)),
        };
        let mut exemplars = exemplars.into_iter().peekable();
        for (group, lanes) in found {
            let own = exemplars.next_if(|(of, _)| *of == group);
            let exemplars = own.map(|(_, candidates)| candidates).unwrap_or_default();
            partial.add(groups.key(batch, group), Group { cells: cells(lanes), exemplars });
        }
    }
}
