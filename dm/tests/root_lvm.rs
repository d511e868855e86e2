//! A thin pool of LVM, adopted. `hack/test` runs this binary as root in the lab.
//!
//! Guest: --no-docker

#[path = "lab/devices.rs"]
mod devices;
mod lab;

use devices::Disk;
use lab::{Place, base, byte, fill, name, run};
use sharedroot_dm::{Backing, Bytes, Error, Pool, PoolConfig};

/// Runs LVM without its daemons and without udev, because no udevd runs here.
fn lvm(arguments: &[&str]) -> String {
    let config =
        "activation { udev_sync=0 udev_rules=0 monitoring=0 } devices { use_devicesfile=0 }";
    let mut all = vec![arguments[0], "--config", config];
    all.extend(&arguments[1..]);
    run("lvm", &all)
}

struct Group<'d>(&'d Disk, String);

impl<'d> Group<'d> {
    fn on(disk: &'d Disk) -> Self {
        let name = format!("vg-test{}", std::process::id());
        lvm(&["pvcreate", "-ff", "-y", disk.text()]);
        lvm(&["vgcreate", &name, disk.text()]);
        Self(disk, name)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("vgremove").args(["-ff", "-y", &self.1]).output();
        let _ = std::process::Command::new("pvremove").args(["-ff", "-y", self.0.text()]).output();
    }
}

#[test]
fn root_a_pool_of_lvm_is_adopted_used_and_given_back() {
    let place = Place::new("lvm");
    let disk = Disk::new("lvm", Bytes::mib(400));
    let group = Group::on(&disk);
    let lv = format!("{}/pool", group.1);
    let config =
        PoolConfig { backing: Backing::Lvm(lv.parse().expect("a name")), ..place.config.clone() };
    let error = Pool::create(&config).expect_err("there is none yet");
    assert!(matches!(error, Error::LvmInactive { .. }), "{error}");
    lvm(&[
        "lvcreate",
        "--type",
        "thin-pool",
        "-L",
        "128M",
        "--poolmetadatasize",
        "8M",
        "-c",
        "64k",
        "-Zn",
        "-n",
        "pool",
        &group.1,
    ]);
    lvm(&["lvchange", "--errorwhenfull", "y", &lv]);
    assert!(matches!(Pool::open(&config), Err(Error::NoPool { .. })), "never on the way");

    let pool = Pool::create(&config).expect("adopted");
    base(&pool, "base", b'a');
    let new = pool.snapshot(&name("base"), &name("snap")).expect("a snapshot");
    let snap = new.keep().expect("kept").device;
    fill(&snap, Bytes(0), Bytes::mib(1), b's').expect("written");
    let status = pool.status().expect("a status");
    assert_eq!((status.volumes, status.block), (2, Bytes::kib(64)));
    assert!(!status.on_loop);
    assert!(matches!(pool.grow(None, None), Err(Error::LvmGrows { .. })));
    assert!(matches!(pool.repair(), Err(Error::LvmChecks { .. })));
    pool.check().expect("a live pool is checked by its snapshot");

    // LVM grows the pool while it is in use.
    let before = status.data.expect("figures").total;
    lvm(&["lvextend", "-L", "+64M", &lv]);
    assert!(pool.status().expect("a status").data.expect("figures").total > before);
    fill(&snap, Bytes(0), Bytes::mib(2), b't').expect("written");
    pool.shut_down().expect("our volumes are deactivated");
    assert_eq!(place.dm_devices(), Vec::<String>::new());

    // As at a boot: LVM deactivates and activates the pool, whatever its transaction id is.
    lvm(&["lvchange", "-an", &lv]);
    let error = Pool::open(&config).expect_err("LVM has not activated it");
    assert!(error.to_string().contains("lvchange --activate y"), "{error}");
    lvm(&["lvchange", "-ay", &lv]);
    let pool = Pool::open(&config).expect("found again");
    let mapped = || pool.mapped(&name("snap")).expect("asked").expect("it is known");
    let inactive = mapped();
    assert_eq!(byte(&pool.activate(&name("base")).expect("active").device, Bytes(0)), b'a');
    assert_eq!(byte(&pool.activate(&name("snap")).expect("active").device, Bytes(0)), b't');
    assert_eq!(mapped(), inactive, "the metadata and the kernel say the same");
    assert!(inactive >= Bytes::mib(2), "{inactive:?}");
    pool.destroy().expect("given back");
    assert_eq!(place.dm_devices(), Vec::<String>::new());
    Pool::create(&config).expect("it is as LVM made it").destroy().expect("given back");
    lvm(&["lvchange", "-an", &lv]);
}

#[test]
fn root_what_is_no_empty_pool_of_lvm_is_refused() {
    let place = Place::new("lvmbad");
    let disk = Disk::new("lvmbad", Bytes::mib(400));
    let group = Group::on(&disk);
    let adopt = |lv: &str| {
        let backing = Backing::Lvm(format!("{}/{lv}", group.1).parse().expect("a name"));
        Pool::create(&PoolConfig { backing, ..place.config.clone() }).expect_err(lv)
    };
    lvm(&["lvcreate", "-L", "16M", "-n", "plain", &group.1]);
    let error = adopt("plain");
    assert!(matches!(error, Error::LvmNotPool { .. }), "{error}");
    lvm(&["lvcreate", "--type", "thin-pool", "-L", "64M", "-n", "used", &group.1]);
    lvm(&["lvcreate", "-T", "-V", "32M", "-n", "thin", &format!("{}/used", group.1)]);
    let error = adopt("used");
    assert!(matches!(error, Error::LvmNotPool { .. } | Error::LvmNotEmpty { .. }), "{error}");
    assert!(!Pool::exists(&place.config).expect("asked"), "nothing is recorded");
    lvm(&["vgchange", "-an", &group.1]);
}
