use std::fs;
use std::path::PathBuf;

use sharedroot_format::BaseKey;

use super::super::testing::{TestDir, chain, image, need_root, shell};
use super::super::{assemble, make_filesystem};
use super::*;

const MIB: u64 = 1 << 20;

/// A base of `size` bytes with so many files of `length` bytes.
fn base(dir: &TestDir, size: u64, files: usize, length: usize) -> PathBuf {
    let one = dir.dir("one/many");
    // Bytes that differ, so that a block at the wrong place is seen.
    (0..files).for_each(|n| fs::write(one.join(n.to_string()), vec![n as u8; length]).unwrap());
    let tree = assemble(&image(vec![dir.dir("one")]), &dir.path().join("making")).unwrap();
    let device = dir.write("device", "");
    fs::File::options().write(true).open(&device).unwrap().set_len(size).unwrap();
    make_filesystem(&tree, &BaseKey::of_chain(&chain('a'), None), &device, size).unwrap();
    device
}

fn copy(dir: &TestDir, device: &Path) -> PathBuf {
    let snapshot = dir.path().join("snapshot");
    shell("cp --sparse=always \"$1\" \"$2\"", &[device, &snapshot]);
    snapshot
}

/// Checks the file system alone, on a device of the same size: no errors, writable, with all files of the layer.
fn is_whole(dir: &TestDir, device: &Path, size: u64) {
    let file = fs::File::options().write(true).open(device).unwrap();
    file.set_len(size / 65536 * 65536).unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[device]);
    shell(
        r#"unshare -m sh -euc 'mount -o noinit_itable,loop "$1" "$2"; diff -r "$3" "$2/many"; echo x > "$2/new"; umount "$2"' sh "$@"
           e2fsck -fn "$1" 2>&1"#,
        &[device, &dir.dir("mnt"), &dir.dir("one/many")],
    );
}

#[test]
fn root_a_file_system_shrinks_to_the_smallest_size_and_not_below() {
    need_root();
    // The smallest size is given by the blocks in one group, by the blocks in several groups, and by the number of files.
    for (size, files, length) in [(1024, 3, 300), (512, 200, 700_000), (512, 10_000, 0)] {
        let dir = TestDir::new();
        let device = base(&dir, size * MIB, files, length);
        let least = Layout::read(&device).unwrap().smallest() * BLOCK;
        for wanted in [least, least + 50 * MIB + 77] {
            let snapshot = copy(&dir, &device);
            shrink_filesystem(&snapshot, wanted)
                .unwrap_or_else(|e| panic!("{files} {wanted}: {e}"));
            let layout = Layout::read(&snapshot).unwrap();
            assert!(layout.blocks * BLOCK <= wanted && layout.blocks * BLOCK + 4 * MIB > wanted);
            is_whole(&dir, &snapshot, wanted.next_multiple_of(65536));
        }
        let error = shrink_filesystem(&copy(&dir, &device), least - 1).unwrap_err();
        assert!(
            matches!(error, MakeError::FilesDoNotFit { needs, .. } if needs == least),
            "{error}"
        );
    }
}

#[test]
fn root_little_is_written_for_it() {
    need_root();
    let dir = TestDir::new();
    let device = base(&dir, 2 << 30, 200, 70_000);
    let snapshot = copy(&dir, &device);
    shrink_filesystem(&snapshot, 200 * MIB).unwrap();
    let differ = shell(
        "cmp -l \"$1\" \"$2\" | awk '{print int($1 / 65536)}' | uniq | wc -l",
        &[&device, &snapshot],
    );
    let blocks: u64 = differ.trim().parse().unwrap();
    assert!((1..=6).contains(&blocks), "{blocks} blocks of the pool");
}

#[test]
fn no_number_of_a_superblock_is_too_large_to_count_with() {
    let mut sound = [0; 1024];
    let mut put = |at: usize, number: u32| sound[at..at + 4].copy_from_slice(&number.to_le_bytes());
    // 1 GiB, half of it free.
    let [blocks, inodes] = [1 << 18, 1 << 16];
    put(0x0, inodes);
    put(0x4, blocks);
    put(0xC, blocks / 2);
    put(0x10, inodes / 2);
    put(0x18, 2);
    put(0x20, 1 << 15);
    put(0x28, 1 << 13);
    put(0x38, 0xEF53);
    put(0x58, 256);
    put(0x174, 4);
    let smallest = |superblock: &[u8; 1024]| Layout::parse(superblock).map(Layout::smallest);
    assert!(smallest(&sound).is_some_and(|least| (1 << 17..1 << 18).contains(&least)));
    for at in (0..1024).step_by(4) {
        for number in [0, 1, 0x7fff_ffff, u32::MAX] {
            let mut other = sound;
            other[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
            let _ = smallest(&other);
        }
    }
}

#[test]
fn what_is_no_base_is_refused() {
    assert_eq!(Layout::parse(&[0; 1024]), None);
    assert_eq!(Layout::parse(&[0xff; 1024]), None);
    let dir = TestDir::new();
    let error = shrink_filesystem(&dir.write("short", "x"), MIB).unwrap_err();
    assert!(matches!(error, MakeError::Superblock { .. }), "{error}");
}
