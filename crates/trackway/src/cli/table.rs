//! Draws the traces that a search found.

use serde_json::Value;

use super::ask::{list, number, text};
use super::term::{Ink, Look, cells, clean, cut, left, right, thousands};
use super::time::{show_duration, show_time};

const GAP: &str = "  ";
const HEAD: [&str; 7] = ["TRACE ID", "START (UTC)", "DURATION", "SERVICE", "NAME", "MATCHED", "ERRORS"];
const DURATION: usize = 2;
const SERVICE: usize = 3;
const NAME: usize = 4;
const MATCHED: usize = 5;
const ERRORS: usize = 6;
/// The least cells that a service and a name get on a narrow terminal.
const LEAST: usize = 8;

/// A trace that was found, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    cells: [String; HEAD.len()],
    has_errors: bool,
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
    let cells = [
        // Whole, as it stands in logs; the API leaves zeros at the front out.
        format!("{:0>32}", clean(text(trace, "traceID"))),
        show_time(start, false),
        duration,
        clean(text(trace, "rootServiceName")),
        clean(text(trace, "rootTraceName")),
        if sets.is_empty() { "-".to_owned() } else { thousands(matched) },
        errors.map_or_else(|| "-".to_owned(), thousands),
    ];
    Found { cells, has_errors: errors.is_some_and(|errors| errors > 0) }
}

/// The table, a line for each.
pub(super) fn draw(found: &[Found], look: Look) -> String {
    let mut widths = HEAD.map(cells);
    for row in found {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cells(cell));
        }
    }
    if look.fit {
        fit(&mut widths, look.width);
    }
    let head = HEAD.map(str::to_owned);
    let mut out = line(&head, &widths, |_| Ink::Bold, look);
    for row in found {
        let ink = |column| match column {
            DURATION | SERVICE | NAME | MATCHED => Ink::Plain,
            ERRORS if row.has_errors => Ink::Red,
            0 => Ink::Nth(0),
            _ => Ink::Dim,
        };
        out.push_str(&line(&row.cells, &widths, ink, look));
    }
    out
}

/// Takes cells from names, then from services, until a line fits.
fn fit(widths: &mut [usize; HEAD.len()], width: usize) {
    let wanted = widths.iter().sum::<usize>() + GAP.len() * (HEAD.len() - 1);
    let mut over = wanted.saturating_sub(width);
    for column in [NAME, SERVICE] {
        let taken = over.min(widths[column].saturating_sub(LEAST));
        widths[column] -= taken;
        over -= taken;
    }
}

fn line(row: &[String; HEAD.len()], widths: &[usize; HEAD.len()], ink: impl Fn(usize) -> Ink, look: Look) -> String {
    let mut out = String::new();
    for (column, (text, width)) in row.iter().zip(widths).enumerate() {
        let text = cut(text, *width);
        let padded = match column {
            DURATION | MATCHED | ERRORS => right(&text, *width),
            _ => left(&text, *width),
        };
        if column > 0 {
            out.push_str(GAP);
        }
        out.push_str(&look.paint(ink(column), &padded));
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
TRACE ID                          START (UTC)          DURATION  SERVICE                NAME      MATCHED  ERRORS
00000000000000000000000000005f1c  2026-05-01 14:00:00    1.55 s  checkout               POST /c…        3       2
a0000000000000000000000000000065  2026-05-01 13:59:59     <1 ms  注文                                   -       0
00000000000000000000000000000001  1970-01-01 00:00:00     <1 ms  <root span not yet r…              1,234       -
";
        let drawn = draw(&rows(&answer()), look);
        assert_eq!(drawn, want);
        assert!(drawn.lines().all(|line| cells(line) == 112));
    }

    #[test]
    fn errors_are_red() {
        let look = Look { colour: true, width: 80, fit: false };
        let drawn = draw(&rows(&answer())[..1], look);
        assert!(drawn.ends_with("\x1b[31m     2\x1b[0m\n"), "{drawn:?}");
    }
}
