//! Draws a trace: a line for each span with its service, its name in the tree, a bar where it was in time, and how long
//! it took.

use super::term::{Ink, Look, cells, count, cut, left, right};
use super::time::{show_duration, show_time};
use super::tree::{Row, Span, What, rows};

const GAP: &str = "  ";
/// Cells for a duration, and before it the mark of an error.
const DURATION: usize = 9;
const WIDEST_SERVICE: usize = 20;
const NARROWEST_NAME: usize = 16;
const NARROWEST_BAR: usize = 12;

/// What has to be known for every line.
#[derive(Debug)]
struct Drawing<'a> {
    spans: &'a [Span],
    look: Look,
    /// Services in order of their first span: gives them their colours.
    services: Vec<&'a str>,
    from: u64,
    to: u64,
    service: usize,
    name: usize,
    bar: usize,
}

/// A trace in about `limit` rows at most, and how many spans have a row.
pub(super) fn draw(id: &str, spans: &[Span], limit: usize, look: Look) -> (String, usize) {
    let rows = rows(spans, limit);
    let drawing = Drawing::new(spans, &rows, look);
    let mut out = drawing.title(id);
    out.push_str(&drawing.head());
    let mut shown = 0;
    for row in &rows {
        match &row.what {
            What::Span(place) => {
                shown += 1;
                out.push_str(&drawing.span(row, &spans[*place]));
            }
            What::Gathered { spans, errors } => out.push_str(&drawing.gathered(row, *spans, *errors)),
            What::Orphans(spans) => out.push_str(&drawing.orphans(*spans)),
        }
    }
    (out, shown)
}

impl<'a> Drawing<'a> {
    fn new(spans: &'a [Span], rows: &[Row], look: Look) -> Self {
        let from = spans.iter().map(|span| span.start).min().unwrap_or_default();
        let to = spans.iter().map(|span| span.end).max().unwrap_or_default();
        let mut services: Vec<&str> = Vec::new();
        let (mut service, mut name) = (cells("SERVICE"), cells("SPAN"));
        for row in rows {
            let What::Span(place) = row.what else { continue };
            let span = &spans[place];
            if !services.contains(&span.service.as_str()) {
                services.push(&span.service);
            }
            service = service.max(cells(&span.service));
            name = name.max(cells(&row.branch) + cells(&span.name));
        }
        let service = service.min(WIDEST_SERVICE);
        let others = service + DURATION + 3 * GAP.len();
        let room = look.width.saturating_sub(others);
        // Names say more than bars: two thirds, unless the bars would be too short to see anything.
        let most = (room * 2 / 3).min(room.saturating_sub(NARROWEST_BAR)).max(NARROWEST_NAME);
        let name = name.min(most);
        let bar = room.saturating_sub(name).max(NARROWEST_BAR);
        Self { spans, look, services, from, to, service, name, bar }
    }

    fn title(&self, id: &str) -> String {
        let errors = self.spans.iter().filter(|span| span.is_error).count();
        let mut services: Vec<&str> = self.spans.iter().map(|span| span.service.as_str()).collect();
        services.sort_unstable();
        services.dedup();
        let facts = [
            format!("{} UTC", show_time(self.from, true)),
            show_duration(self.to - self.from),
            count(self.spans.len() as u64, "span", "spans"),
            count(services.len() as u64, "service", "services"),
        ];
        let failed = if errors == 0 {
            "no errors".to_owned()
        } else {
            self.look.paint(Ink::Red, &count(errors as u64, "error", "errors"))
        };
        format!("{}\n{}, {failed}\n\n", self.look.paint(Ink::Bold, &format!("trace {id}")), facts.join(", "))
    }

