//! containerd's own tests of a snapshotter (`snapshots/testsuite`): all pass with the snapshotter of sharedroot, on a pool on loop
//! files and on a pool on devices, as they do with containerd's native snapshotter behind the same proxy.
//!
//! Guest: --no-docker --with snapshotter --with snapshotter-suite --limit 1200 --takes 120
//! Guest: --no-docker --pool device --with snapshotter --with snapshotter-suite --limit 1200

use sharedroot_tests::snapshotter::all_tests_pass;

#[test]
fn vm_containerds_tests_of_a_snapshotter_pass() {
    all_tests_pass("/share/suite.test");
}
