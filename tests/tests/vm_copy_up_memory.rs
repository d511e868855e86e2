//! A file system in memory that begins as a copy of the image's directory: the container pays for the copy. Generic: passes with
//! `RUNTIME=runc`, too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::runtime::Runtime;

const MIB: u64 = 1 << 20;

/// A bundle with a file of `size` MiB in `/data`, copied into memory, and a limit of `limit` MiB for the container.
fn bundle(runtime: &Runtime, size: u64, limit: u64) -> Bundle {
    let bundle = Bundle::new(runtime, &["sleep", "1000"]);
    let data = bundle.path().join("rootfs/data");
    fs::create_dir_all(data.join("below")).expect("make directories");
    fs::write(data.join("large"), vec![7; usize::try_from(size * MIB).expect("small")])
        .expect("write");
    fs::write(data.join("below/file"), "text").expect("write");
    fs::hard_link(data.join("below/file"), data.join("below/name")).expect("link");
    fs::set_permissions(data.join("below/file"), fs::Permissions::from_mode(0o4751))
        .expect("chmod");
    symlink("below/file", data.join("link")).expect("symlink");
    bundle.edit(|config| {
        let memory = json!({ "destination": "/data", "type": "tmpfs", "source": "m", "options": ["tmpcopyup"] });
        config["mounts"].as_array_mut().expect("mounts").push(memory);
        config["linux"]["resources"]["memory"] = json!({ "limit": limit * MIB, "swap": limit * MIB });
    });
    bundle
}

#[test]
fn vm_the_copy_is_charged_to_the_container() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime, 32, 256);
    let container = runtime.start(&bundle);
    let stat = cgroup_file(container.pid(), "memory.stat");
    let shared = stat.lines().find_map(|line| line.strip_prefix("shmem ")).expect("a figure");
    assert!(shared.parse::<u64>().expect("a number") >= 32 * MIB, "{shared} bytes");
    let root = format!("/proc/{}/root/data", container.pid());
    assert_eq!(fs::metadata(format!("{root}/large")).expect("stat").len(), 32 * MIB);
    assert_eq!(fs::read_to_string(format!("{root}/link")).expect("read"), "text");
    let file = fs::metadata(format!("{root}/below/file")).expect("stat");
    assert_eq!(file.mode() & 0o7777, 0o4751);
    let seen = container.exec(&[], &["cat", "/data/below/name"]).ok();
    assert_eq!(seen, "text");
}

/// A mount lies in the copy, at a link of the image that leads on in it, and files of the image are where no mount is.
#[test]
fn vm_mounts_lie_in_the_copy() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime, 1, 256);
    let data = bundle.path().join("rootfs/data");
    symlink("below", data.join("to-below")).expect("symlink");
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).expect("make the volume");
    fs::write(volume.join("inside"), "of the volume").expect("write");
    bundle.edit(|config| {
        let volume = json!({ "destination": "/data/to-below/volume", "type": "bind", "source": volume, "options": ["rbind"] });
        config["mounts"].as_array_mut().expect("mounts").push(volume);
    });
    let container = runtime.start(&bundle);
    for (path, text) in
        [("below/volume/inside", "of the volume"), ("below/file", "text"), ("link", "text")]
    {
        assert_eq!(container.exec(&[], &["cat", &format!("/data/{path}")]).ok(), text, "{path}");
    }
    let large = fs::metadata(format!("/proc/{}/root/data/large", container.pid())).expect("stat");
    assert_eq!((large.len(), large.blocks()), (MIB, MIB / 512));
}

#[test]
fn vm_a_copy_beyond_the_limit_fails_create() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime, 128, 64);
    let id = unique_name("c");
    let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
    assert_ne!(said.status, 0, "{said}");
    assert_ne!(runtime.cmd(&["state", &id]).run().status, 0, "nothing is left");
}
