//! `spec`: a configuration to begin with.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::json;

use super::file_error::file_error;
use crate::lifecycle::LifecycleError;

/// Writes a new `config.json` into the bundle.
///
/// # Errors
/// [`LifecycleError::File`], also if there is such a file.
pub fn write(bundle: &Path) -> Result<(), LifecycleError> {
    let path = bundle.join("config.json");
    let mut spec = json!(Spec::default());
    if let Some(sets) = spec["process"]["capabilities"].as_object_mut() {
        // Inheritable and ambient capabilities are left out: a caller must ask for them (CVE-2022-29162).
        sets.retain(|set, _| set != "inheritable" && set != "ambient");
    }
    let text = format!("{spec:#}\n");
    let mut file = File::create_new(&path).map_err(|source| file_error("create", &path, source))?;
    file.write_all(text.as_bytes()).map_err(|source| file_error("write", &path, source))
}
