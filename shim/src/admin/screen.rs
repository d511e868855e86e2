//! The output for people: lines, tables, bars. Colours and bars are for a terminal only.

use std::io::{self, IsTerminal};

use crate::output::say;

/// How a line is emphasised (ECMA-48: SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// The head of a table.
    Bold,
    /// A good value.
    Green,
    /// A value that needs attention soon.
    Yellow,
    /// A value that needs attention now.
    Red,
}

impl Colour {
    /// The style of a value in percent: from 80 % a warning, from 90 % new containers are refused.
    #[must_use]
    pub fn of_fill(percent: u8) -> Option<Self> {
        match percent {
            90.. => Some(Self::Red),
            80.. => Some(Self::Yellow),
            _ => None,
        }
    }

    /// `text` in this colour.
    #[must_use]
    pub fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Bold => "1",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text, without the end of line.
    pub text: String,
    /// The emphasis, if the line has one.
    pub colour: Option<Colour>,
}

impl Line {
    /// A line in the terminal's own colours.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: None }
    }

    /// The first `columns` characters as they are printed. Names and reasons may come from others, so characters that
    /// control a terminal are replaced.
    #[must_use]
    pub fn cut(&self, columns: usize, screen: Screen) -> String {
        let shown = |c: char| if c.is_control() { '?' } else { c };
        let text: String = self.text.chars().take(columns).map(shown).collect();
        match self.colour {
            Some(colour) if screen.coloured => colour.paint(&text),
            _ => text,
        }
    }
}

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Bars, and output that is drawn again at the same place.
    pub terminal: bool,
    /// Colours.
    pub coloured: bool,
}

impl Screen {
    /// Neither bars nor colours: a file or a pipe.
    #[cfg(test)]
    pub const NONE: Self = Self { terminal: false, coloured: false };

    /// The abilities of this process's standard output. A user who sets `NO_COLOR` wants no colours
    /// (<https://no-color.org>).
    #[must_use]
    pub fn here() -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { terminal, coloured: terminal && !unwanted }
    }

    /// A bar of 20 columns and a space; empty if standard output is not a terminal.
    #[must_use]
    pub fn bar(self, percent: u8) -> String {
        if !self.terminal {
            return String::new();
        }
        let full = usize::from(percent.min(100) / 5);
        format!("[{}{}] ", "#".repeat(full), "-".repeat(20 - full))
    }

    /// Prints these lines.
    pub fn print(self, lines: &[Line]) {
        lines.iter().for_each(|line| say!("{}", line.cut(usize::MAX, self)));
    }
}

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// To the left.
    Text(&'static str),
    /// To the right.
    Figure(&'static str),
}

/// A head and rows. Each column is as wide as its widest cell.
#[must_use]
pub fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> Vec<Line> {
    let head = columns.map(|(Column::Text(name) | Column::Figure(name))| name.to_owned());
    let all = || std::iter::once(&head).chain(rows);
    let width = |at: usize| all().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells =
            row.iter().zip(widths).zip(columns).map(|((cell, width), column)| match column {
                Column::Text(_) => format!("{cell:<width$}"),
                Column::Figure(_) => format!("{cell:>width$}"),
            });
        Line::plain(cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut lines: Vec<_> = all().map(line).collect();
    lines[0].colour = Some(Colour::Bold);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Screen = Screen { terminal: true, coloured: true };

    #[test]
    fn a_table_is_aligned() {
        let cells = |a: &str, b: &str, c: &str| [a, b, c].map(str::to_owned);
        let rows = [cells("redis", "9", "x"), cells("a-longer-name", "10", "")];
        let columns = [Column::Text("IMAGE"), Column::Figure("SHARED"), Column::Text("NOTE")];
        let lines = table(columns, &rows);
        let text: Vec<_> = lines.iter().map(|line| line.cut(usize::MAX, Screen::NONE)).collect();
        let expected =
            ["IMAGE          SHARED  NOTE", "redis               9  x", "a-longer-name      10"];
        assert_eq!(text, expected);
        assert_eq!(lines[0].cut(5, TERMINAL), "\x1b[1mIMAGE\x1b[0m", "the cut counts no colour");
        assert_eq!(Line::plain("a\u{1b}[2J\u{9b}b").cut(usize::MAX, TERMINAL), "a?[2J?b");
    }

    #[test]
    fn a_bar_is_for_a_terminal() {
        assert_eq!(TERMINAL.bar(0), format!("[{}] ", "-".repeat(20)));
        assert_eq!(TERMINAL.bar(52), format!("[{}{}] ", "#".repeat(10), "-".repeat(10)));
        assert_eq!(TERMINAL.bar(255), format!("[{}] ", "#".repeat(20)));
        assert_eq!(Screen::NONE.bar(52), "");
        let full = |percent| Colour::of_fill(percent);
        assert_eq!([79, 80, 89].map(full), [None, Some(Colour::Yellow), Some(Colour::Yellow)]);
        assert_eq!([90, 101].map(full), [Some(Colour::Red); 2]);
    }
}
