//! A full configuration, and all configurations that differ from it at one place.

use serde_json::{Value, json};

use crate::{Target, files};

/// The places in a JSON text, as pointers. Only the first element of an array counts, because the other elements have the same
/// form.
fn below(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            if let Some(first) = items.first() {
                below(first, &format!("{at}/0"), found);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                below(value, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// All places in a JSON text, as pointers (RFC 6901). The first element of an array stands for all its elements.
#[must_use]
pub fn places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    below(value, "", &mut found);
    found
}

/// A configuration with every field that has its own meaning, besides the fields that Docker writes.
///
/// # Panics
/// If the configuration cannot be read.
#[must_use]
pub fn full_config() -> Value {
    let text = files("fuzz/seeds/config").into_iter().find(|(name, _)| name.ends_with("full.json"));
    serde_json::from_slice(&text.expect("full.json").1).expect("a configuration")
}

/// Gives a target the part of the full configuration at `pointer`, with a dozen wrong values at each place in this part.
///
/// # Panics
/// If the target panics.
pub fn wrong_values(pointer: &str, (_, target): Target) {
    let long = "x".repeat(10_000);
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\0"),
        json!("../../.."),
        json!(long),
        json!([]),
        json!({}),
        json!([null]),
    ];
    let text = full_config().pointer(pointer).expect("a part of it").clone();
    for place in places(&text) {
        for wrong in &wrong {
            let mut spoiled = text.clone();
            *spoiled.pointer_mut(&place).expect("one of its places") = wrong.clone();
            target(spoiled.to_string().as_bytes());
        }
    }
}
