//! Puts the spans of a trace in the order in which they are shown: children below their parents, earliest first.
//!
//! What must stay true: every span is counted exactly once, in a row of its own or in one that stands for several,
//! whatever the parents are: missing, in a circle, or ten thousand deep (so nothing here recurses).

use std::cmp::Reverse;
use std::collections::HashMap;

/// A span as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// In whatever form the API writes it: only compared.
    pub(super) id: String,
    /// Empty for a root.
    pub(super) parent: String,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) is_server: bool,
    /// Nanoseconds.
    pub(super) start: u64,
    /// Nanoseconds, not before the start.
    pub(super) end: u64,
    pub(super) is_error: bool,
    /// Lines below it.
    pub(super) notes: Vec<String>,
}

/// A row of the drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The branch before the name.
    pub(super) branch: String,
    /// What goes on below it: stands before notes.
    pub(super) rails: String,
    /// What it shows.
    pub(super) what: What,
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A span, by its place.
    Span(usize),
    /// Spans that are not shown one by one.
    Gathered { spans: usize, errors: usize },
    /// What follows are so many spans whose parent is not there.
    Orphans(usize),
}

/// Branches are drawn so deep; below, names stay in their column.
const DEEPEST: usize = 24;
/// How many children of a span are shown when there are too many spans, tried in this order.
const CHILDREN: [usize; 7] = [100, 50, 20, 10, 5, 3, 1];

/// Who is below whom.
#[derive(Debug)]
struct Tree {
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    orphans: Vec<usize>,
    /// Spans and errors at and below each.
    weights: Vec<(usize, usize)>,
}

/// The rows of a trace, about `limit` at most.
pub(super) fn rows(spans: &[Span], limit: usize) -> Vec<Row> {
    let tree = Tree::new(spans);
    if spans.len() <= limit {
        return tree.rows(usize::MAX, usize::MAX);
    }
    // Gathering alone may not do (a long chain): then the rows end somewhere.
    let fewer = CHILDREN.iter().map(|most| tree.rows(*most, usize::MAX)).find(|rows| rows.len() <= limit);
    fewer.unwrap_or_else(|| tree.rows(1, limit))
}

