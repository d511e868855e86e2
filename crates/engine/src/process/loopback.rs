//! The loopback device of a container's new network namespace. A new device is down. runc and crun set it up, and
//! programs that connect to themselves rely on that. The engine leaves the device down.

use std::fs::File;
use std::io;

use libcontainer::network::link::LinkClient;
use libcontainer::network::wrapper::create_network_client;
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::{LinuxNamespaceType, Spec};

/// The kernel's index of the device, in every network namespace (`LOOPBACK_IFINDEX` of the kernel's
/// `include/net/flow.h`).
const INDEX: u32 = 1;

/// Sets the device up for the container whose waiting init process is `pid`, unless the container uses an existing
/// network namespace.
///
/// # Errors
/// Those of setns(2) and rtnetlink(7).
pub fn set_up(spec: &Spec, pid: i32) -> io::Result<()> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let is_new = namespaces.unwrap_or_default().iter().any(|namespace| {
        namespace.typ() == LinuxNamespaceType::Network && namespace.path().is_none()
    });
    if !is_new {
        return Ok(());
    }
    // This runs on a thread of its own, because this process stays in the host's network namespace.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            let mut links = LinkClient::new(create_network_client()).map_err(io::Error::other)?;
            links.set_up(INDEX).map_err(io::Error::other)
        });
        thread.join().expect("a panic ends the process")
    })
}
