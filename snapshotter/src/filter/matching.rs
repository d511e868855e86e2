//! Whether a snapshot passes a filter.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

/// The most bytes of memory of one regular expression.
pub(super) const MAX_PATTERN: usize = 1 << 20;

/// What has fields that a filter names.
pub trait Fields {
    /// The value of a field; none if the field does not exist.
    fn field(&self, path: &[Vec<u8>]) -> Option<Cow<'_, [u8]>>;
}

/// The filters of a request.
#[derive(Debug, Clone, Default)]
pub struct Filters(pub(super) Vec<Filter>);

/// Selectors that must all hold.
#[derive(Debug, Clone)]
pub(super) struct Filter(pub(super) Vec<Selector>);

/// One condition.
#[derive(Debug, Clone)]
pub(super) struct Selector {
    pub(super) path: Vec<Vec<u8>>,
    pub(super) operator: Operator,
}

#[derive(Debug, Clone)]
pub(super) enum Operator {
    Present,
    Equal(Vec<u8>),
    NotEqual(Vec<u8>),
    /// None for a regular expression that is wrong or too large: containerd logs it, and nothing matches it.
    Matches(Option<Regex>),
}

impl Operator {
    pub(super) fn matches(pattern: &[u8]) -> Self {
        let pattern = std::str::from_utf8(pattern).ok();
        let mut builder = pattern.map(RegexBuilder::new);
        let built = builder.as_mut().map(|builder| builder.size_limit(MAX_PATTERN).build());
        Self::Matches(built.and_then(Result::ok))
    }
}

impl Filters {
    /// Whether one of the filters holds; true if there are no filters.
    #[must_use]
    pub fn pass(&self, of: &impl Fields) -> bool {
        self.0.is_empty() || self.0.iter().any(|filter| filter.0.iter().all(|one| one.holds(of)))
    }
}

impl Selector {
    /// A field that does not exist is not equal to anything, and is an empty text for a regular expression.
    fn holds(&self, of: &impl Fields) -> bool {
        let found = of.field(&self.path);
        match &self.operator {
            Operator::Present => found.is_some(),
            Operator::Equal(value) => found.as_deref() == Some(value.as_slice()),
            Operator::NotEqual(value) => found.unwrap_or_default() != value.as_slice(),
            Operator::Matches(pattern) => {
                let found = found.unwrap_or_default();
                pattern.as_ref().is_some_and(|pattern| pattern.is_match(&found))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// An entry of containerd's own tests.
    struct Entry {
        name: &'static str,
        other: &'static str,
        labels: BTreeMap<&'static str, &'static str>,
    }

    impl Fields for Entry {
        fn field(&self, path: &[Vec<u8>]) -> Option<Cow<'_, [u8]>> {
            let text =
                |text: &'static str| (!text.is_empty()).then_some(Cow::Borrowed(text.as_bytes()));
            match path[0].as_slice() {
                b"name" => text(self.name),
                b"other" => text(self.other),
                b"labels" => {
                    let key = String::from_utf8(path[1..].join(&b'.')).ok()?;
                    self.labels.get(key.as_str()).map(|value| Cow::Borrowed(value.as_bytes()))
                }
                _ => None,
            }
        }
    }

    fn corpus() -> Vec<Entry> {
        let entry = |name, other, labels: &[(&'static str, &'static str)]| Entry {
            name,
            other,
            labels: labels.iter().copied().collect(),
        };
        vec![
            entry("foo", "", &[("foo", "true")]),
            entry("bar", "", &[]),
            entry("foo", "", &[("foo", "present"), ("more complex label", "present")]),
            entry("bar", "", &[("bar", "true")]),
            entry("fooer", "", &[("more complex label with \\ and \"", "present")]),
            entry("fooer", "", &[("more complex label with \\ and \".post", "present")]),
            entry("baz", "too complex, yo", &[]),
            entry("bazo", "abc", &[]),
            entry("compound", "", &[("foo", "omg_asdf.asdf-qwer")]),
        ]
    }

    fn passing(filters: &[&str]) -> Vec<usize> {
        let filters = Filters::parse(filters).unwrap();
        let corpus = corpus();
        (0..corpus.len()).filter(|at| filters.pass(&corpus[*at])).collect()
    }

    /// The table of containerd's own tests (`pkg/filters/filter_test.go`).
    #[test]
    fn the_same_entries_pass_as_with_containerd() {
        let all: Vec<_> = (0..9).collect();
        for (filter, wanted) in [
            ("", all.as_slice()),
            ("name", &all),
            ("labels.foo", &[0, 2, 8]),
            ("labels.foo,name", &[0, 2, 8]),
            ("labels.foo==true", &[0]),
            ("labels.foo==omg_asdf.asdf-qwer", &[8]),
            ("name==bar", &[1, 3]),
            ("name!=bar", &[0, 2, 4, 5, 6, 7, 8]),
            ("name==bar,labels.bar", &[3]),
            ("other==\"too complex, yo\"", &[6]),
            ("other~=[abc]+,name!=foo", &[6, 7]),
            ("other~=/[abc]+/,name!=foo", &[6, 7]),
            ("other~=/[abc]{1,2}/,name!=foo", &[6, 7]),
            (r#"other~=/[abc]{0,1}"\//,name!=foo"#, &[]),
            ("name==bar,labels.bar==true", &[3]),
            ("name==bar,labels.bar==wrong", &[]),
            (r#"name==foo,labels."more complex label""#, &[2]),
            (r#"labels."more complex label with \\ and \""==present"#, &[4]),
            (r#"labels."more complex label with \\ and \"".post==present"#, &[5]),
        ] {
            assert_eq!(passing(&[filter]), wanted, "{filter}");
        }
    }

    #[test]
    fn one_of_several_filters_is_enough() {
        assert_eq!(passing(&["name==bar", "other==abc"]), [1, 3, 7]);
        assert_eq!(passing(&[]).len(), 9);
        assert_eq!(passing(&["name==bar", ""]).len(), 9);
        assert_eq!(passing(&["nothing!=x"]).len(), 9, "a field that does not exist is not x");
        assert_eq!(passing(&["nothing"]), [0; 0]);
    }

    #[test]
    fn a_regular_expression_that_is_wrong_or_too_large_matches_nothing() {
        for pattern in ["/(/", "/(a{1000}){1000}/", r"|\xff|"] {
            assert_eq!(passing(&[&format!("name~={pattern}")]), [0; 0], "{pattern}");
        }
    }
}
