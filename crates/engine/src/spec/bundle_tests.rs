//! Unknown fields in a configuration, and the message for a wrong field.

use serde_json::json;
use sharedroot_seeds::{full_config, places};
use sharedroot_sys::chain::chain;

use super::*;

/// Objects that are tables: any name in them has a meaning.
const TABLES: [&str; 6] =
    ["/annotations", "/sysctl", "/unified", "/netDevices", "/rdma", "/timeOffsets"];

/// runtime-spec, config.md: "Implementations that are reading/processing this configuration file MUST NOT generate an error if
/// they encounter an unknown property."
#[test]
fn an_unknown_field_changes_nothing() {
    let path = Path::new("config.json");
    let mut config = full_config();
    let known = parse_config(path, config.to_string().as_bytes()).unwrap();
    let mut strewn = 0;
    for place in places(&config) {
        let Some(object) = config.pointer_mut(&place).unwrap().as_object_mut() else { continue };
        if !TABLES.iter().any(|table| place.ends_with(table)) {
            object.insert("notYetInvented".to_owned(), json!({ "a": [1, { "b": null }] }));
            strewn += 1;
        }
    }
    assert!(strewn > 40, "only {strewn} objects");
    assert_eq!(parse_config(path, config.to_string().as_bytes()).unwrap(), known);
}

#[test]
fn a_wrong_type_is_told_by_its_field() {
    let config = full_config();
    for place in places(&config).into_iter().filter(|place| !place.is_empty()) {
        let mut spoiled = config.clone();
        let value = spoiled.pointer_mut(&place).unwrap();
        *value = if value.is_boolean() { json!(7.5) } else { json!(true) };
        let text = spoiled.to_string();
        let Err(error) = parse_config(Path::new("config.json"), text.as_bytes()) else { continue };
        let message = chain(&error);
        let field = place.trim_start_matches('/').trim_end_matches("/0").replace("/0/", "[0].");
        let field = field.replace("~1", "/").replace('/', ".");
        assert!(message.contains(&field), "{field} is not named: {message}");
    }
}
