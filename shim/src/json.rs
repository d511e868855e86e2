//! JSON that others wrote, as OCI's types; an error names the field.

use std::fmt;
use std::io::{self, Read};

use serde::de::DeserializeOwned;

/// A text that is no JSON, or not of the form that is wanted.
#[derive(Debug)]
pub struct JsonError {
    /// The field, such as `process.args[0]`; empty where the text as a whole is wrong.
    field: String,
    source: serde_json::Error,
}

/// A text is at most this large, in bytes; the largest real one has some hundred kB.
const MOST: u64 = 16 << 20;

/// Reads the text of a file, a pipe or a terminal.
///
/// # Errors
/// What reading gives; [`io::ErrorKind::FileTooLarge`] beyond 16 MiB.
pub fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(MOST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(text)
}

/// Understands a whole text.
///
/// # Errors
/// [`JsonError`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    // Read again where it fails, because keeping track of the field costs time.
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
        self.source.fmt(f)
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(source: serde_json::Error) -> Self {
        Self { field: String::new(), source }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

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
}
