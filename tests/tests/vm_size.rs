//! `dev.sharedroot.size` bounds what a container takes of the pool, whatever it does, and not only what `df` shows.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use serde_json::{Value, json};
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::documented;
use sharedroot_tests::kept::{host_ends, nothing_is_kept, root, snapshots};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::scatter::{scatter, taken};
use sharedroot_tests::stack::{Image, Stacked};

const MIB: u64 = 1 << 20;
/// What ext4 has for itself of 64 MiB: an inode table, a journal, descriptors and bitmaps.
const OWN: u64 = 8 * MIB;

fn sized(image: &Image, runtime: &Runtime, size: &str) -> Stacked {
    let bundle = image.bundle(runtime, false, &["sleep", "1000"]);
    set(&bundle, size);
    bundle
}

fn set(bundle: &Stacked, size: &str) {
    bundle.edit(|config| config["annotations"]["dev.sharedroot.size"] = json!(size));
}

/// The container's line of `status`.
fn shown(container: &Container<'_>) -> Value {
    let status = documented::json("status", &[]);
    let roots = status["private_roots"].as_array().expect("a list");
    let own = roots.iter().find(|root| root["id"] == container.id.as_str());
    own.expect("the container's root").clone()
}

/// The device below the container's root.
fn device(container: &Container<'_>) -> String {
    let number =
        fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).expect("mounts");
    let line = number.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    let number = line.split(' ').nth(2).expect("a device number");
    fs::canonicalize(format!("/sys/dev/block/{number}"))
        .map(|path| format!("/dev/{}", path.file_name().expect("a name").to_str().expect("text")))
        .expect("a device of sysfs")
}

fn bytes_of(device: &str) -> u64 {
    out(&["blockdev", "--getsize64", device]).trim().parse().expect("a size")
}

#[test]
fn vm_a_size_bounds_what_is_taken_of_the_pool() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    drop(runtime.start(&image.bundle(&runtime, false, &["sleep", "1000"])));
    let before = taken();
    let bundle = sized(&image, &runtime, "64M");
    let container = runtime.start(&bundle);
    let fresh = taken() - before;
    assert!(fresh < 2 * MIB, "{fresh} bytes for a root that nothing was written to");

    let rounds: Vec<_> = (0..6).map(|round| scatter(&root(&container), round)).collect();
    let grown = taken() - before;
    println!("files in each round: {rounds:?}; taken of the pool: {grown} bytes, at first {fresh}");
    assert!(rounds[0] > 4000 && rounds[5] > 2000, "{rounds:?}");
    assert!(grown <= 64 * MIB, "{grown} bytes of the pool for a root of 64 MiB");
    let own = shown(&container);
    assert_eq!(own["limit_bytes"], 64 * MIB);
    let used = own["used_bytes"].as_u64().expect("a number");
    assert!((32 * MIB..=64 * MIB).contains(&used), "{own}");
    has(&out(&["sharedroot", "status"]), &["MiB of at most 64 MiB"]);

    // What the container sees is what it has.
    let line = container.exec(&[], &["busybox", "df", "-k", "/"]).ok();
    let total = line.split_whitespace().rev().nth(4).and_then(|kib| kib.parse::<u64>().ok());
    let total = total.unwrap_or_else(|| panic!("{line}")) << 10;
    assert!((64 * MIB - OWN..=64 * MIB).contains(&total), "{line}");
    drop(container);
    nothing_is_kept();
    let left = taken() - before;
    assert!(left < MIB, "{left} bytes are left of it");
}

