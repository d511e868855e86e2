//! A pool after an end that nobody planned: found by many at once, checked, repaired, given up.
//!
//! Guest: --no-docker --takes 30

use std::fs;
use std::thread;

use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::documented::{images, json};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::pool::{
    METADATA, NoPool, has, is_active, pool, reboot, refused, runs, small_bases,
};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// Of a file that is too large to be read into the guest's memory.
#[track_caller]
fn digest(path: &str) -> String {
    let line = out(&["sha256sum", path]);
    line.split(' ').next().expect("a digest").to_owned()
}

/// Writes over a block of the metadata that thin_check misses and thin_repair can do without.
#[track_caller]
fn damage() {
    let script = format!(
        "cd $(mktemp -d) && thin_dump {METADATA} > whole || exit 1
        for block in $(seq 1 200); do
            cp --sparse=always {METADATA} copy
            head -c 4096 /dev/urandom | dd of=copy bs=4096 seek=$block conv=notrunc 2> /dev/null
            thin_check copy > /dev/null 2>&1 && continue
            truncate -s 256M repaired
            thin_repair -i copy -o repaired > /dev/null 2>&1 && thin_dump repaired > mended || continue
            [ \"$(grep -v '<superblock' whole)\" = \"$(grep -v '<superblock' mended)\" ] || continue
            dd if=copy of={METADATA} bs=4096 skip=$block seek=$block count=1 conv=notrunc 2> /dev/null
            rm -r \"$PWD\"; echo $block; exit 0
        done
        exit 2"
    );
    let block = out(&["bash", "-c", &script]);
    eprintln!("damaged block {block} of the metadata");
}

#[test]
fn vm_damaged_metadata_is_found_and_repaired() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    has(&pool(&["check"]).ok(), &["default", "sound"]);
    assert_eq!(json("pool check", &[])["sound"], true);
    has(&refused(&["repair"]), &["active", "pool deactivate"]);

    reboot();
    assert_eq!(json("pool check", &[])["sound"], true);
    assert!(!is_active(), "check activates nothing");
    damage();
    let before = digest(METADATA);
    let remedy = ["default", METADATA, "damaged", "sharedroot pool repair", "thin_check"];
    has(&refused(&["check"]), &remedy);
    has(&refused(&["activate"]), &remedy);
    let bundle = image.bundle(&runtime, true, &["cat", "/etc/unique"]);
    let id = unique_name("c");
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_ne!(output.status, 0, "{output}");
    has(&output.stderr, &remedy);
    assert!(!is_active());
    assert!(digest(METADATA) == before, "nobody has touched it");

    let repaired = json("pool repair", &[]);
    let damaged = repaired["damaged_metadata"].as_str().expect("a path").to_owned();
    assert!(digest(&damaged) == before, "the damaged metadata is kept");
    pool(&["check"]).ok();
    pool(&["activate"]).ok();
    json("gc", &["--dry-run"]);
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_eq!(output.ok(), image.name);
    runs(&runtime, &image);
    // A second repair finds nothing to mend and keeps what was, under another name.
    pool(&["deactivate"]).ok();
    has(&pool(&["repair"]).ok(), &["damaged-2", "pool activate", "gc --dry-run"]);
    runs(&runtime, &image);
    // One that nobody wants to mend can be given up.
    reboot();
    damage();
    refused(&["check"]);
    pool(&["destroy", "--force"]).ok();
    for n in [1, 2] {
        fs::remove_file(format!("{METADATA}.damaged-{n}")).unwrap();
    }
    drop((bundle, image, runtime));
    no_pool.again();
}

/// As docs/operation.md says.
#[test]
fn vm_a_copy_of_the_state_directory_is_the_pool() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let keys = || images().iter().map(|base| base["key"].to_string()).collect::<Vec<_>>();
    let (before, backup) = (keys(), TempDir::new("backup"));
    pool(&["deactivate"]).ok();
    let copy = |from: &str, to: &str| out(&["cp", "-a", "--sparse=always", from, to]);
    copy("/var/lib/sharedroot/.", backup.str());
    pool(&["destroy", "--force"]).ok();
    assert_eq!(keys(), [""; 0]);
    copy(&format!("{}/.", backup.str()), "/var/lib/sharedroot");
    let activated = pool(&["activate"]);
    assert!(!activated.stderr.contains("was not deactivated"), "{activated}");
    pool(&["check"]).ok();
    assert_eq!(keys(), before);
    let gc = json("gc", &["--dry-run"]);
    let lost = gc["reconciled"]["lost"].as_array().map(Vec::len);
    assert_eq!((before.len(), lost), (1, Some(0)), "{gc:#}");
    runs(&runtime, &image);
    assert_eq!(keys(), before, "nothing was made anew");
    pool(&["destroy", "--force"]).ok();
    drop((image, runtime));
    no_pool.again();
}

#[test]
fn vm_after_a_reboot_one_of_many_activates_the_pool() {
    const MANY: usize = 8;
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let bundles: Vec<_> =
        (0..MANY).map(|n| image.bundle(&runtime, n % 2 == 0, &["cat", "/etc/unique"])).collect();
    reboot();
    let outputs: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                let command = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("many")]);
                scope.spawn(move || command.run())
            })
            .collect();
        started.into_iter().map(|run| run.join().expect("a container's end")).collect()
    });
    for output in &outputs {
        assert_eq!((output.status, output.stdout.trim()), (0, &*image.name), "{output}");
    }
    let checked = outputs.iter().filter(|o| o.stderr.contains("was not deactivated")).count();
    assert_eq!(checked, 1, "one activates, the others wait: {outputs:#?}");
    assert_eq!(out(&["dmsetup", "ls", "--target", "thin-pool"]).lines().count(), 1);
    let loops = out(&["losetup", "--noheadings", "--output", "BACK-FILE"]);
    assert_eq!(loops.lines().filter(|f| f.starts_with("/var/lib/sharedroot/")).count(), 2);
    pool(&["destroy", "--force"]).ok();
    drop((bundles, image, runtime));
    no_pool.again();
}
