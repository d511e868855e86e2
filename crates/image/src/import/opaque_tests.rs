use std::fs::{self, File};

use super::super::super::testing::{TestDir, alone, below_a_long_path, need_root, peak, shell};
use super::super::testing::{Tar, Unpacked};
use super::*;

#[test]
fn root_whiteouts_go_and_opaque_directories_below_are_left_out() {
    need_root();
    let dir = TestDir::new();
    dir.dir("a/b");
    dir.dir("a/opaque");
    dir.write("a/b/file", "");
    let make = r#"cd "$1"; mknod gone c 0 0; mknod a/b/gone c 0 0; mknod a/opaque/left c 0 0; mknod a/null c 1 3
                  setfattr -n trusted.overlay.opaque -v y a/opaque"#;
    shell(make, &[dir.path()]);
    let top = File::open(dir.path()).unwrap();
    // a, gone; b, opaque, null; file, gone
    assert_eq!(remove_whiteouts(top.as_fd()).unwrap(), 2 + 3 + 2);
    let left = shell("cd \"$1\"; find . -type c | sort", &[dir.path()]);
    assert_eq!(left, "./a/null\n./a/opaque/left\n");
}

/// As whole paths these names would take 20 MiB.
#[test]
fn many_directories_below_a_long_path_take_their_names_in_memory() {
    let name =
        "import::opaque::tests::many_directories_below_a_long_path_take_their_names_in_memory";
    alone(name, || {
        let dir = TestDir::new();
        below_a_long_path(dir.path(), 10_000);
        let top = File::open(dir.path()).unwrap();
        let before = peak();
        assert_eq!(remove_whiteouts(top.as_fd()).unwrap(), 8 + 10_000);
        let taken = peak().saturating_sub(before);
        assert!(taken < 8 << 20, "{} MiB", taken >> 20);
        assert!(fs::metadata(dir.path()).unwrap().is_dir());
    });
}

/// Each of 40 directories, one in another, becomes opaque, from the top down or from the bottom up: the 500 files at the bottom
/// are looked at once.
#[test]
fn root_directories_that_become_opaque_one_after_another_cost_one_walk() {
    let way = |depth: usize| "d/".repeat(depth);
    let files = |mut tar: Tar| {
        for n in 0..500 {
            tar = tar.file(&format!("{}{n}", way(40)), "");
        }
        tar
    };
    let mark = |tar: Tar, depth| tar.file(&format!("{}.wh..wh..opq", way(depth)), "");
    let down = (1..=40).fold(files(Tar::new()), mark);
    let up = (1..=40).rev().fold(files(Tar::new()), mark);
    for tar in [down, up] {
        let layers = Unpacked::of(&[tar.bytes()]).unwrap();
        // The way to each mark is looked at, too: 40 times up to 40 directories.
        assert!(layers.looks < 500 + 41 * 42, "{} looks", layers.looks);
    }
}
