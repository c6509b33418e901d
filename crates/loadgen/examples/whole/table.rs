//! The figures of a run: an aligned table for people, JSON for scripts.

use serde_json::{Value, json};

/// One figure.
#[derive(Clone, Debug)]
struct Figure {
    name: String,
    value: f64,
    budget: Option<f64>,
}

/// Figures in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// Adds a figure; a value above its budget is marked.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, budget: Option<f64>) {
        self.figures.push(Figure { name: name.into(), value, budget });
    }

    /// The table, one line each.
    pub(crate) fn text(&self) -> String {
        let wide = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0).max("figure".len());
        let mut out = format!("{:wide$}  {:>12}  {:>8}\n", "figure", "value", "budget");
        for Figure { name, value, budget } in &self.figures {
            let over = if budget.is_some_and(|budget| *value > budget) { "  over" } else { "" };
            let budget = budget.map_or(String::new(), number);
            out.push_str(&format!("{name:wide$}  {:>12}  {budget:>8}{over}\n", number(*value)));
        }
        out
    }

    /// The same for scripts.
    pub(crate) fn json(&self) -> Value {
        let one = |figure: &Figure| {
            let ok = figure.budget.is_none_or(|budget| figure.value <= budget);
            json!({ "figure": figure.name, "value": figure.value, "budget": figure.budget, "ok": ok })
        };
        self.figures.iter().map(one).collect()
    }
}

/// Three or so digits that matter.
fn number(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 1_000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