impl Tree {
    fn new(spans: &[Span]) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(spans.len());
        for (place, span) in spans.iter().enumerate() {
            // Zipkin's client and server share an ID: what follows belongs to the server.
            let known = places.entry(&span.id).or_insert(place);
            if span.is_server && !spans[*known].is_server {
                *known = place;
            }
        }
        let mut tree = Self {
            children: vec![Vec::new(); spans.len()],
            roots: Vec::new(),
            orphans: Vec::new(),
            weights: vec![(0, 0); spans.len()],
        };
        for (place, span) in spans.iter().enumerate() {
            match places.get(span.parent.as_str()) {
                _ if span.parent.is_empty() => tree.roots.push(place),
                Some(parent) if *parent != place => tree.children[*parent].push(place),
                _ => tree.orphans.push(place),
            }
        }
        let by_time = |place: &usize| (spans[*place].start, Reverse(spans[*place].end), *place);
        for list in tree.children.iter_mut().chain([&mut tree.roots, &mut tree.orphans]) {
            list.sort_by_key(by_time);
        }
        tree.open_circles(spans);
        tree.weigh(spans);
        tree
    }

    /// Spans that are below each other reach no root: the earliest of each circle is treated as an orphan.
    fn open_circles(&mut self, spans: &[Span]) {
        let mut reached = vec![false; spans.len()];
        for top in self.roots.iter().chain(&self.orphans) {
            reach(&self.children, *top, &mut reached);
        }
        if reached.iter().all(|reached| *reached) {
            return;
        }
        let mut left: Vec<usize> = (0..spans.len()).filter(|place| !reached[*place]).collect();
        left.sort_by_key(|place| spans[*place].start);
        for place in left {
            if !reached[place] {
                for list in &mut self.children {
                    list.retain(|child| *child != place);
                }
                self.orphans.push(place);
                reach(&self.children, place, &mut reached);
            }
        }
    }

    fn weigh(&mut self, spans: &[Span]) {
        let mut order = Vec::with_capacity(spans.len());
        let mut waiting: Vec<usize> = self.roots.iter().chain(&self.orphans).copied().collect();
        while let Some(place) = waiting.pop() {
            order.push(place);
            waiting.extend(&self.children[place]);
        }
        // Children stand behind their parents, so from the back everything below is known.
        for place in order.into_iter().rev() {
            let (mut count, mut errors) = (1, usize::from(spans[place].is_error));
            for child in &self.children[place] {
                count += self.weights[*child].0;
                errors += self.weights[*child].1;
            }
            self.weights[place] = (count, errors);
        }
    }

    fn weight(&self, places: &[usize]) -> (usize, usize) {
        places.iter().fold((0, 0), |(spans, errors), place| {
            let (s, e) = self.weights[*place];
            (spans + s, errors + e)
        })
    }

    /// Which of a span's children are shown, and which are not: those with errors first, then the earliest.
    fn choose(&self, places: &[usize], most: usize) -> (Vec<usize>, Vec<usize>) {
        if places.len() <= most {
            return (places.to_vec(), Vec::new());
        }
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|at| self.weights[places[*at]].1 == 0);
        let (mut shown, mut hidden) = (order[..most].to_vec(), order[most..].to_vec());
        shown.sort_unstable();
        hidden.sort_unstable();
        let places_of = |list: Vec<usize>| list.into_iter().map(|at| places[at]).collect();
        (places_of(shown), places_of(hidden))
    }

    fn rows(&self, children: usize, limit: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        self.grow(&self.roots, children, limit, &mut rows);
        if !self.orphans.is_empty() {
            let (spans, _) = self.weight(&self.orphans);
            rows.push(Row { branch: String::new(), rails: String::new(), what: What::Orphans(spans) });
            self.grow(&self.orphans, children, limit, &mut rows);
        }
        rows
    }

    /// Adds the rows of spans and of everything below them.
    fn grow(&self, tops: &[usize], children: usize, limit: usize, rows: &mut Vec<Row>) {
        let mut waiting: Vec<(Row, usize)> = Vec::new();
        self.push(tops, "", 0, children, &mut waiting);
        while let Some((row, depth)) = waiting.pop() {
            if rows.len() >= limit {
                // What waits, and all below it, in one row.
                let rest =
                    waiting.iter().map(|(row, _)| row).chain([&row]).fold((0, 0), |(spans, errors), row| {
                        let (s, e) = match row.what {
                            What::Span(place) => self.weights[place],
                            What::Gathered { spans, errors } => (spans, errors),
                            What::Orphans(_) => (0, 0),
                        };
                        (spans + s, errors + e)
                    });
                let what = What::Gathered { spans: rest.0, errors: rest.1 };
                rows.push(Row { branch: String::new(), rails: String::new(), what });
                return;
            }
            if let What::Span(place) = row.what {
                self.push(&self.children[place], &row.rails, depth + 1, children, &mut waiting);
            }
            rows.push(row);
        }
    }

    /// Puts siblings on the stack, the last one first.
    fn push(
        &self,
        places: &[usize],
        rails: &str,
        depth: usize,
        most: usize,
        waiting: &mut Vec<(Row, usize)>,
    ) {
        let (shown, hidden) = self.choose(places, most);
        let count = shown.len() + usize::from(!hidden.is_empty());
        let row = |at: usize, what: What| {
            let last = at + 1 == count;
            let (turn, below) = match depth {
                0 => ("", ""),
                1..=DEEPEST => (if last { "└ " } else { "├ " }, if last { "  " } else { "│ " }),
                _ => ("» ", ""),
            };
            (Row { branch: format!("{rails}{turn}"), rails: format!("{rails}{below}"), what }, depth)
        };
        if !hidden.is_empty() {
            let (spans, errors) = self.weight(&hidden);
            waiting.push(row(count - 1, What::Gathered { spans, errors }));
        }
        waiting.extend(shown.iter().enumerate().rev().map(|(at, place)| row(at, What::Span(*place))));
    }
}

fn reach(children: &[Vec<usize>], top: usize, reached: &mut [bool]) {
    let mut waiting = vec![top];
    while let Some(place) = waiting.pop() {
        if !std::mem::replace(&mut reached[place], true) {
            waiting.extend(&children[place]);
        }
    }
}

#[cfg(test)]
mod tests;
