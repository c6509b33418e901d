//! The metrics end of a query, and hints.

use super::field::{comparison, literal};
use super::{Parser, Result};
use crate::ast::{Hint, MetricsAggregate, MetricsPipeline, SecondStage};
use crate::lexer::Tok;

/// What a comparison of finished series may compare with.
const NUMBER: [&str; 4] = ["INTEGER", "FLOAT", "DURATION", "-"];

impl Parser<'_> {
    /// A metrics aggregate with all that may follow it, if one stands here.
    pub(super) fn metrics_if_any(&mut self) -> Result<Option<MetricsPipeline>> {
        let Some(aggregate) = self.metrics_aggregate()? else { return Ok(None) };
        let mut by = Vec::new();
        // compare() makes its own groups.
        if self.is_word("by") && !matches!(aggregate, MetricsAggregate::Compare { .. }) {
            self.bump();
            self.expect("(")?;
            by = self.fields()?;
        }
        let second_stages = self.second_stages()?;
        Ok(Some(MetricsPipeline { aggregate, by, second_stages }))
    }

    /// Stages over finished series, as many as stand here.
    pub(super) fn second_stages(&mut self) -> Result<Vec<SecondStage>> {
        let mut stages = Vec::new();
        loop {
            // topk and bottomk need a pipe before them, comparisons do not.
            let compares = matches!(self.peek(), Tok::Symbol(symbol) if comparison(symbol).is_some());
            if !self.take("|") && !compares {
                return Ok(stages);
            }
            match self.second_stage()? {
                Some(stage) => stages.push(stage),
                None => return self.unexpected(&["topk", "bottomk"]),
            }
        }
    }

    fn metrics_aggregate(&mut self) -> Result<Option<MetricsAggregate>> {
        use MetricsAggregate as M;
        let Tok::Word(word) = self.peek() else { return Ok(None) };
        let of_field = match *word {
            "rate" | "count_over_time" => {
                self.bump();
                self.expect("(")?;
                self.expect(")")?;
                return Ok(Some(if *word == "rate" { M::Rate } else { M::CountOverTime }));
            }
            "quantile_over_time" => return self.quantile_over_time().map(Some),
            "compare" => return self.compare().map(Some),
            "min_over_time" => M::MinOverTime,
            "max_over_time" => M::MaxOverTime,
            "sum_over_time" => M::SumOverTime,
            "avg_over_time" => M::AvgOverTime,
            "histogram_over_time" => M::HistogramOverTime,
            _ => return Ok(None),
        };
        self.bump();
        self.expect("(")?;
        let field = self.field()?;
        self.expect(")")?;
        Ok(Some(of_field(field)))
    }

    fn quantile_over_time(&mut self) -> Result<MetricsAggregate> {
        self.bump();
        self.expect("(")?;
        let field = self.field()?;
        self.expect(",")?;
        let mut quantiles = Vec::new();
        loop {
            quantiles.push(match self.peek() {
                Tok::Float(value) => *value,
                #[allow(clippy::cast_precision_loss)] // Anything beyond 1 is refused later, whatever it is.
                Tok::Int(value) => *value as f64,
                _ => return self.unexpected(&["INTEGER", "FLOAT"]),
            });
            self.bump();
            if !self.take(",") {
                break;
            }
        }
        self.expect_of(")", &[")", ","])?;
        Ok(MetricsAggregate::QuantileOverTime(field, quantiles))
    }

    fn compare(&mut self) -> Result<MetricsAggregate> {
        self.bump();
        self.expect("(")?;
        self.expect("{")?;
        let selection = self.filter_body()?;
        let (mut top_n, mut range) = (None, None);
        if self.take(",") {
            top_n = Some(self.integer()?);
            if self.take(",") {
                let start = self.integer()?;
                self.expect(",")?;
                range = Some((start, self.integer()?));
            }
        }
        self.expect_of(")", if range.is_some() { &[")"] } else { &[")", ","] })?;
        Ok(MetricsAggregate::Compare { selection, top_n, range })
    }

    fn integer(&mut self) -> Result<i64> {
        let Tok::Int(value) = self.peek() else { return self.unexpected(&["INTEGER"]) };
        self.bump();
        Ok(*value)
    }

    fn second_stage(&mut self) -> Result<Option<SecondStage>> {
        let stage = match self.peek() {
            Tok::Word("topk") => SecondStage::TopK,
            Tok::Word("bottomk") => SecondStage::BottomK,
            Tok::Symbol(symbol) => {
                let Some(op) = comparison(symbol) else { return Ok(None) };
                self.bump();
                return Ok(Some(SecondStage::Filter { op, value: self.number(&NUMBER)? }));
            }
            _ => return Ok(None),
        };
        self.bump();
        self.expect("(")?;
        let n = self.integer()?;
        self.expect(")")?;
        Ok(Some(stage(n)))
    }

    /// All `with (…)`, and the end of the text.
    pub(super) fn all_hints(&mut self) -> Result<Vec<Hint>> {
        let mut hints = Vec::new();
        while self.is_word("with") {
            self.bump();
            self.hints(&mut hints)?;
        }
        self.end(&["with"])?;
        Ok(hints)
    }

    /// `( name = value, … )`
    fn hints(&mut self, hints: &mut Vec<Hint>) -> Result<()> {
        self.expect("(")?;
        loop {
            let Tok::Ident(name) = self.peek() else { return self.unexpected(&["IDENTIFIER"]) };
            self.bump();
            self.expect("=")?;
            let Some(value) = literal(self.peek()) else { return self.unexpected(&[]) };
            self.bump();
            hints.push(Hint { name: name.clone(), value });
            if !self.take(",") {
                break;
            }
        }
        self.expect_of(")", &[")", ","])
    }
}
