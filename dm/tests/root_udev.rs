//! The crate beside a running udevd, with the rule of this project. `hack/test` runs this binary as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Place, base, byte, name, run};
use sharedroot_dm::{Bytes, Pool};

const RULE: &str = "/run/udev/rules.d/56-dm-sharedroot.rules";

/// A running udevd. Dropping this value ends it.
struct Udevd(Child);

impl Udevd {
    fn start() -> Self {
        let daemon = ["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("the package udev; run `hack/test`");
        fs::create_dir_all("/run/udev/rules.d").expect("a directory");
        let child = Command::new(daemon)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("udevd");
        let end = Instant::now() + Duration::from_secs(120);
        while !Path::new("/run/udev/control").exists() {
            assert!(Instant::now() < end, "udevd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

impl Drop for Udevd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // Removed, because a process that finds the socket would wait for an answer.
        let _ = fs::remove_file("/run/udev/control");
        let _ = fs::remove_file(RULE);
    }
}

fn properties(device: &Path) -> String {
    run("udevadm", &["info", "--query=property", device.to_str().expect("text")])
}

/// Resumes a device with dmsetup, as an administrator may do. dmsetup does not set the udev flags of this crate.
fn by_hand(device: &Path) -> String {
    for verb in ["suspend", "resume"] {
        let mut dmsetup = Command::new("dmsetup");
        dmsetup.arg(verb).arg(device).env_remove("DM_DISABLE_UDEV");
        assert!(dmsetup.status().expect("dmsetup").success(), "{verb}");
    }
    run("udevadm", &["settle"]);
    properties(device)
}

fn links() -> Vec<String> {
    let Ok(dir) = fs::read_dir("/dev/disk/by-uuid") else { return Vec::new() };
    dir.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn root_udev_leaves_our_devices_unscanned() {
    let place = Place::new("udev");
    let _udevd = Udevd::start();
    fs::write(RULE, include_str!("../dm-sharedroot.rules")).expect("the rule");
    run("udevadm", &["control", "--reload"]);
    let before = links();

    let pool = Pool::open(&place.config).expect("a pool");
    base(&pool, "base", b'a');
    let new = pool.snapshot(&name("base"), &name("snap")).expect("a snapshot");
    run("mke2fs", &["-q", "-t", "ext4", new.device().to_str().expect("text")]);
    let device = new.keep().expect("kept").device;
    run("udevadm", &["settle"]);
    let told = properties(&device);
    assert!(told.contains("DM_UUID=SHAREDROOT-udev-"), "{told}");

    let told = by_hand(&device);
    for flag in ["DISK", "OTHER", "SUBSYSTEM"] {
        let flag = format!("DM_UDEV_DISABLE_{flag}_RULES_FLAG=1");
        assert!(told.contains(&flag), "{flag} is missing: {told}");
    }
    assert!(!told.contains("ID_FS_UUID="), "it was scanned: {told}");
    assert_eq!(links(), before, "no link to a container's file system");

    let read = byte(&pool.activate(&name("base")).expect("active").device, Bytes::kib(900));
    assert_eq!(read, b'a');
    pool.delete(&name("snap")).expect("deleted");
    pool.deactivate(&name("base")).expect("deactivated");
    pool.destroy().expect("destroyed");
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    run("udevadm", &["settle"]);
    let left = run("ipcs", &["--semaphores"]);
    assert!(!left.contains("0x0d4d"), "a semaphore of udev's cookies is left: {left}");
}

/// Without the rule udev scans the device. This proves that the test above passes because of the rule.
#[test]
fn root_without_the_rule_udev_scans() {
    let place = Place::new("noudev");
    let _udevd = Udevd::start();
    run("udevadm", &["control", "--reload"]);
    let pool = Pool::open(&place.config).expect("a pool");
    let new = pool.create_volume(&name("plain"), Bytes::mib(16)).expect("a volume");
    run("mke2fs", &["-q", "-t", "ext4", new.device().to_str().expect("text")]);
    let told = by_hand(&new.keep().expect("kept").device);
    assert!(told.contains("ID_FS_UUID="), "{told}");
    pool.destroy().expect("destroyed");
}
