//! `sharedroot doctor` of a pool that is nearly full, of what processes that died have left in one, and of one that is locked.
//!
//! Guest: --limit 800

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sharedroot_tests::command::{out, run};
use sharedroot_tests::doctor::{doctor, is_well, one_line, paste};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::pool::{NoPool, pool, runs, small_bases, status};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

#[test]
fn vm_what_died_is_left_over_until_gc() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    let device = "sharedroot-default";
    let store = "/var/lib/sharedroot/store.db";
    let half_made = "PRAGMA busy_timeout = 9000; INSERT INTO volumes (pool, name, thin_id, size, phase, sealed, made)
        VALUES ('default', 'half-made', 4711, 1048576, 'creating', 0, 0);";
    let steps: [(&[&str], &str); 2] = [
        (&["dmsetup", "message", device, "0", "create_thin 77"], "thin id 77 of the pool"),
        (&["sqlite3", store, half_made], "half-made was half created"),
    ];
    for (command, word) in steps {
        out(command);
        let (found, remedy) = one_line("warning", "leftovers");
        assert!(found.contains(word), "{found}");
        assert_eq!(remedy, "sharedroot gc");
        paste(&remedy);
        is_well();
    }

    // A volume that the pool has lost.
    let lost = half_made.replace("creating", "ready").replace("half-made", "private-lost");
    out(&["sqlite3", store, &lost]);
    let (found, remedy) = one_line("problem", "leftovers");
    assert!(found.contains("private-lost"), "{found}");
    let force = remedy.rsplit_once(": ").expect("a command").1.trim_end_matches(')');
    assert_eq!(force, "sharedroot gc --force");
    paste(force);
    is_well();
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}

#[test]
fn vm_a_pool_is_nearly_full_at_80_percent() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    is_well();
    let fill = |percent: u64| {
        let data = status()["data"].clone();
        let [used, total] =
            ["used_bytes", "total_bytes"].map(|key| data[key].as_u64().expect("bytes"));
        let more = (total * percent / 100 - used) >> 20;
        let write = format!("dd if=/dev/zero of=/fill-{percent} bs=1M count={more} && sync");
        container.exec(&[], &["sh", "-c", &write]).ok();
    };
    fill(85);
    let (found, remedy) = one_line("warning", "pool-data");
    assert!(found.contains("of 192 MiB (8"), "{found}");
    assert_eq!(remedy, "sharedroot pool grow");
    fill(95);
    let (found, remedy) = one_line("problem", "pool-data");
    assert!(found.contains("of 192 MiB (9"), "{found}");
    paste(&remedy);
    is_well();
    drop(container);
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    no_pool.again();
}

/// Holds a lock as a process of sharedroot does; dropping it ends the process.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("end a child");
    }
}

#[test]
fn vm_a_lock_that_somebody_holds_is_not_waited_for_without_end() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    is_well();
    // One byte, as an open file description (fcntl_locking(2)); 37 is F_OFD_SETLK.
    let script = "import fcntl, struct, time
f = open('/run/sharedroot/pool-default.lock', 'r+')
fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 1, 0))
print('held', flush=True); time.sleep(600)";
    let held = TempDir::new("held");
    let note = held.0.join("note");
    let stdout = Stdio::from(fs::File::create(&note).expect("a file"));
    let mut python = Command::new("python3");
    let child = python.args(["-c", script]).stdin(Stdio::null()).stdout(stdout).spawn();
    let holder = Holder(child.expect("start python3"));
    wait_for("the lock is held", || {
        fs::read_to_string(&note).is_ok_and(|t| t == "held\n").then_some(())
    });
    let started = Instant::now();
    let said = doctor(&[]).fails(2);
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    let bad: Vec<_> = said.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(
        bad.len() == 1 && bad[0].starts_with("problem  leftovers") && bad[0].contains("lock"),
        "{said}"
    );
    drop(holder);
    is_well();
    assert_eq!(run(&["pgrep", "-x", "sharedroot"]).status, 1, "nothing is left running");
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}
