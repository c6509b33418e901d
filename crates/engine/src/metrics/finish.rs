//! From what is known of all spans to series.

use trackway_traceql::ValueType;
use trackway_traceql::ast::Field;

use super::comparison::ATTRIBUTES_MAX;
use super::exemplar::Candidate;
use super::key::{Key, labels_text};
use super::lanes::Lanes;
use super::partial::{Cells, GROUPS_MAX, Group, NUMBERS_MAX, Partial};
use super::plan::{MetricsPlan, What};
use super::quantile::{BUCKET_BITS, bucket_of, quantile, upper_end};
use super::second;
use super::series::{Exemplar, Intervals, Series};
use crate::result::AttributeValue;

/// The answer to a metrics query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// In the order of their labels.
    pub series: Vec<Series>,
    /// Why there are not more of them, when there should be.
    pub truncated: Option<String>,
}

type Labels = Vec<(String, AttributeValue)>;

pub(crate) fn finish(plan: &MetricsPlan, partial: Partial, max_series: usize) -> Finished {
    let truncated = partial.is_cut().then(|| {
        format!(
            "The query has more than {GROUPS_MAX} groups, {NUMBERS_MAX} values or {ATTRIBUTES_MAX} attributes, \
             a partial response is returned."
        )
    });
    let mut series = match &plan.what {
        What::Compare(compare) => {
            let mut series = partial.comparison.series(compare.top_n, &plan.time);
            series.sort_by_cached_key(|series| labels_text(&series.labels));
            series
        }
        _ => grouped(plan, partial),
    };
    for stage in &plan.second_stages {
        second::apply(stage, &mut series);
    }
    let mut finished = Finished { series, truncated };
    limit(&mut finished, max_series);
    finished
}

/// Leaves at most so many series; 0 is any number.
pub(crate) fn limit(finished: &mut Finished, max_series: usize) {
    if max_series > 0 && finished.series.len() > max_series {
        finished.series.truncate(max_series);
        finished.truncated.get_or_insert_with(|| {
            format!(
                "Response exceeds maximum series limit of {max_series}, a partial response is returned. \
                 Warning: the accuracy of each individual value is not guaranteed."
            )
        });
    }
}

/// The series of everything but `compare()`.
fn grouped(plan: &MetricsPlan, partial: Partial) -> Vec<Series> {
    let mut drafts = drafts(plan, partial);
    drafts.sort_by_cached_key(|draft| labels_text(&draft.labels));
    put_exemplars(&mut drafts, plan.exemplars, &plan.time);
    drafts.into_iter().map(Draft::series).collect()
}

/// A series before it has its exemplars.
struct Draft {
    labels: Labels,
    samples: Vec<(u64, f64)>,
    candidates: Vec<Candidate>,
    /// What a candidate's number is divided by; nothing when the sample's value stands for it.
    unit: Option<f64>,
    exemplars: Vec<Exemplar>,
}

impl Draft {
    fn series(self) -> Series {
        Series { labels: self.labels, samples: self.samples, exemplars: self.exemplars }
    }

    fn value_at(&self, time: u64) -> Option<f64> {
        let at = self.samples.binary_search_by_key(&time, |sample| sample.0).ok()?;
        Some(self.samples[at].1)
    }
}

fn drafts(plan: &MetricsPlan, mut partial: Partial) -> Vec<Draft> {
    // Counting nothing gives zeros; of a group, a minimum or the like there is no series without a span.
    if partial.groups.is_empty() && plan.by.is_empty() && matches!(plan.what, What::Count { .. }) {
        let nothing = Group { cells: Cells::Counts(Lanes::default()), exemplars: Lanes::default() };
        partial.groups.insert(Vec::new(), nothing);
    }
    let mut drafts = Vec::new();
    for (key, group) in partial.groups {
        let of_group = OfGroup {
            labels: labels(&plan.by, &key, name(&plan.what)),
            unit: plan.what.field().map_or(1.0, unit),
            time: &plan.time,
            candidates: group.exemplars.0.into_iter().map(|(_, candidate)| candidate).collect(),
        };
        of_group.drafts(&plan.what, &group.cells, &mut drafts);
    }
    drafts
}

