//! An error and its causes in one line, for a person.

use std::io;

/// The longest text of [`chain`], in bytes: some errors quote what they were given, which may be megabytes.
pub const LONGEST: usize = 4096;

/// Names that libraries give to a cause in general. The cause itself follows (`io error: No such file or directory`).
const GENERAL: [&str; 2] = ["io error", "nix error"];

/// What separates an error from its cause.
const THEN: &str = ": ";

/// What Rust's standard library writes before the number of an error of the system.
const NUMBER: &str = " (os error ";

/// What can follow the words of an error. A number that is followed by other text is part of a file name on the way to another
/// file.
const ENDS: [&str; 6] = [": ", "; ", ", ", ")", "\"", "\n"];

/// How many bytes of a number, with the bracket after it, are looked at: those of the longest `i32`.
const DIGITS: usize = 12;

/// Prints an error and its causes in one line, the causes after it, as [`readable`] text.
///
/// This project's errors leave the words of their source to this function; some libraries' do not. So a cause whose words end the
/// line already is left out. What only contains these words may be a path that an attacker chose. The line ends with `…` after [`LONGEST`] bytes.
///
/// ```
/// # use sharedroot_sys::chain::chain;
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(chain(&error), "No such file or directory");
/// ```
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = readable(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = readable(&error.to_string());
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    let mut text = readable(&text);
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// Removes what a person does not need from the text of an error. This is the number of an error of the system, whose meaning
/// the words before the number give (`No such file or directory (os error 2)`), and a library's general name for the cause that
/// follows (`io error: `).
///
/// Control characters except the newline become `?`, and so do characters that change the direction of text: an error may quote
/// a name or a file of an attacker's, and a terminal must not obey such characters. For the same reason only whole words of an
/// error of the system are shortened, so that no path gets another meaning. The time grows linearly with the length of the
/// text.
///
/// Messages that do not come from [`chain`] pass through this function where they are written to the log file, to the journal
/// and to standard error.
#[must_use]
pub fn readable(text: &str) -> String {
    let text = without_numbers(text);
    let mut parts = text.split(THEN).peekable();
    let mut readable = String::with_capacity(text.len());
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            readable.push_str(part);
        } else if !GENERAL.contains(&part) {
            readable.push_str(part);
            readable.push_str(THEN);
        }
    }
    readable.replace(is_obeyed, "?")
}

/// Whether a terminal obeys the character, or shows what is around it in another order (Unicode's bidirectional controls).
fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    turns || c.is_control() && c != '\n'
}

fn without_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(NUMBER) {
        let after = &text.as_bytes()[at + NUMBER.len()..];
        let Some(digits) = after.iter().take(DIGITS).position(|byte| *byte == b')') else {
            continue;
        };
        let end = at + NUMBER.len() + digits + 1;
        let Ok(number) = text[at + NUMBER.len()..end - 1].parse() else { continue };
        let ends = text[end..].is_empty() || ENDS.iter().any(|mark| text[end..].starts_with(mark));
        if ends && text[..end].ends_with(&io::Error::from_raw_os_error(number).to_string()) {
            kept.push_str(&text[done..at]);
            done = end;
        }
    }
    kept.push_str(&text[done..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error as this project's crates define them.
    #[derive(Debug, thiserror::Error)]
    #[error("read {path}")]
    struct Read {
        path: &'static str,
        source: io::Error,
    }

    /// An error as some libraries define them: Display has the source's words, too.
    struct Doubled(Read);

    impl std::fmt::Debug for Doubled {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt(f)
        }
    }

    impl std::fmt::Display for Doubled {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "start: {}: {}", self.0, self.0.source)
        }
    }

    impl std::error::Error for Doubled {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0.source)
        }
    }

    /// An error as libcontainer defines them.
    #[derive(Debug, thiserror::Error)]
    #[error("io error")]
    struct General(#[source] io::Error);

    /// An error that has the words of its source already, without the number.
    #[derive(Debug, thiserror::Error)]
    #[error("open /x: {name}")]
    struct Named {
        name: nix::errno::Errno,
        source: io::Error,
    }

    #[test]
    fn a_terminal_obeys_nothing_of_an_error() {
        let error = io::Error::other("read \u{1b}[2Ja\r\u{9b}31m\u{202e}:\n  | ^");
        assert_eq!(chain(&error), "read ?[2Ja??31m?:\n  | ^");
        assert_eq!(readable("d\u{1b}[2J"), "d?[2J", "also what is no error");
    }

    #[test]
    fn a_chain_has_each_cause_once_and_no_number() {
        let missing = || io::Error::from_raw_os_error(2);
        assert!(missing().to_string().ends_with("(os error 2)"), "the standard library's words");
        assert_eq!(chain(&missing()), "No such file or directory");
        let read = |path| Read { path, source: missing() };
        assert_eq!(chain(&read("/etc/passwd")), "read /etc/passwd: No such file or directory");
        assert_eq!(chain(&Doubled(read("/x"))), "start: read /x: No such file or directory");
        let chosen = read("/No such file or directory/x");
        assert_eq!(chain(&chosen), "read /No such file or directory/x: No such file or directory");
        assert_eq!(chain(&General(missing())), "No such file or directory");
        let nested = io::Error::other(General(missing()));
        assert_eq!(chain(&nested), "No such file or directory");
        let named = Named { name: nix::errno::Errno::ENOENT, source: missing() };
        assert_eq!(chain(&named), "open /x: ENOENT: No such file or directory");
    }

    #[test]
    fn only_whole_words_of_an_error_are_shortened() {
        let (no_file, not_permitted) =
            (io::Error::from_raw_os_error(2), io::Error::from_raw_os_error(1));
        assert_eq!(
            readable(&format!("a: {no_file}: b: {not_permitted}; do c")),
            "a: No such file or directory: b: Operation not permitted; do c"
        );
        assert_eq!(readable("mount: io error: nix error: EPERM"), "mount: EPERM");
        assert_eq!(readable("io error: nix error: EPERM"), "EPERM");
        for whole in [
            "",
            "a (os error)",
            "a (os error x) b",
            "a (os error 2",
            "an io error: b",
            "io error",
            // The name of a container's file: without this part, the path would lead to another file.
            "remove /A/.. (os error 1)/.. (os error 1)/B",
            "remove /A/Operation not permitted (os error 1)/B if it is yours",
        ] {
            assert_eq!(readable(whole), whole);
        }
    }

    /// With a time that grows with the square of the length, each of these would take minutes.
    #[test]
    fn a_long_text_is_read_once() {
        for part in
            [NUMBER, "io error: ", "Operation not permitted (os error 1): ", " (os error 1)"]
        {
            let text = part.repeat((4 << 20) / part.len());
            assert!(chain(&io::Error::other(text)).len() <= LONGEST + '…'.len_utf8());
        }
    }
}
