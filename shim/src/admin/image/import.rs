//! `image import`: a base from an image that no engine of this host has.

use std::path::Path;

use serde_json::json;
use sharedroot_bases::catalog::ImageName;
use sharedroot_bases::{Bases, Imported, RootfsError, Stage};
use sharedroot_image::Importable;
use sharedroot_sys::private_dir::private_dir;

use crate::admin::for_programs;
use crate::admin::progress::Progress;
use crate::lifecycle::LifecycleError;
use crate::output::say;

/// Makes the base of the image in `source`, gives it a name, and prints its key.
///
/// # Errors
/// [`LifecycleError`]; then nothing incomplete is left.
pub fn import(
    bases: &Bases,
    source: &Path,
    name: Option<&str>,
    as_json: bool,
) -> Result<(), LifecycleError> {
    private_dir(bases.run_dir())?;
    let given: Option<ImageName> = name.map(str::parse).transpose().map_err(|_| {
        let wanted = "a name of an image: letters, digits and . _ - / : @, at most 255";
        LifecycleError::Argument { flag: "image import", value: name.unwrap_or("").into(), wanted }
    })?;
    let image = Importable::open(source, name).map_err(RootfsError::from)?;
    let imported = match &image {
        Some(image) => {
            let stored = image.stored_bytes().map_err(RootfsError::from)?;
            bases.imports().image(image, shown(Progress::of_bytes("unpacking", stored)))?
        }
        None => bases.imports().directory(source, shown(Progress::begin("reading")))?,
    };
    // The source's own name is used only if it is a valid name.
    let own = image.as_ref().and_then(|image| image.name()?.parse().ok());
    let name = given.or(own);
    if let Some(name) = &name {
        let named = bases.catalog().change(|catalog| catalog.name(name.clone(), &imported.key));
        named.map_err(RootfsError::from)?;
    }
    let Imported { key, was_there } = imported;
    if as_json {
        let name = name.map(|name| name.to_string());
        for_programs(json!({ "key": key.to_string(), "was_there": was_there, "name": name }));
        return Ok(());
    }
    if was_there {
        tracing::info!("the base {key} existed already");
    }
    say!("{key}");
    Ok(())
}

/// Each stage has a line of progress. `first` is shown until the first stage begins.
fn shown(first: Progress) -> impl FnMut(Stage) {
    let mut progress = first;
    move |stage| match stage {
        Stage::Unpack(passed) => progress.show(passed),
        Stage::Make => progress = Progress::begin("making the file system"),
        Stage::Digest => progress = Progress::begin("taking the digest"),
    }
}
