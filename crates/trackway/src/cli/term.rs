//! What a terminal shows: its width, colours, and texts cut and padded by the cells that they take.
//!
//! What must stay true: nothing that came from a span reaches a terminal with its control characters; they could move
//! the cursor, or worse.

use std::io::IsTerminal;

/// The least and most cells that a line may have.
const NARROWEST: usize = 60;
const WIDEST: usize = 1000;

/// How to show things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether colours are wanted.
    pub(super) colour: bool,
    /// Cells in a line.
    pub(super) width: usize,
    /// Whether lines must fit into that.
    pub(super) fit: bool,
}

/// Colours, by their numbers in ANSI's escape sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Bold,
    Dim,
    Red,
    /// One of some that are not red, for telling services apart.
    Nth(usize),
}

impl Look {
    /// What standard output can show.
    pub(super) fn of_stdout() -> Self {
        #[allow(clippy::disallowed_methods)] // a convention of terminals, not a setting of Trackway
        let refused = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        Self { colour: terminal && !refused, width: terminal_width(), fit: terminal }
    }

    /// A text in a colour, if colours are wanted.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        const SERVICES: [u8; 5] = [36, 32, 34, 35, 33];
        let code = match ink {
            Ink::Plain => 0,
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Red => 31,
            Ink::Nth(n) => SERVICES[n % SERVICES.len()],
        };
        if !self.colour || code == 0 || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Cells in a line of the terminal; `COLUMNS`, or else 100, where there is none.
///
/// Clap knows (it asks the system, then `COLUMNS`, then takes 100) but does not tell; it does wrap the text of a help to
/// the width, which can be measured. That spares a dependency for one number.
fn terminal_width() -> usize {
    let about = "x ".repeat(WIDEST / 2);
    let command = clap::Command::new("w").max_term_width(0).help_template("{about}").about(about);
    let help = command.clone().render_help().to_string();
    // A line ends in a word, so that of an even width one cell stays empty.
    let longest = help.lines().map(str::len).max().unwrap_or(100) + 1;
    longest.clamp(NARROWEST, WIDEST)
}

/// A text without what would confuse a terminal or a table: control characters become spaces.
pub(super) fn clean(text: &str) -> String {
    // Marks that turn the direction of writing around them count as well.
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { ' ' } else { c }).collect()
}

/// How many cells a text takes.
pub(super) fn cells(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

/// How many cells a character takes: East Asian and emoji two, combining marks none.
fn cells_of(c: char) -> usize {
    match c as u32 {
        0..0x20 | 0x7f..0xa0 => 0,
        0x20..0x300 => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f => 0,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x200b..=0x200f | 0x2060..=0x2064 => 0,
        0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f | 0xfeff | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f | 0x231a..=0x231b | 0x23e9..=0x23ec | 0x2e80..=0x303e => 2,
        0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xa000..=0xa4cf => 2,
        0xa960..=0xa97f | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f680..=0x1f6ff => 2,
        0x1f900..=0x1f9ff | 0x1fa70..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A text of at most so many cells; `…` stands for what was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if cells(text) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += cells_of(c);
        if taken > most {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// A text with spaces after it.
pub(super) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(cells(text))))
}

/// A text with spaces before it.
pub(super) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(cells(text))))
}

/// `1 span`, `2 spans`, `12,345 spans`
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// `12,345`
pub(super) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_measured_in_cells() {
        for (text, width) in
            [("abc", 3), ("größe", 5), ("e\u{301}", 1), ("注文", 4), ("🛒x", 3), ("", 0), ("│└", 2)]
        {
            assert_eq!(cells(text), width, "{text}");
        }
        assert_eq!(cut("checkout", 8), "checkout");
        assert_eq!(cut("checkout", 5), "chec…");
        assert_eq!(cut("注文処理", 6), "注文…");
        assert_eq!(left("注文", 6), "注文  ");
        assert_eq!(right("5", 3), "  5");
        assert_eq!(count(1, "span", "spans"), "1 span");
        assert_eq!(count(12_345, "span", "spans"), "12,345 spans");
    }

    #[test]
    fn a_span_cannot_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d\u{9b}e"), "a [2Jb c d e");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let look = |colour| Look { colour, width: 80, fit: true };
        assert_eq!(look(true).paint(Ink::Red, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(look(false).paint(Ink::Red, "x"), "x");
        assert_eq!(look(true).paint(Ink::Plain, "x"), "x");
        assert!((NARROWEST..=WIDEST).contains(&terminal_width()));
    }
}
