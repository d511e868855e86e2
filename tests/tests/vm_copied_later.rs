//! What its engine copies into a stopped container is newer than what the container left in its snapshot: after the end of the
//! host, and where the changes could not be written back.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{host_ends, nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Ext4, Image};

fn image() -> Image {
    let image = Image::new();
    for name in ["gone", "deep/er/still"] {
        fs::create_dir_all(image.top().join("dir").join(name)).unwrap();
    }
    for name in ["kept", "changed", "removed", "alone", "gone/a", "gone/b", "deep/er/still/file"] {
        fs::write(image.top().join("dir").join(name), "image").unwrap();
    }
    image
}

/// What the container does in its root.
fn changes(top: &Path) {
    let dir = top.join("dir");
    for name in ["changed", "made", "made over"] {
        fs::write(dir.join(name), "container").unwrap();
    }
    for name in ["removed", "alone"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    for name in ["gone", "deep"] {
        fs::remove_dir_all(dir.join(name)).unwrap();
    }
    symlink("kept", dir.join("link")).unwrap();
}

/// `docker cp`: a new file with its directory, over changed ones, into what the container removed, over a link. A file that is
/// there is removed first.
fn copies(engine: &Path) {
    let dir = engine.join("dir");
    let _ = fs::remove_dir_all(dir.join("new"));
    for name in ["gone", "deep/er/still", "new/empty"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    fs::set_permissions(dir.join("new"), fs::Permissions::from_mode(0o705)).unwrap();
    let files =
        ["new/file", "changed", "made over", "removed", "gone/c", "deep/er/still/new", "link"];
    for name in files {
        let _ = fs::remove_file(dir.join(name));
        fs::write(dir.join(name), "copied").unwrap();
    }
}

/// All that is in `/dir`, a line each.
fn shown(top: &Path) -> Vec<String> {
    let dir = top.join("dir");
    let found = out(&["find", dir.to_str().unwrap(), "-mindepth", "1", "-printf", "%P %M\n"]);
    let mut lines: Vec<_> = found
        .lines()
        .map(|line| {
            let text = fs::read_to_string(dir.join(line.rsplit_once(' ').unwrap().0));
            format!("{line} {}", text.unwrap_or_default())
        })
        .collect();
    lines.sort();
    lines
}

/// With a runtime that writes into the overlay itself the order of the two is the order of their times.
fn as_with_runc(image: &Image) -> Vec<String> {
    let runtime = Runtime::sharedroot();
    let plain = image.bundle(&runtime, false, &["sleep", "1000"]);
    let top = Path::new(&plain.rootfs);
    changes(top);
    // As if the container had removed what is in it only.
    copies(top);
    shown(top)
}

#[test]
fn vm_a_copy_after_the_end_of_the_host_is_newer() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let wanted = as_with_runc(&image);
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    // A second time with an upper directory that holds something.
    for _ in 0..2 {
        let (container, top) = starts(&runtime, &bundle, &id);
        let _ = fs::remove_dir_all(top.join("dir"));
        out(&["cp", "-a", image.top().join("dir").to_str().unwrap(), top.to_str().unwrap()]);
        changes(&top);
        fs::write(top.join("etc/unique"), "container").unwrap();
        host_ends(&runtime, &bundle, container);
        copies(engine);
        let (container, top) = starts(&runtime, &bundle, &id);
        assert_eq!(shown(&top), wanted);
        assert_eq!(fs::read_to_string(top.join("etc/unique")).unwrap(), "container");
        container.call("delete", &["--force"]).ok();
        nothing_is_kept();
        assert_eq!(shown(engine), wanted);
    }
}

/// The write-back ends in the middle of a large file, for want of room: no part of it is taken for a copy.
#[test]
fn vm_a_copy_after_a_write_back_that_failed_is_newer() {
    const LARGE: usize = 24 << 20;
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let wanted = as_with_runc(&image);
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let store = Ext4::below(&bundle, &[], "loop");
    let (engine, ballast) = (Path::new(&bundle.rootfs), Path::new(&store.0).join("ballast"));
    fs::create_dir(engine.join("large")).unwrap();
    fs::write(engine.join("large/0"), [1; 4096]).unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    changes(&top);
    for n in 0..2 {
        fs::write(top.join(format!("large/{n}")), vec![2; LARGE]).unwrap();
    }
    fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &["No space left", &snapshots()[0]]);
    fs::remove_file(&ballast).unwrap();
    copies(engine);
    // The second `delete`, or the next start, whichever comes.
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(shown(&top), wanted);
    for n in 0..2 {
        assert!(fs::read(top.join(format!("large/{n}"))).unwrap() == vec![2; LARGE]);
        assert_eq!(fs::metadata(top.join(format!("large/{n}"))).unwrap().mode() & 0o7777, 0o644);
    }
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// What a write-back leaves that ends in the middle of a removal, and of a change of attributes.
#[test]
fn vm_a_removal_that_was_cut_short_is_no_copy() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    changes(&top);
    std::os::unix::fs::chown(top.join("dir/kept"), Some(1), Some(2)).unwrap();
    fs::set_permissions(top.join("dir/kept"), fs::Permissions::from_mode(0o640)).unwrap();
    let wanted = shown(&top);
    host_ends(&runtime, &bundle, container);
    fs::remove_file(engine.join("dir/gone/a")).unwrap();
    fs::remove_dir_all(engine.join("dir/deep/er/still")).unwrap();
    std::os::unix::fs::chown(engine.join("dir/kept"), Some(1), Some(2)).unwrap();
    fs::set_permissions(engine.join("dir/kept"), fs::Permissions::from_mode(0o1000)).unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(shown(&top), wanted);
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(shown(engine), wanted);
}

