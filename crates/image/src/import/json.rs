//! JSON that Go's encoding/json reads in the same way, because engines read manifests with it.
//!
//! Go takes `Config` and `CONFIG` for `config`, and of several such keys the last. One text would be two images: that of the
//! engine, and that of a reader which knows exact keys only. So a key that Go takes for one that it knows must be this key, and
//! must be there once.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::error::ImportError;
use super::files::Files;

/// Which keys Go knows in a text.
#[derive(Debug)]
pub(super) enum Shape {
    /// A value in which the keys do not matter: a text, or an object in which Go takes each key as it is.
    Any,
    /// An array of such values.
    List(&'static Shape),
    /// An object. Go ignores all other keys.
    Object(&'static [(&'static str, Shape)]),
}

/// What is read from JSON.
pub(super) trait Shaped {
    const SHAPE: Shape;
}

impl<T: Shaped> Shaped for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);
}

/// Parses JSON; the error names the file.
pub(super) fn json<'t, T: Deserialize<'t> + Shaped>(
    files: &Files,
    name: &str,
    text: &'t [u8],
) -> Result<T, ImportError> {
    parse(text).map_err(|source| ImportError::Json {
        path: files.path().to_owned(),
        name: name.to_owned(),
        source,
    })
}

pub(super) fn parse<'t, T: Deserialize<'t> + Shaped>(text: &'t [u8]) -> serde_json::Result<T> {
    let parsed = serde_json::from_slice(text)?;
    let mut keys = serde_json::Deserializer::from_slice(text);
    (&T::SHAPE).deserialize(&mut keys)?;
    Ok(parsed)
}

impl<'de> DeserializeSeed<'de> for &Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self {
            Shape::Any => IgnoredAny::deserialize(deserializer).map(|_| ()),
            Shape::List(_) | Shape::Object(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for &Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Shape::List(_)) { "an array" } else { "an object" })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Shape::List(of) = self else { return Err(A::Error::custom("an array, not an object")) };
        while list.next_element_seed(*of)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Shape::Object(known) = self else {
            return Err(A::Error::custom("an object, not an array"));
        };
        let mut seen = vec![false; known.len()];
        while let Some(key) = object.next_key::<String>()? {
            let Some(at) = known.iter().position(|(known, _)| is_same_for_go(known, &key)) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let (name, shape) = &known[at];
            if *name != key {
                return Err(A::Error::custom(format!("the key {key:?}, which is {name:?} for Go")));
            }
            if std::mem::replace(&mut seen[at], true) {
                return Err(A::Error::custom(format!("the key {key:?} twice")));
            }
            object.next_value_seed(shape)?;
        }
        Ok(())
    }
}

/// Whether Go takes `key` for the key `known`, which is ASCII (encoding/json/fold.go): the case does not matter, and two
/// letters beyond ASCII are other cases of `s` and `k`.
fn is_same_for_go(known: &str, key: &str) -> bool {
    let folded = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    known.chars().map(folded).eq(key.chars().map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only read")]
        links: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        size: Option<u64>,
    }

    impl Shaped for Inner {
        const SHAPE: Shape = Shape::Object(&[("size", Shape::Any), ("labels", Shape::Any)]);
    }

    impl Shaped for Outer {
        const SHAPE: Shape = Shape::Object(&[("links", Shape::List(&Inner::SHAPE))]);
    }

    #[test]
    fn a_key_is_known_or_means_nothing() {
        for text in [
            r#"{"links":[]}"#,
            r#"{"links":[{"size":1},{"size":null}],"other":{"Links":1,"links":2,"links":3}}"#,
            r#"{"links":[{"size":1,"labels":{"Size":1,"size":2},"sıze":1}],"lınks":1}"#,
        ] {
            parse::<Outer>(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        for (text, words) in [
            (r#"{"links":[],"Links":[]}"#, "the key \"Links\", which is \"links\" for Go"),
            (r#"{"LINKS":[],"links":[]}"#, "\"LINKS\""),
            (r#"{"links":[],"lin\u212as":[]}"#, "for Go"),
            (r#"{"links":[],"link\u017f":[]}"#, "for Go"),
            (r#"{"links":[{"size":1,"ſize":2}]}"#, "which is \"size\" for Go"),
            (r#"{"links":[{"size":1},{"Size":2}]}"#, "for Go"),
            (r#"{"links":[{"size":1,"size":2}]}"#, "duplicate field `size`"),
            (r#"{"links":[{"size":1,"labels":{},"labels":{}}]}"#, "the key \"labels\" twice"),
            (r#"{"links":[]} {}"#, "trailing"),
            (r#"{"links":{}}"#, "sequence"),
        ] {
            let error = parse::<Outer>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
