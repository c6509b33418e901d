//! Names and values of attributes over live and stored data.

use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::RequestCtx;
use trackway_engine::{Filter, TagNames, TagScope, TagValues, ValueKind, tag_needs, value_needs};
use trackway_overrides::Limits;
use trackway_spans::{Columns, Level, Needs, SpanBatch};
use trackway_storage::StoreError;
use trackway_traceql::ast::{Field, FieldExpr, Intrinsic, Scope};
use trackway_traceql::parse_lenient;
use trackway_vparquet::meta::{BlockMeta, DedicatedColumn};
use trackway_vparquet::{Outline, Outlined};

use crate::fragments::{READS_AT_ONCE, Source};
use crate::search::eval_error;
use crate::service::QueryError;
use crate::tally::Tally;

/// Live traces that are joined together, where whole traces are looked at.
const JOINED_AT_ONCE: usize = 8 * 1024;

/// What is collected over the sources.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Names(Vec<TagScope>),
    Values(Field),
}

#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) names: TagNames,
    pub(crate) values: TagValues,
}

/// A question about tags.
#[derive(Clone)]
pub(crate) struct TagQuestion {
    ask: Ask,
    filters: Arc<Vec<Filter>>,
    needs: Needs,
    /// Attributes that are left out where they have dedicated columns, or will have.
    hidden: Arc<[DedicatedColumn]>,
}

impl TagQuestion {
    pub(crate) fn new(ask: Ask, query: &str) -> Result<Self, QueryError> {
        let groups: Vec<FieldExpr> = parse_lenient(query).groups;
        let filters = groups.iter().map(|group| Filter::compile(Some(group)));
        let filters: Vec<Filter> = filters.collect::<Result<_, _>>().map_err(|error| eval_error(&error))?;
        let mut needs = match &ask {
            Ask::Names(scopes) => tag_needs(scopes),
            Ask::Values(field) => value_needs(field),
        };
        for group in &groups {
            group.walk_fields(&mut |field| needs.merge(&value_needs(field)));
        }
        Ok(Self { ask, filters: Arc::new(filters), needs, hidden: Arc::default() })
    }

    /// The question to a tenant: attributes that are configured to have columns of their own are left out, as in Tempo. A
    /// choice that nobody configured hides nothing.
    pub(crate) fn of(&self, limits: &Limits) -> Self {
        let hidden = limits.dedicated.as_deref().unwrap_or_default().into();
        Self { hidden, ..self.clone() }
    }

    /// Whether it is about whole traces, so that live data must be joined first.
    fn needs_whole_traces(&self) -> bool {
        let by_field = match &self.ask {
            Ask::Values(field) => {
                let condition = Filter::compile(Some(&FieldExpr::Field(field.clone())));
                condition.is_ok_and(|filter| filter.needs_whole_traces())
            }
            Ask::Names(_) => false,
        };
        by_field || self.filters.iter().any(Filter::needs_whole_traces)
    }

    /// What is left out of a block with these dedicated columns.
    fn hidden_in(&self, dedicated: &[DedicatedColumn]) -> Arc<[DedicatedColumn]> {
        let is_same = |a: &DedicatedColumn, b: &DedicatedColumn| {
            (&a.scope, &a.name, &a.kind) == (&b.scope, &b.name, &b.kind)
        };
        let has = |column: &&DedicatedColumn| dedicated.iter().any(|other| is_same(column, other));
        self.hidden.iter().filter(has).cloned().collect()
    }

    fn collect(&self, batch: &SpanBatch, hidden: &[DedicatedColumn]) -> Result<Collected, QueryError> {
        let mut mask: Option<Vec<bool>> = None;
        for filter in self.filters.iter() {
            let matches = filter.mask(batch).map_err(|error| eval_error(&error))?;
            match &mut mask {
                None => mask = Some(matches),
                Some(mask) => mask.iter_mut().zip(matches).for_each(|(bit, other)| *bit |= other),
            }
        }
        let hides = |level: Level, key: &[u8], kind: ValueKind| {
            let is_it = |column: &DedicatedColumn| {
                column.level() == Some(level) && column.name.as_bytes() == key && column.kind == kind.name()
            };
            hidden.iter().any(is_it)
        };
        let mut collected = Collected::default();
        match &self.ask {
            Ask::Names(scopes) => {
                collected.names.add(batch, scopes, mask.as_deref(), hides);
            }
            Ask::Values(field) => collected.values.add(batch, field, mask.as_deref(), hides),
        }
        Ok(collected)
    }

