//! An image that mke2fs would not take as it is runs all the same, on the engine's rootfs, not shared, and says why.
//!
//! Guest: --no-docker

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use sharedroot_tests::command::out;
use sharedroot_tests::documented;
use sharedroot_tests::kept::nothing_is_kept;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// A directory with so many bytes of path in the image, each directory of it with one letter.
fn deep(top: &Path, bytes: usize) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, top, flags, Mode::empty()).unwrap();
    for _ in 0..(bytes - 4) / 2 {
        mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
        at = openat(at.as_fd(), "d", flags, Mode::empty()).unwrap();
    }
    let last = "e".repeat(bytes - 1 - (bytes - 4) / 2 * 2);
    mkdirat(&at, last, Mode::from_raw_mode(0o755)).unwrap();
}

/// For each new name mke2fs reads the directory from its beginning: 22,500 names of 255 bytes are beyond the bound.
#[test]
fn vm_a_directory_of_too_many_names_leaves_the_root_not_shared() {
    only_in_lab();
    let _config = small_bases();
    let runtime = Runtime::sharedroot();
    for (names, on_base) in [(500, true), (22_500, false)] {
        let image = Image::new();
        let dir = image.top().join("many");
        fs::create_dir(&dir).unwrap();
        (0..names).for_each(|n| fs::write(dir.join(format!("{n:0255}")), "").unwrap());
        let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        let its = root_of(container.pid());
        assert_eq!(its.is_on_dm(), on_base, "{names} names: {its:?}");
        let status = documented::json("status", &[])["containers"]["not_shared"].to_string();
        if !on_base {
            has(&status, &["so many names that mke2fs and debugfs", "many", &container.id]);
        }
        container.call("delete", &["--force"]).ok();
    }
    nothing_is_kept();
}

#[test]
fn vm_a_path_that_mke2fs_would_not_take_leaves_the_root_not_shared() {
    only_in_lab();
    let _config = small_bases();
    let runtime = Runtime::sharedroot();
    for (bytes, on_base) in [(2000, true), (2001, false), (2040, false)] {
        let image = Image::new();
        deep(&image.top(), bytes);
        for readonly in [true, false] {
            let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
            let container = runtime.start(&bundle);
            let its = root_of(container.pid());
            assert_eq!(its.is_on_dm(), on_base, "{bytes} bytes, read-only {readonly}: {its:?}");
            let status = documented::json("status", &[])["containers"]["not_shared"].to_string();
            if !on_base {
                has(&status, &["path of more than 2000 bytes", "/d/d/d", &container.id]);
            }
            // Its end walks the whole tree.
            container.call("delete", &["--force"]).ok();
        }
        out(&["rm", "-rf", image.top().join("d").to_str().unwrap()]);
    }
    nothing_is_kept();
}
