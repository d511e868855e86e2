//! A thin pool that LVM makes, activates and grows, and that sharedroot fills.
//!
//! Guest: --no-docker

use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::Replaced;
use sharedroot_tests::pool::{CONFIG, Device, NoPool, has, pool, refused, runs, status};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

#[test]
fn vm_a_thin_pool_of_lvm_is_adopted() {
    const GROUP: &str = "sharedroot_test";
    let no_pool = NoPool::at_first();
    let disk = Device::new("512M");
    out(&["pvcreate", "--yes", &disk.node]);
    out(&["vgcreate", GROUP, &disk.node]);
    let name = format!("{GROUP}/pool");
    let make = ["lvcreate", "--type", "thin-pool", "--size", "256M", "--poolmetadatasize", "8M"];
    let how = ["--chunksize", "64k", "--zero", "n", "--name", "pool", GROUP];
    out(&[&make[..], &how].concat());
    let node = format!("/dev/mapper/{GROUP}-pool");
    let lvchange = |flags: &[&str]| out(&[&["lvchange"], flags, &[&*node]].concat());

    has(&refused(&["create", "--lvm", "nothing"]), &["nothing", "VG/LV"]);
    has(&refused(&["create", "--lvm", "no/such"]), &["no-such", "lvchange --activate y"]);
    let text = format!("[pool]\nlvm = \"{name}\"\n[base]\nsize = \"1G\"\n");
    let both = text.replace("[base]", "data_dev = \"/a\"\nmetadata_dev = \"/b\"\n[base]");
    let wrong = Replaced::with(CONFIG, &both);
    has(&refused(&["status"]), &[CONFIG, "either", "data_dev", "lvm"]);
    drop(wrong);
    let _config = Replaced::with(CONFIG, &text);
    // A pool that an administrator names is not made by a container.
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, true, &["true"]);
    let refusal = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("c")]).run();
    has(&refusal.fails(1), &["no pool default", "pool create"]);
    assert!(!pool(&["status"]).ok().contains("first container"));

    let warned = pool(&["create"]);
    has(&warned.stderr, &["lvchange --errorwhenfull y"]);
    pool(&["destroy", "--force"]).ok();
    lvchange(&["--errorwhenfull", "y"]);
    let made = pool(&["create", "--json"]);
    assert!(made.stderr.is_empty(), "{made}");
    assert_eq!(made.json()["data_path"], *node);
    runs(&runtime, &image);
    has(&refused(&["grow"]), &["lvextend", &node]);
    out(&["lvextend", "--size", "+64M", &node]);
    assert_eq!(status()["data"]["total_bytes"], 320 << 20);
    has(&refused(&["repair"]), &["lvconvert --repair", &node]);

    // Off and on again, as around a planned shutdown.
    has(&pool(&["deactivate"]).ok(), &["volumes", "inactive", "lvchange --activate n"]);
    lvchange(&["--activate", "n"]);
    assert_eq!(status()["active"], false);
    let remedy = "lvchange --activate y";
    for verb in [&["activate"][..], &["destroy", "--force"]] {
        has(&refused(verb), &[remedy, &node]);
    }
    lvchange(&["--activate", "y"]);
    runs(&runtime, &image);
    pool(&["check"]).ok();

    pool(&["destroy", "--force"]).ok();
    assert_eq!(out(&["lvs", "--noheadings", "--options", "data_percent", &name]).trim(), "0.00");
    // LVM has it back as it made it, and so it can be adopted again.
    pool(&["create"]).ok();
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    out(&["vgremove", "--yes", GROUP]);
    out(&["pvremove", &disk.node]);
    drop(disk);
    no_pool.again();
}
