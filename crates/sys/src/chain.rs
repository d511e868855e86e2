//! An error and its causes in one line.

/// The longest text, in bytes: some errors quote what they were given, which may be megabytes.
pub const LONGEST: usize = 4096;

/// An error and its causes in one line; a cause whose words stand there already is left out. Nothing in it is for a
/// terminal to obey: it may quote a stranger's file.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_an_error() {
        let error = std::io::Error::other("read \u{1b}[2Ja\r\u{9b}31m:\n  | ^");
        assert_eq!(chain(&error), "read ?[2Ja??31m:\n  | ^");
    }
}