    fn head(&self) -> String {
        let total = self.to - self.from;
        let (half, end) = (show_duration(total / 2), show_duration(total));
        let middle = self.bar / 2;
        let mut axis = left("0", middle);
        if middle + cells(&half) + GAP.len() + cells(&end) <= self.bar && total > 1 {
            axis.push_str(&half);
        }
        let rest = self.bar - cells(&axis);
        let axis = format!("{axis}{}", right(&end, rest));
        let line =
            [left("SERVICE", self.service), left("SPAN", self.name), axis, right("DURATION", DURATION)];
        format!("{}\n", self.look.paint(Ink::Bold, &line.join(GAP)))
    }

    fn span(&self, row: &Row, span: &Span) -> String {
        let nth = self.services.iter().position(|service| *service == span.service).unwrap_or_default();
        let own = Ink::Nth(nth);
        let (name, bar) = if span.is_error { (Ink::Red, Ink::Red) } else { (Ink::Plain, own) };
        let service = left(&cut(&span.service, self.service), self.service);
        let room = self.name.saturating_sub(cells(&row.branch)).max(1);
        let branch = cut(&row.branch, self.name.saturating_sub(1));
        let text = cut(&span.name, room);
        let filler = " ".repeat(self.name.saturating_sub(cells(&branch) + cells(&text)));
        let took = show_duration(span.end - span.start);
        // The mark tells without colours what failed.
        let took = if span.is_error { format!("! {took}") } else { took };
        let mut out = [
            self.look.paint(own, &service),
            format!("{}{}{filler}", self.look.paint(Ink::Dim, &branch), self.look.paint(name, &text)),
            self.look.paint(bar, &self.bar(span)),
            self.look.paint(name, &right(&took, DURATION)),
        ]
        .join(GAP);
        out.push('\n');
        for note in &span.notes {
            let ink = if span.is_error { Ink::Red } else { Ink::Dim };
            out.push_str(&self.below(&row.rails, &format!("  ! {note}"), ink));
        }
        out
    }

    /// A line that is no span.
    fn below(&self, rails: &str, text: &str, ink: Ink) -> String {
        let rails = cut(rails, self.name.saturating_sub(1));
        let before = self.service + GAP.len();
        let room = self.look.width.saturating_sub(before + cells(&rails)).max(NARROWEST_NAME);
        let text = if self.look.fit { cut(text, room) } else { text.to_owned() };
        format!(
            "{}{}{}\n",
            " ".repeat(before),
            self.look.paint(Ink::Dim, &rails),
            self.look.paint(ink, &text)
        )
    }

    fn gathered(&self, row: &Row, spans: usize, errors: usize) -> String {
        let mut text = format!("… {}", count(spans as u64, "more span", "more spans"));
        if errors > 0 {
            text.push_str(&format!(", {}", count(errors as u64, "error", "errors")));
        }
        self.below(&row.branch, &text, if errors > 0 { Ink::Red } else { Ink::Dim })
    }

    fn orphans(&self, spans: usize) -> String {
        let text = if spans == 1 {
            "a span whose parent is missing (not sent, or not yet received):".to_owned()
        } else {
            format!(
                "{} below parents that are missing (not sent, or not yet received):",
                count(spans as u64, "span", "spans")
            )
        };
        format!("\n{}\n", self.look.paint(Ink::Dim, &text))
    }

    /// The bar of a span; a thin line for one that is shorter than half a cell.
    fn bar(&self, span: &Span) -> String {
        let width = self.bar as u128;
        let total = u128::from(self.to - self.from).max(1);
        let (start, end) = (u128::from(span.start - self.from), u128::from(span.end - self.from));
        let first = (start * width / total).min(width - 1);
        let thin = (end - start) * width * 2 < total;
        let last = if thin { first + 1 } else { (end * width).div_ceil(total).clamp(first + 1, width) };
        let (first, last) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(self.bar));
        let ink = if thin { "▏" } else { "█" };
        left(&format!("{}{}", " ".repeat(first), ink.repeat(last - first)), self.bar)
    }
}

#[cfg(test)]
mod tests;
