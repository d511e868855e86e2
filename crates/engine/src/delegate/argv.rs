//! The arguments of a call of a delegate.
//!
//! Every value is joined to its flag, and the container ID stands behind `--`. So no value of a caller can become a
//! flag of the delegate.

use std::ffi::{OsStr, OsString};

use crate::choice::Dialect;

/// A verb of a delegate, and the words after the verb.
#[derive(Debug, Clone)]
pub struct Argv {
    dialect: Dialect,
    verb: &'static str,
    words: Vec<OsString>,
    unknown: Option<&'static str>,
}

impl Argv {
    /// The verb, without words after it.
    #[must_use]
    pub fn new(dialect: Dialect, verb: &'static str) -> Self {
        Self { dialect, verb, words: vec![verb.into()], unknown: None }
    }

    /// No verb, for the flags that stand before a verb. All dialects have the same such flags.
    #[must_use]
    pub fn before_the_verb() -> Self {
        Self { dialect: Dialect::Runc, verb: "", words: Vec::new(), unknown: None }
    }

    /// Adds a flag without a value, if the caller gave the flag.
    #[must_use]
    pub fn flag(mut self, name: &'static str, given: bool) -> Self {
        if given {
            self.words.push(name.into());
        }
        self
    }

    /// Adds a flag with its value, if the caller gave a value.
    #[must_use]
    pub fn value(mut self, name: &'static str, value: Option<impl AsRef<OsStr>>) -> Self {
        if let Some(value) = value {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            self.words.push(word);
        }
        self
    }

    /// Adds a flag whose value is a number, if the caller gave a number.
    #[must_use]
    pub fn number(self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.value(name, value.map(|number| number.to_string()))
    }

    /// Adds a flag once for each value.
    #[must_use]
    pub fn values<T: AsRef<OsStr>>(self, name: &'static str, values: &[T]) -> Self {
        values.iter().fold(self, |words, value| words.value(name, Some(value)))
    }

    /// Notes that the caller gave a flag or a verb which crun does not have.
    #[must_use]
    pub fn only_runc(self, name: &'static str, given: bool) -> Self {
        if given && self.dialect == Dialect::Crun { self.without(name) } else { self }
    }

    /// Notes that no delegate has this verb.
    #[must_use]
    pub fn nowhere(self, what: &'static str) -> Self {
        self.without(what)
    }

    /// Of several unknown words, the first one is reported.
    fn without(mut self, what: &'static str) -> Self {
        self.unknown = self.unknown.or(Some(what));
        self
    }

    /// Adds the container ID, after all flags.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.words.extend(["--".into(), id.into()]);
        self
    }

    /// Adds the words after the ID.
    #[must_use]
    pub fn rest<T: AsRef<OsStr>>(mut self, rest: &[T]) -> Self {
        self.words.extend(rest.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// The name of the verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// All words.
    ///
    /// # Errors
    /// The verb or flag that the dialect does not have.
    pub fn words(&self) -> Result<&[OsString], &'static str> {
        self.unknown.map_or(Ok(&self.words), Err)
    }
}
