//! config.json, all the way from its text to what `create` is going to do.

use std::path::{Component, Path, PathBuf};

use libcontainer::validator::Validator;
use oci_spec::runtime::Spec;

use super::says_something;
use crate::bundle::{parse_config, plain_root};
use crate::engine::normalise;
use crate::image::{BaseKey, ChainId, Image, InitFiles, Owner, Source};
use crate::rootfs::{Facts, Mode, Plan, mount_points, plan};

/// The text of config.json.
///
/// # Panics
/// Where a promise is broken.
pub fn config(text: &[u8]) {
    let bundle = Path::new("/bundle");
    let mut spec = match parse_config(&bundle.join("config.json"), text) {
        Ok(spec) => spec,
        Err(error) => return says_something(&error),
    };
    survives_writing(&spec);
    root_is_plain(&spec, bundle);
    plan_keeps_its_word(&spec);
    match normalise(&mut spec, bundle, "id", false) {
        Err(error) => return says_something(&error),
        Ok(labels) if labels.mount.is_some() => {}
        Ok(_) => {
            let once = spec.clone();
            let twice = normalise(&mut spec, bundle, "id", false);
            assert!(twice.is_ok(), "what we made of it is refused: {twice:?}");
            assert_eq!(spec, once, "normalised twice is something else");
        }
    }
    survives_writing(&spec);
    nothing_is_mounted_twice_for_one_need(&spec);
    // The engine's own check, which must not end the process.
    let _ = Validator::validate_spec(&spec);
}

/// The engine reads the file that `create` writes.
fn survives_writing(spec: &Spec) {
    let text = serde_json::to_vec(spec).expect("a configuration can be written");
    let again = parse_config(Path::new("/ours/config.json"), &text).expect("what we wrote");
    assert_eq!(again, *spec, "what the engine reads is not what was meant");
}

fn root_is_plain(spec: &Spec, bundle: &Path) {
    let Some(root) = spec.root() else { return };
    match plain_root(bundle, root.path()) {
        Ok(plain) => {
            assert!(plain.is_absolute());
            assert!(plain.components().all(|part| part != Component::ParentDir), "{plain:?}");
            assert!(root.path().is_absolute() || plain.starts_with(bundle), "{plain:?}");
        }
        Err(error) => says_something(&error),
    }
}

/// A read-only root is never an own snapshot, a writable one never the shared base, but where the annotation asks for it.
fn plan_keeps_its_word(spec: &Spec) {
    let annotation =
        |key: &str| spec.annotations().as_ref().and_then(|all| all.get(key)).map(String::as_str);
    for readonly in [true, false] {
        let mode = match Mode::of(annotation, readonly) {
            Ok(mode) => mode,
            Err(error) => {
                says_something(&error);
                continue;
            }
        };
        let facts =
            Facts { readonly, mode, mapped_ids: false, own_mounts: true, image: Ok(image()) };
        match plan(facts) {
            Plan::Private(_) => assert!(!readonly || mode == Mode::Private),
            Plan::Shared(_) => assert!(readonly && mode != Mode::Private),
            Plan::AsGiven { why } => assert!(mode == Mode::Off && !why.is_empty()),
        }
    }
}

/// Of the mount points that a base must have, none lies in another: what is in a mount need not be in the base.
fn nothing_is_mounted_twice_for_one_need(spec: &Spec) {
    let mut needed = mount_points(spec);
    let mounted: Vec<PathBuf> =
        spec.mounts().iter().flatten().map(|mount| mount.destination().clone()).collect();
    if let Some(process) = spec.process().as_ref().filter(|process| needed.contains(process.cwd()))
        && !mounted.contains(process.cwd())
    {
        needed.retain(|path| path != process.cwd());
    }
    for path in &needed {
        assert!(mounted.contains(path), "{path:?} is no mount point");
        let below = |other: &&PathBuf| *other != path && path.starts_with(other);
        assert_eq!(mounted.iter().find(below), None, "{path:?} lies in a mount");
    }
}

fn image() -> Image {
    let chain: ChainId = format!("sha256:{}", "a".repeat(64)).parse().expect("a chain ID");
    Image {
        key: BaseKey::of_chain(&chain, None),
        chain_id: Some(chain),
        layers: vec!["/layers/1/diff".into()],
        upper: None,
        init: InitFiles::AsDocker,
        owner: Owner::ROOT,
        source: Source::Docker,
    }
}
