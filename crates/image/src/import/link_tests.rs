//! Symbolic links of a layer on the way to an entry. The kernel follows them, and the time has a bound.

use super::super::lower_layers::LowerLayers;
use super::super::testing::{Tar, Unpacked};
use sharedroot_sys::chain::chain;

/// The longest way that the kernel follows: `s0` and `t0` lead to `real` by 39 links with targets of 4,080 bytes.
fn long_ways() -> Tar {
    let target = |next: &str| format!("{}{next}", "a/../".repeat(815));
    let tar = Tar::new().dir("a").file("real/file", "").symlink("t0", &target("s1"));
    let links =
        (0..38).fold(tar, |tar, n| tar.symlink(&format!("s{n}"), &target(&format!("s{}", n + 1))));
    links.symlink("s38", "real")
}

/// Checks that a layer of 100 entries, of which each is behind links, takes too many looks, and fails at nothing else. The links
/// of each take the kernel the time of 510 looks.
fn assert_bounded(tars: &[Vec<u8>]) {
    Unpacked::of(tars).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let Err(error) = Unpacked::within(tars, LowerLayers::bounded(50 * 510)) else {
        panic!("more looks than the bound");
    };
    assert!(chain(&error).contains("looks into its layers"), "{}", chain(&error));
}

#[test]
fn root_entries_behind_long_links_have_a_bound() {
    let entries = (0..50).fold(long_ways(), |tar, n| {
        tar.file(&format!("s0/{n}"), "").file(&format!("t0/{n}-too"), "")
    });
    assert_bounded(&[entries.bytes()]);
}

#[test]
fn root_hard_links_to_files_behind_long_links_have_a_bound() {
    let tar = (0..100).fold(long_ways(), |tar, n| tar.link(&format!("{n}"), "s0/file"));
    assert_bounded(&[tar.bytes()]);
}

#[test]
fn root_directories_behind_long_links_that_no_entry_names_have_a_bound() {
    let tar = (0..100).fold(long_ways(), |tar, n| tar.file(&format!("s0/{n}/file"), ""));
    assert_bounded(&[tar.bytes()]);
}

/// A link of a lower layer, which a hard link brings into this layer.
#[test]
fn root_long_links_of_lower_layers_count_too() {
    let below = long_ways().bytes();
    let names = ["t0".to_owned()].into_iter().chain((0..39).map(|n| format!("s{n}")));
    let tar = names.fold(Tar::new().dir("a").dir("real"), |tar, name| tar.link(&name, &name));
    let above = (0..100).fold(tar, |tar, n| tar.file(&format!("{}0/{n}", ["s", "t"][n % 2]), ""));
    assert_bounded(&[below, above.bytes()]);
}

/// Old layers have `/lib64`, `/bin` and such as links. A whole distribution behind them is far from the bound.
#[test]
fn root_a_layer_of_10_000_entries_behind_a_usual_link_is_unpacked() {
    let tar = Tar::new().dir("usr/lib").symlink("lib", "usr/lib").file("usr/lib/file", "");
    let tar = (0..100).fold(tar, |tar, n| tar.dir(&format!("usr/lib/{n}")));
    let tar = (0..5000).fold(tar, |tar, n| {
        let dir = n % 100;
        tar.file(&format!("lib/{dir}/{n}"), "").link(&format!("lib/{n}-again"), "lib/file")
    });
    let layers = Unpacked::of(&[tar.bytes()]).unwrap();
    // Two for each entry, and two for each target of a hard link.
    assert!(layers.looks < 40_000, "{} looks", layers.looks);
    let tree = layers.merged();
    assert_eq!(tree.names("usr/lib").len(), 100 + 1 + 5000);
    assert!(tree.has("usr/lib/99/4999"));
}
