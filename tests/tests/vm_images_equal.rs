//! Two machines make the same base of the same image, bit by bit. `hack/test` boots two guests, one after
//! another, that share a directory: the first makes the bases from Docker's layers and writes their digests down, the second
//! makes them by `image import` and compares.
//!
//! Guest: --limit 800 --shim long
//! Guest: --selinux permissive --limit 800

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sharedroot_tests::command::Cmd;
use sharedroot_tests::docker::{Container, docker};
use sharedroot_tests::lab::{Replaced, TempDir, only_in_lab};
use sharedroot_tests::pool::CONFIG;
use sharedroot_tests::tree::sha256;

/// What the first guest leaves for the second.
const FIRST: &str = "/share/first-guest.json";

/// Makes the base of an image as the guest's part is; its key.
fn make(image: &str, first: bool) -> String {
    if first {
        let container = Container::run(&["--read-only", image, "sleep", "1000"]);
        return container.record()["rootfs"]["base"].as_str().expect("a key").to_owned();
    }
    let dir = TempDir::new("saved");
    let tar = format!("{}/image.tar", dir.str());
    let long = Duration::from_secs(600);
    Cmd::new("docker").args(&["save", "--output", &tar, image]).limit(long).run().ok();
    Cmd::new("sharedroot").args(&["image", "import", &tar]).limit(long).run().ok()
}

#[test]
fn vm_two_machines_make_the_same_blocks() {
    only_in_lab();
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"512M\"\n");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the boot's ID");
    let before: Option<Value> = Path::new(FIRST)
        .exists()
        .then(|| serde_json::from_slice(&fs::read(FIRST).expect("read")).expect("JSON"));
    let mut found = json!({"boot": boot});
    for image in ["debian", "nginx"] {
        let key = make(image, before.is_none());
        let inspect = || Cmd::new("sharedroot").args(&["image", "inspect", &key]).run().json();
        // Of a mounted base the device is there to stay; the container that mounted it is gone.
        if inspect()["mounted"] == false {
            docker(&[
                "run",
                "--rm",
                "--read-only",
                "--network=none",
                "--runtime=sharedroot",
                image,
                "true",
            ])
            .ok();
        }
        let device = inspect()["device"].as_str().expect("a device").to_owned();
        let digest: String =
            sha256(Path::new(&device)).iter().map(|b| format!("{b:02x}")).collect();
        println!("{image}: {key} has the blocks {digest}");
        found[image] = json!([key, digest]);
    }
    match before {
        None => fs::write(FIRST, found.to_string()).expect("write for the second guest"),
        Some(before) => {
            assert_ne!(before["boot"], found["boot"], "both were one guest: run it by hack/test");
            for image in ["debian", "nginx"] {
                assert_eq!(before[image], found[image], "{image}");
            }
        }
    }
}
