//! containerd's snapshotter of sharedroot: how engines name and reach it, and whether its daemon answers.

use std::path::PathBuf;

use super::containerd_shim::in_places;

/// The name of the snapshotter in containerd's configuration, and of the storage driver in Docker's.
pub const NAME: &str = "sharedroot";

/// The daemon's program.
pub const PROGRAM: &str = "sharedrootd";

/// Where the daemon's socket unit listens.
pub const SOCKET: &str = "/run/sharedroot/snapshotter.sock";

/// The command after which the socket answers, now and after each boot.
pub const LISTEN: &str = "systemctl enable --now sharedrootd.socket";

/// The program's path, if the program is where systemd's units of this project or of a package start it.
pub fn installed() -> Option<PathBuf> {
    in_places(PROGRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_those_of_the_socket_and_the_program() {
        let socket = include_str!("../../../systemd/sharedrootd.socket");
        assert!(socket.contains(&format!("\nListenStream={SOCKET}\n")), "{socket}");
        let service = include_str!("../../../systemd/sharedrootd.service");
        assert!(service.contains(&format!("\nExecStart=/usr/local/bin/{PROGRAM}\n")), "{service}");
    }
}
