//! As `vm_containerd_client`, with containerd 2 and its tests, which Debian unstable has.
//!
//! Guest: --engines unstable --long --with shim --with containerd-client-of-unstable --alone --limit 3000 --takes 200

use sharedroot_tests::containerd_client::pass_as_with_containerds_own_shim;

/// What passes with containerd's own shim only, and why.
const DIFFERS: [(&str, &str); 3] = [
    ("TestShimInCgroup", "the option ShimCgroup is refused"),
    ("TestShimOOMScore", "it gives the option ShimCgroup"),
    ("TestKillContainerDeletedByRunc", "runc deletes no container of sharedroot"),
];

#[test]
fn vm_the_tests_of_containerd_2_pass_as_with_its_own_shim() {
    pass_as_with_containerds_own_shim("/share/containerd-of-unstable", &DIFFERS);
}
