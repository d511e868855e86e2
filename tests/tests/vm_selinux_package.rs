//! The .deb of `hack/package` where SELinux enforces: the policy modules come and go with it, and let its scripts work.
//!
//! Guest: --selinux enforcing --no-docker --with packages --alone --limit 1200 --takes 40

use std::fs;
use std::time::Duration;

use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::{RUN_DIR, STATE_DIR};
use sharedroot_tests::pool::{has, is_active, pool};
use sharedroot_tests::selinux::{Context, enforcing};

/// Runs `words` as an administrator does, in a shell and with pipes: the domains of dpkg and semodule may not write to
/// a test's files. The slow guest takes minutes to make a policy of its modules.
#[track_caller]
fn administer(words: &str) -> String {
    let line = format!("set -o pipefail; {words} < /dev/null 2>&1 | cat");
    Cmd::new("bash").args(&["-c", &line]).limit(Duration::from_secs(500)).run().ok()
}

/// Which modules a package has brought. The lab's own stands at the administrator's priority, 400.
fn modules() -> Vec<String> {
    let all = administer("semodule -lfull");
    let at = |priority: &str| -> Vec<String> {
        let words = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ours = words.filter(|w| w[0] == priority && w[1].starts_with("sharedroot"));
        ours.map(|w| w[1].to_owned()).collect()
    };
    assert_eq!(at("400"), ["sharedroot"], "the lab's module is nobody's to touch");
    at("200")
}

#[test]
fn vm_the_policy_modules_come_and_go() {
    const BOTH: [&str; 2] = ["sharedroot", "sharedroot_package"];
    enforcing();
    fs::remove_file("/usr/local/bin/sharedroot").expect("take the lab's program away");
    // The host's file system has no labels.
    out(&["sh", "-c", "cp package/sharedroot_*.deb /root/sharedroot.deb"]);
    assert_eq!(modules().len(), 0);
    administer("dpkg -i /root/sharedroot.deb");
    assert_eq!(modules(), BOTH);
    assert_eq!(Context::of_file("/usr/bin/sharedroot").kind(), "sharedroot_exec_t");
    assert_eq!(Context::of_file(STATE_DIR).kind(), "sharedroot_state_t");
    pool(&["create", "--loop-size", "1G"]).ok();
    pool(&["activate"]).ok();
    assert!(is_active());
    administer("dpkg --remove sharedroot");
    assert!(!is_active());
    assert_eq!(modules(), BOTH, "the files of the pool keep their label");
    let purged = administer("dpkg --purge sharedroot");
    has(&purged, &["/var/lib/sharedroot/store.db", "/var/lib/sharedroot/default.data"]);
    assert_eq!(modules().len(), 0);
    assert!(!fs::exists("/etc/sharedroot").expect("look") && !fs::exists(RUN_DIR).expect("look"));
}
