//! Capabilities of unknown name. runtime-spec, config.md: a value that cannot be mapped to a capability of the kernel
//! is a warning, not an error. A process with fewer capabilities is no less safe.

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sharedroot_format::json::{self, JsonError};

/// Reads a text whose capability sets are at `place` (RFC 6901). Unknown capabilities are left out.
///
/// # Errors
/// Any other error in the text.
pub fn parse<T: DeserializeOwned>(text: &[u8], place: &str) -> Result<T, JsonError> {
    // The texts are searched only after an error, which is rare.
    json::parse(text).or_else(|error| match without_unknown(text, place) {
        Some(less) => json::parse(&less),
        None => Err(error),
    })
}

/// The text without the unknown capabilities; `None` if it has none.
fn without_unknown(text: &[u8], place: &str) -> Option<Vec<u8>> {
    let mut whole: Value = serde_json::from_slice(text).ok()?;
    let mut found = false;
    for (set, names) in whole.pointer_mut(place)?.as_object_mut()? {
        let Some(names) = names.as_array_mut() else { continue };
        names.retain(|name| {
            let unknown = name.is_string() && Capability::deserialize(name).is_err();
            if unknown {
                tracing::warn!(
                    "process.capabilities.{set}: {name} is not a known capability; it is left out"
                );
            }
            found |= unknown;
            !unknown
        });
    }
    found.then(|| whole.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Process;

    use super::*;

    #[test]
    fn what_nobody_knows_is_left_out_and_the_rest_stays() {
        let text = |sets: &str| {
            format!(r#"{{"cwd":"/","user":{{"uid":0,"gid":0}},"capabilities":{sets}}}"#)
        };
        let parse = |sets: &str| parse::<Process>(text(sets).as_bytes(), "/capabilities");
        let new = parse(r#"{"bounding":["CAP_X","CAP_KILL"],"ambient":["CAP_X"]}"#).unwrap();
        assert_eq!(new, parse(r#"{"bounding":["CAP_KILL"],"ambient":[]}"#).unwrap());
        for wrong in [r#"{"bounding":[7]}"#, r#"{"bounding":"CAP_X"}"#, "7"] {
            assert!(parse(wrong).unwrap_err().to_string().starts_with("capabilities"), "{wrong}");
        }
    }
}