/// `delete` is killed while it writes.
#[test]
fn vm_a_copy_after_a_write_back_that_was_killed_is_newer() {
    const LARGE: usize = 48 << 20;
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("dir/large"), vec![2; LARGE]).unwrap();
    fs::write(top.join("dir/changed"), "container").unwrap();
    let words = ["--root", runtime.root(), "delete", "--force", &id];
    let mut child = std::process::Command::new(runtime.program()).args(words).spawn().unwrap();
    let size =
        || fs::metadata(Path::new(&bundle.upper).join("dir/large")).map_or(0, |found| found.size());
    let some = wait_for("a part is written", || Some(size()).filter(|size| *size > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(some > 0);
    let _ = fs::remove_file(engine.join("dir/changed"));
    fs::write(engine.join("dir/changed"), "copied").unwrap();
    std::mem::forget(container);
    let _ = fs::remove_dir_all(Path::new(runtime.root()).join(&id));
    let (container, top) = starts(&runtime, &bundle, &id);
    assert!(fs::read(top.join("dir/large")).unwrap() == vec![2; LARGE]);
    assert_eq!(fs::read_to_string(top.join("dir/changed")).unwrap(), "copied");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// What was written back at a `pause` is older than what the container made of it afterwards.
#[test]
fn vm_what_a_pause_gave_is_no_copy() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("dir/changed"), "before").unwrap();
    for verb in ["pause", "resume"] {
        container.call(verb, &[]).ok();
    }
    fs::write(top.join("dir/changed"), "afterwards").unwrap();
    fs::write(top.join("dir/made"), "container").unwrap();
    host_ends(&runtime, &bundle, container);
    assert_eq!(fs::read_to_string(engine.join("dir/changed")).unwrap(), "before");
    fs::write(engine.join("dir/made"), "copied").unwrap();
    let (container, top) = starts(&runtime, &bundle, &id);
    assert_eq!(fs::read_to_string(top.join("dir/changed")).unwrap(), "afterwards");
    assert_eq!(fs::read_to_string(top.join("dir/made")).unwrap(), "copied");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The clock was set back, or a power cut took a copy from before the start: no time tells which is newer.
#[test]
fn vm_where_no_time_tells_the_start_is_refused_by_name() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), image());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let engine = Path::new(&bundle.rootfs);
    for stands in ["container", "copied again"] {
        let (container, top) = starts(&runtime, &bundle, &id);
        fs::write(top.join("dir/changed"), "container").unwrap();
        host_ends(&runtime, &bundle, container);
        out(&["date", "--set", "1 hour ago"]);
        let _ = fs::remove_file(engine.join("dir/changed"));
        fs::write(engine.join("dir/changed"), "copied").unwrap();
        out(&["date", "--set", "1 hour"]);
        let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
        let copy = format!("{}/dir/changed", bundle.upper);
        has(&said, &[&id, &snapshots()[0], "/dir/changed", &format!("remove {copy}")]);
        if stands == "container" {
            bundle.unmount();
            fs::remove_file(copy).unwrap();
            bundle.mount();
        } else {
            fs::remove_file(engine.join("dir/changed")).unwrap();
            fs::write(engine.join("dir/changed"), stands).unwrap();
        }
        let (container, top) = starts(&runtime, &bundle, &id);
        assert_eq!(fs::read_to_string(top.join("dir/changed")).unwrap(), stands);
        container.call("delete", &["--force"]).ok();
        nothing_is_kept();
    }
}
