//! Draws the traces that a search found.

use serde_json::Value;

use super::ask::{list, number, text};
use super::term::{Ink, Look, cells, clean, cut, left, right, thousands};
use super::time::{show_duration, show_time};

const GAP: &str = "  ";
/// The least cells that a service and a name get on a narrow terminal.
const LEAST: usize = 8;

/// A trace that was found, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    id: String,
    start: String,
    duration: String,
    service: String,
    name: String,
    matched: String,
    errors: String,
    has_errors: bool,
}

impl Found {
    /// Month to minute.
    fn short_start(&self) -> &str {
        self.start.get("2026-".len().."2026-05-01 14:00".len()).unwrap_or_default()
    }
}

/// A column: what it shows of a trace, and how.
struct Column {
    head: &'static str,
    text: fn(&Found) -> &str,
    ink: fn(&Found) -> Ink,
    /// Numbers stand right.
    right: bool,
    /// Whether it may be cut.
    cut: bool,
}

/// The traces of an answer of `/api/search`.
pub(super) fn rows(answer: &Value) -> Vec<Found> {
    list(answer, "traces").iter().map(row).collect()
}

fn row(trace: &Value) -> Found {
    let start = trace.get("startTimeUnixNano").and_then(number).unwrap_or_default();
    let duration = match trace.get("durationMs").and_then(number) {
        // Protobuf leaves a zero out.
        None | Some(0) => "<1 ms".to_owned(),
        Some(millis) => show_duration(millis.saturating_mul(1_000_000)),
    };
    let mut sets = list(trace, "spanSets");
    if sets.is_empty() {
        sets = trace.get("spanSet").map(std::slice::from_ref).unwrap_or_default();
    }
    let matched: u64 = sets.iter().filter_map(|set| set.get("matched").and_then(number)).sum();
    let stats = trace.get("serviceStats").and_then(Value::as_object);
    let errors = stats.map(|services| {
        services.values().filter_map(|service| service.get("errorCount").and_then(number)).sum::<u64>()
    });
    Found {
        // Whole, as it stands in logs; the API leaves zeros at the front out.
        id: format!("{:0>32}", clean(text(trace, "traceID"))),
        start: show_time(start, false),
        duration,
        service: clean(text(trace, "rootServiceName")),
        name: clean(text(trace, "rootTraceName")),
        matched: if sets.is_empty() { "-".to_owned() } else { thousands(matched) },
        errors: errors.map_or_else(|| "-".to_owned(), thousands),
        has_errors: errors.is_some_and(|errors| errors > 0),
    }
}

/// The columns; on a narrow terminal those without which one can do give way to names.
fn columns(narrow: bool) -> Vec<Column> {
    let plain = |_: &Found| Ink::Plain;
    let dim = |_: &Found| Ink::Dim;
    let red = |found: &Found| if found.has_errors { Ink::Red } else { Ink::Dim };
    let column = |head, text, ink| Column { head, text, ink, right: false, cut: false };
    let mut columns = vec![
        column("TRACE ID", |found| &found.id, |_| Ink::Nth(0)),
        column("START (UTC)", if narrow { Found::short_start } else { |found| &found.start }, dim),
        Column { right: true, ..column("DURATION", |found| &found.duration, plain) },
        Column { cut: true, ..column("SERVICE", |found| &found.service, plain) },
        Column { cut: true, ..column("NAME", |found| &found.name, plain) },
    ];
    if !narrow {
        columns.push(Column { right: true, ..column("MATCHED", |found| &found.matched, plain) });
    }
    let errors = if narrow { "ERR" } else { "ERRORS" };
    columns.push(Column { right: true, ..column(errors, |found| &found.errors, red) });
    columns
}

/// The table, a line for each.
pub(super) fn draw(found: &[Found], look: Look) -> String {
    let mut columns = columns(false);
    let mut widths = widths(&columns, found);
    if look.fit && !fit(&columns, &mut widths, look.width) {
        columns = self::columns(true);
        widths = self::widths(&columns, found);
        fit(&columns, &mut widths, look.width);
    }
    let mut out = line(&columns, &widths, |column| (column.head, Ink::Bold), look);
    for row in found {
        out.push_str(&line(&columns, &widths, |column| ((column.text)(row), (column.ink)(row)), look));
    }
    out
}