/// What the series of one group share.
struct OfGroup<'a> {
    labels: Labels,
    /// What a number is divided by to be shown.
    unit: f64,
    time: &'a Intervals,
    candidates: Vec<Candidate>,
}

impl OfGroup<'_> {
    fn drafts(self, what: &What, cells: &Cells, drafts: &mut Vec<Draft>) {
        match (what, cells) {
            (What::Count { per_second }, Cells::Counts(counts)) => {
                let part = if *per_second { self.time.seconds() } else { 1.0 };
                let samples = dense(self.time, counts, |count| count as f64 / part);
                drafts.push(Draft { unit: None, ..self.draft(samples) });
            }
            (What::Extreme { least, .. }, Cells::Most(most)) => {
                let sign = if *least { -1.0 } else { 1.0 };
                let samples = self.samples(most, |most| sign * most.0 + 0.0);
                drafts.push(self.draft(samples));
            }
            (What::Sum { average, .. }, Cells::Sums(sums)) => {
                let part = |count: u64| if *average { count as f64 } else { 1.0 };
                let samples = self.samples(sums, |sum| sum.total() / part(sum.count));
                drafts.push(self.draft(samples));
            }
            (What::Quantiles { quantiles, .. }, Cells::Counts(counts)) => {
                self.quantiles(quantiles, counts, drafts);
            }
            (What::Histogram { .. }, Cells::Counts(counts)) => self.histogram(counts, drafts),
            _ => {} // a partial of another plan
        }
    }

    fn draft(self, samples: Vec<(u64, f64)>) -> Draft {
        Draft {
            labels: self.labels,
            samples,
            candidates: self.candidates,
            unit: Some(self.unit),
            exemplars: Vec::new(),
        }
    }

    fn samples<T>(&self, lanes: &Lanes<T>, value: impl Fn(&T) -> f64) -> Vec<(u64, f64)> {
        let sample = |(slot, of): &(u32, T)| (self.time.time_ms(*slot as usize), value(of) / self.unit);
        lanes.0.iter().map(sample).collect()
    }

    /// A series for each quantile.
    fn quantiles(&self, quantiles: &[f64], counts: &Lanes<u64>, drafts: &mut Vec<Draft>) {
        let slot_of = |lane: u32| lane >> BUCKET_BITS;
        let bucket = |(lane, count): &(u32, u64)| (lane & ((1 << BUCKET_BITS) - 1), *count);
        let first = drafts.len();
        for p in quantiles {
            let mut samples: Vec<(u64, f64)> =
                (0..self.time.count()).map(|slot| (self.time.time_ms(slot), 0.0)).collect();
            for slot in counts.0.chunk_by(|a, b| slot_of(a.0) == slot_of(b.0)) {
                let buckets: Vec<(u32, u64)> = slot.iter().map(bucket).collect();
                let sample = slot.first().and_then(|lane| samples.get_mut(slot_of(lane.0) as usize));
                if let Some(sample) = sample {
                    sample.1 = quantile(*p, &buckets) / self.unit;
                }
            }
            drafts.push(self.with_own_label("p", *p, samples));
        }
        // A span belongs to the least quantile that reaches up to it.
        for candidate in &self.candidates {
            let own = &mut drafts[first..];
            let Some(slot) = self.time.slot(candidate.start) else { continue };
            let number = candidate.number() / self.unit;
            let time = self.time.time_ms(slot);
            let reaches =
                own.iter().position(|draft| draft.value_at(time).is_some_and(|value| value >= number));
            let at = reaches.unwrap_or(own.len().saturating_sub(1));
            if let Some(draft) = own.get_mut(at) {
                draft.candidates.push(candidate.clone());
            }
        }
    }

    /// A series for each bucket.
    fn histogram(&self, counts: &Lanes<u64>, drafts: &mut Vec<Draft>) {
        let bucket_in = |lane: u32| lane & ((1 << BUCKET_BITS) - 1);
        let mut buckets: Vec<u32> = counts.0.iter().map(|(lane, _)| bucket_in(*lane)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        for bucket in buckets {
            let of_bucket = counts.0.iter().filter(|(lane, _)| bucket_in(*lane) == bucket);
            let counts = Lanes(of_bucket.map(|(lane, count)| (lane >> BUCKET_BITS, *count)).collect());
            let samples = dense(self.time, &counts, |count| count as f64);
            let mut draft = self.with_own_label("__bucket", upper_end(bucket) / self.unit, samples);
            let here = |candidate: &&Candidate| bucket_of(candidate.number()) == Some(bucket);
            draft.candidates = self.candidates.iter().filter(here).cloned().collect();
            drafts.push(draft);
        }
    }

    /// A series with the label that the aggregate adds. There is no `__name__` beside it.
    fn with_own_label(&self, name: &str, value: f64, samples: Vec<(u64, f64)>) -> Draft {
        let mut labels = self.labels.clone();
        labels.retain(|(name, _)| name != "__name__");
        labels.push((name.to_owned(), AttributeValue::Float(value)));
        Draft { labels, samples, candidates: Vec::new(), unit: Some(self.unit), exemplars: Vec::new() }
    }
}

