//! containerd's own tests of containers and tasks (`integration/client`), which containerd runs with each shim of its own: what
//! passes with containerd's shim and runc passes with the shim of sharedroot, too.
//!
//! The limit is not a number that begins with 1: two of the tests look for a `sleep 1` of theirs among the guest's processes, and
//! the lab's watch sleeps until shortly before the limit.
//!
//! Guest: --long --with shim --with containerd-client --alone --limit 3000 --takes 200

use sharedroot_tests::containerd_client::pass_as_with_containerds_own_shim;

/// What passes with containerd's own shim only, and why.
const DIFFERS: [(&str, &str); 3] = [
    ("TestShimInCgroup", "the option ShimCgroup is refused"),
    ("TestShimOOMScore", "it gives the option ShimCgroup"),
    ("TestKillContainerDeletedByRunc", "runc deletes no container of sharedroot"),
];

#[test]
fn vm_containerds_own_tests_pass_as_with_its_own_shim() {
    pass_as_with_containerds_own_shim("/share/containerd", &DIFFERS);
}
