//! JSON that others wrote, parsed into OCI's types. An error names the field, and never the value: the value may be a secret
//! of an environment.

use std::fmt;
use std::io::{self, Read};

use serde::de::DeserializeOwned;

/// The text is no JSON, or JSON of another form.
pub struct JsonError {
    /// The field, such as `process.args[0]`; empty if the text as a whole is wrong.
    field: String,
    source: serde_json::Error,
}

/// The largest text that is read, in bytes. The largest real configuration has some hundred kB.
const MOST: u64 = 16 << 20;

/// Reads the whole text of a file, a pipe or a terminal.
///
/// # Errors
/// The error of reading; [`io::ErrorKind::FileTooLarge`] for more than 16 MiB.
pub fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(MOST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the text is larger than 16 MiB"));
    }
    Ok(text)
}

/// Parses a whole text.
///
/// # Errors
/// [`JsonError`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    // Keeping track of the field costs time. So only a text with an error is parsed a second time, to find the field.
    serde_json::from_slice(text).map_err(|source| {
        let mut again = serde_json::Deserializer::from_slice(text);
        let found = serde_path_to_error::deserialize::<_, T>(&mut again).err();
        let field = found.map(|found| found.path().to_string()).filter(|field| field != ".");
        JsonError { field: field.unwrap_or_default(), source }
    })
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&without_value(&self.source.to_string()))
    }
}

impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonError({self})")
    }
}

// There is no source: its own words would quote the value.
impl std::error::Error for JsonError {}

/// Removes the value from the words of serde, `invalid type: string "…", expected a sequence`.
fn without_value(words: &str) -> String {
    let shown = |kind: &str| {
        let rest = words.strip_prefix(kind)?;
        let quoted = rest.find(['"', '`'])?;
        // The last `, expected ` is serde's: the value may have such words in it, and the expected type has not.
        let expected = rest.rfind(", expected ").filter(|at| *at > quoted)?;
        Some(format!("{kind}{}{}", rest[..quoted].trim_end(), &rest[expected..]))
    };
    let shown = shown("invalid type: ").or_else(|| shown("invalid value: "));
    shown.unwrap_or_else(|| words.to_owned())
}

impl From<serde_json::Error> for JsonError {
    fn from(source: serde_json::Error) -> Self {
        Self { field: String::new(), source }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;
    use sharedroot_sys::chain::chain;

    use super::*;

    #[test]
    fn an_error_names_the_field() {
        for (text, words) in [
            (r#"{"ociVersion":"1.2.0","process":{"args":"true"}}"#, "process.args: invalid type"),
            (r#"{"ociVersion":"1.2.0","mounts":[{}]}"#, "mounts[0]: missing field `destination`"),
            (r#"{"ociVersion":"1."#, "ociVersion: EOF"),
            ("[1]", "[0]: invalid type"),
            ("", "EOF"),
            (r#"{"ociVersion":"1.2.0"} x"#, "trailing characters"),
        ] {
            let error = parse::<Spec>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }

    #[test]
    fn an_error_does_not_say_what_is_in_the_field() {
        let config = |rest: &str| format!(r#"{{"ociVersion":"1.2.0",{rest}}}"#);
        for (text, words) in [
            (
                config(r#""process":{"env":"S=7331"}"#),
                "process.env: invalid type: string, expected",
            ),
            (
                config(r#""process":{"env":["A=b",7331]}"#),
                "process.env[1]: invalid type: integer, e",
            ),
            (
                config(r#""process":{"args":[7331.5]}"#),
                "process.args[0]: invalid type: floating point",
            ),
            (
                config(r#""process":"\", expected 7331, expected ""#),
                "process: invalid type: string, e",
            ),
            (
                config(r#""annotations":{"a":7331}"#),
                "annotations.a: invalid type: integer, expected",
            ),
            (
                config(r#""annotations":"7331""#),
                "annotations: invalid type: string, expected a map",
            ),
            (
                config(r#""hooks":{"prestart":[{"path":"/h","env":"7331"}]}"#),
                "hooks.prestart[0].env: in",
            ),
            (r#""7331""#.to_owned(), "invalid type: string, expected"),
        ] {
            let error = parse::<Spec>(text.as_bytes()).unwrap_err();
            let said = format!("{error} {error:?} {}", chain(&error));
            assert!(said.starts_with(words) && said.contains("at line 1"), "{text}: {said}");
            assert!(!said.contains("7331"), "{text}: {said}");
        }
    }
}