/// A sample for every interval, those that nothing is known of having none counted.
pub(crate) fn dense(time: &Intervals, counts: &Lanes<u64>, value: impl Fn(u64) -> f64) -> Vec<(u64, f64)> {
    let mut all = vec![0; time.count()];
    for (slot, count) in &counts.0 {
        if let Some(place) = all.get_mut(*slot as usize) {
            *place = *count;
        }
    }
    all.into_iter().enumerate().map(|(slot, count)| (time.time_ms(slot), value(count))).collect()
}

/// What a number is divided by to be shown: durations are shown in seconds.
fn unit(of: &Field) -> f64 {
    if of.value_type() == ValueType::Duration { 1e9 } else { 1.0 }
}

/// The labels of a group: its values that are not nil. If all are, the first stands there as the text `nil`. Without a
/// grouping the aggregate's name is the label.
fn labels(by: &[Field], key: &[Key], name: &str) -> Labels {
    let Some(first) = by.first() else {
        return vec![("__name__".to_owned(), AttributeValue::String(name.to_owned()))];
    };
    let named = by.iter().zip(key).filter(|(_, value)| **value != Key::Nil);
    let labels: Labels = named.map(|(field, value)| (field.to_string(), value.label())).collect();
    if labels.is_empty() { vec![(first.to_string(), Key::Nil.label())] } else { labels }
}

fn name(what: &What) -> &'static str {
    match what {
        What::Count { per_second: true } => "rate",
        What::Count { per_second: false } => "count_over_time",
        What::Extreme { least: true, .. } => "min_over_time",
        What::Extreme { least: false, .. } => "max_over_time",
        What::Sum { average: false, .. } => "sum_over_time",
        What::Sum { average: true, .. } => "avg_over_time",
        // These have a label of their own, which stands alone when there is no grouping.
        What::Quantiles { .. } | What::Histogram { .. } | What::Compare(_) => "",
    }
}

/// Chooses so many exemplars: of each series its best, then of each its second best, and so on.
fn put_exemplars(drafts: &mut [Draft], most: usize, time: &Intervals) {
    let mut ranked = Vec::new();
    for (at, draft) in drafts.iter_mut().enumerate() {
        draft.candidates.sort_unstable();
        ranked.extend(draft.candidates.iter().enumerate().map(|(rank, best)| (rank, best.hash, at)));
    }
    ranked.sort_unstable();
    for (rank, _, at) in ranked.into_iter().take(most) {
        let draft = &mut drafts[at];
        let candidate = &draft.candidates[rank];
        let id = AttributeValue::String(candidate.trace_id().short_hex());
        let labels =
            std::iter::once(("trace:id".to_owned(), id)).chain(draft.labels.iter().cloned()).collect();
        let sample = || time.slot(candidate.start).and_then(|slot| draft.value_at(time.time_ms(slot)));
        let value = match draft.unit {
            Some(unit) => Some(candidate.number() / unit),
            None => sample(),
        };
        if let Some(value) = value {
            draft.exemplars.push(Exemplar { labels, value, time_ms: candidate.start / 1_000_000 });
        }
    }
    for draft in drafts {
        draft.exemplars.sort_by_key(|exemplar| exemplar.time_ms);
    }
}
