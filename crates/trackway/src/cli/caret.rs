//! Shows where a query is wrong.

use super::term::{cells, clean};

/// What is before the position in the text of an error that has one.
const POSITION: &str = "parse error at line ";
/// What the API puts before every error of a query.
const PREFIX: &str = "invalid TraceQL query: ";

/// The API's text of an error about a query; with the line of the query and a caret below it, if it says where.
pub(super) fn explain(query: &str, text: &str) -> String {
    let message = text.strip_prefix(PREFIX).unwrap_or(text);
    let mut out = match position(message) {
        Some((line, column)) => match query.lines().nth(line - 1) {
            Some(line) => {
                let before: String = line.chars().take(column - 1).collect();
                // One after the end is where a query that breaks off is wrong.
                let gap = cells(&clean(&before)) + (column - 1).saturating_sub(line.chars().count()).min(1);
                format!("{}\n{}^\n{}", clean(line), " ".repeat(gap), clean(message))
            }
            None => clean(message),
        },
        None => clean(message),
    };
    if !query.contains('{') {
        out.push_str("\nhint: spans are asked for in braces, as in '{ status = error }'");
    }
    out
}

/// Line and column, both from 1.
fn position(message: &str) -> Option<(usize, usize)> {
    let rest = message.split_once(POSITION)?.1;
    let (line, rest) = rest.split_once(", col ")?;
    let column = rest.split_once(':').map_or(rest, |(column, _)| column);
    let (line, column) = (line.parse().ok()?, column.trim().parse().ok()?);
    (line > 0 && column > 0).then_some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_column() {
        let text =
            "invalid TraceQL query: parse error at line 1, col 12: syntax error: unexpected IDENTIFIER";
        assert_eq!(
            explain("{ status = eror }", text),
            "{ status = eror }\n           ^\nparse error at line 1, col 12: syntax error: unexpected IDENTIFIER"
        );
    }

    #[test]
    fn columns_are_characters_and_cells_may_be_more() {
        let text = "invalid TraceQL query: parse error at line 2, col 9: syntax error: unexpected }";
        assert_eq!(
            explain("{ .a = 1 }\n\t.b=\"注文\" }", text),
            " .b=\"注文\" }\n         ^\nparse error at line 2, col 9: syntax error: unexpected }"
                .replace("         ^", "          ^")
        );
    }

    #[test]
    fn the_end_of_a_query_and_places_that_are_not_there() {
        let end = "invalid TraceQL query: parse error at line 1, col 9: syntax error: unexpected $end";
        assert!(explain("{ .a = 1", end).starts_with("{ .a = 1\n        ^\n"));
        let beyond = "parse error at line 3, col 1: x";
        assert_eq!(explain("{ }", beyond), beyond);
        assert_eq!(explain("{}", "limit 9 exceeds max limit 5"), "limit 9 exceeds max limit 5");
        let bare = "invalid TraceQL query: parse error at line 1, col 1: syntax error: unexpected status";
        assert!(
            explain("status = error", bare)
                .ends_with("hint: spans are asked for in braces, as in '{ status = error }'")
        );
    }
}