    /// Collects over a tenant's data.
    pub(crate) async fn run(
        &self,
        source: &Source,
        range: Option<(u64, u64)>,
        tally: &Tally,
        ctx: &RequestCtx,
    ) -> Result<Collected, QueryError> {
        let mut all = Collected::default();
        self.live(source, range, tally, &mut all).await?;
        let overlaps = |meta: &BlockMeta| {
            range.is_none_or(|(start, end)| {
                meta.start_time.as_second().cast_unsigned() <= end / 1_000_000_000
                    && meta.end_time.as_second().cast_unsigned() >= start / 1_000_000_000
            })
        };
        let blocks = (0..source.view.blocks.len()).filter(|block| overlaps(source.meta(*block)));
        let parts = stream::iter(blocks).map(|block| self.block(source, block, tally));
        let mut parts = parts.buffer_unordered(READS_AT_ONCE);
        while let Some(part) = parts.next().await {
            tally.check(ctx)?;
            let part = part?;
            all.names.merge(part.names);
            all.values.merge(part.values);
        }
        Ok(all)
    }

    async fn live(
        &self,
        source: &Source,
        range: Option<(u64, u64)>,
        tally: &Tally,
        all: &mut Collected,
    ) -> Result<(), QueryError> {
        let overlaps = |batch: &SpanBatch| {
            range.is_none_or(|(start, end)| {
                batch.time_range().is_some_and(|(first, last)| first <= end && last >= start)
            })
        };
        if self.needs_whole_traces() {
            let mut ids: Vec<_> =
                source.view.chunks.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect();
            ids.sort_unstable();
            ids.dedup();
            for ids in ids.chunks(JOINED_AT_ONCE) {
                let places = source.locate(ids, |_| true, tally).await;
                match source.join(ids.to_vec(), places, &self.needs, tally).await {
                    Ok(joined) if overlaps(&joined.batch) => {
                        self.add_live(source, joined, tally, all).await?
                    }
                    Ok(_) => {}
                    Err(error) => tally.skip(&error),
                }
            }
            return Ok(());
        }
        for chunk in source.view.chunks.iter().cloned() {
            match source.load_chunk(chunk).await {
                Ok(live) if overlaps(&live) => self.add_live(source, live, tally, all).await?,
                Ok(_) => {}
                Err(error) => tally.skip(&error),
            }
        }
        Ok(())
    }

    async fn add_live(
        &self,
        source: &Source,
        live: impl AsRef<SpanBatch> + Send + 'static,
        tally: &Tally,
        all: &mut Collected,
    ) -> Result<(), QueryError> {
        tally.count(|metrics| metrics.inspected_spans += live.as_ref().len() as u64);
        let question = self.clone();
        let collect = move || question.collect(live.as_ref(), &question.hidden);
        if let Some(part) = source.reader.cpu().run(collect).await {
            let part = part?;
            all.names.merge(part.names);
            all.values.merge(part.values);
        }
        Ok(())
    }

    async fn block(&self, source: &Source, block: usize, tally: &Tally) -> Result<Collected, QueryError> {
        let meta = source.meta(block);
        tally.count(|metrics| {
            metrics.total_blocks += 1;
            metrics.total_block_bytes += meta.size;
            metrics.total_jobs += 1;
        });
        let mut all = Collected::default();
        match self.row_groups(source, block, tally, &mut all).await? {
            Ok(()) => tally.count(|metrics| metrics.completed_jobs += 1),
            Err(error) => tally.skip(&error),
        }
        Ok(all)
    }

