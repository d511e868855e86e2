//! Pods as a kubelet asks containerd's CRI plugin for them, by the runtime handler that `sharedroot install containerd` adds, on
//! systemd's cgroups. What does not ask for a base is told of runc's handler, too.
//!
//! Guest: --systemd --kernel-argument lsm=capability --with cri --alone --limit 900 --takes 200 --shim long --unstable shim

mod cri;

/// Ours, and what proves a test.
const HANDLERS: [&str; 2] = ["sharedroot", "runc"];