#[test]
fn vm_nobody_makes_a_sized_root_larger() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = sized(&image, &runtime, "64M");
    let container = runtime.start(&bundle);
    let device = device(&container);
    assert_eq!(bytes_of(&device), 64 * MIB);
    // With every capability, through the same ioctl as a container would: the device ends there.
    for size in ["65M", "1G"] {
        let grown = run(&["resize2fs", "-f", &device, size]);
        assert_ne!(grown.status, 0, "{grown}");
    }
    fs::write(root(&container).join("after"), "still whole").unwrap();
    out(&["sync"]);
    drop(container);

    // Sizes that are no whole block of the pool, and the base's own.
    for (size, blocks) in [("67108863", 64 * MIB - 65536), ("1G", 1024 * MIB)] {
        let bundle = sized(&image, &runtime, size);
        let container = runtime.start(&bundle);
        assert_eq!(bytes_of(&self::device(&container)), blocks, "{size}");
    }
}

fn starts<'r>(runtime: &'r Runtime, bundle: &Stacked, id: &str) -> Container<'r> {
    runtime.cmd(&["create", "--bundle", bundle.str(), id]).run().ok();
    runtime.cmd(&["start", id]).run().ok();
    runtime.container(id.to_owned())
}

#[test]
fn vm_a_size_stays_across_stops() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (sized(&image, &runtime, "48M"), unique_name("c"));
    let container = starts(&runtime, &bundle, &id);
    // What no overlay can hold: the snapshot is the root of the next start.
    let (top, mode) = (root(&container), Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, mode, 0).unwrap();
    fs::write(top.join("kept"), vec![1; 4 << 20]).unwrap();
    container.call("delete", &["--force"]).ok();
    let kept = snapshots();
    assert_eq!(kept.len(), 1);
    let again = starts(&runtime, &bundle, &id);
    assert_eq!(bytes_of(&device(&again)), 48 * MIB);
    // The end of the host.
    fs::write(root(&again).join("kept"), vec![2; 4 << 20]).unwrap();
    host_ends(&runtime, &bundle, again);
    let again = starts(&runtime, &bundle, &id);
    assert_eq!(bytes_of(&device(&again)), 48 * MIB);
    assert_eq!(fs::read(root(&again).join("kept")).unwrap(), vec![2; 4 << 20]);
    again.call("delete", &["--force"]).ok();
    assert_eq!(snapshots(), kept);

    // What a container wrote into is not made smaller; a size that is larger leaves it as it is.
    set(&bundle, "32M");
    let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
    has(&said, &["48 MiB", "32 MiB", "pool drop", &kept[0]]);
    set(&bundle, "64M");
    let again = starts(&runtime, &bundle, &id);
    assert_eq!(bytes_of(&device(&again)), 48 * MIB);
    fs::remove_file(root(&again).join("gone")).unwrap();
    again.call("delete", &["--force"]).ok();
    nothing_is_kept();

    // What the engine's root holds over the image has to fit, too.
    set(&bundle, "48M");
    fs::write(Path::new(&bundle.rootfs).join("more"), vec![3; 60 << 20]).unwrap();
    let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
    has(&said, &["dev.sharedroot.size", "not shared", "No space left"]);
    nothing_is_kept();
}

#[test]
fn vm_a_size_that_the_image_exceeds_is_refused_before_anything_is_left() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    // More files than the tables of one group have: 8,192 for 128 MiB.
    let many = image.top().join("many");
    fs::create_dir(&many).unwrap();
    (0..9000).for_each(|n| fs::write(many.join(n.to_string()), "").unwrap());
    let refused = |size: &str| {
        let bundle = sized(&image, &runtime, size);
        let said =
            runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run().fails(1);
        nothing_is_kept();
        said
    };
    drop(runtime.start(&image.bundle(&runtime, false, &["sleep", "1000"])));
    let before = taken();
    for size in ["1M", "100M", "128M"] {
        let said = refused(size);
        has(&said, &["dev.sharedroot.size", "that the image takes", "number of its files"]);
    }
    assert!(taken() - before < MIB);
    let container = runtime.start(&sized(&image, &runtime, "136M"));
    assert_eq!(container.exec(&[], &["sh", "-c", "ls /many | wc -l"]).ok().trim(), "9000");
}