    async fn row_groups(
        &self,
        source: &Source,
        block: usize,
        tally: &Tally,
        all: &mut Collected,
    ) -> Result<Result<(), StoreError>, QueryError> {
        let meta = Arc::clone(source.meta(block));
        let mut needs = self.needs.clone();
        needs.add(Columns::TRACE_TIMES);
        let row_groups = match source.reader.open(&source.tenant, &meta).await {
            Ok(file) => file.row_groups(),
            Err(error) => return Ok(Err(error)),
        };
        let hidden = self.hidden_in(&meta.dedicated_columns);
        let outlines = self.outlines(&hidden);
        for row_group in 0..row_groups {
            match self.outlined(source, &meta, row_group, &outlines, tally).await {
                Ok(Some(part)) => {
                    all.names.merge(part.names);
                    all.values.merge(part.values);
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            let (question, hidden) = (self.clone(), Arc::clone(&hidden));
            let collect = move |batch: &SpanBatch, _| (question.collect(batch, &hidden), batch.len());
            let place = (block, row_group);
            match source.map_row_group(place, &[Vec::new()], &needs, tally, collect).await {
                Ok(parts) => {
                    for (part, spans) in parts {
                        tally.count(|metrics| metrics.inspected_spans += spans as u64);
                        let part = part?;
                        all.names.merge(part.names);
                        all.values.merge(part.values);
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// What to ask of columns alone, each with the scope that it is about; nothing where spans must be looked at.
    fn outlines(&self, hidden: &[DedicatedColumn]) -> Vec<(TagScope, Outline)> {
        if !self.filters.is_empty() {
            return Vec::new();
        }
        match &self.ask {
            Ask::Names(scopes) => {
                let of = |scope: &TagScope| {
                    let level = scope.level()?;
                    let at_level = hidden.iter().filter(|column| column.level() == Some(level));
                    let hidden = at_level.map(|column| column.name.clone().into_bytes()).collect();
                    Some((*scope, Outline::Names { level, hidden }))
                };
                scopes.iter().filter_map(of).collect()
            }
            Ask::Values(Field::Attribute { scope, name }) => {
                let scopes: &[TagScope] = match scope {
                    Scope::None => &[TagScope::Span, TagScope::Resource],
                    Scope::Span => &[TagScope::Span],
                    Scope::Resource => &[TagScope::Resource],
                    Scope::Event | Scope::Link | Scope::Instrumentation => &[],
                };
                let key = name.as_bytes();
                if hidden.iter().any(|column| column.name.as_bytes() == key) {
                    return Vec::new();
                }
                let of = |scope: &TagScope| {
                    Some((*scope, Outline::Texts { level: scope.level()?, key: key.to_vec() }))
                };
                scopes.iter().filter_map(of).collect()
            }
            Ask::Values(Field::Intrinsic { intrinsic, .. }) => match intrinsic {
                Intrinsic::Name => vec![(TagScope::Intrinsic, Outline::SpanNames)],
                Intrinsic::StatusMessage => vec![(TagScope::Intrinsic, Outline::StatusMessages)],
                _ => Vec::new(),
            },
            Ask::Values(Field::Parent { .. }) => Vec::new(),
        }
    }

    /// What the columns of a row group say; `None` when its spans must be looked at.
    async fn outlined(
        &self,
        source: &Source,
        meta: &BlockMeta,
        row_group: usize,
        outlines: &[(TagScope, Outline)],
        tally: &Tally,
    ) -> Result<Option<Collected>, StoreError> {
        let mut collected = Collected::default();
        for (scope, question) in outlines {
            let (tenant, question) = (&source.tenant, question.clone());
            let (outlined, bytes) = source.reader.outline(tenant, meta, row_group, question).await?;
            tally.count(|metrics| metrics.inspected_bytes += bytes);
            match outlined {
                Outlined::Names(names) => collected.names.add_names(*scope, names.into_iter()),
                Outlined::Texts(texts) => collected.values.add_texts(texts.into_iter()),
                Outlined::Unknown => return Ok(None),
            }
        }
        Ok((!outlines.is_empty()).then_some(collected))
    }
}
