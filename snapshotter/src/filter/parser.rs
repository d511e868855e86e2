//! A filter parsed: selectors that must all hold.

use super::matching::{Filter, Filters, Operator, Selector};
use super::quote::unquote;
use super::scanner::{Illegal, Scanner, Token};

/// The most selectors of one request.
pub(super) const MAX_SELECTORS: usize = 256;
/// The most regular expressions of one request: each takes memory of up to [`super::matching::MAX_PATTERN`].
pub(super) const MAX_PATTERNS: usize = 32;
/// The most bytes of a filter that an error quotes.
const QUOTED: usize = 200;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filter {text:?} is wrong at byte {at}: {why}")]
pub struct BadFilter {
    /// The filter, or its beginning.
    text: String,
    /// Where, in bytes.
    at: usize,
    /// What is wrong there.
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("expected a field or a quoted text")]
    Field,
    #[error("expected an operator: ==, != or ~=")]
    Operator,
    #[error("expected a value or a quoted text")]
    Value,
    #[error("only the value of ~= may stand between / or |")]
    Quote,
    #[error("the quoted text is not in Go's syntax")]
    Unquoted,
    #[error("expected a comma")]
    Comma,
    #[error("a request may have {MAX_SELECTORS} conditions, {MAX_PATTERNS} of them with ~=")]
    TooMany,
    #[error("{0}")]
    Illegal(Illegal),
}

impl Filters {
    /// Parses the filters of a request.
    ///
    /// # Errors
    /// [`BadFilter`], also for more conditions than a request may have.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadFilter> {
        let mut left = Left { selectors: MAX_SELECTORS, patterns: MAX_PATTERNS };
        let filters = texts.iter().map(|text| {
            let mut parser = Parser { text: text.as_ref(), scanner: Scanner::new(text.as_ref()) };
            parser.filter(&mut left)
        });
        filters.collect::<Result<_, _>>().map(Self)
    }
}

/// What the rest of a request may have.
struct Left {
    selectors: usize,
    patterns: usize,
}

struct Parser<'t> {
    text: &'t str,
    scanner: Scanner<'t>,
}

impl<'t> Parser<'t> {
    fn filter(&mut self, left: &mut Left) -> Result<Filter, BadFilter> {
        let mut all = Vec::new();
        if self.text.is_empty() {
            return Ok(Filter(all));
        }
        loop {
            all.push(self.selector(left)?);
            match self.scanner.peek() {
                None => return Ok(Filter(all)),
                Some(',') => drop(self.scan()?),
                Some(_) => return Err(self.wrong(self.scanner.position(), Why::Comma)),
            }
        }
    }

    fn selector(&mut self, left: &mut Left) -> Result<Selector, BadFilter> {
        let at = self.scanner.position();
        let path = self.fieldpath()?;
        left.selectors =
            left.selectors.checked_sub(1).ok_or_else(|| self.wrong(at, Why::TooMany))?;
        if matches!(self.scanner.peek(), None | Some(',')) {
            return Ok(Selector { path, operator: Operator::Present });
        }
        let at = self.scanner.position();
        let operator = match self.scan()? {
            Token::Operator("==") => Operator::Equal(self.value(false)?),
            Token::Operator("!=") => Operator::NotEqual(self.value(false)?),
            Token::Operator("~=") => {
                let patterns = left.patterns.checked_sub(1);
                left.patterns = patterns.ok_or_else(|| self.wrong(at, Why::TooMany))?;
                Operator::matches(&self.value(true)?)
            }
            _ => return Err(self.wrong(at, Why::Operator)),
        };
        Ok(Selector { path, operator })
    }

    fn fieldpath(&mut self) -> Result<Vec<Vec<u8>>, BadFilter> {
        let mut path = vec![self.field()?];
        while self.scanner.peek() == Some('.') {
            self.scan()?;
            path.push(self.field()?);
        }
        Ok(path)
    }

    fn field(&mut self) -> Result<Vec<u8>, BadFilter> {
        let at = self.scanner.position();
        match self.scan()? {
            Token::Field(name) => Ok(name.into()),
            Token::Quoted(text) => self.unquoted(at, text, false),
            _ => Err(self.wrong(at, Why::Field)),
        }
    }

    fn value(&mut self, is_pattern: bool) -> Result<Vec<u8>, BadFilter> {
        let at = self.scanner.position();
        match self.scan()? {
            Token::Field(text) | Token::Value(text) => Ok(text.into()),
            Token::Quoted(text) => self.unquoted(at, text, is_pattern),
            _ => Err(self.wrong(at, Why::Value)),
        }
    }

    fn unquoted(&self, at: usize, text: &str, is_pattern: bool) -> Result<Vec<u8>, BadFilter> {
        if !is_pattern && !text.starts_with('"') {
            return Err(self.wrong(at, Why::Quote));
        }
        unquote(text).ok_or_else(|| self.wrong(at, Why::Unquoted))
    }

    fn scan(&mut self) -> Result<Token<'t>, BadFilter> {
        let at = self.scanner.position();
        match self.scanner.scan() {
            Ok(token) => Ok(token),
            Err(illegal) => Err(wrong(self.text, at, Why::Illegal(illegal))),
        }
    }

    fn wrong(&self, at: usize, why: Why) -> BadFilter {
        wrong(self.text, at, why)
    }
}

fn wrong(text: &str, at: usize, why: Why) -> BadFilter {
    let text = text[..text.floor_char_boundary(QUOTED)].to_owned();
    BadFilter { text, at, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> (usize, Why) {
        let error = Filters::parse(&[text]).expect_err(text);
        (error.at, error.why)
    }

    /// The errors of containerd's own tests, and more.
    #[test]
    fn what_is_no_filter_is_refused_where_it_is_wrong() {
        assert_eq!(why("labels.|foo|==omg_asdf.asdf-qwer"), (7, Why::Quote));
        assert_eq!(why(r#"labels.?"more complex label".post==present"#), (7, Why::Field));
        assert_eq!(why("name==foo,"), (10, Why::Field));
        assert_eq!(why("labels."), (7, Why::Field));
        assert_eq!(why("image~=,id?=?fbaq"), (7, Why::Value));
        assert_eq!(why("name=bar"), (4, Why::Operator));
        assert_eq!(why("name ,x"), (4, Why::Operator));
        assert_eq!(why("name==a b"), (7, Why::Comma));
        assert_eq!(why("name==/a/"), (6, Why::Quote));
        assert_eq!(why("name~=\"a"), (6, Why::Illegal(Illegal::Open)));
        assert_eq!(why("name==\"\\400\""), (6, Why::Unquoted));
        assert_eq!(why("\0"), (0, Why::Illegal(Illegal::Nul)));
    }

    #[test]
    fn a_request_has_a_bound() {
        let with = |count: usize, selector: &str| {
            Filters::parse(&[vec![selector; count].join(","), String::new()])
        };
        assert!(with(MAX_SELECTORS, "name").is_ok());
        assert_eq!(with(MAX_SELECTORS + 1, "name").unwrap_err().why, Why::TooMany);
        assert!(with(MAX_PATTERNS, "name~=a").is_ok());
        assert_eq!(with(MAX_PATTERNS + 1, "name~=a").unwrap_err().why, Why::TooMany);
        let long = Filters::parse(&[format!("name=={}\0", "ä".repeat(5000))]).unwrap_err();
        assert!(long.to_string().len() < 1000, "{long}");
    }
}
