use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::testing::{TestDir, chain};
use super::*;

const CONTAINER: &str = "c0ffee";

/// A Docker root with one container "m" on an image of the layers "two" above "one".
struct Store(TestDir);

impl Store {
    fn new() -> Self {
        let dir = TestDir::new();
        let mounts = format!("image/overlay2/layerdb/mounts/{CONTAINER}");
        dir.write(&format!("{mounts}/mount-id"), "m");
        dir.write(&format!("{mounts}/init-id"), "m-init");
        dir.write(&format!("{mounts}/parent"), &chain('2').to_string());
        let layer = |digit| format!("image/overlay2/layerdb/sha256/{}", chain(digit).hex());
        dir.write(&format!("{}/cache-id", layer('2')), "two");
        dir.write(&format!("{}/parent", layer('2')), &chain('1').to_string());
        dir.write(&format!("{}/cache-id", layer('1')), "one");
        dir.dir("overlay2/l");
        for (link, id) in [("INIT", "m-init"), ("TWO", "two"), ("ONE", "one"), ("M", "m")] {
            let diff = dir.dir(&format!("overlay2/{id}/diff"));
            fs::set_permissions(diff, fs::Permissions::from_mode(0o755)).unwrap();
            let link = dir.path().join("overlay2/l").join(link);
            symlink(format!("../{id}/diff"), link).unwrap();
        }
        dir.write("overlay2/m/lower", "l/INIT:l/TWO:l/ONE");
        dir.dir("overlay2/m/merged");
        Self(dir)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn identify(&self) -> Result<Image, Unidentified> {
        identify(&self.path("overlay2/m/merged"), CONTAINER)
    }
}

#[test]
fn the_chain_of_a_container() {
    let store = Store::new();
    let image = store.identify().unwrap();
    assert_eq!(image.chain_id, Some(chain('2')));
    assert_eq!(image.layers, [store.path("overlay2/two/diff"), store.path("overlay2/one/diff")]);
    assert_eq!(image.upper, Some(Upper { path: store.path("overlay2/m/diff"), empty: true }));
    store.0.write("overlay2/m/diff/file", "");
    assert!(!store.identify().unwrap().upper.unwrap().empty);
    assert_eq!(image.init, InitFiles::AsDocker);
    assert!(image.source.is_there().unwrap());
    fs::remove_dir_all(store.path("image/overlay2/layerdb/sha256")).unwrap();
    assert!(!image.source.is_there().unwrap());
    let me = Owner { uid: nix::unistd::geteuid().into(), gid: nix::unistd::getegid().into() };
    let mapping = (me != Owner::ROOT).then_some(me);
    assert_eq!(image.key, BaseKey::of_chain(&chain('2'), mapping));
    assert_eq!(image.top, Top { owner: me, mode: ROOT_MODE });
}

#[test]
fn root_a_remapped_store_has_its_own_bases() {
    super::super::testing::need_root();
    let store = Store::new();
    for id in ["m", "m-init"] {
        let diff = store.path(&format!("overlay2/{id}/diff"));
        std::os::unix::fs::chown(diff, Some(165_536), Some(165_537)).unwrap();
    }
    let image = store.identify().unwrap();
    assert_eq!(image.key.to_string(), format!("{}-165536.165537", chain('2').hex()));
    assert_eq!(image.top.owner, Owner { uid: 165_536, gid: 165_537 });
}

/// What is done to a good store, and the words that the error has.
type Spoil = (fn(&Store), &'static str);

#[test]
fn any_contradiction_leaves_the_image_unidentified() {
    fn put(store: &Store, path: &str, text: &str) {
        store.0.write(path, text);
    }
    const MOUNTS: &str = "image/overlay2/layerdb/mounts/c0ffee";
    let table: [Spoil; 14] = [
        (|s| put(s, &format!("{MOUNTS}/mount-id"), "other"), "mount-id says \"other\""),
        (|s| put(s, &format!("{MOUNTS}/init-id"), "other-init"), "init-id says \"other-init\""),
        (|s| fs::remove_file(s.path(&format!("{MOUNTS}/init-id"))).unwrap(), "init-id: No such"),
        (|s| put(s, &format!("{MOUNTS}/parent"), ""), "has no layers"),
        (|s| fs::remove_file(s.path(&format!("{MOUNTS}/parent"))).unwrap(), "has no layers"),
        (|s| put(s, &format!("{MOUNTS}/parent"), "sha256:../../x"), "is not a chain ID"),
        (|s| put(s, &format!("{MOUNTS}/parent"), &chain('9').to_string()), "cache-id: No such"),
        (|s| put(s, "overlay2/m/lower", "l/INIT:l/ONE:l/TWO"), "differ first at layer 1"),
        (|s| put(s, "overlay2/m/lower", "l/INIT:l/TWO"), "differ first at layer 2"),
        (|s| put(s, "overlay2/m/lower", "l/TWO:l/ONE"), "says \"two\", but \"m-init\""),
        (|s| put(s, "overlay2/m/lower", "../../x:l/ONE"), "a name under l/"),
        (|s| put(s, "overlay2/m/lower", ""), "a name under l/"),
        (
            |s| {
                let mode = fs::Permissions::from_mode(0o700);
                fs::set_permissions(s.path("overlay2/m/diff"), mode).unwrap();
            },
            "expected",
        ),
        (
            |s| {
                fs::remove_file(s.path("overlay2/l/TWO")).unwrap();
                symlink("/etc", s.path("overlay2/l/TWO")).unwrap();
            },
            "but \"../<layer>/diff\" was",
        ),
    ];
    for (spoil, expected) in table {
        let store = Store::new();
        spoil(&store);
        let unidentified = sharedroot_sys::chain::chain(&store.identify().expect_err(expected));
        assert!(unidentified.contains(expected), "{unidentified:?} lacks {expected:?}");
        assert!(!unidentified.contains('\n'), "{unidentified:?}");
    }
}

#[test]
fn a_chain_in_a_circle_ends() {
    let store = Store::new();
    let parent = format!("image/overlay2/layerdb/sha256/{}/parent", chain('1').hex());
    store.0.write(&parent, &chain('2').to_string());
    assert!(matches!(store.identify(), Err(Unidentified::ChainTooLong { .. })));
}

#[test]
fn only_dockers_own_layout_is_dockers() {
    let store = Store::new();
    for (root_path, container) in [
        (store.path("overlay2/m/merged"), "unknown"),
        (store.path("overlay2/m/other"), CONTAINER),
        (store.path("vfs/m/merged"), CONTAINER),
        (store.path("overlay2/../overlay2/m/merged"), CONTAINER),
        (store.path("x/../overlay2/m/merged"), CONTAINER),
        ("overlay2/m/merged".into(), CONTAINER),
        ("/".into(), CONTAINER),
    ] {
        let found = identify(&root_path, container);
        assert!(
            matches!(found, Err(Unidentified::NotADockerRootfs { .. })),
            "{root_path:?} {found:?}"
        );
    }
}

#[test]
fn links_of_the_driver() {
    assert_eq!(layer_of_link("../abc-init/diff"), Some("abc-init"));
    for bad in ["/abc/diff", "../diff", "../../diff", "../a/b/diff", "..//diff", "../a/diff/"] {
        assert_eq!(layer_of_link(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_link_names_one_directory_or_none(id in "[ -~]{0,20}") {
        let path = format!("../{id}/diff");
        if let Some(found) = layer_of_link(&path) {
            prop_assert_eq!(found, &id);
            prop_assert_eq!(Path::new(&id).components().count(), 1);
            prop_assert!(matches!(Path::new(&id).components().next(), Some(Component::Normal(_))));
        }
    }
}
