//! What the image-spec says of whiteouts and opaque directories.

use sharedroot_sys::chain::chain;
use tar::{EntryType, Header};

use super::super::super::testing::shell;
use super::super::allowance::Allowance;
use super::super::lower_layers::LowerLayers;
use super::super::testing::{Tar, Unpacked, header};

fn unpacked(tars: &[Vec<u8>]) -> Unpacked {
    Unpacked::of(tars).unwrap()
}

#[test]
fn root_whiteouts_hide_what_is_below_and_nothing_else() {
    let below = Tar::new().file("a", "").file("b", "").file("dir/x", "old").file("dir/y", "old");
    let below = below.file("keep/x", "old").bytes();
    let above = Tar::new()
        .file(".wh.a", "")
        .file(".wh.nothing", "")
        .file("no/such/.wh.place", "")
        .file("b", "new")
        .file(".wh.b", "") // of the layers below only
        .file("dir/x", "new")
        .file("dir/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "aufs's own")
        .bytes();
    let layers = unpacked(&[below, above]);
    let tree = layers.merged();
    // The way to a whiteout is made, as engines make it.
    assert_eq!(tree.names("."), ["b", "dir", "keep", "no"]);
    assert!(tree.names("no/such").is_empty());
    assert_eq!((tree.read("b"), tree.read("dir/x")), ("new".into(), "new".into()));
    assert_eq!(tree.names("dir"), ["x"]);
    assert_eq!(tree.names("keep"), ["x"]);
    for bad in [".wh.", ".wh..", ".wh..."] {
        let error = Unpacked::error(&[Tar::new().file(bad, "").bytes()]);
        assert!(error.contains("a whiteout without a name"), "{bad}: {error}");
    }
}

/// overlay shows a whiteout that hides nothing as the device that it is: there must be none.
#[test]
fn root_whiteouts_in_opaque_directories_are_never_seen() {
    let below = || Tar::new().file("dir/x", "").file("dir/deep/y", "").file("other", "").bytes();
    let orders = [
        Tar::new()
            .dir("dir")
            .file("dir/.wh.x", "")
            .file("dir/deep/.wh.y", "")
            .file("dir/.wh..wh..opq", ""),
        Tar::new()
            .dir("dir")
            .file("dir/.wh..wh..opq", "")
            .file("dir/.wh.x", "")
            .file("dir/deep/.wh.y", ""),
        Tar::new().file(".wh.dir", "").dir("dir").file("dir/.wh.x", "").dir("dir/deep"),
        Tar::new().dir("dir").dir("dir/deep").file("dir/deep/.wh.y", "").file(".wh.dir", ""),
    ];
    for above in orders {
        let layers = unpacked(&[below(), above.bytes()]);
        let tree = layers.merged();
        let names = tree.names("dir");
        assert!(names.is_empty() || names == ["deep"], "{names:?}");
        for name in names {
            assert!(tree.names(&format!("dir/{name}")).is_empty());
        }
        assert!(tree.has("other"));
    }
    // A directory of the lowest layer has nothing below it that could be hidden.
    let layers = unpacked(&[Tar::new().file("dir/.wh.x", "").file("dir/z", "").bytes()]);
    assert_eq!(layers.merged().names("dir"), ["z"]);
}

#[test]
fn root_the_root_can_hide_all_layers_below() {
    let above = Tar::new().file("new", "").file(".wh..wh..opq", "").bytes();
    let layers = unpacked(&[Tar::new().file("old", "").bytes(), above]);
    assert_eq!(layers.merged().names("."), ["new"]);
}

/// This layer is then the lowest one, where overlay would show a whiteout as a device.
#[test]
fn root_whiteouts_before_an_opaque_root_are_never_seen() {
    let below = Tar::new().file("dir/x", "").file("dir/opaque/y", "").file("x", "").bytes();
    let above = Tar::new()
        .file("dir/.wh.x", "")
        .file("dir/opaque/.wh..wh..opq", "")
        .file(".wh.x", "")
        .file(".wh..wh..opq", "")
        .file(".wh..wh..opq", "")
        .bytes();
    let layers = unpacked(&[below, above]);
    let tree = layers.merged();
    assert_eq!(tree.names("."), ["dir"]);
    assert_eq!(tree.names("dir"), ["opaque"]);
    let devices = shell("find \"$1\"/1 -type c", &[layers.dir.path()]);
    assert_eq!(devices, "");
}

/// The lower layers have the name at the place to which the link leads, as Docker's overlay2 has it, which makes the whiteout by
/// way of the link.
#[test]
fn root_what_a_link_of_the_layer_leads_to_is_hidden() {
    let below = Tar::new().dir("real").file("real/secret", "").file("real/deep/secret", "");
    let below = below.file("real/opaque/secret", "").file("real/kept", "").bytes();
    for link in ["real", "/real", "../real", "via/../real"] {
        let above = Tar::new()
            .dir("real")
            .dir("via")
            .symlink("s", link)
            .file("s/.wh.secret", "")
            .file("s/deep/.wh.secret", "")
            .file("s/opaque/.wh..wh..opq", "")
            .file("s/.wh.nothing", "")
            .bytes();
        let layers = unpacked(&[below.clone(), above]);
        let tree = layers.merged();
        assert_eq!(tree.names("real"), ["deep", "kept", "opaque"], "{link}");
        assert!(tree.names("real/deep").is_empty() && tree.names("real/opaque").is_empty());
    }
    // A name that the lower layers have beside the link is not the one.
    let below = Tar::new().file("s/secret", "").file("real/x", "").bytes();
    let above = Tar::new().dir("real").symlink("s", "real").file("s/.wh.secret", "").bytes();
    let layers = unpacked(&[below, above]);
    assert_eq!(layers.merged().names("real"), ["x"]);
    assert_eq!(shell("find \"$1\"/1 -type c", &[layers.dir.path()]), "");
    // A link of a lower layer is replaced, also on the way to a whiteout.
    let below = Tar::new().file("real/secret", "").symlink("s", "real").bytes();
    let layers = unpacked(&[below, Tar::new().file("s/.wh.secret", "").bytes()]);
    let tree = layers.merged();
    assert_eq!((tree.names("real"), tree.names("s")), (vec!["secret".to_owned()], vec![]));
}

/// A device 0:0 is an entry like any other: it replaces what the layer had under the name.
#[test]
fn root_a_device_that_is_a_whiteout_replaces_what_the_layer_had() {
    let device = |tar: Tar, name| tar.header(&whiteout_device(name), b"");
    let below = || Tar::new().file("file", "old").file("dir/old", "").file("kept", "").bytes();
    let above = Tar::new().file("file", "new").file("dir/new", "").file("own", "");
    let above = device(device(device(above, "file"), "dir"), "own");
    let layers = unpacked(&[below(), above.bytes()]);
    assert_eq!(layers.merged().names("."), ["kept"]);
    let above = device(device(Tar::new(), "file"), "dir").file("file", "new").bytes();
    let layers = unpacked(&[below(), above]);
    assert_eq!(layers.merged().names("."), ["file", "kept"]);
    assert_eq!(layers.merged().read("file"), "new");
}

fn whiteout_device(name: &str) -> Header {
    header(EntryType::Char, name, |header| {
        header.set_mode(0);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
    })
}

/// A file at the end of `depth` directories, which no entry names.
fn deep(depth: usize, name: &str) -> String {
    format!("{}{name}", "d/".repeat(depth))
}

/// Ten layers with the same 200 directories, one in another, and a layer with 20 whiteouts at their end. When each whiteout
/// walked the path in each layer, each took two thousand looks, and each directory on the way took some, too.
fn whiteouts_at_depth() -> Vec<Vec<u8>> {
    let layer = |n: usize| Tar::new().file(&deep(200, &format!("file-{n}")), "").bytes();
    let hidden = (0..20).map(|n| deep(200, &format!(".wh.file-{n}")));
    let top = hidden.fold(Tar::new(), |tar, name| tar.file(&name, ""));
    (0..10).map(layer).chain([top.bytes()]).collect()
}

#[test]
fn root_whiteouts_at_depth_take_few_looks_into_many_layers_and_have_a_bound() {
    let tars = whiteouts_at_depth();
    let layers = unpacked(&tars);
    let looks = layers.looks;
    assert!(looks < 20_000, "{looks} looks");
    let tree = layers.merged();
    assert!(tree.names(&"d/".repeat(200)).is_empty());
    assert!(Unpacked::within(&tars, LowerLayers::bounded(looks)).is_ok());
    let Err(error) = Unpacked::within(&tars, LowerLayers::bounded(looks - 1)) else {
        panic!("more looks than the bound");
    };
    let error = chain(&error);
    assert!(error.contains("looks into its layers"), "{error}");
}

#[test]
fn root_the_entries_of_all_layers_have_a_bound() {
    // Four entries, and three directories that none of them names.
    let tars = [
        Tar::new().file("a/b/file", "").dir("dir").bytes(),
        Tar::new().file("c/.wh.nothing", "").file("c/file", "").bytes(),
    ];
    let within = |most| {
        let mut below = LowerLayers::default();
        below.allowance = Allowance::bounded(most);
        Unpacked::within(&tars, below)
    };
    assert!(within(7).is_ok());
    let Err(error) = within(6) else { panic!("more entries than the bound") };
    assert!(chain(&error).contains("beyond the 6 that all layers may have"), "{error}");
}