fn widths(columns: &[Column], found: &[Found]) -> Vec<usize> {
    let widest =
        |column: &Column| found.iter().map(|row| cells((column.text)(row))).max().unwrap_or_default();
    columns.iter().map(|column| widest(column).max(cells(column.head))).collect()
}

/// Takes cells from names, then from services, until a line fits; whether it does.
fn fit(columns: &[Column], widths: &mut [usize], width: usize) -> bool {
    let wanted = widths.iter().sum::<usize>() + GAP.len() * (columns.len() - 1);
    let mut over = wanted.saturating_sub(width);
    for (column, cells) in columns.iter().zip(widths).rev().filter(|(column, _)| column.cut) {
        let least = LEAST.max(column.head.len());
        let taken = over.min(cells.saturating_sub(least));
        *cells -= taken;
        over -= taken;
    }
    over == 0
}

fn line<'a>(
    columns: &[Column],
    widths: &[usize],
    show: impl Fn(&Column) -> (&'a str, Ink),
    look: Look,
) -> String {
    let mut out = String::new();
    for (place, (column, width)) in columns.iter().zip(widths).enumerate() {
        let (text, ink) = show(column);
        let text = cut(text, *width);
        let padded = if column.right { right(&text, *width) } else { left(&text, *width) };
        if place > 0 {
            out.push_str(GAP);
        }
        out.push_str(&look.paint(ink, &padded));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({"traces": [
            {
                "traceID": "5f1c", "rootServiceName": "checkout", "rootTraceName": "POST /checkout",
                "startTimeUnixNano": "1777644000000000000", "durationMs": 1557,
                "spanSet": {"matched": 2}, "spanSets": [{"matched": 2}, {"matched": 1}],
                "serviceStats": {"checkout": {"spanCount": 5, "errorCount": 2}, "db": {"spanCount": 1}}
            },
            {
                "traceID": "a0000000000000000000000000000065", "rootServiceName": "注文",
                "startTimeUnixNano": "1777643999000000000", "serviceStats": {"注文": {"spanCount": 1}}
            },
            {"traceID": "1", "rootServiceName": "<root span not yet received>", "spanSet": {"matched": 1234}}
        ]})
    }

    #[test]
    fn a_table_is_aligned_by_cells() {
        let look = Look { colour: false, width: 80, fit: false };
        let want = "\
TRACE ID                          START (UTC)          DURATION  SERVICE                       NAME            MATCHED  ERRORS
00000000000000000000000000005f1c  2026-05-01 14:00:00    1.55 s  checkout                      POST /checkout        3       2
a0000000000000000000000000000065  2026-05-01 13:59:59     <1 ms  注文                                                -       0
00000000000000000000000000000001  1970-01-01 00:00:00     <1 ms  <root span not yet received>                    1,234       -
";
        assert_eq!(draw(&rows(&answer()), look), want);
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let look = Look { colour: false, width: 112, fit: true };
        let want = "\
TRACE ID                          START (UTC)          DURATION  SERVICE               NAME      MATCHED  ERRORS
00000000000000000000000000005f1c  2026-05-01 14:00:00    1.55 s  checkout              POST /c…        3       2
a0000000000000000000000000000065  2026-05-01 13:59:59     <1 ms  注文                                  -       0
00000000000000000000000000000001  1970-01-01 00:00:00     <1 ms  <root span not yet …              1,234       -
";
        let drawn = draw(&rows(&answer()), look);
        assert_eq!(drawn, want);
        assert!(drawn.lines().all(|line| cells(line) == 112));
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns() {
        let look = Look { colour: false, width: 80, fit: true };
        let want = "\
TRACE ID                          START (UTC)  DURATION  SERVICE   NAME      ERR
00000000000000000000000000005f1c  05-01 14:00    1.55 s  checkout  POST /c…    2
a0000000000000000000000000000065  05-01 13:59     <1 ms  注文                  0
00000000000000000000000000000001  01-01 00:00     <1 ms  <root s…              -
";
        assert_eq!(draw(&rows(&answer()), look), want);
    }

    #[test]
    fn errors_are_red() {
        let look = Look { colour: true, width: 80, fit: false };
        let drawn = draw(&rows(&answer())[..1], look);
        assert!(drawn.ends_with("\x1b[31m     2\x1b[0m\n"), "{drawn:?}");
    }
}
