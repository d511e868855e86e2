//! A text cut into tokens, as containerd's scanner does it (`pkg/filters/scanner.go`).

/// A token of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A name.
    Field(&'t str),
    /// A text after an operator.
    Value(&'t str),
    /// A text in quotes, with its quotes.
    Quoted(&'t str),
    /// A comma or a full stop.
    Separator,
    /// A run of `=`, `!` and `~`.
    Operator(&'t str),
    /// A character that begins no token.
    Other,
    /// The end of the text.
    End,
}

/// Why a text cannot be cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Illegal {
    #[error("a NUL character")]
    Nul,
    #[error("a quote is not closed")]
    Open,
    #[error("an escape that does not exist")]
    Escape,
    #[error("a number in an escape is cut short")]
    Number,
}

/// Cuts a text into tokens.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// A value comes next, because an operator was read.
    value: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, value: false }
    }

    /// The next character, which is not read.
    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Where the next token begins to be looked for, in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn scan(&mut self) -> Result<Token<'t>, Illegal> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
        let start = self.at;
        let Some(first) = self.next() else { return Ok(Token::End) };
        match first {
            '\0' => Err(Illegal::Nul),
            '/' | '|' | '"' => {
                self.quoted(first)?;
                Ok(Token::Quoted(&self.text[start..self.at]))
            }
            ',' | '.' => {
                self.value = false;
                Ok(Token::Separator)
            }
            '=' | '!' | '~' => {
                self.run(|c| matches!(c, '=' | '!' | '~'));
                self.value = true;
                Ok(Token::Operator(&self.text[start..self.at]))
            }
            _ if self.value => {
                self.run(is_of_a_value);
                self.value = false;
                Ok(Token::Value(&self.text[start..self.at]))
            }
            first if is_of_a_field(first) => {
                self.run(is_of_a_field);
                Ok(Token::Field(&self.text[start..self.at]))
            }
            _ => Ok(Token::Other),
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&belongs) {
            self.next();
        }
    }

    /// Reads until the quote is closed.
    fn quoted(&mut self, quote: char) -> Result<(), Illegal> {
        loop {
            match self.next() {
                Some(next) if next == quote => return Ok(()),
                None | Some('\n') => return Err(Illegal::Open),
                Some('\0') => return Err(Illegal::Nul),
                Some('\\') => self.escape(quote)?,
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), Illegal> {
        match self.next().ok_or(Illegal::Open)? {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => Ok(()),
            next if next == quote => Ok(()),
            '0'..='7' => self.digits(8, 2),
            'x' => self.digits(16, 2),
            'u' => self.digits(16, 4),
            'U' => self.digits(16, 8),
            _ => Err(Illegal::Escape),
        }
    }

    fn digits(&mut self, base: u32, count: usize) -> Result<(), Illegal> {
        let is_digit = |next: Option<char>| next.is_some_and(|digit| digit.is_digit(base));
        let all = (0..count).all(|_| is_digit(self.peek()) && self.next().is_some());
        if all { Ok(()) } else { Err(Illegal::Number) }
    }
}

fn is_of_a_field(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// containerd takes the characters that Go calls graphic. Control characters are the others that occur.
fn is_of_a_value(c: char) -> bool {
    c != ',' && !c.is_whitespace() && !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<Token<'_>, Illegal>> {
        let mut scanner = Scanner::new(text);
        let mut found = Vec::new();
        loop {
            let token = scanner.scan();
            let ends = matches!(token, Ok(Token::End) | Err(_));
            found.push(token);
            if ends {
                return found;
            }
        }
    }

    #[test]
    fn a_filter_is_cut_into_tokens() {
        assert_eq!(
            all(r#"labels."a b".c ~= x.y"#),
            [
                Ok(Token::Field("labels")),
                Ok(Token::Separator),
                Ok(Token::Quoted(r#""a b""#)),
                Ok(Token::Separator),
                Ok(Token::Field("c")),
                Ok(Token::Operator("~=")),
                Ok(Token::Value("x.y")),
                Ok(Token::End)
            ]
        );
        assert_eq!(all("?")[0], Ok(Token::Other));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for (text, why) in [
            ("\"a", Illegal::Open),
            ("\"a\nb\"", Illegal::Open),
            ("\"a\\", Illegal::Open),
            (r#""\q""#, Illegal::Escape),
            (r"/\|/", Illegal::Escape),
            (r#""\x1""#, Illegal::Number),
            (r#""\018""#, Illegal::Number),
            ("\0", Illegal::Nul),
            ("\"\0\"", Illegal::Nul),
        ] {
            assert_eq!(all(text)[0], Err(why), "{text:?}");
        }
        assert_eq!(all(r#""\"\u00e9\101""#)[0], Ok(Token::Quoted(r#""\"\u00e9\101""#)));
    }
}
