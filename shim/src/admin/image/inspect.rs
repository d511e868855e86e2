//! `image inspect` and `image verify`: what a base is, and whether its content is unchanged.

use serde_json::json;
use sharedroot_bases::catalog::TreeFacts;
use sharedroot_bases::{Bases, RootfsError};
use sharedroot_image::{check_filesystem, tree_digest};

use super::Base;
use crate::admin::for_programs;
use crate::admin::progress::Progress;
use crate::lifecycle::LifecycleError;
use crate::output::say;

/// Prints the details of a base.
///
/// # Errors
/// [`LifecycleError`].
pub fn inspect(bases: &Bases, base: &Base) -> Result<(), LifecycleError> {
    let mut whole = super::list::json(bases, base);
    let facts = base.facts.as_ref();
    whole["format"] = json!(base.key.format().to_string());
    let chain_id = facts.and_then(|facts| facts.chain_id).or_else(|| base.chain_id());
    whole["chain_id"] = json!(chain_id);
    whole["source"] = json!(facts.map(|facts| &facts.source));
    whole["made"] = json!(facts.map(|facts| &facts.made));
    whole["tree"] = json!(facts.and_then(|facts| facts.tree.as_ref()));
    if base.volume.is_ready() {
        let tree = bases.open_base(&base.key, &base.volume.name)?;
        whole["used_bytes"] = json!(tree.used()?);
        whole["device"] = json!(tree.device());
    }
    for_programs(whole);
    Ok(())
}

/// Checks the file system's metadata, then reads every file and compares the digest of the whole tree with the one that
/// was taken when the base was made. A base from an engine's layers has no such digest: then the new digest is
/// recorded.
///
/// # Errors
/// [`LifecycleError`], [`RootfsError::Differs`] among them.
pub fn verify(bases: &Bases, base: &Base, as_json: bool) -> Result<(), LifecycleError> {
    let key = &base.key;
    let tree = bases.open_base(key, &base.volume.name)?;
    let damaged = |source| RootfsError::Make { key: key.clone(), source };
    let checking = Progress::begin("checking the file system");
    check_filesystem(tree.device()).map_err(damaged)?;
    drop(checking);
    let reading = Progress::of_bytes("reading", tree.used()?);
    let found =
        tree_digest(tree.top(), |passed| reading.show(passed)).map_err(RootfsError::from)?;
    drop(reading);
    let facts = base.facts.as_ref();
    let (proof, words) = match facts.and_then(|facts| facts.tree.as_ref()) {
        Some(tree) if tree.digest != found => {
            return Err(
                RootfsError::Differs { key: key.clone(), expected: tree.digest, found }.into()
            );
        }
        Some(tree) if tree.from_source => {
            ("source", "every file is as in the source of the base".to_owned())
        }
        Some(TreeFacts { taken, .. }) => {
            ("earlier", format!("every file is as at the first `image verify`, {taken}"))
        }
        None if facts.is_none() => (
            "file_system",
            "the file system is sound; the content from which the base was made is unknown"
                .to_owned(),
        ),
        None => {
            let noted = bases.catalog().change(|catalog| {
                if let Some(facts) = catalog.facts_mut(key) {
                    facts.tree = Some(TreeFacts::of_base(found));
                }
            });
            noted.map_err(RootfsError::from)?;
            let words = "the file system is sound; a base from an engine's layers has no digest when it is made, so the present \
                         digest was recorded for the next `image verify`";
            ("file_system", words.to_owned())
        }
    };
    if as_json {
        let digest = found.to_string();
        for_programs(json!({ "key": key.to_string(), "digest": digest, "compared_with": proof }));
    } else {
        say!("{key}: {words} ({found})");
    }
    Ok(())
}
