//! config.json, from its text to the plan of `create`.

use std::fs::File;
use std::path::{Component, Path};

use libcontainer::validator::Validator;
use oci_spec::runtime::Spec;
use sharedroot_engine::{normalise, parse_config, plain_root};
use sharedroot_format::{BaseKey, ChainId, Owner};
use sharedroot_image::{Image, InitFiles, Source, Top};
use sharedroot_seeds::says_something;

use crate::rootfs::{Facts, Given, Mode, Needs, Plan, plan};

/// The text of config.json.
///
/// # Panics
/// If a promise is broken.
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
    what_a_root_lacks_is_below_it(&spec);
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

/// A read-only root is never a snapshot, and a writable root is never the shared base, except if the annotation asks for it.
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
        let facts = Facts {
            readonly,
            mode,
            mapped_ids: false,
            own_mounts: true,
            hook: None,
            given: Given::Image(image()),
        };
        match plan(facts) {
            Plan::Private(_) => assert!(!readonly || mode == Mode::Private),
            Plan::Shared(_) => assert!(readonly && mode != Mode::Private),
            Plan::Snapshot(_) => panic!("the root is no snapshot"),
            Plan::NotShared { why } => assert!(mode == Mode::Off && !why.is_empty()),
        }
    }
}

/// What a root lacks can be made there name by name: no part of a missing path leads out of the root.
fn what_a_root_lacks_is_below_it(spec: &Spec) {
    let root = File::open("/").expect("open /");
    let missing = Needs::of(spec, Path::new("/")).missing(root);
    for one in &missing {
        let mut parts = one.path.components();
        assert_eq!(parts.next(), Some(Component::RootDir), "{one:?}");
        assert!(parts.clone().count() > 0, "{one:?}");
        assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{one:?}");
    }
    assert!(missing.windows(2).all(|pair| pair[0].path < pair[1].path), "{missing:?}");
}

fn image() -> Image {
    let chain: ChainId = format!("sha256:{}", "a".repeat(64)).parse().expect("a chain ID");
    Image {
        key: BaseKey::of_chain(&chain, None),
        chain_id: Some(chain),
        layers: vec!["/layers/1/diff".into()],
        upper: None,
        init: InitFiles::AsDocker,
        top: Top { owner: Owner::ROOT, mode: 0o755 },
        source: Source::Docker { layer: "/layerdb".into() },
    }
}
