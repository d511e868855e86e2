//! The pool, and the disk that btrfs is on.
//!
//! Both guests have the same disks: /dev/ubdc is halved by dm-linear, the first half for a pool on devices, the second
//! for btrfs. So btrfs has a disk of its own below it, as overlay2's ext4 has.

use sharedroot_tests::command::out;

use crate::options::Pool;

pub fn make_pool(kind: Pool) {
    match kind {
        Pool::Loop => out(&["sharedroot", "pool", "create"]),
        Pool::Device => {
            let (data, metadata) = (half("bench-data", 0), of_the_lab("LAB_METADATA_DEV"));
            let create = ["sharedroot", "pool", "create"];
            let devices = ["--data-dev", &data, "--metadata-dev", &metadata];
            out(&[&create[..], &devices].concat())
        }
    };
}

/// An empty block device, as large as the data of a pool on devices.
pub fn for_btrfs() -> String {
    half("bench-btrfs", 1)
}

fn half(name: &str, number: u64) -> String {
    let disk = of_the_lab("LAB_DATA_DEV");
    let sectors = out(&["blockdev", "--getsz", &disk]);
    let sectors: u64 = sectors.parse().expect("a number of sectors");
    let (half, from) = (sectors / 2, sectors / 2 * number);
    out(&["dmsetup", "create", name, "--table", &format!("0 {half} linear {disk} {from}")]);
    format!("/dev/mapper/{name}")
}

fn of_the_lab(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}: run it by hack/bench cow"))
}
