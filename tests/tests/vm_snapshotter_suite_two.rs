//! As `vm_snapshotter_suite`, with the tests of containerd 2, which Debian unstable has.
//!
//! Guest: --long --no-docker --with snapshotter --with snapshotter-suite-of-unstable --limit 1200 --takes 120
//! Guest: --no-docker --pool device --with snapshotter --with snapshotter-suite-of-unstable --limit 1200

use sharedroot_tests::snapshotter::all_tests_pass;

#[test]
fn vm_the_tests_of_containerd_2_pass() {
    all_tests_pass("/share/suite-of-unstable.test");
}
